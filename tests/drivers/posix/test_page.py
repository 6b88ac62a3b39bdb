"""What suites from elsewhere say is read as outcomes, and the page tells every difference."""

from __future__ import annotations

import re
from pathlib import Path

from tests.drivers.posix import argued
from tests.drivers.posix.__main__ import Taken, page
from tests.drivers.posix.grounds import PLAIN
from tests.drivers.posix.suites import FAILED, PASSED, SKIPPED, Calls, Outcome


def _program(tmp_path: Path, *lines: str) -> Path:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n" + "".join(f"echo '{line}' >&2\n" for line in lines))
    program.chmod(0o755)
    return program


def test_a_test_that_says_ok_after_an_error_has_failed(tmp_path: Path) -> None:
    lines = ["  1 [create] OK", "  2 [link] st_check_nlink() - nlink 1 instead of 2", "  2 [link] OK", " 10 [seek] OK"]
    assert Calls("calls", _program(tmp_path, *lines)).run(tmp_path) == {
        "calls: create": Outcome(PASSED),
        "calls: link": Outcome(FAILED, "st_check_nlink() - nlink 1 instead of 2"),
        "calls: seek": Outcome(PASSED),
    }


def test_a_suite_that_says_nothing_has_failed_as_a_whole(tmp_path: Path) -> None:
    assert Calls("calls", _program(tmp_path, "segmentation fault")).run(tmp_path) == {
        "calls: as a whole": Outcome(FAILED, "segmentation fault\n")
    }


def test_the_page_names_what_is_otherwise_than_on_ext4_and_counts_what_nobody_explains() -> None:
    taken = Taken()
    taken.outcomes[PLAIN] = {
        "calls: link": Outcome(PASSED), "calls: open": Outcome(FAILED), "calls: seek": Outcome(PASSED),
        "calls: lock": Outcome(PASSED),
    }  # fmt: skip
    taken.outcomes["union"] = {
        "calls: link": Outcome(FAILED), "calls: open": Outcome(FAILED), "calls: seek": Outcome(SKIPPED),
    }  # fmt: skip
    taken.absent, taken.versions = {"other": "it is not here"}, "calls 1.0"
    text, missing = page(Taken.again(taken.kept()))
    assert missing == 3
    assert f"| suite | {PLAIN} | union |" in text
    assert "| calls | 3 | 0, **2 fail**, 1 skip |" in text
    assert "- calls: `link (failed)`: union" in text
    assert "- calls: `lock (absent)`: union" in text
    assert "- calls: `open`" in text.partition("## What fails on ext4 as well")[2]
    assert "other was not there: it is not here." in text


def test_every_argument_is_a_pattern_with_words() -> None:
    for each in argued.ARGUMENTS:
        assert re.compile(each.tests) and re.compile(each.grounds)
        assert each.title and each.why.endswith(".")
