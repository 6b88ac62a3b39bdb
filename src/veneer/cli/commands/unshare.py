"""`veneer unshare`: any program with the ids that a plain user's layers have."""

from __future__ import annotations

import os

from veneer.cli.app import App
from veneer.cli.command import Command
from veneer.cli.flags import Parsed
from veneer.drivers.userns import tell_children
from veneer.errors import CommandMissing, NotExecutable


class ProgramMissing(CommandMissing):
    """The program to be run is nowhere."""


class ProgramNotExecutable(NotExecutable):
    """The program to be run cannot be."""


def run(app: App, given: Parsed) -> None:
    """Become the program; returns only for help.  Raises ProgramMissing, ProgramNotExecutable."""
    words = given.arguments or ["sh"]
    if words[0] in ("-h", "--help"):
        app.write(UNSHARE.help(app.path, app.columns))
        return
    tell_children(app.engine.config.root_name)
    app.engine.mounts.anchor()
    app.close()
    app.out.flush()
    app.err.flush()
    try:
        os.execvp(words[0], words)
    except OSError as error:
        # For a name PATH was gone through, and what may not be looked into on the way says nothing of the program.
        if isinstance(error, FileNotFoundError) or (isinstance(error, PermissionError) and "/" not in words[0]):
            raise ProgramMissing(f"no program {words[0]!r}", hint="give its path, or see what PATH has") from None
        raise ProgramNotExecutable(f"cannot run {words[0]!r}: {(error.strerror or '').lower()}") from None


UNSHARE = Command(
    run,
    "Run a program in the user namespace of a plain user's layers",
    "[PROGRAM [ARG...]]",
    most=None,
    raw=True,
)
