"""What `image inspect` shows: Docker's object, key for key, from a config and the facts of the store.

Shape and key order are those of the Engine API up to 1.43, which every client still reads.
Source: moby api/types ImageInspect, container.Config (field order and which fields are left out when empty).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from veneer.oci import timestamp
from veneer.oci.image import ImageConfig

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_RUN_FIELDS: tuple[tuple[str, Any], ...] = (
    ("Hostname", ""), ("Domainname", ""), ("User", ""), ("AttachStdin", False), ("AttachStdout", False),
    ("AttachStderr", False), ("ExposedPorts", ...), ("Tty", False), ("OpenStdin", False), ("StdinOnce", False),
    ("Env", None), ("Cmd", None), ("Healthcheck", ...), ("ArgsEscaped", ...), ("Image", ""), ("Volumes", None),
    ("WorkingDir", ""), ("Entrypoint", None), ("NetworkDisabled", ...), ("MacAddress", ...), ("OnBuild", None),
    ("Labels", None), ("StopSignal", ...), ("StopTimeout", ...), ("Shell", ...),
)  # fmt: skip
"""Each field of a run configuration in Docker's order with what stands for "not set"; ... means: left out."""


def run_config(found: object) -> dict[str, Any] | None:
    """A `config` or `container_config` object with Docker's order and zero values; None stays None."""
    if not isinstance(found, Mapping):
        return None
    shown: dict[str, Any] = {}
    for name, empty in _RUN_FIELDS:
        value = found.get(name)
        if value is not None and (value or empty is not ...):
            shown[name] = value
        elif empty is not ...:
            shown[name] = empty
    for name, value in found.items():
        shown.setdefault(name, value)
    return shown


def inspection(
    config: ImageConfig,
    *,
    tags: Sequence[str],
    digests: Sequence[str],
    parent: str,
    size: int,
    driver: str,
    driver_data: Mapping[str, str] | None,
    last_tagged: float,
) -> dict[str, Any]:
    """Docker's inspect object of one image; `size` in bytes, `last_tagged` seconds since 1970 (0: never)."""
    document = config.document

    def text(key: str) -> str:
        value = document.get(key)
        return value if isinstance(value, str) else ""

    shown: dict[str, Any] = {
        "Id": str(config.image_id),
        "RepoTags": list(tags),
        "RepoDigests": list(digests),
        "Parent": parent,
        "Comment": config.history[-1].comment if config.history else text("comment"),
        "Created": config.created or timestamp.ZERO,
        "Container": text("container"),
        "ContainerConfig": run_config(document.get("container_config") or {}),
        "DockerVersion": text("docker_version"),
        "Author": text("author"),
        "Config": run_config(document.get("config")),
        "Architecture": text("architecture"),
    }
    if text("variant"):
        shown["Variant"] = text("variant")
    shown["Os"] = text("os")
    if text("os.version"):
        shown["OsVersion"] = text("os.version")
    shown["Size"] = size
    shown["VirtualSize"] = size
    shown["GraphDriver"] = {"Data": dict(driver_data) if driver_data is not None else None, "Name": driver}
    shown["RootFS"] = {"Type": "layers"}
    if config.diff_ids:
        shown["RootFS"]["Layers"] = [str(diff_id) for diff_id in config.diff_ids]
    shown["Metadata"] = {"LastTagTime": timestamp.render(last_tagged or None)}
    return shown
