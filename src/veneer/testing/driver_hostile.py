"""The driver suite's sentences on what should not come: forged marks in archives, layers that are gone."""

from __future__ import annotations

import shutil

import pytest

from veneer.changeset.tar import BadArchive
from veneer.errors import VeneerError
from veneer.testing import images
from veneer.testing.driver_bench import Bench, DriverFixtures, write

_FORGED = {
    name: value
    for prefix in (b"trusted.overlay.", b"user.overlay.", b"user.fuseoverlayfs.")
    for name, value in ((prefix + b"opaque", b"y"), (prefix + b"whiteout", b""), (prefix + b"redirect", b"/f"),
                        (prefix + b"metacopy", b""), (prefix + b"origin", b""))
}  # fmt: skip
"""Attributes by which unions keep their own notes."""


class HostileSuite(DriverFixtures):
    """What is wrong is refused in words or harmless, and never a wrong tree."""

    def test_an_opaque_marker_where_a_file_is_hides_that_file_and_no_more(self, bench: Bench) -> None:
        below = images.layer_tar({"d": b"a file", "e": b"", "kept": b""})
        above = images.layer_tar({"d/": images.directory(), "d/.wh..wh..opq": b"", "d/new": b"", "e/.wh..wh..opq": b""})
        assert sorted(bench.facts(bench.apply_all([below, above]))) == [b"", b"d", b"d/new", b"e", b"kept"]

    def test_a_device_that_would_be_a_whiteout_is_refused_in_an_archive(self, bench: Bench) -> None:
        with pytest.raises(BadArchive, match="whiteout in disguise"):
            bench.apply(images.layer_tar({"dev": images.device(0, 0)}))

    def test_attributes_that_unions_keep_for_themselves_are_not_taken_from_an_archive(self, bench: Bench) -> None:
        tree: images.Tree = {"d/": images.directory(), "d/old": b"old", "f": b"content", "hidden": b"shown"}
        above: images.Tree = {
            "d/": images.directory(xattrs=_FORGED), "d/new": b"", "f": images.file(b"", xattrs=_FORGED),
            "hidden": images.file(b"", xattrs={**_FORGED, b"user.note": b"kept"}),
        }  # fmt: skip
        seen = bench.facts(bench.apply_all([images.layer_tar(tree), images.layer_tar(above)]))
        assert sorted(seen) == [b"", b"d", b"d/new", b"d/old", b"f", b"hidden"]
        assert [seen[path][6] for path in (b"d/old", b"f", b"hidden")] == [b"old", b"", b""]
        assert [seen[path][7] for path in (b"d", b"f", b"hidden")] == [(), (), (("user.note", b"kept"),)]

    @pytest.mark.parametrize("which", [1, 2])
    def test_a_layer_that_is_gone_is_named_where_it_is_missed(self, bench: Bench, which: int) -> None:
        """Whoever does not need its directory shows the right tree; nobody shows a tree without it."""
        stack = bench.layers(*(lambda root, name=name: write(root, name, name) for name in ("one", "two", "three")))
        before = bench.facts(stack)
        shutil.rmtree(bench.driver.directory(stack[which]))
        try:
            after = bench.facts(stack)
        except VeneerError as error:
            assert stack[which] in str(error)
        else:
            assert after == before
