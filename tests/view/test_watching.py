"""Tags that are watched: what is told of a move, that it is told, and when is asked again."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.finished import row
from tests.support.registries import RealRegistry
from veneer.config import Config
from veneer.distribution.client import Registries
from veneer.distribution.retry import Policy
from veneer.distribution.standing import Standing
from veneer.engine.engine import Engine
from veneer.engine.looking.moves import NeverMoves, watched
from veneer.errors import Unavailable
from veneer.oci.platform import Platform, host
from veneer.oci.reference import Reference
from veneer.testing.images import Tree, directory, docker_archive, image
from veneer.view import watching

BASE: Tree = {"etc": directory(), "etc/motd": b"m" * 100, "usr/lib/libc.so": b"c" * 3000}
OLD = image(BASE, {"srv/app": b"a" * 2000, "srv/old": b"o"}, history=(row("ADD base"), row("COPY app 1")),
            config={"Env": ["VERSION=1"], "Cmd": ["app"]})  # fmt: skip
NEW = image(BASE, {"srv/app": b"b" * 2500, "srv/new": b"n" * 7}, {"etc/.wh.motd": b""},
            config={"Env": ["VERSION=2"], "Cmd": ["app"]},
            history=(row("ADD base"), row("COPY app 2"), row("RUN rm /etc/motd")))  # fmt: skip
NOW = "2026-03-01T00:00:00Z"


class Ear:
    """Somebody who is told; `deaf` so many times."""

    def __init__(self, deaf: int = 0) -> None:
        self.heard: list[dict[str, Any]] = []
        self.deaf = deaf

    def __call__(self, message: dict[str, Any]) -> None:
        if self.deaf:
            self.deaf -= 1
            raise Unavailable("nobody listens")
        self.heard.append(message)


class Watching:
    def __init__(self, config: Config) -> None:
        self.config = config

    def __call__(self, name: str, *ears: Ear, files: bool = False, platform: Platform | None = None) -> watching.Asked:
        """One round by a process of its own: nothing but the data root is kept."""
        sinks = [(f"ear {number}", ear) for number, ear in enumerate(ears)]
        with Engine(self.config) as engine, Registries(self.config) as registries:
            return watching.ask(engine, registries, watched(name), platform or host(), sinks, files=files, now=NOW)


@pytest.fixture
def ask(config: Config) -> Iterator[Watching]:
    config.root.parent.mkdir(exist_ok=True)
    yield Watching(config)


def test_a_move_is_told_once_with_all_that_it_changes(ask: Watching, registry: RealRegistry) -> None:
    ear = Ear()
    name = registry.put("watching/app:1", OLD)
    first = ask(name, ear)
    assert first.first and first.message is None and not ear.heard
    assert ask(name, ear).message is None
    registry.put("watching/app:1", NEW)
    told = ask(name, ear, files=True).message
    assert told is not None and ear.heard == [told]
    assert (told["image_name"], told["event"], told["time"]) == (name.rpartition(":")[0], "changed", NOW)
    assert told["changed_tags"] == [{"tag": "1", "SHA": NEW.digest}] and not told["new_tags"] + told["deleted_tags"]
    assert (told["before"]["digest"], told["after"]["digest"]) == (OLD.digest, NEW.digest)
    layers = told["layers"]
    assert layers["kept"] == 1 and layers["pull_size"] == sum(layer["size"] for layer in layers["added"])
    assert [layer["instruction"] for layer in layers["removed"]] == ["COPY app 1"]
    assert [layer["instruction"] for layer in layers["added"]] == ["COPY app 2", "RUN rm /etc/motd"]
    assert told["config"] == [{"key": "Env.VERSION", "before": "1", "after": "2"}]
    assert {(each["op"], each["path"]) for each in told["files"]["changes"]} == {
        ("D", "/etc/motd"), ("M", "/srv/app"), ("A", "/srv/new"), ("D", "/srv/old"),
    }  # fmt: skip
    assert told["files"]["counts"] == {"A": 1, "D": 2, "M": 1}
    assert "2 layers more, 1 layer less" in told["text"] and "4 paths changed" in told["text"]
    assert ask(name, ear).message is None and len(ear.heard) == 1
    with Engine(ask.config) as engine:
        assert not engine.images.list(all=True), "nothing of it is stored"
    lines = list(watching.lines(told))
    assert any(line.startswith("  + ") and line.endswith("COPY app 2") for line in lines)
    json.dumps(told)


def test_whoever_is_told_of_a_tag_for_the_first_time_is_told_what_moved_since_anybody_asked(
    ask: Watching, registry: RealRegistry
) -> None:
    name, old, new = registry.put("watching/first:1", OLD), Ear(), Ear()
    ask(name)
    registry.put("watching/first:1", NEW)
    told = ask(name, old).message
    assert told is not None and told["before"]["digest"] == OLD.digest and old.heard == [told]
    again = ask(name, new, old)
    assert again.first and again.message is None and not new.heard, "what was told before it asked is told"
    assert ask(name).message is not None, "the first one goes on from where it was"
    assert ask(name, old).message is None and len(old.heard) == 1


def test_a_tag_that_goes_and_comes_back(ask: Watching, registry: RealRegistry) -> None:
    ear = Ear()
    name = f"{registry.host}/watching/comes:1"
    assert ask(name, ear) == watching.Asked(None, None, (), True)
    registry.put("watching/comes:1", OLD)
    assert (told := ask(name, ear).message) is not None
    assert (told["event"], told["new_tags"]) == ("new", [{"tag": "1", "SHA": OLD.digest}])
    assert registry.request("DELETE", f"/v2/watching/comes/manifests/{OLD.digest}")[0] == 202
    assert (told := ask(name, ear).message) is not None
    assert (told["event"], told["deleted_tags"]) == ("deleted", [{"tag": "1", "SHA": OLD.digest}])
    assert ask(name, ear).message is None, "gone is gone"
    registry.put("watching/comes:1", NEW)
    assert (told := ask(name, ear, files=True).message) is not None and told["event"] == "new"
    assert [each["event"] for each in ear.heard] == ["new", "deleted", "new"]


def test_an_old_image_that_the_registry_has_let_go_is_still_told_of(ask: Watching, registry: RealRegistry) -> None:
    name = registry.put("watching/gone:1", OLD)
    ask(name)
    registry.put("watching/gone:1", NEW)
    layer = OLD.manifest.layers[1].digest
    assert registry.request("DELETE", f"/v2/watching/gone/blobs/{layer}")[0] == 202
    told = ask(name, files=True).message
    assert told is not None and told["files"] is None and "the old image's layers are gone" in told["files_unseen"]
    assert told["config"] and len(told["layers"]["added"]) == 2


def test_an_index_may_move_without_this_platforms_image(ask: Watching, registry: RealRegistry) -> None:
    arm = image({"a": b"1"}, platform="linux/arm64")
    name = registry.put("watching/multi:1", OLD, arm)
    platform = Platform.parse("linux/amd64")
    ask(name, platform=platform)
    registry.put("watching/multi:1", OLD, image({"a": b"2"}, platform="linux/arm64"))
    told = ask(name, files=True, platform=platform).message
    assert told is not None and told["text"].endswith(f"for {platform} it is the same image")
    assert told["files"] == {"counts": {}, "changes": [], "left_off": 0} and told["layers"]["added"] == []


def test_who_was_not_reached_is_told_later_and_the_others_once(ask: Watching, registry: RealRegistry) -> None:
    name = registry.put("watching/deaf:1", OLD)
    well, deaf = Ear(), Ear(deaf=2)
    ask(name, well, deaf)
    registry.put("watching/deaf:1", NEW)
    asked = ask(name, well, deaf)
    assert [error.message for error in asked.failures] == ["nobody listens"]
    registry.put("watching/deaf:1", OLD)
    asked = ask(name, well, deaf)
    assert asked.message is not None and asked.failures and not deaf.heard
    assert ask(name, well, deaf).failures == ()
    assert [each["after"]["digest"] for each in deaf.heard] == [NEW.digest, OLD.digest], "in their order"
    assert len(well.heard) == 2


def test_who_was_not_reached_is_told_of_though_the_registry_fails_as_well(
    ask: Watching, registry: RealRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = registry.put("watching/both:1", OLD)
    deaf = Ear(deaf=2)
    ask(name, deaf)
    registry.put("watching/both:1", NEW)
    ask(name, deaf)

    def fails(*_: object, **__: object) -> None:
        raise Unavailable("no registry")

    with monkeypatch.context() as patched:
        patched.setattr("veneer.engine.looking.moves.look", fails)
        asked = ask(name, deaf)
    assert [error.message for error in asked.failures] == ["nobody listens"]
    assert asked.error is not None and asked.error.message == "no registry"
    assert ask(name, deaf).failures == () and len(deaf.heard) == 1


def test_a_message_is_given_up_after_some_rounds(ask: Watching, registry: RealRegistry) -> None:
    name = registry.put("watching/never:1", OLD)
    deaf = Ear(deaf=1000)
    ask(name, deaf)
    registry.put("watching/never:1", NEW)
    rounds = [bool(ask(name, deaf).failures) for _ in range(watching.MOST_ROUNDS + 1)]
    assert rounds == [True] * watching.MOST_ROUNDS + [False]


def test_a_watcher_that_was_killed_while_telling_tells_again(ask: Watching, registry: RealRegistry) -> None:
    name = registry.put("watching/killed:1", OLD)
    ear = Ear()
    ask(name, ear)
    registry.put("watching/killed:1", NEW)

    class Killed(BaseException):
        pass

    def dies(message: dict[str, Any]) -> None:
        raise Killed

    with pytest.raises(Killed), Engine(ask.config) as engine, Registries(ask.config) as registries:
        watching.ask(engine, registries, watched(name), host(), [("ear 0", dies)], now=NOW)
    assert ask(name, ear).message is None
    assert [each["event"] for each in ear.heard] == ["changed"]


def test_what_is_remembered_may_be_damaged_or_of_another_time(ask: Watching, registry: RealRegistry) -> None:
    name = registry.put("watching/damaged:1", OLD)
    ask(name)
    states = list((ask.config.root / "watches").glob("*.json"))
    assert len(states) == 2, "its own, and where anybody saw the tag last"
    for text in ("{", "[]", '{"known": {"version": 99, "digest": "x"}}', '{"known": null}'):
        for state in states:
            state.write_text(text)
        assert ask(name).message is None
    for state in states:
        document = json.loads(state.read_text())
        document["known"] |= {"config": "{", "digest": "sha256:" + "0" * 64, "etag": ""}
        state.write_text(json.dumps(document))
    told = ask(name).message
    assert told is not None and told["event"] == "changed" and told["layers"]["kept"] == 0


def test_layers_that_are_here_are_not_read_from_the_registry(ask: Watching, registry: RealRegistry) -> None:
    with Engine(ask.config) as engine:
        engine.images.load(io.BytesIO(docker_archive((OLD, ["x:1"]), (NEW, ["x:2"]))))
    name = registry.put("watching/here:1", OLD)
    ask(name)
    registry.put("watching/here:1", NEW)
    for layer in (*OLD.manifest.layers, *NEW.manifest.layers):
        registry.request("DELETE", f"/v2/watching/here/blobs/{layer.digest}")
    told = ask(name, files=True).message
    assert told is not None and told["files"]["counts"] == {"A": 1, "D": 2, "M": 1}


def test_a_move_is_looked_at_as_patiently_as_the_tag(
    ask: Watching, registry: RealRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = registry.put("watching/patient:1", OLD)
    ask(name)
    registry.put("watching/patient:1", NEW)
    made: list[Policy | None] = []
    really = Registries.__init__

    def noted(self: Registries, config: Config, **options: Any) -> None:
        made.append(options.get("policy"))
        really(self, config, **options)

    monkeypatch.setattr(Registries, "__init__", noted)
    policy = Policy(tries=2)
    with Engine(ask.config) as engine, Registries(ask.config, policy=policy) as registries:
        asked = watching.ask(engine, registries, watched(name), host(), [], files=True, now=NOW)
    assert asked.message is not None and asked.message["files"]["changes"]
    assert len(made) > 1 and all(each == policy for each in made)


def test_what_never_moves_is_not_watched() -> None:
    with pytest.raises(NeverMoves, match="names one content for ever"):
        watched("app@sha256:" + "0" * 64)
    assert watched("app") == Reference.parse("app:latest")


def test_when_is_asked_again() -> None:
    def between(seconds: float, **facts: Any) -> None:
        found = watching.pause(300.0, **facts)
        assert seconds <= found <= seconds * 1.1 + 1e-6, found

    between(300.0)
    between(300.0, standing=Standing(None, "", 100, 21600))
    between(21600 / 11, standing=Standing(None, "", 10, 21600))
    between(21600.0, standing=Standing(None, "", 0, 21600))
    between(4 * 21600 / 11, standing=Standing(None, "", 10, 21600), together=4)
    between(600.0, failures=1)
    between(2400.0, failures=3)
    between(3600.0, failures=1000)
    between(7200.0, failures=1, asked_for=7200.0)
    between(86400.0, failures=1, asked_for=1e12)
