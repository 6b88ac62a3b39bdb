"""Asking a registry over real HTTP: names, tokens, redirects, and blobs that come broken."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.distribution.conftest import ConnectTo, FakeClock
from veneer.distribution.auth import AuthenticationRequired, Credentials, UntrustedRealm
from veneer.distribution.blobs import WrongSize, download, registry_source
from veneer.distribution.client import Registries, WrongDigest
from veneer.distribution.pull import pull
from veneer.distribution.session import AccessDenied, NotARegistry, NotInRegistry, TryAgain
from veneer.distribution.transport import AnswerTooLarge, BadRedirect, ConnectionFailed, TLSRefused, Unreachable
from veneer.errors import VeneerError
from veneer.oci.digest import BlobDigest, Digest
from veneer.oci.manifest import Descriptor
from veneer.oci.reference import Reference
from veneer.store.store import Store
from veneer.testing.images import SampleImage, image
from veneer.testing.registry import Registry

BIG = os.urandom(5 << 20)
ADA = {"ada": "lovelace"}


class Memory:
    """A sink that keeps what it gets."""

    def __init__(self, data: bytes = b"") -> None:
        self.data = bytearray(data)

    @property
    def offset(self) -> int:
        return len(self.data)

    def write(self, data: bytes | bytearray | memoryview, /) -> None:
        self.data += data


@pytest.fixture
def sample() -> SampleImage:
    return image({"etc/hostname": b"veneer\n"})


def named(registry: Registry, name: str) -> Reference:
    return Reference.parse(f"{registry.host}/{name}")


def fetch(registries: Registries, fake: Registry, data: bytes = BIG, start: bytes = b"", size: int = -1) -> bytes:
    """Download the blob `data` of repository `a` into memory that holds `start`."""
    descriptor = Descriptor("", BlobDigest(Digest.of(data)), len(data) if size < 0 else size)
    sink = Memory(start)
    source = registry_source(registries.registry(fake.host), "a", descriptor)
    download([source], descriptor, sink, registries.effort, lambda have: None)
    return bytes(sink.data)


def ranges(fake: Registry) -> list[str | None]:
    return [entry.headers.get("Range") for entry in fake.requests("/blobs/")]


# -- names ---------------------------------------------------------------------------------------------------


def test_a_tag_is_resolved_by_head_and_its_manifest_fetched_by_digest(
    fake: Registry, connect: ConnectTo, sample: SampleImage
) -> None:
    fake.add("a:1", sample)
    registry = connect().registry(fake.host)
    found = registry.resolve(named(fake, "a:1"))
    assert (found.digest, found.size) == (sample.digest, len(sample.manifest.raw))
    assert registry.manifest("a", found.digest) == (sample.manifest.raw, sample.manifest.media_type)
    assert [entry.method for entry in fake.requests("/manifests/")] == ["HEAD", "GET"]
    assert "oci.image.index" in fake.requests("/manifests/")[0].headers["Accept"]


@pytest.mark.parametrize("header", ["Docker-Content-Digest", "Content-Length"])
def test_a_head_that_tells_too_little_is_made_up_for_by_get(
    fake: Registry, connect: ConnectTo, sample: SampleImage, header: str
) -> None:
    fake.add("a:1", sample)
    fake.fault("/manifests/", method="HEAD", headers={header: None})
    assert connect().registry(fake.host).resolve(named(fake, "a:1")).digest == sample.digest


def test_a_missing_tag_is_told_in_dockers_words_after_one_try(
    fake: Registry, connect: ConnectTo, sample: SampleImage
) -> None:
    fake.add("a:1", sample)
    with pytest.raises(NotInRegistry, match=r"manifest for .*/a:2 not found: manifest unknown") as caught:
        connect().registry(fake.host).resolve(named(fake, "a:2"))
    assert str(caught.value).count(fake.host) == 1, "the name is said once"
    assert len(fake.requests("/manifests/", "GET")) == 1


def test_a_missing_repository_may_be_a_private_one(fake: Registry, connect: ConnectTo) -> None:
    with pytest.raises(NotInRegistry, match=r"pull access denied for .*/b, repository does not exist or may require"):
        connect().registry(fake.host).resolve(named(fake, "b:1"))


def test_a_forbidden_manifest_is_told_at_once(fake: Registry, connect: ConnectTo, clock: FakeClock) -> None:
    fake.fault("/manifests/", method="", status=403, times=-1)
    with pytest.raises(AccessDenied, match=r"pull access denied for .*/a") as caught:
        connect().registry(fake.host).resolve(named(fake, "a:1"))
    assert "login" in caught.value.hint and clock.waits == []


def test_a_manifest_whose_bytes_are_wrong_is_asked_for_once_more(
    fake: Registry, connect: ConnectTo, sample: SampleImage
) -> None:
    fake.add("a:1", sample)
    fake.fault("/manifests/", flip=10)
    registry = connect().registry(fake.host)
    assert registry.manifest("a", str(sample.digest))[0] == sample.manifest.raw
    fake.fault("/manifests/", flip=10, times=-1)
    with pytest.raises(WrongDigest) as caught:
        registry.manifest("a", str(sample.digest))
    assert fake.host in str(caught.value) and sample.digest in str(caught.value)
    assert len(fake.requests("/manifests/")) == 4


@pytest.mark.parametrize("claimed", ["sha256:" + "0" * 64, "sha256:../../x", "md5:abc"])
def test_a_lying_digest_header_is_caught(fake: Registry, connect: ConnectTo, sample: SampleImage, claimed: str) -> None:
    fake.add("a:1", sample)
    fake.fault("/manifests/", times=-1, headers={"Docker-Content-Digest": claimed})
    with pytest.raises(WrongDigest, match=fake.host):
        connect().registry(fake.host).manifest("a", "1")


def test_an_endless_manifest_is_cut_off(fake: Registry, connect: ConnectTo, sample: SampleImage) -> None:
    fake.add("a:1", sample)
    fake.fault("/manifests/", extra=b" " * (5 << 20), length=-1, times=-1)
    with pytest.raises(AnswerTooLarge, match="longer than the 4194304 bytes"):
        connect().registry(fake.host).manifest("a", "1")


@pytest.mark.parametrize("cut", [0, 10])
def test_a_manifest_or_config_cut_off_is_asked_for_again(
    fake: Registry, connect: ConnectTo, sample: SampleImage, cut: int
) -> None:
    fake.add("a:1", sample)
    fake.fault("/manifests/", cut=cut, times=2)
    fake.fault("/blobs/", cut=cut, times=2)
    registry = connect().registry(fake.host)
    assert registry.manifest("a", "1")[0] == sample.manifest.raw
    assert registry.blob("a", sample.manifest.config) == sample.config


def test_tags_are_listed_over_all_pages(fake: Registry, connect: ConnectTo, sample: SampleImage) -> None:
    for number in range(205):
        fake.add(f"a:{number:03}", sample)
    assert connect().tags(named(fake, "a")) == [f"{number:03}" for number in range(205)]
    assert len(fake.requests("/tags/list")) == 3


def test_a_server_that_is_no_registry_is_named_so(fake: Registry, connect: ConnectTo) -> None:
    fake.fault("/v2/", status=404, times=-1)
    with pytest.raises(NotARegistry, match=f"{fake.host}: GET /v2/ answers 404"):
        connect().registry(fake.host).ping()


def test_a_registry_that_is_not_there_is_reported_at_once(connect: ConnectTo, clock: FakeClock) -> None:
    with Registry() as gone:
        host = gone.host
    with pytest.raises(Unreachable, match=f"^{host}: cannot connect: connection refused$") as caught:
        connect().registry(host).ping()
    assert "port" in caught.value.hint
    assert clock.waits == []


# -- tokens --------------------------------------------------------------------------------------------------


def test_anonymous_pulls_get_a_token_and_use_it_again(connect: ConnectTo, sample: SampleImage) -> None:
    with Registry(auth="bearer", anonymous=True) as fake:
        fake.add("a:1", sample)
        registry = connect().registry(fake.host)
        for _ in range(3):
            registry.manifest("a", "1")
        assert [entry.path for entry in fake.requests("/token")] == ["/token?service=test&scope=repository%3Aa%3Apull"]
        assert [entry.status for entry in fake.requests("/manifests/")] == [200, 200, 200]


@pytest.mark.parametrize("auth", ["basic", "bearer"])
@pytest.mark.parametrize("key", ["token", "access_token"])
def test_who_is_logged_in_gets_in(connect: ConnectTo, sample: SampleImage, auth: str, key: str) -> None:
    with Registry(auth=auth, users=ADA) as fake:
        fake.token_key = key
        fake.add("a:1", sample)
        registries = connect()
        registries.credentials.set(fake.host, Credentials("ada", "lovelace"))
        assert registries.registry(fake.host).manifest("a", "1")[0] == sample.manifest.raw


@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_wrong_credentials_are_tried_no_more_than_twice(
    connect: ConnectTo, sample: SampleImage, auth: str, clock: FakeClock
) -> None:
    with Registry(auth=auth, users=ADA) as fake:
        fake.add("a:1", sample)
        registries = connect()
        registries.credentials.set(fake.host, Credentials("ada", "byron"))
        with pytest.raises(AuthenticationRequired) as caught:
            registries.registry(fake.host).manifest("a", "1")
        assert "byron" not in str(caught.value) and "login" in caught.value.hint
        assert len(fake.requests("/token")) + len(fake.requests("/manifests/")) <= 2
        assert clock.waits == []


def test_a_registry_that_refuses_its_own_tokens_ends_after_two_rounds(connect: ConnectTo, sample: SampleImage) -> None:
    with Registry(auth="bearer", anonymous=True) as fake:
        fake.add("a:1", sample)
        challenge = {"WWW-Authenticate": f'Bearer realm="{fake.url}/token",service="test"'}
        fake.fault("/manifests/", status=401, times=-1, headers=challenge)
        with pytest.raises(AuthenticationRequired):
            connect().registry(fake.host).manifest("a", "1")
        assert (len(fake.requests("/manifests/")), len(fake.requests("/token"))) == (3, 3)


def test_a_token_that_expires_on_the_server_is_replaced(connect: ConnectTo, sample: SampleImage) -> None:
    with Registry(auth="bearer", anonymous=True) as fake:
        fake.add("a:1", sample)
        registry = connect().registry(fake.host)
        registry.manifest("a", "1")
        fake.tokens.clear()
        registry.manifest("a", "1")
        assert [entry.status for entry in fake.requests("/manifests/")] == [200, 401, 200]


def test_a_login_keeps_the_identity_token_instead_of_the_password(connect: ConnectTo, sample: SampleImage) -> None:
    with Registry(auth="bearer", users=ADA) as fake:
        fake.identity_token = "id-t0ken"
        fake.add("a:1", sample)
        registries = connect()
        where = registries.login(fake.host, Credentials("ada", "lovelace"))
        kept = Path(where).read_text()
        assert "id-t0ken" in kept and "lovelace" not in kept
        again = connect().registry(fake.host)
        assert again.manifest("a", "1")[0] == sample.manifest.raw
        assert fake.requests("/token")[-1].method == "POST"


@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_a_login_that_is_refused_keeps_nothing(connect: ConnectTo, auth: str) -> None:
    with Registry(auth=auth, users=ADA) as fake:
        registries = connect()
        with pytest.raises(AuthenticationRequired) as caught:
            registries.login(fake.host, Credentials("ada", "byron"))
        assert "password" in caught.value.hint
        assert not registries.config.docker_config.exists()
        assert registries.logout(fake.host) is False


def test_credentials_do_not_go_to_a_foreign_realm(connect: ConnectTo, sample: SampleImage) -> None:
    with Registry(auth="bearer", users=ADA) as fake:
        fake.realm = "http://auth.example/token"
        registries = connect()
        registries.credentials.set(fake.host, Credentials("ada", "lovelace"))
        with pytest.raises(UntrustedRealm, match=r"auth\.example"):
            registries.registry(fake.host).manifest("a", "1")


# -- redirects -----------------------------------------------------------------------------------------------


def test_a_redirect_to_another_host_takes_no_credentials_along(connect: ConnectTo) -> None:
    with Registry(auth="basic", users=ADA) as fake, Registry() as storage:
        digest = fake.add_blob("a", BIG)
        storage.add_blob("a", BIG)
        fake.fault("/blobs/", status=307, headers={"Location": f"{storage.url}/v2/a/blobs/{digest}?X-Signature=1"})
        registries = connect()
        registries.credentials.set(fake.host, Credentials("ada", "lovelace"))
        assert fetch(registries, fake) == BIG
        assert "Authorization" in fake.requests("/blobs/")[0].headers
        assert "Authorization" not in storage.requests("/blobs/")[0].headers


def test_a_redirect_on_the_same_origin_keeps_them(connect: ConnectTo) -> None:
    with Registry(auth="basic", users=ADA) as fake:
        digest = fake.add_blob("a", BIG)
        fake.fault("/blobs/", status=302, headers={"Location": f"/v2/a/blobs/{digest}?there"})
        registries = connect()
        registries.credentials.set(fake.host, Credentials("ada", "lovelace"))
        assert fetch(registries, fake) == BIG


@pytest.mark.parametrize("target", ["file:///etc/passwd", "gopher://x/", "http://:80/x", "http://a b/"])
def test_a_redirect_to_anything_but_http_is_refused(fake: Registry, connect: ConnectTo, target: str) -> None:
    fake.add_blob("a", BIG)
    fake.fault("/blobs/", status=307, headers={"Location": target})
    with pytest.raises(BadRedirect, match=fake.host):
        fetch(connect(), fake)


def test_a_redirect_loop_ends(fake: Registry, connect: ConnectTo) -> None:
    digest = fake.add_blob("a", BIG)
    fake.fault("/blobs/", status=307, headers={"Location": f"/v2/a/blobs/{digest}"}, times=-1)
    with pytest.raises(BadRedirect, match="more than 5 redirects"):
        fetch(connect(), fake)
    assert len(fake.requests("/blobs/")) == 6


def test_signed_queries_of_redirects_are_not_shown(fake: Registry, connect: ConnectTo) -> None:
    digest = fake.add_blob("a", BIG)
    location = f"/v2/a/blobs/{digest}?X-Signature=s3cret"
    fake.fault("/blobs/", status=307, headers={"Location": location}, times=-1)
    with pytest.raises(BadRedirect) as caught:
        fetch(connect(), fake)
    assert "s3cret" not in str(caught.value)


# -- TLS -----------------------------------------------------------------------------------------------------


_AUTHORITY = """
[ca]
default_ca = us
[us]
new_certs_dir = {folder}
database = {folder}/index.txt
serial = {folder}/serial
default_md = sha256
policy = anybody
x509_extensions = name
[anybody]
commonName = supplied
[name]
subjectAltName = {name}
basicConstraints = critical, CA:true
"""


def certified(folder: Path, name: str = "IP:127.0.0.1", until: str = "20991231235959Z") -> tuple[Path, Path]:
    """A self-signed certificate for `name`, valid from 2020 `until` then, and its key."""
    folder.mkdir()
    cert, key, request, config = (folder / part for part in ("cert.pem", "key.pem", "request.pem", "ca.cnf"))
    config.write_text(_AUTHORITY.format(folder=folder, name=name))
    (folder / "index.txt").touch()
    (folder / "serial").write_text("01")
    make_key: list[str | Path] = [
        "openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
        "-subj", "/CN=veneer test", "-keyout", key, "-out", request,
    ]  # fmt: skip
    sign: list[str | Path] = [
        "openssl", "ca", "-batch", "-selfsign", "-notext", "-config", config, "-keyfile", key, "-in", request,
        "-out", cert, "-startdate", "20200101000000Z", "-enddate", until,
    ]  # fmt: skip
    for command in (make_key, sign):
        subprocess.run(command, check=True, capture_output=True)
    return cert, key


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    return certified(tmp_path / "certificate")


def test_a_loopback_registry_with_tls_is_found_though_plain_is_tried_first(
    connect: ConnectTo, certificate: tuple[Path, Path]
) -> None:
    with Registry(tls=certificate) as fake:
        fake.add_blob("a", BIG)
        assert fetch(connect(), fake) == BIG


def test_a_certificate_nobody_vouches_for_is_refused_in_words(
    connect: ConnectTo, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    # On loopback certificates are not looked at; only this makes the test's server a stranger.
    monkeypatch.setattr("veneer.distribution.transport.is_loopback", lambda host: False)
    with Registry(tls=certificate) as fake:
        with pytest.raises(
            TLSRefused, match=f"{fake.host}: TLS certificate refused: self.signed certificate"
        ) as caught:
            connect().registry(fake.host).ping()
        assert "insecure" in caught.value.hint


def test_failures_of_a_registry_name_the_image_and_the_way_out(
    store: Store, connect: ConnectTo, certificate: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On loopback certificates are not looked at; only this makes the test's server a stranger.
    monkeypatch.setattr("veneer.distribution.transport.is_loopback", lambda host: False)
    with Registry() as gone:
        nobody = gone.host
    with Registry(tls=certificate) as fake:
        for host, said, way in (
            (fake.host, "TLS certificate refused", f"--insecure-registry {fake.host}"),
            (nobody, "cannot connect: connection refused", "check the host, the port"),
        ):
            reference = Reference.parse(f"{host}/a:1")
            for work in (
                lambda reference=reference: pull(store, connect(), reference),
                lambda reference=reference: connect().registry(reference.registry).resolve(reference),
            ):
                with pytest.raises(VeneerError, match=f"^{host}/a:1: cannot be fetched: {host}: {said}") as caught:
                    work()
                assert way in caught.value.hint


def test_an_authority_in_certs_d_makes_it_trusted(
    connect: ConnectTo, certificate: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("veneer.distribution.transport.is_loopback", lambda host: False)
    with Registry(tls=certificate) as fake:
        folder = tmp_path / "certs.d" / fake.host
        folder.mkdir(parents=True)
        (folder / "ca.crt").write_bytes(certificate[0].read_bytes())
        connect(certificates=tmp_path / "certs.d").registry(fake.host).ping()


@pytest.mark.parametrize(
    ("name", "until", "reason"),
    [
        ("IP:127.0.0.1", "20200102000000Z", r"certificate has expired \(is this machine's clock right\?\)"),
        ("IP:10.9.8.7", "20991231235959Z", "IP address mismatch"),
        ("DNS:other.example", "20991231235959Z", "IP address mismatch"),
    ],
)
def test_a_certificate_that_is_wrong_is_refused_for_its_reason(
    connect: ConnectTo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, until: str, reason: str
) -> None:
    monkeypatch.setattr("veneer.distribution.transport.is_loopback", lambda host: False)
    made = certified(tmp_path / "made", name, until)
    with Registry(tls=made) as fake:
        folder = tmp_path / "certs.d" / fake.host
        folder.mkdir(parents=True)
        (folder / "ca.crt").write_bytes(made[0].read_bytes())
        with pytest.raises(TLSRefused, match=f"{fake.host}: TLS certificate refused: .*{reason}"):
            connect(certificates=tmp_path / "certs.d").registry(fake.host).ping()


def test_a_registry_named_insecure_need_not_prove_who_it_is(
    connect: ConnectTo, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("transport", "hosts"):
        monkeypatch.setattr(f"veneer.distribution.{module}.is_loopback", lambda host: False)
    with Registry(tls=certificate) as fake:
        connect(insecure_registries=(fake.host,)).registry(fake.host).ping()
    with Registry() as plain:
        connect(insecure_registries=("127.0.0.1",)).registry(plain.host).ping()


def test_plain_http_where_tls_is_due_is_refused_in_words(
    connect: ConnectTo, fake: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("veneer.distribution.hosts.is_loopback", lambda host: False)
    with pytest.raises((TLSRefused, ConnectionFailed), match=fake.host):
        connect().registry(fake.host).ping()
    assert fake.log == []


# -- blobs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0, 50, 99])
def test_a_blob_cut_off_is_resumed_where_it_broke(fake: Registry, connect: ConnectTo, share: int) -> None:
    digest = fake.add_blob("a", BIG)
    cut = len(BIG) * share // 100
    fake.fault(digest, cut=cut)
    assert fetch(connect(), fake) == BIG
    assert ranges(fake) == [None, f"bytes={cut}-" if cut else None]
    assert sum(entry.sent for entry in fake.requests("/blobs/")) == len(BIG)


def test_a_blob_that_breaks_for_ever_is_given_up_after_five_tries(
    fake: Registry, connect: ConnectTo, clock: FakeClock
) -> None:
    digest = fake.add_blob("a", BIG)
    fake.fault(digest, cut=1000, times=-1)
    with pytest.raises(ConnectionFailed) as caught:
        fetch(connect(), fake)
    assert fake.host in str(caught.value)
    assert ranges(fake) == [None, *(f"bytes={n}000-" for n in range(1, 5))]
    assert len(clock.waits) == 4


def test_a_blob_that_breaks_every_mebibyte_still_comes_through(fake: Registry, connect: ConnectTo) -> None:
    data = os.urandom(8 << 20)
    digest = fake.add_blob("a", data)
    fake.fault(digest, cut=(1 << 20) + 5, times=-1)
    assert fetch(connect(), fake, data) == data
    assert len(ranges(fake)) == 8


def test_a_download_goes_on_from_what_an_earlier_one_left(fake: Registry, connect: ConnectTo) -> None:
    fake.add_blob("a", BIG)
    assert fetch(connect(), fake, start=BIG[:1234]) == BIG
    assert ranges(fake) == ["bytes=1234-"]


def test_a_range_that_is_ignored_costs_bytes_but_not_correctness(fake: Registry, connect: ConnectTo) -> None:
    fake.add_blob("a", BIG)
    fake.fault("/blobs/", ignore_range=True)
    assert fetch(connect(), fake, start=BIG[:1234]) == BIG


@pytest.mark.parametrize("lie", ["bytes 5000-5242879/5242880", "bytes 1234-5242879/99", "lines 1234-", "nonsense"])
def test_a_part_that_is_not_the_one_asked_for_is_not_used(fake: Registry, connect: ConnectTo, lie: str) -> None:
    fake.add_blob("a", BIG)
    fake.fault("/blobs/", content_range=lie)
    assert fetch(connect(), fake, start=BIG[:1234]) == BIG
    assert ranges(fake) == ["bytes=1234-", None]


def test_an_encoded_part_is_not_used(fake: Registry, connect: ConnectTo) -> None:
    fake.add_blob("a", BIG)
    fake.fault("/blobs/", headers={"Content-Encoding": "gzip"})
    assert fetch(connect(), fake, start=BIG[:1234]) == BIG
    assert fake.requests("/blobs/")[0].headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("length", [None, -1])
def test_a_blob_longer_than_its_size_stops_at_its_size(fake: Registry, connect: ConnectTo, length: int | None) -> None:
    fake.add_blob("a", BIG)
    fake.fault("/blobs/", extra=b"x", length=length, times=-1)
    with pytest.raises(WrongSize, match=f"{fake.host}: blob {Digest.of(BIG)}: its size is {len(BIG)} bytes, but"):
        fetch(connect(), fake)
    assert len(fake.requests("/blobs/")) == 1


def test_a_blob_shorter_than_its_size_says_where_the_registry_ends(fake: Registry, connect: ConnectTo) -> None:
    fake.add_blob("a", BIG)
    with pytest.raises(WrongSize, match=f"nothing from byte {len(BIG)} on"):
        fetch(connect(), fake, size=len(BIG) + 1)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_later_is_later(fake: Registry, connect: ConnectTo, clock: FakeClock, status: int) -> None:
    fake.add_blob("a", BIG)
    fake.fault("/blobs/", status=status, times=2)
    assert fetch(connect(), fake) == BIG
    assert len(clock.waits) == 2


@pytest.mark.parametrize(
    ("retry_after", "wait"),
    [
        ("7", 7.0),
        ("86400", 60.0),
        ("-3", 0.0),
        ("Thu, 01 Jan 1970 00:16:50 GMT", 10.0),
        ("Mon, 01 Jan 9999 00:00:00 GMT", 60.0),
    ],
)
def test_retry_after_is_heeded_within_reason(
    fake: Registry, connect: ConnectTo, clock: FakeClock, retry_after: str, wait: float
) -> None:
    fake.add_blob("a", BIG)
    fake.fault("/blobs/", status=429, headers={"Retry-After": retry_after})
    assert fetch(connect(), fake) == BIG
    assert clock.waits == [wait]


def test_a_registry_that_stays_down_is_named_with_its_answer(
    fake: Registry, connect: ConnectTo, clock: FakeClock
) -> None:
    fake.add_blob("a", BIG)
    body = b'{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit"}]}'
    fake.fault("/blobs/", status=429, body=body, times=-1)
    told: list[str] = []
    registries = connect()
    registries.effort.notice = lambda seconds, reason: told.append(reason)
    with pytest.raises(TryAgain, match=f"{fake.host} answers 429: toomanyrequests: You have reached") as caught:
        fetch(registries, fake)
    assert len(fake.requests("/blobs/")) == 5 and told == [str(caught.value)] * 4


def test_a_missing_blob_is_named_at_once(fake: Registry, connect: ConnectTo, clock: FakeClock) -> None:
    with pytest.raises(NotInRegistry, match=f"{fake.host}: blob {Digest.of(BIG)} of a: blob unknown"):
        fetch(connect(), fake)
    assert clock.waits == []


def test_a_connection_that_drips_is_given_up(fake: Registry, connect: ConnectTo, clock: FakeClock) -> None:
    data = os.urandom(20_000)
    fake.add_blob("a", data)
    clock.tick = 31.0
    fake.fault("/blobs/", cut=100, times=-1)
    with pytest.raises(VeneerError, match=r"only 100 bytes in \d+ s"):
        fetch(connect(), fake, data)


def test_a_second_source_takes_over_where_the_first_gives_up(fake: Registry, connect: ConnectTo) -> None:
    with Registry() as mirror:
        digest = mirror.add_blob("a", BIG)
        fake.add_blob("a", BIG)
        mirror.fault(digest, cut=1000, times=-1)
        registries = connect()
        descriptor = Descriptor("", BlobDigest(digest), len(BIG))
        sources = [registry_source(registries.registry(one.host), "a", descriptor) for one in (mirror, fake)]
        sink = Memory()
        download(sources, descriptor, sink, registries.effort, lambda have: None)
        assert sink.data == BIG and ranges(fake) == ["bytes=5000-"]


def test_who_waits_for_a_silent_registry_wakes_up_when_told_to_stop(fake: Registry, connect: ConnectTo) -> None:
    import threading

    from veneer.progress import Cancelled

    digest = fake.add_blob("a", BIG)
    fake.fault(digest, cut=5000, hang=True)
    registries = connect()
    ended: list[BaseException] = []

    def run() -> None:
        try:
            fetch(registries, fake)
        except BaseException as error:
            ended.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    while not any(entry.sent for entry in fake.requests(digest)):
        thread.join(0.001)
    registries.stop()
    thread.join(60)
    assert not thread.is_alive() and isinstance(ended[0], Cancelled)
