"""The driver suite's sentences on layers going in and coming out, and the laws."""

from __future__ import annotations

import io
import os
import shutil
from pathlib import Path

import pytest

from veneer.changeset.entry import Entry, Kind
from veneer.changeset.index import LayerIndex
from veneer.drivers import treecopy
from veneer.oci.digest import Digest
from veneer.testing import images
from veneer.testing.driver_bench import Bench, DriverFixtures, Stack, append, one_of_everything, write

_EXAMPLES = 12
"""A law costs some ten mounts an example."""


class DiffSuite(DriverFixtures):
    """What a layer says happens, and what happened is what the layer says."""

    def test_an_untouched_snapshot_is_an_empty_layer(self, bench: Bench) -> None:
        base = bench.layer(one_of_everything)
        with bench.writing(base) as (stack, root):
            assert (root / "file").read_bytes()
            assert list(root.iterdir())
        assert _entries(bench, stack) == []

    def test_opening_a_file_for_writing_and_writing_nothing_is_no_change(self, bench: Bench) -> None:
        """The kernel's overlay copies the file up for it."""
        base = bench.layer(one_of_everything)
        stack = bench.layer(lambda root: (root / "file").open("r+b").close(), base)
        assert _entries(bench, stack) == []

    def test_a_file_that_differs_in_nothing_but_its_content_is_a_change(self, bench: Bench) -> None:
        """`cp -p`, `touch -r`, builds that set all times: size, mode, owner and time say nothing then."""

        def old(root: Path) -> None:
            for name in ("written", "replaced", "linked", "kept", "touched"):
                write(root, f"d/{name}", "old")
                os.utime(root / "d" / name, ns=(10**18, 10**18))
            os.link(root / "d" / "linked", root / "d" / "linked-too")
            os.utime(root / "d", ns=(10**18, 10**18))

        def new(root: Path) -> None:
            write(root, "d/written", "new")
            write(root, "d/linked", "new")
            write(root, "d/other", "new")
            (root / "d/other").rename(root / "d/replaced")
            write(root, "d/touched", "old")
            for name in ("written", "replaced", "linked", "touched"):
                os.utime(root / "d" / name, ns=(10**18, 10**18))
            os.utime(root / "d", ns=(10**18, 10**18))

        found = _entries(bench, bench.layers(old, new))
        assert sorted(entry.path for entry in found if entry.kind is not Kind.DIRECTORY) in (
            [b"d/linked", b"d/linked-too", b"d/replaced", b"d/written"],
            [b"d/linked", b"d/replaced", b"d/written"],  # a union copies the one name up
        )

    def test_directories_that_change_places_are_a_change_however_alike_their_files_are(self, bench: Bench) -> None:
        def old(root: Path) -> None:
            for name in "ab":
                write(root, f"{name}/deep/f", name)
                for path in (f"{name}/deep/f", f"{name}/deep", name):
                    os.utime(root / path, ns=(10**18, 10**18))

        def swap(root: Path) -> None:
            for source, target in (("a", "t"), ("b", "a"), ("t", "b")):
                shutil.move(root / source, root / target)  # renamed where the driver lets directories be, else copied

        found = _entries(bench, bench.layers(old, swap))
        assert {b"a/deep/f", b"b/deep/f"} <= {entry.path for entry in found}

    def test_a_file_made_and_deleted_again_leaves_no_trace(self, bench: Bench) -> None:
        base = bench.layer(lambda root: write(root, "d/f", ""))

        def nothing(root: Path) -> None:
            before = os.stat(root / "d")
            write(root, "d/g", "")
            (root / "d/g").unlink()
            os.utime(root / "d", ns=(before.st_atime_ns, before.st_mtime_ns))

        assert _entries(bench, bench.layer(nothing, base)) == []

    def test_added_changed_and_deleted_are_what_the_layer_holds(self, bench: Bench) -> None:
        def base(root: Path) -> None:
            for name in ("kept", "changed", "deleted", "mode"):
                write(root, f"d/{name}", name)

        def change(root: Path) -> None:
            append(root, "d/changed", "!")
            (root / "d/deleted").unlink()
            (root / "d/mode").chmod(0o600)
            write(root, "d/added", "new")

        found = _entries(bench, bench.layers(base, change))
        assert [(entry.path, entry.kind, entry.size) for entry in found] == [
            (b"d", Kind.DIRECTORY, 0),
            (b"d/added", Kind.REGULAR, 3),
            (b"d/changed", Kind.REGULAR, 8),
            (b"d/deleted", Kind.WHITEOUT, 0),
            (b"d/mode", Kind.REGULAR, 4),
        ]

    def test_a_deleted_directory_is_one_whiteout(self, bench: Bench) -> None:
        base = bench.layer(one_of_everything)
        stack = bench.layer(lambda root: treecopy.delete_tree(root / "d"), base)
        assert [(entry.path, entry.kind) for entry in _entries(bench, stack)] == [(b"d", Kind.WHITEOUT)]

    def test_a_directory_made_again_deletes_just_what_was_in_it(self, bench: Bench) -> None:
        def again(root: Path) -> None:
            treecopy.delete_tree(root / "d")
            write(root, "d/b", "new")
            write(root, "d/z", "z")

        def old(root: Path) -> None:
            for name in "abc":
                write(root, f"d/{name}", "old")

        found = _entries(bench, bench.layers(old, again))
        assert [(entry.path, entry.kind, entry.opaque) for entry in found] == [
            (b"d", Kind.DIRECTORY, False),
            (b"d/a", Kind.WHITEOUT, False),
            (b"d/b", Kind.REGULAR, False),
            (b"d/c", Kind.WHITEOUT, False),
            (b"d/z", Kind.REGULAR, False),
        ]

    def test_the_driver_keeps_its_own_attributes_to_itself(self, bench: Bench) -> None:
        def change(root: Path) -> None:
            append(root, "file", "x")
            treecopy.delete_tree(root / "d")
            write(root, "d/new", "")

        stack = bench.layers(one_of_everything, change)
        names = {name for entry in _entries(bench, stack) for name, _ in entry.xattrs}
        assert names == {b"user.note"}

    def test_many_deletions_are_not_links_to_each_other(self, bench: Bench) -> None:
        """The kernel's overlay makes all its whiteouts one inode."""

        def make(root: Path) -> None:
            for number in range(20):
                write(root, str(number), "")

        def delete(root: Path) -> None:
            for number in range(20):
                (root / str(number)).unlink()

        stack = bench.layers(make, delete)
        assert {entry.kind for entry in _entries(bench, stack)} == {Kind.WHITEOUT}

    def test_a_new_link_to_a_file_from_below_brings_the_file_along(self, bench: Bench) -> None:
        base = bench.layer(lambda root: write(root, "f", "content"))
        stack = bench.layer(lambda root: os.link(root / "f", root / "g"), base)
        found = _entries(bench, stack)
        assert [(entry.path, entry.kind, entry.link) for entry in found] == [
            (b"f", Kind.REGULAR, b""),
            (b"g", Kind.HARDLINK, b"f"),
        ]

    def test_a_file_with_names_in_a_renamed_directory_and_elsewhere_stays_one_file(self, bench: Bench) -> None:
        def make(root: Path) -> None:
            for name in ("d/old", "d/fresh"):
                write(root, name, name)
            (root / "elsewhere").mkdir()
            os.link(root / "d/old", root / "elsewhere/old")

        def change(root: Path) -> None:
            # A link made of what is only here by its attributes, and one that nobody touches.
            (root / "d/fresh").chmod(0o600)
            os.link(root / "d/fresh", root / "a")
            (root / "d").rename(root / "e")

        if not bench.driver.renames_dirs:  # then nobody's links are parted, either
            with pytest.raises(OSError, match="cross-device"):
                bench.layers(make, change)
            return
        stack = bench.layers(make, change)
        seen = bench.facts(stack)
        assert (seen[b"e/old"][8], seen[b"a"][8]) == ((b"e/old", b"elsewhere/old"), (b"a", b"e/fresh"))
        found = _entries(bench, stack)
        assert [(entry.path, entry.kind, entry.link) for entry in found] == [
            (b"a", Kind.REGULAR, b""),
            (b"d", Kind.WHITEOUT, b""),
            (b"e", Kind.DIRECTORY, b""),
            (b"e/fresh", Kind.HARDLINK, b"a"),
            (b"e/old", Kind.REGULAR, b""),
            (b"elsewhere", Kind.DIRECTORY, b""),
            (b"elsewhere/old", Kind.HARDLINK, b"e/old"),
        ]

    def test_packing_twice_gives_the_same_bytes(self, bench: Bench) -> None:
        stack = bench.layers(one_of_everything, lambda root: append(root, "file", "x"))
        assert bench.diff(stack) == bench.diff(stack)

    def test_packing_says_what_it_wrote(self, bench: Bench) -> None:
        stack = bench.layers(one_of_everything, lambda root: append(root, "file", "x"))
        tar, packed = bench.diff(stack)
        assert packed.diff_id == Digest.of(tar)
        assert (packed.tar_size, packed.size, packed.entries) == (len(tar), 9_001, 1)

    def test_a_whiteout_of_a_missing_path_shows_nowhere(self, bench: Bench) -> None:
        below = images.layer_tar({"d/": images.directory(), "d/f": b"", "d/.wh.gone": b"", ".wh.never": b""})
        above = images.layer_tar({"d/.wh.other": b"", ".wh.nothing": b"", "g": b""})
        assert sorted(bench.facts(bench.apply(below))) == [b"", b"d", b"d/f"]
        assert sorted(bench.facts(bench.apply_all([below, above]))) == [b"", b"d", b"d/f", b"g"]

    def test_a_whiteout_where_no_layer_below_has_the_directory_shows_nowhere(self, bench: Bench) -> None:
        """The kernel's overlay takes whiteouts out of the listing of merged directories, and of no others."""
        below = images.layer_tar({"f": b"", "hidden/": images.directory(), "hidden/x": b""})
        above = images.layer_tar({
            "new/": images.directory(), "new/.wh.gone": b"", "new/kept": b"",
            "implied/deep/.wh.gone": b"", "implied/deep/kept": b"",
            "hidden/": images.directory(), "hidden/.wh..wh..opq": b"", "hidden/.wh.x": b"", "hidden/.wh.gone": b"",
        })  # fmt: skip
        assert sorted(bench.facts(bench.apply_all([below, above]))) == [
            b"", b"f", b"hidden", b"implied", b"implied/deep", b"implied/deep/kept", b"new", b"new/kept",
        ]  # fmt: skip

    @pytest.mark.parametrize("last", [False, True])
    def test_an_opaque_directory_hides_all_below_it_and_nothing_of_its_own_layer(
        self, bench: Bench, last: bool
    ) -> None:
        below = images.layer_tar({"d/": images.directory(), "d/old": b"", "d/sub/": images.directory(), "d/sub/x": b""})
        marker: images.Tree = {"d/.wh..wh..opq": b""}
        own: images.Tree = {"d/new": b"", "d/sub/": images.directory(), "d/sub/y": b""}
        members: images.Tree = {"d/": images.directory()}
        members = {**members, **own, **marker} if last else {**members, **marker, **own}
        stack = bench.apply_all([below, images.layer_tar(members)])
        assert sorted(bench.facts(stack)) == [b"", b"d", b"d/new", b"d/sub", b"d/sub/y"]

    def test_a_whiteout_beside_a_new_directory_of_that_name_hides_the_old_ones_content(self, bench: Bench) -> None:
        below = images.layer_tar({"d/": images.directory(), "d/old": b""})
        above = images.layer_tar({".wh.d": b"", "d/": images.directory(0o700), "d/new": b""})
        assert sorted(bench.facts(bench.apply_all([below, above]))) == [b"", b"d", b"d/new"]

    def test_a_directory_a_layer_does_not_mention_keeps_what_it_was_below(self, bench: Bench) -> None:
        below = images.layer_tar({"tmp/": images.directory(0o1777).owned(12, 34), "tmp/a": b""})
        above = images.layer_tar({"tmp/b": b""})
        seen = bench.facts(bench.apply_all([below, above]))
        assert seen[b"tmp"][:3] == ("drwxrwxrwt", 12, 34)

    def test_a_hard_link_to_a_file_of_a_layer_below_has_its_content(self, bench: Bench) -> None:
        below = images.layer_tar({"f": b"content"})
        above = images.layer_tar({"g": images.hardlink("f")})
        seen = bench.facts(bench.apply_all([below, above]))
        assert seen[b"g"][6] == b"content"
        assert seen[b"g"][8] in ((b"f", b"g"), (b"g",))  # shared, or copied up as on a change
        assert seen[b"f"][6] == b"content"

    def test_layers_may_be_unpacked_in_any_order_if_the_driver_says_so(self, bench: Bench) -> None:
        tars = [
            images.layer_tar({"d/": images.directory(0o700), "d/a": b"1", "d/b": b"1", "f": b"1"}),
            images.layer_tar({"d/.wh.a": b"", "d/b": b"22", "d/c": b"2"}),
            images.layer_tar({"d/a": b"333", ".wh.f": b""}),
        ]
        order = [2, 0, 1] if bench.driver.any_order else [0, 1, 2]
        mixed, straight = bench.facts(bench.apply_all(tars, order=order)), bench.facts(bench.apply_all(tars))
        for seen in (mixed, straight):
            del seen[b""]  # no layer says anything of the root's time
        assert mixed == straight
        assert {path: facts[6] for path, facts in mixed.items()} == {
            b"d": b"", b"d/a": b"333", b"d/b": b"22", b"d/c": b"2",
        }  # fmt: skip


def _entries(bench: Bench, stack: Stack) -> list[Entry]:
    """The top layer's entries, from the index that is written with it."""
    index = io.BytesIO()
    bench.driver.diff(stack[0], stack[1:], io.BytesIO(), index=index)
    with LayerIndex.from_bytes(index.getvalue()) as found:
        return list(found)
