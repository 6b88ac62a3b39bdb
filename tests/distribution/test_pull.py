"""Pulling into a real store from a registry that may fail in every way.

Each fault says how often the registry is asked, how many bytes come, what the message names, and that the store is
none the worse.
"""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable

import pytest

from tests.distribution.conftest import ConnectTo, FakeClock
from veneer.config import Config
from veneer.distribution.auth import Credentials
from veneer.distribution.blobs import WrongSize
from veneer.distribution.client import WrongDigest
from veneer.distribution.pull import NotAnImage, Pulled, pull
from veneer.distribution.session import AccessDenied, NotInRegistry, TryAgain
from veneer.errors import Corrupt, Unsupported, VeneerError
from veneer.oci.digest import BlobDigest, Digest
from veneer.oci.manifest import (
    OCI_CONFIG,
    OCI_EMPTY,
    OCI_INDEX,
    OCI_MANIFEST,
    SCHEMA1,
    Descriptor,
    Index,
    InvalidManifest,
    Manifest,
    NoMatchingPlatform,
)  # fmt: skip
from veneer.oci.platform import Platform
from veneer.oci.reference import Reference
from veneer.progress import Cancelled, Progress, Report, silent
from veneer.store.store import Store
from veneer.testing.images import SampleImage, SampleLayer, directory, image, index, layer_tar
from veneer.testing.registry import Registry

NOISE = random.Random(1).randbytes(3 << 20)
PullFrom = Callable[..., Pulled]


@pytest.fixture
def config(config: Config) -> Config:
    """One unpacking process is enough for images of a few files, and starts sooner."""
    return config.replaced(unpack_workers=1)


@pytest.fixture
def sample() -> SampleImage:
    """Three layers, the second big and incompressible."""
    return image({"etc": directory(), "etc/hostname": b"veneer\n"}, {"usr/lib/noise": NOISE}, {"etc/.wh.hostname": b""})


@pytest.fixture
def pulling(store: Store, connect: ConnectTo) -> PullFrom:
    """Call it with a name to pull into the store; keyword arguments are pull's or the configuration's."""

    def run(
        name: str, progress: Progress = silent, platform: str = "", all_platforms: bool = False, **changes: object
    ) -> Pulled:
        wanted = Platform.parse(platform) if platform else None
        return pull(store, connect(**changes), Reference.parse(name), platform=wanted,
                    all_platforms=all_platforms, progress=progress)  # fmt: skip

    return run


def nothing_in(store: Store) -> bool:
    """No image, name, layer, snapshot, scratch folder or process is left; and a collection takes all bytes away."""
    assert store.images.list(all=True) == [] and store.layers.list() == []
    assert not list((store.root / "ingest").iterdir())
    assert [path for driver in ("overlay2", "vfs") for path in (store.root / driver).glob("[!.]*")] == []
    store.collect()
    left = [path for folder in ("blobs", "indexes", "ingest", "trash") for path in (store.root / folder).rglob("*")]
    assert [path for path in left if path.is_file()] == []
    return store.check() == []


def big(sample: SampleImage) -> BlobDigest:
    return sample.layers[1].digest


# -- what comes in -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", ["oci", "docker"])
@pytest.mark.parametrize("compression", ["", "gzip", "zstd"])
def test_an_image_comes_in_whole_and_byte_for_byte(
    store: Store, fake: Registry, pulling: PullFrom, style: str, compression: str
) -> None:
    sample = image({"a": b"1"}, {"b": b"2"}, {"a": b"3"}, style=style, compression=compression)
    fake.add("acme/app:1", sample)
    pulled = pulling(f"{fake.host}/acme/app:1")
    assert pulled.image.id == sample.image_id and pulled.digest == sample.digest and not pulled.up_to_date
    assert [str(name) for name in pulled.image.digests] == [f"{fake.host}/acme/app@{sample.digest}"]
    for digest, data in {**sample.blobs(), sample.digest: sample.manifest.raw}.items():
        assert store.blobs.read(digest) == data
    assert [layer.diff_id for layer in store.layers.stack(sample.parsed.chain_ids[-1])] == list(sample.parsed.diff_ids)
    assert store.check(deep=True) == []


def test_the_lines_are_dockers(fake: Registry, sample: SampleImage, pulling: PullFrom) -> None:
    fake.add("a:1", sample)
    told: list[Report] = []
    pulling(f"{fake.host}/a:1", progress=told.append)
    lines = [f"{one.id}: {one.status}" if one.id else one.status for one in told if one.current is None]
    shorts = [layer.digest.short for layer in sample.layers]
    assert lines[0] == "1: Pulling from a"
    assert lines[1:4] == [f"{short}: Pulling fs layer" for short in shorts]
    assert [line for line in lines if line.endswith("Pull complete")] == [f"{short}: Pull complete" for short in shorts]
    assert lines[-2:] == [f"Digest: {sample.digest}", f"Status: Downloaded newer image for {fake.host}/a:1"]
    counted = [one for one in told if one.status == "Downloading" and one.id == shorts[1]]
    assert counted[-1].current == counted[-1].total == len(sample.layers[1].blob)


def test_a_second_pull_asks_for_nothing_but_the_name(fake: Registry, sample: SampleImage, pulling: PullFrom) -> None:
    fake.add("a:1", sample)
    pulling(f"{fake.host}/a:1")
    fake.log.clear()
    told: list[Report] = []
    assert pulling(f"{fake.host}/a:1", progress=told.append).up_to_date
    assert [entry.method for entry in fake.requests()] == ["GET", "HEAD"]
    assert told[-1].status == f"Status: Image is up to date for {fake.host}/a:1"


def test_layers_that_are_here_are_not_fetched_again(fake: Registry, sample: SampleImage, pulling: PullFrom) -> None:
    fake.add("a:1", sample)
    pulling(f"{fake.host}/a:1")
    more = image(*sample.layers, {"new": b"1"})
    fake.add("a:2", more)
    fake.log.clear()
    told: list[Report] = []
    pulling(f"{fake.host}/a:2", progress=told.append)
    assert {entry.path.rpartition("/")[2] for entry in fake.requests("/blobs/")} == {
        more.image_id,
        more.layers[3].digest,
    }
    assert [one.status for one in told[1:5]] == [*["Already exists"] * 3, "Pulling fs layer"]


def test_blobs_that_are_here_are_unpacked_but_not_fetched(
    store: Store, fake: Registry, sample: SampleImage, pulling: PullFrom
) -> None:
    fake.add("a:1", sample)
    with store.lease("test") as lease:
        store.blobs.put(lease, sample.layers[1].blob)
        pulling(f"{fake.host}/a:1")
    assert fake.requests(big(sample)) == []


def test_a_damaged_store_is_repaired_by_pulling_again(
    store: Store, fake: Registry, sample: SampleImage, pulling: PullFrom
) -> None:
    fake.add("a:1", sample)
    pulling(f"{fake.host}/a:1")
    store.blobs.path(big(sample)).unlink()
    pulling(f"{fake.host}/a:1")
    assert store.blobs.read(big(sample)) == sample.layers[1].blob


def test_the_same_layer_twice_in_one_image_is_fetched_once(fake: Registry, pulling: PullFrom) -> None:
    twice = SampleLayer(layer_tar({"a": b"1"}))
    sample = image(twice, {"b": b"2"}, twice)
    fake.add("a:1", sample)
    assert pulling(f"{fake.host}/a:1").image.id == sample.image_id
    assert len(fake.requests(twice.digest)) == 1


def test_an_image_without_layers_comes_in(fake: Registry, pulling: PullFrom) -> None:
    sample = image()
    fake.add("a:1", sample)
    assert pulling(f"{fake.host}/a:1").image.top is None


def test_a_pull_by_digest_names_no_tag(store: Store, fake: Registry, sample: SampleImage, pulling: PullFrom) -> None:
    fake.add("a:1", sample)
    pulled = pulling(f"{fake.host}/a@{sample.digest}")
    assert pulled.image.tags == () and len(pulled.image.digests) == 1
    assert pulling(f"{fake.host}/a@{sample.digest}").up_to_date


def test_a_tag_that_moves_takes_the_name_along(store: Store, fake: Registry, pulling: PullFrom) -> None:
    old, new = image({"a": b"old"}), image({"a": b"new"})
    fake.add("a:1", old)
    pulling(f"{fake.host}/a:1")
    fake.add("a:1", new)
    assert not pulling(f"{fake.host}/a:1").up_to_date
    assert store.images.find(f"{fake.host}/a:1").id == new.image_id
    assert store.images.get(old.image_id).tags == ()


def test_a_tag_that_moves_during_the_pull_changes_nothing(
    fake: Registry, sample: SampleImage, pulling: PullFrom
) -> None:
    fake.add("a:1", sample)
    other = image({"other": b"1"})

    def move(report: Report) -> None:
        if report.status.startswith("Pulling from"):
            fake.add("a:1", other)

    assert pulling(f"{fake.host}/a:1", progress=move).image.id == sample.image_id


def test_an_image_loaded_uncompressed_is_recognised_and_stays_saveable(
    store: Store, fake: Registry, pulling: PullFrom
) -> None:
    plain = image({"a": b"1"}, compression="")
    packed = image(SampleLayer(plain.layers[0].tar, "gzip"))
    fake.add("a:plain", plain)
    fake.add("a:gzip", packed)
    pulling(f"{fake.host}/a:plain")
    assert pulling(f"{fake.host}/a:gzip").image.id == plain.image_id
    assert fake.requests(packed.layers[0].digest) == []
    assert store.check(deep=True) == []


# -- platforms -----------------------------------------------------------------------------------------------


@pytest.fixture
def platforms() -> tuple[SampleImage, ...]:
    return tuple(
        image({"arch": name.encode()}, platform=name) for name in ("linux/amd64", "linux/arm64", "linux/arm/v6")
    )


def add_index(fake: Registry, name: str, *images: SampleImage, more: tuple[Descriptor, ...] = ()) -> Index:
    listed = index(*images)
    listed = Index.build(OCI_INDEX, listed.manifests + more)
    for one in images:
        fake.add(name.partition(":")[0], one)
    fake.add_manifest(name, OCI_INDEX, listed.raw)
    return listed


def attestation(fake: Registry, repository: str) -> tuple[Descriptor, dict[Digest, bytes]]:
    """An attestation as buildx attaches it: its descriptor for the index, and every blob of it."""
    config, statement = b'{"rootfs":{"type":"layers","diff_ids":[]}}', b'{"_type":"https://in-toto.io/Statement/v0.1"}'
    parts = tuple(
        Descriptor(kind, BlobDigest(fake.add_blob(repository, data)), len(data))
        for kind, data in ((OCI_CONFIG, config), ("application/vnd.in-toto+json", statement))
    )
    manifest = Manifest.build(OCI_MANIFEST, parts[0], parts[1:])
    fake.add_manifest(repository, OCI_MANIFEST, manifest.raw)
    named = manifest.descriptor.replaced(platform=Platform("unknown", "unknown"),
                    annotations={"vnd.docker.reference.type": "attestation-manifest"})  # fmt: skip
    return named, {Digest.of(data): data for data in (config, statement, manifest.raw)}


@pytest.mark.parametrize(("wanted", "position"), [("linux/amd64", 0), ("linux/arm64", 1), ("linux/arm/v7", 2)])
def test_of_an_index_the_platform_asked_for_is_taken(
    fake: Registry, pulling: PullFrom, platforms: tuple[SampleImage, ...], wanted: str, position: int
) -> None:
    listed = add_index(fake, "a:1", *platforms)
    pulled = pulling(f"{fake.host}/a:1", platform=wanted)
    assert pulled.image.id == platforms[position].image_id and pulled.digest == listed.digest
    assert [name.digest for name in pulled.image.digests] == [listed.digest]


def test_a_platform_that_is_not_offered_is_told_with_those_that_are(
    store: Store, fake: Registry, pulling: PullFrom, platforms: tuple[SampleImage, ...]
) -> None:
    add_index(fake, "a:1", *platforms)
    with pytest.raises(NoMatchingPlatform, match="no matching manifest for linux/s390x") as caught:
        pulling(f"{fake.host}/a:1", platform="linux/s390x")
    assert "linux/arm/v6" in caught.value.hint and nothing_in(store)


def test_another_platform_of_the_same_name_is_not_up_to_date(
    fake: Registry, pulling: PullFrom, platforms: tuple[SampleImage, ...]
) -> None:
    add_index(fake, "a:1", *platforms)
    pulling(f"{fake.host}/a:1", platform="linux/amd64")
    pulled = pulling(f"{fake.host}/a:1", platform="linux/arm64")
    assert not pulled.up_to_date and pulled.image.id == platforms[1].image_id


def test_an_image_of_another_platform_comes_with_a_warning(fake: Registry, pulling: PullFrom) -> None:
    fake.add("a:1", image({"a": b"1"}, platform="linux/riscv64"))
    told: list[Report] = []
    pulling(f"{fake.host}/a:1", platform="linux/amd64", progress=told.append)
    assert any("platform (linux/riscv64) does not match linux/amd64" in one.status for one in told)


def test_all_platforms_come_with_everything_attached(
    store: Store, fake: Registry, pulling: PullFrom, platforms: tuple[SampleImage, ...]
) -> None:
    attached, blobs = attestation(fake, "a")
    listed = add_index(fake, "a:1", *platforms, more=(attached,))
    pulled = pulling(f"{fake.host}/a:1", all_platforms=True)
    assert pulled.digest == listed.digest and pulled.image.id == platforms[0].image_id
    assert store.images.target(Reference.parse(f"{fake.host}/a:1")) == listed.digest
    store.collect()
    for one in platforms:
        assert store.images.get(one.image_id).platform == one.platform
        assert store.blobs.read(one.digest) == one.manifest.raw
    for digest, data in blobs.items():
        assert store.blobs.read(digest) == data
    assert store.check(deep=True) == []


def test_attestations_are_never_chosen(fake: Registry, pulling: PullFrom) -> None:
    attached, _ = attestation(fake, "a")
    add_index(fake, "a:1", more=(attached,))
    with pytest.raises(NoMatchingPlatform, match="no matching manifest"):
        pulling(f"{fake.host}/a:1")


def nested(fake: Registry, sample: SampleImage, depth: int) -> None:
    fake.add("a", sample)
    child = sample.manifest.descriptor.replaced(platform=sample.platform)
    for _ in range(depth):
        listed = Index.build(OCI_INDEX, (child,))
        fake.add_manifest("a:1", OCI_INDEX, listed.raw)
        child = listed.descriptor.replaced(platform=sample.platform)


def test_indexes_may_be_nested_but_not_without_end(
    store: Store, fake: Registry, sample: SampleImage, pulling: PullFrom
) -> None:
    nested(fake, sample, 5)
    with pytest.raises(InvalidManifest, match="more than 4 indexes within each other"):
        pulling(f"{fake.host}/a:1")
    with pytest.raises(InvalidManifest, match="more than 4 indexes within each other"):
        pulling(f"{fake.host}/a:1", all_platforms=True)
    assert nothing_in(store)
    nested(fake, sample, 4)
    assert pulling(f"{fake.host}/a:1").image.id == sample.image_id


# -- what is refused -----------------------------------------------------------------------------------------


def test_an_artifact_is_no_image(store: Store, fake: Registry, pulling: PullFrom) -> None:
    empty = Descriptor(OCI_EMPTY, BlobDigest(fake.add_blob("a", b"{}")), 2)
    manifest = Manifest.build(OCI_MANIFEST, empty, (empty.replaced(media_type="text/plain"),))
    fake.add_manifest("a:1", OCI_MANIFEST, manifest.raw)
    with pytest.raises(NotAnImage, match="is not a container image but an artifact"):
        pulling(f"{fake.host}/a:1")
    assert nothing_in(store)


def test_schema_1_is_refused_with_the_way_out(store: Store, fake: Registry, pulling: PullFrom) -> None:
    fake.add_manifest("a:1", SCHEMA1, b'{"schemaVersion": 1, "fsLayers": []}')
    with pytest.raises(Unsupported, match="schema 1 manifests are not supported"):
        pulling(f"{fake.host}/a:1")
    assert nothing_in(store)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"manifests": []}, "both an image"),
        ({"layers": {}}, "layers must be a list"),
        ({"config": {"digest": "sha256:../../etc/passwd", "size": 1}}, "invalid digest"),
        ({"config": {"digest": "sha512-256:ab", "size": 1}}, "invalid digest"),
        ({"layers": [{"digest": "sha256:" + "A" * 64, "size": 1}]}, "invalid digest"),
        ({"layers": [{"digest": "sha256:" + "a" * 64, "size": -1}]}, "no byte count"),
        ({"layers": []}, "has 0 layers, its config 3 diff IDs"),
    ],
)
def test_a_manifest_that_cannot_be_right_leaves_nothing(
    store: Store, fake: Registry, sample: SampleImage, pulling: PullFrom, change: dict[str, object], message: str
) -> None:
    fake.add("a:1", sample)
    fake.add_manifest("a:1", OCI_MANIFEST, json.dumps(json.loads(sample.manifest.raw) | change).encode())
    with pytest.raises(VeneerError, match=message):
        pulling(f"{fake.host}/a:1")
    assert fake.requests(big(sample)) == [] and nothing_in(store)


def test_a_content_type_that_contradicts_the_body_is_refused(
    store: Store, fake: Registry, sample: SampleImage, pulling: PullFrom
) -> None:
    fake.add("a:1", sample)
    fake.fault("/manifests/", headers={"Content-Type": OCI_INDEX}, times=-1)
    with pytest.raises(InvalidManifest, match=r"sent as .*index.* but calls itself .*manifest"):
        pulling(f"{fake.host}/a:1")
    assert nothing_in(store)


def test_a_config_that_lies_about_its_layers_is_caught(
    store: Store, fake: Registry, sample: SampleImage, pulling: PullFrom
) -> None:
    document = json.loads(sample.config)
    document["rootfs"]["diff_ids"][1] = "sha256:" + "0" * 64
    raw = json.dumps(document).encode()
    config = Descriptor(OCI_CONFIG, BlobDigest(fake.add_blob("a", raw)), len(raw))
    fake.add("a", sample)
    fake.add_manifest("a:1", OCI_MANIFEST, Manifest.build(OCI_MANIFEST, config, sample.manifest.layers).raw)
    with pytest.raises(Corrupt, match="000000000000") as caught:
        pulling(f"{fake.host}/a:1")
    assert sample.layers[1].diff_id in str(caught.value) and nothing_in(store)


def test_a_layer_that_is_no_archive_leaves_nothing(store: Store, fake: Registry, pulling: PullFrom) -> None:
    fake.add("a:1", image({"a": b"1"}, SampleLayer(NOISE, "")))
    with pytest.raises(VeneerError):
        pulling(f"{fake.host}/a:1")
    assert nothing_in(store)


def test_a_head_that_knows_what_get_does_not_is_an_error(
    store: Store, fake: Registry, sample: SampleImage, pulling: PullFrom
) -> None:
    fake.add("a:1", sample)
    body = b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}'
    fake.fault("/manifests/", status=404, body=body, times=-1)
    with pytest.raises(NotInRegistry, match="not found: manifest unknown"):
        pulling(f"{fake.host}/a:1")
    assert nothing_in(store)


# -- what goes wrong on the way ------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0, 50, 99])
def test_a_layer_cut_off_is_resumed_and_unpacked_all_the_same(
    store: Store, fake: Registry, sample: SampleImage, pulling: PullFrom, share: int
) -> None:
    fake.add("a:1", sample)
    size = len(sample.layers[1].blob)
    fake.fault(big(sample), cut=size * share // 100)
    assert pulling(f"{fake.host}/a:1").image.id == sample.image_id
    requests = fake.requests(big(sample))
    assert len(requests) == 2 and sum(entry.sent for entry in requests) == size
    assert store.check(deep=True) == []


def test_a_layer_that_breaks_for_ever_leaves_only_something_to_go_on_from(
    store: Store, fake: Registry, sample: SampleImage, pulling: PullFrom
) -> None:
    fake.add("a:1", sample)
    fake.fault(big(sample), cut=100_000, times=-1)
    with pytest.raises(VeneerError, match=fake.host):
        pulling(f"{fake.host}/a:1")
    assert len(fake.requests(big(sample))) == 5 and store.images.list(all=True) == []
    fake.heal()
    assert pulling(f"{fake.host}/a:1").image.id == sample.image_id
    assert fake.requests(big(sample))[-1].headers["Range"] == "bytes=500000-"
    assert sum(entry.sent for entry in fake.requests(big(sample))) == len(sample.layers[1].blob)


def test_a_bit_flipped_on_the_way_costs_one_more_try(
    store: Store, fake: Registry, sample: SampleImage, pulling: PullFrom
) -> None:
    fake.add("a:1", sample)
    fake.fault(big(sample), flip=1_000_000)
    assert pulling(f"{fake.host}/a:1").image.id == sample.image_id
    assert ["Range" in entry.headers for entry in fake.requests(big(sample))] == [False, False]
    assert store.check(deep=True) == []


def test_a_bit_flipped_for_good_is_told_with_host_and_digest(
    store: Store, fake: Registry, sample: SampleImage, pulling: PullFrom
) -> None:
    fake.add("a:1", sample)
    fake.fault(big(sample), flip=1_000_000, times=-1)
    with pytest.raises(WrongDigest) as caught:
        pulling(f"{fake.host}/a:1")
    assert fake.host in str(caught.value) and big(sample) in str(caught.value)
    assert len(fake.requests(big(sample))) == 2 and nothing_in(store)


@pytest.mark.parametrize("length", [None, -1])
def test_a_layer_longer_than_announced_is_cut_at_its_size(
    store: Store, fake: Registry, sample: SampleImage, pulling: PullFrom, length: int | None
) -> None:
    fake.add("a:1", sample)
    fake.fault(big(sample), extra=b"x" * 1000, length=length, times=-1)
    with pytest.raises(WrongSize, match=f"{fake.host}: blob {big(sample)}: its size is"):
        pulling(f"{fake.host}/a:1")
    assert len(fake.requests(big(sample))) == 1 and nothing_in(store)


def test_a_registry_that_is_busy_is_waited_for_and_the_wait_is_told(
    fake: Registry, sample: SampleImage, pulling: PullFrom, clock: FakeClock
) -> None:
    fake.add("a:1", sample)
    fake.fault("/blobs/", status=429, headers={"Retry-After": "7"}, times=2)
    told: list[Report] = []
    assert pulling(f"{fake.host}/a:1", progress=told.append).image.id == sample.image_id
    assert clock.waits == [7.0, 7.0]
    assert any(one.status.startswith("Retrying in 7 seconds: ") and fake.host in one.status for one in told)


def test_a_registry_that_stays_busy_is_given_up(
    store: Store, fake: Registry, sample: SampleImage, pulling: PullFrom
) -> None:
    fake.add("a:1", sample)
    fake.fault("/blobs/", status=503, times=-1)
    with pytest.raises(TryAgain, match=f"^{fake.host}/a:1: cannot be fetched: {fake.host} answers 503"):
        pulling(f"{fake.host}/a:1")
    assert len(fake.requests("/blobs/")) == 5 and nothing_in(store)


def test_one_layer_that_fails_stops_the_others(
    store: Store, fake: Registry, sample: SampleImage, pulling: PullFrom
) -> None:
    fake.add("a:1", sample)
    fake.fault(big(sample), cut=5000, hang=True, times=-1)
    fake.fault(sample.layers[0].digest, status=403, times=-1)
    with pytest.raises(AccessDenied, match=sample.layers[0].digest):
        pulling(f"{fake.host}/a:1")
    assert nothing_in(store)


def test_a_pull_that_is_cancelled_ends_at_once_and_can_go_on(
    store: Store, fake: Registry, sample: SampleImage, pulling: PullFrom
) -> None:
    fake.add("a:1", sample)
    fault = fake.fault(big(sample), cut=1 << 20, hang=True, times=-1)

    def stop(report: Report) -> None:
        if report.id == big(sample).short and report.status == "Downloading":
            raise Cancelled("the user had enough")

    with pytest.raises(Cancelled, match="had enough"):
        pulling(f"{fake.host}/a:1", progress=stop)
    assert store.images.list(all=True) == [] and store.layers.list() == []
    fake.heal()
    fault.times = 0
    assert pulling(f"{fake.host}/a:1").image.id == sample.image_id
    assert "Range" in fake.requests(big(sample))[-1].headers


def test_two_pulls_of_the_same_image_fetch_each_blob_once(
    store: Store, fake: Registry, sample: SampleImage, connect: ConnectTo
) -> None:
    fake.add("a:1", sample)
    results: list[Pulled] = []

    def run() -> None:
        with Store.open(store.config) as mine:
            results.append(pull(mine, connect(), Reference.parse(f"{fake.host}/a:1")))

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {one.image.id for one in results} == {sample.image_id}
    assert all(len(fake.requests(layer.digest)) == 1 for layer in sample.layers)
    assert store.check(deep=True) == []


def test_nothing_fails_when_the_wall_clock_is_ten_years_off(
    fake: Registry, sample: SampleImage, pulling: PullFrom, clock: FakeClock
) -> None:
    fake.add("a:1", sample)
    fake.fault("/blobs/", status=503, headers={"Retry-After": "Mon, 01 Jan 2035 00:00:00 GMT"})
    clock.now = 10 * 365 * 86400.0
    assert pulling(f"{fake.host}/a:1").image.id == sample.image_id
    assert clock.waits == [60.0]


# -- mirrors, foreign layers, secrets ------------------------------------------------------------------------


def test_a_mirror_serves_and_the_name_stays_the_registrys(
    fake: Registry, sample: SampleImage, pulling: PullFrom
) -> None:
    with Registry() as mirror:
        mirror.add("acme/app:1", sample)
        pulled = pulling(f"{fake.host}/acme/app:1", mirrors={fake.host: (mirror.url,)})
        assert pulled.image.tags[0].registry == fake.host
        assert fake.log == [] and mirror.requests("/blobs/")


def test_docker_hub_has_mirrors_too(sample: SampleImage, pulling: PullFrom) -> None:
    with Registry() as mirror:
        mirror.add("library/nginx:1", sample)
        pulled = pulling("nginx:1", mirrors={"docker.io": (mirror.url,)})
        assert pulled.image.tags[0].familiar == "nginx:1"


@pytest.mark.parametrize("broken", ["absent", "empty", "failing"])
def test_a_mirror_that_cannot_help_is_passed_over(
    fake: Registry, sample: SampleImage, pulling: PullFrom, broken: str
) -> None:
    fake.add("a:1", sample)
    with Registry() as mirror:
        url = mirror.url
        if broken == "failing":
            mirror.fault("/v2/", method="", status=500, times=-1)
        if broken == "absent":
            mirror.stop()
        assert pulling(f"{fake.host}/a:1", mirrors={fake.host: (url,)}).image.id == sample.image_id


def test_a_mirror_without_the_blobs_is_helped_out_by_the_registry(
    fake: Registry, sample: SampleImage, pulling: PullFrom
) -> None:
    fake.add("a:1", sample)
    with Registry() as mirror:
        mirror.add("a:1", sample)
        mirror.linked["a"].discard(big(sample))
        assert pulling(f"{fake.host}/a:1", mirrors={fake.host: (mirror.url,)}).image.id == sample.image_id
        assert len(fake.requests(big(sample))) == 1


def test_a_mirror_never_sees_the_registrys_credentials(
    fake: Registry, sample: SampleImage, pulling: PullFrom, store: Store
) -> None:
    from veneer.distribution.credentials import CredentialFile

    CredentialFile(store.config.docker_config).set(fake.host, Credentials("ada", "lovelace"))
    with Registry(auth="basic", users={"ada": "lovelace"}) as mirror:
        mirror.add("a:1", sample)
        fake.add("a:1", sample)
        pulling(f"{fake.host}/a:1", mirrors={fake.host: (mirror.url,)})
        assert not any("Authorization" in entry.headers for entry in mirror.log)


def test_a_foreign_layer_is_fetched_from_its_url_without_credentials(pulling: PullFrom, store: Store) -> None:
    from veneer.distribution.credentials import CredentialFile

    sample = image({"a": b"1"}, {"b": b"2"})
    with Registry(auth="basic", users={"ada": "lovelace"}) as fake, Registry() as vendor:
        CredentialFile(store.config.docker_config).set(fake.host, Credentials("ada", "lovelace"))
        digest = vendor.add_blob("files", sample.layers[1].blob)
        foreign = sample.manifest.layers[1].replaced(
            media_type="application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
            urls=(f"{vendor.url}/v2/files/blobs/{digest}",),
        )  # fmt: skip
        manifest = Manifest.build(OCI_MANIFEST, sample.manifest.config, (sample.manifest.layers[0], foreign))
        fake.add("a", sample)
        fake.linked["a"].discard(digest)
        fake.add_manifest("a:1", OCI_MANIFEST, manifest.raw)
        assert pulling(f"{fake.host}/a:1").image.id == sample.image_id
        assert len(vendor.requests("/blobs/")) == 1 and "Authorization" not in vendor.log[0].headers


@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_no_secret_is_ever_shown(pulling: PullFrom, store: Store, sample: SampleImage, auth: str) -> None:
    from veneer.distribution.credentials import CredentialFile

    told: list[str] = []
    with Registry(auth=auth, users={"ada": "lovelace"}) as fake:
        fake.add("a:1", sample)
        CredentialFile(store.config.docker_config).set(fake.host, Credentials("ada", "lovelace"))
        fake.fault("/blobs/", status=503, times=2)
        pulling(f"{fake.host}/a:1", progress=lambda report: told.append(repr(report)))
        fake.fault("/manifests/", method="", status=401, times=-1)
        fake.add("a:2", sample)
        with pytest.raises(VeneerError) as caught:
            pulling(f"{fake.host}/a:2", progress=lambda report: told.append(repr(report)))
        told.append(repr(caught.value) + caught.value.hint)
        secrets = ["lovelace", "YWRhOmxvdmVsYWNl", *fake.tokens]
    assert told and not any(secret in line for secret in secrets for line in told)
