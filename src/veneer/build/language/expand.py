"""Words of a Dockerfile: quotes taken off, variables replaced.

`$x ${x} ${x:-w} ${x-w} ${x:+w} ${x+w} ${x:?w} ${x?w} ${x#p} ${x##p} ${x%p} ${x%%p} ${x/p/r} ${x//p/r}`.
Single quotes keep everything; in double ones the escape character only works before `"`, `$` and itself.
Source: docker/dockerfile:1 reference, Environment replacement; moby/buildkit frontend/dockerfile/shell.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from veneer.build.language.errors import ExpansionError
from veneer.build.language.patterns import Pattern
from veneer.build.language.quoting import quoted
from veneer.values import Value

_NAME = re.compile(r"[^\W\d]\w*|\d+|[@*#?\-$!]")
_SPACES = re.compile(r"[\t\n\v\f\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+")
_MEANT = ("'", '"', "$")
MAX_DEPTH = 50
"""How deep ${x:-${y:-...}} may go."""
MAX_WORD = 1 << 20
MAX_DOCUMENT = 16 << 20
"""Characters a replaced word or here-document may have: `${a}${a}` doubling itself twenty times is an attack."""


class Expanded(Value):
    """What a word became: as one text, as words, and the variables it asked for: all, and those that are not set.

    `guarded` are the missing ones that had something to say for that case: `${x:-w}`, `${x+w}`.
    """

    text: str
    words: tuple[str, ...]
    used: frozenset[str]
    missing: frozenset[str]
    guarded: frozenset[str]


class _Word:
    """One pass over a word.  `document`: quotes are content."""

    def __init__(self, text: str, env: Mapping[str, str], escape: str, *, document: bool = False) -> None:
        self.text = text
        self.env = env
        self.escape = escape
        self.quotes = "" if document else "'\""
        self.limit = MAX_DOCUMENT if document else MAX_WORD
        self.at = 0
        self.depth = 0
        self.inside = 0
        self.size = 0
        self.used: set[str] = set()
        self.missing: set[str] = set()
        self.unguarded: set[str] = set()
        self.top: list[tuple[str, bool]] = []
        self._special = {stop: _special(escape, stop, self.quotes) for stop in ("", "}", "/")}

    def run(self) -> Expanded:
        try:
            text = self._until("")
        except ExpansionError as error:
            shown = self.text if len(self.text) <= 100 else self.text[:100] + "..."
            at = self.text[error.position : error.position + 100]
            raise ExpansionError(f"failed to process {quoted(shown)}: {error.reason}", error.position, at) from None
        missing = frozenset(self.missing)
        return Expanded(text, tuple(self._words()), frozenset(self.used), missing, missing - self.unguarded)

    def _words(self) -> list[str]:
        """The text cut at blanks that came from outside of quotes."""
        found: list[str] = []
        word: list[str] = []
        for text, cut in self.top:
            if not cut:
                word.append(text)
                continue
            first, *others = _SPACES.split(text)
            word.append(first)
            for other in others:
                found.append("".join(word))
                word = [other]
        found.append("".join(word))
        return [each for each in found if each]

    def _until(self, stop: str, *, keep_escapes: bool = False) -> str:
        """Everything up to `stop`, which is passed; the end of the word where it is ""."""
        parts: list[str] = []
        text, special = self.text, self._special[stop]
        while True:
            found = special.search(text, self.at)
            end = found.start() if found else len(text)
            if end > self.at:
                self._add(parts, text[self.at : end], cut=True)
            self.at = end
            if found is None:
                break
            char = text[end]
            if char == stop:
                self.at += 1
                return "".join(parts)
            if char == "$":
                self._add(parts, self._dollar(), cut=True)
            elif char == "'":
                self._add(parts, self._single(), cut=False)
            elif char == '"':
                self._add(parts, self._double(keep_escapes=keep_escapes), cut=False)
            else:
                self.at += 2
                # A lone one at the end goes.
                self._add(parts, text[end if keep_escapes else end + 1 : self.at], cut=False)
        if stop:
            self.at = len(text)
            raise ExpansionError(
                "syntax error: missing '}'" if stop == "}" else "syntax error: missing '/' in ${}", self.at
            )
        return "".join(parts)

    def _add(self, parts: list[str], piece: str, *, cut: bool) -> None:
        self.size += len(piece)
        if self.size > self.limit:
            raise ExpansionError(f"more than {self.limit} characters after replacing its variables")
        parts.append(piece)
        if not self.inside:
            self.top.append((piece, cut))

    def _single(self) -> str:
        end = self.text.find("'", self.at + 1)
        if end < 0:
            raise ExpansionError("unexpected end of statement while looking for matching single-quote", self.at)
        inside = self.text[self.at + 1 : end]
        self.at = end + 1
        return inside

    def _double(self, *, keep_escapes: bool) -> str:
        begin = self.at
        self.at += 1
        parts: list[str] = []
        text, special = self.text, self._special[""]
        self.inside += 1
        while found := special.search(text, self.at):
            parts.append(text[self.at : found.start()])
            self.at = found.end()
            char = found[0]
            if char == '"':
                self.inside -= 1
                return "".join(parts)
            if char == "$":
                self.at -= 1
                self._add(parts, self._dollar(), cut=False)
            elif char == "'":
                parts.append(char)
            else:
                after = text[self.at : self.at + 1]
                if keep_escapes:
                    parts.append(char)
                if after and after in ('"', "$", self.escape):
                    self.at += 1
                    char = after
                parts.append(char)
        raise ExpansionError("unexpected end of statement while looking for matching double-quote", begin)

    def _dollar(self) -> str:
        begin = self.at
        self.at += 1
        if self.text[self.at : self.at + 1] == "{":
            self.at += 1
            return self._braced(begin)
        found = _NAME.match(self.text, self.at)
        if found is None:
            return "$"
        self.at = found.end()
        return self._value(found[0]) or ""

    def _value(self, name: str, *, guarded: bool = False) -> str | None:
        self.used.add(name)
        value = self.env.get(name)
        if value is None:
            self.missing.add(name)
            if not guarded:
                self.unguarded.add(name)
        return value

    def _braced(self, begin: int) -> str:
        following = self.text[self.at : self.at + 1]
        if not following:
            raise ExpansionError("syntax error: missing '}'", begin)
        if following in "{}:":
            raise ExpansionError("syntax error: bad substitution", begin)
        found = _NAME.match(self.text, self.at)
        name = found[0] if found else ""
        self.at += len(name)
        mark = self.text[self.at : self.at + 1]
        self.at += 1
        if mark == "}":
            return self._value(name) or ""
        if mark == "/":
            return self._replaced(name)
        if mark == ":":
            mark += self.text[self.at : self.at + 1]
            self.at += 1
        if not mark or mark == ":":
            raise ExpansionError("syntax error: missing '}'", begin)
        if mark in ("#", "%"):
            return self._trimmed(name, mark)
        if mark not in ("-", "+", "?", ":-", ":+", ":?"):
            raise ExpansionError(f"unsupported modifier ({mark}) in substitution", begin)
        return self._chosen(name, mark, begin)

    def _operand(self, stop: str, *, keep_escapes: bool = False) -> str:
        self.depth += 1
        self.inside += 1
        if self.depth > MAX_DEPTH:
            raise ExpansionError(f"${{...}} within each other more than {MAX_DEPTH} deep", self.at)
        word = self._until(stop, keep_escapes=keep_escapes)
        self.depth -= 1
        self.inside -= 1
        return word

    def _chosen(self, name: str, mark: str, begin: int) -> str:
        word = self._operand("}")
        value = self._value(name, guarded=mark[-1] != "?")
        there = value is not None and (value != "" or len(mark) == 1)
        if mark[-1] == "+":
            return word if there else ""
        if there:
            return value or ""
        if mark[-1] == "-":
            return word
        fact = "is not allowed to be unset" if value is None else "is not allowed to be empty"
        raise ExpansionError(f"{name}: {word or fact}", begin)

    def _trimmed(self, name: str, mark: str) -> str:
        word = self._operand("}", keep_escapes=True)
        longest = word.startswith(mark)
        pattern = Pattern(word[1:] if longest else word)
        value = self._value(name) or ""
        if mark == "#":
            end = pattern.prefix(value, longest=longest)
            return value if end < 0 else value[end:]
        begin = pattern.suffix(value, longest=longest)
        return value if begin < 0 else value[:begin]

    def _replaced(self, name: str) -> str:
        everywhere = self.text[self.at : self.at + 1] == "/"
        if everywhere:
            self.at += 1
        pattern = Pattern(self._operand("/", keep_escapes=True))
        replacement = self._operand("}", keep_escapes=True)
        value = self._value(name) or ""
        if len(value) * (len(replacement) + 1) > MAX_DOCUMENT:
            raise ExpansionError(f"more than {MAX_DOCUMENT} characters after replacing", self.at)
        return pattern.replaced(value, replacement, everywhere=everywhere)


def _special(escape: str, stop: str, quotes: str) -> re.Pattern[str]:
    made = _SPECIALS.get((escape, stop, quotes))
    if made is None:
        made = _SPECIALS[escape, stop, quotes] = re.compile(f"[{re.escape('$' + escape + stop + quotes)}]")
    return made


_SPECIALS: dict[tuple[str, str, str], re.Pattern[str]] = {}


def expanded(word: str, env: Mapping[str, str], escape: str = "\\") -> Expanded:
    """Everything there is to know about a word after its variables were replaced.  Raises ExpansionError."""
    return _Word(word, env, escape).run()


def expand(word: str, env: Mapping[str, str], escape: str = "\\") -> str:
    """`word` without its quotes and with its variables replaced; unset ones are empty.  Raises ExpansionError."""
    if escape not in word and not any(char in word for char in _MEANT):
        return word
    return _Word(word, env, escape).run().text


def expand_words(word: str, env: Mapping[str, str], escape: str = "\\") -> list[str]:
    """The words `word` becomes: a variable's value is cut at blanks where it does not stand in quotes."""
    return list(_Word(word, env, escape).run().words)


def expanded_document(text: str, env: Mapping[str, str]) -> Expanded:
    """Everything there is to know about a here-document after its variables were replaced.  Raises ExpansionError."""
    return _Word(text, env, "\\", document=True).run()


def expand_document(text: str, env: Mapping[str, str]) -> str:
    """A here-document with its variables replaced: quotes are content, a backslash makes the next character plain.

    The backslash does so whatever the escape directive says, as in docker.  Raises ExpansionError.
    """
    if "$" not in text and "\\" not in text:
        return text
    return expanded_document(text, env).text


def names_used(word: str, escape: str = "\\") -> frozenset[str]:
    """The variables a word asks for.  Raises ExpansionError where it cannot be read."""
    if "$" not in word:
        return frozenset()
    each = _Word(word, {}, escape)
    try:
        each.run()
    except ExpansionError as error:
        if "is not allowed" not in error.message and not each.used:
            raise
    return frozenset(each.used)
