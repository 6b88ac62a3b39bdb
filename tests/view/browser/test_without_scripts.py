"""Where no script runs, pages and reports are their tables."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Browser, expect

from tests.support.served import Client
from tests.view.browser.visit import Visit


def test_pages_and_reports_are_tables(chromium: Browser, site: Client, reports: Path) -> None:
    report = (reports / "one.html").as_uri()
    with Visit.of(chromium, site.url, java_script_enabled=False) as visit:
        visit.page.goto(f"{site.url}/i/shop%2Fapi:2.4")
        expect(visit.role("table", "Layers, base first").get_by_role("row")).to_have_count(10)
        for path in ("/i/evil:1", "/history?image=evil:1&path=/etc/motd", "/diff?a=evil:1&b=debian:12-slim"):
            visit.page.goto(site.url + path)
            assert visit.too_wide() == "", path
        visit.page.goto(f"{site.url}/")
        visit.role("link", "shop/web:2.4").click()
        expect(visit.role("heading", level=1)).to_have_text("shop/web:2.4")
        visit.base = report
        visit.asked.clear()
        visit.page.goto(report)
        expect(visit.role("heading", "Rules for shop/api:2.4: FAIL")).to_be_visible()
        expect(visit.role("heading", "shop/api:2.4", level=1)).to_be_visible()
        expect(visit.role("table").nth(1).get_by_role("row")).to_have_count(10)
