"""How much of everything one layer may ask for.  Hostile input meets these before it meets the machine."""

from __future__ import annotations

from veneer.values import Value


class Limits(Value):
    """Bounds on one layer.  The defaults are far above anything an honest image has.

    `name`, `component` (bytes) and `depth` (components) bound a path, as Linux does.  `size` bounds the
    uncompressed stream in bytes; beyond `ratio_grace` bytes it may also not exceed `ratio` times the
    compressed bytes it came from (gzip cannot exceed 1032).  `holes` bounds the zeros that sparse files
    claim, all together: they cost no bytes in the stream but must be hashed.  `remembered` bounds what has to
    be kept in memory until the end: directories without an entry, and hard links whose target is not there yet.
    `rounds` bounds how often those links are gone through, and `steps` the looking up that members may cause beyond
    their own: through symlinks of the layer, and in what is remembered when a directory is replaced.
    """

    __slots__ = ()
    name: int = 4096
    component: int = 255
    depth: int = 255
    entries: int = 2_000_000
    pax: int = 1 << 20
    xattrs: int = 65536
    size: int = 1 << 40
    ratio: int = 2000
    ratio_grace: int = 1 << 30
    holes: int = 16 << 30
    segments: int = 200_000
    remembered: int = 250_000
    rounds: int = 16
    steps: int = 50_000_000
