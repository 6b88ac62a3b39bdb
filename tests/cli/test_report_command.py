"""`veneer report`: a page that needs nothing else and that no name can break out of."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.cli.conftest import Veneer
from tests.support.finished import row
from veneer.testing.images import Tree, docker_archive, file, image

EVIL = 'x"><script>alert(1)</script>\n\x1b[31m\u202e</script>'
BASE: Tree = {"usr/big": b"b" * 50_000, "etc/" + EVIL.replace("/", "|"): b"1" * 600, "bin/su": file(b"s", 0o4755)}
TOP: Tree = {"usr/big": b"c" * 40_000}
VOID = {"meta", "br"}


class Page(HTMLParser):
    """The tags of a page, balanced, and the texts in them."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts.append((self.open[-1], data))


@pytest.fixture
def app(veneer: Veneer, tmp_path: Path) -> Veneer:
    made = image(BASE, TOP, history=[row(f"ADD {EVIL}"), row("COPY big /usr/")],
                 config={"Labels": {EVIL: EVIL}})  # fmt: skip
    archive = tmp_path / "app.tar"
    archive.write_bytes(docker_archive((made, ["demo/app:1"]), (image(BASE), ["demo/base:1"])))
    assert veneer("load", "-i", str(archive)).code == 0
    return veneer


def parsed(text: str) -> Page:
    page = Page()
    page.feed(text)
    page.close()
    assert not page.open
    return page


def test_a_page_has_everything_and_fetches_nothing(app: Veneer, tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    assert app("report", "-o", str(target), "demo/app:1", "demo/base:1").code == 0
    page = parsed(target.read_text())
    assert [text for tag, text in page.texts if tag == "h1"] == ["demo/app:1", "demo/base:1"]
    assert [text for tag, text in page.texts if tag == "h2"][:5] == [
        "Layers", "Where the bytes are", "Stored in vain", "Worth knowing", "Labels",
    ]  # fmt: skip
    assert not [
        name for _, attributes in page.tags for name in attributes if name in ("src", "href", "onclick", "onload")
    ]
    (policy,) = (attributes["content"] for tag, attributes in page.tags if attributes.get("http-equiv"))
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"
    assert any("/usr/big" in text for tag, text in page.texts if tag == "code")


def test_no_name_becomes_a_tag_or_moves_what_follows(app: Veneer) -> None:
    text = app("report", "demo/app:1").text
    page = parsed(text)
    scripts = [attributes for tag, attributes in page.tags if tag == "script"]
    assert scripts == [{"type": "application/json", "id": "veneer-summary"}]
    assert not {"\x1b", "\u202e"} & set(text)
    assert "alert(1)" in text, "it is shown, as a text"


def test_machines_find_a_summary(app: Veneer) -> None:
    page = parsed(app("report", "demo/app:1").text)
    (data,) = (json.loads(text) for tag, text in page.texts if tag == "script")
    (found,) = data["images"]
    assert (found["image"], found["layers"], found["wasted"], found["passed"]) == ("demo/app:1", 2, 50_000, None)


def test_rules_are_shown_and_decide_the_exit_status(app: Veneer) -> None:
    broken = app("report", "--check", "--rule", "max-waste=1kB", "demo/app:1")
    assert broken.code == 1 and ">FAIL</span>" in broken.text
    kept = app("report", "--check", "--rule", "max-waste=1MB", "demo/app:1")
    assert kept.code == 0 and ">PASS</span>" in kept.text


def test_a_terminal_is_no_place_for_a_page(app: Veneer) -> None:
    answer = app("report", "demo/app:1", terminal=True)
    assert answer.code == 1 and answer.err.startswith("Error: a page is nothing to read on a terminal")
    assert app("report").err.startswith("veneer: 'veneer report' requires")
