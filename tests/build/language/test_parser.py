"""Every instruction is read into its value, and what is wrong is shown at its place."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veneer.build.language import instructions as i
from veneer.build.language.errors import DockerfileError, nearest
from veneer.build.language.parser import KEYWORDS, parse, trigger

SECOND = 10**9


def one(text: str) -> Any:
    """The one instruction after FROM."""
    [made] = parse(b"FROM scratch\n" + text.encode("utf-8", "surrogateescape") + b"\n").stages[0].instructions
    return made


def refused(text: str) -> DockerfileError:
    with pytest.raises(DockerfileError) as caught:
        parse(text.encode("utf-8", "surrogateescape"))
    return caught.value


# ---- stages


def test_a_file_is_stages_of_instructions() -> None:
    made = parse(b"ARG v=1\nFROM a:$v AS Base\nENV x=1\nFROM base\nFROM scratch as last\nRUN a\n", "My.Dockerfile")
    assert made.name == "My.Dockerfile"
    assert [arg.pairs for arg in made.global_args] == [(("v", "1"),)]
    assert [(each.index, each.name, each.label, each.base.image) for each in made.stages] == [
        (0, "base", "base", "a:$v"), (1, "", "1", "base"), (2, "last", "last", "scratch"),
    ]  # fmt: skip
    assert [each.keyword for each in made.walk()] == ["ARG", "FROM", "ENV", "FROM", "FROM", "RUN"]


def test_a_platform_belongs_to_from() -> None:
    [stage] = parse(b"FROM --platform=$BUILDPLATFORM alpine:3 AS build\n").stages
    assert (stage.base.platform, stage.base.image, stage.base.alias) == ("$BUILDPLATFORM", "alpine:3", "build")


@pytest.mark.parametrize(
    ("text", "reason", "line"),
    [
        ("# only a comment\n", "file with no instructions", 0),
        ("ARG a\n", "dockerfile contains no stages to build", 0),
        ("RUN a\n", "no build stage in current context", 1),
        ("FROM\n", "FROM requires either one or three arguments", 1),
        ("FROM a b\n", "FROM requires either one or three arguments", 1),
        ("FROM a AS\n", "FROM requires either one or three arguments", 1),
        ("FROM a AS 1a\n", 'invalid name for build stage: "1a"', 1),
        ("FROM a AS a/b\n", 'invalid name for build stage: "a/b"', 1),
        ("FROM --plattform=x a\n", "unknown flag: --plattform (did you mean platform?)", 1),
        ("FROM a\nFOO bar\n", "unknown instruction: FOO", 2),
        ("FROM a\nRNU bar\n", "unknown instruction: RNU (did you mean RUN?)", 2),
        ("FROM a\n\n\nentrypont x\n", "unknown instruction: entrypont (did you mean entrypoint?)", 4),
    ],
)
def test_a_file_that_is_none_is_refused_at_its_line(text: str, reason: str, line: int) -> None:
    error = refused(text)
    assert error.reason.startswith(reason)
    assert error.line == line


# ---- each instruction


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("ENV a=1 b='2 3' c=\"4 5\" d=6\\ 7", {"pairs": (("a", "1"), ("b", "'2 3'"), ("c", '"4 5"'), ("d", "6\\ 7"))}),
        ("ENV a the rest = of it", {"pairs": (("a", "the rest = of it"),), "legacy": True}),
        ("env a=", {"pairs": (("a", ""),), "keyword": "ENV"}),
        ("ENV a=b=c", {"pairs": (("a", "b=c"),)}),
        ("LABEL a=1 'b c'=2", {"pairs": (("a", "1"), ("'b c'", "2"))}),
        ("LABEL a b", {"pairs": (("a", "b"),), "legacy": True}),
        ("ARG a", {"pairs": (("a", None),)}),
        ("ARG a= b=1 c", {"pairs": (("a", ""), ("b", "1"), ("c", None))}),
        ("CMD a b", {"command": i.Command(True, ("a b",))}),
        ('CMD ["a", "b"]', {"command": i.Command(False, ("a", "b"))}),
        ('CMD [ "a\\u0041\\n" ]', {"command": i.Command(False, ("aA\n",))}),
        ("CMD ['a']", {"command": i.Command(True, ("['a']",))}),
        ('CMD ["a",]', {"command": i.Command(True, ('["a",]',))}),
        ('CMD ["a" b]', {"command": i.Command(True, ('["a" b]',))}),
        ("CMD []", {"command": i.Command(False, ())}),
        ("CMD", {"command": i.Command(True, ("",))}),
        ('ENTRYPOINT ["a"]', {"command": i.Command(False, ("a",))}),
        ("EXPOSE 80 53/udp 8000-8010", {"words": ("53/udp", "80", "8000-8010")}),
        ("USER  a:b ", {"user": "a:b"}),
        ("WORKDIR /a b", {"path": "/a b"}),
        ("VOLUME /a /b", {"paths": ("/a", "/b")}),
        ('VOLUME ["/a b", "/c"]', {"paths": ("/a b", "/c")}),
        ("VOLUME ['/a']", {"paths": ("['/a']",)}),
        ("STOPSIGNAL SIGTERM", {"signal": "SIGTERM"}),
        ('SHELL ["sh", "-c"]', {"words": ("sh", "-c")}),
        ("MAINTAINER A <a@b>", {"name": "A <a@b>"}),
        ("ONBUILD  RUN a  b", {"trigger": "RUN a  b"}),
        ("ONBUILD COPY <<E /x\na\nE", {"trigger": "COPY <<E /x\na\nE"}),
        ("HEALTHCHECK NONE", {"test": ("NONE",)}),
        ("HEALTHCHECK CMD a b", {"test": ("CMD-SHELL", "a b")}),
        ('HEALTHCHECK cmd ["a", "b"]', {"test": ("CMD", "a", "b")}),
        (
            "HEALTHCHECK --interval=1m30s --timeout=500ms --start-period=1.5s --start-interval=2s --retries=3 CMD a",
            {"interval_ns": 90 * SECOND, "timeout_ns": SECOND // 2, "start_period_ns": SECOND * 3 // 2,
             "start_interval_ns": 2 * SECOND, "retries": 3},
        ),
        ("RUN a  b", {"command": i.Command(True, ("a  b",)), "network": "default", "security": "sandbox"}),
        ("RUN", {"command": i.Command(True, ("",))}),
        ('RUN ["a", "b"]', {"command": i.Command(False, ("a", "b"))}),
        ("RUN --network=none --security=insecure a", {"network": "none", "security": "insecure"}),
        ("RUN --network=host -- --a", {"command": i.Command(True, ("--a",))}),
        ("COPY a b /c/", {"sources": ("a", "b"), "destination": "/c/"}),
        ('COPY ["a b", "c"]', {"sources": ("a b",), "destination": "c"}),
        (
            "COPY --from=x --chown=1:2 --chmod=644 --link --parents --exclude=*.a --exclude=b a b",
            {"from_": "x", "chown": "1:2", "chmod": "644", "link": True, "parents": True, "excludes": ("*.a", "b"),
             "shown_flags": ("--chown=1:2", "--chmod=644", "--link", "--parents", "--exclude=*.a", "--exclude=b")},
        ),
        ("COPY --link=false a b", {"link": False}),
        (
            "ADD --checksum=sha256:x --unpack=false --keep-git-dir --chown=a --link --exclude=b a b",
            {"checksum": "sha256:x", "unpack": False, "keep_git_dir": True, "chown": "a", "link": True},
        ),
        ("ADD --unpack a b", {"unpack": True, "keep_git_dir": False}),
        ("ADD a b", {"unpack": None}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_an_instruction_is_read(text: str, fields: dict[str, Any]) -> None:
    made = one(text)
    assert {name: getattr(made, name) for name in fields} == fields


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("ENV", "ENV requires at least one argument"),
        ("ENV a", "ENV must have two arguments"),
        ("ENV a=1 b", 'Syntax error - can\'t find = in "b". Must be of the form: name=value'),
        ("ENV =1", "ENV names can not be blank"),
        ("LABEL =1", "LABEL names can not be blank"),
        ("ARG", "ARG requires at least one argument"),
        ("ARG =1", "ARG names can not be blank"),
        ("EXPOSE", "EXPOSE requires at least one argument"),
        ("USER", "USER requires exactly one argument"),
        ("WORKDIR", "WORKDIR requires exactly one argument"),
        ("VOLUME", "VOLUME requires at least one argument"),
        ("VOLUME []", "VOLUME requires at least one argument"),
        ('VOLUME [" "]', "VOLUME specified can not be an empty string"),
        ("VOLUME [1]", "when using JSON array syntax, arrays must be comprised of strings only"),
        ("STOPSIGNAL", "STOPSIGNAL requires exactly one argument"),
        ("SHELL sh -c", "SHELL requires the arguments to be in JSON form"),
        ("SHELL []", "SHELL requires at least one argument"),
        ("MAINTAINER", "MAINTAINER requires exactly one argument"),
        ("ONBUILD", "ONBUILD requires at least one argument"),
        ("ONBUILD ONBUILD RUN a", "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"),
        ("ONBUILD FROM a", "FROM isn't allowed as an ONBUILD trigger"),
        ("ONBUILD maintainer a", "MAINTAINER isn't allowed as an ONBUILD trigger"),
        ("HEALTHCHECK", "HEALTHCHECK requires at least one argument"),
        ("HEALTHCHECK NONE x", "HEALTHCHECK NONE takes no arguments"),
        ("HEALTHCHECK CMD", "Missing command after HEALTHCHECK CMD"),
        ("HEALTHCHECK CMD []", "Missing command after HEALTHCHECK CMD"),
        ("HEALTHCHECK curl x", 'Unknown type "CURL" in HEALTHCHECK (try CMD)'),
        ("HEALTHCHECK --interval=soon CMD a", '--interval: invalid duration "soon"'),
        ("HEALTHCHECK --timeout=1us CMD a", 'Interval "timeout" cannot be less than 1ms'),
        ("HEALTHCHECK --interval=-1s CMD a", 'Interval "interval" cannot be less than 1ms'),
        ("HEALTHCHECK --retries=many CMD a", '--retries "many" is not a number'),
        ("HEALTHCHECK --retries=-1 CMD a", "--retries cannot be negative (-1)"),
        ("HEALTHCHECK --interval=1s --interval=2s CMD a", "duplicate flag specified: interval"),
        ("HEALTHCHECK --intervall=1s CMD a", "unknown flag: --intervall (did you mean interval?)"),
        ("RUN []", "RUN requires at least one argument"),
        ("RUN --network=hots a", 'unsupported network mode: "hots" (did you mean host?)'),
        ("RUN --security=x a", 'security "x" is not valid'),
        ("RUN --mount a", "missing a value on flag: mount"),
        ("RUN --mount=type=binds a", 'unsupported mount type "binds" (did you mean bind?)'),
        ("RUN --'x a", "unclosed quote in flag --'x a"),
        ("COPY a", "COPY requires at least two arguments, but only one was provided."),
        ("COPY", "COPY requires at least two arguments, but only one was provided."),
        ("COPY --link=maybe a b", "expecting boolean value for flag link, not: maybe"),
        ("COPY --from=$x a b", "variable expansion is not supported for --from"),
        ("COPY --form=x a b", "unknown flag: --form (did you mean from?)"),
        ("COPY --checksum=x a b", "unknown flag: --checksum"),
        ("COPY x <<E\na\nE", "COPY cannot accept a heredoc as a destination"),
        ("ADD --from=x a b", "unknown flag: --from"),
        ("ADD --parents a b", "unknown flag: --parents"),
        ("CMD --x a", "unknown flag: --x"),
        ("CMD [1]", "when using JSON array syntax, arrays must be comprised of strings only"),
    ],
)
def test_an_instruction_that_is_wrong_is_refused_in_dockers_words(text: str, reason: str) -> None:
    error = refused(f"FROM scratch\n{text}\n")
    assert error.reason.startswith(reason)
    assert error.line == 2
    assert "   2 | >>> " in error.excerpt


# ---- here-documents


def test_a_run_may_be_nothing_but_a_here_document() -> None:
    made = one("RUN <<EOF\necho $a\nEOF")
    assert made.alone and made.script is None
    assert made.shell_text == "echo $a\n"


def test_a_here_document_that_names_its_interpreter_is_a_script() -> None:
    made = one("RUN <<EOF\n#!/usr/bin/env python3\nprint()\nEOF")
    assert made.script == i.Heredoc("EOF", "#!/usr/bin/env python3\nprint()\n", True, False,
                                  "#!/usr/bin/env python3\nprint()\n", 0)  # fmt: skip


def test_other_here_documents_are_the_shells_business() -> None:
    made = one("RUN cat <<-A <<B\n\t1\n\tA\n2\nB")
    assert not made.alone
    assert made.shell_text == "cat <<-A <<B\n\t1\nA\n2\nB"


def test_copy_takes_files_and_here_documents() -> None:
    made = one("COPY a <<one <<-'two' b /x/\n1\none\n\t2\ntwo")
    assert made.sources == ("a", "b") and made.destination == "/x/"
    assert [(doc.name, doc.content, doc.expand) for doc in made.heredocs] == [
        ("one", "1\n", True),
        ("two", "2\n", False),
    ]


# ---- triggers


def test_a_trigger_is_one_instruction() -> None:
    made = trigger("COPY <<E /x\na\nE")
    assert isinstance(made, i.Copy) and made.heredocs[0].content == "a\n"


@pytest.mark.parametrize("text", ["RUN a\nRUN b", "FROM a", "ONBUILD RUN a", "MAINTAINER a", "FOO", "", "ENV"])
def test_a_trigger_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(DockerfileError):
        trigger(text)


def test_an_unknown_trigger_is_taken_with_a_warning() -> None:
    [warning] = parse(b"FROM scratch\nONBUILD FOO a\n").warnings
    assert (warning.message, warning.line) == ("ONBUILD with an unknown instruction: FOO", 2)


# ---- where it is wrong


def test_an_error_shows_the_lines_around_and_a_caret() -> None:
    error = refused("FROM a\nENV x=1\n\tCOPY --form=x a b\nRUN y\nRUN z\nRUN q\n")
    assert error.message == "\n".join([
        "dockerfile parse error on line 3: unknown flag: --form (did you mean from?)", "Dockerfile:3",
        "--------------------",
        "   1 |     FROM a",
        "   2 |     ENV x=1",
        "   3 | >>>     COPY --form=x a b",
        "                    ^",
        "   4 |     RUN y",
        "   5 |     RUN z",
        "--------------------",
    ])  # fmt: skip


def test_the_caret_stands_on_the_continuation_line_that_is_wrong() -> None:
    error = refused("FROM a\nENV a=1 \\\n    b=2 \\\n    c\n")
    assert error.line == 4
    assert error.excerpt.splitlines()[-2:] == ["   4 | >>>     c", " " * 15 + "^"]


def test_the_caret_stands_under_a_whole_word_first() -> None:
    assert refused("FROM a\nENV ab=b b\n").excerpt.splitlines()[-1].index("^") == len("   2 | >>> ENV ab=b ")


def test_an_excerpt_steers_no_terminal() -> None:
    error = refused("FROM a\nFOO \x1b[2J\x07\udcff\n")
    assert "\x1b" not in error.message and "\x07" not in error.message
    assert error.message.isprintable() or "\n" in error.message
    error.message.encode()


def test_a_long_line_is_shown_in_part() -> None:
    assert len(refused("FROM a\nFOO " + "x" * 100_000 + "\n").message) < 1000


def test_the_nearest_word_is_near() -> None:
    assert nearest("rnu", KEYWORDS) == "run"
    assert nearest("Xxxxx", KEYWORDS) == ""
    assert nearest("RUN", KEYWORDS) == ""
    assert nearest("lock", ["locked"]) == "locked"
    assert nearest("NOPE", ["FPE"]) == ""


# ---- size


def test_a_hundred_thousand_lines_are_read() -> None:
    made = parse(b"FROM scratch\n" + b"ENV a=1 \\\n  b=2\n" * 50_000)
    assert len(made.stages[0].instructions) == 50_000
    assert made.stages[0].instructions[-1].location == i.Location(100_000, 100_001)


@pytest.mark.parametrize(
    "text",
    ["LABEL " + "a=1 " * 200_000, "ENV " + "a='1' " * 150_000, "EXPOSE " + "80 " * 200_000, "RUN " + "[" * 300_000,
     "RUN " + "--mount=type=tmpfs,target=/x " * 5_000 + "x", "CMD [" + '"a",' * 200_000 + '"a"]'],
    ids=lambda text: text[:12],
)  # fmt: skip
def test_a_line_of_a_megabyte_is_read(text: str) -> None:
    assert one(text)


words = st.sampled_from([
    *KEYWORDS, *map(str.lower, KEYWORDS), "NONE", "AS", "[", "]", '"', "'", "\\", "<<E", "E", "$x", "--from=a",
    "--mount=type=", "--", "=", "a=b", "#", "\n", "\\\n", "\t", "é", "\udcff",
])  # fmt: skip


@given(st.lists(words, max_size=30))
def test_any_words_are_read_or_refused(parts: list[str]) -> None:
    source = "FROM a\n" + " ".join(parts)
    try:
        made = parse(source.encode("utf-8", "surrogateescape"))
    except DockerfileError as error:
        error.message.encode()
        assert error.line <= source.count("\n") + 1
        return
    lines = [each.line for each in made.walk()]
    assert lines == sorted(lines)
