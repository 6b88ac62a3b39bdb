"""The driver suite's laws: what holds for any trees and any layers."""

from __future__ import annotations

import hashlib
import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from veneer.analysis.tree import BadLink, MergedTree, merge
from veneer.changeset.entry import Kind
from veneer.changeset.index import LayerIndex
from veneer.changeset.pack import pack_difference, pack_tree
from veneer.drivers import treecopy
from veneer.errors import Corrupt
from veneer.testing import images
from veneer.testing.driver_bench import NOBODY, Bench, DriverFixtures, Stack
from veneer.testing.trees import Node, Tree, assert_same, change_tree, changes, read_tree

_EXAMPLES = 8
"""A law costs some ten mounts an example."""


_KINDS = ("file", "file", "file", "directory", "directory", "whiteout", "whiteout", "opaque", "link", "symlink", "fifo")


class LawSuite(DriverFixtures):
    """Laws; each takes the driver once and many examples."""

    def test_law_the_view_is_the_tree_that_was_made_at_every_depth(self, bench: Bench) -> None:
        @given(story=changes(2))
        @settings(max_examples=_EXAMPLES)
        def holds(story: list[Tree]) -> None:
            with _fresh(bench):
                stack, own = NOBODY, []
                for old, new in zip([Tree({}), *story], story, strict=False):
                    stack = _changed(bench, stack, old, new)
                    own.append(bench.own_facts(stack[:1]))
                for depth, tree in enumerate(reversed(story)):
                    assert_same(tree, _seen(bench, stack[depth:]))
                assert bench.own_facts(stack) == [one for [one] in reversed(own)], "a layer changed under another"

        holds()

    def test_law_applying_the_difference_of_two_trees_yields_the_second(self, bench: Bench) -> None:
        @given(story=changes(1))
        @settings(max_examples=_EXAMPLES)
        def holds(story: list[Tree]) -> None:
            before, after = story
            with _fresh(bench):
                base = _changed(bench, NOBODY, Tree({}), before)
                tar, _ = bench.diff(_changed(bench, base, before, after))
                again = bench.apply_all([bench.diff(base)[0], tar])
                assert_same(_without_directory_times(after), _without_directory_times(_seen(bench, again)))

        holds()

    def test_law_a_layer_has_the_same_bytes_whatever_the_driver(self, bench: Bench) -> None:
        @given(story=changes(1))
        @settings(max_examples=_EXAMPLES)
        def holds(story: list[Tree]) -> None:
            before, after = story
            with _fresh(bench), tempfile.TemporaryDirectory() as plain:
                base = _changed(bench, NOBODY, Tree({}), before)
                top = _changed(bench, base, before, after)
                old, new = Path(plain, "old"), Path(plain, "new")
                for folder in (old, new):
                    folder.mkdir()
                with treecopy.directory(old) as old_fd, treecopy.directory(new) as new_fd:
                    change_tree(old_fd, Tree({}), before)
                    change_tree(new_fd, Tree({}), after)
                    whole, difference = io.BytesIO(), io.BytesIO()
                    pack_tree(old_fd, whole)
                    pack_difference(old_fd, new_fd, difference)
                assert bench.diff(base)[0] == whole.getvalue()
                assert bench.diff(top)[0] == difference.getvalue()

        holds()

    def test_law_the_view_is_the_tree_that_the_layers_indexes_make(self, bench: Bench) -> None:
        @given(random=st.randoms(use_true_random=False))
        @settings(max_examples=2 * _EXAMPLES)
        def holds(random: Random) -> None:
            tars = [random_layer(random, number) for number in range(random.randint(1, 4))]
            with _fresh(bench):
                try:
                    stack, indexes = bench.indexed(tars)
                    expected = _read_merged(merge([LayerIndex.from_bytes(index) for index in indexes]))
                except (Corrupt, BadLink):
                    assume(False)  # a hard link to nothing, a member below a whiteout: no layer at all
                assert_same(expected, _described(_seen(bench, stack)))

        holds()


def random_layer(random: Random, number: int) -> bytes:
    """A layer's tar as tools may write it: whiteouts of anything, opaque directories, directories without an entry,
    hard links to any layer.  It is the layer `number`, and never says two things of one path."""
    members: dict[str, images.Member | bytes] = {}
    kinds: dict[str, str] = {}
    for step in range(random.randint(1, 10)):
        path = "/".join(random.choice("abc") for _ in range(random.randint(1, 3)))
        above = [path[:end] for end, letter in enumerate(path) if letter == "/"]
        below = any(known.startswith(path + "/") for known in kinds)
        if path in kinds or any(kinds.get(parent, "directory") != "directory" for parent in above):
            continue
        kind = "directory" if below else random.choice(_KINDS)
        parent, name = ("/" + path).rsplit("/", 1)
        if kind == "opaque":
            members[path + "/"] = images.directory()
            members[f"{path}/.wh..wh..opq"] = b""
        elif kind == "whiteout":
            members[f"{parent}/.wh.{name}"[1:] if parent else f".wh.{name}"] = b""
        else:
            files = [known for known, what in kinds.items() if what == "file"]
            where = path + "/" if kind == "directory" else path
            members[where] = _random_member(random, kind, files, 1_000_000_000 + 1000 * number + step)
        kinds |= dict.fromkeys(above, "directory") | {path: "directory" if kind == "opaque" else kind}
    return images.layer_tar(members)


def _random_member(random: Random, kind: str, files: list[str], seconds: int) -> images.Member:
    if kind == "file":
        return images.file(b"%d" % seconds, random.choice((0o644, 0o4755)), mtime_ns=seconds * 10**9 + 7)
    if kind == "directory":
        made = images.directory(random.choice((0o755, 0o1777, 0o700)))
        return replace(made, uid=random.choice((0, 12)), mtime_ns=seconds * 10**9)
    if kind == "link":
        return images.hardlink(random.choice([*files, *files, *files, random.choice("abc")]))
    return images.symlink("../nowhere") if kind == "symlink" else images.fifo()


def _read_merged(merged: MergedTree) -> Tree:
    """The tree as the indexes tell it."""
    nodes: dict[bytes, Node] = {}
    homes: dict[tuple[int, int], bytes] = {}
    for node in merged:
        entry = merged.entry(node)
        home = homes.setdefault(merged.content(node), node.path)
        if entry.kind is Kind.REGULAR and home != node.path:
            nodes[node.path] = Node(Kind.HARDLINK, link=home)
            continue
        nodes[node.path] = Node(
            entry.kind, entry.mode, entry.uid, entry.gid, entry.mtime_ns, entry.digest, entry.link, entry.device,
            entry.xattrs,
        )  # fmt: skip
    return _without_sharing(Tree(nodes))


def _described(tree: Tree) -> Tree:
    """A tree that was read, with digests for contents."""
    return _without_sharing(
        Tree({
            path: replace(node, content=hashlib.sha256(node.content).digest()) if node.kind is Kind.REGULAR else node
            for path, node in tree.items()
        })
    )  # fmt: skip


def _without_sharing(tree: Tree) -> Tree:
    """Hard links as the files they are: a link into a lower layer may be a copy, and directories nobody mentions
    have times of their own."""
    plain = {}
    for path, node in tree.items():
        file = tree[node.link] if node.kind is Kind.HARDLINK else node
        plain[path] = replace(file, mtime_ns=0) if file.kind is Kind.DIRECTORY else file
    return Tree(plain)


@contextmanager
def _fresh(bench: Bench) -> Iterator[None]:
    """Nothing is left of an example when the next begins."""
    before = set(bench.driver.snapshots())
    try:
        yield
    finally:
        for snapshot in bench.driver.snapshots():
            if snapshot not in before:
                bench.driver.remove(snapshot)


def _changed(bench: Bench, on: Stack, old: Tree, new: Tree) -> Stack:
    def change(root: Path) -> None:
        with treecopy.directory(root) as fd:
            change_tree(fd, old, new)

    return bench.layer(change, on)


def _seen(bench: Bench, stack: Stack) -> Tree:
    with bench.view(stack) as root, treecopy.directory(root) as fd:
        return read_tree(fd)


def _without_directory_times(tree: Tree) -> Tree:
    """A directory whose time alone changed is no change to a layer."""
    return Tree(
        {path: replace(node, mtime_ns=0) if node.kind is Kind.DIRECTORY else node for path, node in tree.items()}
    )
