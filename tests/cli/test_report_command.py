"""`veneer report`: a page that needs nothing else and that no name can break out of."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.cli.conftest import Veneer
from tests.support.finished import row
from tests.support.programs import run
from veneer.cli.units import human_size
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
    assert app("report", "--plain", "-o", str(target), "demo/app:1", "demo/base:1").code == 0
    page = parsed(target.read_text())
    assert [text for tag, text in page.texts if tag == "h1"] == ["demo/app:1", "demo/base:1"]
    assert [text for tag, text in page.texts if tag == "h2"][:5] == [
        "Layers", "Where the bytes are", "Stored in vain", "Worth knowing", "Labels",
    ]  # fmt: skip
    assert not [
        name for _, attributes in page.tags for name in attributes if name in ("src", "href", "onclick", "onload")
    ]
    (policy,) = (attributes["content"] for tag, attributes in page.tags if attributes.get("http-equiv"))
    (style,) = (each for tag, each in page.texts if tag == "style")
    assert policy == f"default-src 'none'; style-src {hashed(style)}"
    assert any("/usr/big" in text for tag, text in page.texts if tag == "code")


def test_no_name_becomes_a_tag_or_moves_what_follows(app: Veneer) -> None:
    text = app("report", "--plain", "demo/app:1").text
    page = parsed(text)
    scripts = [attributes for tag, attributes in page.tags if tag == "script"]
    assert scripts == [{"type": "application/json", "id": "veneer-summary"}]
    assert not {"\x1b", "\u202e"} & set(text)
    assert "alert(1)" in text, "it is shown, as a text"


def test_machines_find_a_summary(app: Veneer) -> None:
    page = parsed(app("report", "demo/app:1").text)
    (data,) = (json.loads(text) for tag, text in page.texts if tag == "script" and '"veneer"' in text[:60])
    (found,) = data["images"]
    assert (found["image"], found["layers"], found["wasted"], found["passed"]) == ("demo/app:1", 2, 50_000, None)


def test_a_page_carries_what_draws_it_and_lets_nothing_else_run(app: Veneer) -> None:
    text = app("report", "demo/app:1", "demo/base:1").text
    page = parsed(text)
    scripts = [attributes for tag, attributes in page.tags if tag == "script"]
    carried = {"type": "application/octet-stream"}
    assert scripts == [{"type": "application/json", "id": "veneer-summary"}, carried, carried, {}]
    *packs, script = [each for tag, each in page.texts if tag == "script"][1:]
    styles = [each for tag, each in page.texts if tag == "style"]
    (policy,) = (attributes["content"] for tag, attributes in page.tags if attributes.get("http-equiv"))
    assert policy == (f"default-src 'none'; style-src {hashed(styles[0])} {hashed(styles[1])}; "
                      f"script-src {hashed(script)}")  # fmt: skip
    told = [json.loads(gzip.decompress(base64.b64decode(pack))) for pack in packs]
    assert [pack["image"]["ref"] for pack in told] == ["demo/app:1", "demo/base:1"]
    assert told[0]["diffs"] == [] and [(each["a"], each["mode"]) for each in told[1]["diffs"]] == [
        ("demo/app:1", "strict"), ("demo/app:1", "semantic")]  # fmt: skip
    assert [each["path"] for each in told[1]["diffs"][0]["files"]] == ["/usr/big"]
    assert told[0]["image"]["layers"][0]["same_chain"]["base"] == "demo/base:1"
    assert not {"\x1b", "\u202e"} & set(text.partition("<body>")[2].rpartition("<script>")[0])
    assert not {"src", "href", "style", "onclick"} & {name for _, attributes in page.tags for name in attributes}


def test_only_the_tables_give_way_to_what_is_drawn(app: Veneer) -> None:
    text = app("report", "--check", "--rule", "max-waste=1kB", "demo/app:1").text
    outside, inside = text.split('<div id="veneer">')
    assert 'Rules for demo/app:1: <span class="FAIL">' in outside
    assert "<h2>Layers</h2>" in inside and "Rules for" not in inside


def hashed(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def test_a_page_is_only_so_large(app: Veneer) -> None:
    def least(*options: str) -> tuple[int, int]:
        text = app("report", *options, "demo/app:1").text
        data = next(each for tag, each in parsed(text).texts if tag == "script" and each.startswith("H4sI"))
        return int(json.loads(gzip.decompress(base64.b64decode(data)))["least"]), len(text.encode())

    assert least()[0] == 0
    folded, size = least("--max-size", "1kB")
    assert folded > 0
    assert f"the page has {human_size(size)}" in app("report", "--max-size", "1kB", "demo/app:1").err
    assert app("report", "--max-size", "much", "demo/app:1").code == 1


def test_the_reports_data_needs_no_server(app: Veneer) -> None:
    ask = "import sys; sys.modules['aiohttp'] = None; from veneer.cli.main import main; main()"
    done = run(sys.executable, "-c", ask, "--root", app.root, "report", "demo/app:1")
    assert "application/octet-stream" in done.out


def test_rules_are_shown_and_decide_the_exit_status(app: Veneer) -> None:
    broken = app("report", "--check", "--rule", "max-waste=1kB", "demo/app:1")
    assert broken.code == 1 and ">FAIL</span>" in broken.text
    kept = app("report", "--check", "--rule", "max-waste=1MB", "demo/app:1")
    assert kept.code == 0 and ">PASS</span>" in kept.text


def test_a_terminal_is_no_place_for_a_page(app: Veneer) -> None:
    answer = app("report", "demo/app:1", terminal=True)
    assert answer.code == 1 and answer.err.startswith("Error: a page is nothing to read on a terminal")
    assert app("report").err.startswith("veneer: 'veneer report' requires")
