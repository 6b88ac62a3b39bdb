"""Whose the devices and tables of ours on the host are: each tells the data root it was made for.

A device says it in its alias, a table in a chain that no packet comes to, whose rules are comments: a path may be
longer than one of them.
"""

from __future__ import annotations

import os

from veneer.oci.digest import Digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

TABLE_PREFIX = "veneer_"
CHAIN = "owner"
_SAID = "veneer: "
_PIECE = 100
"""Characters of a path in one comment; nft takes 128."""


def mark(root: str) -> str:
    """Eight hex digits that stand for a data root, by its real path, in names on the host."""
    return Digest.of(os.fsencode(root)).hex[:8]


def alias(root: str) -> str:
    """What a device of a data root says."""
    return _SAID + root


def of_alias(said: str) -> str | None:
    """The data root that a device's alias tells; None if it is not one of ours."""
    return said.removeprefix(_SAID) if said.startswith(_SAID + "/") else None


def chain(root: str) -> str:
    """What a table of a data root has to tell it, in nft's language."""
    import urllib.parse

    quoted = urllib.parse.quote(os.fsencode(root))
    pieces = [quoted[start : start + _PIECE] for start in range(0, len(quoted), _PIECE)]
    return f"chain {CHAIN} {{\n" + "".join(f'        continue comment "{piece}"\n' for piece in pieces) + "    }"


def of_chain(table: str, comments: Sequence[str]) -> str | None:
    """The data root that the comments of a table's chain tell; None if the table's name does not stand for it."""
    import urllib.parse

    root = os.fsdecode(urllib.parse.unquote_to_bytes("".join(comments)))
    return root if table == TABLE_PREFIX + mark(root) else None
