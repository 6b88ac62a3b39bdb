"""Sending blobs and manifests, to a registry that may lose half of it."""

from __future__ import annotations

import io
import os

import pytest

from tests.distribution.conftest import ConnectTo, FakeClock
from veneer.distribution.auth import Credentials
from veneer.distribution.client import Registries, WrongDigest
from veneer.distribution.session import AccessDenied
from veneer.distribution.transport import BadRedirect, ConnectionFailed
from veneer.distribution.upload import MissingBlobs, Uploaded, push_manifest, upload
from veneer.oci.digest import BlobDigest, Digest
from veneer.oci.manifest import OCI_MANIFEST, Descriptor
from veneer.testing.images import image
from veneer.testing.registry import Registry

DATA = os.urandom(3 << 20)
DIGEST = Digest.of(DATA)
ADA = {"ada": "lovelace"}


def send(
    registries: Registries,
    fake: Registry,
    data: bytes = DATA,
    mount_from: tuple[str, ...] = (),
    trust_head: bool = True,
) -> Uploaded:
    descriptor = Descriptor("", BlobDigest(Digest.of(data)), len(data))
    registry = registries.registry(fake.host)
    return upload(registry, "a", descriptor, lambda: io.BytesIO(data), mount_from=mount_from, trust_head=trust_head)


def verbs(fake: Registry) -> list[str]:
    return [entry.method for entry in fake.requests("/blobs/")]


def test_a_new_blob_is_sent_in_one_patch_and_named_by_one_put(fake: Registry, connect: ConnectTo) -> None:
    assert send(connect(), fake) == Uploaded()
    assert fake.blobs[DIGEST] == DATA
    assert verbs(fake) == ["HEAD", "POST", "PATCH", "PUT"]
    assert [entry.received for entry in fake.requests("/blobs/")] == [0, 0, len(DATA), 0]
    assert "state=" in fake.requests("/blobs/", "PUT")[0].path


@pytest.mark.parametrize("data", [b"", b"x", b"xy"])
def test_the_smallest_blobs_arrive_too(fake: Registry, connect: ConnectTo, data: bytes) -> None:
    send(connect(), fake, data)
    assert fake.blobs[Digest.of(data)] == data


def test_a_blob_that_is_there_is_not_sent(fake: Registry, connect: ConnectTo) -> None:
    fake.add_blob("a", DATA)
    assert send(connect(), fake) == Uploaded(existed=True)
    assert verbs(fake) == ["HEAD"]


def test_a_blob_that_is_only_said_to_be_there_can_be_sent_all_the_same(fake: Registry, connect: ConnectTo) -> None:
    assert send(connect(), fake, trust_head=False) == Uploaded()
    assert verbs(fake) == ["POST", "PATCH", "PUT"]


def test_a_blob_of_another_repository_is_mounted(fake: Registry, connect: ConnectTo) -> None:
    fake.add_blob("b", DATA)
    assert send(connect(), fake, mount_from=("b",)) == Uploaded(mounted_from="b")
    assert fake.has("a", DIGEST) and verbs(fake) == ["HEAD", "POST"]


def test_a_refused_mount_becomes_the_upload(fake: Registry, connect: ConnectTo) -> None:
    fake.add_blob("b", DATA)
    fake.refuse_mounts = True
    assert send(connect(), fake, mount_from=("b",)) == Uploaded()
    assert verbs(fake) == ["HEAD", "POST", "PATCH", "PUT"]


def test_a_forbidden_mount_becomes_an_upload(fake: Registry, connect: ConnectTo) -> None:
    fake.fault("mount=", method="POST", status=403)
    assert send(connect(), fake, mount_from=("b",)) == Uploaded()


def test_a_mount_asks_for_the_right_to_read_the_other_repository(connect: ConnectTo) -> None:
    with Registry(auth="bearer", users=ADA) as fake:
        fake.add_blob("b", DATA)
        registries = connect()
        registries.credentials.set(fake.host, Credentials("ada", "lovelace"))
        assert send(registries, fake, mount_from=("b",)).mounted_from == "b"
        assert "repository%3Aa%3Apull%2Cpush&scope=repository%3Ab%3Apull" in fake.requests("/token")[-1].path


def test_a_token_that_expires_while_sending_is_replaced_and_the_bytes_sent_again(connect: ConnectTo) -> None:
    with Registry(auth="bearer", users=ADA) as fake:
        registries = connect()
        registries.credentials.set(fake.host, Credentials("ada", "lovelace"))
        challenge = {"WWW-Authenticate": f'Bearer realm="{fake.url}/token",service="test"'}
        fake.fault("/uploads/", method="PATCH", status=401, headers=challenge)
        send(registries, fake)
        assert fake.blobs[DIGEST] == DATA


def test_an_upload_cut_off_goes_on_where_the_registry_stands(fake: Registry, connect: ConnectTo) -> None:
    fake.fault("/uploads/", method="PATCH", read=1 << 20)
    send(connect(), fake)
    assert fake.blobs[DIGEST] == DATA
    patches = fake.requests("/uploads/", "PATCH")
    assert patches[1].headers["Content-Range"] == f"{1 << 20}-{len(DATA) - 1}"
    assert "GET" in verbs(fake)


def test_an_upload_the_registry_forgot_starts_again(fake: Registry, connect: ConnectTo) -> None:
    fake.fault("/uploads/", method="PATCH", read=1 << 20)
    fake.fault("/uploads/", method="GET", status=404)
    send(connect(), fake)
    assert fake.blobs[DIGEST] == DATA and verbs(fake).count("POST") == 2


def test_a_lost_session_starts_again(fake: Registry, connect: ConnectTo) -> None:
    body = b'{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN","message":"gone"}]}'
    fake.fault("/uploads/", method="PUT", status=404, body=body)
    send(connect(), fake)
    assert fake.blobs[DIGEST] == DATA and verbs(fake).count("POST") == 2


def test_a_registry_that_is_elsewhere_is_asked_where(fake: Registry, connect: ConnectTo) -> None:
    fake.fault("/uploads/", method="PATCH", status=416)
    send(connect(), fake)
    assert fake.blobs[DIGEST] == DATA


def test_a_registry_that_takes_no_large_bodies_gets_chunks(
    fake: Registry, connect: ConnectTo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("veneer.distribution.upload.CHUNK_SIZE", 100_000)
    fake.chunk_min_length = 1 << 20
    fake.fault("/uploads/", method="PATCH", status=413)
    send(connect(), fake)
    assert fake.blobs[DIGEST] == DATA
    assert [entry.received for entry in fake.requests("/uploads/", "PATCH")] == [len(DATA), *[1 << 20] * 3]


def test_an_upload_that_breaks_for_ever_is_given_up(fake: Registry, connect: ConnectTo, clock: FakeClock) -> None:
    fake.fault("/uploads/", method="PATCH", read=0, times=-1)
    with pytest.raises(ConnectionFailed, match=fake.host):
        send(connect(), fake)
    assert len(fake.requests("/uploads/", "PATCH")) == 5 and not fake.has("a", DIGEST)


def test_a_registry_that_files_another_digest_is_not_believed(fake: Registry, connect: ConnectTo) -> None:
    fake.fault("/uploads/", method="PUT", headers={"Docker-Content-Digest": "sha256:" + "0" * 64})
    with pytest.raises(WrongDigest, match=f"{fake.host}: blob {DIGEST} to a: the registry filed it as"):
        send(connect(), fake)


def test_a_registry_that_names_no_digest_is_asked_for_the_blob(fake: Registry, connect: ConnectTo) -> None:
    fake.fault("/uploads/", method="PUT", headers={"Docker-Content-Digest": None})
    send(connect(), fake)
    assert verbs(fake)[-1] == "HEAD"


def test_a_push_that_is_not_allowed_ends_at_once(fake: Registry, connect: ConnectTo, clock: FakeClock) -> None:
    body = b'{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}'
    fake.fault("/uploads/", method="POST", status=403, body=body)
    with pytest.raises(AccessDenied, match="denied: requested access to the resource is denied"):
        send(connect(), fake)
    assert clock.waits == []


def test_an_upload_location_on_another_host_gets_no_credentials(connect: ConnectTo) -> None:
    with Registry(auth="basic", users=ADA) as fake, Registry() as other:
        registries = connect()
        registries.credentials.set(fake.host, Credentials("ada", "lovelace"))
        from veneer.testing.registry import Upload

        other.uploads["there"] = Upload("a")
        location = f"{other.url}/v2/a/blobs/uploads/there"
        fake.fault("/uploads/", method="POST", status=202, headers={"Location": location})
        send(registries, fake)
        assert other.blobs[DIGEST] == DATA
        assert not any("Authorization" in entry.headers for entry in other.log)


def test_an_upload_location_that_is_no_url_is_refused(fake: Registry, connect: ConnectTo) -> None:
    fake.fault("/uploads/", method="POST", status=202, headers={"Location": "file:///etc/passwd"})
    with pytest.raises(BadRedirect):
        send(connect(), fake)


def test_a_manifest_is_put_byte_for_byte(fake: Registry, connect: ConnectTo) -> None:
    sample = image({"a": b"1"})
    for data in sample.blobs().values():
        fake.add_blob("a", data)
    registry = connect().registry(fake.host)
    assert push_manifest(registry, "a", "1", sample.manifest.raw, OCI_MANIFEST) == sample.digest
    assert fake.manifest("a", "1") == (sample.digest, OCI_MANIFEST, sample.manifest.raw)


def test_blobs_that_a_manifest_names_and_the_registry_lacks_are_told(fake: Registry, connect: ConnectTo) -> None:
    sample = image({"a": b"1"})
    with pytest.raises(MissingBlobs, match="blob unknown to registry") as caught:
        push_manifest(connect().registry(fake.host), "a", "1", sample.manifest.raw, OCI_MANIFEST)
    assert caught.value.digests == set(sample.blobs())


def test_a_manifest_filed_under_another_digest_is_an_error(fake: Registry, connect: ConnectTo) -> None:
    sample = image({"a": b"1"})
    for data in sample.blobs().values():
        fake.add_blob("a", data)
    fake.fault("/manifests/", method="PUT", headers={"Docker-Content-Digest": "sha256:" + "0" * 64})
    with pytest.raises(WrongDigest, match=sample.digest):
        push_manifest(connect().registry(fake.host), "a", "1", sample.manifest.raw, OCI_MANIFEST)
