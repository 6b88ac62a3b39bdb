"""Long work is shown as docker shows it: news in a pipe, lines that renew themselves on a terminal."""

from __future__ import annotations

import io

from veneer.cli.progress import Lines, bar
from veneer.progress import Report


def _shown(reports: list[Report], *, live: bool, columns: int = 80) -> str:
    out = io.StringIO()
    lines = Lines(out, live=live, columns=columns)
    for report in reports:
        lines(report)
    return out.getvalue()


PULL = [
    Report("1", "Pulling from h1/e"), Report("aaaa", "Pulling fs layer"), Report("bbbb", "Already exists"),
    Report("aaaa", "Downloading", 1000, 4000), Report("aaaa", "Downloading", 4000, 4000),
    Report("aaaa", "Verifying Checksum"), Report("aaaa", "Verifying Checksum"), Report("aaaa", "Extracting", 5, 10),
    Report("aaaa", "Pull complete"), Report("", "Digest: sha256:1"),
]  # fmt: skip


def test_a_pipe_gets_news_only() -> None:
    assert _shown(PULL, live=False) == (
        "1: Pulling from h1/e\naaaa: Pulling fs layer\nbbbb: Already exists\naaaa: Verifying Checksum\n"
        "aaaa: Pull complete\nDigest: sha256:1\n"
    )


def _screen(text: str, rows: int = 20) -> list[str]:
    """What a terminal shows of it."""
    grid = [""] * rows
    row = at = 0
    while at < len(text):
        if text.startswith("\x1b[", at):
            end = next(n for n in range(at + 2, len(text)) if text[n].isalpha())
            number, verb = int(text[at + 2 : end]), text[end]
            if verb == "K":
                grid[row] = ""
            row += {"A": -number, "B": number}.get(verb, 0)
            at = end + 1
            continue
        if text[at] == "\n":
            row += 1
        elif text[at] != "\r":
            grid[row] += text[at]
        at += 1
    return [line for line in grid if line]


def test_a_terminal_shows_each_layer_on_its_own_line() -> None:
    assert _screen(_shown(PULL[:4], live=True)) == [
        "1: Pulling from h1/e", "aaaa: Downloading      1kB/4kB", "bbbb: Already exists",
    ]  # fmt: skip
    told = [Report("Total", "Moving", 1_000_000, 4_000_000, 2_500_000.0)]
    assert _screen(_shown(told, live=True)) == ["Total: Moving      1MB/4MB 2.5MB/s"]
    assert _shown(told, live=False) == ""
    assert _screen(_shown(PULL, live=True)) == [
        "1: Pulling from h1/e", "aaaa: Pull complete", "bbbb: Already exists", "Digest: sha256:1",
    ]  # fmt: skip


def test_lines_never_wrap_and_hold_no_escapes() -> None:
    shown = _shown([Report("aaaa", "x" * 200), Report("bbbb", "evil\x1b[2J")], live=True, columns=40)
    assert _screen(shown) == ["aaaa: " + "x" * 33, "bbbb: evil\\x1b[2J"]


def test_the_bar_needs_a_wide_terminal() -> None:
    assert bar(50, 100, 200) == "[" + "=" * 25 + ">" + " " * 25 + "]      50B/100B"
    assert bar(50, 100, 80) == "     50B/100B"
    assert bar(1_500_000, None, 200) == "   1.5MB"
    assert bar(150, 100, 200) == "    150B"
    assert bar(0, None, 200) == ""
