"""The store of contents."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import pytest

from veneer.changeset.index import LayerIndex
from veneer.drivers.erofs.objects import Objects


def _layer(tmp_path: Path) -> tuple[Path, LayerIndex]:
    """A layer's directory with one file in it, and its index."""
    from veneer.changeset.pack import pack
    from veneer.changeset.whiteout import WhiteoutStyle
    from veneer.drivers import treecopy

    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "file").write_bytes(b"content")
    with open(tmp_path / "index", "w+b") as file, treecopy.directory(tree) as root:
        pack(root, WhiteoutStyle.OVERLAY, io.BytesIO(), index=file)
    return tree, LayerIndex.open(str(tmp_path / "index"))


def test_a_file_becomes_a_link_to_its_content(tmp_path: Path) -> None:
    tree, index = _layer(tmp_path)
    objects = Objects(tmp_path / "objects")
    for _ in range(2):
        objects.take_in(tree, index)
    place = objects.path(hashlib.sha256(b"content").digest())
    assert place.samefile(tree / "file") and place.stat().st_nlink == 2


def test_a_file_that_went_meanwhile_is_told_as_such(tmp_path: Path) -> None:
    tree, index = _layer(tmp_path)
    (tree / "file").unlink()
    with pytest.raises(FileNotFoundError, match="file"):
        Objects(tmp_path / "objects").take_in(tree, index)
