"""`veneer version`."""

from __future__ import annotations

from veneer.cli.app import App
from veneer.cli.command import INSPECT_FORMAT, Command
from veneer.cli.commands.inspect import show_one
from veneer.cli.flags import Option, Parsed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SHOWN = (
    ("Version", "Version"), ("API version", "ApiVersion"), ("Python version", "PythonVersion"),
    ("OS/Arch", "OSArch"), ("Kernel", "KernelVersion"),
)  # fmt: skip


def run(app: App, given: Parsed) -> None:
    facts = app.engine.system.version()
    # docker has a client and a server; here one program is both, and scripts ask for either.
    document: dict[str, Any] = {"Client": facts, "Server": facts}
    if given.text("format"):
        show_one(app, given.text("format"), document)
        return
    shown = facts | {"OSArch": f"{facts['Os']}/{facts['Arch']}"}
    app.line("veneer:")
    for label, key in _SHOWN:
        app.line(f" {label + ':':<18} {shown[key]}")


VERSION = Command(
    run,
    "Show the veneer version information",
    "[OPTIONS]",
    options=(Option("f,format", "string", INSPECT_FORMAT),),
    only_looks=True,
)
