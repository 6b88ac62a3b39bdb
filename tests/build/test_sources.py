"""`veneer build` with everything but a directory: streams, URLs and repositories, through the command itself."""

from __future__ import annotations

import gzip
import os
import select
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.gits import Repository, smart_http
from tests.support.layers import END, header
from tests.support.programs import VENEER
from tests.support.web import Answer, Web, serving

TEXT = b"FROM scratch\nLABEL from=here\n"


@pytest.fixture
def web() -> Iterator[Web]:
    with serving() as server:
        yield server


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


def build(root: Path, *words: str, stdin: bytes = b"", code: int = 0) -> str:
    """The image's ID, or what is said where it ends with another `code`."""
    done = subprocess.run([VENEER, "--root", root, "build", "-q", *words], input=stdin, capture_output=True)
    assert done.returncode == code, done.stderr.decode()
    left = list((root / "ingest").iterdir()) if (root / "ingest").exists() else []
    assert left == [], "scratch is left behind"
    return (done.stdout if code == 0 else done.stderr).decode().strip()


def archive(text: bytes, name: bytes = b"Dockerfile") -> bytes:
    return header(name, size=len(text)) + text + bytes(-len(text) % 512) + END


def test_the_same_dockerfile_is_the_same_image_wherever_it_comes_from(root: Path, tmp_path: Path, web: Web) -> None:
    (tmp_path / "context").mkdir()
    (tmp_path / "context" / "Dockerfile").write_bytes(TEXT)
    web.pages["/Dockerfile"] = Answer(TEXT)
    web.pages["/context.tgz"] = Answer(gzip.compress(archive(TEXT)))
    repository = Repository(tmp_path / "served" / "b.git")
    repository.commit(d__Dockerfile=TEXT.decode())
    git = smart_http(web, tmp_path / "served")
    wanted = build(root, str(tmp_path / "context"))
    assert build(root, "-", stdin=TEXT) == wanted
    assert build(root, "-", "-f", "other", stdin=gzip.compress(archive(TEXT, b"other"))) == wanted
    assert build(root, f"{web.url}/Dockerfile") == wanted
    assert build(root, f"{web.url}/context.tgz") == wanted
    assert build(root, f"{git}/b.git#main:d") == wanted
    assert build(root, "-f", "d/Dockerfile", f"{git}/b.git?branch=main") == wanted
    assert build(root, "-f", f"{web.url}/Dockerfile", str(tmp_path / "context")) == wanted


@pytest.mark.parametrize(
    ("words", "stdin", "said"),
    [
        (["-", "-f", "x"], TEXT, "ambiguous Dockerfile source: both stdin and flag correspond to Dockerfiles"),
        (["-", "-f", "-"], TEXT, "can't use stdin for both build context and dockerfile"),
        (["-"], b"", "standard input is empty"),
        (["-"], archive(TEXT, b"other"), "failed to read dockerfile: open Dockerfile: no such file"),
        (["file:///etc"], b"", "unable to prepare context: path 'file:///etc'"),
        (["https://h.test/b.git#--upload-pack=x"], b"", "no name of a branch"),
        (["https://h.test/b.git?x=1"], b"", "unexpected query 'x'"),
    ],
)
def test_what_cannot_be_a_context_is_refused_in_words(root: Path, words: list[str], stdin: bytes, said: str) -> None:
    done = subprocess.run([VENEER, "--root", root, "build", *words], input=stdin, capture_output=True, text=False)
    assert done.returncode != 0
    assert said in done.stderr.decode()


def test_git_does_not_outlive_a_build_that_is_killed(root: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"git://127.0.0.1:{silent.getsockname()[1]}/b"
        command = subprocess.Popen(
            [VENEER, "--root", root, "build", address], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            connection, _ = silent.accept()  # git is there and waits
            with connection:
                children = Path(f"/proc/{command.pid}/task/{command.pid}/children").read_text().split()
                watched = [os.pidfd_open(int(child)) for child in children]
                assert watched, "git is no child of the build"
                command.send_signal(signal.SIGKILL)
                for fd in watched:
                    assert select.select([fd], [], [], 30)[0], "git is still there"
                    os.close(fd)
        finally:
            command.kill()
            command.wait()
    assert build(root, "-", stdin=TEXT)
