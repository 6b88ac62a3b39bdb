"""Options are read as pflag reads them, and refused in its words."""

from __future__ import annotations

import pytest

from veneer.cli.command import Command, options_help
from veneer.cli.flags import FlagError, Option, parse

OPTIONS = (
    Option("a,all", "bool", "All"),
    Option("q,quiet", "bool", "Quiet"),
    Option("human", "bool", "Human", default=True, shown_default="true"),
    Option("f,filter", "filter", "Filter", many=True),
    Option("o,output", "string", "Output"),
    Option("c,change", "list", "Change", many=True),
)


@pytest.mark.parametrize(("words", "all_", "quiet"), [
    (["-aq"], True, True), (["-qa"], True, True), (["--all", "-q=false"], True, False), (["-aq=false"], True, False),
    (["--all=false"], False, False), (["-a", "--all=0"], False, False), (["--quiet=T", "--all=TRUE"], True, True),
    ([], False, False), (["--", "-a"], False, False),
])  # fmt: skip
def test_bool_options(words: list[str], all_: bool, quiet: bool) -> None:
    given = parse(words, OPTIONS)
    assert (given.flag("all"), given.flag("quiet")) == (all_, quiet)


def test_an_option_may_be_on_by_default() -> None:
    assert parse([], OPTIONS).flag("human")
    assert not parse(["--human=false"], OPTIONS).flag("human")


@pytest.mark.parametrize(
    "words", [["-o", "x"], ["-ox"], ["-o=x"], ["--output", "x"], ["--output=x"], ["-aox"], ["-ao", "x"]]
)
def test_a_value_may_stand_anywhere_pflag_looks_for_it(words: list[str]) -> None:
    assert parse(words, OPTIONS).text("output") == "x"


def test_values_may_look_like_options_and_be_empty() -> None:
    assert parse(["-o", "-a"], OPTIONS).text("output") == "-a"
    given = parse(["--output="], OPTIONS)
    assert given.text("output") == "" and "output" in given.given


def test_repeated_options_add_up_and_single_ones_overwrite() -> None:
    given = parse(["-c", "A", "--change=B", "-o1", "-o2", "-cC"], OPTIONS)
    assert given.texts("change") == ["A", "B", "C"]
    assert given.text("output") == "2"
    assert parse([], OPTIONS).texts("change") == []


def test_filters_are_names_with_values() -> None:
    given = parse(["-f", "label=a=b", "--filter", "label=c", "-f", "Dangling = true", "-f", "label=c"], OPTIONS)
    assert given.filters("filter") == {"label": ["a=b", "c"], "dangling": ["true"]}


def test_options_may_follow_arguments_unless_told_otherwise() -> None:
    assert parse(["x", "-a", "-", "y"], OPTIONS).arguments == ["x", "-", "y"]
    strict = parse(["-a", "x", "-q"], OPTIONS, interspersed=False)
    assert strict.arguments == ["x", "-q"] and not strict.flag("quiet")


@pytest.mark.parametrize(("words", "message", "near"), [
    (["--quite"], "unknown flag: --quite", "--quiet"),
    (["--zzz"], "unknown flag: --zzz", ""),
    (["--al"], "unknown flag: --al", "--all"),
    (["-ax"], "unknown shorthand flag: 'x' in -x", ""),
    (["-xa"], "unknown shorthand flag: 'x' in -xa", ""),
    (["--output"], "flag needs an argument: --output", ""),
    (["-o"], "flag needs an argument: 'o' in -o", ""),
    (["-ao"], "flag needs an argument: 'o' in -o", ""),
    (["---all"], "bad flag syntax: ---all", ""),
    (["--=x"], "bad flag syntax: --=x", ""),
    (["--all=maybe"],
     'invalid argument "maybe" for "-a, --all" flag: strconv.ParseBool: parsing "maybe": invalid syntax', ""),
    (["-f", "x"], 'invalid argument "x" for "-f, --filter" flag: bad format of filter (expected name=value)', ""),
])  # fmt: skip
def test_what_cannot_be_is_refused_in_pflags_words(words: list[str], message: str, near: str) -> None:
    with pytest.raises(FlagError) as caught:
        parse(words, OPTIONS)
    assert (str(caught.value), caught.value.near) == (message, near)


def test_defaults_are_not_shared_between_calls() -> None:
    parse([], OPTIONS).texts("change").append("x")
    assert parse([], OPTIONS).texts("change") == []


def test_help_lines_up_and_wraps() -> None:
    text = options_help(OPTIONS[:4], 50)
    assert text == (
        "  -a, --all             All\n"
        "  -f, --filter filter   Filter\n"
        "      --human           Human (default true)\n"
        "  -q, --quiet           Quiet"
    )
    wrapped = options_help((Option("x", "bool", "one two three four five six seven"),), 40)
    assert wrapped == "      --x   one two three four five six\n            seven"


@pytest.mark.parametrize(("least", "most", "given", "problem"), [
    (0, 0, 0, ""), (0, 0, 1, "accepts no arguments"), (1, 1, 0, "requires 1 argument"),
    (2, 2, 3, "requires 2 arguments"),
    (1, None, 0, "requires at least 1 argument"), (1, None, 9, ""), (0, 1, 2, "requires at most 1 argument"),
    (1, 2, 3, "requires at least 1 and at most 2 arguments"),
])  # fmt: skip
def test_the_number_of_arguments_is_told_in_dockers_words(
    least: int, most: int | None, given: int, problem: str
) -> None:
    command = Command(lambda app, parsed: None, "", least=least, most=most)
    assert command.count_problem(given) == problem
