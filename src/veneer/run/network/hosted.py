"""What of networks is on the host, of one data root or of data roots that are no more; taken away.

Of another data root only what tells that root, only where nothing is at its path any more, and only what nobody is on:
were the root merely out of our sight, its next container would make all of it anew.
"""

from __future__ import annotations

import os
import re

from veneer.run.network import bridge, firewall, netlink, owners
from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_GIVEN_NAME = re.compile(r"vb-[0-9a-f]{12}|veneer-[0-9a-f]{8}|veneer0")
"""Names of bridges that nobody chose."""


class Hosted(Value):
    """Bridges of a data root and, "" if it is none of those meant, its table."""

    root: str
    bridges: tuple[str, ...]
    table: str

    def take_away(self) -> None:
        if self.table:
            firewall.forget_all(self.table)
        bridge.take_away(self.bridges)


def of_root(root: str, table: str) -> Hosted:
    """What there is of a data root."""
    links = _links()
    known = firewall.admitted(table)
    ours = {name for name, link in links.items() if owners.of_alias(link.alias) == root}
    ours.update(name for name in known or () if _is_ours(links.get(name), root))
    return Hosted(root, tuple(sorted(ours)), "" if known is None else table)


def of_the_dead() -> Iterator[Hosted]:
    """What nobody is on of data roots that are no more, each root once."""
    links = _links()
    tables = dict(_owned_tables())
    told = {root for link in links.values() if (root := owners.of_alias(link.alias)) is not None}
    for root in sorted(told | set(tables)):
        if not os.path.lexists(root):
            there = of_root(root, tables.get(root, ""))
            idle = tuple(name for name in there.bridges if not _has_ports(links[name], links))
            table = there.table if idle == there.bridges else ""
            if idle or table:
                yield Hosted(root, idle, table)


def _links() -> dict[str, netlink.Link]:
    with netlink.RouteNetlink() as kernel:
        return {link.name: link for link in kernel.links()}


def _has_ports(link: netlink.Link, links: Mapping[str, netlink.Link]) -> bool:
    return any(each.master == link.index for each in links.values())


def _is_ours(link: netlink.Link | None, root: str) -> bool:
    """Whether a device that a table of a root knows is that root's; a path may be too long for an alias."""
    if link is None:
        return False
    return owners.of_alias(link.alias) == root or (not link.alias and _GIVEN_NAME.fullmatch(link.name) is not None)


def _owned_tables() -> Iterator[tuple[str, str]]:
    """Tables that tell whose they are: the data root and the table."""
    for table in firewall.tables():
        if table.startswith(owners.TABLE_PREFIX):
            root = owners.of_chain(table, firewall.comments(table, owners.CHAIN))
            if root is not None:
                yield root, table
