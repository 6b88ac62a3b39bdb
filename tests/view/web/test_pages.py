"""The pages before any script runs, and the addresses that lead to them."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.support.finished import loaded, row
from tests.support.served import Client, served
from tests.view.web.conftest import APP_REF, EVIL_LABELS, EVIL_NAMES
from veneer.engine.engine import Engine
from veneer.view.web import markup, static_files

VOID = {"meta", "link", "input", "img", "br"}


class Outline(HTMLParser):
    """Fails where elements are not closed in turn; notes elements and texts."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert self.open == [], f"left open: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.mark.parametrize("target, kind, shown", [
    ("/", "images", ["example.com:5000/team/app:1", "os:1", "linux/amd64"]),
    (f"/i/{APP_REF}", "image", ["COPY . /app", 'CMD ["sh"]', "RUN rm <b>", "efficiency", "os:1"]),
    ("/i/example.com:5000/team/app:1", "image", ["COPY . /app"]),
    ("/compare", "compare", ["Images, with commas"]),
    (f"/compare?images={APP_REF},os:1,nope", "compare", ["saved by sharing", "No such image: nope", "COPY . /app"]),
    (f"/history?image={APP_REF}&path=/app/gone.txt", "history", ["/app/gone.txt", "RUN rm <b>", "300B stored"]),
    (f"/diff?a=os:1&b={APP_REF}", "diff", ["/etc/os", "mode", "Cmd"]),
])  # fmt: skip
def test_each_page_says_what_it_is_about_without_a_script(site: Client, target: str, kind: str,
                                                          shown: list[str]) -> None:  # fmt: skip
    page = Outline(site.page(target))
    (main,) = page.attributes("main")
    assert (main["id"], main["data-page"]) == ("app", kind)
    assert [each for each in shown if each not in page.text] == []
    assert [each.get("src") for each in page.attributes("script")] == ["/static/app.js"]
    assert not page.attributes("style") and not any("style" in attributes for _, attributes in page.elements)
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    for table in page.attributes("table"):
        assert table is not None
    assert len(page.attributes("table")) == len(page.attributes("caption"))


def test_a_layers_page_names_its_images(site: Client) -> None:
    diff_id = site.ask(f"/images/{APP_REF}")["layers"][1]["diff_id"]
    page = Outline(site.page(f"/l/{diff_id}"))
    assert "elsewhere:1" in page.text and page.attributes("main")[0]["data-ref"] == diff_id


@pytest.mark.parametrize("target, status, shown", [
    ("/i/nope", 404, "No such image: nope:latest"), ("/i/BAD", 400, "invalid reference format"),
    ("/nowhere", 404, "no such page"), ("/l/x", 400, "Not shown"), ("/history?image=os:1&path=/no", 404, "/no"),
    ("/diff?a=os:1", 400, "Not shown"), ("/i/%3Cscript%3Ealert(1)%3C%2Fscript%3E", 400, "<script>"),
    ("/history?image=os:1&path=%3Cscript%3E%0A%FF", 404, "/<script>"),
])  # fmt: skip
def test_a_failure_is_a_page_too(site: Client, target: str, status: int, shown: str) -> None:
    page = Outline(site.page(target, status))
    assert shown in page.text and page.attributes("main")[0]["data-page"] == "error"
    assert len(page.attributes("script")) == 1


def test_hostile_images_cannot_leave_their_cells(engine: Engine) -> None:
    texts = ["</code><script>alert(1)</script>", "\x1b[31m\u202e", "\"' onload='x", "&lt;b&gt;", "<!-- "]
    history = [row(text) for text in texts]
    files = [{f"{number}": b"x"} for number in range(len(texts))]
    loaded(engine, "evil:2", *files, history=history, config={"Labels": EVIL_LABELS})
    loaded(engine, "evil:1", {f"d/{name}": b"x" for name in EVIL_NAMES})
    with served(engine) as client:
        for target in ("/", "/i/evil:2", "/compare?images=evil:1,evil:2", "/diff?a=evil:1&b=evil:2"):
            text = client.page(target)
            page = Outline(text)
            assert {tag for tag, _ in page.elements} <= {
                "html", "head", "meta", "title", "link", "script", "body", "header", "a", "nav", "main", "h1", "dl",
                "dt", "dd", "table", "caption", "thead", "tr", "th", "tbody", "td", "code", "div", "p"}  # fmt: skip
            assert len(page.attributes("script")) == 1
            assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)
            for link in page.attributes("a"):
                assert link["href"] and link["href"].startswith("/")
        shown = Outline(client.page("/i/evil:2")).text
        for text in ("</code><script>alert(1)</script>", "\\x1b[31m\\u202e", "&lt;b&gt;", "<!--"):
            assert text in shown


@pytest.mark.parametrize("given, shown", [
    ("<b>&\"'", "&lt;b&gt;&amp;&quot;&#x27;"), ("a\nb\tc\rd", "a\\nb\\tc\\rd"), ("\x1b\x9b", "\\x1b\\x9b"),
    ("\u202e\u2066\u200f\ufeff", "\\u202e\\u2066\\u200f\\ufeff"), ("\udcff", "\\udcff"), ("größe 日本", "größe 日本"),
])  # fmt: skip
def test_texts_are_made_harmless(given: str, shown: str) -> None:
    assert markup.text(given) == shown
    assert markup.element("p", given, title=given) == f'<p title="{shown}">{shown}</p>'


@pytest.mark.parametrize("old, new", [
    ("/?images=os:1,app", "/compare?images=os:1,app"),
    ("/?images=localhost:5000/a/b:1&lock=os:1", "/compare?images=localhost:5000/a/b:1&lock=os:1"),
    ("/images/library/nginx", "/i/library%2Fnginx"), ("/images/nginx:1.27", "/i/nginx:1.27"),
    ("/images//evil.com", "/i/%2Fevil.com"), ("/?images=a%0D%0AX:1&other=2", "/compare?images=a%0D%0AX:1"),
])  # fmt: skip
def test_the_elders_addresses_lead_on(site: Client, old: str, new: str) -> None:
    got = site.send(old)
    assert (got.status, got.headers["location"]) == (302, new)


def test_the_front_end_is_served_by_its_names(site: Client, tmp_path: Path) -> None:
    (tmp_path / "app.js").write_text("x" * 5000)
    (tmp_path / "SOURCES").write_text("no")
    (tmp_path / "deep").mkdir()
    found = static_files.read_all(str(tmp_path))
    assert list(found) == ["app.js"] and found["app.js"].type == "application/javascript" and found["app.js"].packed
    assert static_files.read_all(str(tmp_path / "none")) == {}
    for name in static_files.read_all():
        got = site.send(f"/static/{name}")
        assert got.status == 200 and got.headers["etag"]
        assert site.send(f"/static/{name}", headers={"If-None-Match": got.headers["etag"]}).status == 304
    assert site.send("/static/none.js").json["error"]


def test_documents_and_pages_tell_the_same(site: Client) -> None:
    document = site.ask(f"/images/{APP_REF}")
    page = Outline(site.page(f"/i/{APP_REF}"))
    for layer in document["layers"]:
        assert layer["instruction"] in page.text
    assert json.dumps(document)
