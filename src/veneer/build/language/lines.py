"""The lines of a Dockerfile put together: directives, comments, continuations, here-documents.

One pass, linear in the file's length.  Source: moby/buildkit frontend/dockerfile/parser/{parser,directives}.go,
observed behaviour of docker 20.10 (classic and BuildKit).
"""

from __future__ import annotations

import re

from veneer.build.language.errors import DockerfileError, excerpt
from veneer.build.language.instructions import Directives, Heredoc, Warning
from veneer.values import Value

MAX_BYTES = 16 << 20
MAX_LINE = 1 << 20
MAX_HEREDOCS = 1000
"""A Dockerfile of 100,000 lines is a few MB; more than this is no Dockerfile."""
_DIRECTIVE = re.compile(r"#\s*([A-Za-z][A-Za-z0-9]*)\s*=\s*(.+?)\s*$")
_HEREDOC = re.compile(r"(\d*)<<(-?)([^<]*)$")
_KNOWN_DIRECTIVES = ("syntax", "escape", "check")
_MAY_HAVE_HEREDOC = ("ADD", "COPY", "RUN", "ONBUILD")


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


def read(source: bytes, name: str) -> Lines:
    """Take a Dockerfile apart.  Raises DockerfileError."""
    if len(source) > MAX_BYTES:
        raise DockerfileError(f"{name} has {len(source)} bytes, a Dockerfile may have {MAX_BYTES}", name=name)
    return _Reader(source, name).run()


class _Reader:
    def __init__(self, source: bytes, name: str) -> None:
        text = source.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
        self.lines = [line.removesuffix("\r") for line in text.split("\n")]
        self.name = name
        self.at = 0
        self.warnings: list[Warning] = []
        self.heredocs = 0

    def error(self, reason: str, first: int, last: int = 0, column: int = 0, hint: str = "") -> DockerfileError:
        shown = excerpt(self.lines, first, last or first, column)
        return DockerfileError(reason, name=self.name, line=first, excerpt=shown, hint=hint)

    def run(self) -> Lines:
        directives = self._directives()
        escape = re.escape(directives.escape)
        self._continued = re.compile(rf"(?:(?<!{escape})|^){escape}[ \t]*$")
        logical: list[Logical] = []
        while self.at < len(self.lines):
            if (found := self._next()) is not None:
                logical.append(found)
        return Lines(directives, tuple(logical), tuple(self.warnings))

    def _directives(self) -> Directives:
        """The comments at the very top that mean something; anything else ends them."""
        seen: dict[str, str] = {}
        for number, line in enumerate(self.lines):
            found = _DIRECTIVE.match(line.strip()) if line.lstrip().startswith("#") else None
            if found is None:
                break
            name = found[1].lower()
            if name not in _KNOWN_DIRECTIVES:
                break
            if name in seen:
                raise self.error(f"only one {name} parser directive can be used", number + 1)
            seen[name] = found[2]
            if name == "escape" and found[2] not in ("\\", "`"):
                raise self.error(f"invalid ESCAPE {found[2]!r}. Must be ` or \\", number + 1)
        return Directives(seen.get("syntax", ""), seen.get("escape", "\\"), seen.get("check", ""))

    def _next(self) -> Logical | None:
        first = self.at + 1
        line = self.lines[self.at].lstrip(" \t\v\f\r")
        self.at += 1
        if not line.strip() or line.startswith("#"):
            return None
        text, goes_on = self._cut(line)
        length = len(text)
        parts, empty = [text], 0
        while goes_on and self.at < len(self.lines):
            line = self.lines[self.at]
            self.at += 1
            bare = line.strip()
            if bare.startswith("#"):
                continue
            if not bare:
                # The file's end is no empty line.
                empty = empty or (self.at if self.at < len(self.lines) else 0)
                continue
            piece, goes_on = self._cut(line)
            parts.append(piece)
            length += len(piece)
            if length > MAX_LINE:
                raise self.error(f"an instruction of more than {MAX_LINE} characters", first)
        if empty:
            self.warnings.append(Warning("NoEmptyContinuation", "Empty continuation line", empty))
        joined = "".join(parts).rstrip()
        if not joined.strip():
            return None
        if length > MAX_LINE:
            raise self.error(f"an instruction of more than {MAX_LINE} characters", first)
        heredocs = self._heredocs(joined, first) if "<<" in joined else ()
        return Logical(joined, first, self.at, heredocs)

    def _cut(self, line: str) -> tuple[str, bool]:
        """The line without its continuation character, and whether it had one."""
        found = self._continued.search(line)
        return (line[: found.start()], True) if found else (line, False)

    # -- here-documents

    def _heredocs(self, text: str, first: int) -> tuple[Heredoc, ...]:
        if text.split(None, 1)[0].upper() not in _MAY_HAVE_HEREDOC:
            return ()
        found = []
        for word in raw_words(text):
            heredoc = heredoc_of(word)
            if heredoc is None:
                continue
            self.heredocs += 1
            if self.heredocs > MAX_HEREDOCS:
                raise self.error(f"more than {MAX_HEREDOCS} here-documents", first)
            name, strip, expand, fd = heredoc
            found.append(Heredoc(name, self._content(name, strip, first), expand, fd))
        return tuple(found)

    def _content(self, name: str, strip: bool, first: int) -> str:
        parts: list[str] = []
        while self.at < len(self.lines):
            line = self.lines[self.at]
            self.at += 1
            if strip:
                line = line.lstrip("\t")
            if line == name:
                return "".join(parts)
            parts.append(line + "\n")
        raise self.error(f"unterminated heredoc: no line is {name!r} alone", first, hint=f"end it with a line {name}")


def raw_words(text: str) -> list[str]:
    """The words of a command, quotes kept."""
    words: list[str] = []
    word, quote, escaped = "", "", False
    for char in text:
        if escaped:
            word, escaped = word + char, False
        elif quote:
            word += char
            if char == quote:
                quote = ""
        elif char == "\\":
            word, escaped = word + char, True
        elif char in "\"'":
            word, quote = word + char, char
        elif char.isspace():
            if word:
                words.append(word)
            word = ""
        else:
            word += char
    return [*words, word] if word else words


def heredoc_of(word: str) -> tuple[str, bool, bool, int] | None:
    """(name, strips tabs, expands, descriptor) of a word like `<<EOF`, `<<-"EOF"`, `3<<EOF`; None for others."""
    found = _HEREDOC.match(word)
    if found is None or not found[3]:
        return None
    raw = found[3]
    name = raw.replace('"', "").replace("'", "").replace("\\", "")
    if not name:
        return None
    return name, found[2] == "-", name == raw, int(found[1] or 0)
