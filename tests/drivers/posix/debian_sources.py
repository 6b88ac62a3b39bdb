"""Test suites as Debian keeps them: source packages and one package of Python's tests, unpacked in a folder of ours.

apt is told where to keep its lists and what to ask for, so that nothing of the machine's own settings changes.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from tests.support.programs import ProgramFailed, run

SOURCES = ("fuse3", "acl", "attr")


class Unpacked:
    """The suites' files below `folder`, fetched once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()  # apt takes a relative path to be below its own

    def prepare(self) -> None:
        """Fetch what is not here.  Raises ProgramFailed where Debian's sources cannot be had."""
        self._folder.mkdir(parents=True, exist_ok=True)
        apt = self._folder / "apt"
        missing = [name for name in SOURCES if not self._found(name)]
        if missing:
            options = _private_apt(apt)
            run("apt-get", *options, "-qq", "update")
            run("sh", "-ec", 'cd "$1"; shift; exec apt-get "$@"', "sh", self._folder, *options, "-qq", "source",
                "--download-only", *missing)  # fmt: skip
            for archive in sorted(self._folder.glob("*.orig.tar.*")):
                if archive.suffix != ".asc":
                    run("tar", "-C", self._folder, "-xf", archive)
        if not self.python_tests.exists():
            name = f"libpython{_python_version()}-testsuite"
            run("sh", "-ec", 'cd "$1"; apt-get -qq -o APT::Sandbox::User=root download "$2"', "sh", self._folder, name)
            (package,) = self._folder.glob(f"{name}_*.deb")
            run("dpkg", "-x", package, self._folder / "python-tests")
        shutil.rmtree(apt, ignore_errors=True)

    def source(self, name: str) -> Path:
        """The directory of a source package."""
        found = self._found(name)
        if found is None:
            raise ProgramFailed(f"Debian's source package {name} did not unpack below {self._folder}")
        return found

    @property
    def python_tests(self) -> Path:
        """What to put on Python's path to have its package `test`."""
        return self._folder / "python-tests" / "usr" / "lib" / f"python{_python_version()}"

    def versions(self) -> str:
        """What was fetched, for a page."""
        found = [path.name for name in SOURCES if (path := self._found(name)) is not None]
        return ", ".join([*found, f"Python {_python_version()}'s tests"])

    def _found(self, name: str) -> Path | None:
        stem = name.rstrip("0123456789")
        found = [path for path in self._folder.glob(f"{stem}-*") if path.is_dir()]
        return found[0] if found else None


def _python_version() -> str:
    return run("/usr/bin/python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])").out.strip()


def _private_apt(folder: Path) -> list[str]:
    """apt's options for lists of its own, with the sources of the Debian archives that the machine has already."""
    parts = folder / "parts"
    for each in (parts, folder / "lists" / "partial", folder / "cache" / "archives" / "partial"):
        each.mkdir(parents=True, exist_ok=True)
    etc = Path("/etc/apt")
    for file in [*etc.glob("sources.list.d/*.sources"), *etc.glob("sources.list.d/*.list"), etc / "sources.list"]:
        text = file.read_text() if file.exists() else ""
        if "debian" not in text:
            continue
        text = re.sub(r"^Types:.*$", "Types: deb-src", text, flags=re.MULTILINE)
        text = re.sub(r"^deb(?=\s)", "deb-src", text, flags=re.MULTILINE)
        name = file.name if file.name != "sources.list" else "own.list"
        (parts / name).write_text(text)
    places = {"Etc::SourceList": "/dev/null", "Etc::SourceParts": parts, "State::Lists": folder / "lists",
              "Cache": folder / "cache"}  # fmt: skip
    return [*(f"-oDir::{key}={value}" for key, value in places.items()), "-oAPT::Sandbox::User=root"]
