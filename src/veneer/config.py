"""What the user chose: one frozen value, built once from defaults < file < environment < flags.

This is the only module that reads the environment; everyone else is handed a `Config`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from veneer.errors import InvalidRequest

DURABILITY = ("lazy", "sync", "none")


class InvalidConfig(InvalidRequest):
    """A setting that is unknown or has a value it cannot have."""


@dataclass(frozen=True)
class Config:
    """Every setting, with where each came from in `origins` (setting name -> "default", file, variable or "flag").

    `root`: the data root.  `storage_driver`: "" lets veneer choose.  `durability`: what "done" promises after a
    power cut, see docs/decisions/0004-durability-modes.md.  `insecure_registries`: hosts spoken to over plain HTTP
    or unverified TLS.  `mirrors`: registry host -> base URLs tried before it when pulling.  `docker_config`: the
    config.json with registry logins.  `max_downloads`, `max_uploads`: layers at a time.  `unpack_workers`: processes.
    """

    root: Path
    storage_driver: str = ""
    durability: str = "lazy"
    insecure_registries: tuple[str, ...] = ()
    mirrors: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    docker_config: Path = Path("/root/.docker/config.json")
    max_downloads: int = 3
    max_uploads: int = 5
    unpack_workers: int = 2
    origins: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, flags: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None) -> Config:
        """Build the configuration; `flags` holds what the command line or the caller set (None: not set).

        Raises InvalidConfig, naming the setting, its value and where it stands.
        """
        env = os.environ if environ is None else environ
        home = Path(env.get("HOME") or "/")
        system = os.geteuid() == 0
        settings: dict[str, Any] = {
            "root": Path("/var/lib/veneer") if system else _user_data(env, home) / "veneer",
            "docker_config": Path(env.get("DOCKER_CONFIG") or home / ".docker") / "config.json",
            "unpack_workers": max(1, len(os.sched_getaffinity(0))),
        }
        origins = {f.name: "default" for f in fields(cls) if f.name != "origins"}
        chosen = (flags or {}).get("config_file") or env.get("VENEER_CONFIG")
        default_file = Path("/etc/veneer/config.toml") if system else _user_config(env, home) / "veneer/config.toml"
        file = Path(chosen) if chosen else default_file
        for name, value in _read_file(file, required=bool(chosen)).items():
            settings[name], origins[name] = _checked(name, value, str(file)), str(file)
        for name in origins:
            variable = "VENEER_" + name.upper()
            if env.get(variable):
                settings[name], origins[name] = _checked(name, env[variable], variable), variable
        for name, value in (flags or {}).items():
            if value is not None and name != "config_file":
                settings[name], origins[name] = _checked(name, value, "flag"), "flag"
        return cls(origins=origins, **settings)


def _user_data(env: Mapping[str, str], home: Path) -> Path:
    return Path(env.get("XDG_DATA_HOME") or home / ".local/share")


def _user_config(env: Mapping[str, str], home: Path) -> Path:
    return Path(env.get("XDG_CONFIG_HOME") or home / ".config")


def _read_file(file: Path, *, required: bool) -> dict[str, Any]:
    try:
        raw = file.read_bytes()
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
    known = [f.name for f in fields(Config) if f.name != "origins"]
    if name not in known:
        import difflib

        near = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
        raise InvalidConfig(f"{origin}: unknown setting {name!r}", hint=hint)
    wrong = InvalidConfig(f"{origin}: {name} cannot be {value!r}")
    if name in ("root", "docker_config"):
        if not isinstance(value, str | Path) or not str(value) or "\0" in str(value):
            raise wrong
        return Path(value).expanduser().absolute()
    if name in ("max_downloads", "max_uploads", "unpack_workers"):
        text = str(value)
        if isinstance(value, bool) or not (text.isascii() and text.isdigit()) or not 1 <= int(text) <= 64:
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
        listed = (urls,) if isinstance(urls, str) else tuple(urls)
        if not all(isinstance(url, str) and url.startswith(("http://", "https://")) for url in listed):
            raise wrong
        mirrors[host] = listed
    return mirrors
