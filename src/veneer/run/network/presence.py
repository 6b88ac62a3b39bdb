"""How long a network's bridge is on the host: from the first container on it to the last.

Whoever joins a network holds its lock with others who do, and makes the bridge if there is none; who leaves holds it
alone, and takes the bridge along if nobody else's cable is in it.  The rules of a data root stay, for those who come
next: nft takes longer to load them than all the rest.  They go when somebody prunes.  Locks: `network-<id>` and, over
all networks of the root, `networks`, in the data root's lock file; decision: docs/decisions/0015-networks.md.
"""

from __future__ import annotations

import _thread
import contextlib
import os

from veneer.run.network import bridge, netlink
from veneer.store.locks import locked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

EVERY = "networks"
"""The lock of who may have a bridge or rules on the host, over all networks of a data root."""
_LEAVING = "veneer: leaving"
"""Said of a cable that is about to go: two who leave at once would each take the other's for one that stays."""


def _key(network: str) -> str:
    return f"network-{network}"


@contextlib.contextmanager
def joining(root: str, network: str) -> Iterator[None]:
    """In this `with` nobody takes the network's bridge or the root's rules away."""
    os.makedirs(root, exist_ok=True)
    with locked(f"{root}/locks", [_key(network), EVERY], shared=True):
        yield


def leave(root: str, networks: Sequence[Mapping[str, Any]], *, wait: bool) -> None:
    """Take a container's cables away, and the bridges of those `networks` of its plan that nobody else is on.

    Unless told to `wait` it goes on in a thread, and is done by the kernel also when this process ends meanwhile.
    """
    held = contextlib.ExitStack()
    try:
        held.enter_context(locked(f"{root}/locks", [_key(network["id"]) for network in networks]))
        doomed = _left(networks)
        if not doomed:
            held.close()
    except BaseException:
        held.close()
        raise
    devices = [*(network["host_device"] for network in networks), *doomed]

    def take_away() -> None:
        with held:
            bridge.take_away(devices)

    if wait:
        take_away()
    else:
        _thread.start_new_thread(take_away, ())


def _left(networks: Sequence[Mapping[str, Any]]) -> list[str]:
    """The bridges that no cable is in but those which are leaving, ours included."""
    found = []
    with netlink.RouteNetlink() as kernel:
        for network in networks:
            cable = kernel.link(network["host_device"])
            if cable is not None:
                kernel.set_alias(cable.index, _LEAVING)
        for network in networks:
            link = kernel.link(network["bridge"])
            if link is not None and all(port.alias == _LEAVING for port in kernel.ports(link.index)):
                found.append(network["bridge"])
    return found
