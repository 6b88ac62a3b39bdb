"""A derived image's config: parent's history and layers, one step more, nothing of the parent's own making."""

from __future__ import annotations

import json
from typing import Any

import pytest

from veneer.build.derivation import InvalidChange, StepConfigs, derived_config, history_row, merge_run
from veneer.build.runconfig import RunConfig
from veneer.engine.inspection import inspection, run_config
from veneer.oci.digest import DiffID, Digest
from veneer.oci.image import HistoryEntry, ImageConfig
from veneer.oci.platform import Platform

DIFF = DiffID(Digest.of(b"diff"))
LINUX = Platform("linux", "amd64")


def derive(parent: ImageConfig | None, diff_id: DiffID | None, entry: HistoryEntry, **run: Any) -> ImageConfig:
    return ImageConfig.parse(derived_config(parent, diff_id=diff_id, entry=entry, run=run, platform=LINUX))


def test_env_is_replaced_in_place_and_appended() -> None:
    assert merge_run({"Env": ["A=1", "B=2"]}, {"Env": ["A=3", "C=4"]})["Env"] == ["A=3", "B=2", "C=4"]
    assert merge_run({}, {"Env": {"A": "x=y"}})["Env"] == ["A=x=y"]


def test_maps_merge_and_the_rest_is_replaced() -> None:
    run = {"Labels": {"a": "1"}, "Cmd": ["x"], "User": "u", "Volumes": None}
    merged = merge_run(run, {"Labels": {"b": "2"}, "Cmd": ["y"], "User": None, "Volumes": {"/v": {}}})
    assert merged == {"Labels": {"a": "1", "b": "2"}, "Cmd": ["y"], "Volumes": {"/v": {}}}
    assert run["Labels"] == {"a": "1"}


def test_a_key_no_config_has_is_refused() -> None:
    with pytest.raises(InvalidChange, match="'Comand'"):
        merge_run({}, {"Comand": []})
    with pytest.raises(InvalidChange, match="without a name"):
        merge_run({}, {"Env": ["=x"]})


def test_a_child_continues_its_parent() -> None:
    base = derive(None, DIFF, HistoryEntry("2023-11-14T22:13:20Z", "ADD rootfs", "me", "first"), Env=["A=1"])
    child = derive(base, None, HistoryEntry("2023-11-14T22:13:21Z", 'CMD ["sh"]', empty_layer=True), Cmd=["sh"])
    assert child.diff_ids == (DIFF,)
    assert [entry.created_by for entry in child.history] == ["ADD rootfs", 'CMD ["sh"]']
    assert child.run == {"Env": ["A=1"], "Cmd": ["sh"]}
    assert child.created == "2023-11-14T22:13:21Z"
    assert "author" not in child.document
    assert base.document["author"] == "me"
    assert list(child.document) == sorted(child.document)


def test_the_same_step_gives_the_same_image_id() -> None:
    entry = HistoryEntry("2023-11-14T22:13:20Z", "ADD")
    assert derive(None, DIFF, entry).image_id == derive(None, DIFF, entry).image_id


def inspected(document: dict[str, Any], **more: Any) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "tags": ["a:1"], "digests": [], "parent": "", "size": 5, "driver": "vfs", "driver_data": None, "last_tagged": 0,
    }  # fmt: skip
    return inspection(ImageConfig.parse(json.dumps(document).encode()), **facts | more)


def test_inspect_has_dockers_keys_in_dockers_order() -> None:
    shown = inspected({"os": "linux", "architecture": "arm", "variant": "v7", "rootfs": {"diff_ids": [str(DIFF)]}})
    assert " ".join(shown) == (
        "Id RepoTags RepoDigests Parent Comment Created Container ContainerConfig DockerVersion Author Config "
        "Architecture Variant Os Size VirtualSize GraphDriver RootFS Metadata"
    )
    assert shown["RootFS"] == {"Type": "layers", "Layers": [str(DIFF)]}
    assert shown["Created"] == shown["Metadata"]["LastTagTime"] == "0001-01-01T00:00:00Z"
    assert shown["Config"] is None
    assert shown["GraphDriver"] == {"Data": None, "Name": "vfs"}


def test_an_image_from_scratch_shows_no_layers_key() -> None:
    assert inspected({"rootfs": {"type": "layers"}})["RootFS"] == {"Type": "layers"}


def test_the_comment_is_that_of_the_last_history_entry() -> None:
    document = {
        "rootfs": {"diff_ids": [str(DIFF)]},
        "history": [{"comment": "a"}, {"comment": "b", "empty_layer": True}],
    }
    assert inspected(document)["Comment"] == "b"


def test_a_run_config_gets_dockers_zero_values_and_keeps_what_is_unknown() -> None:
    shown = run_config({"Cmd": ["x"], "Shell": ["sh"], "X-New": 1, "Labels": {}})
    assert shown is not None
    assert list(shown)[:6] == ["Hostname", "Domainname", "User", "AttachStdin", "AttachStdout", "AttachStderr"]
    assert "ExposedPorts" not in shown
    assert (shown["Env"], shown["Labels"], shown["Shell"], shown["X-New"]) == (None, {}, ["sh"], 1)


def test_steps_written_one_on_the_other_are_as_if_each_was_read_and_written_whole() -> None:
    configs = StepConfigs()
    below: ImageConfig | None = None
    for number, text in enumerate(("LABEL a=<1>", "half \ud800 a letter", "COPY x /", "LABEL \u2028=\u00e9")):
        run = RunConfig(labels=(("b", text), ("a", str(number))))
        diff_id = DiffID(Digest.of(b"x")) if text.startswith("COPY") else None
        row = history_row("2020-01-01T00:00:00Z", "", text, empty=diff_id is None)
        given: Any = {"run": run, "container": run, "row": row, "diff_id": diff_id, "platform": LINUX}
        made = configs.config(below, **given)
        assert made == StepConfigs().config(None if below is None else ImageConfig.parse(below.raw), **given)
        assert made == ImageConfig.parse(made.raw)
        below = made
    assert below is not None and len(below.history) == 4 and len(below.diff_ids) == 1
