"""Where no script runs, pages and reports are their tables."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Browser, expect

from tests.support.programs import veneer
from tests.support.served import Client
from tests.view.browser.visit import Visit
from veneer.engine.engine import Engine


def test_pages_and_reports_are_tables(chromium: Browser, site: Client, shop: Engine, tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    veneer("report", "--check", "--rule", "max-layers=20", "-o", report, "shop/web:2.4", root=shop.store.root)
    with Visit.of(chromium, site.url, java_script_enabled=False) as visit:
        visit.page.goto(f"{site.url}/i/shop%2Fapi:2.4")
        expect(visit.role("table", "Layers, base first").get_by_role("row")).to_have_count(10)
        visit.page.goto(f"{site.url}/")
        visit.role("link", "shop/web:2.4").click()
        expect(visit.role("heading", level=1)).to_have_text("shop/web:2.4")
        visit.base = report.as_uri()
        visit.asked.clear()
        visit.page.goto(report.as_uri())
        expect(visit.role("heading", "Rules for shop/web:2.4: PASS")).to_be_visible()
        expect(visit.role("heading", "shop/web:2.4", level=1)).to_be_visible()
        expect(visit.role("table").nth(1).get_by_role("row")).to_have_count(7)
