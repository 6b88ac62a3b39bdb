""".dockerignore: which paths of a context nobody may see.

The last pattern that matches a path, or a directory it is in, decides; `!` takes back.  A pattern is compiled into
one of four things, so that most paths cost a set lookup and one regular expression, whatever the number of patterns:
a path, a name at any depth, an expression for names at any depth, an expression for paths.
Source: moby/patternmatcher and its ignorefile; tonistiigi/fsutil for what a walk does with an excluded directory.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable

from veneer.build.context.globs import STAR, BadPattern, character_class, committed

NAME = ".dockerignore"
_BOM = "\ufeff"
_SPACE = " \t\n\v\f\r\x85\xa0"
_MAX_FILE = 4 << 20
_MAX_LINE = 65536
_CLASSES = {
    "d": "[0-9]", "D": "[^0-9]", "s": r"[\t\n\f\r ]", "S": r"[^\t\n\f\r ]", "w": "[0-9A-Za-z_]", "W": "[^0-9A-Za-z_]",
    "b": r"(?a:\b)", "B": r"(?a:\B)", "A": r"\A", "z": r"\Z", "a": r"\a", "f": r"\f", "t": r"\t", "n": r"\n",
    "r": r"\r", "v": r"\v",
}  # fmt: skip
"""What a backslash before a letter means to the expressions of Go, which these patterns become there."""

_WHOLE, _ANY = "(?:.*/)?", ".*"
"""What `**` becomes: whole directories, none included, or at a pattern's end anything."""
_MAX_LOOSE = 4
"""`a**b` has to be tried at every slash; each more of them in a pattern multiplies that."""
_LAZY = {_WHOLE: "(?:.*?/)??", _ANY: ".*?"}

State = tuple[bool, ...]
"""Which groups of patterns matched a directory, itself or through one above it."""


class Ignore:
    """Compiled patterns.  Paths are relative, with slashes, as str with surrogateescape for what is not UTF-8."""

    def __init__(self, patterns: Iterable[str] = (), *, source: str = NAME) -> None:
        self.source = source
        self.patterns: tuple[str, ...] = ()
        """The patterns in normal form, `!` first where they take back."""
        self._groups: list[_Group] = []
        self._exceptions: list[str] = []
        for pattern in patterns:
            self._add(pattern)
        self.takes_back = len(self._groups) > 1
        self._plain_exceptions = not any(set("*[]?^\\") & set(_prefix(pattern)) for pattern in self._exceptions)
        self._start: State = (False,) * len(self._groups)

    @classmethod
    def parse(cls, data: bytes, *, source: str = NAME) -> Ignore:
        """Read a .dockerignore file.  Raises BadPattern naming the line."""
        if len(data) > _MAX_FILE:
            raise BadPattern(f"{source} has {len(data)} bytes; the limit is {_MAX_FILE}")
        ignore = cls(source=source)
        text = data.decode("utf-8", "surrogateescape").removeprefix(_BOM)
        patterns = []
        for number, line in enumerate(text.split("\n"), 1):
            if len(line) > _MAX_LINE:
                raise BadPattern(f"{source}:{number}: a line of {len(line)} characters; the limit is {_MAX_LINE}")
            if line.startswith("#"):
                continue
            pattern = line.strip(_SPACE)
            if pattern:
                taken_back = pattern.startswith("!")
                pattern = pattern[1:].strip(_SPACE) if taken_back else pattern
                pattern = _clean(pattern) if pattern else ""
                if len(pattern) > 1:
                    pattern = pattern.removeprefix("/")
                patterns.append("!" + pattern if taken_back else pattern)
                try:
                    ignore._add(patterns[-1])
                except BadPattern as error:
                    raise BadPattern(f"{source}:{number}: {error.message}", hint=error.hint) from None
        return cls(patterns, source=source)

    def __bool__(self) -> bool:
        return bool(self.patterns)

    def _add(self, pattern: str) -> None:
        pattern = pattern.strip(_SPACE)
        if not pattern:
            return
        pattern = _clean(pattern)
        self.patterns += (pattern,)
        taken_back = pattern.startswith("!")
        if taken_back:
            pattern = pattern[1:]
            if not pattern:
                raise BadPattern('illegal exclusion pattern: "!"')
            self._exceptions.append(pattern)
        if not self._groups:
            self._groups.append(_Group(excludes=True))
        if self._groups[-1].excludes == taken_back:
            self._groups.append(_Group(excludes=not taken_back))
        self._groups[-1].add(pattern)

    @property
    def start(self) -> State:
        """The state of the root, which nothing matches."""
        return self._start

    def enter(self, path: str, state: State) -> tuple[bool, State]:
        """Whether the directory `path` is excluded, and the state for what is in it; `state` is its parent's."""
        name = path.rpartition("/")[2]
        matched = False
        found = []
        for group, above in zip(self._groups, state, strict=True):
            match = above or (group.excludes != matched and group.matches(path, name))
            found.append(match)
            if match:
                matched = group.excludes
        return matched, tuple(found)

    def filter(self, state: State) -> Callable[[str, str], bool] | None:
        """For the files of one directory, whose state this is: (path, name) -> excluded; None: nothing is."""
        groups = self._groups
        if not groups or (len(groups) == 1 and groups[0].empty):
            return None
        if len(groups) == 1 and not state[0]:
            return groups[0].matches

        def excluded(path: str, name: str) -> bool:
            matched = False
            for group, above in zip(groups, state, strict=True):
                if above or (group.excludes != matched and group.matches(path, name)):
                    matched = group.excludes
            return matched

        return excluded

    def hopeless(self, path: str) -> bool:
        """Whether nothing in the excluded directory `path` can be taken back, so that it need not be looked into."""
        if not self.takes_back:
            return True
        if not self._plain_exceptions:
            return False
        return not any((_prefix(pattern) + "/").startswith(path + "/") for pattern in self._exceptions)

    def excludes(self, path: bytes | str, is_dir: bool = False) -> bool:
        """Whether a path is excluded, itself or by a directory it is in."""
        text = path.decode("utf-8", "surrogateescape") if isinstance(path, bytes) else path
        parts = text.split("/")
        state, matched = self._start, False
        for count in range(1, len(parts) + 1):
            matched, state = self.enter("/".join(parts[:count]), state)
        return matched

    def deciding(self, path: bytes | str) -> str:
        """The pattern because of which a path is excluded; "" if it is not."""
        text = path.decode("utf-8", "surrogateescape") if isinstance(path, bytes) else path
        if not self.excludes(text):
            return ""
        for count in range(len(self.patterns), 0, -1):
            if not Ignore(self.patterns[: count - 1]).excludes(text):
                return self.patterns[count - 1]
        return ""


class _Group:
    """Patterns one after the other that all exclude, or all take back."""

    def __init__(self, *, excludes: bool) -> None:
        self.excludes = excludes
        self.empty = True
        self._paths: set[str] = set()
        self._names: set[str] = set()
        self._name_expressions: list[str] = []
        self._path_expressions: list[str] = []
        self._name_match: Callable[[str], object] | None = None
        self._path_match: Callable[[str], object] | None = None
        self._compiled = True

    def add(self, pattern: str) -> None:
        self.empty = False
        form, text = _compiled(pattern)
        if form == "path":
            self._paths.add(text)
        elif form == "name":
            self._names.add(text)
        elif form == "names":
            self._name_expressions.append(text)
            self._compiled = False
        else:
            self._path_expressions.append(text)
            self._compiled = False

    def _compile(self) -> None:
        """Have the expressions as one each; when first used, since it takes as long as there are patterns."""
        self._compiled = True
        self._name_match = _all(self._name_expressions) if self._name_expressions else None
        self._path_match = _all(self._path_expressions) if self._path_expressions else None

    def matches(self, path: str, name: str) -> bool:
        if not self._compiled:
            self._compile()
        return (
            name in self._names
            or path in self._paths
            or (self._name_match is not None and self._name_match(name) is not None)
            or (self._path_match is not None and self._path_match(path) is not None)
        )


def _all(expressions: list[str]) -> Callable[[str], object]:
    return re.compile("|".join(f"(?:{expression})" for expression in expressions)).match


def _compiled(pattern: str) -> tuple[str, str]:
    """("path" | "name", literal) or ("names" | "paths", expression)."""
    form, expression = _translated(pattern)
    if form == "exact":
        return "path", pattern
    if form == "prefix":
        return "paths", re.escape(pattern[:-2])
    if form == "suffix":
        literal = pattern[2:]
        if literal.startswith("/") and "/" not in literal[1:]:
            return "name", literal[1:]
        if literal.startswith("/"):
            return "paths", rf"(?s:.*/)?{re.escape(literal[1:])}\Z"
        return "paths", rf"(?s:.*){re.escape(literal)}\Z"
    if pattern.startswith("**/") and "/" not in pattern[3:] and "**" not in pattern[3:]:
        rest = _checked(_translated(pattern[3:])[1], pattern)
        return "names", rest + r"\Z"
    return "paths", _checked(expression, pattern) + r"\Z"


def _checked(expression: str, pattern: str) -> str:
    try:
        re.compile(expression)
    except re.error as error:
        raise BadPattern(f"syntax error in pattern {pattern!r}: {error.msg}") from None
    return expression


def _translated(pattern: str) -> tuple[str, str]:
    """How docker would match the pattern: (exact | prefix | suffix | expression, the expression)."""
    _check_classes(pattern)
    form, out, at, first = "exact", [], 0, True
    while at < len(pattern):
        character = pattern[at]
        at += 1
        if pattern.startswith("**", at - 1):
            at += 1
            if pattern.startswith("/", at):
                at += 1
            if at < len(pattern):
                out.append(_WHOLE)
                form = "expression"
            elif form == "exact":
                form = "prefix"
            else:
                out.append(_ANY)
                form = "expression"
            if first:
                form = "suffix"
        elif character == "*":
            out.append(STAR)
            form = "expression"
        elif character == "?":
            out.append("[^/]")
            form = "expression"
        elif character == "\\":
            escaped = pattern[at]
            at += 1
            out.append(_escape(escaped, pattern))
            form = "expression"
        elif character == "[":
            at, text = character_class(pattern, at)
            out.append(text)
            form = "expression"
        elif character == "]":
            out.append(r"\]")
            form = "expression"
        elif character == "^":
            out.append(r"\A")
        else:
            out.append(re.escape(character))
        first = False
    return form, _settled(out)


def _settled(tokens: list[str]) -> str:
    """Tokens as one expression whose stars are settled one after the other, single ones and doubled ones.

    What a `**` skips before the stretch after it fits need not be tried again if the next `**` can skip the rest: if
    that takes anything, or the stretch ends with a slash, so that the rest is whole directories.
    """
    stretches: list[tuple[str, list[str]]] = [("", [])]
    for token in tokens:
        if token in (_WHOLE, _ANY):
            stretches.append((token, []))
        else:
            stretches[-1][1].append(token)
    out = []
    loose = 0
    for number, (deep, stretch) in enumerate(stretches, 1):
        following = stretches[number][0] if number < len(stretches) else ""
        firm = following == _ANY or (following == _WHOLE and stretch[-1:] == ["/"])
        text = committed(stretch, last=firm)
        loose += bool(following) and not firm
        if loose > _MAX_LOOSE:
            raise BadPattern(f"more than {_MAX_LOOSE} ** without a slash before them in one pattern")
        out.append(f"(?>{_LAZY[deep]}{text})" if deep and firm else deep + text)
    return "".join(out)


def _escape(escaped: str, pattern: str) -> str:
    if escaped in _CLASSES:
        return _CLASSES[escaped]
    if escaped.isascii() and escaped.isalnum():
        raise BadPattern(f"syntax error in pattern {pattern!r}: \\{escaped} means nothing")
    return re.escape(escaped)


def _check_classes(pattern: str) -> None:
    """What Go's path.Match finds wrong with a pattern.  Raises BadPattern."""
    at = 0
    while at < len(pattern):
        if pattern[at] == "\\":
            if at + 1 == len(pattern):
                raise BadPattern(f"syntax error in pattern {pattern!r}: it ends with an escape")
            at += 2
        elif pattern[at] == "[":
            at, _ = character_class(pattern, at + 1)
        else:
            at += 1


def _prefix(pattern: str) -> str:
    return pattern.removesuffix("/**").removesuffix("/*")


def _clean(pattern: str) -> str:
    """Go's filepath.Clean: no doubled slashes, no `.`, `..` resolved as text, no slash at the end."""
    return "/" + posixpath.normpath(pattern).lstrip("/") if pattern.startswith("/") else posixpath.normpath(pattern)
