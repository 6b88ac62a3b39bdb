"""What ADD makes of a URL: known without fetching where it can be, fetched once where it cannot."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.web import Answer, Asked, Web, serving
from veneer.build.context.access import Access
from veneer.build.context.download import BadLogin, Downloaded, download
from veneer.build.context.failures import SourceChanged
from veneer.build.request import SecretSource
from veneer.config import Config
from veneer.distribution.fetch import FileNotThere, WrongChecksum
from veneer.oci.digest import Digest, InvalidDigest

MODIFIED = "Wed, 21 Oct 2015 07:28:00 GMT"
MODIFIED_NS = 1445412480 * 10**9


@pytest.fixture
def web() -> Iterator[Web]:
    with serving() as server:
        yield server


@pytest.fixture
def access(config: Config, tmp_path: Path) -> Access:
    return Access(config, memory=tmp_path / "contexts")


class File:
    """A page with an ETag that follows its content."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def __call__(self, asked: Asked) -> Answer:
        etag = f'"{Digest.of(self.content).short}"'
        if asked.headers.get("If-None-Match") == etag:
            return Answer(status=304)
        return Answer(self.content, headers={"ETag": etag, "Last-Modified": MODIFIED})


def got(tmp_path: Path, access: Access, url: str, checksum: str = "") -> Downloaded:
    scratch = tmp_path / "scratch"
    scratch.mkdir(exist_ok=True)
    return download(url, scratch, access, checksum=checksum)


def test_a_file_is_fetched_once_and_afterwards_only_asked_about(tmp_path: Path, access: Access, web: Web) -> None:
    web.pages["/d/a.txt"] = page = File(b"one")
    first = got(tmp_path, access, f"{web.url}/d/a.txt?q=1")
    assert (first.name, first.digest, first.mtime_ns) == ("a.txt", Digest.of(b"one"), MODIFIED_NS)
    assert first.path.read_bytes() == b"one"
    assert first.path.stat().st_mode & 0o7777 == 0o600
    assert len(web.asked) == 1
    again = got(tmp_path, access, f"{web.url}/d/a.txt?q=1")
    assert again.key == first.key
    assert "If-None-Match" in web.asked[1].headers
    assert len(web.asked) == 2
    assert again.path.read_bytes() == b"one"
    page.content = b"two"
    changed = got(tmp_path, access, f"{web.url}/d/a.txt?q=1")
    assert changed.key != first.key
    assert changed.path.read_bytes() == b"two"


def test_with_a_checksum_nobody_is_asked_until_the_bytes_are_needed(tmp_path: Path, access: Access, web: Web) -> None:
    web.pages["/a"] = File(b"one")
    right = got(tmp_path, access, f"{web.url}/a", str(Digest.of(b"one")))
    assert right.key == (str(Digest.of(b"one")), "a")
    assert right.digest == Digest.of(b"one")
    assert web.asked == []
    assert right.path.read_bytes() == b"one"
    known = got(tmp_path, access, f"{web.url}/a", str(Digest.of(b"one")))
    assert known.mtime_ns == MODIFIED_NS
    assert len(web.asked) == 1
    wrong = got(tmp_path, access, f"{web.url}/a", str(Digest.of(b"other")))
    with pytest.raises(WrongChecksum):
        _ = wrong.path
    with pytest.raises(InvalidDigest):
        got(tmp_path, access, f"{web.url}/a", "sha256:abc")
    assert got(tmp_path, access, f"{web.url}/a", str(Digest.of(b"one", "sha512"))).path.read_bytes() == b"one"


def test_a_file_that_changes_between_question_and_answer_is_not_taken(tmp_path: Path, access: Access, web: Web) -> None:
    web.pages["/a"] = page = File(b"one")
    got(tmp_path, access, f"{web.url}/a")
    asked = got(tmp_path, access, f"{web.url}/a")
    page.content = b"two"
    with pytest.raises(SourceChanged):
        _ = asked.path


@pytest.mark.parametrize(
    ("path", "disposition", "name"),
    [
        ("/d/a.tar.gz", 'attachment; filename="other"', "a.tar.gz"),
        ("/d/", 'attachment; filename="b.txt"', "b.txt"),
        ("/", "attachment; filename*=UTF-8''%C3%A9", "é"),
        ("/d/", 'attachment; filename="../../etc/passwd"', "passwd"),
        ("/d/", 'attachment; filename="..\\\\..\\\\x"', "x"),
        ("/d/", 'attachment; filename=".."', ""),
        ("/d/", "attachment", ""),
        ("/a%20b", "", "a b"),
        ("/..%2f..%2fpasswd", "", "passwd"),
        ("/d/%2e%2e", "", ""),
        ("/" + "n" * 300, "", ""),
    ],
)
def test_its_name_is_the_urls_or_else_the_servers_and_never_a_path(
    tmp_path: Path, access: Access, web: Web, path: str, disposition: str, name: str
) -> None:
    web.pages["/"] = Answer(b"x", headers={"Content-Disposition": disposition} if disposition else {})
    assert got(tmp_path, access, web.url + path).name == name


@pytest.mark.parametrize(
    "modified", ["", "yesterday", "Thu, 01 Jan 1960 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT"]
)
def test_a_time_that_is_none_is_the_epoch(tmp_path: Path, access: Access, web: Web, modified: str) -> None:
    web.pages["/a"] = Answer(b"x", headers={"Last-Modified": modified})
    assert got(tmp_path, access, f"{web.url}/a").mtime_ns == 0


def test_secrets_and_the_urls_own_login_are_sent(tmp_path: Path, access: Access, web: Web) -> None:
    web.pages["/a"] = Answer(b"x")
    with_login = web.url.replace("http://", "http://ada:love%20lace@")
    got(tmp_path, access, f"{with_login}/a")
    token = access.replaced(secrets=(SecretSource("HTTP_AUTH_TOKEN_127.0.0.1", b"t0ken\n"),))
    got(tmp_path, token, f"{with_login}/a")
    header = access.replaced(secrets=(SecretSource("HTTP_AUTH_HEADER_127.0.0.1", b"Weird x"),))
    got(tmp_path, header, f"{web.url}/a")
    assert [asked.headers.get("Authorization") for asked in web.asked] == [
        "Basic YWRhOmxvdmUgbGFjZQ==", "Bearer t0ken", "Weird x"]  # fmt: skip
    split = access.replaced(secrets=(SecretSource("HTTP_AUTH_TOKEN_127.0.0.1", b"a\r\nHost: evil"),))
    with pytest.raises(BadLogin):
        got(tmp_path, split, f"{web.url}/a")


def test_a_damaged_memory_is_as_good_as_none(tmp_path: Path, access: Access, web: Web) -> None:
    web.pages["/a"] = File(b"one")
    got(tmp_path, access, f"{web.url}/a")
    memory = tmp_path / "contexts"
    (file,) = memory.iterdir()
    for damage in (b"", b"{", b"[]", b'{"digest": "sha256:x"}', b"\xff" * 99):
        file.write_bytes(damage)
        assert got(tmp_path, access, f"{web.url}/a").path.read_bytes() == b"one"


def test_what_is_not_there_is_an_error_at_once(tmp_path: Path, access: Access, web: Web) -> None:
    with pytest.raises(FileNotThere, match="404"):
        got(tmp_path, access, f"{web.url}/a")
