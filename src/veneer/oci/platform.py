"""Platforms: written `os/architecture[/variant]`, compared as containerd compares them."""

from __future__ import annotations

import functools
import os

from veneer.errors import InvalidRequest
from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ARCHITECTURES = {
    "x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "arm64/v8": "arm64", "i386": "386", "i486": "386",
    "i586": "386", "i686": "386", "armhf": "arm", "armel": "arm", "armv6l": "arm", "armv7l": "arm", "armv8l": "arm",
}  # fmt: skip
_LEVELS = frozenset("123456789")  # not isdigit(): that takes superscripts and thousands of digits too
_VARIANT_OF = {"armhf": "v7", "armel": "v6", "armv6l": "v6", "armv7l": "v7", "armv8l": "v7"}
_KNOWN = frozenset(
    ["386", "amd64", "amd64p32", "arm", "armbe", "arm64", "arm64be", "loong64", "mips", "mipsle", "mips64", "mips64le",
     "mips64p32", "mips64p32le", "ppc", "ppc64", "ppc64le", "riscv", "riscv64", "s390", "s390x", "sparc", "sparc64",
     "wasm"]
)  # fmt: skip
"""Architectures that may stand alone; behind an operating system any word may.  Source: containerd/platforms."""
_KNOWN_OS = frozenset({"linux", "windows", "darwin", "freebsd", "netbsd", "openbsd", "solaris", "wasip1", "plan9"})


class InvalidPlatform(InvalidRequest):
    """A text that is no platform."""


class Platform(Value):
    """What an image runs on.  `variant` is "" where it says nothing more (arm64 v8, amd64 v1)."""

    __slots__ = ()
    os: str
    architecture: str
    variant: str = ""
    os_version: str = ""

    @classmethod
    def parse(cls, text: str) -> Platform:
        """Read `linux/arm64/v8`, `linux/amd64`, `amd64` or `linux`.  Raises InvalidPlatform."""
        parts = text.strip().split("/")
        allowed = all(part and part.isascii() and part.replace("_", "").replace("-", "").replace(".", "").isalnum()
                      for part in parts)  # fmt: skip
        if not allowed or len(parts) > 3:
            raise InvalidPlatform(f"invalid platform {text[:80]!r}: want os/architecture, as in linux/arm64")
        if len(parts) == 1:
            word = parts[0].lower()
            if word in _KNOWN_OS:
                return cls(word, host().architecture)
            alone = _normal("linux", word, "", "")
            if alone.architecture not in _KNOWN:
                raise InvalidPlatform(f"invalid platform {word!r}: neither an operating system nor an architecture",
                                      hint="want os/architecture, as in linux/arm64")  # fmt: skip
            return alone
        return _normal(parts[0], parts[1], parts[2] if len(parts) > 2 else "", "")

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Platform:
        """Read the `platform` object of a descriptor, or the same keys of an image config."""

        def text(key: str) -> str:
            value = document.get(key)
            return value if isinstance(value, str) else ""

        return _normal(text("os"), text("architecture"), text("variant"), text("os.version"))

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)

    @property
    def unknown(self) -> bool:
        """True for `unknown/unknown`, which attestations carry: nothing that runs."""
        return self.os in ("", "unknown") and self.architecture in ("", "unknown")

    def suitability(self, offered: Platform) -> int | None:
        """How well `offered` runs here: 0 is an exact match, higher is worse, None is not at all.

        Falls back from arm v8 to v7, v6, v5 and from amd64 v3 to v2, v1.  Source: containerd/platforms compare.go.
        """
        if offered.os != self.os or offered.architecture != self.architecture:
            return None
        if offered.variant == self.variant:
            return 0
        default = {"arm": "v7", "amd64": "v1", "arm64": "v8"}.get(self.architecture, "")
        mine, theirs = self.variant or default, offered.variant or default
        if mine == theirs:
            return 0
        falls_back = self.architecture in ("arm", "amd64") and mine[:1] == theirs[:1] == "v"
        if not falls_back or not (mine[1:] in _LEVELS and theirs[1:] in _LEVELS):
            return None
        distance = int(mine[1:]) - int(theirs[1:])
        return distance if distance > 0 else None


def _normal(system: str, architecture: str, variant: str, version: str) -> Platform:
    system, architecture, variant = system.lower(), architecture.lower(), variant.lower()
    if system == "macos":
        system = "darwin"
    variant = variant or _VARIANT_OF.get(architecture, "")
    architecture = _ARCHITECTURES.get(architecture, architecture)
    if (architecture, variant) in {("arm64", "v8"), ("arm64", "8"), ("amd64", "v1")}:
        variant = ""
    if architecture == "arm" and variant in {"5", "6", "7", "8"}:
        variant = "v" + variant
    return Platform(system, architecture, variant, version)


@functools.cache
def host() -> Platform:
    """The platform of this machine."""
    return _normal("linux", os.uname().machine, "", "")
