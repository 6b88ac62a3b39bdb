"""Two builds of one Dockerfile side by side: every difference as a line, and which of them a case argues for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support import flattened
from tests.support.build_cases import Case
from tests.support.builders import Builder, Built, Refused, served

ASPECTS = ("config", "history", "layers", "files")
"""What a line of difference begins with, followed by a colon."""

# Names of containers, images and moments; not what the Dockerfile says.
_ITS_OWN = {"Hostname", "Domainname", "Image", "ArgsEscaped"}
_CHECKSUM = re.compile(r"\b(file|dir|multi):[0-9a-f]{64}")


@dataclass(frozen=True)
class Verdict:
    """What comparing a case gave: lines that differ, in two parts, and arguments that met no difference.

    `outcome` is "built" or "refused", or both with who did which.
    """

    case: Case
    outcome: str
    argued: tuple[str, ...] = ()
    unargued: tuple[str, ...] = ()
    idle: tuple[str, ...] = ()

    @property
    def good(self) -> bool:
        return not self.unargued and not self.idle

    def of(self, aspect: str) -> str:
        """One word for a cell of the table."""
        if any(line.startswith(f"{aspect}:") for line in self.unargued):
            return "DIFFERS"
        if any(line.startswith(f"{aspect}:") for line in self.argued):
            return "argued"
        return "same" if self.outcome == "built" else "-"

    def __str__(self) -> str:
        lines = [*self.unargued, *(f"argued for, but there is no such difference: {what}" for what in self.idle)]
        return "\n".join([f"{self.case.name}: {self.outcome}", *lines])


def compare(case: Case, first: Builder, second: Builder, folder: Path) -> Verdict:
    """Build `case` by both, `first` being docker, each in a folder of its own below `folder`, and compare."""
    with served(case, folder) as url:
        results = [_attempt(builder, case, folder, url) for builder in (first, second)]
    one, other = results
    if isinstance(one, str) or isinstance(other, str):
        return _failures(case, one, other, first.name, second.name)
    lines = list(differences(case, one, other, first.name, second.name))
    argued = [line for line in lines if any(line.startswith(each.what) for each in case.differs)]
    idle = [each.what for each in case.differs if not any(line.startswith(each.what) for line in lines)]
    unargued = [line for line in lines if line not in argued]
    if case.fails is not None:
        unargued.append(f"build: succeeded, where {case.fails!r} was expected")
    return Verdict(case, "built", tuple(argued), tuple(unargued), tuple(idle))


def _attempt(builder: Builder, case: Case, folder: Path, url: str) -> Built | str:
    try:
        return builder.build(case, folder, url=url)
    except Refused as error:
        return str(error)


def _failures(case: Case, one: Built | str, other: Built | str, first: str, second: str) -> Verdict:
    unargued = []
    for name, result, expected in ((first, one, case.fails), (second, other, case.veneer_fails)):
        if name != "veneer":
            expected = case.fails
        if isinstance(result, str):
            if expected is None:
                unargued.append(f"build: {name} refused: {result.strip()[-2000:]}")
            elif expected not in result:
                unargued.append(f"build: {name} did not say {expected!r} but: {result.strip()[-2000:]}")
        elif expected is not None:
            unargued.append(f"build: {name} succeeded, where {expected!r} was expected")
    words = ["refused" if isinstance(result, str) else "built" for result in (one, other)]
    outcome = words[0] if words[0] == words[1] else f"{first} {words[0]}, {second} {words[1]}"
    return Verdict(case, outcome, unargued=tuple(unargued))


def differences(case: Case, one: Built, other: Built, first: str = "docker", second: str = "veneer") -> Iterator[str]:
    """Every difference as a line that begins with one of ASPECTS."""
    for key, mine, theirs in _unlike(_config(one), _config(other)):
        yield f"config: {key}: {first} {mine!r}, {second} {theirs!r}"
    if case.history is None:
        yield from _histories(one, other, first, second)
    else:
        yield from _expected_history(case, other, second)
    if case.history is None:
        yield from _layers(one, other, first, second)
    for path, mine, theirs in _unlike(_files(one), _files(other)):
        yield f"files: /{path}: {_file_line(first, mine, theirs)}; {_file_line(second, theirs, mine)}"


def _unlike(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for key in sorted(one.keys() | other.keys()):
        if one.get(key) != other.get(key):
            yield key, one.get(key), other.get(key)


def _config(built: Built) -> dict[str, Any]:
    """What the image says of itself, docker's absent and zero values being one; keys as `inspect` has them."""
    document = built.saved.config
    found = {f"Config.{key}": value for key, value in document.get("config", {}).items() if key not in _ITS_OWN}
    found |= {key: document.get(key) for key in ("architecture", "variant", "os", "author")}
    found |= {f"inspect {key}": value for key, value in built.inspected["Config"].items() if key not in _ITS_OWN}
    found |= {f"inspect {key}": built.inspected.get(key) for key in ("Author", "Architecture", "Os", "RootFS Type")}
    return {key: value for key, value in found.items() if value}


def _histories(one: Built, other: Built, first: str, second: str) -> Iterator[str]:
    if len(one.history) != len(other.history):
        yield f"history: {first} {len(one.history)} rows, {second} {len(other.history)}"
    for number, (mine, theirs) in enumerate(zip(one.history, other.history, strict=False), 1):
        if mine != theirs:
            yield f"history: row {number}: {first} [{mine}], {second} [{theirs}]"


def _expected_history(case: Case, built: Built, name: str) -> Iterator[str]:
    """The rows the case writes down, which begin after the base's; checksums have their own vectors."""
    assert case.history is not None
    rows = [f"{'empty' if row.empty else 'layer'}: {row.created_by}" for row in built.history]
    rows = [_CHECKSUM.sub(r"\1:SUM", row) for row in rows if not row.startswith("layer: layer ")]
    if rows != list(case.history):
        yield f"history: expected {list(case.history)}, {name} {rows}"


def _layers(one: Built, other: Built, first: str, second: str) -> Iterator[str]:
    mine, theirs = one.saved.layers, other.saved.layers
    if len(mine) != len(theirs):
        yield f"layers: {first} {len(mine)}, {second} {len(theirs)}"
    for number, (left, right) in enumerate(zip(mine, theirs, strict=False), 1):
        if left != right:
            lost, added = sorted(set(left) - set(right)), sorted(set(right) - set(left))
            yield f"layers: {number}: only {first} has {lost}, only {second} has {added}"


def _files(built: Built) -> dict[str, dict[str, Any]]:
    links = flattened.linked_names(built.saved.tree)
    return {path: _facts(node, built.began) | {"links": links.get(path, ())} for path, node in built.saved.tree.items()}


def _facts(node: flattened.Node, began: int) -> dict[str, Any]:
    """What is compared of a file; times from the build itself are all "now"."""
    return {
        "type": node.kind, "mode": oct(node.mode), "uid": node.uid, "gid": node.gid, "size": node.size,
        "sha256": node.content, "link": node.link, "device": node.device, "xattrs": dict(node.xattrs),
        "mtime": "now" if node.mtime >= began else node.mtime,
    }  # fmt: skip


def _file_line(name: str, mine: Mapping[str, Any] | None, theirs: Mapping[str, Any] | None) -> str:
    if mine is None:
        return f"{name} has none"
    if theirs is None:
        return f"{name} has a {mine['type']}"
    unlike = [f"{key} {mine[key]}" for key in mine if mine[key] != theirs[key]]
    return f"{name} {', '.join(unlike)}"
