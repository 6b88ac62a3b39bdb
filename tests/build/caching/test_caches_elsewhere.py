"""`--cache-from` and `--cache-to`: one machine builds what another one has built, without doing it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.builds import base, build, with_programs
from tests.support.registries import RealRegistry
from veneer.build.caching.exported import NotACache
from veneer.build.request import CacheSpec, OutputSpec
from veneer.config import Config
from veneer.engine.engine import Engine

STEPS = "FROM base:1\nLABEL a=1\nWORKDIR /one\nENV B=2\nWORKDIR /two\n"
STAGES = """FROM base:1 AS tool
WORKDIR /tool
LABEL tool=1
FROM base:1
LABEL a=1
COPY --from=tool /etc/release /copied
"""


def from_(kind: str, **options: str) -> tuple[CacheSpec, ...]:
    return (CacheSpec(kind, tuple(options.items())),)


@pytest.fixture
def other(config: Config, tmp_path: Path) -> Iterator[Engine]:
    """A second machine's engine, which has the same base image."""
    with Engine(config.replaced(root=tmp_path / "other")) as engine:
        base(engine)
        yield engine


@pytest.fixture(autouse=True)
def _base(engine: Engine) -> None:
    base(engine)


def test_what_a_directory_has_is_not_done_again(engine: Engine, other: Engine, tmp_path: Path) -> None:
    cache = tmp_path / "deep" / "cache"
    first = build(engine, STEPS, cache_to=from_("local", dest=str(cache)))
    second = build(other, STEPS, cache_from=from_("local", src=str(cache)))
    assert second.cached == [True] * 4
    assert second.id == first.id, "a hit that is the whole image is that image"
    line = list(other.store.images.ancestors(second.id))
    assert [image.id for image in line] == [image.id for image in engine.store.images.ancestors(first.id)]
    assert other.system.check(deep=True) == []
    # From now on the local cache has it.
    assert build(other, STEPS).id == first.id


def test_only_the_steps_up_to_the_first_miss_come_from_elsewhere(engine: Engine, other: Engine, tmp_path: Path) -> None:
    build(engine, STEPS, cache_to=from_("local", dest=str(tmp_path / "cache")))
    changed = STEPS.replace("B=2", "B=3")
    done = build(other, changed, cache_from=from_("local", src=str(tmp_path / "cache")))
    assert done.cached == [True, True, False, False]
    assert build(other, changed).cached == [True] * 4


def test_a_cache_is_written_over_the_one_that_is_there_and_over_nothing_else(engine: Engine, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    for text in (STEPS, STEPS + "LABEL more=1\n"):
        build(engine, text, cache_to=from_("local", dest=str(cache)))
    assert sorted(path.name for path in tmp_path.iterdir() if "cache" in path.name) == ["cache"]
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "letter").write_text("dear")
    with pytest.raises(NotACache, match="holds something else"):
        build(engine, STEPS, cache_to=from_("local", dest=str(mine)))
    assert (mine / "letter").read_text() == "dear"
    done = build(engine, STEPS, cache_to=from_("local", dest=str(mine), **{"ignore-error": "true"}))
    assert any("the cache was not written" in text for text in done.warnings)


@pytest.mark.parametrize(("mode", "hits"), [("min", [False, False, True, True]), ("max", [True, True, True, True])])
def test_mode_max_has_the_other_stages_too(
    engine: Engine, other: Engine, registry: RealRegistry, mode: str, hits: list[bool]
) -> None:
    name = f"{registry.host}/cache/stages-{mode}:1"
    build(engine, STAGES, cache_to=from_("registry", ref=name, mode=mode))
    assert not any(tag.familiar.startswith(registry.host) for image in engine.images.list() for tag in image.tags)
    done = build(other, STAGES, cache_from=from_("registry", ref=name), tags="x:1")
    # Stages are worked on side by side: by the steps' own stage, then.
    assert sorted(done.cached) == sorted(hits)
    assert done.built.hits == sum(hits)


def test_a_pushed_image_is_a_cache_by_itself(engine: Engine, other: Engine, registry: RealRegistry) -> None:
    name = f"{registry.host}/cache/inline:1"
    first = build(engine, STEPS, tags=name, cache_to=from_("inline"), outputs=(OutputSpec("registry"),))
    pulled = other.images.pull(name).image
    assert [row.id is not None for row in other.images.history(name)].count(True) == 1
    done = build(other, STEPS, cache_from=from_("registry", ref=name))
    assert done.id == pulled.id == first.id
    assert all(row.id is not None for row in other.images.history(name)), "the pulled image got its parents"


def test_a_cache_that_is_not_there_is_a_warning_and_the_local_cache_counts(
    engine: Engine, registry: RealRegistry, tmp_path: Path
) -> None:
    first = build(engine, STEPS)
    missing = from_("registry", ref=f"{registry.host}/cache/none:1") + from_("local", src=str(tmp_path / "none"))
    done = build(engine, STEPS, cache_from=missing)
    assert done.id == first.id and done.cached == [True] * 4
    assert len(done.warnings) == 2 and all("cannot be used" in text for text in done.warnings)


def test_a_source_comes_before_the_local_cache(engine: Engine, other: Engine, tmp_path: Path) -> None:
    first = build(engine, STEPS, cache_to=from_("local", dest=str(tmp_path / "cache")))
    own = build(other, STEPS, source_date_epoch=1)
    build(other, STEPS.partition("ENV")[0])  # a local cache that has the beginning only, with other dates
    done = build(other, STEPS, cache_from=from_("local", src=str(tmp_path / "cache")))
    assert done.id == first.id != own.id


def test_a_dry_run_brings_nothing(engine: Engine, other: Engine, tmp_path: Path) -> None:
    build(engine, STEPS, cache_to=from_("local", dest=str(tmp_path / "cache")))
    before = {image.id for image in other.images.list(all=True)}
    done = build(other, STEPS, cache_from=from_("local", src=str(tmp_path / "cache")), dry_run=True)
    assert done.cached == [True] * 4
    assert {image.id for image in other.images.list(all=True)} == before


def test_no_cache_asks_nobody(engine: Engine, tmp_path: Path) -> None:
    build(engine, STEPS, cache_to=from_("local", dest=str(tmp_path / "cache")))
    done = build(engine, STEPS, cache_from=from_("local", src=str(tmp_path / "cache")), no_cache=True)
    assert done.cached == [False] * 4


def test_a_run_and_a_copy_come_from_elsewhere_by_what_they_depend_on(
    engine: Engine, other: Engine, busybox: Path, tmp_path: Path
) -> None:
    with_programs(engine, busybox)
    engine.images.save(["busybox:1"], tmp_path / "base.tar")
    other.images.load(tmp_path / "base.tar")
    context = tmp_path / "ctx"
    context.mkdir()
    (context / "file").write_text("one")
    text = (
        "FROM busybox:1\nARG V=1\nCOPY file /\nRUN cat /file > /made\nRUN <<EOF\n#!/bin/sh\necho script > /made\nEOF\n"
    )
    options: dict[str, Any] = {"cache_from": from_("local", src=str(tmp_path / "cache"))}
    first = build(engine, text, context, cache_to=from_("local", dest=str(tmp_path / "cache")), args={"V": "2"})
    same = build(other, text, context, args={"V": "2"}, **options)
    # What a script does is not in the row's text, so the last step is done here.
    assert same.cached == [True, True, True, False]
    assert same.image.config.diff_ids[:-1] == first.image.config.diff_ids[:-1]
    assert build(other, text, context, args={"V": "3"}, **options).cached == [True, True, False, False]
    (context / "file").write_text("two")
    assert build(other, text, context, args={"V": "2"}, **options).cached == [True, False, False, False]
