"""How a report's tables look.

No element has a style of its own, so a page's policy can name each style sheet by its hash.
"""

from __future__ import annotations

import base64
import hashlib

_STYLE = """
:root{color-scheme:light dark}
.plain,.plain *{all:revert}
.plain{--line:#8886;--bg:#fff;--fg:#1b1f24;--dim:#57606a;--bar:#2f6fb3;--bad:#b3261e;--good:#1a7f37;
font:15px/1.45 system-ui,sans-serif;margin:0 auto;max-width:72rem;padding:1.5rem;background:var(--bg);color:var(--fg)}
@media(prefers-color-scheme:dark){.plain{--bg:#0f1216;--fg:#e6e9ed;--dim:#9aa4af;--bar:#6aa9e9;--bad:#ff8a80;
--good:#6fd08c}
body:has(#veneer>.plain){background:#0f1216}}
.plain section+section{margin-top:3.5rem}
.plain h1{font-size:1.5rem;margin:0 0 .3rem;overflow-wrap:anywhere}
.plain h2{font-size:1.1rem;margin:2rem 0 .6rem}
.plain .facts{display:flex;flex-wrap:wrap;gap:.4rem 1.6rem;margin:.6rem 0;padding:0;list-style:none}
.plain .facts b{font-size:1.15rem}
.plain .facts span,.plain .dim{color:var(--dim)}
.plain table{border-collapse:collapse;width:100%}
.plain td,.plain th{padding:.28rem .6rem;text-align:left;border-bottom:1px solid var(--line);vertical-align:top;
overflow-wrap:anywhere}
.plain th{font-weight:600}
.plain td.n,.plain th.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
.plain code{font:13px/1.4 ui-monospace,monospace}
.plain .bar{height:.6rem;min-width:1px;background:var(--bar);display:block}
.plain .bar.w{background:var(--bad)}
.plain .map,.plain .map div{display:flex}
.plain .map{border:1px solid var(--line)}
.plain .map .d{flex-direction:column;min-width:0;overflow:hidden}
.plain .map .k{flex-direction:row}
.plain .map .b{display:block;padding:.15rem .3rem;border:1px solid var(--bg);white-space:nowrap;overflow:hidden;
text-overflow:ellipsis;font-size:12px;color:#fff;min-height:1.2rem}
.plain .FAIL{color:var(--bad);font-weight:600}
.plain .PASS{color:var(--good);font-weight:600}
@media print{.plain{max-width:none;padding:0}
.plain h2{break-after:avoid}
.plain tr{break-inside:avoid}}
""".strip().replace("\n", "")


class Sheet:
    """The style sheet of one page: what all of them have, and a class for each bar's width and layer's colour."""

    def __init__(self) -> None:
        self._classes: dict[str, str] = {}

    def of(self, declarations: str) -> str:
        """The class that has these declarations; they come from numbers alone."""
        return self._classes.setdefault(declarations, f"s{len(self._classes)}")

    @property
    def text(self) -> str:
        """All of it, as a `<style>` element has it."""
        return _STYLE + "".join(f".{name}{{{what}}}" for what, name in self._classes.items())


def beneath(style: str) -> str:
    """A style sheet of whatever else draws on the page, which is not to touch the tables."""
    return f"@layer drawn{{{style}}}"


def hashed(text: str) -> str:
    """What a policy calls a script or a style sheet of that text.  Source: CSP Level 3, section 2.3.1."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
