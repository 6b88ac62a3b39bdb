"""A container on the pages: its image, and what it wrote as one more layer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.finished import loaded
from tests.support.served import served
from tests.view.web.conftest import BASE
from veneer.drivers.mount import mounted
from veneer.engine.containers.creating import ContainerRequest
from veneer.engine.engine import Engine
from veneer.view.web import subjects
from veneer.view.web.subjects import Subjects

pytestmark = pytest.mark.usefixtures("root_only")
WEB = "/images/container:web"


def write(engine: Engine, folder: Path, name: str, content: str) -> None:
    folder.mkdir(exist_ok=True)
    with mounted(engine.store.containers.mounts(engine.containers.get("web")), folder):
        (folder / name).write_text(content)


@pytest.fixture
def container(engine: Engine) -> Engine:
    loaded(engine, "os:1", BASE)
    engine.containers.create(ContainerRequest("os:1", {"Cmd": ["sleep", "9"]}, name="web"))
    return engine


def test_what_it_wrote_is_one_more_layer_everywhere(container: Engine, tmp_path: Path) -> None:
    write(container, tmp_path / "tree", "log", "l" * 70)
    with served(container) as client:
        (listed,) = client.ask("/containers")
        assert (listed["ref"], listed["image"]) == ("container:web", "os:1")
        told = client.ask(WEB)
        assert (told["where"], [each["stored"] for each in told["layers"]]) == ("container", [51_000, 70])
        assert told["layers"][0]["same_chain"] == {"base": "os:1", "others": 0}
        (log,) = client.ask(f"{WEB}/tree?since=1&show=A")["entries"]
        assert (log["path"], log["op"], log["layers"]) == ("/log", "A", [2])
        assert client.send(f"/api/v1{WEB}/file?path=/log").text == "l" * 70
        assert client.ask(f"{WEB}/history?path=/log")["events"][0]["instruction"] == "container web"
        compared = client.ask("/compare?images=os:1,container:web")
        assert [len(each["images"]) for each in (compared["trie"][0], compared["trie"][0]["children"][0])] == [2, 1]
        assert [each["path"] for each in client.ask("/diff?a=os:1&b=container:web")["files"]] == ["/log"]
        assert "container web" in client.page("/i/container:web")
        told = client.ask(f"{WEB}/dockerfile")
        assert told["base"] == "os:1" and told["lines"][0]["comment"] == ["container web", "  /log 0644 0:0 70B"]
        assert client.ask("/images/container:none", 404)["error"] == "No such container: none"
        assert client.send("/badges/layers/container:web.json").json["message"] == "2"


def test_it_is_read_again_but_not_for_every_question(
    container: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subjects, "CONTAINER_SECONDS", 1e6)
    found = Subjects(container)
    with found.opened("container:web") as before:
        write(container, tmp_path / "tree", "log", "l" * 70)
        with found.opened("container:web") as again:
            assert again is before
        before.until = 0.0
        with found.opened("container:web") as after:
            assert after is not before
            assert [after.subject.account.stored, before.subject.account.stored] == [51_070, 51_000]
        assert found._replaced == [before], "somebody looks at it still"
    assert found._replaced == []
    found.close()


def test_one_that_nobody_asks_for_any_more_is_closed(container: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subjects, "CONTAINER_SECONDS", 0.0)
    found = Subjects(container)
    with found.opened("container:web"):
        pass
    assert len(found._open) == 1
    with found.opened(container.images.list()[0].references[0].familiar):
        pass
    assert [key[0] for key in found._open] != [subjects.CONTAINER] and len(found._open) == 1
    assert found._replaced == []
    found.close()
