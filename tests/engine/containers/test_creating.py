"""From a request to a container: merging, checking, naming, mounts."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.built import make_image, make_layer
from veneer.drivers import treecopy
from veneer.engine.containers import mounts
from veneer.engine.containers.creating import ContainerRequest, InvalidContainer, check, merged
from veneer.engine.containers.defaults import config, host_config
from veneer.engine.containers.mounts import InvalidMount, NoSuchSource, parsed_bind, tmpfs_options
from veneer.engine.containers.naming import InvalidContainerName
from veneer.engine.engine import Engine
from veneer.errors import NotFound, VeneerError
from veneer.store.containers import NameInUse

pytestmark = pytest.mark.usefixtures("root_only")


@pytest.fixture
def image(engine: Engine) -> str:
    """An image with a command, a variable, a volume with a file in it."""

    def fill(root: Path) -> None:
        (root / "data").mkdir(mode=0o750)
        (root / "data/file").write_text("from the image")
        (root / "out").symlink_to("/etc")

    with engine.store.lease("test") as lease:
        layer = make_layer(engine.store, lease, fill)
        make_image(engine.store, lease, [layer], tag="app:1",
                   config={"Cmd": ["serve"], "Env": ["A=image", "B=image"], "Volumes": {"/data": {}}})  # fmt: skip
    return "app:1"


def test_a_container_has_its_own_word_and_the_images_where_it_says_none(engine: Engine, image: str) -> None:
    made = engine.containers.create(ContainerRequest(image, {"Env": ["A=own"], "Labels": {"x": "y"}}, name="one"))
    found = made.document["Config"]
    assert found["Env"] == ["A=own", "B=image"]
    assert found["Cmd"] == ["serve"] and found["Hostname"] == made.id[:12] and found["Image"] == image
    assert engine.containers.get("one") == made
    assert engine.containers.state(made).status == "created"
    with pytest.raises(NameInUse):
        engine.containers.create(ContainerRequest(image, name="/one"))


def test_a_container_without_a_name_gets_one_of_dockers_form(engine: Engine, image: str) -> None:
    assert re.fullmatch(r"[a-z]+_[a-z]+", engine.containers.create(ContainerRequest(image)).name)
    with pytest.raises(InvalidContainerName, match=r"Invalid container name \(-x\), only"):
        engine.containers.create(ContainerRequest(image, name="-x"))


def test_an_image_that_is_not_here_and_must_not_be_pulled_is_named(engine: Engine) -> None:
    with pytest.raises(NotFound, match="No such image: none"):
        engine.containers.create(ContainerRequest("none:1", pull="never"))


def test_an_image_for_another_platform_is_told_with_why_no_other_could_be_pulled(engine: Engine, image: str) -> None:
    engine.images.tag(image, "localhost:1/app:1")
    with pytest.raises(VeneerError, match="does not match the specified platform: wanted linux/s390x") as caught:
        engine.containers.create(ContainerRequest("localhost:1/app:1", platform="linux/s390x"))
    assert ", and no other could be pulled: localhost:1/app:1: cannot be fetched: localhost:1: " in caught.value.message


def test_an_images_volume_is_anonymous_and_filled_and_what_is_mounted_there_takes_its_place(
    engine: Engine, image: str, tmp_path: Path
) -> None:
    made = engine.containers.create(ContainerRequest(image))
    [point] = made.document["Mounts"]
    assert point["Type"] == "volume" and point["Destination"] == "/data" and len(point["Name"]) == 64
    assert (Path(point["Source"]) / "file").read_text() == "from the image"
    assert Path(point["Source"]).stat().st_mode & 0o777 == 0o750
    bound = engine.containers.create(ContainerRequest(image, host_config={"Binds": [f"{tmp_path}:/data:ro"]}))
    assert [(each["Type"], each["RW"]) for each in bound.document["Mounts"]] == [("bind", False)]
    taken = engine.containers.create(ContainerRequest(image, host_config={"VolumesFrom": [made.name + ":ro"]}))
    assert taken.document["Mounts"][0]["Name"] == point["Name"] and not taken.document["Mounts"][0]["RW"]
    assert engine.store.volumes.users(point["Name"]) == sorted([made.id, taken.id])


def test_a_volume_with_something_in_it_or_told_not_to_is_not_filled(engine: Engine, image: str) -> None:
    (engine.store.volumes.directory(engine.store.volumes.create("full").name) / "own").touch()
    engine.containers.create(ContainerRequest(image, host_config={"Binds": ["full:/data", "none:/data2:nocopy"]}))
    assert sorted(path.name for path in engine.store.volumes.directory("full").iterdir()) == ["own"]


def test_a_volume_that_could_not_be_filled_is_empty_again(
    engine: Engine, image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(source: int, target: Path) -> None:
        (target / "sub").mkdir()
        (target / "sub/half").touch()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    request = ContainerRequest(image, host_config={"Binds": ["named:/data"]})
    with monkeypatch.context() as patch:
        patch.setattr(treecopy, "copy_opened", failing)
        with pytest.raises(OSError, match="No space left"):
            engine.containers.create(request)
    assert engine.containers.list() == []
    engine.containers.create(request)
    assert [path.name for path in engine.store.volumes.directory("named").iterdir()] == ["file"]


@pytest.mark.parametrize("of_host", [False, True], ids=["ours", "a directory of the host"])
@pytest.mark.parametrize("where", ["begun", "whole", "moved"])
def test_a_volume_whose_filling_was_killed_is_filled_by_the_next(
    engine: Engine, image: str, where: str, monkeypatch: pytest.MonkeyPatch, of_host: bool, tmp_path: Path
) -> None:
    data = tmp_path / "of the host"
    if of_host:
        data.mkdir()
        engine.volumes.create("named", options={"type": "none", "o": "bind", "device": str(data)})
    copy, move = treecopy.copy_opened, os.rename

    def dies(*_: object, **__: object) -> None:
        os._exit(9)

    def begin(source: int, target: Path) -> None:
        (target / "half").touch()
        dies()

    def moved(*what: Any, **how: Any) -> None:
        if where == "moved" or not how:
            move(*what, **how)
        if how:  # of the entries, the last step
            dies()

    request = ContainerRequest(image, host_config={"Binds": ["named:/data"]}, name="killed")
    with monkeypatch.context() as patch:
        patch.setattr(treecopy, "copy_opened", begin if where == "begun" else copy)
        if where != "begun":
            patch.setattr(os, "rename", moved)
        child = os.fork()
        if not child:
            try:
                with Engine(engine.store.config) as own:
                    own.containers.create(request)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    killed = engine.containers.get("killed")
    assert mounts.UNFILLED in killed.document
    made = engine.containers.create(request.replaced(name="next"))
    data = data if of_host else engine.store.volumes.directory("named")
    assert [path.name for path in data.iterdir()] == ["file"] and data.stat().st_mode & 0o777 == 0o750
    assert of_host or [path.name for path in data.parent.iterdir()] == ["_data"]
    assert mounts.UNFILLED not in made.document and mounts.UNFILLED not in engine.containers.get("next").document


def test_filling_a_volume_follows_links_inside_the_tree_alone(engine: Engine, image: str) -> None:
    """/out is a link to /etc: the container's, which has nothing but what every container is given."""
    made = engine.containers.create(ContainerRequest(image, host_config={"Binds": ["taken:/out"]}))
    found = {path.name for path in engine.store.volumes.directory("taken").iterdir()}
    assert found == {"hosts", "hostname", "resolv.conf", "mtab"}, made


@pytest.mark.parametrize(
    ("own", "image", "expected"),
    [
        ({}, {"Entrypoint": ["e"], "Cmd": ["c"]}, (["e"], ["c"])),
        ({"Cmd": ["x"]}, {"Entrypoint": ["e"], "Cmd": ["c"]}, (["e"], ["x"])),
        ({"Entrypoint": ["x"]}, {"Entrypoint": ["e"], "Cmd": ["c"]}, (["x"], None)),
        ({"Entrypoint": [""], "Cmd": ["y"]}, {"Entrypoint": ["e"], "Cmd": ["c"]}, (None, ["y"])),
    ],
)
def test_entrypoint_and_command(own: dict[str, Any], image: dict[str, Any], expected: tuple[Any, Any]) -> None:
    found = merged(config() | own, image)
    assert (found["Entrypoint"], found["Cmd"]) == expected


def test_nothing_to_run_is_an_error() -> None:
    with pytest.raises(InvalidContainer, match="No command specified"):
        merged(config(), {})


@pytest.mark.parametrize(
    ("own", "host", "said"),
    [
        ({"WorkingDir": "rel"}, {}, "the working directory 'rel' is invalid, it needs to be an absolute path"),
        ({"Env": ["=x"]}, {}, "invalid environment variable: =x"),
        ({"Env": ["A=b\0c"]}, {}, "invalid environment variable: it has a NUL byte in it"),
        ({"Cmd": ["a\0b"]}, {}, "a NUL byte cannot be given to a program"),
        ({}, {"Memory": 5}, "Minimum memory limit allowed is 6MB"),
        ({}, {"MemorySwap": 7 << 20}, "You should always set the Memory limit when using Memoryswap limit"),
        ({}, {"RestartPolicy": {"Name": "sometimes"}}, "invalid restart policy 'sometimes'"),
        ({}, {"AutoRemove": True, "RestartPolicy": {"Name": "always"}}, "can't create 'AutoRemove' container"),
        ({}, {"NanoCpus": 10**15}, "Range of CPUs is from 0.01 to"),
        ({}, {"LogConfig": {"Type": "papyrus"}}, 'plugin "papyrus" not found'),
    ],
)
def test_what_cannot_be_is_said_in_dockers_words(own: dict[str, Any], host: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidContainer, match=re.escape(said)):
        check(config() | own, host_config() | host)


@pytest.mark.parametrize(
    "text", ["/a", ":/a", "/a:", "a:b", "/a:/", "/a:/b:rw,ro", "/a:/b:nothing", "n:/b:rslave", "/a:/b:nocopy"]
)
def test_a_volume_specification_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidMount):
        parsed_bind(text)


def test_mounts_that_meet_and_sources_that_are_not_there_are_refused(engine: Engine, image: str) -> None:
    with pytest.raises(InvalidMount, match="Duplicate mount point: /x"):
        engine.containers.create(ContainerRequest(image, host_config={"Binds": ["/tmp:/x", "v1:/x/"]}))
    with pytest.raises(NoSuchSource, match="bind source path does not exist: /no/where"):
        engine.containers.create(
            ContainerRequest(image, host_config={"Mounts": [{"Type": "bind", "Source": "/no/where", "Target": "/x"}]})
        )
    with pytest.raises(InvalidMount, match="inside veneer's data root"):
        engine.containers.create(ContainerRequest(image, host_config={"Binds": [f"{engine.store.root}/overlay2:/x"]}))
    assert engine.containers.list() == []


def test_options_of_a_tmpfs_are_read() -> None:
    assert tmpfs_options("size=2m,mode=700,exec") == {"size": 2 << 20, "mode": 0o700, "options": ["exec"]}
    assert tmpfs_options("") == {"size": 0, "mode": 0o1777, "options": ["noexec"]}
    with pytest.raises(InvalidMount, match='Invalid tmpfs option "colour=red"'):
        tmpfs_options("colour=red")
