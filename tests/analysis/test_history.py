"""History rows: IDs as far as the Parent links reach, a layer for every row that made one."""

from __future__ import annotations

import json
from typing import Any

from veneer.analysis.history import LayerFacts, history
from veneer.oci.digest import DiffID, Digest, ImageID, chain_ids
from veneer.oci.image import ImageConfig
from veneer.oci.reference import Reference

DIFFS = [DiffID(Digest.of(text)) for text in (b"a", b"b", b"c")]
LAYERS = [LayerFacts(d, c, size, None, None) for d, c, size in zip(DIFFS, chain_ids(DIFFS), (1, 20, 300), strict=True)]
IDS = [ImageID(Digest.of(text)) for text in (b"top", b"middle", b"base")]


def config(*entries: dict[str, Any]) -> ImageConfig:
    document = {"rootfs": {"type": "layers", "diff_ids": DIFFS}, "history": entries}
    return ImageConfig.parse(json.dumps(document).encode())


STEPS = config(
    {"created_by": "base", "created": "2023-11-14T22:13:20Z"},
    {"created_by": "env", "empty_layer": True},
    {"created_by": "run", "comment": "c", "author": "me"},
    {"created_by": "copy"},
)


def test_rows_are_newest_first_with_the_size_of_their_own_layer() -> None:
    rows = history(STEPS, [], LAYERS)
    assert [(row.created_by, row.size, row.empty) for row in rows] == [
        ("copy", 300, False), ("run", 20, False), ("env", 0, True), ("base", 1, False),
    ]  # fmt: skip
    assert rows[-1].created == 1700000000.0
    assert rows[0].created is None
    assert (rows[1].comment, rows[1].author) == ("c", "me")


def test_ids_reach_as_far_as_the_parents_do() -> None:
    tags = (Reference.parse("app:1"),)
    rows = history(STEPS, [(IDS[0], tags), (IDS[1], ())], LAYERS)
    assert [row.id for row in rows] == [IDS[0], IDS[1], None, None]
    assert [row.tags for row in rows] == [tags, (), (), ()]


def test_more_parents_than_rows_is_no_error() -> None:
    assert len(history(config({"comment": "only"}), [(each, ()) for each in IDS], LAYERS)) == 1


def test_an_image_without_history_has_no_rows_whatever_its_layers() -> None:
    assert history(config(), [(IDS[0], ())], LAYERS) == []


def test_the_same_layer_twice_keeps_its_places_apart() -> None:
    repeated = [DIFFS[0], DIFFS[0]]
    facts = [LayerFacts(d, c, 5, None, None) for d, c in zip(repeated, chain_ids(repeated), strict=True)]
    document = {"rootfs": {"diff_ids": repeated}, "history": [{}, {}]}
    rows = history(ImageConfig.parse(json.dumps(document).encode()), [], facts)
    chains = [row.layer.chain_id for row in rows if row.layer]
    assert chains == [facts[1].chain_id, facts[0].chain_id]
