"""Tree, history and waste as the model computes them from indexes are those that unpacking every prefix finds."""

from __future__ import annotations

import re
from pathlib import Path
from random import Random

import pytest

from tests.analysis.stacks import Stack, random_stack
from veneer.analysis.cost import cost
from veneer.analysis.duplicates import duplicates
from veneer.analysis.events import Op, history_of, matching
from veneer.analysis.names import Names
from veneer.analysis.table import Table
from veneer.analysis.view import Line, View
from veneer.analysis.waste import account
from veneer.changeset.entry import Entry, Kind
from veneer.testing.trees import Node, Tree

SEEDS = range(200)


def bytes_in(tree: Tree) -> int:
    return sum(len(node.content) for node in tree.values())


def node_of(tree: Tree, path: bytes) -> Node | None:
    """What is at a path, its content if it is a hard link."""
    node = tree.get(path)
    return tree[node.link] if node is not None and node.kind is Kind.HARDLINK else node


def is_same(entry: Entry, node: Node) -> bool:
    return (
        entry.kind is node.kind
        and entry.size == len(node.content)
        and (entry.kind is Kind.SYMLINK or entry.mode == node.mode)
        and (entry.kind is Kind.HARDLINK or entry.link == node.link)
    )


def expected_op(before: Node | None, after: Node | None) -> Op | None:
    """What happened between two trees, as far as they can tell."""
    if after is None or before is None:
        return None if after is before else Op.ADDED if before is None else Op.DELETED
    if before.kind is not after.kind:
        return Op.REPLACED
    if (before.content, before.link) != (after.content, after.link):
        return Op.MODIFIED
    return None if before == after else Op.METADATA


def check_histories(stack: Stack) -> None:
    table = Table(stack.indexes)
    empty = Tree({})
    for path in sorted({path for tree in stack.trees for path in tree}):
        events = {event.layer: event for event in history_of(table, path)}
        for layer, tree in enumerate(stack.trees):
            before, after = node_of(stack.trees[layer - 1] if layer else empty, path), node_of(tree, path)
            wanted, event = expected_op(before, after), events.get(layer)
            shown = f"{path!r} in layer {layer}: {before} -> {after}: {event}"
            if event is None:
                # A directory's time changes with what is in it, without a word of the layer.
                assert wanted is None or (wanted is Op.METADATA and after and after.kind is Kind.DIRECTORY), shown
            elif wanted is not None:
                assert event.op is wanted, shown
            else:
                assert event.op is Op.METADATA or (after is None and before is None), shown
            # What a directory is that nobody mentions, below one that hides its like, depends on the archive's order.
            if event is not None and event.op is not Op.DELETED and after is not None and not event.entry.implied:
                assert is_same(event.entry, after), shown


def check_waste(stack: Stack) -> int:
    """That the model's waste is that of files which were on the disk and went; how many went."""
    found = account(Table(stack.indexes))
    for layer, figures in enumerate(found.layers):
        assert figures.stored == sum(life.size for life in stack.files if life.born == layer), f"layer {layer}"
        assert figures.total == bytes_in(stack.trees[layer]), f"layer {layer}"
    went: dict[tuple[int, int], tuple[int, int]] = {}
    for life in stack.files:
        if life.died is not None:
            size, files = went.get((life.born, life.died), (0, 0))
            went[life.born, life.died] = (size + life.size, files + 1)
    told: dict[tuple[int, int], tuple[int, int]] = {}
    for loss in found.losses:
        size, files = told.get((loss.holder, loss.maker), (0, 0))
        told[loss.holder, loss.maker] = (size + loss.bytes, files + loss.files)
    assert told == went, "bytes and files by the layer that held and the layer that hid them"
    assert found.wasted == sum(size for size, _ in went.values())
    return len(found.losses)


def check_names(stack: Stack, random: Random) -> int:
    """That files with several names are found, weighed and missed as those on the disk; how often one outlives its
    first name."""
    table = Table(stack.indexes)
    names = Names(table, len(stack.indexes))
    told = {path: names.of_path(copies) for path, copies in matching(table, re.compile(b".*", re.DOTALL))}
    assert sum(hidden for _, hidden, _ in told.values()) == sum(life.size for life in stack.files if not life.now)
    contents: dict[bytes, list[int]] = {}
    for life in stack.files:
        if life.now and life.size:
            (owner,) = (path for path in life.now if told[path][0])
            assert told[owner][0] == life.size and told[owner][2] >> life.born & 1, owner
            contents.setdefault(node_of(stack.trees[-1], owner).content, []).append(life.born)  # type: ignore[union-attr]
    same = sorted((len(content), sorted(layers)) for content, layers in contents.items() if len(layers) > 1)
    assert sorted((each.size, sorted(each.layers)) for each in duplicates(table)) == same
    for path in random.sample(sorted(told), min(3, len(told))):
        gone = [0] * len(stack.indexes)
        for life in stack.files:
            gone[life.born] += life.size * all(name == path or name.startswith(path + b"/") for name in life.ever)
        told_ = {each.layer: each.stored for each in cost(table, [None] * len(gone), [path])}
        assert [told_.get(layer, 0) for layer in range(len(gone))] == gone, path
    return sum(len(Names(table, at).moved) for at in range(1, len(stack.indexes) + 1))


def lines_of(view: View, path: bytes = b"") -> list[Line]:
    found = []
    for line in view.level(path):
        found.append(line)
        if line.place is not None:
            found += lines_of(view, line.path)
    return found


def check_view(stack: Stack, since: int, at: int) -> None:
    empty = Tree({})
    before, after = (stack.trees[depth - 1] if depth else empty for depth in (since, at))
    view = View(Table(stack.indexes), at, since)
    lines = lines_of(view)
    assert [line.path for line in lines if line.is_there] == list(after)
    assert view.total().size == bytes_in(after)
    assert view.total().waste == sum(index.bytes_total for index in stack.indexes[:at]) - bytes_in(after)
    assert view.total().entries == len(after)
    for line in lines:
        old, new = node_of(before, line.path), node_of(after, line.path)
        wanted = expected_op(old, new)
        shown = f"{line.path!r} {since}-{at}: {old} -> {new}: {line.state!r}"
        if new is not None and new.kind is Kind.DIRECTORY and old is not None and old.kind is Kind.DIRECTORY:
            assert line.state in (("", Op.MODIFIED) if old.mode == new.mode else (Op.METADATA, Op.MODIFIED)), shown
        elif wanted is None:
            assert line.state in ("", Op.METADATA) or not (old or new), shown
        else:
            assert line.state == wanted, shown
    own = [line for line in lines if not line.is_directory]
    assert sum(line.sums.size for line in own) == bytes_in(after)
    for line in lines:
        if line.is_directory:
            beneath = [each.sums for each in own if each.path.startswith(line.path + b"/")]
            assert line.sums.size == sum(sums.size for sums in beneath), line.path
            assert set(line.sums.layers) >= {layer for sums in beneath for layer in sums.layers}, line.path
        elif not any(node.kind is Kind.HARDLINK for node in after.values()):
            there = after.get(line.path)
            assert line.sums.size == (len(there.content) if there is not None else 0), line.path


@pytest.mark.usefixtures("root_only")
def test_the_model_agrees_with_unpacking_every_prefix(tmp_path: Path) -> None:
    layers = meetings = moved = 0
    for seed in SEEDS:
        random = Random(seed)
        folder = tmp_path / str(seed)
        folder.mkdir()
        stack = random_stack(random, folder, layers=7)
        if not stack.indexes:
            continue
        layers += len(stack.indexes)
        try:
            meetings += check_waste(stack)
            moved += check_names(stack, random)
            check_histories(stack)
            for _ in range(3):
                at = random.randint(0, len(stack.indexes))
                check_view(stack, random.randint(0, at), at)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
    assert layers > 500 and meetings > 400 and moved > 40, "the stacks must have something to tell"
