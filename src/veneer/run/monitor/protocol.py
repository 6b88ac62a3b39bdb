"""What a monitor and its callers say to each other, in frames.

A frame is docker's stdcopy header - one byte that says what it is, three of nothing, the length as four bytes, most
significant first - and as many bytes.  Kinds 0, 1 and 2 are bytes of standard input, output and error; the others are
JSON objects.  A connection begins with a REQUEST `{"do": verb, ...}`, answered by an ANSWER; some verbs then make it a
stream (see STREAMS), which ends with ENDED.  Source: moby pkg/stdcopy.
"""

from __future__ import annotations

import json
import struct

from veneer.errors import Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

STDIN, STDOUT, STDERR = 0, 1, 2
REQUEST, ANSWER, CLOSE_INPUT, RESIZE, ENDED = 16, 17, 18, 19, 20
STREAMS = ("start", "attach", "exec")
"""The verbs whose connections go on as streams."""
MAX_REQUEST = 4 << 20
"""Of a JSON object.  A command line and an environment have at most 2 MiB where the kernel is asked to take them."""
MAX_DATA = 64 << 10
"""Of a frame with a stream's bytes."""
_HEADER = struct.Struct(">B3xI")
HEADER_SIZE = _HEADER.size


class BadFrame(Unavailable):
    """What came over a monitor's socket is not what monitors and their callers say."""


def frame(kind: int, data: bytes | memoryview) -> bytes:
    """One frame."""
    return b"".join((_HEADER.pack(kind, len(data)), data))


def message(kind: int, content: dict[str, Any]) -> bytes:
    """One frame with a JSON object."""
    return frame(kind, json.dumps(content).encode())


def header(data: bytes | bytearray) -> tuple[int, int]:
    """Kind and length of the frame that begins so.  Raises BadFrame."""
    kind, length = _HEADER.unpack_from(data)
    if length > (MAX_DATA if kind in (STDIN, STDOUT, STDERR) else MAX_REQUEST):
        raise BadFrame(f"a frame of {length} bytes (kind {kind})")
    return kind, length


class Frames:
    """Takes what comes in, in whatever pieces, and gives whole frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """The frames that are whole now, each as (kind, content).  Raises BadFrame."""
        self._buffer += data
        while len(self._buffer) >= HEADER_SIZE:
            kind, length = header(self._buffer)
            end = HEADER_SIZE + length
            if len(self._buffer) < end:
                return
            content = bytes(self._buffer[HEADER_SIZE:end])
            del self._buffer[:end]
            yield kind, content


def parsed(content: bytes) -> dict[str, Any]:
    """The JSON object of a frame.  Raises BadFrame."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BadFrame(f"a frame that is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise BadFrame("a frame with JSON that is no object")
    return found


def number(content: dict[str, Any], name: str, otherwise: int = 0) -> int:
    """The number that the object has under a name.  Raises BadFrame."""
    found = content.get(name)
    if found is None:
        return otherwise
    if not isinstance(found, int | float):
        raise BadFrame(f"{name} is no number")
    return int(found)
