"""Blobs sent while they are made: to a registry that takes them, has them, breaks, or never gets an end."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from tests.distribution.conftest import ConnectTo
from tests.support.built import make_image, make_layer, writing
from veneer.distribution.ahead import Ahead
from veneer.distribution.client import Registries
from veneer.distribution.push import push
from veneer.distribution.upload import Uploaded, upload
from veneer.oci.digest import Digest
from veneer.oci.manifest import OCI_LAYER_GZIP, Descriptor
from veneer.oci.reference import Reference
from veneer.store.packing import LayerChanged
from veneer.store.store import Store
from veneer.testing.registry import Registry

NOISE = random.Random(1).randbytes(3 << 20)
DIGEST = Digest.of(NOISE)


def send(store: Store, registries: Registries, fake: Registry, between: Callable[[], None] = lambda: None) -> Uploaded:
    """Write NOISE as a blob that is sent while it is written; `between` is called when a third of it is there."""
    registry = registries.registry(fake.host)
    ahead = Ahead(registry, "app", lambda sent: None)
    with store.lease("test") as lease:
        with store.blobs.writer(lease) as writer:
            ahead.follow(writer)
            for start in range(0, len(NOISE), 1 << 20):
                writer.write(NOISE[start : start + (1 << 20)])
                if not start:
                    between()
            digest = writer.commit()
        descriptor = Descriptor(OCI_LAYER_GZIP, digest, len(NOISE))
        return upload(registry, "app", descriptor, lambda: store.blobs.open(digest), ahead=ahead)


def verbs(fake: Registry) -> list[str]:
    return [request.method for request in fake.log if "/blobs/" in request.path]


def test_bytes_leave_before_the_blob_is_whole_and_the_digest_comes_last(
    store: Store, fake: Registry, connect: ConnectTo
) -> None:
    send(store, connect(), fake)
    assert fake.blobs[DIGEST] == NOISE
    patch, put = fake.requests("/uploads/", "PATCH"), fake.requests("/uploads/", "PUT")
    assert [one.headers["Transfer-Encoding"] for one in patch] == ["chunked"]
    assert [one.received for one in patch] == [len(NOISE)] and f"digest={DIGEST}" in put[0].path


def test_a_blob_that_is_there_is_not_sent_to_its_end(store: Store, fake: Registry, connect: ConnectTo) -> None:
    fake.add_blob("app", NOISE)
    assert send(store, connect(), fake).existed
    assert "PUT" not in verbs(fake) and fake.uploads == {}


@pytest.mark.parametrize("read", [0, 1 << 19])
def test_one_that_breaks_goes_on_where_the_registry_stands(
    store: Store, fake: Registry, connect: ConnectTo, read: int
) -> None:
    fake.fault("/uploads/", method="PATCH", read=read)
    send(store, connect(), fake)
    assert fake.blobs[DIGEST] == NOISE and verbs(fake).count("POST") == 1


def test_a_registry_that_opens_no_upload_at_first_gets_the_blob_afterwards(
    store: Store, fake: Registry, connect: ConnectTo
) -> None:
    fake.fault("/uploads/", method="POST", status=403, times=1)
    send(store, connect(), fake)
    assert fake.blobs[DIGEST] == NOISE


@pytest.mark.parametrize("status", [401, 411, 416, 500])
def test_a_registry_that_refuses_the_stream_gets_it_otherwise(
    store: Store, fake: Registry, connect: ConnectTo, status: int
) -> None:
    fake.fault("/uploads/", method="PATCH", status=status)
    send(store, connect(), fake)
    assert fake.blobs[DIGEST] == NOISE


def test_a_blob_that_comes_to_nothing_is_forgotten_by_the_registry(
    store: Store, fake: Registry, connect: ConnectTo
) -> None:
    ahead = Ahead(connect().registry(fake.host), "app", lambda sent: None)
    with store.lease("test") as lease, store.blobs.writer(lease) as writer:
        ahead.follow(writer)
        writer.write(NOISE)
    ahead.abandon()
    assert fake.blobs == {} and fake.uploads == {} and "PUT" not in verbs(fake)


def test_of_a_layer_whose_files_were_changed_the_registry_gets_no_blob(
    store: Store, fake: Registry, connect: ConnectTo
) -> None:
    name = f"{fake.host}/app:1"
    with store.lease("test") as lease:
        layer = make_layer(store, lease, writing(noise=NOISE))
        make_image(store, lease, [layer], tag=name)
    path = store.layers.directory(layer) / "noise"
    path.write_bytes(NOISE[:-1] + bytes([NOISE[-1] ^ 1]))
    with pytest.raises(LayerChanged):
        push(store, connect(), Reference.parse(name))
    assert fake.blobs == {} and fake.manifests == {}
    path.write_bytes(NOISE)
    push(store, connect(), Reference.parse(name))
    assert len(fake.blobs) == 2 and store.check(deep=True) == []


def test_the_next_layer_may_begin_when_one_was_read_and_only_if_it_was_read_at_all(store: Store) -> None:
    seen = []
    with store.lease("test") as lease:
        layer = make_layer(store, lease, writing(noise=NOISE))

        def read() -> None:
            seen.append(store.layers.blobs(layer.diff_id))

        made = store.layers.compressed(lease, layer.diff_id, read=read)
        assert seen == [[]] and [blob.digest for blob in store.layers.blobs(layer.diff_id)] == [made.digest]
        assert store.layers.compressed(lease, layer.diff_id, read=read) == made
        assert seen == [[]]
