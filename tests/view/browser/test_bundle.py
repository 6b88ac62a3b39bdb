"""The front end that is shipped was built from the sources that lie beside it, and is served as it was built."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

from tests.support.served import Client
from veneer.view.web import bundle

WEB = Path(__file__).parents[3] / "web"
STATIC = Path(bundle.FOLDER)
MOST = 200_000
"""Bytes of the script; it is part of every report."""


def sources() -> dict[str, str]:
    """The digest of everything that the bundle is made of, by path below web/."""
    files = [path for path in (WEB / "src").rglob("*") if path.is_file()]
    files += [WEB / name for name in ("build.mjs", "package.json", "package-lock.json")]
    return {str(path.relative_to(WEB)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_it_is_as_new_as_its_sources() -> None:
    lines = (STATIC / "SOURCES").read_text().splitlines()
    recorded = {path: digest for digest, path in (line.split("  ", 1) for line in lines)}
    assert recorded == sources(), "run `make web`"


def test_it_holds_together_and_is_small(site: Client) -> None:
    for name in ("app.js", "app.css", "icon.svg"):
        assert site.send(f"/static/{name}").body == (STATIC / name).read_bytes()
    assert len((STATIC / "app.js").read_bytes()) < MOST
    script = bundle.inline_script()
    assert "</script" not in script and "<!--" not in script


def test_it_carries_the_licences_of_what_is_in_it() -> None:
    script = bundle.inline_script()
    for said in ("lit-html 3", "Google LLC", "Redistributions in binary form", "d3-hierarchy 3", "Mike Bostock"):
        assert said in script
    assert "the above copyright notice and this permission notice appear in all copies" in " ".join(script.split())


def test_nothing_in_it_is_from_elsewhere() -> None:
    named = set(re.findall(r"https?://[^\s\"'`\\)]+", bundle.inline_script() + bundle.inline_style()))
    assert {each for each in named if "w3.org" not in each} == set()


def test_what_is_bundled_is_pinned() -> None:
    package = json.loads((WEB / "package.json").read_text())
    for version in [*package["dependencies"].values(), *package["devDependencies"].values()]:
        assert re.fullmatch(r"\d+\.\d+\.\d+", version)
    lock = json.loads((WEB / "package-lock.json").read_text())["packages"]
    assert all(each.get("integrity", "").startswith("sha512-") for path, each in lock.items() if path)
    assert not [path for path, each in lock.items() if "resolved" in each], "whose registry it was is nobody's matter"
