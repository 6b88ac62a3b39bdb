"""A visitor of the pages: a chromium, what it opens, and everything that must not happen meanwhile."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from playwright.sync_api import (
        Browser,
        BrowserContext,
        ConsoleMessage,
        Dialog,
        Locator,
        Page,
        Request,
        WebError,
    )

# No sandbox (tests run as root), and nothing that would look for its maker's hosts.
_FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
_SETTLED = "() => document.querySelector('main')?.getAttribute('aria-busy') === 'false'"
_TURN = """path => {
  history.pushState(null, '', path);
  dispatchEvent(new PopStateEvent('popstate'));
}"""
_IS_DRAWN = "() => document.querySelector('main')?.hasAttribute('aria-busy') ?? false"
_PWNED = "() => 'pwned' in window"
PATIENCE = 60_000
"""Milliseconds that are waited for what has to come; it comes at once but on a machine that has much else to do."""
WIDE = (1280, 900)
NARROW = (400, 800)


@contextlib.contextmanager
def launched() -> Iterator[Browser]:
    """Debian's chromium, without a screen; it has ended when the block ends."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=_FLAGS)
        try:
            yield browser
        finally:
            browser.close()


class Visit:
    """`base` is where addresses begin; `troubles` is what went wrong in a page's own eyes."""

    def __init__(self, context: BrowserContext, base: str) -> None:
        self.context = context
        self.base = base
        self.asked: list[str] = []
        self.troubles: list[str] = []
        context.on("request", self._asked)
        context.on("weberror", self._failed)
        context.on("console", self._said)
        context.on("dialog", self._stopped)
        self.page = context.new_page()

    @classmethod
    @contextlib.contextmanager
    def of(cls, browser: Browser, base: str, **options: Any) -> Iterator[Self]:
        """A visitor with a browser's memory of his own.  Raises AssertionError if a page failed or looked elsewhere."""
        width, height = WIDE
        wanted = {
            "viewport": {"width": width, "height": height}, "color_scheme": "light", "reduced_motion": "reduce",
            "locale": "en-GB", "timezone_id": "UTC",
        } | options  # fmt: skip
        context = browser.new_context(**wanted)
        context.set_default_timeout(PATIENCE)
        try:
            visit = cls(context, base)
            yield visit
            visit.nothing_happened()
        finally:
            context.close()

    def _asked(self, request: Request) -> None:
        self.asked.append(request.url)

    def _failed(self, error: WebError) -> None:
        self.troubles.append(f"error: {error.error}")

    def _said(self, said: ConsoleMessage) -> None:
        # The browser says this of every answer that is no success; the page tells it to people.
        if said.type in ("error", "warning") and "Failed to load resource" not in said.text:
            self.troubles.append(f"{said.type}: {said.text}")

    def _stopped(self, dialog: Dialog) -> None:
        self.troubles.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def nothing_happened(self) -> None:
        elsewhere = [url for url in self.asked if not url.startswith((self.base, "data:", "blob:"))]
        assert not elsewhere, "asked somebody else"
        assert not self.page.evaluate(_PWNED), "somebody else's script ran"
        assert not self.troubles

    def open(self, path: str) -> Page:
        self.page.goto(self.base + path, wait_until="load")
        return self.settled()

    def go(self, path: str) -> Page:
        """Be there: as a link of the page leads there, which costs a quarter of loading it, or else by loading it."""
        if not self.page.url.startswith(self.base + "/") or not self.page.evaluate(_IS_DRAWN):
            return self.open(path)
        self.page.evaluate(_TURN, path)
        return self.settled()

    def begin(self) -> Self:
        """As somebody new: nothing remembered, nothing chosen, nothing said."""
        if self.page.url.startswith("http"):
            self.page.evaluate("() => { localStorage.clear(); document.activeElement?.blur(); }")
        self.context.clear_permissions()
        self.page.emulate_media(color_scheme="light", reduced_motion="reduce", forced_colors="none")
        self.size(WIDE)
        self.asked.clear()
        self.troubles.clear()
        return self

    def settled(self) -> Page:
        """Wait until every question of the page has its answer."""
        self.page.wait_for_function(_SETTLED)
        return self.page

    def press(self, *keys: str) -> Page:
        for key in keys:
            self.page.keyboard.press(key)
            self.settled()
        return self.page

    @property
    def here(self) -> str:
        """Path and query of the address, or what is behind its #."""
        return self.page.evaluate("() => location.hash.slice(1) || location.pathname + location.search")  # type: ignore[no-any-return]

    def role(self, role: Any, name: str | None = None, **options: Any) -> Locator:
        return self.page.get_by_role(role, name=name, **options)

    def focused(self) -> str:
        """What has the focus, as a screen reader would say: role and name."""
        return self.page.evaluate(_FOCUSED)  # type: ignore[no-any-return]

    def size(self, size: tuple[int, int]) -> None:
        self.page.set_viewport_size({"width": size[0], "height": size[1]})

    def look(self, *, dark: bool) -> None:
        self.page.emulate_media(color_scheme="dark" if dark else "light")

    def too_wide(self) -> str:
        """What makes the page wider than the window; "" if nothing does."""
        return self.page.evaluate(_TOO_WIDE)  # type: ignore[no-any-return]

    def keep(self, folder: Path, name: str) -> None:
        """A picture of what is to be seen now."""
        self.page.screenshot(path=folder / f"{name}.png", animations="disabled")


_FOCUSED = """() => {
  const at = document.activeElement;
  return `${at.getAttribute('role') ?? at.tagName.toLowerCase()} ${at.getAttribute('aria-label') ?? at.innerText ?? ''}`
    .replace(/\\s+/g, ' ').trim();
}"""
_TOO_WIDE = """() => {
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= width) return '';
  const out = [...document.querySelectorAll('main *, header *')].filter((each) =>
    each.getBoundingClientRect().right > width + 1 && !each.parentElement.closest('.scroll, .tabs, svg'));
  return out.slice(0, 3).map((each) => each.outerHTML.slice(0, 200)).join('\\n') || 'something';
}"""


class Axe:
    """axe-core's verdict on a page."""

    def __init__(self) -> None:
        self._script = (files("axe_playwright_python") / "axe.min.js").read_text("utf-8")

    def complaints(self, page: Page, *rules: str, within: str = "") -> list[str]:
        """Each broken rule with where it is broken; only these rules if some are given, and only within some part."""
        options: dict[str, Any] = {"resultTypes": ["violations"], "preload": False, "iframes": False}
        if rules:
            options["runOnly"] = {"type": "rule", "values": rules}
        if not page.evaluate("() => 'axe' in window"):
            page.evaluate(self._script)
        found = page.evaluate("([within, options]) => axe.run(within || document, options)", [within, options])
        return [f"{each['id']}: {node['html'][:200]} {node['failureSummary']}"
                for each in found["violations"] for node in each["nodes"]]  # fmt: skip
