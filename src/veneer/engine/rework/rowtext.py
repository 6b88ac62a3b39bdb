"""What a history row says was done: the texts of docker's classic builder, of BuildKit, of veneer and of buildah.

The texts are not Dockerfile lines: quotes are gone, lists are Go's, a command stands behind the shell that ran it.
What was quoted is found again with the help of the values the image ended up with.
Sources: moby builder/dockerfile/dispatchers.go, BuildKit frontend/dockerfile/dockerfile2llb/convert.go, buildah's rows.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from veneer.values import Value

DEFAULT_SHELL = ("/bin/sh", "-c")
KEYWORDS = frozenset({
    "ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "HEALTHCHECK", "LABEL", "MAINTAINER", "ONBUILD", "RUN",
    "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR",
})  # fmt: skip
_NOOP = "#(nop)"
_BUILDKIT = " # buildkit"
_SHELL_WORDS = 2
_NONE: Mapping[str, str] = {}
_NAME = re.compile(r"(?:(?<=\s)|^)([A-Za-z_]\w*)=")
_FLAGS = re.compile(r"((?:--[a-z]+=\S+ +)+)")
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", '"': '"', "'": "'"}
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(.))", re.S)
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.S)


class Row(Value):
    """A row understood.  `keyword` "" is a row that no Dockerfile made, with all its text in `text`.

    For RUN: `text` is the command without shell, `args` the build arguments it saw, `flags` as written, and `words` the
    command in exec form (None: shell form), as far as it can be told: the text has no marks between words.
    `is_source`: `text` is as it stood in the Dockerfile, which buildah writes.
    """

    __slots__ = ()
    keyword: str
    text: str
    args: tuple[tuple[str, str], ...] = ()
    flags: str = ""
    words: tuple[str, ...] | None = None
    is_source: bool = False


def read_row(created_by: str, comment: str = "", shell: Sequence[str] = DEFAULT_SHELL,
             declared: Collection[str] = (), values: Mapping[str, str] = _NONE) -> Row:  # fmt: skip
    """Understand one row; `shell` is what SHELL said before it, `declared` the names of ARGs so far.

    `values` are arguments as other rows show them: they tell where one ends that no shell follows.
    """
    buildkit = created_by.endswith(_BUILDKIT) or comment.startswith("buildkit.")
    text = created_by.removesuffix(_BUILDKIT)
    before, marked, shown = text.partition(_NOOP)
    if marked:
        keyword, _, rest = shown.lstrip(" ").partition(" ")
        # The mark stands behind the shell, which SHELL has just changed; elsewhere it is part of a command.
        if before == " ".join(shell) + " " or keyword == "SHELL" or len(before.split()) <= _SHELL_WORDS:
            # Docker has two blanks there, but for the instructions that it writes in two places.
            source = not shown.startswith("  ") and keyword not in ("WORKDIR", "COPY", "ADD")
            return Row(keyword, rest, is_source=source) if keyword in KEYWORDS else Row("", created_by)
    keyword, _, rest = text.partition(" ")
    if keyword in KEYWORDS and keyword != "RUN":
        return Row(keyword, rest)
    if keyword == "RUN":
        # Builders other than docker's write the command as it stands in the Dockerfile.
        found = _run(rest, shell, declared, values)
        return found if buildkit or found.words is None else Row("RUN", rest)
    found = _run(text, shell, declared, values)
    # Without a shell before it the text may be anything that made a layer.
    return found if found.args or found.words is None or text.startswith("/") else Row("", created_by)


def _run(text: str, shell: Sequence[str], declared: Collection[str], values: Mapping[str, str]) -> Row:
    args: tuple[tuple[str, str], ...] = ()
    flags = ""
    prefix = " ".join(shell) + " "
    while True:
        if found := _FLAGS.match(text):
            flags, text = flags + found[1], text[found.end() :]
        elif found := re.match(r"\|(\d{1,3}) ", text):
            args, text = _arguments(text[found.end() :], int(found[1]), prefix, declared, values)
        else:
            break
    if text.startswith(prefix):
        return Row("RUN", text.removeprefix(prefix), args, flags.strip())
    if other := re.match(r"((?:/\S+/)?(?:ba|da|a|z|k|pw)?sh(?: -o \w+| -[A-Za-z]+)* -\w*c) ", text):
        # A shell that no SHELL row tells of: the words of an exec form, its last all that follows.
        return Row("RUN", text, args, flags.strip(), (*other[1].split(" "), text[other.end() :]))
    return Row("RUN", text, args, flags.strip(), tuple(text.split()))


def _arguments(
    text: str, count: int, prefix: str, declared: Collection[str], values: Mapping[str, str]
) -> tuple[tuple[tuple[str, str], ...], str]:
    """`count` build arguments from the start of `text`, and what follows them."""
    end = text.find(prefix)
    known = [found for found in _NAME.finditer(text) if not declared or found[1] in declared]
    if end < 0:
        end = _end_of_last(text, known[count - 1], values) if 0 < count <= len(known) else 0
    starts = [found for found in known if found.start() < end][:count]
    stops = [found.start() for found in starts[1:]] + [end]
    texts = [text[found.end() : stop].removesuffix(" ") for found, stop in zip(starts, stops, strict=True)]
    return tuple((found[1], value) for found, value in zip(starts, texts, strict=True)), text[end:]


def _end_of_last(text: str, last: re.Match[str], values: Mapping[str, str]) -> int:
    """Where the words after the last argument begin without a shell: its value is what it was elsewhere, or a word."""
    value = values.get(last[1], "")
    start = last.end() + (len(value) if text.startswith(value + " ", last.end()) else 0)
    space = text.find(" ", start)
    return len(text) if space < 0 else space + 1


def pairs(text: str, known: Mapping[str, str], *, names: bool = False) -> list[tuple[str, str]]:
    """`A=x y B=z` taken apart.  `known` are values by name that the image has: they tell where a value ends.

    `names` also takes words without `=`, as ARG has them; their value is "" and their name ends with nothing.
    """
    found: list[tuple[str, str]] = []
    rest = text.strip(" ")
    while rest:
        name, equals, after = rest.partition("=")
        if not equals or (names and " " in name):
            word, _, rest = rest.partition(" ")
            found.append((word, ""))
            continue
        value = known.get(name)
        if value is not None and (after == value or after.startswith(value + " ")):
            rest = after[len(value) :].lstrip(" ")
        else:
            value, rest = _value(after, known, names=names)
        found.append((name, value))
    return found


def _value(after: str, known: Mapping[str, str], *, names: bool) -> tuple[str, str]:
    """The value up to where another pair begins, and the rest."""
    for space in re.finditer(" ", after):
        name = after[space.end() :].partition("=")[0]
        if name in known or (names and " " not in name and re.fullmatch(r"\w+", name)):
            return after[: space.start()], after[space.end() :]
    return after, ""


def known_words(text: str, known: Collection[str]) -> list[str]:
    """Go's `[a b]` taken apart; `known` are the words it may hold, some of which have blanks in them."""
    rest = text.strip()
    rest = rest[1:-1] if rest.startswith("[") and rest.endswith("]") else rest
    words = []
    while rest := rest.strip(" "):
        fits = [word for word in known if rest == word or rest.startswith(word + " ")]
        word = max(fits, key=len) if fits else rest.partition(" ")[0]
        words.append(word)
        rest = rest[len(word) :]
    return words


def quoted_words(text: str) -> list[str] | None:
    """Go's `["a" "b"]` taken apart; None for what is no such list."""
    inner = text.strip()
    if not (inner.startswith("[") and inner.endswith("]")):
        return None
    inner = inner[1:-1]
    words = [_unescaped(found[1]) for found in _QUOTED.finditer(inner)]
    return words if not _QUOTED.sub("", inner).strip() else None


def _unescaped(text: str) -> str:
    def plain(found: re.Match[str]) -> str:
        byte, short, long, octal, letter = found.groups()
        if letter is not None:
            return _ESCAPES.get(letter, "\\" + letter)
        code = int(octal, 8) if octal else int(byte or short or long, 16)
        # A byte that is no text stays one.
        return chr(0xDC00 + code) if byte and code >= 0x80 else chr(code)

    return _ESCAPE.sub(plain, text)


def ports(text: str) -> list[str]:
    """The words of EXPOSE: `80 443/udp`, `map[80/tcp:{}]` or `[80/tcp]`."""
    inner = text.strip().removeprefix("map").strip("[]")
    return [word.removesuffix(":{}") for word in inner.split()]


_HEALTHCHECK = re.compile(r"""&\{(\[.*\])((?: "[^"]*")+) '(.*)'\}""", re.S)


def healthcheck(text: str) -> dict[str, object] | None:
    """The check as an image config has it, of `&{["CMD" "x"] "5s" "0s" "0s" '\\x03'}`; None for another text."""
    from veneer.build.language.durations import duration_ns

    found = _HEALTHCHECK.fullmatch(text.strip())
    test = quoted_words(found[1]) if found else None
    if found is None or test is None:
        return None
    check: dict[str, object] = {"Test": test}
    times = [duration_ns(each) for each in re.findall(r'"([^"]*)"', found[2])]
    for key, value in zip(("Interval", "Timeout", "StartPeriod", "StartInterval"), times, strict=False):
        if value:
            check[key] = value
    retries = _unescaped(found[3])
    if len(retries) == 1 and ord(retries):
        check["Retries"] = ord(retries)
    return check
