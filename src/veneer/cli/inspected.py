"""What `inspect` shows, as docker's templates see it: structs with fields JSON leaves out, maps without errors.

Source: moby/moby api/types (ImageInspect, ContainerJSON, container.Config, container.HostConfig), client 28.2.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping

from veneer.cli.gofunctions import GoMap, NilMap, NilSlice, Unit
from veneer.cli.gotemplate import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_CONFIG_ABSENT: dict[str, Any] = {
    "ExposedPorts": GoMap(), "Healthcheck": None, "ArgsEscaped": False, "NetworkDisabled": False, "MacAddress": "",
    "StopSignal": "", "StopTimeout": None, "Shell": NilSlice(),
}  # fmt: skip
_MAPS = ("Labels", "ExposedPorts", "Volumes")
_SLICES = ("Env", "Cmd", "Entrypoint", "OnBuild", "Shell")
_IMAGE_ABSENT: dict[str, Any] = {"Variant": "", "OsVersion": "", "Container": "", "ContainerConfig": None}


class GoTime(str):
    """A time that JSON writes as RFC 3339 and a template prints as Go does."""

    def __str__(self) -> str:
        text = str.__str__(self)
        date, _, clock = text.removesuffix("Z").partition("T")
        whole, dot, fraction = clock.partition(".")
        try:
            datetime.datetime.fromisoformat(f"{date}T{whole}")
        except ValueError:
            return text
        fraction = fraction.rstrip("0")
        return f"{date} {whole}{dot if fraction else ''}{fraction} +0000 UTC"


def _config(document: Any) -> Any:
    if not isinstance(document, dict):
        return document
    config = Struct(document, _CONFIG_ABSENT)
    for key in _MAPS:
        if isinstance(config.get(key), dict):
            config[key] = GoMap({name: Unit() if value == {} else value for name, value in config[key].items()})
    for key in _MAPS:
        if config.get(key, ...) is None:
            config[key] = NilMap()
    for key in _SLICES:
        if config.get(key, ...) is None:
            config[key] = NilSlice()
    return config


def typed(document: Mapping[str, Any]) -> Struct:
    """The image's inspect document with the types docker's client gives it."""
    image = Struct(document, _IMAGE_ABSENT | {"ID": document.get("Id", "")})
    for key in ("Config", "ContainerConfig"):
        if key in image:
            image[key] = _config(image[key])
    driver = image.get("GraphDriver")
    if isinstance(driver, dict) and isinstance(driver.get("Data"), dict):
        image["GraphDriver"] = driver | {"Data": GoMap(driver["Data"])}
    metadata = image.get("Metadata")
    if isinstance(metadata, dict) and isinstance(metadata.get("LastTagTime"), str):
        image["Metadata"] = metadata | {"LastTagTime": GoTime(metadata["LastTagTime"])}
    return image


_CONTAINER_MAPS = {
    "HostConfig": ("PortBindings", "Sysctls", "Tmpfs", "StorageOpt", "Annotations"),
    "NetworkSettings": ("Ports", "Networks"),
}  # fmt: skip
_HOST_SLICES = (
    "Binds", "VolumesFrom", "CapAdd", "CapDrop", "Dns", "DnsOptions", "DnsSearch", "ExtraHosts", "GroupAdd", "Links",
    "SecurityOpt", "Devices", "DeviceCgroupRules", "Ulimits", "MaskedPaths", "ReadonlyPaths",
)  # fmt: skip
_HOST_ABSENT: dict[str, Any] = {
    "Init": None, "Mounts": NilSlice(), "Tmpfs": NilMap(), "Sysctls": NilMap(), "StorageOpt": NilMap(),
    "Annotations": NilMap(),
}  # fmt: skip


def typed_container(document: Mapping[str, Any]) -> Struct:
    """The container's inspect document with the types docker's client gives it."""
    container = Struct(document, {"ID": document["Id"], "SizeRw": None, "SizeRootFs": None})
    container["Config"] = _config(document["Config"])
    container["State"] = Struct(document["State"], {"Health": None})
    host = Struct(document["HostConfig"], _HOST_ABSENT)
    for key in _HOST_SLICES:
        if host.get(key, ...) is None:
            host[key] = NilSlice()
    container["HostConfig"] = host
    container["NetworkSettings"] = dict(document["NetworkSettings"])
    for part, keys in _CONTAINER_MAPS.items():
        for key in keys:
            if isinstance(container[part].get(key), dict):
                container[part][key] = GoMap(container[part][key])
    driver = dict(document["GraphDriver"])
    container["GraphDriver"] = driver | {"Data": GoMap(driver.get("Data") or {})}
    return container
