"""What a real docker 20.10 (its classic builder) made of odd Dockerfiles, written down in data/."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FILE = Path(__file__).parent / "data" / "docker-20.10.json"
KEPT = ("Env", "Cmd", "Entrypoint", "ExposedPorts", "Volumes", "Labels", "OnBuild", "User", "WorkingDir", "StopSignal",
        "Healthcheck", "Shell")  # fmt: skip


@dataclass(frozen=True)
class Recorded:
    """`steps` are its `Step n/m : ` texts; `history` and `config` the image's, None where `error` is what it said."""

    name: str
    dockerfile: bytes
    args: tuple[str, ...]
    steps: tuple[str, ...]
    history: tuple[str, ...] | None = None
    config: dict[str, Any] | None = field(default=None, hash=False)
    error: str = ""

    def __str__(self) -> str:
        return self.name


def recorded() -> list[Recorded]:
    return [
        Recorded(
            each["name"], each["dockerfile"].encode("utf-8", "surrogateescape"), tuple(each["args"]),
            tuple(each["steps"]), tuple(each["history"]) if "history" in each else None, each.get("config"),
            each.get("error", ""),
        )
        for each in json.loads(FILE.read_text())
    ]  # fmt: skip


def config_of(config: dict[str, Any]) -> dict[str, Any]:
    """The part of an image's config that a Dockerfile decides; what is empty is not there."""
    return {key: config[key] for key in KEPT if config.get(key)}
