"""Which files a COPY means: globs, directories, links, --exclude and --parents; and what is said when there is none."""

from __future__ import annotations

import os
import posixpath
from pathlib import Path

import pytest

from tests.build.context.conftest import OpenContext
from veneer.build.context import globs
from veneer.build.context.failures import EscapesContext, SourceNotFound
from veneer.build.context.scan import Tree
from veneer.build.context.select import Selection, select


@pytest.fixture
def tree(context_dir: Path) -> Path:
    for name in ("a.txt", "b.txt", "c.md", "d/a.txt", "d/e/x.txt", "d/e/y.md", "d/.hidden", "[odd].txt", "Main.py"):
        (context_dir / name).parent.mkdir(parents=True, exist_ok=True)
        (context_dir / name).write_text(name)
    return context_dir


def shown(selection: Selection) -> dict[str, list[str]]:
    """What lands where: each source's base and, for a directory, what is in it."""
    found: dict[str, list[str]] = {}
    for root in selection.roots:
        names = found.setdefault(root.base.decode(), [])
        if root.folder is not None:
            top = len(root.folder.path) + 1 if root.folder.path else 0
            names += sorted(folder.child(name)[top:].decode() for folder in root.folder.walk() for name in folder.names)
    return found


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("*", "a", True), ("*", "", True), ("*", "a/b", False), ("a?", "ab", True), ("a?", "a", False),
        ("[a-c]x", "bx", True),
        ("[^a-c]x", "bx", False),
        ("[\\]]", "]", True), ("\\*", "*", True), ("\\*", "a", False), ("[^]x]", "x", None),
        ("[", "a", None), ("a\\", "a", None), ("[a-]", "a", None), ("[]", "a", None), ("[c-a]", "b", False),
        ("{a,b}", "a", False),
    ],
)  # fmt: skip
def test_a_glob_is_gos(pattern: str, name: str, matches: bool | None) -> None:
    if matches is None:
        with pytest.raises(globs.BadPattern):
            globs.matcher(pattern)
    else:
        assert (globs.matcher(pattern).fullmatch(name) is not None) is matches


def test_a_backslash_takes_a_wildcards_meaning_away() -> None:
    assert globs.has_wildcards("a*") and globs.has_wildcards("a[b") and not globs.has_wildcards("a\\*")
    assert globs.unescaped("\\[odd\\].txt") == "[odd].txt"


@pytest.mark.parametrize(
    ("pattern", "where"),
    [
        ("a.txt", {"a.txt": []}),
        ("/a.txt", {"a.txt": []}),
        ("./d/../a.txt", {"a.txt": []}),
        ("../../a.txt", {"a.txt": []}),
        ("*.txt", {"[odd].txt": [], "a.txt": [], "b.txt": []}),
        ("\\[odd\\].txt", {"[odd].txt": []}),
        ("d/*", {".hidden": [], "a.txt": [], "": ["x.txt", "y.md"]}),
        ("*/a.txt", {"a.txt": []}),
        ("d/e", {"": ["x.txt", "y.md"]}),
        ("d/", {"": [".hidden", "a.txt", "e", "e/x.txt", "e/y.md"]}),
        ("?.md", {"c.md": []}),
        ("nothing*", {}),
    ],
)
def test_patterns_mean_what_they_mean_to_docker(
    tree: Path, opened: OpenContext, pattern: str, where: dict[str, list[str]]
) -> None:
    with opened() as context:
        assert shown(select(context, [pattern])) == where


def test_the_whole_context_is_everything_in_it(tree: Path, opened: OpenContext) -> None:
    with opened() as context:
        selection = select(context, ["."])
        assert selection.files == 9
        assert selection.bytes == sum(len(str(path.relative_to(tree))) for path in tree.rglob("*") if path.is_file())


def test_a_link_is_followed_but_never_out_of_the_context(tree: Path, opened: OpenContext, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("mine")
    for name, target in {
        "to-dir": "d/e", "to-file": "d/a.txt", "absolute": "/d/a.txt", "up": "../../../../d/a.txt",
        "out": f"{tmp_path}/outside", "out2": "../outside", "loop": "loop", "via": "to-dir/x.txt",
    }.items():  # fmt: skip
        (tree / name).symlink_to(target)
    with opened() as context:
        assert shown(select(context, ["to-dir"])) == {"": ["x.txt", "y.md"]}
        for name in ("to-file", "absolute", "up", "via"):
            (root,) = select(context, [name]).roots
            assert root.base == name.encode(), "a link keeps its own name"
            assert root.path in (b"d/a.txt", b"d/e/x.txt")
        for name in ("out", "out2"):
            with pytest.raises(SourceNotFound) as missing:
                select(context, [name])
            assert "it is a link to" in missing.value.hint
        with pytest.raises(EscapesContext, match="too many levels"):
            select(context, ["loop"])
        assert "to-dir" not in shown(select(context, ["*/x.txt"])), "wildcards search real directories only"


def test_a_link_inside_a_copied_directory_stays_a_link(tree: Path, opened: OpenContext) -> None:
    (tree / "d" / "link").symlink_to("/etc/passwd")
    with opened() as context:
        selection = select(context, ["d"])
        assert selection.files == 5
        selection.checksum()


@pytest.mark.parametrize(
    ("wanted", "hint"),
    [
        ("main.py", "did you mean Main.py?"),
        ("a.tx", "did you mean a.txt?"),
        (".hidden", "did you mean d/.hidden?"),
        ("zzz", ""),
        ("d/../zzz", ""),
        ("../zzz", ".. leads out of the build context; ../zzz was taken as /zzz"),
        ("d/../../a.tx", ".. leads out of the build context; d/../../a.tx was taken as /a.tx"),
    ],
)
def test_what_is_not_there_is_answered_with_the_nearest_name(
    tree: Path, opened: OpenContext, wanted: str, hint: str
) -> None:
    said = f"COPY failed: {posixpath.normpath('/' + wanted)[1:]}: no such file"
    with opened() as context, pytest.raises(SourceNotFound, match=said) as missing:
        select(context, [wanted])
    assert missing.value.hint == hint


@pytest.mark.parametrize(
    ("wanted", "hint"),
    [
        ("away", "it is a link to /etc, which is not in the build context"),
        ("away/passwd", "away is a link to /etc, which is not in the build context"),
        ("d/up/x", "d/up is a link to ../../x, which is not in the build context"),
        ("http://host/x", "COPY has files of the context; ADD fetches what stands at a URL"),
    ],
)
def test_what_leads_out_of_the_context_is_answered_with_the_way_it_takes(
    tree: Path, opened: OpenContext, wanted: str, hint: str
) -> None:
    (tree / "away").symlink_to("/etc")
    (tree / "d" / "up").symlink_to("../../x")
    with opened() as context, pytest.raises(SourceNotFound) as missing:
        select(context, [wanted])
    assert missing.value.hint == hint


def test_what_is_ignored_is_answered_with_the_pattern(tree: Path, opened: OpenContext) -> None:
    (tree / ".dockerignore").write_text("*.md\n")
    with opened() as context:
        with pytest.raises(SourceNotFound) as missing:
            select(context, ["c.md"])
        assert missing.value.hint == ".dockerignore excludes it: *.md"
        assert shown(select(context, ["d/e"])) == {"": ["x.txt", "y.md"]}, "*.md is for the root alone"


def test_exclude_is_relative_to_each_source(tree: Path, opened: OpenContext) -> None:
    with opened() as context:
        assert shown(select(context, ["d"], excludes=["e"])) == {"": [".hidden", "a.txt"]}
        assert shown(select(context, ["d"], excludes=["**/*.md", "a.txt"])) == {"": [".hidden", "e", "e/x.txt"]}
        assert shown(select(context, ["d"], excludes=["*", "!e/x.txt"])) == {"": ["e", "e/x.txt"]}
        assert shown(select(context, ["*.txt", "c.md"], excludes=["a.*"])) == {"[odd].txt": [], "b.txt": [], "c.md": []}
        before = select(context, ["d"]).checksum()
        assert select(context, ["d"], excludes=["nothing"]).checksum() == before
        assert select(context, ["d"], excludes=["e/y.md"]).checksum() != before
        assert select(context, ["d"]).checksum() == before, "an exclusion changed the tree it looked at"


@pytest.mark.parametrize(
    ("pattern", "bases"),
    [
        ("d/e/x.txt", ["d/e/x.txt"]), ("d/./e/x.txt", ["e/x.txt"]), ("d/e", ["d/e"]), ("d/./e", ["e"]),
        ("*/a.txt", ["d/a.txt"]), ("**/*.md", ["c.md", "d/e/y.md"]), ("d/./**/*.txt", ["a.txt", "e/x.txt"]),
        ("*/./a.txt", ["a.txt"]), ("nothing*", []),
    ],
)  # fmt: skip
def test_parents_keep_the_way_from_the_pivot_on(
    tree: Path, opened: OpenContext, pattern: str, bases: list[str]
) -> None:
    with opened() as context:
        roots = select(context, [pattern], parents=True).roots
    assert sorted(root.base.decode() for root in roots) == bases


def test_parents_bring_the_modes_of_the_directories_on_the_way(tree: Path, opened: OpenContext) -> None:
    (tree / "d").chmod(0o711)
    with opened() as context:
        (root,) = select(context, ["d/e/x.txt"], parents=True).roots
        assert [(path, oct(row[0])) for path, row in root.parents] == [(b"d", "0o40711"), (b"d/e", "0o40755")]
        with pytest.raises(SourceNotFound):
            select(context, ["d/nope"], parents=True)
        (tree / "to-dir").symlink_to("d")
        with pytest.raises(SourceNotFound):
            select(context, ["to-dir/a.txt"], parents=True)


def test_a_directory_is_listed_once_and_seen_as_it_was_then(tree: Path, opened: OpenContext) -> None:
    with opened() as context:
        before = select(context, ["d"]).checksum()
        (tree / "d" / "new").write_text("x")
        assert select(context, ["d"]).checksum() == before


def test_names_of_any_bytes_can_be_copied(context_dir: Path, opened: OpenContext) -> None:
    for name in (b"\xff\xfe", b"new\nline", b"-option", b" blank "):
        with open(os.path.join(os.fsencode(context_dir), name), "wb"):
            pass
    with opened() as context:
        assert select(context, ["*"]).files == 4
        assert select(context, [os.fsdecode(b"\xff\xfe")]).roots[0].base == b"\xff\xfe"


def test_a_tree_deeper_than_any_honest_one_is_refused(context_dir: Path, opened: OpenContext) -> None:
    fd = os.open(context_dir, os.O_RDONLY)
    for _ in range(300):
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    with opened() as context, pytest.raises(Exception, match="more than 255 directories deep"):
        select(context, ["."])


def test_an_open_tree_never_leads_out_however_it_is_asked(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("mine")
    (tree / "out").symlink_to(tmp_path)
    fd = os.open(tree, os.O_RDONLY)
    try:
        seen = Tree(fd, "the tree")
        assert seen.resolve(b"out/secret") is None
        for path in (b"out/secret", b"../secret"):
            with pytest.raises(Exception, match=r"not there any more|cannot be read"):
                seen.open(path, os.O_RDONLY)
    finally:
        os.close(fd)
