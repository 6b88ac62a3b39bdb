"""One law: computed from indexes, mounted by the kernel, or unpacked on top of each other, layers make one tree."""

from __future__ import annotations

import hashlib
import io
import os
from contextlib import ExitStack
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.laws.scratch import directory, overlay, scratch
from veneer.analysis.tree import MergedTree, merge
from veneer.changeset.entry import Entry, Kind
from veneer.changeset.index import LayerIndex
from veneer.changeset.tar_writer import TarWriter
from veneer.changeset.unpack import settle, unpack
from veneer.changeset.whiteout import WhiteoutStyle
from veneer.testing.trees import Tree, read_tree

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owners, devices and overlay mounts take root")

NAMES = (b"a", b"b", b"c", b"a-b")
Described = dict[bytes, tuple[object, ...]]


def random_layer(random: Random, below: MergedTree, number: int) -> bytes:
    """A tar with files, whiteouts, opaque directories, hard links, and directories that have no entry."""
    out = io.BytesIO()
    writer = TarWriter(out)
    kinds: dict[bytes, Kind] = {}
    links: list[bytes] = []
    for step in range(random.randint(1, 14)):
        path = b"/".join(random.choice(NAMES) for _ in range(random.randint(1, 4)))
        above = [path[:end] for end in range(len(path)) if path[end : end + 1] == b"/"]
        if path in kinds or any(kinds.get(parent, Kind.DIRECTORY) is not Kind.DIRECTORY for parent in above):
            continue
        if any(known.startswith(path + b"/") for known in kinds):
            kind = Kind.DIRECTORY
        else:
            kind = random.choice(
                [Kind.REGULAR] * 3 + [Kind.DIRECTORY] * 3 + [Kind.WHITEOUT] * 2 + [Kind.SYMLINK, Kind.HARDLINK]
            )
        mtime_ns = (number * 1000 + step + 1) * 10**9 + 5
        link, content = b"", b""
        if kind is Kind.REGULAR:
            content = b"%d" % random.randint(0, 10**6)
        elif kind is Kind.SYMLINK:
            link = random.choice((b"nowhere", b"/a"))
        elif kind is Kind.HARDLINK:
            links.append(path)
            kinds[path] = kind
            kinds.update((parent, Kind.DIRECTORY) for parent in above)
            continue
        opaque = kind is Kind.DIRECTORY and random.randint(0, 3) == 0
        mode = 0o777 if kind is Kind.SYMLINK else random.choice((0o755, 0o700, 0o1777, 0o640))
        owner = random.choice((0, 1000))
        kinds[path] = kind
        for parent in above:
            kinds.setdefault(parent, Kind.DIRECTORY)
        writer.add(Entry(path, kind, mode, owner, owner, len(content), mtime_ns, link, opaque=opaque), content or None)
    for path in links:
        mine = [known for known in kinds if kinds[known] is Kind.REGULAR]
        theirs = [node.path for node in below if node.kind is Kind.REGULAR and untouched(node.path, kinds)]
        if mine or theirs:
            writer.add(Entry(path, Kind.HARDLINK, 0o644, link=random.choice(theirs or mine)))
    writer.finish()
    return out.getvalue()


def untouched(path: bytes, kinds: dict[bytes, Kind]) -> bool:
    return not any(path == known or path.startswith(known + b"/") or known.startswith(path + b"/") for known in kinds)


def describe_merged(tree: MergedTree) -> Described:
    described: Described = {}
    for node in tree:
        e = tree.entry(node)
        described[node.path] = (e.kind, e.mode, e.uid, e.gid, e.mtime_ns, e.link, e.digest)
    return described


def describe(tree: Tree) -> Described:
    described: Described = {}
    for path, node in tree.items():
        n = tree[node.link] if node.kind is Kind.HARDLINK else node
        digest = hashlib.sha256(n.content).digest() if n.kind is Kind.REGULAR else b""
        described[path] = (n.kind, n.mode, n.uid, n.gid, n.mtime_ns, n.link, digest)
    return described


def check_one_tree(base: Path, seed: int, depth: int) -> None:
    random = Random(seed)
    indexes: list[LayerIndex] = []
    with scratch(base) as root, ExitStack() as stack:
        fds: list[int] = []
        erased = stack.enter_context(directory(root / "erased"))
        for number in range(depth):
            tar = random_layer(random, merge(indexes), number)
            fd = stack.enter_context(directory(root / f"layer{number}"))
            index, again = io.BytesIO(), io.BytesIO()
            unpacked = unpack(io.BytesIO(tar), fd, WhiteoutStyle.OVERLAY, index=index)
            settle(fd, unpacked, fds[::-1], WhiteoutStyle.OVERLAY)
            settle(erased, unpack(io.BytesIO(tar), erased, WhiteoutStyle.ERASE, index=again), [], WhiteoutStyle.ERASE)
            with LayerIndex.from_bytes(again.getvalue()) as other:
                indexes.append(stack.enter_context(LayerIndex.from_bytes(index.getvalue())))
                assert list(indexes[-1]) == list(other)
            fds.append(fd)
        lowers = [root / f"layer{number}" for number in reversed(range(depth))]
        with overlay(root, lowers, readonly=True) as merged, directory(merged) as view:
            kernel = describe(read_tree(view))
        computed = describe_merged(merge(indexes))
        assert [path for path in computed if path not in kernel] == []
        assert kernel == computed
        assert describe(read_tree(erased)) == computed
        assert list(computed) == sorted(computed, key=lambda path: path.split(b"/"))


@given(seed=st.integers(0, 10**9), depth=st.integers(1, 5))
@settings(max_examples=40)
def test_indexes_kernel_and_unpacking_in_place_agree_on_the_merged_tree(tmp_path: Path, seed: int, depth: int) -> None:
    check_one_tree(tmp_path, seed, depth)
