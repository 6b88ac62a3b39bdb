"""Lists of containers and docker's filters; volumes; what is pruned."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.built import make_image, make_layer
from veneer.engine.engine import Engine
from veneer.engine.volumes import InvalidVolumeOption, NoSuchVolumeDriver, NoSuchVolumeType
from veneer.errors import Conflict, NotFound
from veneer.run.monitor import state as states
from veneer.store.containers import Container
from veneer.store.filters import InvalidFilter
from veneer.store.volumes import VolumeInUse

pytestmark = pytest.mark.usefixtures("root_only")
Make = Callable[..., Container]


@pytest.fixture
def make(engine: Engine) -> Make:
    """Makes containers, and says how each ended."""

    def fill(root: Path) -> None:
        (root / "data").mkdir()

    with engine.store.lease("test") as lease:
        layer = make_layer(engine.store, lease, fill)
        base = make_image(engine.store, lease, [layer], tag="base:1", config={"Cmd": ["serve"]})
        make_image(engine.store, lease, [layer], tag="app:1", config={"Cmd": ["app"]}, parent=base.id)

    def made(name: str, image: str = "base:1", state: str = "", code: int = 0, **fields: Any) -> Container:
        container = engine.containers.create(image, name=name, **fields)
        if state:
            states.write(
                engine.store.containers.folder(container.id),
                states.State(
                    state, exit_code=code, started_at="2026-01-01T00:00:00Z", finished_at="2026-01-01T00:00:09Z"
                ),
            )
        return container

    return made


def names(engine: Engine, **filters: str | list[str]) -> list[str]:
    wanted = {key.replace("_", "-"): [value] if isinstance(value, str) else value for key, value in filters.items()}
    return [row.container.name for row in engine.containers.summaries(all=True, filters=wanted)]


def test_only_what_runs_is_listed_unless_all_or_the_last_are_asked_for(engine: Engine, make: Make) -> None:
    for name in ("one", "two", "three"):
        make(name, state="exited")
    assert engine.containers.summaries() == []
    assert names(engine) == ["three", "two", "one"]
    assert [row.container.name for row in engine.containers.summaries(last=2)] == ["three", "two"]


def test_filters_keep_what_docker_keeps(engine: Engine, make: Make) -> None:
    one = make("one", labels={"a": "b", "c": ""}, volumes=["vol:/v", "/tmp:/t"])
    make("two", "app:1", state="exited", code=3, network="host")
    assert names(engine, status="created") == ["one"] and names(engine, status=["created", "exited"]) == ["two", "one"]
    assert names(engine, exited="3") == ["two"] and names(engine, exited="0") == []
    assert names(engine, label=["a=b", "c"]) == ["one"] and names(engine, label=["a=b", "x"]) == []
    assert (
        names(engine, name="^/tw") == ["two"] and names(engine, name="n") == ["one"] and names(engine, name="(") == []
    )
    assert names(engine, id=one.id[:12]) == ["one"]
    assert names(engine, volume="vol") == names(engine, volume="/v/") == names(engine, volume="/tmp") == ["one"]
    assert names(engine, network="host") == ["two"] and names(engine, network="bridge") == ["one"]
    assert names(engine, ancestor="base:1") == ["two", "one"] and names(engine, ancestor="app:1") == ["two"]
    assert names(engine, ancestor="nosuch") == []
    assert names(engine, before="two") == ["one"] and names(engine, since="one") == ["two"]
    assert names(engine, health="none") == ["two", "one"] and names(engine, health="healthy") == []
    assert names(engine, is_task="false") == ["two", "one"] and names(engine, is_task="true") == []
    # A status is asked for whether it runs or not.
    assert [row.container.name for row in engine.containers.summaries(filters={"status": ["exited"]})] == ["two"]


@pytest.mark.parametrize(("name", "value"), [
    ("foo", "x"), ("status", "up"), ("health", "well"), ("exited", "x"), ("publish", "x"), ("expose", "70000"),
    ("is-task", "maybe"), ("publish", "90-80"), ("exited", ""),
])  # fmt: skip
def test_filters_that_cannot_be_are_refused(engine: Engine, make: Make, name: str, value: str) -> None:
    with pytest.raises(InvalidFilter):
        engine.containers.summaries(filters={name: [value]})


def test_a_container_is_shown_by_its_images_id_when_the_name_means_another(engine: Engine, make: Make) -> None:
    container = make("one")
    [row] = engine.containers.summaries(all=True)
    assert row.image == "base:1" and row.command == "serve" and row.size == -1
    engine.images.tag("app:1", "base:1")
    [row] = engine.containers.summaries(all=True, size=True)
    assert row.image == container.image and row.size == 0 <= row.root_size


def test_words_with_spaces_are_shown_in_quotes(engine: Engine, make: Make) -> None:
    make("one", command=["sh", "-c", "a b", "c"])
    assert engine.containers.summaries(all=True)[0].command == "sh -c 'a b' c"


def test_what_does_not_run_is_pruned(engine: Engine, make: Make) -> None:
    make("new")
    kept = make("kept", labels={"keep": ""})
    ended = make("ended", state="exited")
    told = engine.containers.prune({"label!": ["keep"]}, dry_run=True)
    assert set(told.names) == {ended.id, engine.containers.get("new").id} and len(engine.containers.list()) == 3
    assert engine.containers.prune({"label!": ["keep"]}) == told
    assert engine.containers.list() == [kept]
    assert engine.containers.prune({"until": ["1h"]}).names == ()
    with pytest.raises(InvalidFilter):
        engine.containers.prune({"status": ["exited"]})


def test_volumes_nobody_named_are_pruned_and_named_ones_only_when_told(engine: Engine, make: Make) -> None:
    container = make("one", volumes=["used:/u", "/anonymous"])
    engine.volumes.create("free", labels={"a": "b"})
    (Path(engine.volumes.directory("free")) / "file").write_bytes(b"12345")
    anonymous = engine.volumes.create()
    assert engine.volumes.prune(dry_run=True).names == (anonymous.name,)
    assert engine.volumes.prune().names == (anonymous.name,)
    assert engine.volumes.prune(all=True, filters={"label": ["x"]}).names == ()
    found = engine.volumes.prune(filters={"all": ["true"]})
    assert found.names == ("free",) and found.bytes == 5
    with pytest.raises(VolumeInUse, match=rf"remove used: volume is in use - \[{container.id}\]"):
        engine.volumes.remove("used")
    engine.containers.remove("one", volumes=True)
    assert [volume.name for volume in engine.volumes.list()] == ["used"]


def test_volumes_are_listed_by_dockers_filters(engine: Engine, make: Make) -> None:
    make("one", volumes=["used:/u"])
    engine.volumes.create("free", labels={"a": "b"})

    def listed(**filters: str) -> list[str]:
        return [volume.name for volume in engine.volumes.list({key: [value] for key, value in filters.items()})]

    assert listed(dangling="true") == ["free"] and listed(dangling="0") == ["used"]
    assert listed(label="a=b") == ["free"] and listed(name="se") == ["used"] and listed(driver="nfs") == []
    for wrong in ({"foo": "x"}, {"dangling": "x"}):
        with pytest.raises(InvalidFilter):
            listed(**wrong)
    with pytest.raises(NotFound, match="No such volume: none"):
        engine.volumes.inspect("none")
    engine.volumes.remove("none", force=True)


@pytest.mark.parametrize(("options", "error"), [
    ({"foo": "bar"}, InvalidVolumeOption), ({"type": "nfs"}, InvalidVolumeOption), ({"o": "bind"}, InvalidVolumeOption),
    ({"type": "nfs", "device": ":/x", "o": "addr=1.2.3.4"}, NoSuchVolumeType), ({"size": "1g"}, NoSuchVolumeType),
    ({"type": "none", "device": "x", "o": "bind"}, InvalidVolumeOption),
])  # fmt: skip
def test_options_of_a_volume_that_cannot_be_are_refused(
    engine: Engine, options: dict[str, str], error: type[Exception]
) -> None:
    with pytest.raises(error):
        engine.volumes.create("vol", options=options)
    with pytest.raises(NoSuchVolumeDriver):
        engine.volumes.create("vol", driver="other")
    assert engine.volumes.list() == []


def test_a_container_that_cannot_be_made_leaves_no_volume(engine: Engine, make: Make) -> None:
    make("one")
    with pytest.raises(Conflict):
        make("one", volumes=["/anonymous"])
    assert engine.volumes.list() == []
