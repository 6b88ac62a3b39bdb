"""`veneer info`, `veneer system info`."""

from __future__ import annotations

from typing import Any

from veneer.cli.app import App
from veneer.cli.command import INSPECT_FORMAT, Command
from veneer.cli.commands.inspect import show_one
from veneer.cli.flags import Option, Parsed
from veneer.cli.units import memory_size


def run(app: App, given: Parsed) -> None:
    from veneer.drivers.userns import NoNamespace

    refused = None
    try:
        app.enter_namespace()
    except NoNamespace as error:  # which is what somebody may want to know who asks
        refused = error
    facts = app.engine.system.info()
    if refused is not None:
        facts["Warnings"].append(f"{refused.message}: {refused.hint}")
    if given.text("format"):
        show_one(app, given.text("format"), facts)
        return
    for line in lines(facts):
        app.line(line)
    for warning in facts["Warnings"]:
        app.warn(f"WARNING: {warning}")


def lines(facts: dict[str, Any]) -> list[str]:
    """The facts as docker lays them out, the settings and where each came from below them."""
    registries = facts["RegistryConfig"]
    shown = [
        f"Containers: {facts['Containers']}",
        f" Running: {facts['ContainersRunning']}",
        f" Paused: {facts['ContainersPaused']}",
        f" Stopped: {facts['ContainersStopped']}",
        f"Images: {facts['Images']}",
        f"Layers: {facts['Layers']}",
        f"Server Version: {facts['ServerVersion']}",
        f"Storage Driver: {facts['Driver'] or 'none'}",
        *(f" {name}: {value}" if value else f" {name}" for name, value in facts["DriverStatus"]),
        f"Default Runtime: {facts['DefaultRuntime'] or 'none'} ({facts['RuntimeReason']})",
        *_rootless(facts),
        f"Kernel Version: {facts['KernelVersion']}",
        f"Operating System: {facts['OperatingSystem']}",
        f"OSType: {facts['OSType']}",
        f"Architecture: {facts['Architecture']}",
        f"CPUs: {facts['NCPU']}",
        f"Total Memory: {memory_size(facts['MemTotal'])}",
        f"Name: {facts['Name']}",
        f"Docker Root Dir: {facts['DockerRootDir']}",
        f"Python: {facts['PythonVersion']} ({facts['PythonExecutable']})",
        f"SQLite: {facts['SQLiteVersion']}",
    ]
    if registries["InsecureRegistries"]:
        shown += ["Insecure Registries:", *(f" {host}" for host in registries["InsecureRegistries"])]
    if registries["Mirrors"]:
        shown += ["Registry Mirrors:"]
        shown += [f" {host}: {', '.join(urls)}" for host, urls in registries["Mirrors"].items()]
    shown.append("Settings:")
    for name, setting in facts["Settings"].items():
        value = setting["Value"]
        text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        shown.append(f" {name}: {text or '-'} ({setting['Origin']})")
    return shown


def _rootless(facts: dict[str, Any]) -> list[str]:
    if not facts["Rootless"]:
        return ["Rootless: false"]
    shown = ["Security Options:", *(f" {each.removeprefix('name=')}" for each in facts["SecurityOptions"])]
    shown += ["Rootless: true"]
    for name, ids in (("Uids", facts["UidMap"]), ("Gids", facts["GidMap"])):
        if ids:
            mapped = (f"{each['ContainerID']} is {each['HostID']} ({each['Size']})" for each in ids)
            shown.append(f" {name}: {', '.join(mapped)}")
    return [*shown, f" Reason: {facts['RootlessReason']}"]


INFO = Command(
    run,
    "Display system-wide information",
    "[OPTIONS]",
    names=("system info", "info"),
    options=(Option("f,format", "string", INSPECT_FORMAT),),
    only_looks=True,  # whatever keeps it from its namespace, it goes on and tells
)
