"""Several images side by side, and two against each other."""

from __future__ import annotations

import contextlib
import json

from tests.support.served import Client
from tests.view.web.conftest import APP_REF
from veneer.analysis.sharing import Stack
from veneer.engine.looking.subject import Documents, Subject
from veneer.oci.digest import DiffID, Digest
from veneer.oci.image import ImageConfig
from veneer.view.web.comparing import Trie
from veneer.view.web.subjects import Looked


def test_shared_layers_are_told_once_with_all_that_have_them(site: Client) -> None:
    found = site.ask(f"/compare?images={APP_REF},other:2,os:1,elsewhere:1")
    assert [each["ref"] for each in found["images"]] == [
        "example.com:5000/team/app:1",
        "other:2",
        "os:1",
        "elsewhere:1",
    ]
    (base, other) = found["trie"]
    assert (base["images"], base["index"], other["images"]) == ([0, 1, 2], 1, [3])
    assert [child["images"] for child in base["children"]] == [[0], [1]]
    assert base["children"][0]["also"] == [3] and other["children"][0]["also"] == [0]
    layers = [layer for each in found["images"] for layer in each["layers"]]
    assert found["unshared"] == sum(layer["stored"] for layer in layers)
    unique = {layer["chain_id"]: layer["stored"] for layer in layers}
    assert (found["unique"], found["unique_layers"]) == (sum(unique.values()), len(unique))
    assert found["saved"] == found["unshared"] - found["unique"] and found["largest"] == max(unique.values())


def test_an_image_that_is_not_here_does_not_spoil_the_others(site: Client) -> None:
    found = site.ask("/compare?images=os:1,nope:1,,BAD,os:1")
    assert [each["ref"] for each in found["images"]] == ["os:1"]
    assert [each["ref"] for each in found["errors"]] == ["nope:1", "BAD"]
    assert site.ask("/compare", 400)["hint"] and site.ask("/compare?images=" + ",".join(map(str, range(61))), 400)


def test_a_stack_of_hundreds_of_layers_is_told_without_recursion() -> None:
    opened, stacks = [], []
    for name in ("deep:1", "deep:2"):
        diff_ids = [DiffID(Digest.of(b"%d" % number)) for number in range(900)] + [DiffID(Digest.of(name.encode()))]
        raw = {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": diff_ids}}
        config = ImageConfig.parse(json.dumps(raw).encode())
        blobs = (None,) * len(diff_ids)
        subject = Subject(Documents(name, "store", config, (), None, None, None, blobs), lambda: ())
        opened.append((name, Looked(subject, None, contextlib.ExitStack())))
        stacks.append(Stack(name, config.chain_ids, config.diff_ids, (1,) * len(diff_ids)))
    trie = Trie(opened, stacks, ())
    text = trie.text()
    depth = deepest = 0
    for char in text:
        depth += (char in "[{") - (char in "]}")
        deepest = max(deepest, depth)
    assert depth == 0 and deepest > 1800
    assert text.count('"children":') == 902 == len(list(trie.rows()))
    assert [row["index"] for row in trie.rows()] == [*range(1, 902), 901]


def test_two_images_differ_in_files_settings_and_rows(site: Client) -> None:
    found = site.ask(f"/diff?a=os:1&b={APP_REF}")
    assert {each["path"]: each["op"] for each in found["files"]} == {
        "/app": "A", "/caf\\xe9": "A", "/etc/os": "P"}  # fmt: skip
    changed = next(each for each in found["files"] if each["op"] == "P")
    assert (changed["before"]["mode"], changed["after"]["mode"], changed["changed"]) == ("0644", "0600", ["mode"])
    assert "Cmd" in {each["key"] for each in found["settings"]} and found["history"]
    page = site.ask(f"/diff?a=os:1&b={APP_REF}&limit=1&after=1")
    assert (len(page["files"]), page["total"], page["next"]) == (1, 3, "2")
    assert site.ask("/diff?a=os:1&b=os:1&mode=semantic")["files"] == []
    assert site.ask("/diff?a=os:1&b=os:1&mode=loose", 400)["error"] and site.ask("/diff?a=os:1&b=nope", 404)["error"]
