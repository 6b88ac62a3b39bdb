"""The config of an image made from another one: one step more, decided without touching the store.

`StepConfigs` is what a build writes, as docker's classic builder does; `derived_config` what a single change by hand
does.  Source: moby image/image.go NewChildImage.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from veneer.build.classic import go_text
from veneer.build.runconfig import RunConfig
from veneer.errors import InvalidRequest
from veneer.oci import strictjson
from veneer.oci.digest import DiffID
from veneer.oci.image import HistoryEntry, ImageConfig
from veneer.oci.platform import Platform

_MERGED = frozenset({"Labels", "ExposedPorts", "Volumes"})
_KNOWN = _MERGED | {
    "User", "Env", "Cmd", "Entrypoint", "WorkingDir", "StopSignal", "StopTimeout", "Shell", "OnBuild", "Healthcheck",
    "Hostname", "Domainname", "ArgsEscaped", "Image",
}  # fmt: skip


class InvalidChange(InvalidRequest):
    """A change to an image's run configuration that it cannot have."""


def merge_run(run: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`run` with `changes` applied: Env by variable name in place, maps key by key, everything else replaced.

    A value of None takes the key away.  Raises InvalidChange for keys an image config does not have.
    """
    merged = dict(run)
    for key, value in changes.items():
        if key not in _KNOWN:
            raise InvalidChange(f"an image config has no {key!r}", hint=f"known: {', '.join(sorted(_KNOWN))}")
        if value is None:
            merged.pop(key, None)
        elif key == "Env":
            merged[key] = _merge_env(merged.get("Env") or [], value)
        elif key in _MERGED:
            merged[key] = {**(merged.get(key) or {}), **value}
        else:
            merged[key] = value
    return merged


def _merge_env(present: list[str], added: list[str] | Mapping[str, str]) -> list[str]:
    env = list(present)
    for pair in [f"{k}={v}" for k, v in added.items()] if isinstance(added, Mapping) else added:
        name = pair.partition("=")[0]
        if not name:
            raise InvalidChange(f"environment variable without a name: {pair!r}")
        for position, old in enumerate(env):
            if old.partition("=")[0] == name:
                env[position] = pair
                break
        else:
            env.append(pair)
    return env


def derived_config(
    parent: ImageConfig | None,
    *,
    diff_id: DiffID | None,
    entry: HistoryEntry,
    run: Mapping[str, Any],
    platform: Platform,
) -> bytes:
    """The bytes of a child's config: parent's history and layers, plus `entry` and (unless None) `diff_id`.

    `platform` counts for an image from scratch only.  Top-level keys are sorted, as Docker writes them.
    """
    base: dict[str, Any] = dict(parent.document) if parent else {}
    # What belongs to the parent's own making is not inherited.
    for key in ("container", "container_config", "author", "comment"):
        base.pop(key, None)
    history = [*(parent.history if parent else ()), entry]
    diff_ids = [*(parent.diff_ids if parent else ()), *([diff_id] if diff_id else [])]
    base |= {
        "created": entry.created,
        "config": merge_run(parent.run if parent else {}, run),
        "history": [row.to_json() for row in history],
        "rootfs": {"type": "layers", "diff_ids": [str(each) for each in diff_ids]},
    }
    if parent is None:
        base |= {"os": platform.os, "architecture": platform.architecture}
        if platform.variant:
            base["variant"] = platform.variant
    if entry.author:
        base["author"] = entry.author
    if entry.comment:
        base["comment"] = entry.comment
    return strictjson.dumps(dict(sorted(base.items())))


_OF_THE_PLATFORM = ("architecture", "variant", "os", "os.version", "os.features")


def history_row(created: str, author: str, created_by: str, *, empty: bool, comment: str = "") -> dict[str, Any]:
    """A history entry in the key order of docker's classic builder."""
    row: dict[str, Any] = {"created": created}
    if author:
        row["author"] = author
    if created_by:
        row["created_by"] = created_by
    if comment:
        row["comment"] = comment
    if empty:
        row["empty_layer"] = True
    return row


class StepConfigs:
    """Writes the configs of one stage's steps, one on the other: the rows of the one before are not written anew."""

    def __init__(self) -> None:
        self._history: object = None
        self._rows = ""

    def config(
        self,
        below: ImageConfig | None,
        *,
        run: RunConfig,
        container: RunConfig,
        row: Mapping[str, Any],
        diff_id: DiffID | None,
        platform: Platform,
    ) -> ImageConfig:
        """The config of a build step's image, as `step_document`."""
        parent = None if below is None else below.document
        document = step_document(
            parent, run=run, container=container, row=row, diff_id=diff_id, platform=platform
        )  # fmt: skip
        history = document["history"]
        if parent is not None and parent.get("history") is self._history is not None:
            self._rows += f",{go_text(row)}"
        else:
            self._rows = go_text(history)[1:-1]
        self._history = history
        text = ",".join(
            f'"{key}":[{self._rows}]' if key == "history" else f"{go_text(key)}:{go_text(value)}"
            for key, value in document.items()
        )
        try:
            raw, own = f"{{{text}}}".encode(), document
        except UnicodeEncodeError:  # half a character, which becomes another one in writing
            raw, own = f"{{{text}}}".encode("utf-8", "replace"), None
        return ImageConfig.parse(raw, below=below, document=own)


def step_document(
    parent: Mapping[str, Any] | None,
    *,
    run: RunConfig,
    container: RunConfig,
    row: Mapping[str, Any],
    diff_id: DiffID | None,
    platform: Platform,
) -> dict[str, Any]:
    """The config of a build step's image, its keys in order.

    `parent` is the object of the image below (None: from scratch), `container` the configuration the step was done
    with, whose Cmd holds the instruction.  `row` gives time and author.
    """
    base = parent or {}
    document: dict[str, Any] = {key: base[key] for key in _OF_THE_PLATFORM if base.get(key)}
    if parent is None:
        document |= {"os": platform.os, "architecture": platform.architecture}
        if platform.variant:
            document["variant"] = platform.variant
    below = base.get("rootfs")
    diff_ids = list((below.get("diff_ids") if isinstance(below, dict) else None) or ())
    if diff_id is not None:
        diff_ids.append(str(diff_id))
    document |= {
        "config": run.to_json(),
        "container_config": container.to_json(),
        "created": row["created"],
        "history": [*(base.get("history") or ()), row],
        "rootfs": {"type": "layers", "diff_ids": diff_ids} if diff_ids else {"type": "layers"},
    }
    if row.get("author"):
        document["author"] = row["author"]
    return dict(sorted(document.items()))
