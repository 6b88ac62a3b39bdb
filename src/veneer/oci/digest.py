"""Digests, and the four things a digest can name.

The four are distinct types so that the type checker refuses one where another is meant:
a `BlobDigest` names bytes as stored and sent, a `DiffID` one layer's uncompressed tar, a `ChainID` the
file system after a layer, an `ImageID` an image config.
Source: OCI image-spec descriptor.md (Digests), config.md (Layer DiffID, Layer ChainID, ImageID).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from veneer.errors import InvalidRequest

_HEX_LENGTH = {"sha256": 64, "sha512": 128}
_HEX = frozenset("0123456789abcdef")


_SMALL = 64 << 10
"""Bytes up to which hashing takes no longer than loading OpenSSL does."""


class InvalidDigest(InvalidRequest):
    """A text that is no digest."""


class Digest(str):
    """`algorithm:hex`, lower case, of full length.  `parse` and `of` are the only ways in."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: object) -> Digest:
        """Read a digest, strictly.  Raises InvalidDigest for anything a registry may not send."""
        if isinstance(text, Digest):
            return text
        if isinstance(text, str) and len(text) <= 136:
            algorithm, colon, hexadecimal = text.partition(":")
            if colon and len(hexadecimal) == _HEX_LENGTH.get(algorithm, -1) and _HEX.issuperset(hexadecimal):
                return cls(text)
        raise InvalidDigest(f"invalid digest: {str(text)[:160]!r}: want sha256: and 64 lower-case hex digits")

    @classmethod
    def of(cls, data: bytes | bytearray | memoryview, algorithm: str = "sha256") -> Digest:
        """The digest of `data`."""
        if algorithm == "sha256" and len(data) <= _SMALL:
            return cls("sha256:" + _small_sha256(data))
        import hashlib

        return cls(f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}")

    @classmethod
    def sha256(cls, hexadecimal: str) -> Digest:
        """The digest a finished hashlib.sha256 gives as `hexdigest()`."""
        return cls.parse("sha256:" + hexadecimal)

    @property
    def algorithm(self) -> str:
        return self.partition(":")[0]

    @property
    def hex(self) -> str:
        return self.partition(":")[2]

    @property
    def short(self) -> str:
        """The first 12 hex digits, as docker prints IDs."""
        start = self.find(":") + 1
        return self[start : start + 12]


_SHA256 = "_sha2" if sys.version_info >= (3, 12) else "_sha256"
"""Looking for a module that is not there takes longer than hashing."""


def _small_sha256(data: bytes | bytearray | memoryview) -> str:
    """The SHA-256 of a few bytes, in hex, by Python's own code where it has it, as `random` does.

    `hashlib` loads OpenSSL, and that takes longer than an image config takes to read and hash.
    """
    try:
        module: Any = __import__(_SHA256)
    except ImportError:
        import hashlib as module
    return str(module.sha256(data).hexdigest())


TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NewType

    BlobDigest = NewType("BlobDigest", Digest)
    DiffID = NewType("DiffID", Digest)
    ChainID = NewType("ChainID", Digest)
    ImageID = NewType("ImageID", Digest)
else:

    def _itself(digest):
        return digest

    BlobDigest = DiffID = ChainID = ImageID = _itself


def chain_id(parent: ChainID | None, diff_id: DiffID) -> ChainID:
    """Name the file system that results from applying `diff_id` on top of `parent` (None: on nothing)."""
    if parent is None:
        return ChainID(Digest(diff_id))
    return ChainID(Digest.of(f"{parent} {diff_id}".encode()))


def chain_ids(diff_ids: Sequence[DiffID]) -> list[ChainID]:
    """Name the file system after each layer, base first; same length as `diff_ids`.

    chain[0] is diff_ids[0]; chain[n] hashes "chain[n-1] diff_ids[n]" with one space, prefixes kept.
    Source: OCI image-spec config.md, Layer ChainID.
    """
    chain: list[ChainID] = []
    for diff_id in diff_ids:
        chain.append(chain_id(chain[-1] if chain else None, diff_id))
    return chain
