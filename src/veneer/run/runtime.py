"""The OCI runtime: which program carries out a config.json here, and how it is called.

crun starts a container in two thirds of the time runc needs, but from control groups of version 1 it either refuses
to work or, beside a version 2 hierarchy (systemd's hybrid mode), needs that out of its sight; runc works with all.
"""

from __future__ import annotations

import os

from veneer.errors import InvalidRequest, Unsupported
from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from veneer.run.spec import Host

CGROUPS = "/sys/fs/cgroup"
_HYBRID = f"{CGROUPS}/unified"
"""A version 2 hierarchy beside those of version 1."""
SEARCHED = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Runtimes lie where only root looks for programs, and a user's PATH need not have that."""


class NoRuntime(Unsupported):
    """No OCI runtime is installed."""


class Runtime(Value):
    """A runtime: `name` is runc or crun, `path` its program, `reason` why this one.

    `hides` is a directory that must not be mounted where it runs, "" for none.
    """

    name: str
    path: str
    reason: str
    hides: str = ""

    def command(self, host: Host, state: str, log: str, bundle: str, name: str) -> Sequence[str]:
        """The words that run the container of `bundle`, called `name`, to its end.

        Errors go to the file `log` as JSON lines; `state` is a directory for the runtime's own notes.
        """
        words = [self.path, "--root", state, "--log", log, "--log-format", "json"]
        if self.name == "crun" and not host.cgroups:
            words += ["--cgroup-manager", "disabled"]
        return [*words, "run", "--bundle", bundle, name]


class NoSuchRuntime(InvalidRequest):
    """The runtime asked for is not installed, or is none that veneer knows."""


def program(name: str) -> str | None:
    """Where the host has a program, by its name; None if it has not."""
    # What shutil.which does, which loads three compressors.
    for folder in SEARCHED.split(":"):
        path = f"{folder}/{name}"
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return None


def choose(wanted: str = "", *, hiding: bool = False) -> Runtime:
    """The runtime for this host: the one called `wanted`, or the best there is.

    `hiding`: whoever runs it can take a directory out of its sight, being root in a mount namespace of his own.
    Raises NoRuntime, NoSuchRuntime.
    """
    unified = os.path.exists(f"{CGROUPS}/cgroup.controllers")
    hybrid = not unified and os.path.ismount(_HYBRID)
    reasons = {
        "crun": "it starts a container fastest"
        if unified or (hybrid and hiding)
        else "it is the only runtime installed",
        "runc": "it is the only runtime installed" if unified else "it works with control groups of version 1",
    }
    for name in (wanted,) if wanted else ("crun", "runc") if unified or (hybrid and hiding) else ("runc", "crun"):
        if name not in reasons:
            raise NoSuchRuntime(f"unknown or invalid runtime name: {name}", hint="veneer knows crun and runc")
        path = program(name)
        if path is not None:
            return Runtime(name, path, "it was asked for" if wanted else reasons[name],
                           _HYBRID if name == "crun" and hybrid else "")  # fmt: skip
    if wanted:
        raise NoSuchRuntime(f"the runtime {wanted} is not installed", hint=f"apt-get install {wanted}")
    raise NoRuntime(
        "no OCI runtime is installed, and running anything needs one", hint="apt-get install crun (or runc)"
    )
