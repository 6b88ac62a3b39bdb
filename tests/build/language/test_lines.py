"""A Dockerfile's lines become instructions: directives, comments, continuations, here-documents."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veneer.build.language.errors import DockerfileError
from veneer.build.language.instructions import Directives, Heredoc
from veneer.build.language.lines import MAX_BYTES, MAX_INSTRUCTIONS, MAX_LINE, Lines, heredoc_of, raw_words, read


def lines(text: str | bytes) -> Lines:
    return read(text.encode() if isinstance(text, str) else text, "Dockerfile")


def texts(text: str | bytes) -> list[str]:
    return [each.text for each in lines(text).logical]


def refused(text: str | bytes) -> DockerfileError:
    with pytest.raises(DockerfileError) as caught:
        lines(text)
    return caught.value


# ---- directives


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# syntax=docker/dockerfile:1\nFROM a\n", Directives(syntax="docker/dockerfile:1")),
        ("#syntax = docker/dockerfile:1  \nFROM a\n", Directives(syntax="docker/dockerfile:1")),
        ("# escape=`\n# SYNTAX=x\nFROM a\n", Directives(syntax="x", escape="`")),
        ("# check=skip=all;error=true\nFROM a\n", Directives(check="skip=all;error=true")),
        ("  # escape=`\nFROM a\n", Directives(escape="`")),
        ("\n# escape=`\nFROM a\n", Directives()),
        ("# a comment\n# escape=`\nFROM a\n", Directives()),
        ("# unknown=1\n# escape=`\nFROM a\n", Directives()),
        ("FROM a\n# escape=`\n", Directives()),
        ("#!/usr/bin/env veneer\n# syntax=x\nFROM a\n", Directives(syntax="x")),
        ("\ufeff# escape=`\r\nFROM a\r\n", Directives(escape="`")),
    ],
)
def test_directives_stand_at_the_very_top(text: str, expected: Directives) -> None:
    found = lines(text).directives
    assert found.replaced(last=0) == expected
    assert bool(found.last) == (found != Directives())


@pytest.mark.parametrize("name", ["escape", "syntax", "check"])
def test_a_directive_is_given_once(name: str) -> None:
    error = refused(f"# {name}=`\n# {name}=`\nFROM a\n")
    assert error.reason == f"only one {name} parser directive can be used"
    assert error.line == 2


def test_only_two_characters_may_escape() -> None:
    assert refused("# escape=x\nFROM a\n").reason == "invalid escape token 'x' does not match ` or \\"


# ---- continuations and comments


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("RUN a \\\n  b\n", ["RUN a   b"]),
        ("RUN a \\\n# comment\n   # another\n  b\n", ["RUN a   b"]),
        ("RUN a \\  \t\n b\n", ["RUN a  b"]),
        ("RUN a \\\\\nRUN b\n", ["RUN a \\\\", "RUN b"]),
        ("RUN a \\\n", ["RUN a "]),
        ("RUN a \\", ["RUN a "]),
        ("\\\nRUN a\n", ["RUN a"]),
        ("RUN a \\\r\n b\r\n", ["RUN a  b"]),
        ("# escape=`\nRUN a `\n b\\\nRUN c\n", ["RUN a  b\\", "RUN c"]),
        ("   RUN a\n\t# x\n\n  \nRUN b", ["RUN a", "RUN b"]),
        ("RUN a # no comment\n", ["RUN a # no comment"]),
        ("\ufeffRUN a\n", ["RUN a"]),
        ("\x85RUN a\n\u3000\n", ["RUN a"]),
    ],
)
def test_lines_are_joined_as_docker_joins_them(text: str, expected: list[str]) -> None:
    assert texts(text) == expected


def test_an_instruction_knows_its_lines() -> None:
    found = lines("\n# x\nRUN a \\\n\n  b\nCOPY <<E /\nx\nE\nENV a=1\n").logical
    assert [(each.first, each.last) for each in found] == [(3, 5), (6, 8), (9, 9)]


def test_an_empty_line_in_a_continuation_is_warned_about_once() -> None:
    found = lines("RUN a \\\n\n\n  b\n")
    assert [(each.rule, each.line) for each in found.warnings] == [("NoEmptyContinuation", 2)]
    assert not lines("RUN a \\\n# comment\n  b\n").warnings


def test_bytes_that_are_no_utf8_are_kept() -> None:
    [text] = texts(b"ENV a=\xff\xfe\n")
    assert text.encode("utf-8", "surrogateescape") == b"ENV a=\xff\xfe"


# ---- here-documents


def documents(text: str) -> tuple[Heredoc, ...]:
    return lines(text).logical[0].heredocs


@pytest.mark.parametrize(
    ("text", "content", "expand"),
    [
        ("RUN <<EOF\na\n  b\nEOF\n", "a\n  b\n", True),
        ("RUN <<'EOF'\n$a\nEOF\n", "$a\n", False),
        ('RUN <<"EOF"\n$a\nEOF\n', "$a\n", False),
        ("RUN <<E'O'F\n$a\nEOF\n", "$a\n", False),
        ("RUN <<-EOF\n\t\ta\n\t b\n\tEOF\n", "a\n b\n", True),
        ("RUN <<EOF\nEOF\n", "", True),
        ("RUN <<EOF\n EOF\nEOF\n", " EOF\n", True),
        ("RUN <<EOF\n# no comment\n\nx \\\nEOF\n", "# no comment\n\nx \\\n", True),
        ("RUN << EOF\na\nEOF\n", "a\n", True),
        ("ONBUILD RUN <<EOF\na\nEOF\n", "a\n", True),
        ("copy <<EOF /x\na\nEOF\n", "a\n", True),
        ("ADD <<EOF /x\na\nEOF\n", "a\n", True),
        ("RUN cat \\\n  <<EOF\na\nEOF\n", "a\n", True),
        ("RUN <<EOF\na\nEOF", "a\n", True),
        ("RUN <<EOF\r\na\r\nEOF\r\n", "a\r\n", True),
    ],
)
def test_a_here_document_is_taken_byte_for_byte(text: str, content: str, expand: bool) -> None:
    [document] = documents(text)
    assert (document.name, document.content, document.expand) == ("EOF", content, expand)


def test_several_here_documents_follow_each_other() -> None:
    one, two = documents("COPY <<one <<-'two' /x/\n1\none\n\t2\n\ttwo\n")
    assert (one.name, one.content, one.expand, one.strip_tabs) == ("one", "1\n", True, False)
    assert (two.name, two.content, two.expand, two.strip_tabs) == ("two", "2\n", False, True)
    assert two.raw == "\t2\n"


def test_a_descriptor_may_stand_before_a_here_document() -> None:
    [document] = documents("RUN cmd 3<<EOF\nx\nEOF\n")
    assert document.fd == 3


@pytest.mark.parametrize(
    "text",
    [
        "RUN echo $((1<<3))\nRUN x\n",
        "RUN echo $((1 << 3))\nRUN x\n",
        "RUN echo $((1 <<3 ))\nRUN x\n",
        "RUN echo '<<EOF'\nRUN x\n",
        'RUN echo "<<EOF"\nRUN x\n',
        "RUN echo \\<<EOF\nRUN x\n",
        "RUN cat <<<EOF\nRUN x\n",
        "RUN echo it's <<EOF\nRUN x\n",
        "ENV a=<<EOF\nRUN x\n",
        "CMD <<EOF\nRUN x\n",
        'RUN ["<<EOF"]\nRUN x\n',
    ],
)
def test_what_only_looks_like_a_here_document_is_none(text: str) -> None:
    found = lines(text).logical
    assert [each.heredocs for each in found] == [(), ()]


def test_a_here_document_that_does_not_end_is_named_with_its_line() -> None:
    error = refused("FROM a\nRUN <<EOF\nx\n EOF\n")
    assert error.reason == "unterminated heredoc: no line is EOF alone"
    assert error.line == 2 and error.hint == "end it with a line EOF"


@pytest.mark.parametrize("word", ["<<", "<<-", "x<<EOF", "<<''", "EOF", "<<<EOF"])
def test_a_word_that_begins_no_here_document(word: str) -> None:
    assert heredoc_of(word) is None


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n\0"), max_size=20)))
def test_what_stands_in_a_here_document_never_changes(rows: list[str]) -> None:
    body = "".join(f"x{row}\n" for row in rows)
    assert documents(f"COPY <<'END' /x\n{body}END\n")[0].content == body


@given(st.lists(st.text(st.sampled_from("ab<>-'\"\\ \t3$"), max_size=12), max_size=6))
def test_words_are_found_in_anything(parts: list[str]) -> None:
    text = " ".join(parts)
    found = raw_words(text)
    # Nothing is made up, and nothing is told twice.
    assert sum(map(len, found)) <= len(text)
    assert all(word in text for word in found)


# ---- what is refused


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (b"", "the Dockerfile (Dockerfile) cannot be empty"),
        (b"FROM a\nENV a=\x00b\n", "a NUL byte in an instruction"),
        ("FROM a\n".encode("utf-16"), "Dockerfile is UTF-16, a Dockerfile is UTF-8"),
        ("FROM a\n".encode("utf-16-le"), "a NUL byte in an instruction"),
        (b"#" * (MAX_BYTES + 1), f"Dockerfile has {MAX_BYTES + 1} bytes, a Dockerfile may have {MAX_BYTES}"),
        (b"RUN " + b"a" * MAX_LINE, f"an instruction of more than {MAX_LINE} characters"),
        (b"RUN a" + b" \\\n" + b"a \\\n" * MAX_LINE, f"an instruction of more than {MAX_LINE} characters"),
        (b"A\n" * (MAX_INSTRUCTIONS + 1), f"more than {MAX_INSTRUCTIONS} instructions"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_is_no_dockerfile_is_refused(source: bytes, reason: str) -> None:
    assert refused(source).reason == reason


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(source: bytes) -> None:
    try:
        found = lines(source)
    except DockerfileError:
        return
    last = 0
    for each in found.logical:
        assert last < each.first <= each.last
        last = each.last
