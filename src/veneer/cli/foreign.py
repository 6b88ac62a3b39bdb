"""Another engine's data root in a command: what of it is damaged is told, and the rest is shown."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.cli.app import App
    from veneer.distribution.foreign.root import ForeignRoot


def foreign_root(app: App) -> ForeignRoot | None:
    """The data root, if it is another engine's."""
    root = app.engine.foreign
    if root is not None:
        tell_faults(app, root)
    return root


def tell_faults(app: App, root: ForeignRoot) -> None:
    """Say what there is besides and cannot be told, and what is not whole."""
    for fault in root.faults:
        app.warn(f"Warning: left out: {fault}")
    for fact in root.damage:
        app.warn(f"Warning: {fact}")
    if root.is_empty and root.elsewhere:
        app.warn(f"Warning: {root.path} has no images: {root.elsewhere}")
