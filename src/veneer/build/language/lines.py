"""The lines of a Dockerfile put together: directives, comments, continuations, here-documents.

One pass, linear in the file's length.  Source: moby/buildkit frontend/dockerfile/parser/{parser,directives}.go,
observed behaviour of docker 20.10 (classic and BuildKit).
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence

from veneer.build.language.errors import DockerfileError, excerpt
from veneer.build.language.instructions import Directives, Heredoc, Warning
from veneer.build.language.words import SPACES, head
from veneer.values import Value

MAX_BYTES = 16 << 20
MAX_LINE = 1 << 20
MAX_INSTRUCTIONS = 250_000
"""A Dockerfile of 100,000 lines is a few MB; more than this is no Dockerfile."""
_DIRECTIVE = re.compile(r"([A-Za-z][A-Za-z0-9]*)\s*=\s*(.+)")
_HEREDOC = re.compile(r"(\d*)<<(-?)([ \t]*)([^<]*)")
_PLAIN_NAME = re.compile(r"[^\W\d][\w.-]*")
_KNOWN_DIRECTIVES = ("syntax", "escape", "check")
_MAY_HAVE_HEREDOC = ("ADD", "COPY", "RUN")
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class Logical(Value):
    """One instruction: `text` with its continuations joined, `first` and `last` line (from 1), its here-documents."""

    __slots__ = ()
    text: str
    first: int
    last: int
    heredocs: tuple[Heredoc, ...]


class Lines(Value):
    """A file's instructions, its directives, and what a linter would say about its lines."""

    directives: Directives
    logical: tuple[Logical, ...]
    warnings: tuple[Warning, ...]


def split(source: bytes) -> list[str]:
    """A file's lines without their line feeds; bytes that are no UTF-8 become surrogates."""
    lines = source.removeprefix(codecs.BOM_UTF8).decode("utf-8", "surrogateescape").split("\n")
    if not lines[-1]:
        lines.pop()
    return lines


def read(source: bytes, name: str) -> Lines:
    """Take a Dockerfile apart.  Raises DockerfileError."""
    if not source:
        raise DockerfileError(f"the Dockerfile ({name}) cannot be empty", name=name, hint="it begins with FROM")
    if len(source) > MAX_BYTES:
        raise DockerfileError(f"{name} has {len(source)} bytes, a Dockerfile may have {MAX_BYTES}", name=name)
    if source.startswith(_UTF16):
        raise DockerfileError(f"{name} is UTF-16, a Dockerfile is UTF-8", name=name,
                              hint=f"iconv -f UTF-16 -t UTF-8 {name}")  # fmt: skip
    return _Reader(source, name).run()


class _Reader:
    def __init__(self, source: bytes, name: str) -> None:
        self.lines = split(source)
        self.name = name
        self.at = 0
        self.warnings: list[Warning] = []
        self._last_of: dict[str, int] = {}

    def error(self, reason: str, first: int, last: int = 0, hint: str = "") -> DockerfileError:
        shown = excerpt(self.lines, first, last or first)
        return DockerfileError(reason, name=self.name, line=first, excerpt=shown, hint=hint)

    def run(self) -> Lines:
        directives = self._directives()
        self._escape = directives.escape
        logical: list[Logical] = []
        while self.at < len(self.lines):
            if (found := self._next()) is not None:
                logical.append(found)
                if len(logical) > MAX_INSTRUCTIONS:
                    raise self.error(f"more than {MAX_INSTRUCTIONS} instructions", found.first)
        return Lines(directives, tuple(logical), tuple(self.warnings))

    def _directives(self) -> Directives:
        """The comments at the very top that mean something; anything else ends them."""
        seen: dict[str, str] = {}
        last = 0
        shebang = bool(self.lines) and self.lines[0].startswith("#!")
        for number, line in enumerate(self.lines[shebang:], 1 + shebang):
            comment = line.strip(SPACES)
            found = _DIRECTIVE.fullmatch(comment[1:].lstrip(SPACES)) if comment.startswith("#") else None
            if found is None:
                break
            name, value = found[1].lower(), found[2]
            if name not in _KNOWN_DIRECTIVES:
                break
            if name in seen:
                raise self.error(f"only one {name} parser directive can be used", number)
            if name == "escape" and value not in ("\\", "`"):
                raise self.error(f"invalid escape token '{value}' does not match ` or \\", number)
            seen[name] = value
            last = number
        # Docker looks for syntax and check behind a `#!` line, but not for escape.
        escape = "\\" if shebang else seen.get("escape", "\\")
        return Directives(seen.get("syntax", ""), escape, seen.get("check", ""), last)

    def _next(self) -> Logical | None:
        first = self.at + 1
        line = self.lines[self.at].lstrip(SPACES)
        self.at += 1
        if not line or line[0] == "#":
            return None
        text, goes_on = self._cut(line)
        if goes_on:
            text = self._continued(text, first)
        elif len(text) > MAX_LINE:
            raise self.error(f"an instruction of more than {MAX_LINE} characters", first)
        if not text.strip(SPACES):
            return None
        if "\0" in text:
            # Docker takes it, and no kernel takes the command, path or variable that comes of it.
            raise self.error("a NUL byte in an instruction", first, hint="a Dockerfile is UTF-8 text")
        last = self.at
        heredocs = self._heredocs(text, first) if "<<" in text else ()
        return Logical(text, first, self.at if heredocs else last, heredocs)

    def _continued(self, text: str, first: int) -> str:
        parts, length, empty, goes_on = [text], len(text), 0, True
        while goes_on and self.at < len(self.lines):
            line = self.lines[self.at]
            self.at += 1
            bare = line.lstrip(SPACES)
            if not bare:
                empty = empty or self.at
                continue
            if bare[0] == "#":
                continue
            piece, goes_on = self._cut(line)
            parts.append(piece)
            length += len(piece)
            if length > MAX_LINE:
                raise self.error(f"an instruction of more than {MAX_LINE} characters", first)
        if empty:
            self.warnings.append(Warning("NoEmptyContinuation", "Empty continuation line", empty))
        return "".join(parts)

    def _cut(self, line: str) -> tuple[str, bool]:
        """The line without its continuation character, and whether it had one: an escape that is not escaped."""
        line = line.rstrip("\r")
        if line[-1:] not in (self._escape, " ", "\t"):
            return line, False
        bare = line.rstrip(" \t")
        if bare.endswith(self._escape) and bare[-2:-1] != self._escape:
            return bare[:-1], True
        return line, False

    # -- here-documents

    def _heredocs(self, text: str, first: int) -> tuple[Heredoc, ...]:
        keyword, rest = head(text)
        if keyword.upper() == "ONBUILD":
            keyword = head(rest)[0]
        if keyword.upper() not in _MAY_HAVE_HEREDOC:
            return ()
        found = []
        for word in raw_words(text):
            heredoc = heredoc_of(word)
            if heredoc is None or not self._is_meant(word, heredoc):
                continue
            found.append(self._document(heredoc, first))
        return tuple(found)

    def _is_meant(self, word: str, heredoc: Heredoc) -> bool:
        """Whether that is a here-document and not arithmetic: `$((1 << 3))`, `$((1 <<3 ))`."""
        certain = _PLAIN_NAME.fullmatch(heredoc.name) is not None and " " not in word and "\t" not in word
        return certain or self._comes(heredoc.name)

    def _comes(self, name: str) -> bool:
        """Whether a line like that follows."""
        if not self._last_of:
            for number, line in enumerate(self.lines):
                line = line.rstrip("\r")
                self._last_of[line] = self._last_of[line.lstrip("\t")] = number
        return self._last_of.get(name, -1) >= self.at

    def _document(self, heredoc: Heredoc, first: int) -> Heredoc:
        parts: list[str] = []
        while self.at < len(self.lines):
            line = self.lines[self.at]
            self.at += 1
            end = line.rstrip("\r")
            if (end.lstrip("\t") if heredoc.strip_tabs else end) == heredoc.name:
                raw = "".join(parts)
                content = "".join(part.lstrip("\t") for part in parts) if heredoc.strip_tabs else raw
                return heredoc.replaced(content=content, raw=raw)
            parts.append(line + "\n")
        raise self.error(
            f"unterminated heredoc: no line is {heredoc.name} alone", first, hint=f"end it with a line {heredoc.name}"
        )


def raw_words(text: str) -> Sequence[str]:
    """The words of a command, quotes kept, `<< X` as one; none where a quote is not closed."""
    words: list[str] = []
    word: list[str] = []
    at, end = 0, len(text)
    may_begin = True  # a here-document: nothing or digits before it
    while at < end:
        char = text[at]
        begin = at
        at += 1
        before, may_begin = may_begin, may_begin and char.isdecimal()
        if char == "\\":
            at += 1
        elif char == "'":
            at = text.find("'", at) + 1
            if not at:
                return ()
        elif char == '"':
            while at < end and text[at] != '"':
                at += 2 if text[at] == "\\" else 1
            at += 1
            if at > end:
                return ()
        elif char == "<" and before and text[at : at + 1] == "<":
            at += 1
            at += text[at : at + 1] == "-"
            while text[at : at + 1] in (" ", "\t"):
                at += 1
        elif char in SPACES:
            if word:
                words.append("".join(word))
            word, may_begin = [], True
            continue
        word.append(text[begin:at])
    return [*words, "".join(word)] if word else words


def heredoc_of(word: str) -> Heredoc | None:
    """What a word like `<<EOF`, `<<-"EOF"`, `3<<EOF` begins, still without its content; None for others."""
    found = _HEREDOC.fullmatch(word)
    if found is None:
        return None
    name, quoted = _unquoted(found[4])
    if not name:
        return None
    return Heredoc(name, "", not quoted, found[2] == "-", "", int(found[1][:9] or 0))


def _unquoted(word: str) -> tuple[str, bool]:
    """A name without its quotes, and whether it had some."""
    name: list[str] = []
    quote, quoted, escaped = "", False, False
    for char in word:
        if escaped:
            name.append(char)
            escaped = False
        elif char == "\\" and quote != "'":
            escaped = True
        elif char == quote:
            quote = ""
        elif not quote and char in "\"'":
            quote, quoted = char, True
        else:
            name.append(char)
    return "".join(name), quoted
