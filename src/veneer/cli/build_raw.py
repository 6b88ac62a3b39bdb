"""`--progress rawjson`: one JSON object a line, in BuildKit's shape (vertexes, statuses, logs, warnings).

What BuildKit has no word for stands beside it: `miss` in a vertex says why the cache did not have it.
Source: moby/buildkit client.SolveStatus as `buildx build --progress=rawjson` prints it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from datetime import UTC, datetime
from typing import Any, TextIO

from veneer.build.events import (
    Event,
    Finished,
    Missed,
    Output,
    OutputProgress,
    Step,
    StepDone,
    StepFailed,
    StepStarted,
    Transfer,
    Warned,
)


def _stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def _base64(text: str) -> str:
    return base64.b64encode(text.encode("utf-8", "surrogateescape")).decode()


class Raw:
    """The machine-readable view."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._lock = threading.Lock()
        self._vertexes: dict[tuple[str, int, str], dict[str, Any]] = {}
        self._last: dict[str, str] = {}

    def __call__(self, event: Event) -> None:
        document = self._document(event)
        if document:
            with self._lock:
                self._out.write(json.dumps(document, ensure_ascii=True) + "\n")
                self._out.flush()

    def close(self, *, failed: bool) -> None:
        self._out.flush()

    def _vertex(self, step: Step) -> dict[str, Any]:
        """What is known of a step; its input is the step before it in its stage."""
        key = step.stage, step.number, step.text
        if key not in self._vertexes:
            name = f"{step.stage}\0{step.number}\0{step.text}".encode("utf-8", "surrogateescape")
            digest = "sha256:" + hashlib.sha256(name).hexdigest()
            made = self._vertexes[key] = {
                "digest": digest,
                "name": f"[{step.stage} {step.number}/{step.total}] {step.text}",
            }
            before = self._last.get(step.stage)
            if before is not None and step.number > 1:
                made["inputs"] = [before]
            self._last[step.stage] = digest
        return self._vertexes[key]

    def _document(self, event: Event) -> dict[str, Any]:
        if isinstance(event, StepStarted):
            vertex = self._vertex(event.step)
            vertex["started"] = _stamp(event.time)
            return {"vertexes": [vertex]}
        if isinstance(event, Missed):
            vertex = self._vertex(event.step)
            miss = event.miss
            vertex["miss"] = {"kind": miss.kind, "summary": miss.summary, "details": list(miss.details)}
            return {"vertexes": [vertex]}
        if isinstance(event, StepDone):
            vertex = self._vertex(event.step)
            vertex |= {"completed": _stamp(event.time), "cached": event.cached, "image": str(event.image or "")}
            return {"vertexes": [vertex]}
        if isinstance(event, StepFailed):
            vertex = self._vertex(event.step)
            vertex |= {"completed": _stamp(event.time), "error": event.message, "lastGood": str(event.last_good or "")}
            return {"vertexes": [vertex]}
        if isinstance(event, Output):
            data = base64.b64encode(event.data).decode()
            digest = self._vertex(event.step)["digest"]
            return {"logs": [{"vertex": digest, "stream": event.stream, "data": data, "timestamp": _stamp(event.time)}]}
        if isinstance(event, Transfer | OutputProgress):
            report = event.report
            vertex_id = self._vertex(event.step)["digest"] if isinstance(event, Transfer) and event.step else ""
            return {"statuses": [{"id": report.id, "vertex": vertex_id, "name": report.status,
                                  "current": report.current or 0, "total": report.total or 0,
                                  "timestamp": _stamp(event.time)}]}  # fmt: skip
        if isinstance(event, Warned):
            return {"warnings": [_warning(event)]}
        if isinstance(event, Finished):
            return {"image": str(event.image or ""), "tags": list(event.tags), "warningTexts": list(event.warnings)}
        return {}


def _warning(event: Warned) -> dict[str, Any]:
    """A warning as BuildKit's frontend words it; the rule's name stands beside it."""
    from veneer.build.language.lint_rules import RULES

    rule = RULES.get(event.rule)
    short = f"{event.rule}: {event.message}" if event.rule else event.message
    found: dict[str, Any] = {
        "level": 1, "short": _base64(f"{short} (line {event.line})" if event.line else short), "rule": event.rule,
    }  # fmt: skip
    if rule is not None:
        found |= {"detail": [_base64(rule.description)], "url": rule.url}
    if event.line:
        found["range"] = [{"start": {"line": event.line}, "end": {"line": event.line}}]
    return found
