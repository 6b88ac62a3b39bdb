"""Names, labels and instructions that want to be markup, scripts, terminals or other names: they are only text."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.view.browser.samples import DEEP, EVIL_NAMES
from tests.view.browser.visit import NARROW, WIDE, Visit

PAGES = [
    "/i/evil:1", "/i/evil:1?path=/d&map=treemap", "/i/evil:1?path=/d&map=sunburst", "/i/evil:1?tab=waste",
    "/i/evil:1?tab=findings",
    "/i/evil:1?tab=dockerfile", "/i/evil:1?tab=labels", "/i/evil:1?tab=tags", "/i/evil:1?tab=badges",
    "/compare?images=evil:1,debian:12-slim&files=yes", "/history?image=evil:1&path=/etc/motd&old=1&new=2",
    f"/history?image=evil:1&path=/{DEEP}", f"/i/evil:1?tab=tree&path=/{DEEP.rpartition('/')[0]}&file=/{DEEP}",
]  # fmt: skip
WORDS = '"><script>pwned=1</script><img src=x onerror=pwned=1>'
ASKED = [
    f"/i/{WORDS.replace('/', '%2F')}", f"/?q={WORDS}", f"/compare?images={WORDS}&lock={WORDS}",
    f"/history?image=evil:1&path={WORDS}", f"/diff?a={WORDS}&b=evil:1", f"/l/{WORDS}", f"/{WORDS}",
    f"/i/evil:1?tab={WORDS}&at={WORDS}&path={WORDS}&file={WORDS}&map={WORDS}&platform=",
]  # fmt: skip
DRAWN = (1, 3, 4, 7)
"""Those of them that the script alone makes anything of."""
ODD = ("<script>", "line\\n", "bad\\x", "?q=1", "percent%", "back\\", "m" * 250)
"""Names that could be lost on the way to the server and back."""


def test_names_are_seen_as_they_are_and_found_by_keys(visit: Visit) -> None:
    page = visit.open("/i/evil:1?tab=tree&path=/d&sort=size")
    rows = page.locator("#files tbody tr")
    expect(rows).to_have_count(len(EVIL_NAMES) + 1)
    texts = [text.replace("∕", "/") for text in rows.locator("td:first-child").all_inner_texts()]
    for name in EVIL_NAMES.values():
        assert any(text.startswith(name) for text in texts), f"{name!r} among {texts}"
    region = page.locator("section[aria-labelledby=history-title]")
    for number, text in enumerate(texts):
        if not text.startswith(ODD):
            continue
        rows.nth(number).focus()
        visit.press("Enter")
        expect(region.get_by_role("listitem")).to_have_count(1)
        assert visit.too_wide() == "", text
    visit.nothing_happened()


def test_no_page_runs_them_or_grows_by_them(visit: Visit) -> None:
    for size, paths in ((NARROW, PAGES), (WIDE, PAGES[:2])):
        visit.size(size)
        for path in paths:
            visit.go(path)
            assert visit.role("alert").count() == 0, path
            assert visit.too_wide() == "", f"{path} {size}"
            visit.nothing_happened()


def test_no_address_runs_what_it_says(visit: Visit) -> None:
    for number, path in enumerate(ASKED):
        page = visit.go(path) if number in DRAWN else visit.open(path)
        assert page.evaluate("() => document.querySelectorAll('script, img[src=x]').length") <= 1, path
        visit.nothing_happened()
    assert visit.too_wide() == ""
