"""File system tests that nobody here wrote, each run in a directory and read as outcomes by name."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol
from xml.etree import ElementTree

from tests.drivers.posix.debian_sources import Unpacked
from tests.support.programs import run

USER = 1234
"""Who does the work where a suite is run without privileges."""
_PATIENCE = 150
"""Seconds for a program of a suite: the slowest takes 20 where nothing else is going on."""
PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"

_PYTHON_TESTS = (
    "test_os", "test_posix", "test_shutil", "test_pathlib", "test_tempfile", "test_glob", "test_stat", "test_fileio",
    "test_file", "test_fcntl", "test_mmap", "test_filecmp", "test_posixpath", "test_genericpath", "test_dbm_dumb",
    "test_largefile", "test_sqlite3",
)  # fmt: skip
STRESSORS = (
    "access", "chattr", "chdir", "chmod", "chown", "copy-file", "dentry", "dir", "dirdeep", "dirmany", "fallocate",
    "fcntl", "fiemap", "file-ioctl", "filename", "flock", "fpunch", "fstat", "getdent", "handle", "hdd", "inotify",
    "iomix", "lease", "link", "locka", "lockf", "lockofd", "metamix", "mknod", "msync", "open", "readahead", "rename",
    "revio", "seek", "sendfile", "splice", "symlink", "sync-file", "touch", "utime", "xattr",
)  # fmt: skip
_SMALL = [f"--{name}-bytes=8m" for name in ("hdd", "iomix", "fallocate", "readahead", "revio", "sync-file")]
_DID_NOT_END = -1
CONNECTIONS = Path(__file__).parents[3] / ".work" / "posix-connections"
"""Where the kernel's list of FUSE connections is to be mounted (fusectl)."""


class Outcome(NamedTuple):
    """What became of one test; `said` is what it said of a failure, or why it was skipped."""

    result: str
    said: str = ""


Outcomes = dict[str, Outcome]
"""By "suite: test"."""


class Suite(Protocol):
    """Tests from elsewhere."""

    name: str

    def run(self, ground: Path) -> Outcomes:
        """Work in the empty directory `ground` and tell what came of each test."""
        ...


def suites(files: Unpacked, folder: Path) -> list[Suite]:
    """All of them, ready to run; what has to be built is built in `folder`."""
    program = folder / "test_syscalls"
    (folder / "include").mkdir(parents=True, exist_ok=True)
    (folder / "include" / "fuse_config.h").write_text("#define HAVE_COPY_FILE_RANGE 1\n")
    source = files.source("fuse3") / "test" / "test_syscalls.c"
    run("cc", "-O1", "-w", f"-I{folder / 'include'}", "-o", program, source)
    accounts = files.source("acl") / "test"
    return [
        Calls("system calls", program),
        Calls("system calls, a plain user", program, USER),
        Calls("system calls, files unlinked while open", program, unlinked=True),
        Scripts("access and ACLs", files.source("acl"), ("root/permissions", "root/getfacl", "root/setfacl",
                "root/restore", "misc", "cp", "sbits-restore", "setfacl-X", "getfacl-noacl"), accounts),
        Scripts("extended attributes", files.source("attr"), ("attr", "root/getfattr"), accounts),
        *(PythonTests("Python's tests", files.python_tests, module) for module in _PYTHON_TESTS),
        *(PythonTests("Python's tests, a plain user", files.python_tests, module, USER) for module in _PYTHON_TESTS),
        Stress("stress-ng, verified"),
    ]  # fmt: skip


class Calls:
    """libfuse's `test_syscalls`: each call that makes, opens, cuts, renames or removes, and what is seen of it."""

    def __init__(self, name: str, program: Path, user: int = 0, *, unlinked: bool = False) -> None:
        self.name, self._program, self._user, self._unlinked = name, program, user, unlinked

    def run(self, ground: Path) -> Outcomes:
        found: Outcomes = {}
        text = _said(self._user, [self._program, ground, *(["-u"] if self._unlinked else [])], ground)
        for line in text.splitlines():
            known = re.match(r" *\d+ \[(.*)\] (.*)", line)
            if known is None:
                continue
            name = f"{self.name}: {known[1]}"
            if known[2] == "OK":
                found.setdefault(name, Outcome(PASSED))
            else:
                found[name] = Outcome(FAILED, known[2])
        return found or {f"{self.name}: as a whole": Outcome(FAILED, text[-300:])}


class Scripts:
    """The tests of Debian's acl and attr: commands and what they have to print, one outcome a command."""

    def __init__(self, name: str, source: Path, scripts: Sequence[str], accounts: Path) -> None:
        self.name, self._source, self._scripts, self._accounts = name, source, scripts, accounts

    def run(self, ground: Path) -> Outcomes:
        here = ground / "suite" / "test"
        shutil.copytree(self._source / "test", here)
        found: Outcomes = {}
        for script in self._scripts:
            # The suite brings the users and groups that it wants: they are the machine's in this mount namespace.
            text = _said(0, [
                "unshare", "--mount", "--propagation=private", "sh", "-ec",
                'for f in passwd group; do mount --bind "$1/test.$f" "/etc/$f"; done; shift; exec "$@"', "sh",
                self._accounts, "perl", "-U", here / "run", here / f"{script}.test",
            ], ground)  # fmt: skip
            name = ""
            for line in text.splitlines():
                known = re.match(r"\[(\d+)\] \$ (.*) -- (ok|failed)$", line)
                if known is not None:
                    name = f"{self.name}: {script}:{known[1]} {known[2][:60]}"
                    found[name] = Outcome(PASSED if known[3] == "ok" else FAILED)
                elif name and found[name].result == FAILED and len(found[name].said) < 200:
                    found[name] = Outcome(FAILED, f"{found[name].said} {' '.join(line.split())}".strip())
            if not name:
                found[f"{self.name}: {script} as a whole"] = Outcome(FAILED, text[-300:])
        return found


class PythonTests:
    """What one module of Python's own tests makes of a file system."""

    def __init__(self, name: str, path: Path, module: str, user: int = 0) -> None:
        self.name, self._path, self._module, self._user = name, path, module, user

    def run(self, ground: Path) -> Outcomes:
        told = ground / "told.xml"
        text = _said(self._user, [
            "env", f"PYTHONPATH={self._path}", f"TMPDIR={ground}", f"HOME={ground}", "PYTHONDONTWRITEBYTECODE=1",
            "/usr/bin/python3", "-m", "test", "--junit-xml", told, "--tempdir", ground, self._module,
        ], ground)  # fmt: skip
        found: Outcomes = {}
        try:
            cases = list(ElementTree.parse(told).iter("testcase"))
        except (OSError, ElementTree.ParseError):
            return {f"{self.name}: {self._module} as a whole": Outcome(FAILED, text[-300:])}
        for case in cases:
            name = f"{self.name}: {case.get('name', '').removeprefix('test.')}"
            outcome = Outcome(PASSED)
            for part in case:
                if part.tag in ("failure", "error"):
                    outcome = Outcome(FAILED, (part.text or "").strip().rpartition("\n")[2][:200])
                elif part.tag == "skipped":
                    outcome = Outcome(SKIPPED, (part.text or "").strip()[:200])
            found[name] = outcome
        return found


class Stress:
    """stress-ng's file system stressors, each for a second with what it does verified."""

    def __init__(self, name: str) -> None:
        self.name = name

    def run(self, ground: Path) -> Outcomes:
        results = {0: PASSED, 3: SKIPPED, 4: SKIPPED}
        found: Outcomes = {}
        for stressor in STRESSORS:
            words: list[str | Path] = [
                "stress-ng",
                f"--{stressor}",
                "1",
                "--verify",
                "--timeout",
                "1",
                "--temp-path",
                ground,
                *_SMALL,
            ]
            code, text = _ended(words, ground)
            said = [line for line in text.splitlines() if re.search(r"\b(fail|error|skip)", line)]
            told = re.sub(r"^.*?\] (stress-ng-\S+: )?", "", said[0]) if said else f"exit {code}: {text[-100:]}"
            result = results.get(code, FAILED)
            found[f"{self.name}: {stressor}"] = Outcome(result, "" if result == PASSED else told[:200])
        return found


def _said(user: int, command: Sequence[str | Path], ground: Path) -> str:
    """Everything a program printed, run in the directory by root or by a plain user to whom the directory is given."""
    words = [str(word) for word in command]
    if user:
        os.chown(ground, user, user)
        words = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", *words]
    return _ended(words, ground)[1]


def _ended(command: Sequence[str | Path], ground: Path) -> tuple[int, str]:
    """A program's exit code and all it printed; one that does not end is killed, with what it started."""
    device = os.stat(ground).st_dev
    with subprocess.Popen(
        [str(word) for word in command], cwd=ground, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, start_new_session=True,
    ) as process:  # fmt: skip
        try:
            said = process.communicate(timeout=_PATIENCE)[0]
            return process.returncode, said.decode(errors="replace")
        except subprocess.TimeoutExpired:
            connection = CONNECTIONS / f"{os.minor(device)}" / "abort"
            if connection.exists():  # else a server that does not answer is waited for when it is unmounted
                connection.write_text("1")
            return _DID_NOT_END, f"did not end within {_PATIENCE} seconds"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
