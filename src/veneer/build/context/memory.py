"""The stat memory: what the files of a context hashed to, so that an unchanged context is looked at but not read.

One file per context root, replaced whole.  An entry counts only while inode, size, both times, permissions, owner
and number of links are what they were, and only if the file had rested for longer than its clock's grain when it
was hashed; otherwise a write in the same tick could have gone unseen.  A file that is damaged is as good as none.

    header   magic b"veneerCM", u32 version, u32 directories, u64 entries, u64 bytes of paths, u64 bytes of names,
             u64 bytes of totals, u64 bytes of halves
    table    per directory: u32 length of its path, u32 length of its names, u32 entries, u32 day it was last used
    totals   per selection, a line: what identifies it (hexadecimal), its checksum, the day it was last made
    halves   the directories that are half of it, each followed by NUL; none if it is small (halves.py)
    paths    one after the other                          names   each followed by NUL, directory by directory
    rows     8 x i64 per entry (scan.py)                  sums, digests   32 bytes per entry, zeros: not known
    u32      CRC-32 of everything before

A total is a whole selection's checksum under the hash of all its names and rows: what has not changed at all need not
be put together again from its entries' sums, and the rest of the file is not looked at.
"""

from __future__ import annotations

import hashlib
import os
import struct
import threading
import time
import zlib
from array import array

from veneer.build.context.halves import later_half
from veneer.build.context.scan import CTIME, MODE, MTIME, WIDTH, Folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_MAGIC = b"veneerCM"
_VERSION = 3
_HEADER = struct.Struct("<8sIIQQQQQ")
_ENTRY = struct.Struct("<IIII")
_ROW = 8 * WIDTH
_NOTHING = bytes(32)
_DAY = 86400
_KEPT_DAYS = 30
_KEPT_TOTALS = 256
_TICK = 200_000_000
"""The kernel's clock for file times goes forward every 10 ms or more often, but on a virtual machine whose processors
are shared its ticks come tens of milliseconds late: a file may be written twice at what it calls one moment."""
_WHOLE_SECONDS = 2_000_000_000
_SECOND = 1_000_000_000
_FAR = 60_000_000_000
_REMOTE = frozenset(("nfs", "nfs4", "cifs", "smb3", "9p", "afs", "ceph", "vboxsf", "fuse", "virtiofs"))


class _Block:
    """What is remembered of one directory."""

    __slots__ = ("day", "digests", "names", "rows", "sums")

    def __init__(self, names: bytes, rows: bytes, sums: bytes, digests: bytes, day: int) -> None:
        self.names = names
        self.rows = rows
        self.sums = sums
        self.digests = digests
        self.day = day


class Memory:
    """What one context root's files hashed to.  `file` None: nothing is kept beyond this object."""

    def __init__(self, file: Path | None, *, remote: bool = False) -> None:
        self._file = file
        self._remote = remote
        self._changed = False
        self._today = int(time.time() // _DAY)
        self._guard = threading.Lock()
        self._known: dict[bytes, _Block] | None = None
        self._data = b""
        if file is not None:
            try:
                self._data = file.read_bytes()
            except FileNotFoundError:
                pass
            if not _is_whole(self._data):
                self._data = b""
        self._totals: dict[str, tuple[str, int]] = _totals(self._data)
        self.second_half = _second_half(self._data)
        """Directories that with all beneath them are the later half of what was known; none if that is little."""

    @property
    def _blocks(self) -> dict[bytes, _Block]:
        with self._guard:  # stages side by side read one context
            if self._known is None:
                self._known, self._data = _parsed(self._data), b""
            return self._known

    @classmethod
    def of(cls, folder: Path, root: Path, root_fd: int) -> Memory:
        """The memory of the context at `root` (its real path counts) in the store's folder for them."""
        name = hashlib.sha256(os.fsencode(os.path.realpath(root))).hexdigest()[:40]
        return cls(folder / name, remote=_is_remote(os.fstat(root_fd).st_dev))

    def recall(self, folder: Folder) -> None:
        """Give a scanned folder what is known of it: `sums` and `digests`, zeros where nothing is."""
        count = len(folder.names)
        block = self._blocks.get(folder.path)
        if block is None:
            folder.sums, folder.digests = bytearray(32 * count), bytearray(32 * count)
            return
        rows = folder.rows.tobytes()
        if block.rows == rows and block.names == _joined(folder.names):
            folder.sums, folder.digests = bytearray(block.sums), bytearray(block.digests)
            return
        folder.sums, folder.digests = bytearray(32 * count), bytearray(32 * count)
        known = {name: number for number, name in enumerate(block.names.split(b"\0")[:-1])}
        for number, name in enumerate(folder.names):
            old = known.get(name, -1)
            if old >= 0 and block.rows[old * _ROW : (old + 1) * _ROW] == rows[number * _ROW : (number + 1) * _ROW]:
                folder.sums[32 * number : 32 * number + 32] = block.sums[32 * old : 32 * old + 32]
                folder.digests[32 * number : 32 * number + 32] = block.digests[32 * old : 32 * old + 32]

    def learn(self, folder: Folder, hashed_ns: int) -> None:
        """Remember a folder's sums and digests; reading for them began at `hashed_ns` (time.time_ns)."""
        assert folder.sums is not None and folder.digests is not None
        rows = array("q", folder.rows)
        for at in range(0, len(rows), WIDTH):
            if not self._rested(rows[at + MTIME], rows[at + CTIME], hashed_ns):
                rows[at + MODE] = 0  # never equal to a file's
        block = _Block(
            _joined(folder.names), rows.tobytes(), bytes(folder.sums), bytes(folder.digests), self._today
        )  # fmt: skip
        self._blocks[folder.path] = block
        self._changed = True

    def total(self, identity: str) -> str:
        """The checksum of the selection that `identity` (the hash of all its names and rows) is of; "" if not known."""
        return self._totals.get(identity, ("", 0))[0]

    def learn_total(self, identity: str, folders: Iterable[Folder], checksum: str) -> None:
        """Remember the checksum of a selection of `folders`, if each of their entries would be recalled as it is."""
        for folder in folders:
            block = self._blocks.get(folder.path)
            if block is None or block.rows != folder.rows.tobytes() or block.names != _joined(folder.names):
                return
        self._totals[identity] = (checksum, self._today)
        self._changed = True

    def _rested(self, mtime: int, ctime: int, hashed_ns: int) -> bool:
        grain = _FAR if self._remote else _TICK
        if mtime % _SECOND == 0 and ctime % _SECOND == 0:
            grain = max(grain, _WHOLE_SECONDS)
        return max(mtime, ctime) + grain < hashed_ns

    def save(self) -> None:
        """Write the file anew if anything was learnt.  A full disk only means that it is not remembered."""
        if not self._changed or self._file is None:
            return
        self._changed = False
        oldest = self._today - _KEPT_DAYS
        blocks = {path: block for path, block in self._blocks.items() if block.day >= oldest}
        totals = {name: total for name, total in self._totals.items() if total[1] >= oldest}
        data = _formed(blocks, dict(list(totals.items())[-_KEPT_TOTALS:]))
        temporary = self._file.with_name(f"{self._file.name}.{os.getpid()}.{time.time_ns()}")
        try:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            temporary.write_bytes(data)
            temporary.replace(self._file)
        except OSError:
            temporary.unlink(missing_ok=True)


def _joined(names: list[bytes]) -> bytes:
    return b"\0".join([*names, b""])


def _formed(blocks: dict[bytes, _Block], totals: dict[str, tuple[str, int]]) -> bytes:
    table, paths, names = bytearray(), bytearray(), bytearray()
    rows, sums, digests = bytearray(), bytearray(), bytearray()
    for path, block in blocks.items():
        table += _ENTRY.pack(len(path), len(block.names), len(block.rows) // _ROW, block.day)
        for column, piece in ((paths, path), (names, block.names), (rows, block.rows), (sums, block.sums),
                              (digests, block.digests)):  # fmt: skip
            column += piece
    lines = "".join(f"{identity} {checksum} {day}\n" for identity, (checksum, day) in totals.items()).encode()
    halves = _joined(later_half({path: len(block.rows) // _ROW for path, block in blocks.items()}))
    counts = (len(blocks), len(rows) // _ROW, len(paths), len(names), len(lines), len(halves))
    data = b"".join((_HEADER.pack(_MAGIC, _VERSION, *counts), table, lines, halves, paths, names, rows, sums, digests))
    return data + struct.pack("<I", zlib.crc32(data))


def _is_whole(data: bytes) -> bool:
    """Whether this is a file of this version, to the byte."""
    if len(data) < _HEADER.size + 4:
        return False
    magic, version, directories, entries, path_bytes, name_bytes, *more = _HEADER.unpack_from(data)
    end = _HEADER.size + directories * _ENTRY.size + sum(more) + path_bytes + name_bytes + entries * (_ROW + 64)
    if magic != _MAGIC or version != _VERSION or len(data) != end + 4:
        return False
    found: int = struct.unpack_from("<I", data, end)[0]
    return found == zlib.crc32(memoryview(data)[:end])


def _totals(data: bytes) -> dict[str, tuple[str, int]]:
    if not data:
        return {}
    directories, total_bytes = _HEADER.unpack_from(data)[2], _HEADER.unpack_from(data)[6]
    begin = _HEADER.size + directories * _ENTRY.size
    lines = (line.split(" ") for line in data[begin : begin + total_bytes].decode("ascii").splitlines())
    return {identity: (checksum, int(day)) for identity, checksum, day in lines}


def _second_half(data: bytes) -> list[bytes]:
    if not data:
        return []
    _, _, directories, _, _, _, total_bytes, half_bytes = _HEADER.unpack_from(data)
    begin = _HEADER.size + directories * _ENTRY.size + total_bytes
    return data[begin : begin + half_bytes].split(b"\0")[:-1]


def _parsed(data: bytes) -> dict[bytes, _Block]:
    if not data:
        return {}
    _, _, directories, entries, path_bytes, name_bytes, *more = _HEADER.unpack_from(data)
    table = _HEADER.size + directories * _ENTRY.size
    paths = table + sum(more)
    names = paths + path_bytes
    rows = names + name_bytes
    sums = rows + entries * _ROW
    digests = sums + entries * 32
    blocks = {}
    for path_length, names_length, count, day in _ENTRY.iter_unpack(data[_HEADER.size : table]):
        blocks[data[paths : paths + path_length]] = _Block(
            data[names : names + names_length], data[rows : rows + count * _ROW], data[sums : sums + count * 32],
            data[digests : digests + count * 32], day,
        )  # fmt: skip
        paths, names, rows = paths + path_length, names + names_length, rows + count * _ROW
        sums, digests = sums + count * 32, digests + count * 32
    return blocks


def _is_remote(device: int) -> bool:
    """Whether a device number is a file system whose times another machine's clock may give."""
    wanted = b"%d:%d" % (os.major(device), os.minor(device))
    with open("/proc/self/mountinfo", "rb") as mounts:
        for line in mounts:
            before, _, after = line.partition(b" - ")
            if before.split(b" ", 3)[2] == wanted:
                return after.split(b" ", 1)[0].decode().split(".")[0] in _REMOTE
    return True  # not among the mounts seen here: nothing is known of its clock
