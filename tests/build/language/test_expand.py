"""Variables in words: every form of `${}` gives what docker gives, in time that grows with the text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veneer.build.language.errors import ExpansionError
from veneer.build.language.expand import (
    MAX_DEPTH,
    MAX_WORD,
    expand,
    expand_document,
    expand_words,
    expanded,
    names_used,
)
from veneer.build.language.patterns import MAX_PATTERN, Pattern

ENV = {
    "a": "one", "empty": "", "path": "/usr/local/bin", "file": "a.tar.gz", "odd": "()[]{}^$.*?|\\x", "star": "x*y",
    "_u1": "under", "é": "accent", "words": "p q  r",
}  # fmt: skip


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("plain", "plain"),
        ("", ""),
        ("$a", "one"),
        ("${a}", "one"),
        ("$a$a", "oneone"),
        ("x$a.y", "xone.y"),
        ("$ab", ""),
        ("${a}b", "oneb"),
        ("$none", ""),
        ("$", "$"),
        ("a$", "a$"),
        ("$.", "$."),
        ("$/", "$/"),
        ("$_u1", "under"),
        ("$é", "accent"),
        ("$1a", "a"),
        # quotes and escapes
        ("'$a'", "$a"),
        ('"$a"', "one"),
        ('"it\'s $a"', "it's one"),
        ("'a\"b'", 'a"b'),
        ("\\$a", "$a"),
        ("\\\\$a", "\\one"),
        ("\\x", "x"),
        ('"\\x"', "\\x"),
        ('"\\$a \\" \\\\"', '$a " \\'),
        ("a\\", "a"),
        ("'a\\'", "a\\"),
        ("a'b'\"c\"d", "abcd"),
        # set, empty or not
        ("${a:-x}", "one"),
        ("${empty:-x}", "x"),
        ("${empty-x}", ""),
        ("${none-x}", "x"),
        ("${none:-x}", "x"),
        ("${none:-}", ""),
        ("${none:-$a}", "one"),
        ("${none:-${nope:-${a}}}", "one"),
        ("${none:-'$a'}", "$a"),
        ('${none:-"$a"}', "one"),
        ("${none:-\\}}", "}"),
        ("${none:-a b}", "a b"),
        ("${a:+x}", "x"),
        ("${empty:+x}", ""),
        ("${empty+x}", "x"),
        ("${none+x}", ""),
        ("${a:+-$a}", "-one"),
        ("${a:?x}", "one"),
        ("${empty?x}", ""),
        # what is at the ends
        ("${path#/}", "usr/local/bin"),
        ("${path#*/}", "usr/local/bin"),
        ("${path##*/}", "bin"),
        ("${path%/*}", "/usr/local"),
        ("${path%%/*}", ""),
        ("${file%.gz}", "a.tar"),
        ("${file%.*}", "a.tar"),
        ("${file%%.*}", "a"),
        ("${file#?}", ".tar.gz"),
        ("${file#a?tar}", ".gz"),
        ("${file#$none}", "a.tar.gz"),
        ("${file#b}", "a.tar.gz"),
        ("${file##}", "a.tar.gz"),
        ("${file%}", "a.tar.gz"),
        ("${file#*}", "a.tar.gz"),
        ("${file##*}", ""),
        ("${star#x\\*}", "y"),
        ("${star%\\*y}", "x"),
        ("${odd#()[]{\\}^$.\\*\\?|\\\\}", "x"),
        ("${none#x}", ""),
        # what is inside
        ("${path/local/LOCAL}", "/usr/LOCAL/bin"),
        ("${path/\\//-}", "-usr/local/bin"),
        ("${path//\\//-}", "-usr-local-bin"),
        ("${path//l*l/x}", "/usr/x/bin"),
        ("${path//?/x}", "xxxxxxxxxxxxxx"),
        ("${file/.}", "error"),
        ("${file/.tar/}", "a.gz"),
        ("${file//./$a}", "aonetaronegz"),
        ("${file/${none:-.}/_}", "a_tar.gz"),
        ("${file//x/y}", "a.tar.gz"),
        ("${none//x/y}", ""),
    ],
)
def test_a_word_is_replaced_as_docker_replaces_it(word: str, expected: str) -> None:
    if expected == "error":
        with pytest.raises(ExpansionError):
            expand(word, ENV)
    else:
        assert expand(word, ENV) == expected


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("${", "missing '}'"),
        ("${a", "missing '}'"),
        ("${a:", "missing '}'"),
        ("${a:-x", "missing '}'"),
        ("${}", "bad substitution"),
        ("${:-x}", "bad substitution"),
        ("${{a}}", "bad substitution"),
        ("${a=x}", "unsupported modifier (=)"),
        ("${a:=x}", "unsupported modifier (:=)"),
        ("${a!x}", "unsupported modifier (!)"),
        ("${none:?}", "none: is not allowed to be unset"),
        ("${empty:?}", "empty: is not allowed to be empty"),
        ("${none?give a value}", "none: give a value"),
        ("${none:?set $a}", "none: set one"),
        ("${a//x}", "missing '/' in ${}"),
        ("${a/x/y", "missing '}'"),
        ("${a#\\x}", "invalid escape '\\x'"),
        ("'a", "matching single-quote"),
        ('"a', "matching double-quote"),
        ("${a:-'x}", "matching single-quote"),
    ],
)
def test_a_word_that_cannot_be_replaced_is_shown_with_the_reason(word: str, reason: str) -> None:
    with pytest.raises(ExpansionError) as caught:
        expand(word, ENV)
    assert reason in caught.value.message
    assert caught.value.message.startswith('failed to process "')


def test_the_error_points_into_the_word() -> None:
    with pytest.raises(ExpansionError) as caught:
        expand("abc${none:?}", ENV)
    assert caught.value.position == 3


def test_another_escape_character_is_the_only_one() -> None:
    assert expand("`$a\\b``", ENV, "`") == "$a\\b`"
    assert expand('"`$a `x"', ENV, "`") == "$a `x"


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("$words", ["p", "q", "r"]),
        ('"$words"', ["p q  r"]),
        ("x$words", ["xp", "q", "r"]),
        ("${none:-80 81}", ["80", "81"]),
        ("'a b' c", ["a b", "c"]),
        ("a\\ b", ["a b"]),
        ("$none", []),
        ("  a  b ", ["a", "b"]),
    ],
)
def test_a_value_is_cut_at_blanks_where_no_quotes_hold_it(word: str, expected: list[str]) -> None:
    assert expand_words(word, ENV) == expected


def test_a_here_document_keeps_its_quotes() -> None:
    text = "it's \"$a\" '${a}' \\$a \\\\ \\n ${none:-x}\n"
    assert expand_document(text, ENV) == "it's \"one\" 'one' $a \\ n x\n"
    assert expand_document("plain 'text\n", ENV) == "plain 'text\n"


def test_what_a_word_asked_for_is_told() -> None:
    found = expanded("$a ${none} ${nope:-$a} ${nil+x}", ENV)
    assert found.used == {"a", "none", "nope", "nil"}
    assert found.missing == {"none", "nope", "nil"}
    assert found.guarded == {"nope", "nil"}


def test_the_names_in_a_word_are_found_without_values() -> None:
    assert names_used("x") == frozenset()
    assert names_used("${a:-$b}/$c") == {"a", "b", "c"}
    assert names_used("${a:?}") == {"a"}
    with pytest.raises(ExpansionError):
        names_used("${}")


# ---- hostile words


@pytest.mark.parametrize(
    "word",
    ["${" * 100_000, "${a:-" * 100_000, "${a#" * 100_000 + "}" * 100_000, "${a//" * 10_000, "${a:-" * 60 + "}" * 60],
    ids=lambda word: word[:8],
)
def test_depth_has_a_bound(word: str) -> None:
    with pytest.raises(ExpansionError):
        expand(word, {})


def test_as_deep_as_the_bound_is_fine() -> None:
    assert expand("${x:-" * MAX_DEPTH + "y" + "}" * MAX_DEPTH, {}) == "y"


@pytest.mark.parametrize("word", ["$" * 300_000, "${a}" * 100_000, '""' * 100_000, "''" * 100_000, "\\a" * 100_000])
def test_a_long_word_is_passed_once(word: str) -> None:
    expand(word, {"a": "x"})


def test_doubling_has_a_bound() -> None:
    half = "x" * (MAX_WORD // 2 + 1)
    with pytest.raises(ExpansionError, match=f"more than {MAX_WORD} characters"):
        expand("$a$a", {"a": half})
    with pytest.raises(ExpansionError, match="after replacing"):
        expand("${a//x/" + "y" * 1000 + "}", {"a": half})


class Counted(str):
    """A text that counts how often it is searched."""

    searches = 0

    def find(self, *args: object) -> int:
        Counted.searches += 1
        return super().find(*args)  # type: ignore[arg-type]


def test_a_pattern_never_goes_back() -> None:
    # With backtracking this is exponential.
    Counted.searches = 0
    assert Pattern("*a" * 500 + "b").prefix(Counted("a" * 100_000), longest=False) == -1
    assert Counted.searches <= 501


def test_a_pattern_has_a_length() -> None:
    with pytest.raises(ExpansionError, match=f"more than {MAX_PATTERN} characters"):
        expand("${a#" + "?" * (MAX_PATTERN + 1) + "}", {"a": "x"})


# ---- laws

names = st.from_regex(r"[a-z_][a-z0-9_]{0,5}", fullmatch=True)
plain = st.text(st.characters(codec="utf-8", exclude_characters="$'\"\\"), max_size=30)
anything = st.text(st.characters(codec="utf-8"), max_size=30)


@given(plain)
def test_a_word_without_special_characters_stays(word: str) -> None:
    assert expand(word, ENV) == word


@given(anything)
def test_single_quotes_keep_everything(text: str) -> None:
    text = text.replace("'", "")
    assert expand(f"'{text}'", ENV) == text


@given(anything)
def test_escaping_every_character_keeps_everything(text: str) -> None:
    assert expand("".join("\\" + char for char in text), ENV) == text


@given(names, anything)
def test_a_value_is_not_looked_into(name: str, value: str) -> None:
    env = {name: value}
    assert expand(f"${name}", env) == expand(f"${{{name}}}", env) == expand(f'"${name}"', env) == value


@given(names, anything, plain)
def test_what_is_cut_off_an_end_was_there(name: str, value: str, rest: str) -> None:
    pattern = rest.replace("*", "").replace("?", "").replace("}", "")
    env = {name: value}
    cut = expand(f"${{{name}#{pattern}}}", env)
    assert cut == value.removeprefix(pattern)
    assert expand(f"${{{name}%{pattern}}}", env) == value.removesuffix(pattern)


letters = st.text(st.sampled_from("ab"), max_size=12)
patterns = st.text(st.sampled_from("ab*?"), max_size=6)


@given(letters, patterns)
def test_patterns_match_what_a_slow_search_finds(value: str, pattern: str) -> None:
    from fnmatch import fnmatchcase

    ends = [end for end in range(len(value) + 1) if fnmatchcase(value[:end], pattern)]
    begins = [begin for begin in range(len(value) + 1) if fnmatchcase(value[begin:], pattern)]
    made = Pattern(pattern)
    assert made.prefix(value, longest=False) == min(ends, default=-1)
    assert made.prefix(value, longest=True) == max(ends, default=-1)
    assert made.suffix(value, longest=False) == max(begins, default=-1)
    assert made.suffix(value, longest=True) == min(begins, default=-1)


@given(letters, patterns.filter(bool))
def test_replacing_takes_the_leftmost_longest_match(value: str, pattern: str) -> None:
    import re

    regex = re.compile(pattern.replace("*", ".*").replace("?", "."))
    found = regex.search(value)
    expected = value[: found.start()] + "_" + value[found.end() :] if found else value
    assert Pattern(pattern).replaced(value, "_", everywhere=False) == expected


@given(anything)
def test_anything_is_replaced_or_refused(word: str) -> None:
    try:
        expand(word, ENV)
    except ExpansionError:
        return
    words = expand_words(word, ENV)
    assert all(words)
