"""`veneer image cat` and `image extract`: files of images as any layer has them, wherever the image is."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from tests.cli.conftest import Veneer
from veneer.testing.images import directory, docker_archive, file, hardlink, image, symlink
from veneer.testing.registry import Registry

APP = image(
    {"etc": directory(), "etc/conf": b"one\ntwo\n", "etc/\x1b[2J": b"x", "bin/tool": file(b"\0\1", 0o4755),
     "lib": symlink("usr/lib"), "sbin": symlink("../../bin"), "conf": symlink("/etc/../sbin/../etc/conf"),
     "round": symlink("round")},
    {"etc/conf": b"one\n2\n", "etc/same": hardlink("etc/conf"), "srv/a": b"a"},
    {"srv/.wh.a": b"", "bin/tool": file(b"\0\2", 0o755)},
)  # fmt: skip


@pytest.fixture
def app(veneer: Veneer, tmp_path: Path) -> Veneer:
    archive = tmp_path / "app.tar"
    archive.write_bytes(docker_archive((APP, ["demo/app:1"])))
    assert veneer("load", "-i", str(archive)).code == 0
    return veneer


def test_a_file_is_printed_as_any_layer_has_it(app: Veneer, tmp_path: Path) -> None:
    assert app("image", "cat", "demo/app:1", "/etc/conf").out == b"one\n2\n"
    assert app("image", "cat", "--at", "1", "demo/app:1", "etc/conf").out == b"one\ntwo\n"
    assert app("image", "cat", "demo/app:1", "/etc/same").out == b"one\n2\n"
    assert app("image", "cat", "demo/app:1", "/srv/a").out == b"a", "deleted, and still stored"
    assert app("image", "cat", "demo/app:1", "/bin/tool").out == b"\0\2"
    assert app("image", "cat", "demo/app:1", "/sbin/tool").out == b"\0\2", "as a container would find it"
    assert app("image", "cat", "--at", "1", "demo/app:1", "/conf").out == b"one\ntwo\n"
    assert app("image", "extract", "demo/app:1", "/sbin").out == app("image", "extract", "demo/app:1", "/bin").out
    assert app("image", "cat", "--archive", str(tmp_path / "app.tar"), "/bin/tool").out == b"\0\2"
    assert app("image", "cat", "demo/app:1", "/etc/\\x1b[2J").out == b"x"
    with Registry() as registry:
        registry.add("far/app:1", APP)
        name = f"{registry.host}/far/app:1"
        assert (
            app("--insecure-registry", registry.host, "image", "cat", "--remote", name, "etc/conf").out == b"one\n2\n"
        )


def test_what_became_of_a_text_is_shown(app: Veneer) -> None:
    assert app("image", "cat", "--diff", "1-3", "demo/app:1", "/etc/conf").text.splitlines() == [
        "--- /etc/conf in layer 1", "+++ /etc/conf in layer 3", "@@ -1,2 +1,2 @@", " one", "-two", "+2",
    ]  # fmt: skip
    assert "is no text" in app("image", "cat", "--diff", "1-3", "demo/app:1", "/bin/tool").err


def test_nothing_in_a_file_moves_a_terminals_cursor(veneer: Veneer, tmp_path: Path) -> None:
    archive = tmp_path / "evil.tar"
    archive.write_bytes(docker_archive((image({"f": b"a\x1b[2Jb\xff\n"}), ["x:1"])))
    assert veneer("image", "cat", "--archive", str(archive), "f", terminal=True).out == b"a\\x1b[2Jb\\xff\n"


def test_a_directory_is_taken_out_as_a_tar(app: Veneer, tmp_path: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(app("image", "extract", "demo/app:1", "/").out)) as tar:
        members = {member.name: member for member in tar}
        assert set(members) == {"bin", "bin/tool", "etc", "etc/conf", "etc/same", "etc/\x1b[2J", "lib", "sbin", "conf",
                                "round", "srv"}  # fmt: skip
        assert members["bin/tool"].mode == 0o755 and members["lib"].linkname == "usr/lib"
        assert members["etc/same"].islnk() and members["etc/same"].linkname == "etc/conf"
    target = tmp_path / "out.tar"
    assert app("image", "extract", "--at", "1", "-o", str(target), "demo/app:1", "/etc").code == 0
    with tarfile.open(target) as tar:
        assert tar.getnames() == ["\x1b[2J", "conf"]
    assert app("image", "extract", "-o", str(target), "demo/app:1", "/etc/conf").code == 0
    assert target.read_bytes() == b"one\n2\n"
    assert "cowardly refusing" in app("image", "extract", "demo/app:1", "/etc", terminal=True).err
    assert app("image", "extract", "-o", str(target), "demo/app:1", "/nosuch").code == 1
    assert target.read_bytes() == b"one\n2\n", "what was there stays"


@pytest.mark.parametrize(("words", "complaint"), [
    (["cat", "demo/app:1", "/nosuch"], "Error: /nosuch is in no layer of demo/app:1"),
    (["cat", "demo/app:1", "/etc"], "Error: /etc of layer 1 is a directory, which has no content"),
    (["cat", "demo/app:1", "/lib"],
     "Error: /lib of layer 1 is a symlink, which has no content\nhint: it points to usr/lib, where nothing is"),
    (["cat", "demo/app:1", "/round"], "Error: /round of layer 1 is a symlink, which has no content"),
    (["cat", "--at", "4", "demo/app:1", "/etc/conf"], "Error: invalid --at '4': demo/app:1 has 3 layers"),
    (["cat", "--diff", "1", "demo/app:1", "/etc/conf"], "Error: invalid --diff"),
    (["cat", "demo/app:1"], "veneer: 'veneer image cat' requires 2 arguments"),
])  # fmt: skip
def test_what_cannot_be_is_said(app: Veneer, words: list[str], complaint: str) -> None:
    answer = app("image", *words)
    assert answer.code == 1 and answer.err.startswith(complaint), answer.err
