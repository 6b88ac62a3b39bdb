"""`make posix`: suites of file system tests from elsewhere on every driver; writes docs/posix.md.

`python -m tests.drivers.posix NAME... suite=NAME...` does so for the file systems and suites named (ext4 always),
prints what differs, and writes nothing.  `page` writes the page anew from what the last whole run left in `.work`.
"""

from __future__ import annotations

import json
import platform
import shutil
import signal
import sys
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path

from tests.drivers.posix import argued
from tests.drivers.posix.debian_sources import Unpacked
from tests.drivers.posix.grounds import PLAIN, grounds, mounted_by_hand
from tests.drivers.posix.suites import CONNECTIONS, FAILED, PASSED, SKIPPED, STRESSORS, Outcome, Outcomes, Suite, suites
from tests.support.loop import loop_mounted
from tests.support.programs import run

HOME = Path(__file__).parents[3]
TARGET = HOME / "docs" / "posix.md"
_SIZE = 6 << 30

HEAD = """# File system tests from elsewhere

What programs expect of a file system is tested by suites that nobody here wrote, run in a writable mount of every
storage driver, on top of two layers that have things in them, deleted and made anew. `make posix` fetches them, runs
them and writes this page; it fails on a difference that is not explained here.

Made {day} on Linux {kernel}; suites: {versions}.

- **system calls**: libfuse's `test_syscalls`: create, open in every way, truncate, rename, link, unlink, mkdir, mknod,
  seek and list, copy, each followed by a look at everything that must have become of it. Run by root, by a plain user,
  and with every file unlinked while it is open.
- **access and ACLs**, **extended attributes**: the tests of Debian's `acl` and `attr`: who may do what, by mode, by
  groups and by ACL; commands and what they have to print.
- **Python's tests**: those of CPython's own that work on files: `os`, `posix`, `pathlib`, `shutil`, `mmap`, `fcntl`,
  `tempfile`, `dbm.dumb`, SQLite and others.
- **stress-ng**: {stressors} file system stressors, each verifying what it reads back.

Debian has no pjdfstest, which is the usual one.

A file system's column has how many tests passed; **n fail** counts those that fail there and pass on ext4, which are
all listed below with the reason; "skip" those that the suite itself skipped there and not on ext4. What fails on ext4,
too, tells nothing of a union and is named last.

"""


class Taken:
    """Outcomes by file system; why others are absent, and of which versions of the suites they are."""

    def __init__(self) -> None:
        self.outcomes: dict[str, Outcomes] = {}
        self.absent: dict[str, str] = {}
        self.versions = ""

    def kept(self) -> str:
        return json.dumps([self.outcomes, self.absent, self.versions])

    @classmethod
    def again(cls, kept: str) -> Taken:
        taken = cls()
        outcomes, taken.absent, taken.versions = json.loads(kept)
        taken.outcomes = {
            name: {test: Outcome(*outcome) for test, outcome in some.items()} for name, some in outcomes.items()
        }
        return taken

    def differences(self, ground: str) -> dict[str, Outcome]:
        """What is worse than on ext4, by test; what only ext4 knows counts, but not beside its module as a whole."""
        plain = self.outcomes.get(PLAIN, {})
        found: dict[str, Outcome] = {}
        for test, outcome in self.outcomes[ground].items():
            if plain and outcome.result not in (PASSED, plain.get(test, Outcome("absent")).result):
                found[test] = outcome
        for test in plain.keys() - self.outcomes[ground].keys():
            suite, _, rest = test.partition(": ")
            if f"{suite}: {rest.partition('.')[0]} as a whole" not in found:  # else that says it
                found[test] = Outcome("absent", "the suite did not come so far")
        return found


def take(ground_names: Sequence[str], suite_names: Sequence[str], folder: Path) -> Taken:
    """Run what is wanted (all, if nothing is named) below `folder`."""
    files = Unpacked(folder.parent / "posix-suites")
    files.prepare()
    taken = Taken()
    with (
        mounted_by_hand(CONNECTIONS, "-t", "fusectl", "none"),
        loop_mounted(folder, _SIZE, options=("-m", "0", "-E", "nodiscard"), mount_options="loop") as disk,
    ):
        all_grounds, taken.absent = grounds(disk)
        all_suites = suites(files, files.source("fuse3") / "built")
        for name, ground in all_grounds.items():
            if ground_names and name not in ground_names:
                continue
            outcomes: Outcomes = {}
            for suite in all_suites:
                if suite_names and suite.name not in suite_names:
                    continue
                begun = time.monotonic()
                with ground() as place:
                    outcomes |= suite.run(place)
                _told(name, suite, outcomes, time.monotonic() - begun)
            taken.outcomes[name] = outcomes
    version = run("dpkg-query", "--showformat=${Version}", "--show", "stress-ng", check=False).out.partition("-")[0]
    taken.versions = f"{files.versions()}, stress-ng {version}"
    return taken


def _told(name: str, suite: Suite, outcomes: Outcomes, seconds: float) -> None:
    some = [outcome.result for test, outcome in outcomes.items() if test.startswith(suite.name + ": ")]
    counts = ", ".join(f"{some.count(result)} {result}" for result in (PASSED, FAILED, SKIPPED))
    print(f"{name}: {suite.name}: {counts}, {seconds:.1f} s", file=sys.stderr, flush=True)


def page(taken: Taken) -> tuple[str, int]:
    """The page, and how many differences nobody has explained."""
    names = list(taken.outcomes)
    text = HEAD.format(day=time.strftime("%Y-%m-%d"), kernel=platform.release(), versions=taken.versions,
                       stressors=len(STRESSORS))  # fmt: skip
    suite_names = list(dict.fromkeys(test.partition(": ")[0] for test in taken.outcomes[PLAIN]))
    text += f"| suite | {' | '.join(names)} |\n| --- |{' ---: |' * len(names)}\n"
    for suite in suite_names:
        cells = [_cell(taken, suite, name) for name in names]
        text += f"| {suite} | {' | '.join(cells)} |\n"
    text += "".join(f"\n{name} was not there: {reason}.\n" for name, reason in taken.absent.items())
    by_reason: dict[argued.Argument | None, dict[str, list[str]]] = {}
    for name in names:
        for test, outcome in taken.differences(name).items():
            place = by_reason.setdefault(argued.argument(test, name), {})
            place.setdefault(f"{test} ({outcome.result})", []).append(name)
    text += "\n## Differences from ext4, and why\n"
    for each, tests in by_reason.items():
        if each is not None:
            text += f"\n### {each.title}\n\n{textwrap.fill(each.why, 118)}\n\n{_listed(tests)}"
    missing = by_reason.get(None, {})
    if missing:
        text += f"\n### Not explained\n\n{_listed(missing)}"
    plain = [test for test, outcome in taken.outcomes[PLAIN].items() if outcome.result == FAILED]
    text += "\n## What fails on ext4 as well\n\n" + ("".join(f"- {_code(test)}\n" for test in plain) or "Nothing.\n")
    return text, len(missing)


def _cell(taken: Taken, suite: str, ground: str) -> str:
    mine = {test: each for test, each in taken.outcomes[ground].items() if test.startswith(suite + ": ")}
    results = [each.result for each in mine.values()]
    different = [each.result for test, each in taken.differences(ground).items() if test.startswith(suite + ": ")]
    cell = str(results.count(PASSED))
    failing = different.count(FAILED) + different.count("absent")
    skipped = different.count(SKIPPED)
    return cell + (f", **{failing} fail**" if failing else "") + (f", {skipped} skip" if skipped else "")


def _listed(tests: dict[str, list[str]]) -> str:
    return "".join(f"- {_code(test)}: {', '.join(names)}\n" for test, names in tests.items())


def _code(test: str) -> str:
    suite, _, rest = test.partition(": ")
    return f"{suite}: `{rest}`"


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # undo the mounts
    wanted = sys.argv[1:]
    folder = HOME / ".work" / "posix"
    left = folder.with_name("posix-outcomes.json")
    if wanted == ["page"]:
        taken = Taken.again(left.read_text())
    else:
        shutil.rmtree(folder, ignore_errors=True)
        chosen = [word for word in wanted if not word.startswith("suite=")]
        if chosen and PLAIN not in chosen:
            chosen = [PLAIN, *chosen]
        taken = take(chosen, [word.removeprefix("suite=") for word in wanted if word.startswith("suite=")], folder)
        shutil.rmtree(folder, ignore_errors=True)
    text, unexplained = page(taken)
    if wanted and wanted != ["page"]:
        for name in taken.outcomes:
            for test, outcome in taken.differences(name).items():
                print(f"{name}: {test}: {outcome.result}: {outcome.said}")
    else:
        left.write_text(taken.kept())
        TARGET.write_text(text)
    if unexplained:
        sys.exit(f"{unexplained} differences are not explained in {Path(argued.__file__).relative_to(HOME)}")


if __name__ == "__main__":
    main()
