"""How docker's users spell what a container is to be, as docker's API has it: one function a spelling.

Nothing here looks at a store or at the host.  Sources: docker/cli opts/*.go, cli/command/container/opts.go;
docker/go-units; docker's API reference, ContainerCreate.
"""

from __future__ import annotations

import re

from veneer.errors import InvalidRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

SECCOMP = "seccomp"
ULIMITS = (
    "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio",
    "rttime", "sigpending", "stack",
)  # fmt: skip
STREAMS = ("stdin", "stdout", "stderr")
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kmgtp]?)(i?b?)", re.IGNORECASE | re.ASCII)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_DEVICE_RULE = re.compile(r"[acb] ([0-9]+|\*):([0-9]+|\*) [rwm]{1,3}")
_ACCESS = re.compile(r"[rwm]{1,3}")
_NUMBER = re.compile(r"[+-]?[0-9]+", re.ASCII)
_MAC = re.compile(r"[0-9A-Fa-f]{2}(?:([:-])[0-9A-Fa-f]{2})(?:\1[0-9A-Fa-f]{2}){4}")
_DOMAIN = re.compile(r"[a-zA-Z0-9_](?:[a-zA-Z0-9_-]*)(?:\.[a-zA-Z0-9_][a-zA-Z0-9_-]*)*\.?")
_SYSCTLS = frozenset({
    "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax", "kernel.shmmni",
    "kernel.shm_rmid_forced",
})  # fmt: skip
_TRUE, _FALSE = ("1", "t", "T", "TRUE", "true", "True"), ("0", "f", "F", "FALSE", "false", "False")


class InvalidContainer(InvalidRequest):
    """A container that cannot be as it was asked for."""


def check_words(words: Iterable[str]) -> None:
    """Raise InvalidContainer for words of a command that would be cut off where they have a NUL byte."""
    if any("\0" in word for word in words):
        raise InvalidContainer("a NUL byte cannot be given to a program")


def whole(text: str, bits: int = 63, *, signed: bool = True) -> int:
    """A number of at most so many bits.  Raises InvalidContainer in the words of Go's parser."""
    parser = "ParseInt" if signed else "ParseUint"
    if not _NUMBER.fullmatch(text) or (not signed and text[:1] in "+-"):
        raise InvalidContainer(f'strconv.{parser}: parsing "{text}": invalid syntax')
    if len(text) > 25 or abs(int(text)) >= 1 << bits:
        raise InvalidContainer(f'strconv.{parser}: parsing "{text}": value out of range')
    return int(text)


def weight(text: str) -> int:
    """`--blkio-weight`'s number of 16 bits."""
    return whole(text, 16, signed=False)


def size_bytes(text: str) -> int:
    """`64m`, `1g`, `512` in bytes, by powers of 1024."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise InvalidContainer(f"invalid size: '{text}'", hint="a number, and k, m or g behind it")
    return int(float(found[1]) * 1024 ** _POWERS[found[2].lower()])


def swap_bytes(text: str) -> int:
    """A size, or -1: without a limit."""
    return -1 if text == "-1" else size_bytes(text)


def duration(text: str) -> int:
    """`1m30s` in nanoseconds."""
    from veneer.build.language.durations import duration_ns

    found = duration_ns(text)
    if found is None:
        raise InvalidContainer(f'time: invalid duration "{text}"', hint="as in 1m30s, 500ms")
    return found


def nano_cpus(text: str) -> int:
    """`1.5` processors in billionths."""
    from decimal import Decimal, InvalidOperation

    try:
        value = Decimal(text) * 1_000_000_000
    except InvalidOperation:
        raise InvalidContainer(f"failed to parse {text} as a rational number") from None
    if not value.is_finite() or value != int(value):
        raise InvalidContainer("value is too precise" if value.is_finite() else f"no number of processors: {text}")
    return int(value)


def ulimit(text: str) -> dict[str, Any]:
    """`nofile=1024:2048` as docker's Ulimit.  Source: docker/go-units ulimit.go."""
    name, equals, values = text.partition("=")
    if not equals:
        raise InvalidContainer(f"invalid ulimit argument: {text}", hint="as in nofile=1024:2048")
    if name not in ULIMITS:
        raise InvalidContainer(f"invalid ulimit type: {name}", hint=f"one of {', '.join(ULIMITS)}")
    soft, colon, hard = values.partition(":")
    low = whole(soft)
    high = whole(hard) if colon else low
    if high >= 0 and (low < 0 or low > high):
        raise InvalidContainer(f"ulimit soft limit must be less than or equal to hard limit: {low} > {high}")
    return {"Name": name, "Hard": high, "Soft": low}


def device(text: str) -> dict[str, str]:
    """`/dev/fuse`, `/dev/a:/dev/b`, `/dev/a:rw`, `/dev/a:/dev/b:rw` as docker's DeviceMapping."""
    parts = text.split(":")
    if len(parts) > 3 or not parts[0]:
        raise InvalidContainer(f"bad format for path: {text}", hint="as in /dev/fuse:/dev/fuse:rwm")
    source, target, access = parts[0], parts[0], "rwm"
    if len(parts) == 3:
        target, access = parts[1] or source, parts[2]
    elif len(parts) == 2 and _ACCESS.fullmatch(parts[1]):
        access = parts[1]
    elif len(parts) == 2:
        target = parts[1]
    if not _ACCESS.fullmatch(access) or len(set(access)) != len(access):
        raise InvalidContainer(f"bad mode specified: {access}", hint="some of r, w and m")
    return {"PathOnHost": source, "PathInContainer": target, "CgroupPermissions": access}


def device_rule(text: str) -> str:
    """`c 42:* rmw`, checked."""
    if not _DEVICE_RULE.fullmatch(text):
        raise InvalidContainer(f"invalid device cgroup format '{text}'", hint="as in 'c 42:* rmw'")
    return text


def throttle(text: str) -> dict[str, Any]:
    """`/dev/sda:1mb` as docker's ThrottleDevice."""
    path, _, rate = text.partition(":")
    if not path.startswith("/dev/") or not rate:
        raise InvalidContainer(f"bad format: {text}" if not rate else f"bad format for device path: {text}")
    try:
        return {"Path": path, "Rate": size_bytes(rate)}
    except InvalidContainer:
        raise InvalidContainer(
            f"invalid rate for device: {text}. The correct format is <device-path>:<number>[<unit>]. Number must be a "
            "positive integer. Unit is optional and can be kb, mb, or gb"
        ) from None


def check_exposed(text: str) -> None:
    """Raise for a port, or a range of them, that is no number."""
    first, dash, last = text.partition("/")[0].partition("-")
    for number in (first, last) if dash else (first,):
        whole(number, 16, signed=False)


def extra_host(text: str) -> str:
    """`name:address`, checked."""
    name, colon, address = text.partition(":")
    if not name or not colon:
        raise InvalidContainer(f'bad format for add-host: "{text}"', hint="as in name:10.0.0.1")
    if address != "host-gateway" and not _is_address(address):
        raise InvalidContainer(f'invalid IP address in add-host: "{address}"')
    return text


def _is_address(text: str) -> bool:
    import socket

    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, text)
        except OSError:
            continue
        return True
    return False


def address(text: str) -> str:
    """A DNS server's address, checked."""
    if not _is_address(text.strip()):
        raise InvalidContainer(f"{text} is not an ip address")
    return text.strip()


def domain(text: str) -> str:
    """A domain to search in, checked; "." for none."""
    if text.strip(" ") != "." and not _DOMAIN.fullmatch(text):
        raise InvalidContainer(f"{text} is not a valid domain")
    return text


def mac_address(text: str) -> str:
    """A hardware address of six bytes, checked."""
    if not _MAC.fullmatch(text):
        raise InvalidContainer(f"{text} is not a valid mac address", hint="as in 92:d0:c6:0a:29:33")
    return text


def stream(text: str) -> str:
    """One of the standard streams."""
    if text.lower() not in STREAMS:
        raise InvalidContainer("valid streams are STDIN, STDOUT and STDERR")
    return text.lower()


def sysctl(text: str) -> str:
    """`net.core.somaxconn=1024`: one of those that are a container's own.  Source: docker/cli opts ValidateSysctl."""
    name, equals, _ = text.partition("=")
    if not equals or not (name in _SYSCTLS or name.startswith(("net.", "fs.mqueue."))):
        raise InvalidContainer(f"sysctl '{text}' is not whitelisted")
    return text


def env(text: str) -> str:
    """`NAME=value` or `NAME`, checked."""
    if not text.partition("=")[0]:
        raise InvalidContainer(f"invalid environment variable: {text}")
    return text


def label(text: str) -> str:
    """`name=value` or `name`, checked."""
    if not text.partition("=")[0]:
        raise InvalidContainer(f"invalid label '{text}': empty name")
    return text


def restart_policy(text: str) -> dict[str, Any]:
    """`on-failure:3` as docker's RestartPolicy."""
    name, colon, count = text.partition(":")
    if ":" in count:
        raise InvalidContainer("invalid restart policy format")
    if not colon:
        return {"Name": name, "MaximumRetryCount": 0}
    if not _NUMBER.fullmatch(count):
        raise InvalidContainer("maximum retry count must be an integer")
    return {"Name": name, "MaximumRetryCount": int(count)}


def pairs(texts: Iterable[str]) -> dict[str, str]:
    """`name=value` each, a later one in place of an earlier; a bare name has the value ""."""
    return dict(text.partition("=")[::2] for text in texts)


def fields(text: str) -> list[tuple[str, str | None]]:
    """`type=bind,source=/a,ro` as pairs, in order, names in small letters, None without `=`; quotes as in CSV."""
    import csv

    try:
        found = next(csv.reader([text], strict=True), [])
    except csv.Error as error:
        raise InvalidContainer(str(error)) from None
    parts = [field.partition("=") for field in found]
    return [(name.strip().lower(), value if equals else None) for name, equals, value in parts]


def mount(text: str) -> dict[str, Any]:
    """`type=bind,source=/a,target=/b,readonly` as docker's Mount.  Source: docker/cli opts/mount.go."""
    made: dict[str, Any] = {"Type": "volume"}
    options: dict[str, dict[str, Any]] = {"bind": {}, "volume": {}, "tmpfs": {}}
    for key, value in fields(text):
        if value is None and key not in ("readonly", "ro", "volume-nocopy"):
            raise InvalidContainer(f"invalid field '{key}' must be a key=value pair")
        _mount_field(made, options, key, "true" if value is None else value)
    if not made["Type"]:
        raise InvalidContainer("type is required")
    if not made.get("Target"):
        raise InvalidContainer("target is required")
    for kind, given in options.items():
        if given and made["Type"] != kind:
            raise InvalidContainer(f"cannot mix '{kind}-*' options with mount type '{made['Type']}'")
        if given and kind == "volume":
            given.setdefault("DriverConfig", {})
        if given:
            made[f"{kind.capitalize()}Options"] = given
    return made


_MOUNT_TEXTS = {
    "source": "Source", "src": "Source", "target": "Target", "dst": "Target", "destination": "Target",
    "consistency": "Consistency",
}  # fmt: skip
_MOUNT_OPTIONS: dict[str, tuple[str, str, Callable[[str], Any]]] = {
    "bind-propagation": ("bind", "Propagation", str.lower),
    "bind-nonrecursive": ("bind", "NonRecursive", lambda text: _truth(text)),
    "bind-create-src": ("bind", "CreateMountpoint", lambda text: _truth(text)),
    "volume-nocopy": ("volume", "NoCopy", lambda text: _truth(text)),
    "volume-subpath": ("volume", "Subpath", str),
    "tmpfs-size": ("tmpfs", "SizeBytes", size_bytes),
    "tmpfs-mode": ("tmpfs", "Mode", lambda text: int(text, 8)),
}


def _mount_field(made: dict[str, Any], options: dict[str, dict[str, Any]], key: str, value: str) -> None:
    if key == "type":
        made["Type"] = value.lower()
    elif key in _MOUNT_TEXTS:
        made[_MOUNT_TEXTS[key]] = value
    elif key in ("readonly", "ro"):
        made["ReadOnly"] = _given(_truth, key, value)
    elif key in _MOUNT_OPTIONS:
        kind, name, parse = _MOUNT_OPTIONS[key]
        options[kind][name] = _given(parse, key, value)
    elif key == "volume-label":
        options["volume"].setdefault("Labels", {}).update(pairs([value]))
    elif key == "volume-driver":
        options["volume"].setdefault("DriverConfig", {})["Name"] = value
    elif key == "volume-opt":
        options["volume"].setdefault("DriverConfig", {}).setdefault("Options", {}).update(pairs([value]))
    else:
        raise InvalidContainer(f"unexpected key '{key}' in '{key}={value}'")


def _given(parse: Callable[[str], Any], key: str, value: str) -> Any:
    try:
        return parse(value)
    except (ValueError, InvalidContainer):
        raise InvalidContainer(f"invalid value for {key}: {value}") from None


def _truth(text: str) -> bool:
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    raise ValueError(text)


def security_options(texts: Iterable[str]) -> tuple[list[str], bool]:
    """`--security-opt`s as docker's API has them (a profile is its file's text), and whether system paths are bare."""
    found, bare = [], False
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign and name != "no-new-privileges":
            name, sign, value = text.partition(":")
            if not sign:
                raise InvalidContainer(f'Invalid --security-opt: "{text}"')
        if text == "systempaths=unconfined":
            bare = True
            continue
        if name == SECCOMP and value not in ("unconfined", "builtin"):
            text = f"{SECCOMP}={_profile(value)}"
        found.append(text)
    return found, bare


def _profile(path: str) -> str:
    import json

    try:
        with open(path, encoding="utf-8") as file:
            return json.dumps(json.load(file), separators=(",", ":"))
    except OSError as error:
        fact = (error.strerror or "").lower()
        raise InvalidContainer(f"opening seccomp profile ({path}) failed: open {path}: {fact}") from None
    except ValueError as error:
        raise InvalidContainer(f"compacting json for seccomp profile ({path}) failed: {error}") from None


def joined(mode: str, words: Sequence[str]) -> bool:
    """Whether `mode` is one of `words`, or joins another container's namespace (`container:NAME`)."""
    return mode in words or (mode.startswith("container:") and mode != "container:")
