"""What is in a file, as lines: text, bytes in hexadecimal, the members of an archive; and two files side by side."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from typing import BinaryIO

from veneer.errors import VeneerError
from veneer.view.amounts import size
from veneer.view.peel.spans import Spans, cell, cut, name_text, plain

TEXT, HEX, ARCHIVE = "text", "hex", "archive"
MODES = (TEXT, HEX, ARCHIVE)
MOST_TEXT = 16 << 20
"""Bytes that are shown as text; hexadecimal shows all."""
MOST_MEMBERS = 20_000
MOST_DIFF_LINES = 20_000
_SNIFFED = 8192
_ROW = 16
_TAB = 8


class Content:
    """A file that is open, read at any place, never as a whole unless it is small."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.size = os.fstat(file.fileno()).st_size
        self.lines: list[str] = []
        self.members: list[tuple[str, str]] = []

    def close(self) -> None:
        self.file.close()

    def at(self, offset: int, count: int) -> bytes:
        return os.pread(self.file.fileno(), count, offset)

    def guess(self) -> str:
        """How it is best shown."""
        head = self.at(0, _SNIFFED)
        if head[:4] in (b"PK\x03\x04", b"PK\x05\x06") or head[257:262] == b"ustar" or _is_compressed(head):
            return ARCHIVE
        if b"\0" in head:
            return HEX
        control = sum(byte < 9 or (13 < byte < 32 and byte != 27) for byte in head)
        return TEXT if control * 20 <= len(head) else HEX

    def read(self, mode: str) -> None:
        """Get ready for a mode; takes its time for long texts and for archives."""
        if mode == TEXT and not self.lines:
            self.lines = text_lines(self.at(0, MOST_TEXT))
        elif mode == ARCHIVE and not self.members:
            self.members = members(self)

    def count(self, mode: str) -> int:
        """How many lines there are."""
        if mode == HEX:
            return -(-self.size // _ROW) or 1
        return len(self.lines if mode == TEXT else self.members) or 1

    def longest(self, mode: str) -> int:
        """Characters of the longest line."""
        texts = self.lines if mode == TEXT else [name for _, name in self.members] if mode == ARCHIVE else []
        return max(map(len, texts), default=0)

    def spans(self, mode: str, line: int, room: int, start: int = 0) -> Spans:
        """One line, of a text from its character `start` on."""
        if mode == HEX:
            return hex_spans(self.at(line * _ROW, _ROW), line * _ROW)
        if mode == ARCHIVE:
            if not self.members:
                return [("nothing is in it", "dim")]
            amount, name = self.members[line]
            return [(cell(amount, 9, right=True) + "  ", "dim"), (cut(name[start:], room - 11), "")]
        if not self.lines:
            return [("nothing is in it", "dim")]
        return [(cell(str(line + 1), 6, right=True) + " ", "dim"), (cut(self.lines[line][start:], room - 7), "")]

    def note(self, mode: str) -> str:
        """What is left out."""
        if mode == TEXT and self.size > MOST_TEXT:
            return f"the first {size(MOST_TEXT)} of {size(self.size)}"
        if mode == ARCHIVE and len(self.members) == MOST_MEMBERS:
            return f"the first {MOST_MEMBERS} members"
        return size(self.size)


def _is_compressed(head: bytes) -> bool:
    from veneer.changeset.compression import Compression, sniff

    return sniff(head) is not Compression.NONE


def text_lines(data: bytes) -> list[str]:
    """A text line by line, harmless; tabs become spaces."""
    lines = data.split(b"\n")
    if lines and not lines[-1]:
        lines.pop()
    return [plain(line.removesuffix(b"\r").decode("utf-8", "backslashreplace").expandtabs(_TAB)) for line in lines]


def hex_spans(data: bytes, offset: int) -> Spans:
    """Sixteen bytes."""
    pairs = data.hex(" ")
    letters = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in data)
    return [(f"{offset:08x}  ", "dim"), (f"{pairs:<47}  ", ""), (letters, "strong")]


def members(content: Content) -> list[tuple[str, str]]:
    """(size, name) of what is in an archive; where it is none, one line that says so."""
    head = content.at(0, 4)
    return _zipped(content) if head[:2] == b"PK" else _tarred(content)


def _zipped(content: Content) -> list[tuple[str, str]]:
    import zipfile

    try:
        with open(os.dup(content.file.fileno()), "rb") as file, zipfile.ZipFile(file) as archive:
            return [(size(each.file_size), plain(each.filename)) for each in archive.infolist()[:MOST_MEMBERS]]
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        return [("", f"no archive that can be read: {plain(str(error))}")]


class _FromStart:
    """A file from its beginning, as a Source, whatever others read of it."""

    def __init__(self, content: Content) -> None:
        self._content = content
        self._offset = 0

    def readinto(self, buffer: memoryview | bytearray, /) -> int:
        count = os.preadv(self._content.file.fileno(), [buffer], self._offset)
        self._offset += count
        return count


def _tarred(content: Content) -> list[tuple[str, str]]:
    from veneer.changeset.compression import opened
    from veneer.changeset.entry import Kind
    from veneer.changeset.tar import TarReader

    found: list[tuple[str, str]] = []
    reader = None
    try:
        reader = TarReader(opened(_FromStart(content))[1], what="the file", hashed=False)
        while len(found) < MOST_MEMBERS and reader.next():
            link = f" -> {name_text(reader.link)}" if reader.link else ""
            amount = "" if reader.kind is Kind.DIRECTORY else size(reader.size)
            found.append((amount, name_text(reader.path) + link))
    except (VeneerError, ValueError, OSError) as error:
        found.append(("", f"it goes no further: {plain(str(error))}" if found else "no archive that is known"))
    finally:
        if reader is not None:
            reader.close()
    return found


class Pair:
    """Two texts side by side: rows of (mark, left, right), "" where one has no line."""

    def __init__(self, before: Sequence[str], after: Sequence[str]) -> None:
        self.rows: list[tuple[str, int, str, int, str]] = []
        self.cut = max(len(before), len(after)) > MOST_DIFF_LINES
        before, after = before[:MOST_DIFF_LINES], after[:MOST_DIFF_LINES]
        matcher = difflib.SequenceMatcher(None, before, after, autojunk=True)
        self.first = 0
        for tag, a, b, c, d in matcher.get_opcodes():
            mark = {"equal": " ", "replace": "M", "delete": "D", "insert": "A"}[tag]
            if mark != " " and not any(row[0] != " " for row in self.rows[-1:]):
                self.first = self.first or len(self.rows)
            for number in range(max(b - a, d - c)):
                left, right = a + number, c + number
                self.rows.append((
                    mark, left + 1 if left < b else 0, before[left] if left < b else "",
                    right + 1 if right < d else 0, after[right] if right < d else "",
                ))  # fmt: skip

    @property
    def changes(self) -> int:
        return sum(row[0] != " " for row in self.rows)

    @property
    def longest(self) -> int:
        """Characters of the longest line."""
        return max((max(len(row[2]), len(row[4])) for row in self.rows), default=0)

    def spans(self, line: int, room: int, start: int = 0) -> Spans:
        """One row, its texts from their character `start` on."""
        if line >= len(self.rows):
            return []
        mark, left_number, left, right_number, right = self.rows[line]
        half = (room - 3) // 2
        meaning = "" if mark == " " else mark

        def side(number: int, text: str, there: str) -> Spans:
            told = f"{number:5} " if number else " " * 6
            return [(told, "dim"), (cell(text[start:], half - 6), there if text or number else "dim")]

        before = side(left_number, left, "D" if mark in "MD" and left_number else "")
        after = side(right_number, right, "A" if mark in "MA" and right_number else "")
        return [*before, (f" {mark} ", meaning), *after]
