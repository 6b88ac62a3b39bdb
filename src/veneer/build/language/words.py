"""What stands behind an instruction's word: flags, lists, pairs, commands.

Source: moby/buildkit frontend/dockerfile/parser/{line_parsers,split_command}.go, instructions/bflag.go.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from veneer.build.language.errors import nearest
from veneer.build.language.instructions import Command

_BLANKS = re.compile(r"[ \t\v\f\r\n]+")
_TRUE, _FALSE = ("true", "1", "t"), ("false", "0", "f")


class Syntax(Exception):
    """Something is wrong in an instruction; `column` is an offset in its text, `hint` the way out."""

    def __init__(self, reason: str, hint: str = "", at: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint
        self.at = at


def head(text: str) -> tuple[str, str]:
    """An instruction's word and the rest."""
    parts = _BLANKS.split(text.strip(), 1)
    return parts[0], parts[1].strip() if len(parts) > 1 else ""


def take_flags(rest: str) -> tuple[list[str], str]:
    """The leading `--flag` words, quotes taken off, and what follows."""
    flags: list[str] = []
    at, end = 0, len(rest)
    while at < end:
        while at < end and rest[at].isspace():
            at += 1
        if not rest.startswith("--", at):
            return flags, rest[at:]
        word, quote = "", ""
        begin = at
        while at < end and (quote or not rest[at].isspace()):
            char = rest[at]
            if quote:
                if char == quote:
                    quote = ""
                elif char == "\\" and quote == '"' and at + 1 < end:
                    at += 1
                    word += rest[at]
                else:
                    word += char
            elif char in "\"'":
                quote = char
            elif char == "\\" and at + 1 < end:
                at += 1
                word += rest[at]
            else:
                word += char
            at += 1
        if quote:
            raise Syntax(f"unclosed quote in flag {rest[begin:at]!r}")
        if word == "--":
            return flags, rest[at:].lstrip()
        flags.append(word)
    return flags, ""


class Flags:
    """The flags of one instruction.  Each is asked for once; `done` refuses what nobody asked for."""

    def __init__(self, keyword: str, words: Sequence[str]) -> None:
        self.keyword = keyword
        self._given: list[tuple[str, str | None]] = []
        for word in words:
            name, equals, value = word[2:].partition("=")
            self._given.append((name, value if equals else None))
        self._known: list[str] = []

    def text(self, name: str) -> str:
        """A flag with one value; "" where not given."""
        values = self.texts(name)
        if len(values) > 1:
            raise Syntax(f"duplicate flag specified: {name}", at=f"--{name}")
        return values[0] if values else ""

    def texts(self, name: str) -> list[str]:
        """A flag that may be repeated."""
        self._known.append(name)
        values = []
        for given, value in self._given:
            if given == name:
                if value is None:
                    raise Syntax(f"missing a value on flag: {name}", at=f"--{name}")
                values.append(value)
        return values

    def flag(self, name: str) -> bool | None:
        """A flag that is true, false, or (None) not given."""
        self._known.append(name)
        values = [value for given, value in self._given if given == name]
        if len(values) > 1:
            raise Syntax(f"duplicate flag specified: {name}", at=f"--{name}")
        if not values:
            return None
        value = values[0]
        if value is None or value.lower() in _TRUE:
            return True
        if value.lower() in _FALSE:
            return False
        raise Syntax(f"expecting boolean value for flag {name}, not: {value}", at=f"--{name}")

    def done(self) -> None:
        for name, _ in self._given:
            if name not in self._known:
                near = nearest(name, self._known)
                hint = f"did you mean --{near}?" if near else (
                    f"{self.keyword} knows {', '.join('--' + each for each in sorted(self._known))}"
                    if self._known else f"{self.keyword} takes no flags"
                )  # fmt: skip
                raise Syntax(f"unknown flag: --{name}", hint, at=f"--{name}")


def json_list(text: str) -> list[str] | None:
    """The strings of a JSON list, or None for anything else: a list that is bad JSON is a shell command.

    Raises Syntax for a list with something else than strings.
    """
    if not text.startswith("["):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, list):
        return None
    if not all(isinstance(item, str) for item in value):
        raise Syntax("when using JSON array syntax, arrays must be comprised of strings only")
    return value


def command(text: str) -> Command:
    """A command in exec form, if it is a JSON list, else in shell form."""
    listed = json_list(text)
    return Command(True, (text,)) if listed is None else Command(False, tuple(listed))


def words(text: str) -> list[str]:
    """A JSON list's strings, or the words between blanks."""
    listed = json_list(text)
    return [word for word in _BLANKS.split(text) if word] if listed is None else listed


def quoted_words(text: str, escape: str) -> list[str]:
    """The words between blanks, where quotes and escaped blanks hold words together; both are kept."""
    found: list[str] = []
    word: list[str] = []
    at, end, quote = 0, len(text), ""
    while at < end:
        char = text[at]
        if quote:
            if char == quote:
                quote = ""
            elif char == escape and quote != "'" and at + 1 < end:
                word.append(char)
                at += 1
                char = text[at]
        elif char.isspace():
            if word:
                found.append("".join(word))
                word = []
            at += 1
            continue
        elif char in "\"'":
            quote = char
        elif char == escape and at + 1 < end:
            word.append(char)
            at += 1
            char = text[at]
        word.append(char)
        at += 1
    if word:
        found.append("".join(word))
    return found


def pairs(text: str, keyword: str, escape: str) -> tuple[tuple[tuple[str, str], ...], bool]:
    """`a=1 b="2 3"` or the old `name the rest`: the pairs, and whether it was the old form."""
    found = quoted_words(text, escape)
    if not found:
        raise Syntax(f"{keyword} requires at least one argument")
    if "=" not in found[0]:
        parts = _BLANKS.split(text, 1)
        if len(parts) < 2:
            raise Syntax(f"{keyword} must have two arguments", hint=f"write {keyword} {parts[0]}=value")
        return ((parts[0], parts[1]),), True
    result = []
    for word in found:
        name, equals, value = word.partition("=")
        if not equals:
            raise Syntax(f'Syntax error - can\'t find = in "{word}". Must be of the form: name=value', at=word)
        if not name:
            raise Syntax(f"{keyword} names can not be blank", at=word)
        result.append((name, value))
    return tuple(result), False
