"""What a command is: its name, usage, options and the function that runs it; and its help, laid out as docker's."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from veneer.cli.flags import Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.cli.app import App
    from veneer.cli.flags import Parsed

Run = Callable[["App", "Parsed"], int | None]

LIST_FORMAT = """Format output using a custom template:
'table':            Print output in table format with column headers (default)
'table TEMPLATE':   Print output in table format using the given Go template
'json':             Print in JSON format
'TEMPLATE':         Print output using the given Go template."""
INSPECT_FORMAT = """Format output using a custom template:
'json':             Print in JSON format
'TEMPLATE':         Print output using the given Go template."""
_NARROWEST = 24


def arguments(number: int) -> str:
    """`1 argument`, `2 arguments`."""
    return f"{number} argument" + ("s" if number != 1 else "")


class Command:
    """One command.

    `usage` is what stands behind the name ("[OPTIONS] IMAGE [IMAGE...]"), `least` and `most` bound the number of
    arguments (most None: any), `names` are the spellings that run it, as the help lists them under Aliases.
    A `raw` command takes all words as arguments, options too.  One that `only_looks` has no use for layers' files: a
    plain user enters no namespace for it.  Unless `interspersed`, options end at the first argument.  `misuse` is the
    exit status of a command line that cannot be, where it is not docker's.
    """

    __slots__ = (
        "about",
        "interspersed",
        "least",
        "misuse",
        "most",
        "names",
        "only_looks",
        "options",
        "raw",
        "run",
        "usage",
    )

    def __init__(
        self,
        run: Run,
        about: str,
        usage: str = "",
        *,
        least: int = 0,
        most: int | None = 0,
        options: Sequence[Option] = (),
        names: Sequence[str] = (),
        raw: bool = False,
        only_looks: bool = False,
        interspersed: bool = True,
        misuse: int = 0,
    ) -> None:
        self.run = run
        self.about = about
        self.usage = usage
        self.least = least
        self.most = most
        self.options = tuple(options)
        self.names = tuple(names)
        self.raw = raw
        self.only_looks = only_looks
        self.interspersed = interspersed
        self.misuse = misuse

    def usage_line(self, path: str) -> str:
        """`Usage:  veneer rmi [OPTIONS] IMAGE [IMAGE...]`."""
        return f"Usage:  {path} {self.usage}".rstrip()

    def count_problem(self, given: int) -> str:
        """Why that number of arguments will not do, in docker's words; "" if it will."""

        if self.least <= given and (self.most is None or given <= self.most):
            return ""
        if self.most == 0:
            return "accepts no arguments"
        if self.most == self.least:
            return f"requires {arguments(self.least)}"
        if self.most is None:
            return f"requires at least {arguments(self.least)}"
        if self.least == 0:
            return f"requires at most {arguments(self.most)}"
        return f"requires at least {self.least} and at most {arguments(self.most)}"

    def help(self, path: str, columns: int) -> str:
        """The whole help text, `columns` wide."""
        parts = [self.usage_line(path), self.about]
        if len(self.names) > 1:
            parts.append("Aliases:\n  " + ", ".join(f"veneer {name}" for name in self.names))
        shown = [option for option in self.options if not option.hidden]
        if shown:
            parts.append("Options:\n" + options_help(shown, columns))
        return "\n\n".join(parts) + "\n"


def options_help(options: Sequence[Option], columns: int) -> str:
    """Options, one to a line or more, sorted by name, their help texts in a column of their own."""
    rows = []
    for option in sorted(options, key=lambda each: each.long):
        kind = "" if option.kind == "bool" else " " + option.kind
        head = (f"  -{option.short}, " if option.short else "      ") + f"--{option.long}{kind}"
        rows.append((head, option.help + (f" (default {option.shown_default})" if option.shown_default else "")))
    left = max(len(head) for head, _ in rows) + 3
    return "\n".join(head.ljust(left) + _wrapped(text, left, columns) for head, text in rows)


def _wrapped(text: str, indent: int, columns: int) -> str:
    room = max(columns - indent, _NARROWEST)
    lines: list[str] = []
    for paragraph in text.split("\n"):
        line = ""
        for word in paragraph.split(" "):
            if line and len(line) + 1 + len(word) > room:
                lines.append(line.rstrip())
                line = word
            else:
                line = f"{line} {word}" if line or not word else word
        lines.append(line)
    return ("\n" + " " * indent).join(lines)


def commands_help(title: str, rows: Sequence[tuple[str, str]]) -> str:
    """A block of a group's help: each command's name and what it does."""
    left = max(12, max(len(name) for name, _ in rows) + 2)
    return f"{title}:\n" + "\n".join(f"  {name.ljust(left)}{about}".rstrip() for name, about in rows)
