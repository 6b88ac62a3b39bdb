"""A plain user of this machine, with further ids or without, who leaves nothing of himself on it.

He lives in a mount namespace of his own: there /etc/passwd, /etc/subuid and /etc/subgid know him and his home is /mnt,
which is a folder of the test's; outside nothing is changed.
"""

from __future__ import annotations

import os
import shlex
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

import veneer
from tests.support.programs import Output, ProgramFailed, needs, run

UID = 1234
FIRST = 100_000
"""Where his further ids begin outside; inside they begin with 1."""
COUNT = 4_000_000_000
_HOME = Path("/mnt")
_OTHERS = """while read -r _ _ _ _ target _; do
    case "$target" in
        */popen-{own}/*) ;;
        */popen-gw*/*) umount --lazy "$target" 2>/dev/null || true ;;
    esac
done < /proc/self/mountinfo
"""
"""Lets go of what tests of other workers have mounted at this moment: a copy of a mount keeps it, and who serves it,
for as long as the user lives, whatever they do with theirs."""
_DEVICES = (Path("/dev/net/tun"), Path("/dev/fuse"))
"""Hosts differ in who may open them; he may."""
_ENV = {"HOME": str(_HOME), "PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), "LC_ALL": "C.UTF-8",
        "PYTHONPATH": f"{_HOME}/.code/src:{_HOME}/.code/packages"}  # fmt: skip


class PlainUser:
    """He can run programs; `home` is his home as the tests see it, and whatever lies in it is at /mnt for him."""

    def __init__(self, home: Path, pid: int) -> None:
        self.home = home
        self._pid = pid

    def command(self, *words: str | Path) -> list[str]:
        """What to start for him to run a program in his home."""
        return [
            "nsenter", f"--target={self._pid}", "--mount", "env", f"--chdir={_HOME}",
            "setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", *map(str, words),
        ]  # fmt: skip

    def run(self, *words: str | Path, stdin: bytes | None = None, check: bool = True) -> Output:
        """Run a program to its end.  Raises ProgramFailed where it fails, unless `check` is False."""
        return run(*self.command(*words), stdin=stdin, env=_ENV, check=check)

    def python(self, code: str, *words: str, check: bool = True) -> Output:
        """Run Python code that may import veneer."""
        return self.run(*self.python_words(code), *words, check=check)

    def python_words(self, code: str) -> list[str]:
        """The command of `python`."""
        return [_python(), "-c", code]

    def veneer(self, *words: str | Path, stdin: bytes | None = None, check: bool = True) -> Output:
        """Run the command on his own data root."""
        return self.run(_python(), "-m", "veneer", *words, stdin=stdin, check=check)

    def started(self, *words: str | Path) -> subprocess.Popen[bytes]:
        """The command, running: the process is the command itself; what it says on standard error can be read."""
        return subprocess.Popen(self.command(_python(), "-m", "veneer", *words), env=_ENV, stdin=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)  # fmt: skip


def _python() -> str:
    # The interpreter below the virtual environment: that may lie where he has no business.
    return str(getattr(sys, "_base_executable", sys.executable))


@contextmanager
def plain_user(folder: Path, *, further_ids: bool) -> Iterator[PlainUser]:
    """A user whose home is the directory `folder`; with `further_ids` those of /etc/subuid."""
    needs("nsenter", "setpriv", "newuidmap")
    code = folder / ".code"
    for name in ("src", "packages"):
        (code / name).mkdir(parents=True, exist_ok=True)
    who, further = f"plain:x:{UID}:{UID}::{_HOME}:/bin/sh\n", f"plain:{FIRST}:{COUNT}\n" if further_ids else ""
    (code / "passwd").write_text(Path("/etc/passwd").read_text() + who)
    (code / "subuid").write_text(further)
    (code / "subgid").write_text(further)
    os.chown(folder, UID, UID)
    folder.chmod(0o755)
    binds = [(code / name, Path("/etc") / name) for name in ("passwd", "subuid", "subgid")]
    binds += [(Path(veneer.__file__).parents[1], code / "src"), (Path(apsw.__file__).parents[1], code / "packages")]
    binds += [(folder, _HOME)]
    for device in _DEVICES:
        if device.exists():
            open_to_all = code / device.name
            open_to_all.unlink(missing_ok=True)
            os.mknod(open_to_all, stat.S_IFCHR | 0o666, device.stat().st_rdev)
            open_to_all.chmod(0o666)
            binds.insert(0, (open_to_all, device))
    # Recursively, that the code's mounts below his home come along.
    script = _OTHERS.format(own=os.environ.get("PYTEST_XDIST_WORKER", "none"))
    script += "".join(f"mount --rbind {shlex.quote(str(a))} {shlex.quote(str(b))}\n" for a, b in binds)
    holder = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "private", "sh", "-ec",
         f"{script}echo ready\nexec cat"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert holder.stdout is not None
        if holder.stdout.readline() != b"ready\n":
            raise ProgramFailed("a mount namespace could not be furnished; see what was said on standard error")
        yield PlainUser(folder, holder.pid)
    finally:
        holder.kill()
        holder.communicate()
