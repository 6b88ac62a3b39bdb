"""A copied layer is what packing its directory would say, whoever copied it; and sources that change are not halved."""

from __future__ import annotations

import contextlib
import io
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings

from tests.laws.scratch import directory, scratch
from veneer.build.context import checksum
from veneer.build.context.failures import SourceChanged
from veneer.build.context.memory import Memory
from veneer.build.context.scan import Tree as Source
from veneer.build.context.select import Selection, select
from veneer.build.copying.buffer import BUFFER
from veneer.build.copying.crew import Crew
from veneer.build.copying.filling import Filling
from veneer.build.copying.items import Rules
from veneer.build.copying.plan import Origin, Plan
from veneer.build.state import InvalidStep
from veneer.changeset.index import LayerIndex
from veneer.changeset.pack import pack, pack_tree
from veneer.changeset.pack_sink import Packed
from veneer.changeset.whiteout import WhiteoutStyle
from veneer.store.drafts import Nowhere
from veneer.testing.trees import Tree, assert_same, read_tree, trees, write_tree

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owners and devices take root")
NOW = 1_700_000_000_000_000_001


@pytest.fixture(scope="module")
def crew() -> Iterator[Crew]:
    found = Crew()
    yield found
    found.close()


class Place:
    """A draft's directory without a store."""

    def __init__(self, folder: Path, style: WhiteoutStyle = WhiteoutStyle.OVERLAY) -> None:
        folder.mkdir()
        self.directory = folder
        self.style = style


def copied(
    source: Source, place: Place, target: bytes = b"", *, by: Crew | None = None, rules: Rules | None = None,
    below: Source | None = None, latest_ns: int | None = None, patterns: tuple[str, ...] = (".",), link: bool = False,
) -> tuple[Packed, bytes, Selection]:  # fmt: skip
    """Copy from `source` to the directory `target`: what was made, its index, and the selection."""

    @contextlib.contextmanager
    def lend(items: int, size: int) -> Iterator[Crew | None]:
        yield by

    selection = select(source, patterns)
    plan = Plan(below, owner=(0, 0), now_ns=NOW, latest_ns=latest_ns, link=link)
    plan.add(Origin(source, selection.roots, rules or Rules(False, None, "", True, "here")), target, into=True)
    index = io.BytesIO()
    packed = Filling(place, plan, latest_ns=latest_ns).run(index, lend)  # type: ignore[arg-type]
    return packed, index.getvalue(), selection


def packing(place: Place) -> tuple[Packed, bytes]:
    """What packing says of the directory that was filled."""
    index = io.BytesIO()
    with directory(place.directory) as fd:
        return pack(fd, place.style, Nowhere(), index=index), index.getvalue()


@given(tree=trees())
@settings(max_examples=10)
@pytest.mark.parametrize("many", [False, True])
def test_a_copied_layer_is_the_packed_one(tmp_path: Path, crew: Crew, tree: Tree, many: bool) -> None:
    with scratch(tmp_path) as tmp, directory(tmp / "source") as fd:
        write_tree(tree, fd)
        place = Place(tmp / "draft")
        packed, index, _ = copied(Source(fd, "here"), place, b"to/here", by=crew if many else None)
        assert (packed, index) == packing(place)
        with directory(place.directory / "to" / "here") as made:
            assert_same(tree, read_tree(made))


@given(tree=trees())
@settings(max_examples=10)
def test_checksums_made_while_copying_are_those_made_before(tmp_path: Path, tree: Tree) -> None:
    with scratch(tmp_path) as tmp, directory(tmp / "source") as fd:
        write_tree(tree, fd)
        before = select(Source(fd, "here"), ["."]).checksum()
        _, _, selection = copied(Source(fd, "here"), Place(tmp / "draft"))
        assert selection.summary() == before


@given(tree=trees())
@settings(max_examples=10)
def test_owner_and_latest_time_are_those_of_a_packed_tree(tmp_path: Path, tree: Tree) -> None:
    latest = 1_400_000_000 * 10**9
    with scratch(tmp_path) as tmp, directory(tmp / "source") as fd:
        write_tree(tree, fd)
        rules = Rules(False, (7, 8), "", True, "here")
        packed, index, _ = copied(Source(fd, "here"), Place(tmp / "draft"), rules=rules, latest_ns=latest)
        expected = io.BytesIO()
        assert packed == pack_tree(fd, Nowhere(), index=expected, owner=(7, 8), latest_ns=latest)
        assert index == expected.getvalue()


@given(tree=trees())
@settings(max_examples=10)
@pytest.mark.parametrize("many", [False, True])
def test_a_tree_that_nobody_needs_gives_the_layer_its_files(tmp_path: Path, crew: Crew, tree: Tree, many: bool) -> None:
    """They are moved, but for those with several names."""
    with scratch(tmp_path) as tmp, directory(tmp / "source") as fd:
        write_tree(tree, fd)
        files = [path for path in (tmp / "source").rglob("*") if stat.S_ISREG(path.lstat().st_mode)]
        single = {path.relative_to(tmp / "source") for path in files if path.lstat().st_nlink == 1}
        place = Place(tmp / "draft", WhiteoutStyle.ERASE)
        (place.directory / "to").mkdir()
        for name in [path.parts[0] for path in single][:1]:
            (place.directory / "to" / name).mkdir()  # in the way, as where a driver keeps whole trees
        rules = Rules(False, None, "", True, "here", ours=True)
        packed, index, _ = copied(Source(fd, "here"), place, b"to", by=crew if many else None, rules=rules)
        assert (packed, index) == packing(place)
        with directory(place.directory / "to") as made:
            assert_same(tree, read_tree(made))
        assert not any((tmp / "source" / path).exists() for path in single)


def test_what_a_file_was_hashed_to_before_is_used_only_while_it_is_the_same_file(tmp_path: Path) -> None:
    with directory(tmp_path / "source") as fd:
        (tmp_path / "source" / "f").write_bytes(b"one")
        source = Source(fd, "here", memory=Memory(None))
        select(source, ["."]).checksum()
        (tmp_path / "source" / "f").write_bytes(b"two")
        place = Place(tmp_path / "draft")
        packed, index, selection = copied(source, place)
        assert (packed, index) == packing(place)
        assert selection.checksum() == select(Source(fd, "here"), ["."]).checksum()


@pytest.mark.parametrize("size", [0, 1, BUFFER - 512, BUFFER - 511, BUFFER, BUFFER + 1, 5 * BUFFER + 7])
@pytest.mark.parametrize("many", [False, True])
def test_files_of_every_size_come_whole(tmp_path: Path, crew: Crew, size: int, many: bool) -> None:
    with directory(tmp_path / "source") as fd:
        (tmp_path / "source" / "a").write_bytes(os.urandom(size))
        (tmp_path / "source" / "b").write_bytes(b"after")
        place = Place(tmp_path / "draft")
        packed, index, _ = copied(Source(fd, "here"), place, by=crew if many else None)
        assert (packed, index) == packing(place)
        assert (place.directory / "a").read_bytes() == (tmp_path / "source" / "a").read_bytes()


def test_jobs_larger_than_a_socket_holds_wait_until_there_is_room(tmp_path: Path, crew: Crew) -> None:
    folder = tmp_path / "source" / ("x" * 250) / ("y" * 250)
    folder.mkdir(parents=True)
    for number in range(10 * 128):
        path = folder / f"{number:0>250}"
        path.write_bytes(b"")
        if number % 128 == 127:
            os.truncate(path, 5 * BUFFER)  # more than a process may have ready
    place = Place(tmp_path / "draft")
    with directory(tmp_path / "source") as fd:
        packed, index, _ = copied(Source(fd, "here"), place, by=crew)
    assert (packed, index) == packing(place)


def test_holes_stay_holes(tmp_path: Path) -> None:
    with directory(tmp_path / "source") as fd:
        with open(tmp_path / "source" / "sparse", "wb") as file:
            file.seek(40 << 20)
            file.write(b"end")
            file.truncate(50 << 20)
        place = Place(tmp_path / "draft")
        packed, index, _ = copied(Source(fd, "here"), place)
        assert (packed, index) == packing(place)
        assert (place.directory / "sparse").stat().st_blocks * 512 < 2 << 20


def test_a_file_that_changes_while_it_is_read_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "source" / "f"
    with directory(tmp_path / "source") as fd:
        path.write_bytes(b"before")
        times = _disturbed(monkeypatch, path, 1)
        place = Place(tmp_path / "draft")
        packed, index, _ = copied(Source(fd, "here"), place)
        assert (place.directory / "f").read_bytes() == path.read_bytes() == b"before+"
        assert (packed, index) == packing(place)
        assert times == [1]


def test_a_file_that_goes_on_changing_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "source" / "f"
    with directory(tmp_path / "source") as fd:
        path.write_bytes(b"before")
        _disturbed(monkeypatch, path, 1000)
        with pytest.raises(SourceChanged, match=r"^f: "):
            copied(Source(fd, "here"), Place(tmp_path / "draft"))


def _disturbed(monkeypatch: pytest.MonkeyPatch, path: Path, times: int) -> list[int]:
    """Have a file written to right after it was read, so often."""
    readv, done = os.readv, [0]

    def disturbing(fd: int, buffers: object) -> int:
        count = readv(fd, buffers)  # type: ignore[arg-type]
        if done[0] < times:
            done[0] += 1
            with path.open("ab") as file:
                file.write(b"+")
        return count

    monkeypatch.setattr(os, "readv", disturbing)
    return done


def test_several_names_of_a_file_are_one_file_in_the_layer(tmp_path: Path, crew: Crew) -> None:
    with directory(tmp_path / "source" / "d") as _, directory(tmp_path / "source") as fd:
        (tmp_path / "source" / "d" / "one").write_bytes(b"x" * 5000)
        for number in range(300):
            (tmp_path / "source" / f"e{number}").hardlink_to(tmp_path / "source" / "d" / "one")
        place = Place(tmp_path / "draft")
        packed, index, selection = copied(Source(fd, "here"), place, by=crew)
        assert (packed, index) == packing(place)
        assert (place.directory / "d" / "one").stat().st_nlink == 301
        assert packed.size == 5000
        assert selection.summary() == select(Source(fd, "here"), ["."]).checksum()


def test_links_of_the_tree_below_are_never_written_through(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    with directory(tmp_path / "below") as lower, directory(tmp_path / "source") as fd:
        (tmp_path / "below" / "sub").symlink_to(tmp_path / "outside")
        (tmp_path / "source" / "sub").mkdir()
        (tmp_path / "source" / "sub" / "deep").mkdir()
        (tmp_path / "source" / "sub" / "deep" / "f").write_bytes(b"f")
        place = Place(tmp_path / "draft")
        copied(Source(fd, "here"), place, below=Source(lower, "the image"))
        assert (place.directory / "sub" / "deep" / "f").read_bytes() == b"f"
        assert list((tmp_path / "outside").iterdir()) == []


def test_a_directory_that_is_there_keeps_what_it_has_and_says_when_it_got_something(tmp_path: Path) -> None:
    with directory(tmp_path / "below" / "a" / "b"), directory(tmp_path / "below") as lower:
        os.chown(tmp_path / "below" / "a" / "b", 33, 34)
        (tmp_path / "below" / "a" / "b").chmod(0o2770)
        for name in ("a/b", "a"):
            os.utime(tmp_path / "below" / name, ns=(1, 1))
        with directory(tmp_path / "source") as fd:
            (tmp_path / "source" / "f").write_bytes(b"f")
            place = Place(tmp_path / "draft")
            packed, index, _ = copied(Source(fd, "here"), place, b"a/b", below=Source(lower, "the image"))
        assert (packed, index) == packing(place)
        with LayerIndex.from_bytes(index) as entries:
            found = {entry.path: entry for entry in entries}
        seen = [(entry.mode, entry.uid, entry.gid, entry.mtime_ns) for entry in (found[b"a"], found[b"a/b"])]
        assert seen == [(0o755, 0, 0, 1), (0o2770, 33, 34, NOW)]
        assert (place.directory / "a" / "b" / "f").stat().st_gid == 0, "set-group-ID of a directory is for later"


def test_linked_layers_have_no_entries_for_directories_that_are_there(tmp_path: Path) -> None:
    with directory(tmp_path / "below" / "tmp"), directory(tmp_path / "below") as lower, directory(tmp_path / "s") as fd:
        (tmp_path / "below" / "tmp").chmod(0o1777)
        (tmp_path / "s" / "f").write_bytes(b"f")
        place = Place(tmp_path / "draft")
        _, index, _ = copied(Source(fd, "here"), place, b"tmp/new", below=Source(lower, "the image"), link=True)
        with LayerIndex.from_bytes(index) as entries:
            assert [(entry.path, entry.implied) for entry in entries] == [
                (b"tmp", True), (b"tmp/new", False), (b"tmp/new/f", False),
            ]  # fmt: skip
        assert stat.S_IMODE((place.directory / "tmp").stat().st_mode) == 0o1777


def test_what_stands_in_the_way_in_a_whole_tree_is_replaced(tmp_path: Path) -> None:
    """A driver that copies what is below gives a directory that is not empty."""
    place = Place(tmp_path / "draft", WhiteoutStyle.ERASE)
    (place.directory / "file").mkdir()
    (place.directory / "file" / "x").write_bytes(b"x")
    (place.directory / "folder").symlink_to("/etc")
    (place.directory / "same").write_bytes(b"old")
    with directory(tmp_path / "source") as fd:
        (tmp_path / "source" / "folder").mkdir()
        for name in ("file", "same", "folder/f"):
            (tmp_path / "source" / name).write_bytes(b"new")
        with directory(place.directory) as lower:
            copied(Source(fd, "here"), place, below=Source(lower, "the image"))
    for name in ("file", "same", "folder/f"):
        assert (place.directory / name).read_bytes() == b"new"
    assert not (place.directory / "folder").is_symlink()


def test_nothing_is_copied_below_a_file(tmp_path: Path) -> None:
    with directory(tmp_path / "below") as lower, directory(tmp_path / "source") as fd:
        (tmp_path / "below" / "f").write_bytes(b"")
        (tmp_path / "source" / "x").write_bytes(b"")
        with pytest.raises(InvalidStep, match=r"^cannot copy into /f: not a directory$"):
            copied(Source(fd, "here"), Place(tmp_path / "draft"), b"f/x", below=Source(lower, "the image"))


def test_sockets_stay_behind_and_count_in_the_checksum(tmp_path: Path) -> None:
    import socket

    with directory(tmp_path / "source") as fd, socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "source" / "s"))
        place = Place(tmp_path / "draft")
        packed, _, selection = copied(Source(fd, "here"), place)
        assert packed.entries == 0
        assert list(place.directory.iterdir()) == []
        assert selection.summary() == select(Source(fd, "here"), ["."]).checksum() != checksum.of_directory([])
