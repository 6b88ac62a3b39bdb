"""What a short command may import: a call must cost little more than the interpreter's start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Veneer

DATA = Path(__file__).parent / "golden"
HEAVY = (
    "_hashlib", "ast", "asyncio", "backports.zstd", "bz2", "click", "concurrent", "ctypes", "dataclasses", "dis",
    "email", "getpass", "gzip", "hashlib", "html", "http", "inspect", "isal", "linecache", "logging", "lzma",
    "multiprocessing", "random", "rich", "shutil", "signal", "socket", "sqlite3", "ssl", "subprocess", "tarfile",
    "tempfile", "tokenize", "traceback", "typing", "urllib3", "zlib",
)  # fmt: skip
"""Modules that no command which only looks has a use for."""
FOR_PATHS = ("fnmatch", "ipaddress", "pathlib", "urllib")
"""`pathlib` and what it brings: for a command that shows where something lies."""
FOR_DOCUMENTS = ("datetime", "enum", "json", "re")
"""Modules that a plain list has no use for either; who reads a config or fills in a template needs some of them."""

_ASK = """
import io, sys
from veneer.cli.main import run
code = run(sys.argv[1:], io.StringIO(), sys.stderr, io.StringIO())
print(code, *sys.modules, sep="\\n")
"""


def _modules(*words: str) -> set[str]:
    # -S leaves out what site packages hook into every start.
    source = str(Path(sys.modules["veneer"].__file__ or "").parents[1])
    site = str(Path(sys.modules["apsw"].__file__ or "").parents[1])
    ask = f"import sys; sys.path[:0] = [{source!r}, {site!r}]\n{_ASK}"
    done = subprocess.run([sys.executable, "-S", "-c", ask, *words], capture_output=True, check=True)
    code, *modules = done.stdout.decode().split()
    assert code == "0", done.stderr
    return set(modules)


def _among(modules: set[str], unwanted: tuple[str, ...]) -> set[str]:
    return {name for name in modules if any(name == each or name.startswith(each + ".") for each in unwanted)}


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
    unwanted = HEAVY if "--layers" in words else HEAVY + FOR_PATHS
    assert not _among(_modules("--root", str(root), *words), unwanted)


@pytest.mark.parametrize("words", [["images"], ["images", "-aq"], ["layer", "ls"]], ids=" ".join)
def test_a_plain_list_imports_no_reader_of_documents(root: Path, words: list[str]) -> None:
    assert not _among(_modules("--root", str(root), *words), HEAVY + FOR_PATHS + FOR_DOCUMENTS)


@pytest.fixture(scope="module")
def with_container(root: Path) -> Path:
    veneer = Veneer(root)
    assert veneer("create", "--name", "one", "--network", "none", "-v", "vol:/v", "gold/app:1", "true").code == 0
    return root


@pytest.mark.usefixtures("root_only")
@pytest.mark.parametrize("words", [
    ["ps"], ["ps", "-a"], ["ps", "-aq"], ["ps", "-a", "--format", "{{.Names}} {{.Status}}"], ["volume", "ls"],
    ["volume", "inspect", "vol"],
], ids=" ".join)  # fmt: skip
def test_lists_of_containers_import_nothing_heavy(with_container: Path, words: list[str]) -> None:
    assert not _among(_modules("--root", str(with_container), *words), HEAVY)


def test_a_command_imports_its_own_module_only(root: Path) -> None:
    commands = {name for name in _modules("--root", str(root), "images") if name.startswith("veneer.cli.commands.")}
    assert commands == {"veneer.cli.commands.images"}
    assert not {name for name in _modules("--version") if name.startswith(("veneer.cli.commands", "veneer.engine"))}


def test_a_table_needs_no_template_engine(root: Path) -> None:
    assert "veneer.cli.gotemplate" not in _modules("--root", str(root), "images")


@pytest.mark.usefixtures("root_only")
def test_a_run_imports_little(tmp_path: Path, busybox: Path) -> None:
    """Every tenth of what a short container takes is ten milliseconds: nothing is imported that it can be without."""
    veneer = Veneer(tmp_path / "root")
    assert veneer("import", str(busybox), "busybox:1").code == 0
    words = ("--root", str(veneer.root), "run", "--detach", "--network", "none", "busybox:1", "true")
    try:
        assert veneer(*words[2:]).code == 0  # which makes what a store's first container finds missing
        unwanted = tuple(name for name in HEAVY if name not in {"ctypes", "signal", "socket"})
        assert not _among(_modules(*words), unwanted)
    finally:
        assert veneer("rm", "--force", *veneer("ps", "--all", "--quiet").out.decode().split()).code == 0
