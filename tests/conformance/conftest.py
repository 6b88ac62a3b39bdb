"""The table driver x sentence, printed after a run."""

from __future__ import annotations

import pytest

for _part in ("attributes", "bench", "diff", "fuzz", "hostile", "laws", "life", "union"):
    pytest.register_assert_rewrite(f"veneer.testing.driver_{_part}")

_MARKS = {"passed": "yes", "failed": "NO", "skipped": "-"}
"""`-`: skipped, or known to fail; why stands below the table."""
_WORSE = ("yes", "-", "NO")
_NOT_ASKED = {
    "erofs_rootless": "EROFS images can be mounted by the machine's root alone",
    "fuse_nested": "on an overlay mount both FUSE drivers do the random work; the other sentences are fuse_overlayfs's",
    "aufs_kernel": "only a kernel with aufs could be asked, and it is no part of Linux",
}
"""Why a driver is not asked the suite's sentences: its cells are blank, or it has no column."""
_table: dict[str, dict[str, str]] = {}
_reasons: dict[tuple[str, str], str] = {}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if (report.when == "teardown" and not report.failed) or (report.when == "setup" and report.passed):
        return
    path, _, rest = report.nodeid.partition("::")
    if "conformance/test_" not in path or "::" not in rest:
        return
    driver = path.rpartition("/test_")[2].removesuffix(".py")
    sentence = rest.rpartition("::")[2].partition("[")[0].removeprefix("test_").replace("_", " ")
    row = _table.setdefault(sentence, {})
    mark = _MARKS[report.outcome]
    if (
        _WORSE.index(mark) > _WORSE.index(row.get(driver, "yes")) or driver not in row
    ):  # the worst of its variants counts
        row[driver] = mark
    if report.skipped and isinstance(report.longrepr, tuple):
        _reasons[driver, sentence] = report.longrepr[2].removeprefix("Skipped: ")
    elif report.skipped and hasattr(report, "wasxfail"):
        _reasons[driver, sentence] = report.wasxfail.removeprefix("reason: ")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not _table:
        return
    drivers = sorted({driver for row in _table.values() for driver in row})
    terminalreporter.section("driver x sentence")
    heads = [chr(ord("A") + number) for number in range(len(drivers))]
    for head, driver in zip(heads, drivers, strict=True):
        terminalreporter.write_line(f"{head}  {driver}")
    terminalreporter.write_line("".join(head.ljust(4) for head in heads))
    for sentence, row in _table.items():
        terminalreporter.write_line("".join(row.get(driver, "").ljust(4) for driver in drivers) + sentence)
    terminalreporter.write_line("")
    terminalreporter.write_line("yes: it holds; NO: it does not; -: skipped, or known to fail; blank: not asked.  Why:")
    for driver, reason in _NOT_ASKED.items():
        terminalreporter.write_line(f"- {driver}: not asked: {reason}")
    shared: dict[tuple[str, str], list[str]] = {}
    for (driver, sentence), reason in _reasons.items():
        shared.setdefault((driver, reason), []).append(sentence)
    for (driver, reason), sentences in shared.items():
        which = "; ".join(sentences) if len(sentences) < 4 else f"{len(sentences)} sentences"
        terminalreporter.write_line(f"- {driver}: {which}: {reason}")
