"""Pushing out of a real store: what came in goes out unchanged, and nothing is sent that is there."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.distribution.conftest import ConnectTo
from tests.distribution.test_pull import add_index, attestation
from veneer.config import Config
from veneer.distribution.auth import AuthenticationRequired
from veneer.distribution.pull import Pulled, pull
from veneer.distribution.push import NothingToPush, Pushed, push
from veneer.distribution.session import AccessDenied
from veneer.errors import VeneerError
from veneer.oci.digest import Digest
from veneer.oci.manifest import OCI_LAYER_GZIP, OCI_MANIFEST, Manifest
from veneer.oci.reference import Reference
from veneer.progress import Progress, Report, silent
from veneer.store.store import Store
from veneer.testing.images import SampleImage, image
from veneer.testing.registry import Registry

PushTo = Callable[..., Pushed]
PullFrom = Callable[..., Pulled]


@pytest.fixture
def config(config: Config) -> Config:
    """One unpacking process is enough for images of a few files, and starts sooner."""
    return config.replaced(unpack_workers=1)


@pytest.fixture
def sample() -> SampleImage:
    return image({"etc/hostname": b"veneer\n"}, {"usr/lib/noise": bytes(100_000)})


@pytest.fixture
def pulling(store: Store, connect: ConnectTo) -> PullFrom:
    def run(name: str, all_platforms: bool = False) -> Pulled:
        return pull(store, connect(), Reference.parse(name), all_platforms=all_platforms)

    return run


@pytest.fixture
def pushing(store: Store, connect: ConnectTo) -> PushTo:
    """Call it with the name of an image, which is given `target` and pushed under it."""

    def run(source: str, target: str = "", progress: Progress = silent) -> Pushed:
        reference = Reference.parse(target or source)
        if target:
            named = Reference.parse(source)
            store.images.tag(store.images.find(source).id, reference, index=store.images.target(named))
        return push(store, connect(), reference, progress=progress)

    return run


def loaded(store: Store, sample: SampleImage, name: str) -> None:
    """Put an image into the store as `docker load` does: uncompressed layers and no manifest."""
    with store.lease("test") as lease:
        blobs = [store.blobs.put(lease, layer.tar) for layer in sample.layers]
        with store.layers.intake(lease, sample.parsed.diff_ids) as intake:
            for position in intake.missing:
                intake.feed(position, blobs[position])
            intake.commit()
        added = store.images.add(lease, sample.config)
    store.images.tag(added.id, Reference.parse(name))


@pytest.mark.parametrize("style", ["oci", "docker"])
@pytest.mark.parametrize("compression", ["", "gzip", "zstd"])
def test_what_was_pulled_is_pushed_byte_for_byte(
    fake: Registry, pulling: PullFrom, pushing: PushTo, style: str, compression: str
) -> None:
    sample = image({"a": b"1"}, {"b": b"2"}, style=style, compression=compression)
    fake.add("here/app:1", sample)
    pulling(f"{fake.host}/here/app:1")
    with Registry() as other:
        pushed = pushing(f"{fake.host}/here/app:1", f"{other.host}/there/app:2")
        assert pushed == Pushed(sample.digest, len(sample.manifest.raw))
        assert other.manifest("there/app", "2") == (sample.digest, sample.manifest.media_type, sample.manifest.raw)
        assert {digest: other.blobs[digest] for digest in sample.blobs()} == sample.blobs()


def test_the_lines_are_dockers(store: Store, fake: Registry, sample: SampleImage, pushing: PushTo) -> None:
    name = f"{fake.host}/acme/app:1"
    loaded(store, sample, name)
    told: list[Report] = []
    pushed = pushing(name, progress=told.append)
    lines = [f"{one.id}: {one.status}" if one.id else one.status for one in told if one.current is None]
    shorts = [layer.diff_id.short for layer in sample.layers]
    assert f"The push refers to repository [{fake.host}/acme/app]" in lines
    for short in shorts:
        assert lines.index(f"{short}: Preparing") < lines.index(f"{short}: Pushed")
    assert lines[-1] == f"1: digest: {pushed.digest} size: {pushed.size}"
    told.clear()
    pushing(name, progress=told.append)
    assert [one.status for one in told if one.id in shorts] == ["Preparing"] * 2 + ["Layer already exists"] * 2


def test_a_layer_of_another_repository_is_mounted(
    fake: Registry, sample: SampleImage, pulling: PullFrom, pushing: PushTo
) -> None:
    fake.add("base:1", sample)
    pulling(f"{fake.host}/base:1")
    told: list[Report] = []
    pushing(f"{fake.host}/base:1", f"{fake.host}/mine:1", progress=told.append)
    assert [one.status for one in told if one.status.startswith("Mounted")] == ["Mounted from base"] * 2
    assert fake.requests("/uploads/", "PATCH") == []


def test_uncompressed_layers_are_compressed_once_and_the_result_is_kept(
    store: Store, fake: Registry, sample: SampleImage, pushing: PushTo
) -> None:
    name = f"{fake.host}/app:1"
    loaded(store, sample, name)
    first = pushing(name)
    held = fake.manifest("app", "1")
    assert held is not None
    assert [layer["mediaType"] for layer in json.loads(held[2])["layers"]] == [OCI_LAYER_GZIP] * 2
    with Registry() as other:
        assert pushing(name, f"{other.host}/app:1").digest == first.digest
        assert set(other.blobs) == set(fake.blobs)
    assert pushing(name).digest == first.digest
    store.collect()
    assert pushing(name).digest == first.digest
    assert store.check(deep=True) == []


def test_two_stores_compress_to_the_same_bytes(
    store: Store, config: Config, fake: Registry, sample: SampleImage, pushing: PushTo, connect: ConnectTo
) -> None:
    loaded(store, sample, f"{fake.host}/a:1")
    first = pushing(f"{fake.host}/a:1")
    with Store.open(config.replaced(root=config.root.with_name("second"))) as second:
        loaded(second, sample, f"{fake.host}/b:1")
        assert push(second, connect(), Reference.parse(f"{fake.host}/b:1")).digest == first.digest


def test_the_digest_becomes_a_name_of_the_image(
    store: Store, fake: Registry, sample: SampleImage, pushing: PushTo
) -> None:
    loaded(store, sample, f"{fake.host}/a:1")
    pushed = pushing(f"{fake.host}/a:1")
    assert store.images.find(f"{fake.host}/a@{pushed.digest}").id == sample.image_id


def test_an_index_pulled_whole_is_pushed_whole(fake: Registry, pulling: PullFrom, pushing: PushTo) -> None:
    images = [image({"arch": name.encode()}, platform=name) for name in ("linux/amd64", "linux/arm64")]
    attached, blobs = attestation(fake, "a")
    listed = add_index(fake, "a:1", *images, more=(attached,))
    pulling(f"{fake.host}/a:1", all_platforms=True)
    with Registry() as other:
        assert pushing(f"{fake.host}/a:1", f"{other.host}/b:1").digest == listed.digest
        assert other.manifest("b", "1") == (listed.digest, listed.media_type, listed.raw)
        for one in images:
            assert other.manifest("b", one.digest) == (one.digest, OCI_MANIFEST, one.manifest.raw)
        held = set(other.blobs) | set(other.manifests["b"])
        assert set(blobs) <= held


def test_of_an_index_pulled_for_one_platform_that_image_is_pushed(
    fake: Registry, pulling: PullFrom, pushing: PushTo
) -> None:
    images = [image({"arch": name.encode()}, platform=name) for name in ("linux/amd64", "linux/arm64")]
    add_index(fake, "a:1", *images)
    pulling(f"{fake.host}/a:1")
    assert pushing(f"{fake.host}/a:1", f"{fake.host}/b:1").digest == images[0].digest


def test_foreign_layers_are_not_sent(fake: Registry, sample: SampleImage, pulling: PullFrom, pushing: PushTo) -> None:
    with Registry() as vendor, Registry() as other:
        digest = vendor.add_blob("files", sample.layers[1].blob)
        foreign = sample.manifest.layers[1].replaced(
            media_type="application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
            urls=(f"{vendor.url}/v2/files/blobs/{digest}",),
        )
        manifest = Manifest.build(OCI_MANIFEST, sample.manifest.config, (sample.manifest.layers[0], foreign))
        fake.add("a", sample)
        fake.add_manifest("a:1", OCI_MANIFEST, manifest.raw)
        pulling(f"{fake.host}/a:1")
        assert pushing(f"{fake.host}/a:1", f"{other.host}/a:1").digest == manifest.digest
        assert digest not in other.blobs


def test_a_blob_the_registry_only_claimed_to_have_is_sent_after_all(
    store: Store, fake: Registry, sample: SampleImage, pushing: PushTo
) -> None:
    loaded(store, sample, f"{fake.host}/a:1")
    fake.fault("/blobs/sha256:", method="HEAD", status=200, times=2)
    pushed = pushing(f"{fake.host}/a:1")
    assert fake.manifest("a", "1") is not None and pushed.digest in fake.manifests["a"]
    assert len(fake.requests("/manifests/", "PUT")) == 2


def test_an_upload_that_breaks_is_finished(store: Store, fake: Registry, sample: SampleImage, pushing: PushTo) -> None:
    loaded(store, sample, f"{fake.host}/a:1")
    fake.fault("/uploads/", method="PATCH", read=50, times=2)
    pushing(f"{fake.host}/a:1")
    assert all(Digest.of(data) == digest for digest, data in fake.blobs.items())


def test_a_push_that_fails_gives_no_name(
    store: Store, fake: Registry, sample: SampleImage, pushing: PushTo, connect: ConnectTo
) -> None:
    loaded(store, sample, f"{fake.host}/a:1")
    fake.fault("/uploads/", method="PATCH", read=0, times=-1)
    with pytest.raises(VeneerError, match=fake.host):
        pushing(f"{fake.host}/a:1")
    assert fake.manifests == {} and store.images.find(f"{fake.host}/a:1").digests == ()
    assert not list((store.root / "ingest").iterdir())


@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_a_push_without_credentials_says_how_to_give_some(
    store: Store, sample: SampleImage, pushing: PushTo, auth: str
) -> None:
    with Registry(auth=auth, users={"ada": "lovelace"}) as fake:
        loaded(store, sample, f"{fake.host}/a:1")
        with pytest.raises((AuthenticationRequired, AccessDenied)) as caught:
            pushing(f"{fake.host}/a:1")
        assert caught.value.hint == f"veneer login {fake.host}"


def test_what_is_not_here_cannot_be_pushed(fake: Registry, pushing: PushTo) -> None:
    with pytest.raises(NothingToPush, match="An image does not exist locally with the tag: "):
        pushing(f"{fake.host}/nothing:1")
    assert fake.log == []
