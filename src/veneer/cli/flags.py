"""Command-line options as docker's users know them: pflag's rules and pflag's words.

`--flag=false`, `-aq`, `-fvalue`, `-f value`, options after arguments, `--` to end them.  A parser library would bring
other texts and exit codes, and more milliseconds than everything else a short command does.
Source: spf13/pflag flag.go.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

Value = bool | str | list[str]

_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})


class FlagError(Exception):
    """Options that cannot be; the text is pflag's.  `near` is the option that may have been meant ("" if none)."""

    def __init__(self, message: str, near: str = "") -> None:
        super().__init__(message)
        self.near = near


class Option:
    """One option of a command.

    `names` is "all" or "a,all"; `kind` is "bool" or the word help shows for the value ("string", "filter", ...).
    `many` options may be repeated and give a list.  `shown_default` stands in the help as "(default ...)".
    `check` looks at every value given, and raises ValueError with why it will not do.
    """

    __slots__ = ("check", "default", "help", "hidden", "kind", "long", "many", "short", "shown_default")

    def __init__(
        self,
        names: str,
        kind: str,
        help: str,
        *,
        many: bool = False,
        default: Value | None = None,
        shown_default: str = "",
        hidden: bool = False,
        check: Callable[[str], object] | None = None,
    ) -> None:
        short, comma, long = names.partition(",")
        self.short = short if comma else ""
        self.long = long if comma else short
        self.kind = kind
        self.help = help
        self.many = many
        self.default: Value = default if default is not None else False if kind == "bool" else [] if many else ""
        self.shown_default = shown_default
        self.hidden = hidden
        self.check = check

    @property
    def key(self) -> str:
        """The option's name in what `parse` gives: `no-trunc` is `no_trunc`."""
        return self.long.replace("-", "_")

    @property
    def shown(self) -> str:
        """The option as pflag names it in errors: `-a, --all`."""
        return f"-{self.short}, --{self.long}" if self.short else f"--{self.long}"


HELP = Option("h,help", "bool", "Print usage", hidden=True)


class Parsed:
    """What a command line said: `arguments`, and `values` with each option's value or default.

    `given` names the options that stood there; `help` is whether help was asked for.
    """

    __slots__ = ("arguments", "given", "values")

    def __init__(self, options: Sequence[Option]) -> None:
        self.arguments: list[str] = []
        self.values: dict[str, Value] = {
            option.key: list(option.default) if isinstance(option.default, list) else option.default
            for option in options
        }
        self.given: set[str] = set()

    @property
    def help(self) -> bool:
        return bool(self.values.get("help"))

    def flag(self, key: str) -> bool:
        """The value of a bool option."""
        return self.values[key] is True

    def text(self, key: str) -> str:
        """The value of a single-valued option; "" unless given."""
        value = self.values[key]
        return value if isinstance(value, str) else ""

    def texts(self, key: str) -> list[str]:
        """The values of a repeatable option."""
        value = self.values[key]
        return value if isinstance(value, list) else []

    def filters(self, key: str) -> dict[str, list[str]]:
        """The values of a filter option: each name with its values, in the order they were given."""
        filters: dict[str, list[str]] = {}
        for word in self.texts(key):
            name, _, value = word.partition("=")
            values = filters.setdefault(name.strip().lower(), [])
            if value.strip() not in values:
                values.append(value.strip())
        return filters

    def store(self, option: Option, text: str) -> None:
        """Take one value in.  Raises FlagError."""
        value: Value = text
        if option.kind == "bool":
            if text not in _TRUE and text not in _FALSE:
                why = f'strconv.ParseBool: parsing "{text}": invalid syntax'
                raise FlagError(f'invalid argument "{text}" for "{option.shown}" flag: {why}')
            value = text in _TRUE
        if option.kind == "filter" and "=" not in text:
            why = "bad format of filter (expected name=value)"
            raise FlagError(f'invalid argument "{text}" for "{option.shown}" flag: {why}')
        if option.check is not None:
            try:
                option.check(text)
            except ValueError as error:
                raise FlagError(f'invalid argument "{text}" for "{option.shown}" flag: {error}') from None
        if option.many:
            present = self.values[option.key]
            value = [*present, text] if isinstance(present, list) and option.key in self.given else [text]
        self.values[option.key] = value
        self.given.add(option.key)


class _Reader:
    def __init__(self, words: Sequence[str], options: Sequence[Option]) -> None:
        self.rest = list(reversed(words))
        self.longs = {option.long: option for option in options}
        # A command's own -h goes before that of help.
        self.shorts = {option.short: option for option in reversed(options) if option.short}
        self.parsed = Parsed(options)

    def long(self, word: str) -> None:
        name, equals, value = word[2:].partition("=")
        if not name or name.startswith("-"):
            raise FlagError(f"bad flag syntax: {word}")
        option = self.longs.get(name)
        if option is None:
            raise FlagError(f"unknown flag: --{name}", _near(name, self.longs))
        if equals:
            self.parsed.store(option, value)
        elif option.kind == "bool":
            self.parsed.store(option, "true")
        elif self.rest:
            self.parsed.store(option, self.rest.pop())
        else:
            raise FlagError(f"flag needs an argument: --{name}")

    def short(self, cluster: str) -> None:
        while cluster:
            option = self.shorts.get(cluster[0])
            if option is None:
                raise FlagError(f"unknown shorthand flag: '{cluster[0]}' in -{cluster}")
            if len(cluster) > 2 and cluster[1] == "=":
                self.parsed.store(option, cluster[2:])
                return
            if option.kind == "bool":
                self.parsed.store(option, "true")
                cluster = cluster[1:]
                continue
            if len(cluster) > 1:
                self.parsed.store(option, cluster[1:])
            elif self.rest:
                self.parsed.store(option, self.rest.pop())
            else:
                raise FlagError(f"flag needs an argument: '{cluster[0]}' in -{cluster}")
            return


def parse(words: Sequence[str], options: Sequence[Option], *, interspersed: bool = True) -> Parsed:
    """Read a command's words.  Without `interspersed`, the first argument ends the options.  Raises FlagError."""
    reader = _Reader(words, [*options, HELP])
    arguments = reader.parsed.arguments
    while reader.rest:
        word = reader.rest.pop()
        if word == "--":
            arguments += reversed(reader.rest)
            break
        if word.startswith("--"):
            reader.long(word)
        elif word.startswith("-") and word != "-":
            reader.short(word[1:])
        else:
            arguments.append(word)
            if not interspersed:
                arguments += reversed(reader.rest)
                break
    return reader.parsed


def _near(name: str, known: Mapping[str, Option]) -> str:
    import difflib

    visible = [long for long, option in known.items() if not option.hidden]
    return next((f"--{match}" for match in difflib.get_close_matches(name, visible, 1)), "")
