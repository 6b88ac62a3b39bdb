"""Questions and answers of the domain name system, as far as a resolver has to read and write them itself.

Names are text in lower or upper case as asked, without the last dot.  Source: RFC 1035 4, RFC 6891 (EDNS, passed on).
"""

from __future__ import annotations

import socket
import struct

from veneer.values import Value

A, PTR, AAAA, ANY = 1, 12, 28, 255
IN = 1
REFUSED, SERVER_FAILED, NO_ERROR = 5, 2, 0
TTL_SECONDS = 600
"""How long an answer may be kept; docker's."""
_HEADER = struct.Struct(">HHHHHH")
_RESPONSE, _RECURSION_WANTED, _RECURSION, _TRUNCATED = 0x8000, 0x0100, 0x0080, 0x0200
_MOST_LABELS = 128


class Question(Value):
    """What is asked: `end` is where it ends in the message."""

    name: str
    kind: int
    class_: int
    end: int


def question(message: bytes) -> Question | None:
    """The question of a query; None for what is no query with just one."""
    if len(message) < _HEADER.size:
        return None
    _, flags, questions, *_ = _HEADER.unpack_from(message)
    if flags & 0xF800 or questions != 1:
        return None
    labels: list[bytes] = []
    at = _HEADER.size
    for _ in range(_MOST_LABELS):
        if at >= len(message):
            return None
        length = message[at]
        if length == 0:
            if at + 5 > len(message):
                return None
            kind, class_ = struct.unpack_from(">HH", message, at + 1)
            return Question(b".".join(labels).decode("latin-1"), kind, class_, at + 5)
        if length > 63 or at + 1 + length > len(message):
            return None
        labels.append(message[at + 1 : at + 1 + length])
        at += 1 + length
    return None


def address_answer(query: bytes, asked: Question, addresses: list[str]) -> bytes:
    """The response with those of `addresses` that are of the kind asked for; perhaps none."""
    records = []
    for address in addresses:
        kind, family = (AAAA, socket.AF_INET6) if ":" in address else (A, socket.AF_INET)
        if asked.kind in (kind, ANY):
            records.append(_record(kind, socket.inet_pton(family, address)))
    return _response(query, asked, NO_ERROR, records)


def name_answer(query: bytes, asked: Question, name: str) -> bytes:
    """The response that whoever has the address is called `name`."""
    encoded = b"".join(bytes([len(label)]) + label for each in name.split(".") if (label := each.encode()[:63]))
    return _response(query, asked, NO_ERROR, [_record(PTR, encoded + b"\0")])


def failure(query: bytes, asked: Question, code: int) -> bytes:
    """The response that there is no answer, and why."""
    return _response(query, asked, code, [])


def truncated(response: bytes, limit: int = 512) -> bytes:
    """A response as it may go over UDP: too long, it says so and nothing else, and is asked for again over TCP."""
    if len(response) <= limit:
        return response
    number, flags, questions, *_ = _HEADER.unpack_from(response)
    return _HEADER.pack(number, flags | _TRUNCATED, questions, 0, 0, 0) + _question_bytes(response)


def _question_bytes(message: bytes) -> bytes:
    at = _HEADER.size
    while message[at]:
        at += 1 + message[at]
    return message[_HEADER.size : at + 5]


def reverse_address(name: str) -> str | None:
    """The address that a name under in-addr.arpa or ip6.arpa stands for; None for any other."""
    lower = name.lower()
    if lower.endswith(".in-addr.arpa"):
        parts = lower.removesuffix(".in-addr.arpa").split(".")
        return ".".join(reversed(parts)) if len(parts) == 4 else None
    if lower.endswith(".ip6.arpa"):
        digits = "".join(reversed(lower.removesuffix(".ip6.arpa").split(".")))
        try:
            return socket.inet_ntop(socket.AF_INET6, bytes.fromhex(digits))
        except ValueError:
            return None
    return None


def _record(kind: int, data: bytes) -> bytes:
    # 0xC00C: the name of the question, which is where every question begins.
    return struct.pack(">HHHIH", 0xC00C, kind, IN, TTL_SECONDS, len(data)) + data


def _response(query: bytes, asked: Question, code: int, records: list[bytes]) -> bytes:
    number, flags, *_ = _HEADER.unpack_from(query)
    said = _RESPONSE | _RECURSION | (flags & _RECURSION_WANTED) | code
    head = _HEADER.pack(number, said, 1, len(records), 0, 0)
    return head + query[_HEADER.size : asked.end] + b"".join(records)
