"""A CONTAINER'S NETWORK: what a plan says, made and taken away.

A plan is made by veneer.engine.networks and is plain JSON; `setup` and `teardown` are called by whoever watches the
container (its monitor), with the ports it holds (ports.hold).  Nothing here needs a daemon: bridges and rules belong to
the host, everything else to the namespace and to the monitor, and goes with them.

A plan has `mode`: "none", "host", "container" (another container's), "bridge" or "slirp" (a way out for a plain user);
`id`, `name`, `root` (the data root), `hostname`; and for the last two
  `networks`: each {name, id, driver, bridge, device, host_device, subnet, address, gateway, mac, mtu, endpoint, ...}
  `ports`: see ports.hold; `exposed`: ["80/tcp", ...]; `table`: the name of our nftables table;
  `servers`: whom the container's own name server passes questions on to, None if it has none.
Decision: docs/decisions/0015-networks.md.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from socket import socket
    from typing import Any

    from veneer.run.network.failures import NetworkFailed as NetworkFailed
    from veneer.run.network.failures import NoNetwork as NoNetwork
    from veneer.run.network.slirp import DEVICE as DEVICE
    from veneer.run.network.slirp import NAMESPACE as NAMESPACE
    from veneer.run.network.slirp import PROGRAM as PROGRAM
    from veneer.run.network.slirp import Connection as Connection
    from veneer.run.network.slirp import connecting as connecting
    from veneer.run.network.slirp import program as program
    from veneer.run.network.slirp_addresses import DNS as DNS


def __getattr__(name: str) -> Any:
    # What RUN steps use of slirp; a monitor that has no use for it does not load it.
    if name in ("NoNetwork", "NetworkFailed"):
        from veneer.run.network import failures

        return getattr(failures, name)
    if name == "DNS":
        from veneer.run.network import slirp_addresses

        return slirp_addresses.DNS
    if name in ("DEVICE", "NAMESPACE", "PROGRAM", "Connection", "connecting", "program"):
        from veneer.run.network import slirp

        return getattr(slirp, name)
    raise AttributeError(name)


def setup(plan: dict[str, Any], netns_path: str, folder: str | Path, sockets: Sequence[socket] = ()) -> dict[str, Any]:
    """Give the namespace at `netns_path` the network of `plan`: {"Networks", "Ports", "SandboxID", "SandboxKey"}.

    `folder` is the container's, `sockets` what ports.hold gave.  What was made is taken away again if it fails; the
    plan is kept in `folder` for whoever has to clean up after a killed monitor.  Raises NetworkFailed, NoNetwork,
    PortTaken.
    """
    from veneer.run.network import connection

    return connection.setup(plan, netns_path, folder, sockets)


def teardown(plan: dict[str, Any], netns_path: str, folder: str | Path) -> None:
    """Take away what `setup` made on the host and stop what it started; nothing where that is done already.

    `netns_path` may be "" where the namespace is gone.
    """
    from veneer.run.network import connection

    connection.teardown(plan, folder)
