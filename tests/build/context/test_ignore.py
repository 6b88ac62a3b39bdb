""".dockerignore: which paths patterns exclude, what takes them back, and that no pattern takes long."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.build.context.conftest import OpenContext
from veneer.build.context import ignore as ignoring
from veneer.build.context.globs import BadPattern
from veneer.build.context.ignore import Ignore


@pytest.mark.parametrize(
    ("patterns", "path", "excluded"),
    [
        ("a", "a", True), ("a", "a/b", True), ("a", "b/a", False), ("a", "ab", False), ("/a", "a", True),
        ("a/", "a", True), ("./a", "a", True), ("x/../a", "a", True), ("a//b", "a/b", True), ("*", "a/b", True),
        ("*.md", "r.md", True), ("*.md", "d/r.md", False), ("**/*.md", "r.md", True), ("**/*.md", "d/e/r.md", True),
        ("**/a", "x/y/a/b", True), ("a/**", "a/b", True), ("a/**", "a/b/c", True), ("a/**/c", "a/c", True),
        ("a/**/c", "a/x/y/c", True), ("**", "anything/at/all", True), ("*/a", "x/a", True), ("*/a", "x/y/a", False),
        ("?", "x", True), ("?", "xy", False), ("?", "é", True), ("[a-c]", "b", True), ("[^a-c]", "b", False),
        ("[a-", "b", None), ("a\\*b", "a*b", True), ("a\\*b", "axb", False), ("a.b", "axb", False), ("a+", "aa", False),
        ("(a)", "(a)", True), ("a$", "a$", True), ("a|b", "b", False), ("temp?", "tempX/y", True),
        (".git", ".git/x", True),
        ("**/.git", "a/.git", True), ("a\\", "a", None), ("[]a]", "a", None), ("[z-a]", "a", False),
        ("[\\-x]", "-", True),
        ("*\n!a", "a", False), ("*\n!a", "b", True), ("a\n!a/b", "a/b", False), ("a\n!a/b", "a/c", True),
        ("!a\na", "a", True), ("*.md\n!R*.md\nRx.md", "Ry.md", False), ("*.md\n!R*.md\nRx.md", "Rx.md", True),
        ("**\n!**/*.go", "d/x.go", False), ("a\n!a/b\na/b/c", "a/b/c", True), ("!", "a", None),
    ],
)  # fmt: skip
def test_patterns_exclude_what_they_exclude_for_docker(patterns: str, path: str, excluded: bool | None) -> None:
    if excluded is None:
        with pytest.raises(BadPattern):
            Ignore.parse(patterns.encode())
    else:
        assert Ignore.parse(patterns.encode()).excludes(path) is excluded


def test_comments_blanks_and_a_byte_order_mark_are_no_patterns() -> None:
    ignore = Ignore.parse("\ufeff# no\n\n   \n  a  \n\t/b/\n! c\n #d\n".encode())
    assert ignore.patterns == ("a", "b", "!c", "#d")
    assert not Ignore.parse(b"# only this\n")


def test_names_that_are_no_utf8_are_matched_by_their_bytes() -> None:
    assert Ignore.parse(b"\xff*").excludes(b"\xffx")
    assert Ignore.parse(b"*.t\xe9xt").excludes(b"a.t\xe9xt")


def test_a_wrong_line_is_named_with_its_number() -> None:
    with pytest.raises(BadPattern, match=r"\.dockerignore:3: "):
        Ignore.parse(b"a\nb\n[\n")
    with pytest.raises(BadPattern, match="a line of 70000 characters"):
        Ignore.parse(b"a" * 70000)
    with pytest.raises(BadPattern, match="the limit is"):
        Ignore.parse(b"a\n" * (3 << 20))


def test_the_deciding_pattern_is_the_one_that_excludes() -> None:
    ignore = Ignore.parse(b"*.log\ndist\n!dist/keep\n**/x\n")
    assert ignore.deciding("a.log") == "*.log"
    assert ignore.deciding("dist/js/app") == "dist"
    assert ignore.deciding("dist/keep/x") == "**/x"
    assert ignore.deciding("dist/keep") == ""


def test_an_excluded_directory_is_only_searched_where_something_may_come_back() -> None:
    ignore = Ignore.parse(b"node_modules\nout\n!out/keep\n")
    assert ignore.hopeless("node_modules")
    assert not ignore.hopeless("out")
    assert ignore.hopeless("out/other")
    assert not Ignore.parse(b"out\n!**/keep\n").hopeless("out/other")
    assert Ignore.parse(b"out\n").hopeless("out")


def test_what_is_taken_back_is_all_that_is_seen_of_a_directory(opened: OpenContext, context_dir: Path) -> None:
    for name in ("a/keep", "a/b/keep", "a/b/drop", "c/drop", "d"):
        (context_dir / name).parent.mkdir(parents=True, exist_ok=True)
        (context_dir / name).write_text("x")
    (context_dir / ".dockerignore").write_text("*\n!**/keep\n")
    with opened() as context:
        seen = {folder.child(name) for folder in context.folder(b"").walk() for name in folder.names}
    assert seen == {b"a", b"a/keep", b"a/b", b"a/b/keep"}


def test_the_dockerfiles_own_ignore_file_goes_first(opened: OpenContext, context_dir: Path) -> None:
    for name in ("a", "b"):
        (context_dir / name).write_text("x")
    (context_dir / ".dockerignore").write_text("a\n")
    (context_dir / "docker").mkdir()
    (context_dir / "docker" / "Dockerfile.dockerignore").write_text("b\n")
    with opened(dockerfile="docker/Dockerfile") as context:
        assert b"b" not in context.folder(b"").names
        assert context.read("b") == b"x", "a Dockerfile may be an ignored file"
    with opened(dockerfile="Dockerfile") as context:
        assert b"a" not in context.folder(b"").names


def test_ten_thousand_patterns_are_a_context_like_any_other() -> None:
    lines = [f"d{number}/**/x{number}*" for number in range(2000)] + [f"name{number}" for number in range(8000)]
    ignore = Ignore.parse("\n".join(lines).encode())
    assert ignore.excludes("a/name7") is False
    assert ignore.excludes("name7")
    assert ignore.excludes("d1999/a/b/x1999y")
    assert not ignore.excludes("d1999/a/b/x1998y")


@pytest.mark.parametrize("pattern", ["*a" * 30, "**/a/" * 12 + "b", "**a" * 4 + "b", "*a*/**/" * 8 + "b"])
def test_a_pattern_made_to_be_slow_ends_too(pattern: str) -> None:
    # With a matcher that goes back on every star these take longer than anybody lives.
    ignore = Ignore.parse(pattern.encode())
    for path in ("a" * 60 + "c", "a/" * 30 + "c", "aa/" * 30 + "ac"):
        assert not ignore.excludes(path)


def test_a_pattern_that_would_have_to_be_tried_for_ever_is_refused() -> None:
    with pytest.raises(BadPattern, match="without a slash before them"):
        Ignore.parse(b"**a" * 20)


@given(
    st.lists(st.sampled_from(["*", "**", "**/", "a", "b", "/", "?", "[ab]"]), min_size=1, max_size=8).map("".join),
    st.text("ab/", max_size=9),
)
def test_settling_stars_one_by_one_matches_what_trying_everything_matches(pattern: str, path: str) -> None:
    try:
        settled = ignoring._translated(pattern)[1]
    except BadPattern:
        return
    everything = _by_trying(pattern)
    assert (re.fullmatch(settled, path, re.S) is None) is (re.fullmatch(everything, path, re.S) is None)


def _by_trying(pattern: str) -> str:
    """The same tokens joined as they are."""
    joined: list[str] = []

    def join(tokens: list[str]) -> str:
        joined.extend(tokens)
        return ""

    original, ignoring._settled = ignoring._settled, join
    try:
        ignoring._translated(pattern)
    finally:
        ignoring._settled = original
    return "".join(joined)
