"""What stands behind an instruction's word: flags, lists, pairs, commands.

Source: moby/buildkit frontend/dockerfile/parser/{line_parsers,split_command}.go, instructions/bflag.go.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from veneer.build.language.errors import Syntax, did_you_mean
from veneer.build.language.instructions import Command
from veneer.build.language.quoting import quoted

SPACES = "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"
"""What Go calls white space: Python's str.isspace takes four control characters more."""
_SPACE_SET = frozenset(SPACES)
_BLANKS = re.compile(r"[\t\v\f\r ]+")
_NOT_SIMPLE = re.compile(r"[\"'\\`\x1c-\x1f]")
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_SURROGATES = re.compile("[\ud800-\udfff]")


def head(text: str) -> tuple[str, str]:
    """An instruction's word and the rest."""
    parts = _BLANKS.split(text.strip(SPACES), 1)
    return parts[0], parts[1].strip(SPACES) if len(parts) > 1 else ""


def take_flags(rest: str) -> tuple[list[str], str]:
    """The leading `--flag` words, quotes taken off, and what follows."""
    flags: list[str] = []
    at, end = 0, len(rest)
    while at < end:
        if rest[at] in _SPACE_SET:
            at += 1
            continue
        if not rest.startswith("--", at):
            return flags, rest[at:]
        word, quote = [], ""
        begin = at
        while at < end and (quote or rest[at] not in _SPACE_SET):
            char = rest[at]
            if char == quote:
                quote = ""
            elif char == "\\":
                at += 1
                word.append(rest[at : at + 1])
            elif not quote and char in "\"'":
                quote = char
            else:
                word.append(char)
            at += 1
        if quote:
            raise Syntax(f"unclosed quote in flag {rest[begin : begin + 100]}", at=rest[begin : begin + 100])
        flag = "".join(word)
        if flag == "--":
            break
        flags.append(flag)
    return flags, rest[at:].strip(SPACES)


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
        if not self._given:
            return ""
        return self._once(name, self.texts(name)) or ""

    def texts(self, name: str) -> list[str]:
        """A flag that may be repeated."""
        if not self._given:
            return []
        self._known.append(name)
        values = []
        for given, value in self._given:
            if given == name:
                if value is None:
                    raise Syntax(f"missing a value on flag: {name}", hint=f"--{name}=VALUE", at=f"--{name}")
                values.append(value)
        return values

    def flag(self, name: str) -> bool | None:
        """A flag that is true, false, or (None) not given."""
        if not self._given:
            return None
        self._known.append(name)
        value = self._once(name, ["true" if value is None else value for given, value in self._given if given == name])
        if value is None:
            return None
        if value == "":
            raise Syntax(f"missing a value on flag: {name}", hint=f"--{name} or --{name}=false", at=f"--{name}")
        if value.lower() not in ("true", "false"):
            raise Syntax(f"expecting boolean value for flag {name}, not: {value}", at=f"--{name}")
        return value.lower() == "true"

    def _once(self, name: str, values: list[str]) -> str | None:
        if len(values) > 1:
            raise Syntax(f"duplicate flag specified: {name}", at=f"--{name}")
        return values[0] if values else None

    def done(self) -> None:
        for name, _ in self._given:
            if name not in self._known:
                known = sorted(self._known)
                hint = f"{self.keyword} knows " + ", ".join(f"--{each}" for each in known)
                raise Syntax(f"unknown flag: --{name}{did_you_mean(name, known)}",
                             hint if known else f"{self.keyword} takes no flags", at=f"--{name}")  # fmt: skip


def json_list(text: str) -> list[str] | None:
    """The strings of a JSON list, or None for anything else: a list that is bad JSON is a shell command.

    Raises Syntax for a list with something else than strings.
    """
    if not text.startswith("["):
        return None
    import json

    try:
        value = json.loads(text, parse_int=float, parse_constant=_not_json)
    except (ValueError, RecursionError):
        return None
    if not all(isinstance(item, str) for item in value):
        raise Syntax("when using JSON array syntax, arrays must be comprised of strings only", at="[")
    if _SURROGATE.search(text):
        # Half a surrogate pair is no character.
        value = [_SURROGATES.sub("\N{REPLACEMENT CHARACTER}", item) for item in value]
    return list(value)


def _not_json(name: str) -> float:
    raise ValueError(name)


def command(text: str) -> Command:
    """A command in exec form, if it is a JSON list, else in shell form."""
    listed = json_list(text)
    return Command(True, (text,)) if listed is None else Command(False, tuple(listed))


def plain_words(text: str) -> list[str]:
    """The words between blanks."""
    return [word for word in _BLANKS.split(text) if word]


def words(text: str) -> list[str]:
    """A JSON list's strings, or the words between blanks."""
    listed = json_list(text)
    return plain_words(text) if listed is None else listed


def quoted_words(text: str, escape: str) -> list[str]:
    """The words between blanks, where quotes and escaped blanks hold words together; both are kept."""
    if not _NOT_SIMPLE.search(text):
        return text.split()
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
        elif char in _SPACE_SET:
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
        raise Syntax(f"{keyword} requires at least one argument", hint=f"{keyword} name=value")
    if "=" not in found[0]:
        parts = _BLANKS.split(text, 1)
        if len(parts) < 2:
            raise Syntax(f"{keyword} must have two arguments", hint=f"write {keyword} {parts[0]}=value", at=parts[0])
        return ((parts[0], parts[1]),), True
    result = []
    for word in found:
        name, equals, value = word.partition("=")
        if not equals:
            raise Syntax(
                f"Syntax error - can't find = in {quoted(word)}. Must be of the form: name=value",
                hint="a value with blanks needs quotes", at=word,
            )  # fmt: skip
        if not name:
            raise Syntax(f"{keyword} names can not be blank", at=word)
        result.append((name, value))
    return tuple(result), False
