"""An image in one piece says of every depth what the image itself does."""

from __future__ import annotations

import base64
import gzip
import json
import math
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.analysis.stacks import random_stack
from tests.support.finished import loaded
from tests.view.web.conftest import APP, BASE, EVIL_NAMES, LAST
from veneer.analysis.events import events_of
from veneer.analysis.table import Table
from veneer.analysis.view import View
from veneer.engine.engine import Engine
from veneer.testing.images import Tree
from veneer.view.web.embedded import _FIRST_FOLD, _Gathered, embed

Sums = tuple[int, int, tuple[int, ...]]
"""Bytes to be seen, bytes wasted, the layers that hold them, counted from 1."""


def names(columns: dict[str, Any]) -> list[bytes]:
    """The names of all items, as bytes."""
    raw = columns["paths"]["raw"]
    texts = columns["paths"]["name"].split("/")
    return [base64.b64decode(raw[str(item)]) if str(item) in raw else name.encode() for item, name in enumerate(texts)]


def paths(columns: dict[str, Any]) -> list[bytes]:
    found: list[bytes] = []
    for item, name in enumerate(names(columns)):
        above = found[item - columns["paths"]["up"][item]] if item else b""
        found.append(above + b"/" + name if above else name)
    return found


def sums_of(columns: dict[str, Any], at: int) -> dict[bytes, Sums]:
    """For each path what it and all in it comes to after `at` layers, as the module's form says."""
    copies, ups = columns["copies"], columns["paths"]["up"]
    size, ended, layer = copies["size"], copies["ended"], copies["layer"]

    def seen(copy: int) -> bool:
        return bool(layer[copy] <= at and (ended[copy] == 0 or ended[copy] > at))

    linked: dict[int, list[tuple[int, int, int]]] = {}
    for copy, first, last, item in columns["names"]:
        linked.setdefault(copy, [(layer[copy], ended[copy], copy)]).append((first, last, item))
    held = {copy: {copy: (size[copy], layer[copy])} for copy in range(len(size))}
    for copy, others in linked.items():
        there = [(last, item) for first, last, item in others if first <= at]
        if there:
            alive = [item for last, item in there if last == 0 or last > at]
            owner = alive[0] if alive else max(there, key=lambda each: each[0])[1]
            held[owner][copy] = held[copy].pop(copy)
    found: list[tuple[int, int, set[int]]] = []
    copy = 0
    for number in columns["paths"]["copies"]:
        own = [each for each in range(copy, copy + number) if layer[each] <= at]
        copy += number
        found.append((
            sum(bytes for each in own if seen(each) for bytes, _ in held[each].values()),
            sum(bytes for each in own if not seen(each) for bytes, _ in held[each].values()),
            {holder for each in own for bytes, holder in held[each].values() if bytes},
        ))  # fmt: skip
    for item in range(len(found) - 1, 0, -1):
        above = found[item - ups[item]]
        found[item - ups[item]] = (above[0] + found[item][0], above[1] + found[item][1], above[2] | found[item][2])
    return {path: (size, waste, tuple(sorted(holders)))
            for path, (size, waste, holders) in zip(paths(columns), found, strict=True)}  # fmt: skip


def seen_by(view: View) -> Iterator[tuple[bytes, Sums]]:
    """The same from the image itself."""
    total = view.total()
    yield b"", (total.size, total.waste, tuple(layer + 1 for layer in total.layers))
    pending = [(b"", view.table.root())]
    while pending:
        path, place = pending.pop()
        for line in view.beneath(path, place):
            yield line.path, (line.sums.size, line.sums.waste, tuple(layer + 1 for layer in line.sums.layers))
            if line.place is not None:
                pending.append((line.path, line.place))


@pytest.mark.parametrize("seed", range(25))
def test_every_depth_of_random_stacks_adds_up_to_the_same(seed: int, tmp_path: Path) -> None:
    stack = random_stack(Random(seed), tmp_path, 5)
    table = Table(stack.indexes)
    columns = _Gathered(table).columns(0)
    for at in range(len(stack.indexes) + 1):
        told = sums_of(columns, at)
        here = dict(seen_by(View(table, at)))
        assert {path: told[path] for path in here} == here, f"after {at} layers"
        assert all(not sum(told[path][:2]) for path in told.keys() - here.keys())


@pytest.mark.parametrize("seed", range(10))
def test_what_is_folded_is_still_counted(seed: int, tmp_path: Path) -> None:
    table = Table(random_stack(Random(seed), tmp_path, 4, size=24).indexes)
    gathered = _Gathered(table)
    whole = gathered.columns(0)
    for least in (5, 500, 10**6):
        folded = gathered.columns(least)
        number = sum(folded["copies"]["n"].get(str(item), 1) for item in range(len(folded["copies"]["type"])))
        assert number == len(whole["copies"]["type"])
        for at in range(len(table.indexes) + 1):
            assert stored(folded, at) == stored(whole, at)
            assert sums_of(folded, at)[b""][:2] == sums_of(whole, at)[b""][:2]
        now, then = sums_of(folded, len(table.indexes)), sums_of(whole, len(table.indexes))
        assert {path: sums[:2] for path, sums in now.items()} == {path: then[path][:2] for path in now}, (
            "nothing is lost"
        )
        assert all(path in set(paths(whole)) for path in paths(folded))


def stored(columns: dict[str, Any], at: int) -> int:
    copies = columns["copies"]
    return sum(size for size, layer in zip(copies["size"], copies["layer"], strict=True) if layer <= at)


def document(engine: Engine, name: str, limit: int = 10**7) -> dict[str, Any]:
    with engine.looking.open(name) as subject:
        packed = embed(subject, limit)
        assert packed == embed(subject, limit), "the same image gives the same bytes"
    found = json.loads(gzip.decompress(packed))
    assert isinstance(found, dict)
    return found


def test_a_copy_has_all_that_a_layer_says_of_it(engine: Engine) -> None:
    loaded(engine, "app:1", BASE, APP, LAST)
    told = document(engine, "app:1")
    copies, at = told["copies"], 0
    items = {}
    for path, number in zip(paths(told), told["paths"]["copies"], strict=True):
        items[path] = range(at, at + number)
        at += number
    times = [sum(copies["mtime"][: item + 1]) for item in range(at)]
    with engine.looking.open("app:1") as subject:
        for path, own in items.items():
            events = [event for event in events_of(subject.table, path, subject.table.find(path)[0])
                      if str(event.op) != "D"]  # fmt: skip
            assert len(own) == len(events), path
            for item, event in zip(own, events, strict=True):
                entry = event.entry
                assert copies["layer"][item] == event.layer + 1
                assert copies["mode"][item] == entry.mode and times[item] == entry.mtime_ns // 10**9
                assert told["owners"][copies["owner"][item]] == [entry.uid, entry.gid]
                assert copies["type"][item] == "h" or copies["link"].get(str(item), "") == entry.link.decode()
    first, second = items[b"etc/os"]
    assert copies["same"] == {str(second): first} and copies["cause"][first] == 5
    (gone,) = items[b"app/gone.txt"]
    assert (copies["ended"][gone], copies["cause"][gone]) == (3, 1)
    assert paths(told)[-1] == b"usr/lib/b" and b"caf\xe9" in items


def test_the_documents_are_those_of_the_server(engine: Engine) -> None:
    loaded(engine, "evil:1", {f"d/{name}": b"x" * 100 for name in EVIL_NAMES}, {"d": b"now a file"})
    told = document(engine, "evil:1")
    assert {path for path in paths(told) if path.startswith(b"d/")} == {
        b"d/" + name.encode("utf-8", "surrogateescape") for name in EVIL_NAMES}  # fmt: skip
    assert (told["format"], told["least"]) == (1, 0)
    assert told["image"]["ref"] == "evil:1" and len(told["image"]["layers"]) == 2
    assert set(told["waste"]) == {"path", "layer", "cause"} and told["waste"]["cause"]["rows"][0]["key"]
    assert set(told["labels"]) == {"labels", "missing", "links"} and set(told["findings"]) == {"total", "rows", "next"}


def test_it_is_only_so_large(engine: Engine) -> None:
    random = Random(1)
    tree: Tree = {f"d{n % 50}/f{random.getrandbits(64):x}": random.randbytes(n) for n in range(700)}
    loaded(engine, "many:1", tree)
    with engine.looking.open("many:1") as subject:
        whole = embed(subject)
        for limit in (len(whole) * 2 // 3, 4000):
            packed = embed(subject, limit)
            told = json.loads(gzip.decompress(packed))
            assert len(packed) <= limit and told["least"] >= _FIRST_FOLD // 8
            assert stored(told, 1) == subject.account.stored
        assert len(json.loads(gzip.decompress(embed(subject, 1)))["paths"]["up"]) == 1, "nothing but the root is left"


def test_an_image_without_layers_is_a_root(engine: Engine) -> None:
    loaded(engine, "scratch:1")
    assert document(engine, "scratch:1")["paths"]["up"] == [0]


def test_many_paths_take_few_bytes(engine: Engine) -> None:
    """As many as the specification measured take no more bytes each than that says."""
    tree: Tree = {f"usr/share/doc/package-{n // 20}/file-{n % 20}.txt": b"x" * (n % 700) for n in range(1500)}
    loaded(engine, "many:1", tree)
    with engine.looking.open("many:1") as subject:
        assert math.ceil(len(embed(subject)) / 1500) <= 10
