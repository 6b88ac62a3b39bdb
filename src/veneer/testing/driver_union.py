"""The driver suite's sentences on a stack of layers as one tree."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from veneer.testing.driver_bench import Bench, DriverFixtures, append, facts, one_of_everything, write


class UnionSuite(DriverFixtures):
    """A stack of layers looks like one tree, and writing to it changes the top one only."""

    def test_a_file_added_on_top_is_there_with_those_below(self, bench: Bench) -> None:
        stack = bench.layers(
            lambda root: write(root, "d/below", "b"), lambda root: write(root, "d/above", "a"),
        )  # fmt: skip
        with bench.view(stack) as root:
            assert ((root / "d/below").read_text(), (root / "d/above").read_text()) == ("b", "a")

    def test_a_file_changed_on_top_shows_its_new_content_and_keeps_the_old_below(self, bench: Bench) -> None:
        stack = bench.layers(lambda root: write(root, "f", "old"), lambda root: append(root, "f", " and new"))
        with bench.view(stack) as root:
            assert (root / "f").read_text() == "old and new"
        with bench.view(stack[1:]) as root:
            assert (root / "f").read_text() == "old"

    def test_a_file_deleted_on_top_is_gone_and_still_there_below(self, bench: Bench) -> None:
        stack = bench.layers(lambda root: write(root, "d/f", ""), lambda root: (root / "d/f").unlink())
        assert sorted(bench.facts(stack)) == [b"", b"d"]
        assert sorted(bench.facts(stack[1:])) == [b"", b"d", b"d/f"]

    def test_a_file_deleted_and_made_again_and_deleted_follows_its_layer(self, bench: Bench) -> None:
        stack = bench.layers(
            lambda root: write(root, "f", "1"),
            lambda root: (root / "f").unlink(),
            lambda root: write(root, "f", "3"),
            lambda root: (root / "f").unlink(),
            lambda root: write(root, "f", "5"),
        )
        seen = [bench.facts(stack[depth:]).get(b"f", ("",) * 7)[6] for depth in range(5)]
        assert seen == [b"5", "", b"3", "", b"1"]

    def test_a_directory_deleted_and_made_again_shows_nothing_of_the_old_one(self, bench: Bench) -> None:
        def again(root: Path) -> None:
            (root / "d/old").unlink()
            (root / "d").rmdir()
            write(root, "d/new", "")

        stack = bench.layers(lambda root: write(root, "d/old", ""), again)
        assert sorted(bench.facts(stack)) == [b"", b"d", b"d/new"]

    def test_a_layer_on_a_remade_directory_adds_to_the_new_one(self, bench: Bench) -> None:
        def again(root: Path) -> None:
            (root / "d/old").unlink()
            (root / "d").rmdir()
            write(root, "d/new", "")

        stack = bench.layers(lambda root: write(root, "d/old", ""), again, lambda root: write(root, "d/newer", ""))
        assert sorted(bench.facts(stack)) == [b"", b"d", b"d/new", b"d/newer"]

    def test_a_directory_may_become_a_file(self, bench: Bench) -> None:
        def replace(root: Path) -> None:
            (root / "x/f").unlink()
            (root / "x").rmdir()
            write(root, "x", "file")

        stack = bench.layers(lambda root: write(root, "x/f", ""), replace)
        with bench.view(stack) as root:
            assert (root / "x").read_text() == "file"

    def test_a_file_may_become_a_directory(self, bench: Bench) -> None:
        def replace(root: Path) -> None:
            (root / "x").unlink()
            write(root, "x/f", "inside")

        stack = bench.layers(lambda root: write(root, "x", "file"), replace)
        with bench.view(stack) as root:
            assert (root / "x/f").read_text() == "inside"

    def test_a_symlink_may_replace_a_directory_and_is_not_looked_through(self, bench: Bench) -> None:
        def two(root: Path) -> None:
            write(root, "x/f", "")
            write(root, "other/g", "")

        def replace(root: Path) -> None:
            (root / "x/f").unlink()
            (root / "x").rmdir()
            (root / "x").symlink_to("other")

        stack = bench.layers(two, replace)
        seen = bench.facts(stack)
        assert seen[b"x"][6] == b"other"
        assert sorted(seen) == [b"", b"other", b"other/g", b"x"]

    def test_renaming_a_file_from_below(self, bench: Bench) -> None:
        stack = bench.layers(lambda root: write(root, "d/f", "x"), lambda root: (root / "d/f").rename(root / "g"))
        seen = bench.facts(stack)
        assert sorted(seen) == [b"", b"d", b"g"]
        assert seen[b"g"][6] == b"x"

    def test_renaming_a_directory_from_below_works_or_is_exdev_as_the_driver_says(self, bench: Bench) -> None:
        base = bench.layer(lambda root: write(root, "d/sub/f", "x"))
        with bench.writing(base) as (stack, root):
            if bench.driver.renames_dirs:
                (root / "d").rename(root / "e")
            else:
                with pytest.raises(OSError, match="cross-device"):  # by which mv knows to copy
                    (root / "d").rename(root / "e")
        name = b"e" if bench.driver.renames_dirs else b"d"
        assert sorted(bench.facts(stack)) == [b"", name, name + b"/sub", name + b"/sub/f"]

    def test_renaming_a_directory_of_its_own_layer(self, bench: Bench) -> None:
        def fill(root: Path) -> None:
            write(root, "new/f", "x")
            (root / "new").rename(root / "old/newer")

        stack = bench.layers(lambda root: write(root, "old/g", ""), fill)
        assert sorted(bench.facts(stack)) == [b"", b"old", b"old/g", b"old/newer", b"old/newer/f"]

    def test_two_writable_snapshots_on_one_parent_do_not_see_each_other(self, bench: Bench) -> None:
        base = bench.layer(lambda root: write(root, "f", "base"))
        with bench.writing(base) as (_, one), bench.writing(base) as (_, two):
            write(one, "f", "one")
            write(one, "only-one", "")
            (two / "f").unlink()
            assert sorted(os.listdir(one)) == ["f", "only-one"]
            assert os.listdir(two) == []
        with bench.view(base) as root:
            assert (root / "f").read_text() == "base"

    def test_a_view_of_no_layers_is_an_empty_tree(self, bench: Bench) -> None:
        assert list(bench.facts(())) == [b""]
        with bench.view(()) as root, pytest.raises(OSError, match="Read-only file system"):
            (root / "new").touch()

    def test_a_view_refuses_every_kind_of_write(self, bench: Bench) -> None:
        stack = bench.layers(lambda root: write(root, "f", ""), lambda root: write(root, "g", ""))
        for some in (stack, stack[1:]):
            with bench.view(some) as root:
                _refuses_writes(root)

    def test_a_snapshot_mounted_readonly_shows_its_layer_and_refuses_every_kind_of_write(self, bench: Bench) -> None:
        stack = bench.layers(lambda root: write(root, "f", ""), lambda root: write(root, "g", "top"))
        for depth in (0, 1):
            with bench.mounted(stack[depth], stack[depth + 1 :], readonly=True) as root:
                assert facts(root) == bench.facts(stack[depth:])
                _refuses_writes(root)

    def test_a_snapshot_can_be_left_and_written_to_again(self, bench: Bench) -> None:
        base = bench.layer(lambda root: write(root, "f", ""))
        with bench.writing(base) as (stack, root):
            write(root, "first", "")
            (root / "f").unlink()
        with bench.mounted(stack[0], base) as root:
            assert os.listdir(root) == ["first"]
            write(root, "second", "")
        assert sorted(bench.facts(stack)) == [b"", b"first", b"second"]

    def test_lower_layers_never_change_whatever_is_done_above_them(self, bench: Bench) -> None:
        base = bench.layers(one_of_everything, lambda root: write(root, "d/second", ""))
        before = bench.own_facts(base)
        with bench.writing(base) as (_, root):
            append(root, "file", "more")
            os.truncate(root / "d/second", 7)
            (root / "fifo").chmod(0o600)
            os.chown(root / "symlink", 7, 8, follow_symlinks=False)
            os.setxattr(root / "d", "user.new", b"v")
            os.removexattr(root / "file", "user.note")
            if (root / "null").exists():
                os.utime(root / "null", (1, 1))
            os.utime(root, (1, 1))
            os.link(root / "linked", root / "a-third-name")
            (root / "linked2").unlink()
            (root / "file").rename(root / "moved")
            (root / "sticky").rmdir()
            (root / "sticky").mkdir()
        assert bench.own_facts(base) == before

    def test_reading_goes_on_while_the_file_is_changed_above(self, bench: Bench) -> None:
        base = bench.layer(lambda root: (root / "f").write_bytes(b"old" * 100_000))
        with bench.writing(base) as (_, root), (root / "f").open("rb") as reader:
            start = reader.read(3)
            (root / "g").write_bytes(b"new" * 100_000)
            (root / "g").rename(root / "f")
            assert start + reader.read() == b"old" * 100_000
            assert (root / "f").read_bytes() == b"new" * 100_000

    def test_a_file_being_read_is_old_or_new_but_never_less_when_written_in_place(self, bench: Bench) -> None:
        base = bench.layer(lambda root: (root / "f").write_bytes(b"old" * 100_000))
        with bench.writing(base) as (_, root), (root / "f").open("rb", buffering=0) as reader:
            with (root / "f").open("r+b") as writer:
                writer.write(b"new" * 100_000)
            assert reader.read() in (b"old" * 100_000, b"new" * 100_000)
            assert (root / "f").read_bytes() == b"new" * 100_000


def _refuses_writes(root: Path) -> None:
    writes = (
        lambda: (root / "new").touch(),
        lambda: (root / "new").mkdir(),
        lambda: (root / "f").unlink(),
        lambda: (root / "f").chmod(0),
        lambda: (root / "f").write_text("x"),
        lambda: (root / "f").rename(root / "h"),
        lambda: os.utime(root / "f"),
        lambda: os.setxattr(root / "f", "user.x", b""),
    )
    for attempt in writes:
        with pytest.raises(OSError, match="Read-only file system"):
            attempt()
