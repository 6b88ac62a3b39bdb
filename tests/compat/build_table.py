"""`make buildtable`: build every case by docker and veneer, print how they compare, write docs/build-compat.md.

`python -m tests.compat.build_table NAME...` does so for the cases that have one of these in their name, and writes
nothing.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.support import build_cases
from tests.support.build_compare import ASPECTS, Verdict, compare
from tests.support.builders import DockerBuilder, VeneerBuilder, make_bases
from tests.support.peers import Docker
from tests.support.rootfs import busybox_tar

TARGET = Path(__file__).parents[2] / "docs" / "build-compat.md"

HEAD = """# Dockerfiles built by veneer and by docker

{count} Dockerfiles of `tests/compat/dockerfiles/`, each built by veneer and by a real dockerd ({version}), compared by
`make buildtable`, which writes this page; `make compat` holds one test for each.

- **docker** is who builds it there: its classic builder, its BuildKit, or its BuildKit from a Dockerfile that says the
  same in older words (*older words*), where this dockerd is too old for the instruction.
- **config** is the image's configuration and what `inspect` shows of it, docker's absent and empty values being one;
  names of containers and moments aside, and BuildKit's `ArgsEscaped`, which docker itself dropped later.
- **history** is every row with its text, comment, size and whether it has a layer, byte for byte as classic's.
  BuildKit's rows are others: there veneer's must be those the case writes down (*written*).
- **layers** is which paths each layer holds, directories and whiteouts among them (classic only).
- **files** is the file system all layers make: path, type, mode, owner, size, content, link, device, extended
  attributes with capabilities, hard links, and times where docker keeps them.
- Where docker refuses, veneer must refuse too, and say what the case expects of each.

"""


def row(verdict: Verdict) -> str:
    case = verdict.case
    docker = "older words" if case.equivalent else "BuildKit" if case.builder == "buildkit" else "classic"
    cells = [verdict.of(aspect) for aspect in ASPECTS]
    if verdict.outcome != "built":
        cells = [verdict.outcome if verdict.good else f"{verdict.outcome}: DIFFERS", "", "", ""]
    elif case.history is not None:
        cells[1] = "written" if cells[1] == "same" else cells[1]
        cells[2] = "-"
    about = case.about.replace("|", "\\|")
    return f"| `{case.name}` | {about} | {docker} | {' | '.join(cells)} |"


def page(verdicts: Sequence[Verdict], version: str) -> str:
    text = HEAD.format(count=len(verdicts), version=version)
    lines = ["| case | what it shows | docker | config | history | layers | files |", "|---|---|---|---|---|---|---|"]
    text += "\n".join([*lines, *map(row, verdicts)])
    text += "\n\n## Differences, and why they are meant\n\n"
    for why, places in _reasons(verdicts).items():
        cases = ", ".join(f"`{name}` ({', '.join(dict.fromkeys(found))})" for name, found in places.items())
        text += f"- {why[0].upper()}{why[1:]}: {cases}.\n"
    text += "\n## Refused in other words\n\n| case | docker | veneer | |\n|---|---|---|---|\n"
    for verdict in verdicts:
        case = verdict.case
        if case.fails != case.veneer_fails:
            text += f"| `{case.name}` | {_code(case.fails)} | {_code(case.veneer_fails)} | {case.fails_why} |\n"
    return text


def _reasons(verdicts: Sequence[Verdict]) -> dict[str, dict[str, list[str]]]:
    """Each argument with the cases that make it, and where in each."""
    found: dict[str, dict[str, list[str]]] = {}
    for verdict in verdicts:
        for each in verdict.case.differs:
            place = re.sub(r":? *(: (only )?docker .*)?$", "", each.what)
            found.setdefault(each.why, {}).setdefault(verdict.case.name, []).append(place)
    return found


def _code(text: str | None) -> str:
    return f"`` {text.replace('|', chr(92) + '|')} ``" if text else "builds it"


def names_in(text: str) -> list[str]:
    """The cases a page has rows for."""
    return re.findall(r"^\| `([^`]+)` \| .* \| (?:classic|BuildKit|older words) \|", text, re.M)


def main() -> None:
    wanted = sys.argv[1:]
    work = Path(tempfile.mkdtemp(prefix="veneer-table-"))
    try:
        bases = make_bases(busybox_tar(work / "busybox.tar"), work / "bases")
        docker = Docker(work)
        try:
            version = docker("version", "--format", "{{.Server.Version}}").out.strip()
            by_docker, by_veneer = DockerBuilder(docker, bases), VeneerBuilder(bases, work)
            verdicts = []
            for case in build_cases.cases():
                if wanted and not any(word in case.name for word in wanted):
                    continue
                verdicts.append(compare(case, by_docker, by_veneer, work / case.name))
                shutil.rmtree(work / case.name)
                print(row(verdicts[-1]) if verdicts[-1].good else verdicts[-1], flush=True)
        finally:
            docker.stop()
    finally:
        shutil.rmtree(work)
    bad = [verdict for verdict in verdicts if not verdict.good]
    print(f"{len(verdicts)} cases, {len(bad)} with differences that nobody argued for")
    if not wanted:
        TARGET.write_text(page(verdicts, version))
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
