"""`veneer port`, `veneer container port`."""

from __future__ import annotations

from veneer.cli.app import App, Failure
from veneer.cli.command import Command
from veneer.cli.flags import Parsed


def _shown(binding: dict[str, str]) -> str:
    host = binding["HostIp"]
    return f"[{host}]:{binding['HostPort']}" if ":" in host else f"{host}:{binding['HostPort']}"


def run(app: App, given: Parsed) -> None:
    name, *wanted = given.arguments
    container = app.engine.containers.get(name)
    ports = app.engine.networks.settings(container)["Ports"]
    if not wanted:
        for port, bindings in ports.items():
            for binding in bindings or ():
                app.line(f"{port} -> {_shown(binding)}")
        return
    number, _, protocol = wanted[0].partition("/")
    if not (number.isdigit() and int(number) < 1 << 16):
        raise Failure(f"invalid port '{number}': invalid syntax")
    port = f"{int(number)}/{protocol or 'tcp'}"
    if not ports.get(port):
        raise Failure(f"no public port '{port}' published for {name}")
    for binding in ports[port]:
        app.line(_shown(binding))


PORT = Command(
    run,
    "List port mappings or a specific mapping for the container",
    "CONTAINER [PRIVATE_PORT[/PROTO]]",
    least=1,
    most=2,
    names=("container port", "port"),
    only_looks=True,
)
