"""The processes of a container as the host's `ps` shows them.  Source: moby daemon/top_unix.go."""

from __future__ import annotations

import re
from collections.abc import Sequence

from veneer.errors import InvalidRequest, Unsupported
from veneer.values import Value

_RENAMED = re.compile(r"\s+(\S*)=\s*(PID\S*)")
"""An option that gives some column a heading that begins with PID: which one would be filtered by?"""
DEFAULT = ("-ef",)


class BadProcessOptions(InvalidRequest):
    """Options that `ps` does not take, or with which no process could be told to be the container's."""


class NoProcessLister(Unsupported):
    """There is no `ps` on the host."""


class Processes(Value):
    """`titles` of the columns, and for each process a row with as many texts."""

    titles: Sequence[str]
    rows: Sequence[Sequence[str]]


def listed(pids: Sequence[int], options: Sequence[str] = ()) -> Processes:
    """Those of the host's processes.  Raises BadProcessOptions, NoProcessLister."""
    words = list(options) or list(DEFAULT)
    for found in _RENAMED.finditer(" " + " ".join(words)):
        if found[1].strip().lower() != "pid":
            raise BadProcessOptions(f'specifying "{found[1]}={found[2]}" is not allowed')
    numbers = ",".join(map(str, pids))
    # Asked for those alone it is faster, but with some options it shows them all, or refuses.
    code, out, err = _ps([*words, "-q", numbers])
    if code:
        code, out, err = _ps(words)
    if code:
        said = err.strip().splitlines()
        raise BadProcessOptions(f"ps: {said[0] if said else f'it ended with status {code}'}")
    return parsed(out, pids)


def parsed(output: str, pids: Sequence[int]) -> Processes:
    """What `ps` printed, without what is not of these.  Raises BadProcessOptions."""
    lines = output.splitlines()
    titles = lines[0].split() if lines else []
    if "PID" not in titles:
        raise BadProcessOptions("Couldn't find PID field in ps output")
    column = titles.index("PID")
    rows = []
    ours = False
    for line in lines[1:]:
        cells = line.split(None, len(titles) - 1)
        if len(cells) <= column:
            continue
        # A thread that is shown below its process has a dash there.
        ours = ours if cells[column] == "-" else cells[column].isdigit() and int(cells[column]) in pids
        if ours:
            rows.append([*cells[:-1], " ".join(cells[-1].split())])
    return Processes(titles, rows)


def _ps(words: Sequence[str]) -> tuple[int, str, str]:
    import subprocess

    try:
        done = subprocess.run(["ps", *words], capture_output=True, check=False)
    except FileNotFoundError:
        raise NoProcessLister("no ps is installed, which lists processes", hint="apt-get install procps") from None
    return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
