"""`veneer network ...`."""

from __future__ import annotations

import contextlib

from veneer.cli.app import App
from veneer.cli.command import INSPECT_FORMAT, LIST_FORMAT, Command
from veneer.cli.flags import Option, Parsed
from veneer.cli.listing import Column, Listing
from veneer.errors import NotFound, VeneerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from veneer.store.networks import Network

WARNING = (
    "WARNING! This will remove all custom networks not used by at least one container.\n"
    "Are you sure you want to continue?"
)


def _pairs(words: Iterable[str]) -> dict[str, str]:
    """`key=value` words; one without a value has an empty one."""
    return {key: value for key, _, value in (word.partition("=") for word in words)}


def _split(given: Parsed, key: str) -> list[str]:
    """The values of an option that also takes several in one word, with commas."""
    return [part for word in given.texts(key) for part in word.split(",") if part]


def run_create(app: App, given: Parsed) -> None:
    from veneer.store.subnets import configuration

    ipam = configuration(
        _split(given, "subnet"), _split(given, "ip_range"), _split(given, "gateway"), _pairs(given.texts("aux_address"))
    )
    made = app.engine.networks.create(
        given.arguments[0], driver=given.text("driver") or "bridge", ipam=ipam, internal=given.flag("internal"),
        ipv6=given.flag("ipv6"), attachable=given.flag("attachable"), labels=_pairs(given.texts("label")),
        options=_pairs(given.texts("opt")),
    )  # fmt: skip
    app.line(made.id)


def listing(*, truncate: bool) -> Listing[Network]:
    """The columns of a list of networks."""

    def labels(network: Network) -> str:
        found = network.document.get("Labels") or {}
        return ",".join(f"{key}={found[key]}" for key in sorted(found))

    def flag(key: str) -> Callable[[Network], str]:
        return lambda network: "true" if network.document.get(key) else "false"

    return Listing("*formatter.networkContext", (
        Column("ID", "NETWORK ID", lambda network: network.id[:12] if truncate else network.id),
        Column("Name", "NAME", lambda network: network.name),
        Column("Driver", "DRIVER", lambda network: network.driver),
        Column("Scope", "SCOPE", lambda network: "local"),
        Column("IPv6", "IPV6", flag("EnableIPv6")),
        Column("Internal", "INTERNAL", flag("Internal")),
        Column("Labels", "LABELS", labels),
        Column("CreatedAt", "CREATED AT", lambda network: _created(network)),
    ))  # fmt: skip


def _created(network: Network) -> str:
    import datetime

    moment = datetime.datetime.fromtimestamp(network.created, datetime.UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S.%f} +0000 UTC"


def run_list(app: App, given: Parsed) -> None:
    networks = app.engine.networks.list(given.filters("filter"))
    kind = listing(truncate=not given.flag("no_trunc"))
    format = given.text("format")
    if given.flag("quiet") and format in ("", "table"):
        app.write("".join(kind.columns["ID"].text(network) + "\n" for network in networks))
        return
    kind.show(app, networks, format, ("ID", "Name", "Driver", "Scope"))


def _typed(document: dict[str, Any]) -> Any:
    from veneer.cli.gofunctions import GoMap
    from veneer.cli.gotemplate import Struct

    maps = {key: GoMap(document[key]) for key in ("Containers", "Options", "Labels")}
    return Struct(document | maps, {"ID": document["Id"]})


def run_inspect(app: App, given: Parsed) -> int:
    from veneer.cli.commands.inspect import show_all

    def find(name: str) -> dict[str, Any]:
        with _named(name):
            return app.engine.networks.inspect(name)

    return show_all(app, given.arguments, given.text("format"), find, _typed)


@contextlib.contextmanager
def _named(name: str) -> Iterator[None]:
    """docker's client has words of its own for a network that it looks up."""
    try:
        yield
    except NotFound as error:
        raise NotFound(f"No such network: {name}", hint=error.hint) from None


def run_remove(app: App, given: Parsed) -> int:
    from veneer.cli.main import say

    force, code = given.flag("force"), 0
    for name in given.arguments:
        try:
            with _named(name):
                app.engine.networks.remove(name)
        except VeneerError as error:
            if not (force and isinstance(error, NotFound)):
                say(app, error)
                code = max(code, error.exit_code)
        else:
            app.line(name)
            app.out.flush()
    return code


def run_prune(app: App, given: Parsed) -> None:
    if not given.flag("force") and not app.confirm(WARNING):
        return
    names = app.engine.networks.prune(given.filters("filter"))
    if names:
        app.line("Deleted Networks:")
        for name in names:
            app.line(name)
        app.line("")
    tell_cleared(app, given.filters("filter"))


def tell_cleared(app: App, filters: Mapping[str, Sequence[str]], *, dry_run: bool = False) -> None:
    """Take from the host what networks nobody is on have there, unless the user has chosen among networks.

    It is said on standard error: docker's list of networks is what scripts read.
    """
    if not filters:
        for line in app.engine.networks.clear_host(dry_run=dry_run):
            app.warn(f"{'would be taken' if dry_run else 'taken'} off the host: {line}")


def run_connect(app: App, given: Parsed) -> None:
    addresses = {"IPv4Address": given.text("ip"), "IPv6Address": given.text("ip6")}
    app.engine.networks.connect(
        given.arguments[0], given.arguments[1],
        {
            "IPAMConfig": {key: address for key, address in addresses.items() if address},
            "Aliases": _split(given, "alias") or None,
            "Links": given.texts("link") or None,
            "DriverOpts": _pairs(_split(given, "driver_opt")),
        },
    )  # fmt: skip


def run_disconnect(app: App, given: Parsed) -> None:
    app.engine.networks.disconnect(given.arguments[0], given.arguments[1], force=given.flag("force"))


CREATE_NETWORK = Command(
    run_create,
    "Create a network",
    "[OPTIONS] NETWORK",
    least=1,
    most=1,
    options=(
        Option("attachable", "bool", "Enable manual container attachment"),
        Option("aux-address", "map", "Auxiliary IPv4 or IPv6 addresses used by Network driver", many=True,
               shown_default="map[]"),
        Option("d,driver", "string", "Driver to manage the Network", shown_default='"bridge"'),
        Option("gateway", "strings", "IPv4 or IPv6 Gateway for the master subnet", many=True),
        Option("internal", "bool", "Restrict external access to the network"),
        Option("ip-range", "strings", "Allocate container ip from a sub-range", many=True),
        Option("ipv6", "bool", "Enable or disable IPv6 address assignment"),
        Option("label", "list", "Set metadata on a network", many=True),
        Option("o,opt", "map", "Set driver specific options", many=True, shown_default="map[]"),
        Option("subnet", "strings", "Subnet in CIDR format that represents a network segment", many=True),
    ),
    only_looks=True,
)  # fmt: skip
LIST_NETWORKS = Command(
    run_list,
    "List networks",
    "[OPTIONS]",
    names=("network ls", "network list"),
    options=(
        Option("f,filter", "filter", 'Provide filter values (e.g. "driver=bridge")', many=True),
        Option("format", "string", LIST_FORMAT),
        Option("no-trunc", "bool", "Do not truncate the output"),
        Option("q,quiet", "bool", "Only display network IDs"),
    ),
    only_looks=True,
)
INSPECT_NETWORK = Command(
    run_inspect,
    "Display detailed information on one or more networks",
    "[OPTIONS] NETWORK [NETWORK...]",
    least=1,
    most=None,
    options=(
        Option("f,format", "string", INSPECT_FORMAT),
        Option("v,verbose", "bool", "Verbose output for diagnostics"),
    ),
    only_looks=True,
)
REMOVE_NETWORK = Command(
    run_remove,
    "Remove one or more networks",
    "NETWORK [NETWORK...]",
    least=1,
    most=None,
    names=("network rm", "network remove"),
    options=(Option("f,force", "bool", "Do not error if the network does not exist"),),
    only_looks=True,
)
PRUNE_NETWORKS = Command(
    run_prune,
    "Remove all unused networks",
    "[OPTIONS]",
    options=(
        Option("filter", "filter", 'Provide filter values (e.g. "until=<timestamp>")', many=True),
        Option("f,force", "bool", "Do not prompt for confirmation"),
    ),
    only_looks=True,
)
CONNECT_NETWORK = Command(
    run_connect,
    "Connect a container to a network",
    "[OPTIONS] NETWORK CONTAINER",
    least=2,
    most=2,
    options=(
        Option("alias", "strings", "Add network-scoped alias for the container", many=True),
        Option("driver-opt", "strings", "driver options for the network", many=True),
        Option("ip", "string", 'IPv4 address (e.g., "172.30.100.104")'),
        Option("ip6", "string", 'IPv6 address (e.g., "2001:db8::33")'),
        Option("link", "list", "Add link to another container", many=True, hidden=True),
    ),
    only_looks=True,
)
DISCONNECT_NETWORK = Command(
    run_disconnect,
    "Disconnect a container from a network",
    "[OPTIONS] NETWORK CONTAINER",
    least=2,
    most=2,
    options=(Option("f,force", "bool", "Force the container to disconnect from a network"),),
    only_looks=True,
)
