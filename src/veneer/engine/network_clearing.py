"""What networks that nobody is on have on the host, taken away: bridges, and the rules of the data root.

A bridge goes with the last container on its network; what a killed one left, and the rules, go here.  So does what data
roots have left that were deleted: see veneer.run.network.hosted.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from veneer.run.network.hosted import Hosted
    from veneer.store.networks import Network
    from veneer.store.store import Store


def clear(store: Store, is_used: Callable[[Network], bool], *, dry_run: bool) -> Sequence[str]:
    """Do so, or with `dry_run` only tell; a line for each thing.  Nothing for a plain user, who has nothing there."""
    from veneer.drivers.userns import privileged

    if not privileged():
        return []
    return [*_own(store, is_used, dry_run=dry_run), *_of_the_dead(dry_run=dry_run)]


def _own(store: Store, is_used: Callable[[Network], bool], *, dry_run: bool) -> Iterator[str]:
    from veneer.run.network import bridge, firewall, hosted, presence

    with store.locked(presence.EVERY):
        root = os.path.realpath(store.config.root_name)
        there = hosted.of_root(root, store.networks.table)
        networks = {each.bridge: each for each in store.networks.list() if each.bridge}
        used = {name for name, network in networks.items() if is_used(network)}
        idle = there.replaced(
            bridges=tuple(name for name in there.bridges if name not in used), table="" if used else there.table
        )
        if not dry_run and idle.table:
            idle.take_away()
        elif not dry_run:
            for name in idle.bridges:
                if name in networks:
                    firewall.forget(there.table, entry(networks[name]))
            bridge.take_away(idle.bridges)
    yield from _lines(idle)


def entry(network: Network) -> dict[str, object]:
    """A network as veneer.run.network.firewall forgets it."""
    found: dict[str, object] = {"bridge": network.bridge, "internal": network.document.get("Internal")}
    for pool in network.pools:
        found["subnet6" if pool.version == 6 else "subnet"] = pool.subnet
    return found


def _of_the_dead(*, dry_run: bool) -> Iterator[str]:
    from veneer.run.network import hosted

    for left in hosted.of_the_dead():
        if not dry_run:
            left.take_away()
        yield from (f"{line} of {left.root}, which is no more" for line in _lines(left))


def _lines(there: Hosted) -> Iterator[str]:
    yield from (f"bridge {name}" for name in there.bridges)
    if there.table:
        yield f"firewall table {there.table}"
