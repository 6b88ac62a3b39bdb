"""What a container has mounted, from the many ways docker has to say it.

The result is docker's MountPoint, as `inspect` shows it, with "NoCopy", "Options" (of a tmpfs) and "Subpath" beside.
Sources: moby volume/mounts/linux_parser.go, daemon/volumes.go.
"""

from __future__ import annotations

import os
import posixpath

from veneer.errors import InvalidRequest, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from veneer.store.store import Store
    from veneer.store.volumes import Volume

_PROPAGATION = ("private", "rprivate", "slave", "rslave", "shared", "rshared")
_ACCESS = ("ro", "rw")
_LABELS = ("z", "Z")
_CONSISTENCY = ("consistent", "cached", "delegated", "default")
UNFILLED = "Unfilled"
"""Says in a container's document that its volumes may not have yet what the image has for them."""
DEFAULT_PROPAGATION = "rprivate"
_TMPFS_WORDS = frozenset(
    {"exec", "noexec", "suid", "nosuid", "dev", "nodev", "nr_inodes", "nr_blocks", "uid", "gid", "huge", "atime",
     "noatime", "diratime", "nodiratime", "relatime", "norelatime", "strictatime", "nostrictatime", "sync", "async",
     "dirsync", "remount", "mand", "nomand", "mpol", *_PROPAGATION, "defaults"}
)  # fmt: skip


class InvalidMount(InvalidRequest):
    """A mount that cannot be what it says."""


class NoSuchSource(NotFound):
    """The directory or file of the host that was to be mounted is not there."""


def resolved(
    host: Mapping[str, Any], volumes: Iterable[str], others: Mapping[str, Sequence[dict[str, Any]]]
) -> list[dict[str, Any]]:
    """Every mount of a container with this HostConfig, one to a destination, sorted by it; nothing is made yet.

    `volumes` are the destinations of Config.Volumes; `others` the mounts of the containers that VolumesFrom names.
    Raises InvalidMount, NoSuchSource.
    """
    found: dict[str, dict[str, Any]] = {}
    given: dict[str, dict[str, Any]] = {}
    for text in host.get("VolumesFrom") or ():
        reference, _, mode = text.partition(":")
        if mode and mode not in ("ro", "rw", *_LABELS):
            raise InvalidMount(f"invalid mode: {mode}")
        for point in others[reference]:
            writable = point["RW"] and mode != "ro"
            found[point["Destination"]] = point | {"RW": writable, "NoCopy": True, "Mode": ""}
    for point in [*map(parsed_bind, host.get("Binds") or ()), *map(_asked, host.get("Mounts") or ())]:
        if point["Destination"] in given:
            raise InvalidMount(f"Duplicate mount point: {point['Destination']}")
        given[point["Destination"]] = point
    for target, options in (host.get("Tmpfs") or {}).items():
        if not target.startswith("/"):
            raise InvalidMount(f"invalid mount path: '{target}' mount path must be absolute")
        destination = _destination(target)
        if destination in given:
            raise InvalidMount(f"Duplicate mount point: {destination}")
        given[destination] = _tmpfs(destination, options) | {"Listed": False}  # as with docker's, HostConfig tells them
    found |= given
    for target in volumes:
        destination = _destination(target)
        if destination not in found:
            found[destination] = _volume_point("", destination)
    return [found[destination] for destination in sorted(found)]


def parsed_bind(text: str) -> dict[str, Any]:
    """`source:destination[:mode]`; a source that is no absolute path is a volume's name.  Raises InvalidMount."""
    parts = text.split(":")
    if not 2 <= len(parts) <= 3 or not all(parts[:2]):
        raise InvalidMount(f"invalid volume specification: '{text}'", hint="SOURCE:DESTINATION[:OPTIONS]")
    source, target, mode = parts[0], parts[1], parts[2] if len(parts) == 3 else ""
    destination = _destination(target, text)
    readonly, propagation, nocopy = _mode(mode, text)
    if not source.startswith("/"):
        if propagation:
            raise _mixed(text, "volume", "BindOptions")
        return _volume_point(source, destination) | {"Mode": mode or "z", "RW": not readonly, "NoCopy": nocopy}
    if nocopy:
        raise _mixed(text, "bind", "VolumeOptions")
    return {
        "Type": "bind", "Source": posixpath.normpath(source), "Destination": destination, "Mode": mode,
        "RW": not readonly, "Propagation": propagation or DEFAULT_PROPAGATION, "Create": True,
    }  # fmt: skip


def _mixed(text: str, kind: str, field: str) -> InvalidMount:
    return InvalidMount(f"invalid volume specification: '{text}': invalid mount config for type \"{kind}\": "
                        f"field {field} must not be specified")  # fmt: skip


def _mode(mode: str, text: str) -> tuple[bool, str, bool]:
    """Whether it is read-only, its propagation ("" if not said), and whether nothing is copied into the volume."""
    readonly, propagation, nocopy = False, "", False
    seen: set[str] = set()
    for word in filter(None, mode.split(",")):
        kind = next(
            (name for name, words in (("access", _ACCESS), ("propagation", _PROPAGATION), ("label", _LABELS),
                                      ("copy", ("nocopy",)), ("consistency", _CONSISTENCY)) if word in words), ""
        )  # fmt: skip
        if not kind or kind in seen:
            raise InvalidMount(f"invalid mode: {mode}", hint=f"of {text}")
        seen.add(kind)
        readonly = readonly or word == "ro"
        propagation = word if kind == "propagation" else propagation
        nocopy = nocopy or word == "nocopy"
    return readonly, propagation, nocopy


def _destination(target: str, text: str = "") -> str:
    if not target.startswith("/"):
        raise InvalidMount(f"invalid volume specification: '{text or target}': invalid mount config for type "
                           f"\"volume\": invalid mount path: '{target}' mount path must be absolute")  # fmt: skip
    path = cleaned(target)
    if path == "/":
        raise InvalidMount(f"invalid volume specification: '{text or target}': invalid mount config for type "
                           "\"bind\": invalid specification: destination can't be '/'")  # fmt: skip
    return path


def cleaned(path: str) -> str:
    """An absolute path without `.`, `..` and repeated slashes."""
    return posixpath.normpath("/" + path.lstrip("/"))


def _volume_point(name: str, destination: str) -> dict[str, Any]:
    return {
        "Type": "volume", "Name": name, "Source": "", "Destination": destination, "Driver": "local", "Mode": "",
        "RW": True, "Propagation": "", "NoCopy": False,
    }  # fmt: skip


def _tmpfs(destination: str, options: str) -> dict[str, Any]:
    return {
        "Type": "tmpfs", "Source": "", "Destination": destination, "Mode": options,
        "RW": "ro" not in options.split(","), "Propagation": "", "Options": options,
    }  # fmt: skip


def listed(points: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those that docker shows among a container's mounts."""
    return [point for point in points if point.get("Listed", True)]


def _asked(mount: Mapping[str, Any]) -> dict[str, Any]:
    """A mount of `--mount`: docker's API object."""
    kind, source = mount.get("Type") or "", mount.get("Source") or ""
    target, readonly = mount.get("Target") or "", bool(mount.get("ReadOnly"))

    def wrong(fact: str) -> InvalidMount:
        return InvalidMount(f'invalid mount config for type "{kind}": {fact}')

    if not target:
        raise wrong("field Target must not be empty")
    if not target.startswith("/"):
        raise wrong(f"invalid mount path: '{target}' mount path must be absolute")
    destination = cleaned(target)
    if destination == "/":
        raise wrong("invalid specification: destination can't be '/'")
    if kind == "bind":
        if not source:
            raise wrong("field Source must not be empty")
        if not source.startswith("/"):
            raise wrong(f"invalid mount path: '{source}' mount path must be absolute")
        options = mount.get("BindOptions") or {}
        propagation = options.get("Propagation") or DEFAULT_PROPAGATION
        if propagation not in _PROPAGATION:
            raise wrong(f"invalid propagation mode: {propagation}")
        create = bool(options.get("CreateMountpoint"))
        if not create and not os.path.exists(source):
            raise NoSuchSource(f'invalid mount config for type "bind": bind source path does not exist: {source}')
        return {
            "Type": "bind", "Source": posixpath.normpath(source), "Destination": destination, "Mode": "",
            "RW": not readonly, "Propagation": propagation, "Create": create,
            "NonRecursive": bool(options.get("NonRecursive")),
        }  # fmt: skip
    if kind == "volume":
        options = mount.get("VolumeOptions") or {}
        driver = options.get("DriverConfig") or {}
        if driver.get("Name") not in (None, "", "local"):
            raise wrong(f'plugin "{driver["Name"]}" not found')
        return _volume_point(source, destination) | {
            "Mode": "z", "RW": not readonly, "NoCopy": bool(options.get("NoCopy")), "Labels": options.get("Labels"),
            "DriverOptions": driver.get("Options"), "Subpath": options.get("Subpath") or "",
        }  # fmt: skip
    if kind == "tmpfs":
        if source:
            raise wrong("field Source must not be specified")
        options = mount.get("TmpfsOptions") or {}
        words = [f"size={options['SizeBytes']}"] if options.get("SizeBytes") else []
        words += [f"mode={options['Mode']:o}"] if options.get("Mode") else []
        words += ["ro"] if readonly else []
        return _tmpfs(destination, ",".join(words)) | {"Mode": "", "RW": not readonly}
    raise wrong("mount type unknown")


def make(store: Store, points: Sequence[dict[str, Any]]) -> list[Volume]:
    """Have the volumes and directories be there; those volumes that nobody named are returned, and not there yet.

    Raises NoSuchSource, InvalidMount, InvalidVolumeName.
    """
    return [volume for point in points if (volume := _made(store, point)) is not None]


def _made(store: Store, point: dict[str, Any]) -> Volume | None:
    """Have what a mount shows be there; the volume that is still to be made.  Raises NoSuchSource, InvalidMount."""
    if point["Type"] == "volume" and not point["Source"]:
        from veneer.engine.volumes import tell
        from veneer.store.volumes import nameless

        labels, options = point.pop("Labels", None), point.pop("DriverOptions", None)
        if name := point["Name"]:
            known = store.volumes.find(name) is not None
            made = store.volumes.create(name, labels=labels, options=options)
            if not known:
                tell(store, "create", made)
        else:
            made = nameless(labels=labels, options=options)
        point["Name"], point["Source"] = made.name, os.fspath(store.volumes.directory(made.name))
        if made.options.get("device"):
            point["Device"] = made.options["device"]
        return None if name else made
    if point["Type"] == "bind":
        source = point["Source"]
        root, real = os.path.realpath(store.config.root_name), os.path.realpath(source)
        inside = real == root or real.startswith(root + "/")
        if inside and not real.startswith(os.path.join(root, "volumes") + "/"):
            raise InvalidMount(f"{source} is inside veneer's data root, and what is there must not be changed",
                               hint="name a volume instead")  # fmt: skip
        if point.pop("Create", False) and not os.path.lexists(source):
            os.makedirs(source, mode=0o755, exist_ok=True)
    return None


def binds(mounts: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The mount points as a monitor's job has them."""
    return [_bind(point) for point in mounts]


def _bind(point: Mapping[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {
        "type": point["Type"], "source": point["Source"], "target": point["Destination"], "readonly": not point["RW"],
    }  # fmt: skip
    if point["Type"] == "tmpfs":
        return made | tmpfs_options(point.get("Options") or "")
    if point["Type"] == "bind":
        return made | {"propagation": point["Propagation"], "recursive": not point.get("NonRecursive")}
    made["source"] = point.get("Device") or point["Source"]
    return made | ({"subpath": point["Subpath"]} if point.get("Subpath") else {})


def tmpfs_options(text: str) -> dict[str, Any]:
    """`size=64m,mode=1777,exec` as a job has it; docker's default is noexec.  Raises InvalidMount."""
    made: dict[str, Any] = {"size": 0, "mode": 0o1777}
    words = []
    for word in filter(None, text.split(",")):
        name, _, value = word.partition("=")
        try:
            if name == "size":
                made["size"] = _size(value)
            elif name == "mode":
                made["mode"] = int(value, 8)
            elif word not in ("ro", "rw"):
                words.append(word)
        except ValueError:
            raise InvalidMount(f"invalid tmpfs option {word!r}") from None
    if unknown := [word for word in words if word.partition("=")[0] not in _TMPFS_WORDS]:
        raise InvalidMount(f'Invalid tmpfs option "{unknown[0]}"')
    execution = [] if "exec" in words or "noexec" in words else ["noexec"]
    return made | {"options": [*execution, *words]}


def _size(text: str) -> int:
    units = {"k": 10, "m": 20, "g": 30}
    if text[-1:].lower() in units:
        return int(text[:-1]) << units[text[-1].lower()]
    return int(text)


def to_fill(points: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The volumes that get what the image has at their places, if they are empty."""
    return [each for each in points if each["Type"] == "volume" and not (each.get("NoCopy") or each.get("Subpath"))]
