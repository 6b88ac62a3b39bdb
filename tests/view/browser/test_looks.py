"""Every page, light and dark, wide and narrow: nothing for axe-core to complain of, nothing that sticks out."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.served import Client
from tests.view.browser.visit import NARROW, Axe, Visit

API = "/i/shop%2Fapi:2.4"
PAGES = {
    "images": ("/", "Images"),
    "nothing-found": ("/?q=xyzzy", "Images"),
    "image": (API, "shop/api:2.4"),
    "image-one-layer": (f"{API}?since=6&at=7&colour=state", "shop/api:2.4"),
    "image-treemap": (f"{API}?map=treemap&colour=type", "shop/api:2.4"),
    "image-sunburst": (f"{API}?map=sunburst", "shop/api:2.4"),
    "files": (f"{API}?tab=tree&path=/app/shop&sort=name", "shop/api:2.4"),
    "waste": (f"{API}?tab=waste", "shop/api:2.4"),
    "waste-by-layer": (f"{API}?tab=waste&by=layer", "shop/api:2.4"),
    "findings": (f"{API}?tab=findings", "shop/api:2.4"),
    "dockerfile": (f"{API}?tab=dockerfile", "shop/api:2.4"),
    "labels": (f"{API}?tab=labels", "shop/api:2.4"),
    "tags": (f"{API}?tab=tags", "shop/api:2.4"),
    "badges": (f"{API}?tab=badges", "shop/api:2.4"),
    "compare": ("/compare?images=shop/api:2.4,shop/worker:2.4,shop/web:2.4,node:22-slim&lock=shop/web:2.4", "Compare"),
    "compare-choice": ("/compare", "Compare"),
    "compare-trouble": ("/compare?images=debian:12-slim,nowhere:1", "Compare"),
    "compare-files": ("/compare?images=shop/api:2.3,shop/api:2.4&files=yes&scale=log", "Compare"),
    "history": ("/history?image=shop/api:2.4&path=/app/shop/models.py", "/app/shop/models.py"),
    "history-text": ("/history?image=evil:1&path=/etc/motd&old=1&new=2", "/etc/motd"),
    "diff": ("/diff?a=shop/api:2.3&b=shop/api:2.4", "Differences"),
    "layer": ("/l/LAYER", "Layer "),
    "no-image": ("/i/nowhere:1", "Not found"),
}
ALIKE = {"nothing-found", "image-one-layer", "image-treemap", "waste-by-layer", "compare-choice", "diff"}
"""Pages that are made of the same as others that axe-core looks at."""
COLOURED = {"images", "image", "image-one-layer", "files", "waste", "compare", "history-text", "no-image"}
"""Pages with all colours that there are."""


@pytest.fixture(scope="module")
def base(site: Client) -> str:
    """The diff ID of a layer that several images have."""
    return str(site.ask("/images/debian:12-slim")["layers"][0]["diff_id"])


@pytest.fixture(scope="module")
def axe() -> Axe:
    return Axe()


@pytest.mark.parametrize("name", PAGES)
def test_page_is_for_everybody(visitor: Visit, axe: Axe, base: str, artefacts: Path, name: str) -> None:
    path, heading = PAGES[name]
    visitor.begin()
    if not visitor.page.url.startswith(visitor.base):
        visitor.open("/")
    page = visitor.turn(path.replace("LAYER", base))
    assert visitor.role("heading", level=1).first.inner_text().startswith(heading)
    assert visitor.too_wide() == ""
    if name not in ALIKE:
        assert axe.complaints(page) == []
    visitor.keep(artefacts, f"{name}-light")
    visitor.look(dark=True)
    if name in COLOURED:
        assert axe.complaints(page, "color-contrast", "link-in-text-block") == []
    visitor.keep(artefacts, f"{name}-dark")
    visitor.size(NARROW)
    visitor.settled()
    assert visitor.too_wide() == ""
    visitor.keep(artefacts, f"{name}-narrow")
    visitor.nothing_happened()
