"""What the user chose: one frozen value, built once from defaults < file < environment < flags.

This is the only module that reads the environment; everyone else is handed a `Config`.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from types import MappingProxyType

from veneer.errors import InvalidRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any, Final

DURABILITY = ("lazy", "sync", "none")
SETTINGS = (
    "root", "storage_driver", "durability", "insecure_registries", "mirrors", "docker_config", "max_downloads",
    "max_uploads", "unpack_workers", "aufs_mounter", "fuse_overlayfs_mounter",
)  # fmt: skip
ENTERED = "VENEER_ENTERED"
"""Set inside a user namespace that veneer entered: uid 0 is the plain user there, in child processes too."""
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class InvalidConfig(InvalidRequest):
    """A setting that is unknown or has a value it cannot have."""


class Config:
    """Every setting, with where each came from in `origins` (setting name -> "default", file, variable or "flag").

    `root`: the data root.  `storage_driver`: "" lets veneer choose.  `durability`: what "done" promises after a
    power cut, see docs/decisions/0004-durability-modes.md.  `insecure_registries`: hosts spoken to over plain HTTP
    or unverified TLS.  `mirrors`: registry host -> base URLs tried before it when pulling.  `docker_config`: the
    config.json with registry logins.  `max_downloads`, `max_uploads`: layers at a time.  `unpack_workers`: processes.
    `aufs_mounter`: what mounts layers for the aufs driver, "" lets it choose; see docs/decisions/0016-aufs.md.
    `fuse_overlayfs_mounter`: the same for the driver fuse-overlayfs; see docs/decisions/0021-mounts-and-other-roots.md.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        storage_driver: str = "",
        durability: str = "lazy",
        insecure_registries: tuple[str, ...] = (),
        mirrors: Mapping[str, tuple[str, ...]] = _NOTHING,
        docker_config: str | os.PathLike[str] = "/root/.docker/config.json",
        max_downloads: int = 3,
        max_uploads: int = 5,
        unpack_workers: int = 2,
        aufs_mounter: str = "",
        fuse_overlayfs_mounter: str = "",
        origins: Mapping[str, str] = _NOTHING,
    ) -> None:
        self.root_name: Final = os.fspath(root)
        self.storage_driver: Final = storage_driver
        self.durability: Final = durability
        self.insecure_registries: Final = insecure_registries
        self.mirrors: Final = mirrors
        self._docker_config: Final = docker_config
        self.max_downloads: Final = max_downloads
        self.max_uploads: Final = max_uploads
        self.unpack_workers: Final = unpack_workers
        self.aufs_mounter: Final = aufs_mounter
        self.fuse_overlayfs_mounter: Final = fuse_overlayfs_mounter
        self.origins: Final = origins

    @functools.cached_property
    def root(self) -> Path:
        """The data root; `root_name` is the same as text, for those who must not import pathlib."""
        from pathlib import Path

        return Path(self.root_name)

    @functools.cached_property
    def docker_config(self) -> Path:
        from pathlib import Path

        return Path(self._docker_config)

    def replaced(self, **changes: Any) -> Config:
        """The same configuration but for these settings."""
        return Config(**{name: getattr(self, name) for name in (*SETTINGS, "origins")} | changes)

    def of_driver(self, name: str) -> dict[str, str]:
        """What is set for the storage driver `name` alone: the settings that begin with its name, without it."""
        prefix = name.replace("-", "_") + "_"
        return {each.removeprefix(prefix): getattr(self, each) for each in SETTINGS if each.startswith(prefix)}

    @classmethod
    def load(cls, flags: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None) -> Config:
        """Build the configuration; `flags` holds what the command line or the caller set (None: not set).

        Raises InvalidConfig, naming the setting, its value and where it stands.
        """
        env = os.environ if environ is None else environ
        home = env.get("HOME") or "/"
        system = os.geteuid() == 0 and not env.get(ENTERED)
        settings: dict[str, Any] = {
            "root": "/var/lib/veneer" if system else f"{env.get('XDG_DATA_HOME') or f'{home}/.local/share'}/veneer",
            "docker_config": (env.get("DOCKER_CONFIG") or f"{home}/.docker") + "/config.json",
            "unpack_workers": max(1, len(os.sched_getaffinity(0))),
        }
        origins = dict.fromkeys(SETTINGS, "default")
        chosen = (flags or {}).get("config_file") or env.get("VENEER_CONFIG")
        folder = "/etc" if system else env.get("XDG_CONFIG_HOME") or f"{home}/.config"
        file = os.fspath(chosen or f"{folder}/veneer/config.toml")
        for name, value in _read_file(file, required=bool(chosen)).items():
            settings[name], origins[name] = _checked(name, value, file), file
        for name in origins:
            variable = "VENEER_" + name.upper()
            if env.get(variable):
                settings[name], origins[name] = _checked(name, env[variable], variable), variable
        for name, value in (flags or {}).items():
            if value is not None and name != "config_file":
                settings[name], origins[name] = _checked(name, value, "flag"), "flag"
        return cls(origins=origins, **settings)


def beside(name: str, chosen: str = "") -> str:
    """The file called `name` in the folder of the configuration file: of `chosen`, if somebody chose one."""
    env = os.environ
    system = os.geteuid() == 0 and not env.get(ENTERED)
    file = chosen or env.get("VENEER_CONFIG") or ""
    if file:
        return os.path.join(os.path.dirname(os.path.abspath(file)), name)
    folder = "/etc" if system else env.get("XDG_CONFIG_HOME") or f"{env.get('HOME') or '/'}/.config"
    return f"{folder}/veneer/{name}"


def mark_entered(inside: int = 0, outside: int = 0) -> None:
    """Tell this process's later configurations, and those of its children, that its root is a plain user outside.

    And what number a mount with the number `inside` has there.
    """
    os.environ[ENTERED] = f"{inside}:{outside}"


def mount_outside(number: int) -> int:
    """The number of a mount as it is outside the namespace that a process above this one entered, if it told."""
    inside, _, outside = os.environ.get(ENTERED, "").partition(":")
    return int(outside) if inside == str(number) and outside.isdigit() else number


def environment() -> Mapping[str, str]:
    """The caller's environment, for the few words that are defined to come from it (`--build-arg NAME`)."""
    return MappingProxyType(dict(os.environ))


def _read_file(file: str, *, required: bool) -> dict[str, Any]:
    try:
        with open(file, "rb") as stream:
            raw = stream.read()
    except FileNotFoundError:
        if required:
            raise InvalidConfig(f"no configuration file {file}") from None
        return {}
    except OSError as error:
        raise InvalidConfig(f"cannot read {file}: {error.strerror}") from None
    import tomllib

    try:
        return tomllib.loads(raw.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidConfig(f"{file}: {error}") from None


def _checked(name: str, value: Any, origin: str) -> Any:
    """The value in its proper type.  Raises InvalidConfig."""
    if name not in SETTINGS:
        import difflib

        near = difflib.get_close_matches(name, SETTINGS, 1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(SETTINGS)}"
        raise InvalidConfig(f"{origin}: unknown setting {name!r}", hint=hint)
    wrong = InvalidConfig(f"{origin}: {name} cannot be {value!r}")
    if name in ("root", "docker_config"):
        path = os.fspath(value) if isinstance(value, str | os.PathLike) else None
        if not isinstance(path, str) or not path or "\0" in path:
            raise wrong
        return _absolute(path)
    if name in ("max_downloads", "max_uploads", "unpack_workers"):
        text = str(value)
        if (
            isinstance(value, bool)
            or not (text.isascii() and text.isdigit() and len(text) < 4)
            or not 1 <= int(text) <= 64
        ):
            raise InvalidConfig(f"{origin}: {name} must be a number from 1 to 64, not {value!r}")
        return int(text)
    if name == "durability":
        if value not in DURABILITY:
            raise InvalidConfig(f"{origin}: durability must be one of {', '.join(DURABILITY)}, not {value!r}")
        return value
    if name == "insecure_registries":
        hosts = value.split(",") if isinstance(value, str) else value
        if not isinstance(hosts, list | tuple) or not all(isinstance(host, str) for host in hosts):
            raise wrong
        return tuple(host.strip() for host in hosts if host.strip())
    if name == "mirrors":
        return _mirrors(value, wrong)
    if not isinstance(value, str):
        raise wrong
    return value


def _absolute(path: str) -> str:
    """As pathlib has it: `..` stays, because what is above a symbolic link is not what is written before it."""
    parts = os.path.join(os.getcwd(), os.path.expanduser(path)).split("/")
    return "/" + "/".join(part for part in parts if part not in ("", "."))


def _mirrors(value: Any, wrong: InvalidConfig) -> dict[str, tuple[str, ...]]:
    """`{"docker.io" = ["https://..."]}` in the file, `docker.io=https://...,...` in the environment."""
    if isinstance(value, str):
        table: dict[str, list[str]] = {}
        for pair in filter(None, value.split(",")):
            host, equals, url = pair.partition("=")
            if not equals:
                raise wrong
            table.setdefault(host.strip(), []).append(url.strip())
        value = table
    if not isinstance(value, Mapping):
        raise wrong
    mirrors: dict[str, tuple[str, ...]] = {}
    for host, urls in value.items():
        if not isinstance(urls, str | list | tuple):
            raise wrong
        listed = (urls,) if isinstance(urls, str) else tuple(urls)
        if not all(isinstance(url, str) and url.startswith(("http://", "https://")) for url in listed):
            raise wrong
        mirrors[host] = listed
    return mirrors
