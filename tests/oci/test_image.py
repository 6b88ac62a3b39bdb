"""Image configs: raw bytes are the truth, history pairs with layers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from veneer.errors import VeneerError
from veneer.oci import timestamp
from veneer.oci.digest import Digest
from veneer.oci.image import ImageConfig, InvalidImageConfig

A, B, C = (str(Digest.of(text)) for text in (b"a", b"b", b"c"))


def config(diff_ids: list[str], history: list[dict[str, Any]] | None = None, **more: Any) -> ImageConfig:
    document = {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": diff_ids}, **more}
    if history is not None:
        document["history"] = history
    return ImageConfig.parse(json.dumps(document, indent=3).encode())


def test_the_image_id_is_the_digest_of_the_bytes_as_they_came() -> None:
    found = config([A])
    assert found.image_id == Digest.of(found.raw)


def test_history_pairs_with_layers_by_counting() -> None:
    found = config([A, B], [{"created_by": "1"}, {"created_by": "2", "empty_layer": True}, {"created_by": "3"}])
    assert [(entry.created_by, position) for entry, position in found.rows()] == [("1", 0), ("2", None), ("3", 1)]


def test_a_config_made_from_another_reads_as_it_would_alone() -> None:
    below = config([A], [{"created_by": "1"}, {"created_by": "2", "empty_layer": True}])
    document = json.loads(below.raw)
    document["history"] += [{"created_by": "3"}, {"created_by": "4", "empty_layer": True}]
    document["rootfs"]["diff_ids"].append(B)
    raw = json.dumps(document).encode()
    assert ImageConfig.parse(raw, below=below) == ImageConfig.parse(raw)


def test_a_short_or_missing_history_is_legal_and_a_long_one_is_not() -> None:
    assert list(config([A, B, C]).rows()) == []
    assert len(list(config([A, B, C], [{"comment": "only"}]).rows())) == 1
    with pytest.raises(InvalidImageConfig, match="too many non-empty layers in History section"):
        config([A], [{}, {}])


def test_an_image_from_scratch_has_no_top() -> None:
    found = ImageConfig.parse(b'{"rootfs":{"type":"layers"}}')
    assert (found.top, found.diff_ids, found.created, found.run, found.labels) == (None, (), "", {}, {})


@pytest.mark.parametrize(
    "raw",
    [b"{}", b'{"rootfs":[]}', b'{"rootfs":{"diff_ids":"x"}}', b'{"rootfs":{"diff_ids":["sha256:1"]}}',
     b'{"rootfs":{"diff_ids":[7]}}', b'{"rootfs":{},"history":{}}', b'{"rootfs":{},"history":[1]}'],
)  # fmt: skip
def test_a_broken_config_is_refused(raw: bytes) -> None:
    with pytest.raises(VeneerError):
        ImageConfig.parse(raw, "config of acme/app")


def test_values_of_the_wrong_type_read_as_absent() -> None:
    found = config([A], [{"created": 7, "created_by": None, "empty_layer": "yes"}], created=[1], config={"Labels": [1]})
    assert (found.created, found.labels, found.history[0].created_by) == ("", {}, "")
    assert not found.history[0].empty_layer


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:01Z", 1.0),
        ("2023-11-14T22:13:20.123456789Z", 1700000000.123456789),
        ("2023-11-15T00:13:20+02:00", 1700000000.0),
        ("0001-01-01T00:00:00Z", None),
        ("", None),
        ("yesterday", None),
        ("2023-13-45T99:99:99Z", None),
    ],
)
def test_times_are_read_as_go_writes_them(text: str, seconds: float | None) -> None:
    assert timestamp.parse(text) == seconds


def test_times_are_written_as_go_writes_them() -> None:
    assert timestamp.render(None) == "0001-01-01T00:00:00Z"
    assert timestamp.render(1700000000) == "2023-11-14T22:13:20Z"
    assert timestamp.render(1700000000.25) == "2023-11-14T22:13:20.25Z"
    assert timestamp.render(None, nanoseconds=1700000000_000000001) == "2023-11-14T22:13:20.000000001Z"
