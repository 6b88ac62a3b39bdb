"""One directory of several images, name by name."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.finished import loaded
from tests.support.served import Client, served
from tests.view.web.conftest import APP_REF
from veneer.engine.engine import Engine
from veneer.testing.images import directory, file
from veneer.view.web import comparing

ALL = f"os:1,{APP_REF},other:2,elsewhere:1"


def cells(row: dict[str, Any]) -> list[str]:
    """What stands in each cell: its state and how many paths in it differ."""
    return ["-" if cell is None else f"{cell['op']}{cell['differing'] or ''}" for cell in row["cells"]]


def test_names_of_one_directory_stand_in_rows_with_a_cell_for_each_image(site: Client) -> None:
    found = site.ask(f"/compare/files?images={ALL},nope:1")
    assert [each["ref"] for each in found["images"]] == [
        "os:1",
        "example.com:5000/team/app:1",
        "other:2",
        "elsewhere:1",
    ]
    assert [each["ref"] for each in found["errors"]] == ["nope:1"]
    assert {row["path"]: cells(row) for row in found["rows"]} == {
        "/app": ["-", "A4", "-", "A5"], "/b": ["-", "-", "A1", "-"], "/caf\\xe9": ["-", "A1", "-", "-"],
        "/etc": ["U", "M1", "U", "M1"], "/first": ["-", "-", "-", "A1"], "/usr": ["U", "U", "U", "-"],
    }  # fmt: skip
    assert [each["whole"]["differing"] for each in found["images"]] == [0, 6, 1, 11]
    assert [row["differs"] for row in found["rows"]] == [True] * 6
    (etc,) = site.ask(f"/compare/files?images=os:1,{APP_REF}&path=/etc")["rows"]
    assert (cells(etc), etc["cells"][1]["changed"], etc["cells"][1]["mode"]) == (["U", "P1"], ["mode"], "0600")


def test_they_are_held_against_any_of_them_sorted_and_left_out(site: Client) -> None:
    asked = f"/compare/files?images={ALL}&base=other:2"
    found = site.ask(asked)
    assert found["base"] == 2
    assert {row["name"]: cells(row) for row in found["rows"]}["b"] == ["-", "-", "U", "-"]
    sizes = [max(cell["size"] for cell in row["cells"] if cell) for row in site.ask(f"{asked}&sort=size")["rows"]]
    assert sizes == sorted(sizes, reverse=True) and sizes[0] == 50_000
    assert [row["name"] for row in site.ask(f"{asked}&q=F")["rows"]] == ["caf\\xe9", "first"]
    same = f"/compare/files?images=os:1,other:2,{APP_REF}"
    assert "usr" not in {row["name"] for row in site.ask(f"{same}&show=different")["rows"]}
    page = site.ask(f"{same}&limit=1&after=1")
    assert (len(page["rows"]), page["total"], page["next"]) == (1, 5, "2")


def test_a_path_that_one_has_as_a_file_is_told_as_such(site: Client) -> None:
    found = site.ask(f"/compare/files?images=os:1,{APP_REF}&path=/etc/os")
    assert found["rows"] == [] and [each["whole"]["size"] for each in found["images"]] == [1000, 1000]
    assert site.ask("/compare/files?images=os:1,other:2&path=/nope", 404)["hint"]
    assert site.ask("/compare/files", 400)["hint"] and site.ask("/compare/files?images=none:1")["images"] == []
    many = ",".join(str(each) for each in range(25))
    assert site.ask(f"/compare/files?images={many}", 400)["error"]


def test_what_nobody_counted_is_not_called_the_same(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded(engine, "one:1", {f"{letter}/{number}": b"1" for letter in "abc" for number in range(3)} | {"d": b"1"})
    loaded(engine, "two:1", {f"{letter}/{number}": b"2" for letter in "abc" for number in range(3)} | {"d": b"1"})
    monkeypatch.setattr(comparing, "MOST_DIFFERENCES", 4)
    with served(engine) as client:
        found = client.ask("/compare/files?images=one:1,two:1")
        told = {row["name"]: (row["cells"][1]["differing"], row["differs"]) for row in found["rows"]}
        assert told == {"a": (3, True), "b": (None, True), "c": (None, True), "d": (None, True)}
        assert found["images"][1]["whole"]["differing"] is None


def test_layers_tell_what_they_have_at_a_path(site: Client) -> None:
    trie = site.ask(f"/compare?images={APP_REF},os:1,elsewhere:1&path=/etc")["trie"]
    inside = {}
    while trie:
        node = trie.pop()
        inside[node["images"][0], node["index"]] = node["inside"]
        trie += node["children"]
    assert inside == {(0, 1): 1000, (0, 2): 1000, (0, 3): None, (2, 1): None, (2, 2): 1000}
    assert "inside" not in site.ask("/compare?images=os:1")["trie"][0]
    assert site.ask("/compare?images=os:1&path=/")["trie"][0]["inside"] == 51_000


def test_rows_of_a_large_directory_come_in_pages(engine: Engine) -> None:
    tree = {"d": directory()} | {f"d/{number:05}": file(b"") for number in range(2500)}
    loaded(engine, "one:1", tree)
    loaded(engine, "two:1", tree, {"d/.wh.00007": b"", "d/x": b"1"})
    with served(engine) as client:
        asked = "/compare/files?images=one:1,two:1&path=/d"
        assert client.ask(f"{asked}&limit=1000&after=2000")["total"] == 2501
        assert [row["name"] for row in client.ask(f"{asked}&show=different")["rows"]] == ["00007", "x"]
