"""Findings, and which of them are wanted."""

from __future__ import annotations

import re
from collections.abc import Collection

from veneer.build.language import comments
from veneer.build.language.errors import DockerfileError, did_you_mean, printable
from veneer.build.language.instructions import Dockerfile, Instruction, Location
from veneer.build.language.lint_rules import RULES
from veneer.build.language.words import SPACES
from veneer.values import Value

MAX_KNOWN = 1000
MAX_SUGGESTED = 200
CHECK = re.compile(r"check\s*=\s*(.+)", re.IGNORECASE)
"""A comment that says what is to be skipped."""


class Finding(Value):
    """`description` is the rule's, `message` this case's; `line` to `end_line` is the instruction."""

    rule: str
    description: str
    url: str
    message: str
    line: int
    end_line: int


class Options(Value):
    """What `skip=A,B;error=true;experimental=C` says; `all` stands for every rule."""

    skip: frozenset[str] = frozenset()
    error: bool = False
    experimental: frozenset[str] = frozenset()

    def wants(self, name: str) -> bool:
        """Whether a rule runs.  What is asked for by name runs even where all are skipped."""
        if name in self.skip:
            return False
        if RULES[name].experimental:
            return name in self.experimental or ("all" in self.experimental and "all" not in self.skip)
        return "all" not in self.skip


def check_options(text: str, name: str = "Dockerfile") -> Options:
    """Read the value of `# check=`.  Raises DockerfileError."""
    skip: frozenset[str] = frozenset()
    experimental: frozenset[str] = frozenset()
    error = False
    for part in filter(None, (part.strip() for part in text.split(";"))):
        key, equals, value = (each.strip() for each in part.partition("="))
        if key == "skip" and equals:
            skip = _names(value, name)
        elif key == "experimental" and equals:
            experimental = _names(value, name)
        elif key == "error" and equals:
            if value.lower() not in ("true", "t", "1", "false", "f", "0"):
                raise DockerfileError(f'failed to parse check option "{part}": {value} is not true or false', name=name)
            error = value.lower() in ("true", "t", "1")
        else:
            keys = ("skip", "error", "experimental")
            raise DockerfileError(f'invalid check option "{key}"{did_you_mean(key, keys)}', name=name,
                                  hint="as in skip=JSONArgsRecommended,StageNameCasing;error=true")  # fmt: skip
    return Options(skip, error, experimental)


def _names(text: str, name: str) -> frozenset[str]:
    found = frozenset(filter(None, (each.strip() for each in text.split(","))))
    for each in sorted(found - {"all", *RULES}):
        # Docker overlooks it, and a rule of a newer docker is no mistake; a misspelt one is.
        meant = did_you_mean(each, RULES)
        if meant:
            raise DockerfileError(f'no such check "{each}"{meant}', name=name)
    return found


class Report:
    """Collects findings; knows what a comment before an instruction skips."""

    def __init__(self, dockerfile: Dockerfile, options: Options) -> None:
        self.options = options
        self._name = dockerfile.name
        self._lines = dockerfile.lines
        self._directives = dockerfile.directives
        self._found: dict[Finding, None] = {}
        self._here: dict[int, Options] = {}
        self._suggested = 0

    def may_suggest(self, known: Collection[str]) -> bool:
        """Whether to look for the nearest of `known`: in files of a sane size, and not for the thousandth finding."""
        self._suggested += 1
        return len(known) <= MAX_KNOWN and self._suggested <= MAX_SUGGESTED

    def add(self, rule: str, instruction: Instruction, *words: str) -> None:
        place = instruction.location
        if self._options(place).wants(rule):
            self.add_line(rule, place.line, place.end_line, *words)

    def add_line(self, rule: str, line: int, end_line: int, *words: str) -> None:
        if self.options.wants(rule):
            each = RULES[rule]
            message = printable(each.message.format(*words))
            self._found[Finding(rule, each.description, each.url, message, line, end_line)] = None

    def sorted(self) -> list[Finding]:
        return sorted(self._found, key=lambda finding: finding.line)

    def comments(self, place: Location) -> list[str]:
        """The comments directly before an instruction; an empty line, an empty comment, a directive ends them."""
        return comments.above(self._lines, place, self._directives)

    def _options(self, place: Location) -> Options:
        """The file's options and those of a `# check=skip=...` before the instruction."""
        if place.line not in self._here:
            options = self.options
            above = self._lines[place.line - 2] if place.line - 1 > self._directives.last else ""
            if above.lstrip(SPACES).startswith("#"):
                for comment in self.comments(place):
                    if found := CHECK.fullmatch(comment):
                        here = check_options(found[1], self._name)
                        options = Options(options.skip | here.skip, options.error, options.experimental)
                        break
            self._here[place.line] = options
        return self._here[place.line]
