"""Directories, maps of sizes and histories of paths, as JSON."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.finished import loaded
from tests.support.served import Client, served
from tests.view.web.conftest import APP_REF, EVIL_NAMES
from veneer.engine.engine import Engine
from veneer.testing.images import Tree, directory
from veneer.view.web import trees

TREE = f"/images/{APP_REF}/tree"


def names(document: dict[str, list[dict[str, str]]]) -> list[str]:
    return [each["name"] for each in document["entries"]]


def test_a_directory_is_told_by_size_name_waste_or_layer(site: Client) -> None:
    found = site.ask(TREE)
    assert (found["path"], found["at"], found["since"], found["total"]) == ("/", 3, 0, 4)
    assert names(found) == ["usr", "etc", "app", "caf\\xe9"]
    assert names(site.ask(f"{TREE}?sort=name")) == ["app", "caf\\xe9", "etc", "usr"]
    assert names(site.ask(f"{TREE}?sort=waste"))[:2] == ["etc", "app"]
    assert names(site.ask(f"{TREE}?sort=layer"))[0] == "caf\\xe9"
    usr = found["entries"][0]
    assert (usr["type"], usr["size"], usr["layers"], usr["children"]) == ("directory", 50_000, [1], 3)


def test_a_directory_comes_in_pages_that_together_are_all(site: Client) -> None:
    whole = names(site.ask(f"{TREE}?path=/app&hidden=1"))
    paged: list[str] = []
    after = ""
    while True:
        page = site.ask(f"{TREE}?path=/app&hidden=1&limit=2&after={after}")
        paged += names(page)
        if page["next"] is None:
            break
        after = page["next"]
    assert paged == whole and len(whole) == 4


def test_what_layers_did_has_its_letters(site: Client) -> None:
    def ops(query: str) -> dict[str, str]:
        return {each["name"]: each["op"] for each in site.ask(f"{TREE}?{query}")["entries"]}

    assert ops("path=/app&since=2&at=3") == {"data.bin": "U", "link": "U", "read.me": "U"}
    assert ops("path=/app&since=2&at=3&show=D") == {"gone.txt": "D"}
    assert ops("path=/etc&since=1&at=2") == {"os": "P"}
    assert ops("since=1&show=AMPDO") == {"app": "A", "etc": "M", "caf\\xe9": "A"}
    assert ops("since=2&show=%C2%B7") == {"usr": "U", "etc": "U"}
    assert ops("path=/app&q=READ") == {"read.me": "A"}
    entry = site.ask(f"{TREE}?path=/etc&since=1")["entries"][0]
    assert (entry["changed"], entry["mode"], entry["waste"]) == (["mode"], "0600", 1000)


def test_names_of_any_bytes_are_found_again(site: Client) -> None:
    entry = next(each for each in site.ask(TREE)["entries"] if "raw" in each)
    assert base64.b64decode(entry["raw"]) == b"caf\xe9"
    for path in ("/caf%E9", quote(entry["path"])):
        found = site.ask(f"/images/{APP_REF}/history?path={path}")
        assert (found["path"], found["raw"]) == (entry["path"], entry["raw"])
        assert site.send(f"/api/v1/images/{APP_REF}/file?path={path}").body == b"latin"


def test_hostile_names_come_whole_and_are_all_found(site: Client) -> None:
    found = site.ask("/images/evil:1/tree?path=/d")["entries"]
    assert len(found) == len(EVIL_NAMES)
    for entry in found:
        path = base64.b64decode(entry["raw"]) if "raw" in entry else entry["path"].encode()
        told = site.ask(f"/images/evil:1/history?path={quote(path)}")
        assert told["events"][0]["size"] == 100
        assert site.send(f"/api/v1/images/evil:1/file?path={quote(path)}").body == b"x" * 100


@pytest.mark.parametrize("query, status", [
    ("path=/nowhere", 404), ("path=/etc/os", 404), ("path=/../etc", 404), ("at=4", 400), ("since=3&at=2", 400),
    ("at=x", 400), ("at=-1", 400), ("limit=1001", 400), ("limit=" + "9" * 30, 400), ("sort=magic", 400),
    ("show=Z", 400), ("after=x", 400), ("after=" + "9" * 13, 400), ("&".join(f"a{n}=1" for n in range(41)), 400),
    ("path=" + "/x" * 2000, 404), ("path=%00", 404), ("at=%D9%A1", 400),
])  # fmt: skip
def test_what_cannot_be_is_refused_with_a_reason(site: Client, query: str, status: int) -> None:
    assert site.ask(f"{TREE}?{query}", status)["error"]


def test_a_map_adds_up(site: Client) -> None:
    def check(box: dict[str, object], depth: int) -> int:
        children = box.get("children")
        if children is None:
            return depth
        assert isinstance(children, list)
        other = box.get("other") or {"size": 0, "waste": 0}
        assert isinstance(other, dict)
        assert sum(child["size"] for child in children) + other["size"] == box["size"]
        assert sum(child["waste"] for child in children) + other["waste"] <= box["waste"]
        return max([check(child, depth + 1) for child in children] + [depth])

    whole = site.ask(f"/images/{APP_REF}/rollup?depth=8&min=1")
    assert whole["size"] == site.ask(f"/images/{APP_REF}")["visible"]
    assert check(whole, 0) == 3
    assert check(site.ask(f"/images/{APP_REF}/rollup?depth=1"), 0) == 1
    inner = site.ask(f"/images/{APP_REF}/rollup?path=/usr&min=100000")
    assert (inner["path"], inner["layer"], inner["children"], inner["other"]["n"]) == ("/usr", 1, [], 1)


def test_a_map_has_only_so_many_boxes_whatever_is_asked_for(site: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trees, "MOST_BOXES", 3)
    found = site.ask("/images/evil:1/rollup?path=/d&min=1")
    assert [child["size"] for child in found["children"]] == [100] * 3
    assert found["other"] == {"n": 7, "size": 700, "waste": 0}


def test_a_paths_history_says_who_did_what(site: Client) -> None:
    told = site.ask(f"/images/{APP_REF}/history?path=/app/gone.txt")
    assert [(each["layer"], each["op"], each["instruction"]) for each in told["events"]] == [
        (2, "A", "COPY . /app"), (3, "D", "RUN rm <b>")]  # fmt: skip
    assert told["verdict"] == {"stored": 300, "visible": 0}
    changed = site.ask(f"/images/{APP_REF}/history?path=/etc/os")
    assert changed["events"][1]["fields_changed"] == ["mode"] and changed["verdict"]["stored"] == 2000
    linked = site.ask(f"/images/{APP_REF}/history?path=/usr/lib/b")
    assert linked["verdict"] == {"stored": 0, "visible": 50_000}
    assert [(event["names"], event["broke"]) for event in linked["events"]] == [(["/usr/lib/a"], [])]
    assert site.ask(f"/images/{APP_REF}/history?path=/no", 404)["error"] == (
        "/no is in no layer of example.com:5000/team/app:1")  # fmt: skip


@pytest.mark.parametrize("sort", ["size", "name", "waste", "layer"])
def test_every_order_is_paged_through_whole(engine: Engine, sort: str) -> None:
    first: Tree = {"d": directory()} | {f"d/f{n:02}": b"x" * (n % 7) for n in range(50)} | {"d/bad\udcff": b"1"}
    loaded(engine, "many:1", first, {f"d/f{n:02}": b"y" * (n % 3) for n in range(0, 50, 4)} | {"d/sub/x": b"123456"})
    with served(engine) as client:
        pages = [client.ask(f"/images/many:1/tree?path=/d&limit=15&sort={sort}&hidden=1")]
        while pages[-1]["next"]:
            after = pages[-1]["next"]
            pages.append(client.ask(f"/images/many:1/tree?path=/d&limit=15&sort={sort}&hidden=1&after={after}"))
    rows = [row for page in pages for row in page["entries"]]
    assert {page["total"] for page in pages} == {len(rows)} == {52} and len(pages) == 4
    holders = [sum(1 << layer for layer in row["layers"]) for row in rows]
    keys: list[Any] = {
        "name": [[0]] * 52, "size": [[-row["size"], -row["waste"]] for row in rows],
        "waste": [[-row["waste"], -row["size"]] for row in rows], "layer": [[-holder] for holder in holders],
    }[sort]  # fmt: skip
    keyed = [(key, base64.b64decode(row.get("raw", "")) or row["path"].encode()[1:])
             for key, row in zip(keys, rows, strict=True)]  # fmt: skip
    assert keyed == sorted(keyed) and len(set(map(str, keyed))) == 52


def test_an_image_without_layers_has_an_empty_tree(engine: Engine) -> None:
    loaded(engine, "bare:1")
    with served(engine) as client:
        assert client.ask("/images/bare:1")["layers"] == []
        assert client.ask("/images/bare:1/tree")["total"] == 0
        assert client.ask("/images/bare:1/rollup")["size"] == 0
        assert client.ask("/compare?images=bare:1")["trie"] == []
        assert "Layers, base first" in client.page("/i/bare:1")
