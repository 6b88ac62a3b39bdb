"""An image's run configuration as the classic builder keeps it: every field, in docker's order."""

from __future__ import annotations

from collections.abc import Mapping

from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class RunConfig(Value):
    """None is docker's null, which an empty list is not.  `ports` and `volumes` are sorted keys."""

    user: str = ""
    ports: tuple[str, ...] | None = None
    env: tuple[str, ...] = ()
    cmd: tuple[str, ...] | None = None
    healthcheck: dict[str, Any] | None = None
    args_escaped: bool = False
    image: str = ""
    volumes: tuple[str, ...] | None = None
    working_dir: str = ""
    entrypoint: tuple[str, ...] | None = None
    onbuild: tuple[str, ...] | None = None
    labels: tuple[tuple[str, str], ...] | None = None
    stop_signal: str = ""
    stop_timeout: int | None = None
    shell: tuple[str, ...] | None = None

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> RunConfig:
        """Read a config's `config`; what has another type than it should counts as absent."""

        def text(key: str) -> str:
            value = document.get(key)
            return value if isinstance(value, str) else ""

        def words(key: str) -> tuple[str, ...] | None:
            value = document.get(key)
            if isinstance(value, str):
                return (value,)  # as docker takes it
            return tuple(map(str, value)) if isinstance(value, list) else None

        def keys(key: str) -> tuple[str, ...] | None:
            value = document.get(key)
            return tuple(sorted(value)) if isinstance(value, dict) else None

        labels, check, timeout = document.get("Labels"), document.get("Healthcheck"), document.get("StopTimeout")
        return cls(
            text("User"), keys("ExposedPorts"), words("Env") or (), words("Cmd"),
            check if isinstance(check, dict) else None, document.get("ArgsEscaped") is True, text("Image"),
            keys("Volumes"), text("WorkingDir"), words("Entrypoint"), words("OnBuild"),
            tuple((key, str(value)) for key, value in labels.items()) if isinstance(labels, dict) else None,
            text("StopSignal"), timeout if isinstance(timeout, int) else None, words("Shell"),
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """The object as docker 20.10 writes it: its key order, its zero values."""
        document: dict[str, Any] = {"Hostname": "", "Domainname": "", "User": self.user}
        document |= dict.fromkeys(("AttachStdin", "AttachStdout", "AttachStderr"), False)
        if self.ports:
            document["ExposedPorts"] = {port: {} for port in self.ports}
        document |= dict.fromkeys(("Tty", "OpenStdin", "StdinOnce"), False)
        document |= {"Env": list(self.env) or None, "Cmd": _listed(self.cmd)}
        if self.healthcheck is not None:
            document["Healthcheck"] = self.healthcheck
        if self.args_escaped:
            document["ArgsEscaped"] = True
        document |= {
            "Image": self.image,
            "Volumes": None if self.volumes is None else {path: {} for path in self.volumes},
            "WorkingDir": self.working_dir,
            "Entrypoint": _listed(self.entrypoint),
            "OnBuild": _listed(self.onbuild),
            "Labels": None if self.labels is None else dict(sorted(self.labels)),
        }
        if self.stop_signal:
            document["StopSignal"] = self.stop_signal
        if self.stop_timeout is not None:
            document["StopTimeout"] = self.stop_timeout
        if self.shell:
            document["Shell"] = list(self.shell)
        return document

    def with_default_path(self) -> RunConfig:
        """With a PATH, if there is none."""
        if any(pair.startswith("PATH=") for pair in self.env):
            return self
        return self.replaced(env=(*self.env, DEFAULT_PATH))


def _listed(words: tuple[str, ...] | None) -> list[str] | None:
    return None if words is None else list(words)
