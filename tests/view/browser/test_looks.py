"""Every page, light and dark, wide and narrow: nothing for axe-core to complain of, nothing that sticks out."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.served import Client
from tests.view.browser.visit import NARROW, Axe, Visit

API = "/i/shop%2Fapi:2.4"
BESIDE = "shop/api:2.4,shop/api:2.3,shop/worker:2.4,shop/web:2.4"
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
    "compare-beside": (f"/compare?images={BESIDE}&files=all&path=/app/shop", "Compare"),
    "compare-path": (f"/compare?images={BESIDE}&files=all&show=different&sort=size&lock=shop/web:2.4", "Compare"),
    "compare-files": ("/compare?images=shop/api:2.3,shop/api:2.4&files=yes&scale=log", "Compare"),
    "history": ("/history?image=shop/api:2.4&path=/app/shop/models.py", "/app/shop/models.py"),
    "history-text": ("/history?image=evil:1&path=/etc/motd&old=1&new=2", "/etc/motd"),
    "diff": ("/diff?a=shop/api:2.3&b=shop/api:2.4", "Differences"),
    "layer": ("/l/LAYER", "Layer "),
    "no-image": ("/i/nowhere:1", "Not found"),
}
ALIKE = {
    "nothing-found",
    "image-one-layer",
    "image-treemap",
    "waste-by-layer",
    "compare-choice",
    "diff",
    "compare-path",
}
"""Pages that are made of the same as others that axe-core looks at."""
TABS = {"image-sunburst", "files", "waste", "findings", "dockerfile", "labels", "tags", "badges"}
"""Pages of which all but the tab is the same as on `image`."""
COLOURED = {
    "images",
    "image",
    "image-one-layer",
    "files",
    "waste",
    "compare",
    "compare-beside",
    "history-text",
    "no-image",
}
"""Pages with all colours that there are; these are kept as pictures in dark colours and on a small screen, too."""
CONTRASTS = ("color-contrast", "link-in-text-block")


@pytest.fixture(scope="module")
def base(site: Client) -> str:
    """The diff ID of a layer that several images have."""
    return str(site.ask("/images/debian:12-slim")["layers"][0]["diff_id"])


@pytest.fixture(scope="module")
def axe() -> Axe:
    return Axe()


@pytest.mark.parametrize("name", PAGES)
def test_page_is_for_everybody(visit: Visit, axe: Axe, base: str, artefacts: Path, name: str) -> None:
    path, heading = PAGES[name]
    page = visit.go(path.replace("LAYER", base))
    assert visit.role("heading", level=1).first.inner_text().startswith(heading)
    assert visit.too_wide() == ""
    part = ".tab" if name in TABS else ""
    if name not in ALIKE:
        assert axe.complaints(page, within=part) == []
    visit.keep(artefacts, f"{name}-light")
    if name in COLOURED:
        visit.look(dark=True)
        assert axe.complaints(page, *CONTRASTS, within=part) == []
        visit.keep(artefacts, f"{name}-dark")


def test_nothing_sticks_out_of_a_small_screen(visit: Visit, base: str, artefacts: Path) -> None:
    visit.size(NARROW)
    for name, (path, _) in PAGES.items():
        visit.go(path.replace("LAYER", base))
        assert visit.too_wide() == "", name
        if name in COLOURED:
            visit.keep(artefacts, f"{name}-narrow")
