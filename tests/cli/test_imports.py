"""What a short command may import: a call must cost little more than the interpreter's start."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Veneer

DATA = Path(__file__).parent / "golden"
HEAVY = (
    "asyncio", "backports.zstd", "bz2", "click", "concurrent", "ctypes", "email", "getpass", "gzip", "html", "http",
    "isal", "logging", "lzma", "multiprocessing", "rich", "shutil", "socket", "sqlite3", "ssl", "subprocess", "tarfile",
    "tempfile", "traceback", "urllib3", "zlib",
)  # fmt: skip
"""Modules that no command which only looks has a use for."""

_ASK = """
import io, json, sys
from veneer.cli.main import run
before = set(sys.modules)
code = run(sys.argv[1:], io.StringIO(), sys.stderr, io.StringIO())
print(json.dumps([code, sorted(sys.modules)]))
"""


def _modules(*words: str) -> set[str]:
    # -S leaves out what site packages hook into every start.
    source = str(Path(sys.modules["veneer"].__file__ or "").parents[1])
    site = str(Path(sys.modules["apsw"].__file__ or "").parents[1])
    ask = f"import sys; sys.path[:0] = [{source!r}, {site!r}]\n{_ASK}"
    done = subprocess.run([sys.executable, "-S", "-c", ask, *words], capture_output=True, check=True)
    code, modules = json.loads(done.stdout)
    assert code == 0, done.stderr
    return set(modules)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import apsw  # noqa: F401  so that its place is known

    veneer = Veneer(tmp_path_factory.mktemp("imports") / "root")
    assert veneer("load", "-i", str(DATA / "chain.tar.gz")).code == 0
    return veneer.root


@pytest.mark.parametrize("words", [
    ["images"], ["images", "-aq"], ["images", "--format", "json"], ["images", "--format", "{{.ID}}"],
    ["history", "gold/app:1"], ["history", "--layers", "gold/app:1"], ["inspect", "gold/app:1"],
    ["inspect", "-f", "{{.Id}}", "gold/app:1"], ["layer", "ls"], ["tag", "gold/app:1", "gold/app:1"], ["version"],
], ids=" ".join)  # fmt: skip
def test_a_command_that_only_looks_imports_nothing_heavy(root: Path, words: list[str]) -> None:
    modules = _modules("--root", str(root), *words)
    assert not {
        name for name in modules if name.startswith(HEAVY) and name.split(".")[0] in {h.split(".")[0] for h in HEAVY}
    }


def test_a_command_imports_its_own_module_only(root: Path) -> None:
    commands = {name for name in _modules("--root", str(root), "images") if name.startswith("veneer.cli.commands.")}
    assert commands == {"veneer.cli.commands.images"}
    assert not {name for name in _modules("--version") if name.startswith(("veneer.cli.commands", "veneer.engine"))}


def test_a_table_needs_no_template_engine(root: Path) -> None:
    assert "veneer.cli.gotemplate" not in _modules("--root", str(root), "images")
