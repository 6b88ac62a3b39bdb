"""Settings on another base: what the image said stays, what it inherited follows."""

from __future__ import annotations

from typing import Any

import pytest

from veneer.engine.rework.three_way import Change, merged, sentence

Run = dict[str, Any]


@pytest.mark.parametrize(("key", "old", "image", "new", "result"), [
    ("User", "root", "root", "app", "app"),
    ("User", "root", "me", "app", "me"),
    ("User", "", "", "app", "app"),
    ("User", "root", "root", None, ""),
    ("WorkingDir", None, "/srv", "/app", "/srv"),
    ("StopSignal", "SIGINT", "SIGINT", "SIGQUIT", "SIGQUIT"),
    ("Healthcheck", {"Test": ["CMD", "a"]}, {"Test": ["CMD", "a"]}, {"Test": ["CMD", "b"]}, {"Test": ["CMD", "b"]}),
    ("Healthcheck", {"Test": ["CMD", "a"]}, {"Test": ["NONE"]}, {"Test": ["CMD", "b"]}, {"Test": ["NONE"]}),
    ("Shell", ["/bin/sh", "-ec"], ["/bin/sh", "-ec"], None, None),
    ("Vendor", {"x": 1}, {"x": 1}, {"x": 2}, {"x": 2}),
    ("Cmd", ["sh"], ["sh"], ["bash"], ["bash"]),
    ("Cmd", ["sh"], ["nginx"], ["bash"], ["nginx"]),
    ("Env", ["A=1", "B=1"], ["A=1", "B=2", "C=3"], ["A=9", "B=9", "D=9"], ["A=9", "B=2", "D=9", "C=3"]),
    ("Env", ["A=1"], [], ["A=9", "B=9"], ["B=9"]),
    ("Env", ["PATH=/bin"], ["PATH=/app:/bin"], ["PATH=/usr/bin:/bin"], ["PATH=/app:/usr/bin:/bin"]),
    ("Env", ["PATH=/bin"], ["PATH=/bin:/app"], ["PATH=/usr/bin"], ["PATH=/usr/bin:/app"]),
    ("Env", ["PATH=/bin"], ["PATH=/app:/bin"], [], ["PATH=/app:/bin"]),
    ("Labels", {"a": "1", "b": "1"}, {"a": "1", "b": "2", "c": "3"}, {"a": "9"}, {"a": "9", "b": "2", "c": "3"}),
    ("ExposedPorts", {"80/tcp": {}}, {"80/tcp": {}, "1/udp": {}}, {"443/tcp": {}}, {"443/tcp": {}, "1/udp": {}}),
    ("Volumes", {"/a": {}}, {}, {"/a": {}, "/b": {}}, {"/b": {}}),
])  # fmt: skip
def test_a_value_follows_the_base_unless_the_image_said_another(
    key: str, old: Any, image: Any, new: Any, result: Any
) -> None:
    found = merged(*({} if each is None else {key: each} for each in (old, image, new)))
    assert found.run.get(key) == result


def test_a_command_belongs_to_its_entry_point() -> None:
    old: Run = {"Entrypoint": ["sh", "-c"], "Cmd": ["date"]}
    new: Run = {"Entrypoint": ["bash", "-c"], "Cmd": ["uptime"]}
    own_entry = merged(old, {"Entrypoint": ["app"], "Cmd": None}, new).run
    assert own_entry == {"Entrypoint": ["app"], "Cmd": None}, "a build would have cleared what it inherited"
    own_command = merged(old, {"Entrypoint": ["sh", "-c"], "Cmd": ["cal"]}, new).run
    assert own_command == {"Entrypoint": ["bash", "-c"], "Cmd": ["cal"]}


def test_triggers_are_never_inherited_and_the_image_below_the_last_step_is_forgotten() -> None:
    found = merged({"OnBuild": ["RUN a"]}, {"OnBuild": None, "Image": "sha256:1"}, {"OnBuild": ["RUN b"]})
    assert found.run == {"Image": "", "OnBuild": None}
    assert merged({}, {"OnBuild": ["RUN mine"]}, {}).run == {"OnBuild": ["RUN mine"]}


def test_nothing_is_spelt_as_the_image_spells_it() -> None:
    image: Run = {"User": "", "Env": None, "Labels": {}, "Volumes": None, "Tty": False}
    assert merged(image, image, {}).run == image
    assert merged({"Volumes": {"/a": {}}}, {"Volumes": {"/a": {}}}, {}).run == {"Volumes": None}


def test_what_became_different_and_what_overrides_the_new_base_is_told() -> None:
    found = merged(
        {"User": "root", "Env": ["A=1", "B=1"], "Cmd": ["sh"], "ExposedPorts": {"80/tcp": {}}},
        {"User": "me", "Env": ["A=1", "B=2"], "Cmd": ["sh"], "ExposedPorts": {"80/tcp": {}}},
        {"User": "app", "Env": ["A=9", "B=3"], "Cmd": ["bash"]},
    )
    assert [sentence(each) for each in found.changes] == [
        "Env A is 9 instead of 1", "ExposedPort 80/tcp is gone", 'Cmd is ["bash"] instead of ["sh"]',
    ]  # fmt: skip
    assert found.kept == (Change("Env B", "2", "3"), Change("User", "me", "app"))


def test_a_change_reads_as_a_sentence() -> None:
    assert sentence(Change("Label v", "", "1")) == "Label v is new: 1"
    assert sentence(Change("Volume /a", "", "{}")) == "Volume /a is new"
    assert sentence(Change("Label v", "1", "")) == "Label v is gone, it was 1"


def test_what_is_no_object_or_list_counts_as_nothing() -> None:
    assert merged({"Env": "A=1", "Labels": []}, {"Env": "x", "Labels": 5}, {"Env": ["B=1"]}).run == {
        "Env": ["B=1"], "Labels": None,
    }  # fmt: skip
