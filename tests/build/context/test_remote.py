"""Contexts from streams, URLs and repositories: what they are taken for, and what never happens."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.build.context.conftest import OpenContext
from tests.support.gits import Repository, smart_http
from tests.support.layers import BLOCK, CHARACTER, END, FIFO, HARDLINK, REGULAR, SYMLINK, header
from tests.support.web import Answer, Web, serving
from veneer.build.context.access import Access
from veneer.build.context.failures import BadContext, SourceNotFound
from veneer.build.context.remote import is_archive
from veneer.build.context.select import select
from veneer.changeset.compression import BadCompression, Compression, compressor
from veneer.changeset.tar import BadArchive
from veneer.config import Config
from veneer.distribution.fetch import FileNotThere

DOCKERFILE = b"FROM scratch\nCOPY a /\n"


def member(name: bytes, content: bytes = b"", kind: bytes = REGULAR, **more: object) -> bytes:
    return header(name, kind, len(content), **more) + content + bytes(-len(content) % 512)  # type: ignore[arg-type]


def tar(*members: bytes) -> bytes:
    return b"".join(members) + END


HONEST = tar(
    member(b"Dockerfile", DOCKERFILE), member(b"d/a", b"1", mode=0o750, uid=7, gid=8),
    member(b"d/.wh.x", b"not hidden"), member(b".dockerignore", b"secret\n"),
    member(b"secret", b"s"), member(b"link", kind=SYMLINK, link=b"/etc/passwd"),
)  # fmt: skip


def zstd(data: bytes) -> bytes:
    out = io.BytesIO()
    with compressor(out, Compression.ZSTD) as sink:
        sink.write(data)
    return out.getvalue()


@pytest.fixture
def web() -> Iterator[Web]:
    with serving() as server:
        yield server


class Dripping(io.RawIOBase):
    """A stream that gives a few bytes at a time, as a pipe may."""

    def __init__(self, data: bytes, step: int = 7) -> None:
        self._data = io.BytesIO(data)
        self._step = step

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        data = self._data.read(min(len(view), self._step))
        view[: len(data)] = data
        return len(data)


@pytest.mark.parametrize(
    "packed", [bytes, gzip.compress, bz2.compress, lzma.compress, zstd], ids=["tar", "gzip", "bzip2", "xz", "zstd"]
)
def test_an_archive_from_a_stream_is_the_context(opened: OpenContext, packed: Callable[[bytes], bytes]) -> None:
    for stream in (io.BytesIO(packed(HONEST)), Dripping(packed(HONEST))):
        with opened(stream) as context:
            assert context.dockerfile is None
            assert context.read("Dockerfile") == DOCKERFILE
            assert context.read("d/.wh.x") == b"not hidden"
            status = context.status(b"d/a")
            assert status is not None
            assert (stat.S_IMODE(status.st_mode), status.st_mtime) == (0o750, 1_600_000_000)
            with pytest.raises(SourceNotFound):
                select(context, ["secret"])
            with pytest.raises(SourceNotFound, match="link"):
                select(context, ["link"])


def test_an_archives_files_have_the_checksums_they_have_in_a_directory(opened: OpenContext, context_dir: Path) -> None:
    (context_dir / "d").mkdir()
    (context_dir / "d" / "a").write_bytes(b"1")
    (context_dir / "d" / "a").chmod(0o750)
    (context_dir / "d" / ".wh.x").write_bytes(b"not hidden")
    with opened() as here, opened(io.BytesIO(HONEST)) as there:
        assert select(here, ["d"]).checksum() == select(there, ["d"]).checksum()


@pytest.mark.parametrize("text", [DOCKERFILE, b"# x", b"BZh no archive", b"F" * 5000, "FROM é\n".encode("latin-1")])
def test_any_other_text_is_a_dockerfile_without_files(opened: OpenContext, text: bytes) -> None:
    if text.startswith(b"BZh"):
        text = b"BZH no archive"
    with opened(Dripping(text)) as context:
        assert context.dockerfile == text
        assert context.folder(b"").names == []


@pytest.mark.parametrize("data", [b"", b"FROM\0", os.urandom(64) + b"\0" + os.urandom(2000)])
def test_what_is_neither_is_refused(opened: OpenContext, data: bytes) -> None:
    data = b"\x7f" + data if data else data
    with pytest.raises(BadContext, match="neither an archive nor"), opened(io.BytesIO(data)):
        pass


@pytest.mark.parametrize(
    "data",
    [
        tar(member(b"../out", b"x")),
        tar(member(b"a", kind=SYMLINK, link=b"../.."), member(b"a/out", b"x")),
        tar(member(b"a", kind=SYMLINK, link=b"/tmp"), member(b"a/out", b"x")),
        tar(member(b"a", kind=HARDLINK, link=b"../../secret")),
        tar(member(b"a", kind=HARDLINK, link=b"nowhere")),
        tar(member(b"a", kind=CHARACTER, device=(0, 0))),
        member(b"a", b"x")[:700],
        gzip.compress(HONEST)[:-20],
        gzip.compress(HONEST) + b"rubbish",
        gzip.compress(b"no tar in here" * 100),
        b"\xfd7zXZ\0" + bytes(100),
    ],
    ids=[
        "dots",
        "up",
        "absolute",
        "link-out",
        "link-nowhere",
        "whiteout",
        "cut",
        "cut-gzip",
        "tail",
        "no-tar",
        "no-xz",
    ],
)
def test_a_hostile_or_damaged_archive_leaves_nothing_outside(opened: OpenContext, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "secret").write_text("mine")
    before = {path.name for path in Path("/tmp").iterdir()}
    try:
        with opened(io.BytesIO(data)) as context:
            inside = {path.name for path in context.root.rglob("*")}
    except (BadArchive, BadCompression):
        inside = set()
    assert {each.name for each in tmp_path.rglob("out")} <= inside
    assert "out" not in {path.name for path in Path("/tmp").iterdir()} - before
    assert (tmp_path / "secret").stat().st_nlink == 1


def test_devices_and_pipes_of_an_archive_are_never_opened(opened: OpenContext) -> None:
    archive = tar(member(b"pipe", kind=FIFO), member(b"disk", kind=BLOCK, device=(1, 99)))
    with opened(io.BytesIO(archive)) as context, pytest.raises(BadContext, match="not a regular file"):
        context.read("pipe")


def test_old_tars_without_a_mark_and_empty_ones_are_archives() -> None:
    assert is_archive(header(b"a", magic=bytes(8)))
    assert is_archive(bytes(512))
    assert not is_archive(header(b"a")[:511])
    assert not is_archive(b"FROM scratch\n" * 50)


def test_a_url_is_an_archive_or_a_dockerfile_by_its_content(opened: OpenContext, web: Web, config: Config) -> None:
    web.pages["/ctx.txt"] = Answer(gzip.compress(HONEST), headers={"Content-Type": "text/plain"})
    web.pages["/Dockerfile.tar"] = Answer(DOCKERFILE, headers={"Content-Type": "application/x-tar"})
    access = Access(config)
    with opened(f"{web.url}/ctx.txt?sig=secret", access=access) as context:
        assert context.read("d/a") == b"1"
        assert context.name == f"{web.url}/ctx.txt"
    with opened(f"{web.url}/Dockerfile.tar", access=access) as context:
        assert context.dockerfile == DOCKERFILE
        assert context.folder(b"").names == []
    with pytest.raises(FileNotThere), opened(f"{web.url}/nope", access=access):
        pass


def test_a_named_context_behind_http_is_the_file_itself(opened: OpenContext, web: Web, config: Config) -> None:
    modified = {"Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"}
    web.pages["/a.tar.gz"] = Answer(gzip.compress(HONEST), headers=modified)
    with opened(f"{web.url}/a.tar.gz", access=Access(config), named=True) as context:
        assert context.dockerfile is None
        assert context.folder(b"").names == [b"a.tar.gz"]
        status = context.status(b"a.tar.gz")
        assert status is not None
        assert (stat.S_IMODE(status.st_mode), status.st_mtime) == (0o600, 1445412480)


def test_a_repository_is_a_context_with_its_own_ignore_file(
    opened: OpenContext, web: Web, config: Config, tmp_path: Path
) -> None:
    repository = Repository(tmp_path / "served" / "b.git")
    repository.commit(d__Dockerfile="FROM scratch\n", d__a="1", d__secret="s", d___dockerignore="secret\n", other="x")
    url = smart_http(web, tmp_path / "served")
    with opened(f"{url}/b.git#main:d", access=Access(config)) as context:
        assert context.folder(b"").names == [b".dockerignore", b"Dockerfile", b"a"]
        assert context.name == f"{url}/b.git"
    with opened(f"{url}/b.git", access=Access(config), keep_git_dir=True) as context:
        assert b".git" in context.folder(b"").names


def test_other_addresses_are_paths_that_are_not_there(opened: OpenContext, config: Config) -> None:
    for text in ("file:///etc", "ftp://h.test/x", "docker-image://x", "nowhere"):
        with pytest.raises(BadContext, match="not found"), opened(text, access=Access(config)):
            pass


def test_a_directory_is_one_whatever_it_is_called(
    opened: OpenContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "github.com" / "a").mkdir(parents=True)
    (tmp_path / "github.com" / "a" / "f").write_text("here")
    monkeypatch.chdir(tmp_path)
    with opened("github.com/a") as context:
        assert context.read("f") == b"here"
