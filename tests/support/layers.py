"""Layers put together byte by byte, honest and hostile, and unpacked into a folder with canaries beside it."""

from __future__ import annotations

import hashlib
import io
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from veneer.changeset.index import LayerIndex
from veneer.changeset.limits import Limits
from veneer.changeset.unpack import Unpacked, unpack
from veneer.changeset.whiteout import WhiteoutStyle

REGULAR, HARDLINK, SYMLINK, CHARACTER, BLOCK, DIRECTORY, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"
END = bytes(1024)


def octal(value: int, width: int) -> bytes:
    """A numeric field; base-256 where octal digits do not suffice."""
    if 0 <= value < 8 ** (width - 1):
        return b"%0*o\0" % (width - 1, value)
    return bytes([0x80 if value >= 0 else 0xFF]) + (value % (1 << (8 * width - 8))).to_bytes(width - 1, "big")


def header(
    name: bytes,
    kind: bytes = REGULAR,
    size: int = 0,
    *,
    mode: int = 0o644,
    uid: int = 0,
    gid: int = 0,
    mtime: int = 1_600_000_000,
    link: bytes = b"",
    device: tuple[int, int] = (0, 0),
    magic: bytes = b"ustar\x0000",
    prefix: bytes = b"",
) -> bytes:
    """One 512-byte header with a right checksum."""
    numbers = octal(mode, 8) + octal(uid, 8) + octal(gid, 8) + octal(size, 12) + octal(mtime, 12)
    devices = octal(device[0], 8) + octal(device[1], 8)
    rest = magic + bytes(64) + devices + prefix.ljust(155, b"\0") + bytes(12)
    block = name.ljust(100, b"\0") + numbers + b" " * 8 + kind + link.ljust(100, b"\0") + rest
    assert len(block) == 512, len(block)
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def record(key: bytes, value: bytes) -> bytes:
    """One PAX record with its own length in front."""
    length = len(key) + len(value) + 3
    while len(str(length)) + len(key) + len(value) + 3 != length:
        length = len(str(length)) + len(key) + len(value) + 3
    return b"%d %s=%s\n" % (length, key, value)


def pax(records: Mapping[bytes, bytes], kind: bytes = b"x") -> bytes:
    data = b"".join(record(key, value) for key, value in records.items())
    return header(b"PaxHeaders/x", kind, len(data)) + padded(data)


class Layer:
    """A tar that grows member by member; every method gives the layer back."""

    def __init__(self) -> None:
        self.data = bytearray()

    def raw(self, data: bytes) -> Layer:
        self.data += data
        return self

    def pax(self, records: Mapping[bytes, bytes], kind: bytes = b"x") -> Layer:
        return self.raw(pax(records, kind))

    def file(self, name: bytes, content: bytes = b"", **fields: object) -> Layer:
        return self.raw(header(name, REGULAR, len(content), **fields) + padded(content))  # type: ignore[arg-type]

    def dir(self, name: bytes, mode: int = 0o755, **fields: object) -> Layer:
        return self.raw(header(name, DIRECTORY, mode=mode, **fields))  # type: ignore[arg-type]

    def symlink(self, name: bytes, target: bytes, **fields: object) -> Layer:
        return self.raw(header(name, SYMLINK, link=target, mode=0o777, **fields))  # type: ignore[arg-type]

    def hardlink(self, name: bytes, target: bytes, **fields: object) -> Layer:
        return self.raw(header(name, HARDLINK, link=target, **fields))  # type: ignore[arg-type]

    def node(self, name: bytes, kind: bytes, device: tuple[int, int] = (0, 0), **fields: object) -> Layer:
        return self.raw(header(name, kind, device=device, **fields))  # type: ignore[arg-type]

    def tar(self) -> bytes:
        return bytes(self.data) + END


def snapshot(root: Path) -> dict[str, tuple[object, ...]]:
    """What tells whether anything in a tree was touched: type, mode, owner, inode, times, content."""
    found: dict[str, tuple[object, ...]] = {}
    for path in (root, *sorted(root.rglob("*"))):
        status = path.lstat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if stat.S_ISREG(status.st_mode) else ""
        link = os.readlink(path) if stat.S_ISLNK(status.st_mode) else ""
        found[str(path)] = (
            status.st_mode, status.st_uid, status.st_gid, status.st_ino, status.st_nlink, status.st_mtime_ns,
            status.st_ctime_ns, content, link,
        )  # fmt: skip
    return found


@dataclass(frozen=True)
class Done:
    """A layer unpacked: the folder, what unpack() said, and the index it wrote."""

    root: Path
    unpacked: Unpacked
    index: LayerIndex

    def xattrs(self, path: str) -> dict[str, bytes]:
        target = self.root / path
        names = os.listxattr(target, follow_symlinks=False)
        return {name: os.getxattr(target, name, follow_symlinks=False) for name in names}

    def is_whiteout(self, path: str) -> bool:
        status = (self.root / path).lstat()
        return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0

    def is_opaque(self, path: str) -> bool:
        return self.xattrs(path).get("trusted.overlay.opaque") == b"y"

    def names(self) -> list[str]:
        return sorted(str(path.relative_to(self.root)) for path in self.root.rglob("*"))


class Workshop:
    """A folder with roots to unpack into and, beside them, canaries that must never change."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.outside = base / "outside"
        self.outside.mkdir()
        (self.outside / "secret").write_bytes(b"canary")
        (self.outside / "folder").mkdir(mode=0o700)
        (self.outside / "folder" / "inner").write_bytes(b"canary too")
        (self.outside / "link").symlink_to("secret")
        self._before = snapshot(self.outside)
        self._roots = 0

    def root(self) -> Path:
        self._roots += 1
        root = self.base / f"root{self._roots}"
        root.mkdir()
        return root

    def unpack(
        self,
        layer: Layer | bytes,
        style: WhiteoutStyle = WhiteoutStyle.OVERLAY,
        *,
        root: Path | None = None,
        limits: Limits | None = None,
        what: str = "layer sha256:abc",
    ) -> Done:
        """Unpack into a new root, or `root`; whatever happens, the canaries must be as before."""
        data = layer.tar() if isinstance(layer, Layer) else layer
        root = root or self.root()
        index = io.BytesIO()
        fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        open_before = len(os.listdir("/proc/self/fd"))
        try:
            unpacked = unpack(io.BytesIO(data), fd, style, index=index, limits=limits or Limits(), what=what)
        finally:
            open_after = len(os.listdir("/proc/self/fd"))
            os.close(fd)
            self.check()
        assert open_after <= open_before, "descriptors left open"  # those of earlier garbage may go meanwhile
        return Done(root, unpacked, LayerIndex.from_bytes(index.getvalue()))

    def check(self) -> None:
        assert snapshot(self.outside) == self._before, "something outside the root was touched"
