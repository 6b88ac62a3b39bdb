"""How many bytes a compressed stream may become."""

from __future__ import annotations

from veneer.changeset.compression import BadCompression, Source, decompressed
from veneer.changeset.limits import Limits
from veneer.changeset.tar import BadArchive


class Counted:
    """The compressed bytes, counted."""

    def __init__(self, source: Source) -> None:
        self._readinto = source.readinto
        self.total = 0

    def readinto(self, buffer: memoryview | bytearray, /) -> int:
        count = self._readinto(buffer)
        self.total += count
        return count


class Bounded:
    """The plain bytes, as long as they stay in proportion to the compressed ones."""

    def __init__(self, plain: Source, counted: Counted, limits: Limits, what: str) -> None:
        self._readinto = plain.readinto
        self._counted = counted
        self._limits = limits
        self._what = what
        self._total = 0

    def readinto(self, buffer: memoryview | bytearray, /) -> int:
        count = self._readinto(buffer)
        self._total += count
        if self._total > self._limits.ratio_grace and self._total > self._limits.ratio * self._counted.total:
            raise BadArchive(
                f"{self._what}: {self._counted.total} compressed bytes became more than {self._total}, "
                f"over {self._limits.ratio} times as many: a decompression bomb"
            )
        return count


class BoundedPlain:
    """The plain bytes of a compressed stream that is no layer yet; its errors name `what`.

    Raises BadArchive for a decompression bomb, BadCompression for damage.
    """

    def __init__(self, source: Source, what: str, limits: Limits | None = None) -> None:
        counted = Counted(source)
        self._plain = Bounded(decompressed(counted), counted, limits or Limits(), what)
        self._what = what

    def readinto(self, buffer: memoryview | bytearray, /) -> int:
        try:
            return self._plain.readinto(buffer)
        except BadCompression as error:
            raise BadCompression(f"{self._what}: {error.message}", hint=error.hint) from error
