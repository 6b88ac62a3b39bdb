"""The OCI runtime: which program carries out a config.json here, and how it is called.

crun starts a container in two thirds of the time runc needs, but from control groups of version 1 it either refuses
to work or, beside a version 2 hierarchy (systemd's hybrid mode), needs that out of its sight; runc works with all.
"""

from __future__ import annotations

import os
import shutil

from veneer.errors import Unsupported
from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from veneer.run.spec import Host

CGROUPS = "/sys/fs/cgroup"
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


def choose() -> Runtime:
    """The runtime for this host.  Raises NoRuntime."""
    unified = os.path.exists(f"{CGROUPS}/cgroup.controllers")
    order = ("crun", "runc") if unified else ("runc", "crun")
    reasons = {
        "crun": "it starts a container fastest" if unified else "it is the only runtime installed",
        "runc": "it is the only runtime installed" if unified else "it works with control groups of version 1",
    }
    for name in order:
        path = shutil.which(name, path=SEARCHED)
        if path is not None:
            hidden = f"{CGROUPS}/unified"
            hides = hidden if name == "crun" and not unified and os.path.ismount(hidden) else ""
            return Runtime(name, path, reasons[name], hides)
    raise NoRuntime("no OCI runtime is installed, and RUN needs one", hint="apt-get install crun (or runc)")
