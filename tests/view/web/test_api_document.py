"""docs/web-api.md tells all addresses, and what comes from them has just the shapes that stand there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.support.served import Client
from tests.view.web.conftest import APP_REF
from veneer.engine.engine import Engine
from veneer.view.web.application import application
from veneer.view.web.live import told

DOCUMENT = (Path(__file__).parents[3] / "docs/web-api.md").read_text()
_SHAPES = re.search(r"^```shapes\n(.*?)^```$", DOCUMENT, re.M | re.S)
assert _SHAPES
_TOKENS = re.compile(r'\s*(\.\.\.|[\[\]{}:,|=?]|"[^"]*"|\w+)')
Shape = Any
"""("list", Shape), ("map", Shape), ("object", {key: (Shape, optional)}), ("any of", [Shape]), ("word", text) or
("is", name)."""


class Reader:
    """The shapes of the document by name."""

    def __init__(self, text: str) -> None:
        self._tokens = _TOKENS.findall(text)
        self._at = 0
        self.shapes: dict[str, Shape] = {}
        while self._at < len(self._tokens):
            name = self._next()
            assert self._next() == "=" and name not in self.shapes, name
            self.shapes[name] = self._any_of()

    def _next(self) -> str:
        self._at += 1
        return str(self._tokens[self._at - 1])

    def _is_next(self, token: str) -> bool:
        found = self._at < len(self._tokens) and self._tokens[self._at] == token
        self._at += found
        return found

    def _any_of(self) -> Shape:
        found = [self._one()]
        while self._is_next("|"):
            found.append(self._one())
        return ("any of", found) if len(found) > 1 else found[0]

    def _one(self) -> Shape:
        token = self._next()
        if token == "[":
            found = ("list", self._any_of())
            assert self._next() == "]"
            return found
        if token == "{":
            return self._object()
        return ("word", token[1:-1]) if token.startswith('"') else ("is", token)

    def _object(self) -> Shape:
        keys: dict[str, tuple[Shape, bool]] = {}
        while True:
            if self._is_next("..."):
                keys |= self.shapes[self._next()][1]
            else:
                key, optional = self._next(), self._is_next("?")
                assert self._next() == ":", key
                keys[key] = (self._any_of(), optional)
            if self._next() == "}":
                return ("map", keys["text"][0]) if list(keys) == ["text"] else ("object", keys)


SHAPES = Reader(_SHAPES[1]).shapes
KINDS: dict[str, tuple[type, ...]] = {
    "text": (str,), "number": (int, float), "bool": (bool,), "null": (type(None),), "any": (object,)}  # fmt: skip


def wrong(value: Any, shape: Shape, where: str = "$") -> list[str]:
    """What about a value is not as its shape has it."""
    kind, of = shape
    if kind == "is":
        if of in SHAPES:
            return wrong(value, SHAPES[of], where)
        fits = isinstance(value, KINDS[of]) and not (of == "number" and isinstance(value, bool))
        return [] if fits else [f"{where} is no {of}: {value!r}"]
    if kind == "word":
        return [] if value == of else [f"{where} is not {of}: {value!r}"]
    if kind == "any of":
        found = [wrong(value, each, where) for each in of]
        return [] if [] in found else min(found, key=len)
    if kind == "list":
        if not isinstance(value, list):
            return [f"{where} is no list"]
        return [each for number, item in enumerate(value) for each in wrong(item, of, f"{where}[{number}]")]
    if not isinstance(value, dict):
        return [f"{where} is no object: {value!r}"]
    if kind == "map":
        return [each for key, item in value.items() for each in wrong(item, of, f"{where}.{key}")]
    found_ = [f"{where}.{key} is not in the document" for key in value.keys() - of.keys()]
    found_ += [f"{where}.{key} is missing" for key, (_, optional) in of.items() if not optional and key not in value]
    return found_ + [each for key in of if key in value for each in wrong(value[key], of[key][0], f"{where}.{key}")]


def addresses() -> dict[str, str]:
    """Every address that the tables name, with what it answers."""
    found = {}
    for part, prefix in zip(DOCUMENT.split("## Answers"), ("/api/v1", ""), strict=True):
        for named, answer in re.findall(r"^\| (`/[^|]*) \|((?:\\\||[^|])*)\|", part, re.M):
            for address in re.findall(r"`([^`]*)`", named):
                found[prefix + address.partition("?")[0]] = answer.replace("\\|", "|").strip().strip("`")
    return found


def test_every_address_is_told_and_every_one_told_is_there(engine: Engine) -> None:
    routes: set[str] = set()
    for resource in application(engine, "127.0.0.1").router.resources():
        assert isinstance(resource, web.Resource)
        routes.add(resource.canonical)
    pages = {"/", "/i/{ref}", "/compare", "/history", "/diff", "/l/{diff_id}", "/static/{name}"}
    assert all(f"`{page}`" in DOCUMENT for page in pages)
    assert set(addresses()) | pages == routes


DIFF_ID = "DIFF_ID"
ASKED = [
    ("/images", ["", "?q=app", "?all=1&limit=1"]),
    ("/containers", [""]),
    ("/images/{ref}", [""]),
    ("/images/{ref}/tree", ["", "?path=/app&hidden=1", "?at=2&since=1&show=AM", "?path=/etc&since=1", "?limit=1"]),
    ("/images/{ref}/rollup", ["", "?path=/app&depth=1", "?min=100000", "?path=/etc/os"]),
    ("/images/{ref}/history", ["?path=/etc/os", "?path=/app/gone.txt", "?path=/app/link"]),
    ("/images/{ref}/waste", ["", "?by=layer", "?by=cause", "?limit=1"]),
    ("/images/{ref}/findings", ["", "?limit=1"]),
    ("/images/{ref}/labels", [""]),
    ("/images/{ref}/tags", [""]),
    ("/images/{ref}/dockerfile", [""]),
    ("/images/{ref}/whatif", ["?squash=1-2", "?without=/app", "?have=os:1"]),
    ("/compare", [f"?images={APP_REF},os:1,elsewhere:1,none", f"?images={APP_REF},os:1&path=/etc"]),
    ("/compare/files", [f"?images={APP_REF},os:1,elsewhere:1,none", f"?images=os:1,{APP_REF}&path=/etc&sort=size"]),
    ("/diff", [f"?a=os:1&b={APP_REF}", f"?a=os:1&b={APP_REF}&mode=semantic&limit=1"]),
    ("/layers/{diff_id}/images", [""]),
    ("/search", ["?q=app", "?q=*.me", "?q=" + DIFF_ID]),
    ("/badges", [""]),
]


@pytest.mark.parametrize("address, queries", ASKED, ids=[address for address, _ in ASKED])
def test_answers_have_their_shape(site: Client, address: str, queries: list[str]) -> None:
    shape = Reader(f"X = {addresses()['/api/v1' + address]}").shapes["X"]
    diff_id = site.ask(f"/images/{APP_REF}")["layers"][1]["diff_id"]
    refs = [APP_REF, "evil:1"] if "{ref}" in address and queries[0] == "" and queries[1:] == [] else [APP_REF]
    for ref in refs:
        for query in queries:
            target = address.format(ref=ref, diff_id=diff_id) + query.replace(DIFF_ID, diff_id[7:17])
            assert wrong(site.ask(target), shape) == [], target


def test_all_answers_in_json_are_asked_for() -> None:
    told_ = {address.removeprefix("/api/v1") for address, answer in addresses().items()
             if answer and answer.split()[0].strip("[]") in SHAPES}  # fmt: skip
    assert told_ == {address for address, _ in ASKED}


def test_every_shape_is_of_use() -> None:
    once = [name for name in SHAPES if len(re.findall(rf"\b{name}\b", DOCUMENT)) < 2]
    assert once == []


def test_failures_have_theirs(site: Client) -> None:
    for target, status in (("/images/none", 404), ("/images/os:1/tree?at=x", 400), ("/nothing", 404)):
        assert wrong(site.ask(target, status), ("is", "Error")) == []
    assert wrong(site.send("/api/v1/images", "POST").json, ("is", "Error")) == []


def test_changes_have_theirs() -> None:
    event: Any = {"Type": "image", "Action": "pull", "scope": "local", "time": 1, "timeNano": 10**9,
                    "Actor": {"ID": "sha256:1", "Attributes": {"name": "os:1"}}}  # fmt: skip
    kind, data = told(event).strip().split("\n")
    assert kind == "event: image"
    assert wrong(json.loads(data.removeprefix("data: ")), ("is", "Change")) == []


def test_a_shape_is_read_strictly() -> None:
    assert wrong({"error": "x"}, ("is", "Error")) == ["$.hint is missing"]
    assert wrong({"error": "x", "hint": "", "more": 1}, ("is", "Error")) == ["$.more is not in the document"]
    squashed = {"squash": [1, "2"], "saved": True, "stored": 1, "stored_now": 2}
    assert wrong(squashed, ("is", "Squashed")) == ["$.squash[1] is no number: '2'", "$.saved is no number: True"]
