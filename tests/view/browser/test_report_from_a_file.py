"""`veneer report` opened from a file, where nothing can be asked for: the same pictures, from what the page carries."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.view.browser.visit import NARROW, Axe, Visit

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def offline(chromium: Browser, reports: Path) -> Iterator[Visit]:
    """Somebody without any network."""
    with Visit.of(chromium, reports.as_uri() + "/", offline=True) as visit:
        yield visit


@pytest.fixture
def reader(offline: Visit) -> Iterator[Visit]:
    """The report's own file is all that is ever asked for."""
    yield offline.begin()
    assert all(url.endswith(".html") for url in offline.asked)
    offline.nothing_happened()


_TURN = """path => new Promise((there) => {
  const before = location.hash;
  addEventListener('hashchange', there, {once: true});
  location.hash = path;
  if (location.hash === before) there();
})"""
"""Ends when the page knows where it is by now."""


def several(reader: Visit, path: str = "/") -> None:
    """The report of several images, at some address behind its #."""
    if not reader.page.url.partition("#")[0].endswith("several.html"):
        reader.open("several.html")
    reader.page.evaluate(_TURN, path)
    reader.settled()


def test_one_image_is_peeled_mapped_and_told(reader: Visit, artefacts: Path) -> None:
    page = reader.open("one.html")
    expect(reader.role("heading", "shop/api:2.4", level=1)).to_be_visible()
    assert Axe().complaints(page) == []
    expect(reader.role("heading", "Rules for shop/api:2.4: FAIL")).to_be_visible()
    reader.keep(artefacts, "report-light")
    reader.look(dark=True)
    assert Axe().complaints(page, "color-contrast", within=".rules") == []
    reader.keep(artefacts, "report-dark")
    reader.role("slider", "At", exact=True).focus()
    reader.press("ArrowLeft")
    assert reader.here == "/i/shop%2Fapi:2.4?at=8"
    tree = reader.role("tree", "Map of the bytes")
    expect(tree.get_by_role("treeitem", name="/usr,")).to_be_visible()
    reader.press("2")
    page.locator("#files [tabindex='0']").focus()
    reader.press("ArrowRight", "ArrowRight")
    assert reader.focused().startswith("row ▸local/")
    reader.press("3")
    expect(reader.role("region", "Waste").get_by_role("row", name="/root/.cache/pip")).to_contain_text("8")
    reader.press("/")
    field = reader.role("combobox", "Find images, layers, files")
    field.fill("*.db")
    expect(reader.role("listbox", "Found").get_by_role("option").first).to_contain_text("/app/shop/static/catalogue.db")
    field.press("Enter")
    expect(reader.role("listitem").filter(has_text="Layer 7")).to_contain_text("same bytes")
    page.go_back()
    reader.settled()
    assert reader.here == "/i/shop%2Fapi:2.4?at=8&tab=waste"
    reader.size(NARROW)
    assert reader.too_wide() == ""


def test_several_images_are_a_list_and_a_wall(reader: Visit) -> None:
    several(reader)
    expect(reader.role("region", "Images").get_by_role("row")).to_have_count(4)
    expect(reader.role("heading", "Rules for ")).to_have_count(3)
    for name in ("shop/api:2.4", "shop/web:2.4"):
        reader.role("checkbox", f"Choose {name}").check()
    reader.role("region", "Chosen for comparison").get_by_role("link").press("Enter")
    reader.settled()
    expect(reader.role("button", "Layer 1, # debian.sh")).to_have_count(1)
    reader.role("radio", "of two of them").check()
    expect(reader.role("heading", "files differ")).to_be_visible()
    reader.role("button", "Layer 1, # debian.sh").press("Enter")
    reader.settled()
    assert reader.here == "/i/shop%2Fapi:2.4?at=1"
    expect(reader.role("heading", "Rules for ")).to_have_text(["Rules for shop/api:2.4: FAIL"])
    assert reader.focused().startswith("main shop/api:2.4")


def test_it_tells_the_same_as_the_server(reader: Visit, visit: Visit) -> None:
    asked = (
        "?tab=tree&path=/h", "?tab=tree&path=/h&at=1", "?tab=tree&path=/h&since=1&show=D", "?tab=tree&path=/d",
        "?tab=tree&path=/etc&since=1", "?path=/&map=treemap", "?tab=waste", "?tab=waste&by=cause&from=1&to=2",
        "?tab=findings",
    )  # fmt: skip
    for query in asked:
        several(reader, f"/i/evil:1{query}")
        visit.go(f"/i/evil:1{query}")
        for what in (
            "#files",
            ".ledger",
            "[aria-label=Findings]",
            "svg.map",
            "[aria-labelledby=squash-title] .verdict",
        ):
            told = [each.page.locator(what).all_text_contents() for each in (reader, visit)]
            assert told[0] == told[1], f"{query} {what}"


def test_hostile_names_are_text_here_too(reader: Visit) -> None:
    for where in ("?path=/d", "?tab=tree&path=/d", "?tab=labels", "?file=/etc/motd"):
        several(reader, f"/i/evil:1{where}")
        assert reader.role("alert").count() == 0, where
        assert reader.too_wide() == "", where
