"""Another process that unpacks layers for a pool: takes jobs from a socket until that closes.

Entry handling is Python and holds the interpreter's lock, so layers are unpacked side by side only in processes.
A process of its own also has a umask of its own (0) and, should an archive find a way to crash a decompressor,
takes nothing with it.  It is started with the socket as file descriptor 0.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import resource
import signal
import socket
import struct
import sys
from typing import Any

from veneer.changeset.growing import GrowingSource
from veneer.changeset.syscalls import die_with_parent
from veneer.changeset.unpack import Unpacked, unpack
from veneer.changeset.whiteout import WhiteoutStyle
from veneer.errors import Corrupt, VeneerError
from veneer.oci.digest import Digest

LENGTH = struct.Struct("<I")
_MAX_FDS = 4

Message = tuple[Any, ...]
"""Of what marshal knows: text, bytes, numbers, None, and tuples of them."""


class DiffIDMismatch(Corrupt):
    """A layer whose uncompressed bytes are not those its image's config names."""


def send(connection: socket.socket, message: Message, fds: list[int] | None = None) -> None:
    """Send one message, with descriptors along its first byte.  marshal: both ends are the same interpreter."""
    data = packed(message)
    sent = socket.send_fds(connection, [data[: LENGTH.size]], fds) if fds else 0
    connection.sendall(data[sent:])


def packed(message: Message) -> bytes:
    """A message as it is sent."""
    data = marshal.dumps(message)
    return LENGTH.pack(len(data)) + data


def receive(connection: socket.socket) -> tuple[Message, list[int]] | None:
    """The next message and its descriptors; None if the other end is gone.  The descriptors are close-on-exec."""
    # The length is asked for alone, so that descriptors never arrive with the wrong message.
    head, fds, _, _ = socket.recv_fds(connection, LENGTH.size, _MAX_FDS, socket.MSG_CMSG_CLOEXEC)
    head = _exactly(connection, LENGTH.size, head) if head else b""
    data = _exactly(connection, LENGTH.unpack(head)[0]) if head else b""
    if not data:
        for fd in fds:
            os.close(fd)
        return None
    message: Message = marshal.loads(data)
    return message, fds


def _exactly(connection: socket.socket, count: int, start: bytes = b"") -> bytes:
    """The next `count` bytes, `start` being the first of them; b"" if the other end closes before."""
    data = bytearray(start)
    while len(data) < count:
        piece = connection.recv(min(count - len(data), 1 << 20))
        if not piece:
            return b""
        data += piece
    return bytes(data)


def run(job: Message, fds: list[int]) -> Unpacked:
    """Do one job: (has wake, has index, style's name, expected diff ID or "", proven digest or "", what).

    `fds`: blob, root, then wake and index where the job has them.
    """
    has_wake, has_index, style, expect, proven, what = job
    remaining = list(fds)
    blob, root = remaining.pop(0), remaining.pop(0)
    wake = remaining.pop(0) if has_wake else None
    with (
        open(remaining.pop(0), "wb", closefd=False) if has_index else contextlib.nullcontext() as index,
        GrowingSource(blob, wake, shown=wake is None) as source,
    ):
        digest = Digest(proven) if proven else None
        unpacked = unpack(source, root, WhiteoutStyle[style], index=index, what=what, digest=digest)
    if expect and unpacked.diff_id != expect:
        raise DiffIDMismatch(
            f"{what}: the uncompressed layer is {unpacked.diff_id}, but the image's config says {expect}",
            hint="the image is damaged or was put together wrongly where it was built; pull it again from its source",
        )
    return unpacked


def serve(connection: socket.socket) -> None:
    """Say ("ready",), then answer jobs until the other end closes.

    An answer is ("done", fields of Unpacked) or ("failed", class, message, hint).
    """
    send(connection, ("ready",))
    while (received := receive(connection)) is not None:
        job, fds = received
        try:
            done = run(job, fds)
            answer: Message = (
                "done", str(done.diff_id), done.tar_size, done.size, done.entries,
                done.implied, done.lower_links, done.warnings, done.whited_out,
            )  # fmt: skip
        except VeneerError as error:
            kind = type(error)
            answer = ("failed", kind.__module__, kind.__qualname__, error.message, error.hint)
        finally:
            for fd in fds:
                os.close(fd)
        send(connection, answer)


def main() -> None:
    """The worker's whole life.  Any error that is not veneer's own ends it with a traceback on stderr."""
    die_with_parent(signal.SIGKILL)
    # A terminal's Ctrl-C goes to the whole group; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.umask(0)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with socket.socket(fileno=0) as connection:
        try:
            serve(connection)
        except (BrokenPipeError, ConnectionResetError):
            sys.exit(1)  # the parent is gone, and nobody is left to be told


if __name__ == "__main__":
    main()
