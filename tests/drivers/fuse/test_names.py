"""The FUSE union where names come and go while somebody has hold of what they name, and what it answers to whom."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import socket
import stat
import struct
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest

from tests.drivers.fuse.conftest import Mounted
from veneer.drivers import treecopy
from veneer.drivers.fuse import memory, wire
from veneer.drivers.fuse.changes import WritableUnion
from veneer.drivers.fuse.memory import Memory
from veneer.drivers.fuse.nodes import Node, Union
from veneer.drivers.fuse.server import Server
from veneer.testing.driver_bench import Bench, Stack, write

NAMES = 700


def fill(root: Path) -> None:
    write(root, "one", "linked")
    os.link(root / "one", root / "two")
    for number in range(NAMES):
        write(root, f"many/{number:04}", "")
    write(root, "other", "other")


def _next_names(directory: int, size: int = 4096) -> list[str]:
    """Some more names of an open directory, as few as one call reads.  Source: getdents64(2)."""
    buffer = ctypes.create_string_buffer(size)
    libc = ctypes.CDLL(None, use_errno=True)
    length = libc.getdents64(directory, buffer, size)
    if length < 0:
        raise OSError(ctypes.get_errno(), "getdents64")
    raw, names, at = buffer.raw[:length], [], 0
    while at < length:
        record = int.from_bytes(raw[at + 16 : at + 18], "little")
        names.append(os.fsdecode(raw[at + 19 : at + record].partition(b"\0")[0]))
        at += record
    return names


@pytest.mark.parametrize("order", [("one", "two"), ("two", "one")])
def test_a_lower_file_whose_names_are_all_deleted_does_not_come_back(mounted: Mounted, order: tuple[str, str]) -> None:
    root = mounted.root
    assert (root / "two").stat().st_ino == (root / "one").stat().st_ino
    with (root / "one").open("r+") as file:
        for name in order:
            (root / name).unlink()
        assert os.fstat(file.fileno()).st_nlink == 0
        file.write("L")
        file.flush()
        assert os.fstat(file.fileno()).st_nlink == 0
        assert os.pread(file.fileno(), 9, 0) == b"Linked"
    assert os.listdir(root).count("one") == os.listdir(root).count("two") == 0


def test_a_name_left_of_a_lower_file_shows_what_is_written_through_a_deleted_one(mounted: Mounted) -> None:
    root = mounted.root
    assert (root / "two").read_text() == "linked"
    with (root / "one").open("r+") as file:
        (root / "one").unlink()
        file.write("L")
        file.flush()
        assert (root / "two").read_text() == "Linked"
    assert not (root / "one").exists()


def test_a_file_known_by_a_name_that_is_gone_is_found_by_its_last_one(tmp_path: Path) -> None:
    """Two nodes would be two files for the kernel: each with contents and locks of its own."""
    for name in ("upper", "work"):
        (tmp_path / name).mkdir()
    write(tmp_path, "upper/one", "1")
    os.link(tmp_path / "upper/one", tmp_path / "upper/two")  # as a mount before this one left it
    with treecopy.directory(tmp_path / "upper") as upper, treecopy.directory(tmp_path / "work") as work:
        union = WritableUnion([upper], work, descriptors=16)
        known, status = union.child(union.root, b"one")
        Server.entry(known, status)
        union.remove(union.root, b"one", directory=False)
        assert union.child(union.root, b"two")[0] is known
        assert not known.gone
        union.forget(known.id, 1)
        assert list(union.nodes) == [union.root.id]


def test_a_link_known_by_a_name_that_is_gone_has_its_attributes_by_the_other(tmp_path: Path) -> None:
    for name in ("upper", "work"):
        (tmp_path / name).mkdir()
    (tmp_path / "upper/one").symlink_to("nowhere")
    os.link(tmp_path / "upper/one", tmp_path / "upper/two", follow_symlinks=False)
    with (
        treecopy.directory(tmp_path / "upper") as upper,
        treecopy.directory(tmp_path / "work") as work,
        (tmp_path / "device").open("x+b") as nobody,
    ):
        union = WritableUnion([upper], work, descriptors=16)
        server = Server(nobody.fileno(), union)
        known, status = union.child(union.root, b"one")
        server.entry(known, status)
        union.remove(union.root, b"one", directory=False)
        assert union.child(union.root, b"two")[0] is known
        assert server.handlers[wire.LISTXATTR](known, memoryview(bytes(8)), (0, 0)) == wire.one_word(0)


def test_a_reader_misses_no_name_because_others_go_and_somebody_else_reads(mounted: Mounted) -> None:
    root = mounted.root / "many"
    directory = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        seen: list[str] = []
        while len(seen) < NAMES - 150:
            some = _next_names(directory)
            for name in some:
                if name not in (".", ".."):
                    os.unlink(name, dir_fd=directory)
            seen += some
        left = os.listdir(root)
        for number in range(NAMES):
            os.close(os.open("passing", os.O_CREAT | os.O_WRONLY, dir_fd=directory))
            os.unlink("passing", dir_fd=directory)
            if number == NAMES - 10:
                assert sorted(os.listdir(root)) == sorted(left)
        while some := _next_names(directory):
            seen += some
    finally:
        os.close(directory)
    assert len(seen) == len(set(seen))
    assert set(left) <= set(seen)
    assert len(set(seen)) == NAMES + 2


@pytest.mark.parametrize(
    "change",
    ["os.posix_fallocate(0, 0, 10)", "os.copy_file_range(os.open('other', os.O_RDONLY), 0, 3, 0, 0)"],
    ids=["fallocate", "copy_file_range"],
)
def test_who_changes_without_writing_takes_set_user_id_away(mounted: Mounted, change: str) -> None:
    root = mounted.root
    (root / "one").chmod(0o6777)
    with (root / "one").open("r+b") as file:
        _as_user(f"import os; {change}", root, stdin=file)
        assert stat.S_IMODE((root / "one").stat().st_mode) == 0o777
    (root / "one").chmod(0o6777)
    with (root / "one").open("r+b") as file:
        subprocess.run([sys.executable, "-c", f"import os; {change}"], cwd=root, stdin=file, check=True)
    assert stat.S_IMODE((root / "one").stat().st_mode) == 0o6777  # root keeps it


def _as_user(code: str, cwd: Path, *, stdin: IO[bytes] | None = None) -> str:
    """What Python says to `code` where it has no privileges, in the directory `cwd` that it may not look for."""
    run = f"import os; os.setgroups([]); os.setgid(1234); os.setuid(1234); {code}"
    words = [sys.executable, "-I", "-S", "-c", run]
    return subprocess.run(words, cwd=cwd, stdin=stdin, stdout=subprocess.PIPE, text=True, check=True).stdout


def test_trusted_attributes_are_listed_for_root_alone(mounted: Mounted) -> None:
    root = mounted.root
    for name in ("trusted.one", "user.one"):
        os.setxattr(root, name, b"1")
    assert sorted(os.listxattr(root)) == ["trusted.one", "user.one"]
    assert _as_user("print(os.listxattr('.'))", root) == "['user.one']\n"


@pytest.mark.parametrize("failure", [OverflowError(), OSError(524, "")], ids=["of ours", "of the kernel's own"])
def test_a_request_that_cannot_be_answered_ends_no_mount(tmp_path: Path, failure: Exception) -> None:
    """The kernel refuses an error of 512 and more; some file systems give its ENOTSUPP to who asks them."""

    def fails(node: Node, body: memoryview, who: tuple[int, int]) -> bytes:
        raise failure

    ours, kernels = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, kernels, treecopy.directory(tmp_path) as branch:
        server = Server(ours.fileno(), Union([branch], descriptors=16))
        server.handlers[wire.STATFS] = fails
        for unique, opcode in ((1, wire.STATFS), (2, wire.GETATTR)):
            kernels.send(struct.pack("=IIQQIII4x", wire.HEADER_SIZE, opcode, unique, wire.ROOT_ID, 0, 0, 0))
        kernels.shutdown(socket.SHUT_WR)
        server.serve()
        said = [struct.unpack("=IiQ", kernels.recv(4096)[: wire.ANSWER_SIZE]) for _ in range(2)]
    assert [(error, unique) for _, error, unique in said] == [(-errno.EIO, 1), (0, 2)]


def test_memory_is_given_back_when_most_of_many_nodes_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[int] = []
    monkeypatch.setattr(memory, "give_back", lambda: given.append(1))
    kept = Memory()
    for before, now in ((500, 0), (30_000, 29_000), (29_000, 7_600), (7_600, 7_400), (7_400, 0), (30_000, 0)):
        kept.forgotten(before, now)
        given.append(0)
    assert given == [0, 0, 0, 1, 0, 0, 1, 0]
    monkeypatch.undo()
    memory.give_back()


def test_a_mount_is_made_anew_though_a_mount_namespace_has_the_last_one(layers: tuple[Bench, Stack]) -> None:
    bench, below = layers
    with contextlib.ExitStack() as others:
        with bench.writing(below) as (stack, root):
            write(root, "new", "kept")
            other = others.enter_context(
                subprocess.Popen(
                    ["unshare", "--mount", "--propagation=private", "sh", "-c", "echo; read _"],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                )
            )  # fmt: skip
            assert other.stdin is not None
            assert other.stdout is not None
            others.callback(other.stdin.close)
            assert other.stdout.readline() == b"\n"
        with bench.mounted(stack[0], below) as root:
            assert (root / "new").read_text() == "kept"
