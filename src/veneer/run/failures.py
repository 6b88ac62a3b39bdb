"""What a runtime could not do, found in its log and told as docker tells it.

Sources: runc libcontainer, crun src/libcrun; moby daemon/errors.go (translateContainerdStartErr).
"""

from __future__ import annotations

import json
import os
import re

from veneer.errors import CommandMissing, NotExecutable, Unavailable, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    Failure = CommandMissing | NotExecutable | Unavailable

_MOST = 64 << 10
_NOT_FOUND = re.compile(r"executable file `([^`]*)` not found")


class NoNamespaces(Unsupported):
    """This user, or this kernel, cannot make the namespaces a container needs."""


class NoLimits(Unsupported):
    """What needs control groups, where there are none for this user."""


class NoSuchCommand(CommandMissing):
    """The program to run is not in the container."""


class CannotExecute(NotExecutable):
    """The program to run is there, and is no program, or not for this user or machine."""


class ContainerFailed(Unavailable):
    """The runtime could not make the container."""


class TreeLost(Unavailable):
    """Nobody serves the files of a container that runs any more; those it has open may be all it still has."""


def errors(log: int, start: int = 0) -> list[str]:
    """What went wrong, in the runtime's words: from the log that the descriptor is of, from the byte `start` on."""
    found = []
    for line in os.pread(log, _MOST, start).splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue  # not whole yet
        # What it could not take away afterwards says nothing of the container: in a user namespace it tries to remove
        # a control group that it never could make.
        if isinstance(entry, dict) and entry.get("level") in ("error", "fatal"):
            text = str(entry.get("msg", ""))
            found += [text] if not text.startswith("Failed to remove ") else []
    return found


def lines(log: int) -> list[str]:
    """What a runtime that was not asked for JSON wrote to its log: a message a line, while nothing went wrong none."""
    return os.pread(log, _MOST, 0).decode(errors="replace").strip().splitlines()


def failed(said: list[str], word: str) -> Failure:
    """The runtime's words, about a program called by `word`, as an error."""
    text = "; ".join(_as_runc(each, word) for each in said)
    at = text.find("exec: ")
    what = text[at:] if at >= 0 else text
    lower = what.lower()
    if at >= 0 and "no such file or directory" in lower:
        return NoSuchCommand(what, hint=f"{word} is not in the image, or the interpreter it names is not")
    if at >= 0 and "executable file not found" in lower:
        return NoSuchCommand(what, hint=f"{word} is not in the image's PATH")
    if at >= 0 and any(each in lower for each in ("permission denied", "exec format error", "is a directory")):
        return CannotExecute(what, hint=f"is {word} a program for this machine, and may the user execute it?")
    return ContainerFailed(f"the container could not be started: {text}")


def _as_runc(text: str, word: str) -> str:
    """What crun says of the program, in runc's words, which are docker's."""
    if found := _NOT_FOUND.match(text):
        where = (
            f"stat {found[1]}: no such file or directory" if "/" in found[1] else "executable file not found in $PATH"
        )
        return f'exec: "{found[1]}": {where}'
    if text.startswith("open executable: "):
        return f'exec: "{word}": permission denied'
    return text
