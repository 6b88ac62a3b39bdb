"""What is to be pulled of an image where another one is already."""

from __future__ import annotations

import io

from veneer.engine.engine import Engine
from veneer.engine.looking.subject import Subject
from veneer.testing.images import SampleImage, SampleLayer, Tree, image, layer_tar, oci_archive

BASE: Tree = {"os": b"o" * 1000}
TOP: Tree = {"app": b"a" * 500}


def opened(engine: Engine, sample: SampleImage) -> Subject:
    with engine.looking.open("", archive=io.BytesIO(oci_archive(("a:1", sample)))) as subject:
        return subject


def test_layers_that_are_there_are_not_pulled_whatever_blobs_they_came_as(engine: Engine) -> None:
    plain, packed = SampleLayer(layer_tar(BASE), ""), SampleLayer(layer_tar(BASE), "gzip")
    app, base = opened(engine, image(packed, TOP)), opened(engine, image(plain))
    blobs = [blob.size for blob in app.documents.blobs if blob is not None]
    assert base.documents.blobs[0] != app.documents.blobs[0]
    assert app.to_pull() == sum(blobs) and app.to_pull(base.config.diff_ids) == blobs[1]


def test_a_blob_is_pulled_once(engine: Engine) -> None:
    twice = opened(engine, image(BASE, TOP, BASE))
    assert twice.to_pull() == sum({blob.digest: blob.size for blob in twice.documents.blobs if blob}.values())
