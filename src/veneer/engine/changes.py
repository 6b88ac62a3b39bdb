"""Dockerfile instructions given on a command line: `import --change 'CMD ["sh"]'`.

Only what changes the run configuration may be given: CMD ENTRYPOINT ENV EXPOSE HEALTHCHECK LABEL ONBUILD
STOPSIGNAL USER VOLUME WORKDIR.  Source: moby builder/dockerfile BuildFromConfig.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from veneer.engine.derivation import merge_run
from veneer.errors import InvalidRequest

DEFAULT_SHELL = ("/bin/sh", "-c")
_UNITS = {"ns": 1, "us": 1_000, "µs": 1_000, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}


class InvalidInstruction(InvalidRequest):
    """A change that is no instruction, or one that cannot be given here."""


def apply_changes(run: Mapping[str, Any], changes: Iterable[str]) -> dict[str, Any]:
    """`run` after each instruction in order.  Raises InvalidInstruction, naming it."""
    result = dict(run)
    for change in changes:
        for line in filter(None, map(str.strip, change.replace("\\\n", "").splitlines())):
            word, _, rest = line.partition(" ")
            instruction = _INSTRUCTIONS.get(word.upper())
            if instruction is None:
                raise InvalidInstruction(
                    f"{word.lower()} is not a valid change command", hint=f"possible: {' '.join(sorted(_INSTRUCTIONS))}"
                )
            result = instruction(result, rest.strip(), line)
    return result


def split_words(text: str, line: str) -> list[str]:
    """Words separated by blanks; quotes group and a backslash escapes, as in a Dockerfile's ENV and LABEL."""
    words: list[str] = []
    word, quote, started, escaped = "", "", False, False
    for char in text:
        if escaped:
            word, escaped = word + (char if char in "\"'\\ $" else "\\" + char), False
        elif char == "\\" and quote != "'":
            escaped = started = True
        elif quote:
            quote, word = ("", word) if char == quote else (quote, word + char)
        elif char in "\"'":
            quote, started = char, True
        elif char.isspace():
            if started:
                words.append(word)
            word, started = "", False
        else:
            word, started = word + char, True
    if quote:
        raise InvalidInstruction(f"unclosed quote {quote} in: {line}")
    if started:
        words.append(word + ("\\" if escaped else ""))
    return words


def _json_list(text: str) -> list[str] | None:
    """The list of a JSON form, None if it is a shell form; a bad JSON list silently is one, as in Docker."""
    try:
        value = json.loads(text) if text.startswith("[") else None
    except ValueError:
        return None
    return value if isinstance(value, list) and all(isinstance(item, str) for item in value) else None


def _needs(text: str, line: str) -> str:
    if not text:
        raise InvalidInstruction(f"{line.split()[0].upper()} requires at least one argument")
    return text


def _pairs(text: str, line: str) -> dict[str, str]:
    words = split_words(_needs(text, line), line)
    if "=" not in words[0]:
        name, _, value = text.partition(" ")  # the old form: ENV name the rest is the value
        if not value:
            raise InvalidInstruction(f"{line.split()[0].upper()} must have two arguments: {line}")
        return {name: value.strip()}
    pairs: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise InvalidInstruction(f"can't find = in {word!r}: {line}", hint="give name=value pairs")
        pairs[name] = value
    return pairs


def _command(text: str, run: Mapping[str, Any]) -> list[str]:
    listed = _json_list(text)
    return listed if listed is not None else [*(run.get("Shell") or DEFAULT_SHELL), text]


def _cmd(run: dict[str, Any], text: str, line: str) -> dict[str, Any]:
    return merge_run(run, {"Cmd": _command(text, run)})


def _entrypoint(run: dict[str, Any], text: str, line: str) -> dict[str, Any]:
    # A new entrypoint makes an inherited command meaningless.
    return merge_run(run, {"Entrypoint": _command(text, run) if text else None, "Cmd": None})


def _env(run: dict[str, Any], text: str, line: str) -> dict[str, Any]:
    return merge_run(run, {"Env": _pairs(text, line)})


def _label(run: dict[str, Any], text: str, line: str) -> dict[str, Any]:
    return merge_run(run, {"Labels": _pairs(text, line)})


def _expose(run: dict[str, Any], text: str, line: str) -> dict[str, Any]:
    ports: dict[str, Any] = {}
    for word in split_words(_needs(text, line), line):
        number, _, protocol = word.partition("/")
        first, dash, last = number.partition("-")
        valid = first.isdigit() and (last.isdigit() if dash else True) and protocol in ("", "tcp", "udp", "sctp")
        if not valid or not 0 < int(first) <= int(last or first) < 65536:
            raise InvalidInstruction(
                f"invalid containerPort: {word}", hint="a port from 1 to 65535, as in 80 or 53/udp"
            )
        for port in range(int(first), int(last or first) + 1):
            ports[f"{port}/{protocol or 'tcp'}"] = {}
    return merge_run(run, {"ExposedPorts": ports})


def _volume(run: dict[str, Any], text: str, line: str) -> dict[str, Any]:
    listed = _json_list(_needs(text, line))
    places = listed if listed is not None else split_words(text, line)
    if not all(place.strip() for place in places):
        raise InvalidInstruction("VOLUME specified can not be an empty string")
    return merge_run(run, {"Volumes": {place: {} for place in places}})


def _text(key: str) -> Callable[[dict[str, Any], str, str], dict[str, Any]]:
    def change(run: dict[str, Any], text: str, line: str) -> dict[str, Any]:
        words = split_words(_needs(text, line), line)
        if len(words) != 1:
            raise InvalidInstruction(f"{line.split()[0].upper()} requires exactly one argument")
        return merge_run(run, {key: words[0]})

    return change


def _workdir(run: dict[str, Any], text: str, line: str) -> dict[str, Any]:
    import posixpath

    folder = posixpath.join("/", run.get("WorkingDir") or "/", _needs(text, line))
    return merge_run(run, {"WorkingDir": posixpath.normpath(folder)})


def _onbuild(run: dict[str, Any], text: str, line: str) -> dict[str, Any]:
    trigger = _needs(text, line).split()[0].upper()
    if trigger == "ONBUILD":
        raise InvalidInstruction("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
    if trigger in ("MAINTAINER", "FROM"):
        raise InvalidInstruction(f"{trigger} isn't allowed as an ONBUILD trigger")
    return merge_run(run, {"OnBuild": [*(run.get("OnBuild") or []), text]})


def duration_ns(text: str, what: str) -> int:
    """Nanoseconds of a Go duration such as `1m30s`.  Raises InvalidInstruction."""
    total, rest = 0.0, text
    while rest:
        digits = next((n for n, char in enumerate(rest) if not (char.isdigit() or char == ".")), len(rest))
        letters = next((n for n, char in enumerate(rest[digits:]) if char.isdigit()), len(rest) - digits)
        number, unit, rest = rest[:digits], rest[digits : digits + letters], rest[digits + letters :]
        if unit not in _UNITS or number.count(".") > 1 or not number.strip("."):
            raise InvalidInstruction(f"{what}: invalid duration {text!r}", hint="as in 30s or 1m30s")
        total += float(number) * _UNITS[unit]
    return int(total)


def _healthcheck(run: dict[str, Any], text: str, line: str) -> dict[str, Any]:
    words = _needs(text, line).split()
    check: dict[str, Any] = {}
    while words and words[0].startswith("--"):
        flag, _, value = words.pop(0)[2:].partition("=")
        if flag == "retries" and value.isdigit():
            check["Retries"] = int(value)
        elif flag in ("interval", "timeout", "start-period"):
            key = "".join(part.title() for part in flag.split("-"))
            check[key] = duration_ns(value, f"HEALTHCHECK --{flag}")
        else:
            raise InvalidInstruction(f"HEALTHCHECK: unknown or empty flag --{flag}: {line}")
    kind = words[0].upper() if words else ""
    if kind == "NONE" and len(words) == 1 and not check:
        return merge_run(run, {"Healthcheck": {"Test": ["NONE"]}})
    if kind != "CMD" or len(words) < 2:
        raise InvalidInstruction(f"HEALTHCHECK needs NONE or CMD and a command: {line}")
    command = text[text.upper().index("CMD") + 3 :].strip()
    listed = _json_list(command)
    return merge_run(run, {"Healthcheck": {"Test": ["CMD", *listed] if listed else ["CMD-SHELL", command], **check}})


_INSTRUCTIONS: Mapping[str, Callable[[dict[str, Any], str, str], dict[str, Any]]] = {
    "CMD": _cmd, "ENTRYPOINT": _entrypoint, "ENV": _env, "EXPOSE": _expose, "HEALTHCHECK": _healthcheck,
    "LABEL": _label, "ONBUILD": _onbuild, "STOPSIGNAL": _text("StopSignal"), "USER": _text("User"),
    "VOLUME": _volume, "WORKDIR": _workdir,
}  # fmt: skip


def instructions() -> Sequence[str]:
    """The instructions that may be given, sorted."""
    return sorted(_INSTRUCTIONS)
