"""A prune beside a build takes nothing that the build goes on with."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.builds import base
from veneer.build.events import BaseResolved, Event, StepDone
from veneer.engine.engine import Engine

pytestmark = pytest.mark.usefixtures("root_only")


def test_what_a_build_found_in_the_cache_stays_and_the_rest_is_done_again(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nENV A=1\nLABEL b=2\nUSER me\n")
    built = engine.build(tmp_path).result().image
    assert built is not None
    user, label, env = (each.id for each in engine.store.images.ancestors(built))
    pruned: list[str] = []

    def prune(event: Event) -> None:
        if isinstance(event, StepDone) and event.cached:
            pruned.extend(each.name for each in engine.builds.prune(all=True).records)

    again = engine.build(tmp_path, tags="app:1", on_event=prune).result().image
    assert pruned == [user, label], "the build had come as far as ENV, and held that"
    line = [each.id for each in engine.store.images.ancestors(engine.images.get("app:1").id)]
    assert (line[0], line[-1]) == (again, env)
    assert engine.system.check() == []


def test_the_base_of_a_build_stays_when_its_name_goes(engine: Engine) -> None:
    image = base(engine)

    def remove(event: Event) -> None:
        if isinstance(event, BaseResolved):
            engine.images.remove("base:1", force=True)
            engine.images.prune(all=True)

    made = engine.build(dockerfile=b"FROM base:1\nLABEL a=1\nWORKDIR /new\n", tags="app:1", on_event=remove).result()
    assert made.image is not None
    assert [each.id for each in engine.store.images.ancestors(made.image)][-1] == image.id
    assert engine.system.check() == []
