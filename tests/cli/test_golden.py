"""What docker prints, byte for byte: the answers of a real dockerd (see collect_goldens.py), asked of veneer."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Veneer

DATA = Path(__file__).parent / "golden"
GOLDEN: dict[str, Any] = json.loads((DATA / "scenarios.json").read_text())

OTHER_WORDS = {
    "no such image: nosuch: No such image: nosuch:latest": "No such image: nosuch:latest",
    "docker: 'docker import' requires at least 1 argument":
        "docker: 'docker import' requires at least 1 and at most 2 arguments",
    "Usage:  docker import [OPTIONS] file|URL|- [REPOSITORY[:TAG]]":
        "Usage:  docker import [OPTIONS] file|- [REPOSITORY[:TAG]]",
    "Usage:  docker image": "Usage:  docker image COMMAND",
    "invalid reference format: repository name (library/UPPER) must be lowercase":
        "invalid reference format: repository name must be lowercase: 'UPPER'",
    'Error parsing reference: "UPPER" is not a valid repository/tag: invalid reference format: repository name '
    "(library/UPPER) must be lowercase": "invalid reference format: repository name must be lowercase: 'UPPER'",
    "too many non-empty layers in History section":
        "{data}/toomany.tar.gz: 0927f76d94ff57e047a34db6cdd8c9e308df1f3464729930badee9907e3116a7.json: "
        "too many non-empty layers in History section",
    "open {data}/nosuch.tar: no such file or directory": "{data}/nosuch.tar: no such file or directory",
}  # fmt: skip
"""Where veneer says the same in other words: docker's complaint -> ours."""


def _filled(veneer: Veneer, word: str) -> str:
    word = word.replace("{data}", str(DATA))
    match = re.fullmatch(r"\{(id|parent):(.*)\}", word)
    if match is None:
        return word
    field = {"id": "{{.Id}}", "parent": "{{.Parent}}"}[match[1]]
    return veneer("inspect", "-f", field, match[2]).text.strip()


def _expected_complaint(text: str) -> str:
    """docker's standard error as ours would be: no daemon, and one form for every error."""
    lines = []
    for line in text.splitlines():
        line = re.sub(r"^(Error response from daemon|Error): ", "", line)
        # docker ends some of these with "See" and one, by a slip, with "SRun".
        line = re.sub(r"^(See|SRun) '", "Run '", line)
        lines.append(OTHER_WORDS.get(line, line))
    return "\n".join(lines).replace("docker", "veneer")


def _complaint(text: str) -> str:
    return "\n".join(line.removeprefix("Error: ") for line in text.splitlines() if not line.startswith("hint: "))


def _comparable(words: list[str], out: str, code: int) -> str:
    """docker lists images made within one second in no order, has no blobs, and ends a failed template's line."""
    if words[0] == "images" or words[:2] == ["image", "ls"]:
        header, *rows = out.splitlines(keepends=True) or [""]
        return header + "".join(sorted(rows)) if header.isupper() else "".join(sorted([header, *rows]))
    if words[:2] == ["system", "df"]:
        return "".join(line for line in out.splitlines(keepends=True) if "Blobs" not in line)
    return "" if code and out == "\n" else out


@pytest.mark.parametrize("scenario", GOLDEN["scenarios"])
def test_veneer_answers_as_docker_does(veneer: Veneer, scenario: str) -> None:
    differences = []
    for step in GOLDEN["scenarios"][scenario]:
        words, veneer.now = step["words"], step["now"]
        answer = veneer(*[_filled(veneer, word) for word in words])
        got = (
            _comparable(words, answer.text, answer.code),
            _complaint(answer.err.replace(str(DATA), "{data}")),
            answer.code,
        )
        want = _comparable(words, step["out"], step["code"]), _expected_complaint(step["err"]), step["code"]
        if got != want:
            differences.append(f"$ docker {' '.join(words)}\n  docker: {want}\n  veneer: {got}")
    assert not differences, "\n".join(differences)
