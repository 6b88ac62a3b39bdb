"""Words of a Dockerfile: quotes taken off, variables replaced.

`$x ${x} ${x:-w} ${x-w} ${x:+w} ${x+w} ${x:?w} ${x?w} ${x#p} ${x##p} ${x%p} ${x%%p} ${x/p/r} ${x//p/r}`.
Single quotes keep everything; in double ones the escape character only works before `"`, `$` and itself.
Source: docker/dockerfile:1 reference, Environment replacement; moby/buildkit frontend/dockerfile/shell.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from veneer.build.language.errors import ExpansionError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|\d+|[@*#?\-$!]")
_UNCLOSED = "unexpected end of statement while looking for matching {}-quote in {}"
MAX_DEPTH = 50
"""How deep ${x:-${y:-...}} may go."""
MAX_WORD = 1 << 20
"""Characters a replaced word may have: `${a}${a}` doubling itself twenty times is an attack."""


class _Word:
    """One pass over a word.  `split`: blanks outside quotes end a word."""

    def __init__(self, text: str, env: Mapping[str, str], escape: str, *, keep_quotes: bool = False) -> None:
        self.text = text
        self.env = env
        self.escape = escape
        self.keep_quotes = keep_quotes
        self.at = 0
        self.depth = 0
        self.used: list[str] = []
        self.missing: list[str] = []
        self.words: list[str] = []
        self._word = ""
        self._begun = False

    def run(self) -> str:
        result = self._until("")
        if self._begun:
            self.words.append(self._word)
        if len(result) > MAX_WORD:
            raise ExpansionError(f"a word of more than {MAX_WORD} characters after replacing its variables")
        return result

    def _add(self, text: str, *, split: bool) -> str:
        """Take note of text for the list of words too."""
        if self.depth:
            return text
        if not split:
            self._word += text
            self._begun = True
            return text
        for char in text:
            if char.isspace():
                if self._begun:
                    self.words.append(self._word)
                self._word, self._begun = "", False
            else:
                self._word += char
                self._begun = True
        return text

    def _until(self, stops: str) -> str:
        parts: list[str] = []
        text, end = self.text, len(self.text)
        while self.at < end:
            char = text[self.at]
            if stops and char in stops:
                return "".join(parts)
            if char == "'":
                parts.append(self._add(self._single(), split=False))
            elif char == '"':
                parts.append(self._add(self._double(), split=False))
            elif char == "$":
                parts.append(self._add(self._dollar(), split=True))
            elif char == self.escape:
                self.at += 1
                if self.at == end:
                    break  # a lone one at the end goes, as in docker
                parts.append(self._add(text[self.at], split=False))
                self.at += 1
            else:
                parts.append(self._add(char, split=True))
                self.at += 1
        if stops:
            raise ExpansionError(f"syntax error: missing '{stops[0]}' in {self.text!r}", self.at)
        return "".join(parts)

    def _single(self) -> str:
        end = self.text.find("'", self.at + 1)
        if end < 0:
            raise ExpansionError(_UNCLOSED.format("single", repr(self.text)), self.at)
        inside = self.text[self.at + 1 : end]
        self.at = end + 1
        return inside

    def _double(self) -> str:
        begin = self.at
        self.at += 1
        parts: list[str] = []
        text, end = self.text, len(self.text)
        while self.at < end:
            char = text[self.at]
            if char == '"':
                self.at += 1
                return "".join(parts)
            if char == "$":
                parts.append(self._dollar())
                continue
            if char == self.escape and self.at + 1 < end and text[self.at + 1] in ('"', "$", self.escape):
                self.at += 1
                char = text[self.at]
            parts.append(char)
            self.at += 1
        raise ExpansionError(_UNCLOSED.format("double", repr(self.text)), begin)

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

    def _value(self, name: str) -> str | None:
        self.used.append(name)
        value = self.env.get(name)
        if value is None:
            self.missing.append(name)
        return value

    def _braced(self, begin: int) -> str:
        found = _NAME.match(self.text, self.at)
        if found is None:
            raise ExpansionError(f"bad substitution: a name is missing after ${{ in {self.text!r}", begin)
        name = found[0]
        self.at = found.end()
        mark = self.text[self.at : self.at + 1]
        if mark == "}":
            self.at += 1
            return self._value(name) or ""
        if mark in ("#", "%"):
            return self._trimmed(name, mark)
        if mark == "/":
            return self._replaced(name)
        empty_counts = mark == ":"
        if empty_counts:
            self.at += 1
            mark = self.text[self.at : self.at + 1]
        if mark not in ("-", "+", "?") or not mark:
            what = (
                f"unsupported modifier ({':' if empty_counts else ''}{mark}) in substitution" if mark else "missing '}'"
            )
            raise ExpansionError(f"{what}: {self.text!r}", begin)
        self.at += 1
        return self._chosen(name, mark, empty_counts)

    def _operand(self, stops: str) -> str:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise ExpansionError(f"${{...}} within each other more than {MAX_DEPTH} deep", self.at)
        word = self._until(stops)
        self.depth -= 1
        return word

    def _chosen(self, name: str, mark: str, empty_counts: bool) -> str:
        word = self._operand("}")
        self.at += 1
        value = self.env.get(name)
        self.used.append(name)
        there = value is not None and (value != "" or not empty_counts)
        if mark == "-":
            return value or "" if there else word
        if mark == "+":
            return word if there else ""
        if there:
            return value or ""
        raise ExpansionError(
            f"{name}: {word or ('is not allowed to be empty' if value == '' else 'is not allowed to be unset')}"
        )

    def _trimmed(self, name: str, mark: str) -> str:
        self.at += 1
        greedy = self.text[self.at : self.at + 1] == mark
        if greedy:
            self.at += 1
        pattern = self._pattern("}")
        self.at += 1
        value = self._value(name) or ""
        if mark == "#":
            return _without_prefix(value, pattern, greedy=greedy)
        return _without_suffix(value, pattern, greedy=greedy)

    def _replaced(self, name: str) -> str:
        self.at += 1
        everywhere = self.text[self.at : self.at + 1] == "/"
        if everywhere:
            self.at += 1
        pattern = self._pattern("/}")
        replacement = ""
        if self.text[self.at] == "/":
            self.at += 1
            replacement = self._operand("}")
        self.at += 1
        value = self._value(name) or ""
        if not pattern:
            return value
        matcher = re.compile(_regex(_checked(pattern), greedy=True), re.DOTALL)
        return matcher.sub(lambda _: replacement, value, count=0 if everywhere else 1)

    def _pattern(self, stops: str) -> list[str]:
        """A glob up to one of `stops`, as pieces: "*", "?", or one literal character after a backslash."""
        pieces: list[str] = []
        text, end = self.text, len(self.text)
        while self.at < end:
            char = text[self.at]
            if char in stops:
                return pieces
            if char == "$":
                pieces += ["\\" + each for each in self._dollar()]
                continue
            if char in (self.escape, "\\") and self.at + 1 < end:
                self.at += 1
                pieces.append("\\" + text[self.at])
            elif char in "*?":
                pieces.append(char)
            else:
                pieces.append("\\" + char)
            self.at += 1
        raise ExpansionError(f"syntax error: missing '}}' in {self.text!r}", self.at)


def _regex(pieces: list[str], *, greedy: bool) -> str:
    star = ".*" if greedy else ".*?"
    out: list[str] = []
    for piece in pieces:
        if piece == "*":
            if not out or out[-1] != star:  # `**` means `*`, and a regex of thousands of stars takes for ever
                out.append(star)
        else:
            out.append("." if piece == "?" else re.escape(piece[1:]))
    return "".join(out)


MAX_STARS = 8
"""Stars in one pattern: each may cost another factor of the value's length."""


def _checked(pieces: list[str]) -> list[str]:
    if pieces.count("*") > MAX_STARS:
        raise ExpansionError(f"a pattern with more than {MAX_STARS} stars")
    return pieces


def _without_prefix(value: str, pieces: list[str], *, greedy: bool) -> str:
    found = re.compile(_regex(_checked(pieces), greedy=greedy), re.DOTALL).match(value)
    return value[found.end() :] if found else value


def _without_suffix(value: str, pieces: list[str], *, greedy: bool) -> str:
    # The shortest suffix is the shortest prefix of everything turned round.
    found = re.compile(_regex(_checked(pieces)[::-1], greedy=greedy), re.DOTALL).match(value[::-1])
    return value[: len(value) - found.end()] if found else value


def expand(word: str, env: Mapping[str, str], escape: str = "\\") -> str:
    """`word` without its quotes and with its variables replaced; unset ones are empty.  Raises ExpansionError."""
    if not any(char in word for char in ("$", "'", '"', escape)):
        return word
    return _Word(word, env, escape).run()


def expand_words(word: str, env: Mapping[str, str], escape: str = "\\") -> list[str]:
    """The words `word` becomes: a variable's value is split at blanks where it does not stand in quotes."""
    each = _Word(word, env, escape)
    each.run()
    return each.words


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
