"""A build is shown in docker's lines, as a live screen, as BuildKit's JSON, or not at all."""

from __future__ import annotations

import base64
import io
import json
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veneer.build.events import Event, Finished, Missed, Output, Step, StepDone, StepFailed, StepStarted, Warned
from veneer.build.request import CacheSpec, OutputSpec, SecretSource
from veneer.cli.app import Failure
from veneer.cli.build_flags import cache_spec, output_spec, secret, size_bytes, words
from veneer.cli.build_raw import Raw
from veneer.cli.build_terminal import Terminal
from veneer.cli.build_view import LONGEST, Plain, Quiet, Splitter, View, calm
from veneer.oci.digest import Digest, ImageID

ONE = ImageID(Digest("sha256:" + "1" * 64))
TWO = ImageID(Digest("sha256:" + "2" * 64))
FROM = Step("0", 1, 2, 1, 2, "FROM busybox", 1)
MAKE = Step("0", 2, 2, 2, 2, "RUN make", 2)
MISS: Any = SimpleNamespace(kind="file", summary="a.txt differs", details=("a.txt: 3 bytes -> 4 bytes",))


def feed(view: View, events: list[Event]) -> None:
    for event in events:
        view(event)
    view.close(failed=any(isinstance(event, StepFailed) for event in events))


BUILT: list[Event] = [
    StepStarted(0.0, FROM), StepDone(0.0, FROM, ONE, False, None, 0.0),
    StepStarted(1.0, MAKE), Missed(1.0, MAKE, MISS), Output(1.0, MAKE, 1, b"a\nb"),
    Output(1.0, MAKE, 1, b"c\n\x1b[2Jd"),
    StepDone(2.0, MAKE, TWO, False, 5, 1.0), Warned(2.0, "Rule", "careful", 7),
    Warned(2.0, "", "odd", 3), Finished(2.0, TWO, ("a:b",), ("late",)),
]  # fmt: skip


def test_plain_is_classic_dockers_lines() -> None:
    out = io.StringIO()
    feed(Plain(out, explain=False, columns=80), BUILT)
    assert out.getvalue().splitlines() == [
        "Step 1/2 : FROM busybox", " ---> 111111111111", "Step 2/2 : RUN make", "a", "bc", "\\x1b[2Jd",
        " ---> 222222222222", "[Warning] odd (line 3)", "[Warning] late",
        "Successfully built 222222222222", "Successfully tagged a:b",
        "", " 1 warning found (use --check to see where):", " - Rule: careful (line 7)",
    ]  # fmt: skip


def test_tabs_of_an_instruction_are_shown_as_they_are_and_take_one_cell_of_a_terminal() -> None:
    step = Step("0", 1, 1, 1, 1, "RUN a &&\tb\x1b[2J", 1)
    out, terminal = io.StringIO(), io.StringIO()
    feed(Plain(out, explain=False, columns=80), [StepStarted(0.0, step)])
    assert out.getvalue() == "Step 1/1 : RUN a &&\tb\\x1b[2J\n"
    view = Terminal(terminal, explain=False, columns=60, rows=20)
    feed(view, [StepStarted(0.0, step), StepDone(0.0, step, ONE, False, None, 0.0)])
    assert "Step 1/1 : RUN a && b\\x1b[2J" in terminal.getvalue()


def test_explain_says_what_differs_before_the_step_runs() -> None:
    out = io.StringIO()
    feed(Plain(out, explain=True, columns=80), BUILT)
    lines = out.getvalue().splitlines()
    at = lines.index(" ---> Not in the cache: a.txt differs")
    assert lines[at - 1] == "Step 2/2 : RUN make" and lines[at + 1].strip() == "a.txt: 3 bytes -> 4 bytes"


def test_a_cached_step_uses_the_cache_and_a_predicted_one_would_run() -> None:
    out = io.StringIO()
    feed(Plain(out, explain=False, columns=80), [
        StepStarted(0.0, FROM), StepDone(0.0, FROM, ONE, True, None, 0.0),
        StepStarted(0.0, MAKE), Missed(0.0, MAKE, MISS), StepDone(0.0, MAKE, None, False, None, 0.0, True),
    ])  # fmt: skip
    assert out.getvalue().splitlines() == [
        "Step 1/2 : FROM busybox", " ---> Using cache", " ---> 111111111111",
        "Step 2/2 : RUN make", " ---> Would run: a.txt differs",
    ]  # fmt: skip


def test_several_stages_name_theirs_on_every_line() -> None:
    out = io.StringIO()
    one, two = Step("build", 1, 1, 1, 2, "FROM a", 1), Step("1", 1, 1, 2, 2, "FROM b", 3)
    feed(Plain(out, explain=False, columns=80), [
        StepStarted(0.0, one), StepStarted(0.0, two), Output(0.0, one, 2, b"x\n"),
        StepDone(0.0, two, TWO, False, None, 0.0),
    ])  # fmt: skip
    assert out.getvalue().splitlines() == [
        "[build] Step 1/2 : FROM a", "[1] Step 2/2 : FROM b", "[build] x", "[1]  ---> 222222222222",
    ]  # fmt: skip


def test_quiet_tells_the_builds_own_warnings_and_what_a_step_that_fails_printed() -> None:
    err = io.StringIO()
    feed(Quiet(err), BUILT)
    assert err.getvalue() == "[Warning] late\n"
    err = io.StringIO()
    feed(Quiet(err), [StepStarted(0.0, MAKE), Output(0.0, MAKE, 2, b"boom\n"), StepFailed(0.0, MAKE, "no", ONE)])
    assert err.getvalue() == "boom\n"


def test_what_was_printed_without_a_lines_end_is_shown_with_its_stage_when_the_build_is_cut_short() -> None:
    out = io.StringIO()
    one, two = Step("build", 1, 1, 1, 2, "RUN a", 1), Step("1", 1, 1, 2, 2, "RUN b", 3)
    view = Plain(out, explain=False, columns=80)
    for event in (Output(0.0, one, 1, b"half"), Output(0.0, two, 2, b"a line\nother half")):
        view(event)
    view.close(failed=True)
    assert out.getvalue().splitlines() == ["[1] a line", "[build] half", "[1] other half"]


def test_warnings_are_counted_and_not_all_told() -> None:
    out = io.StringIO()
    feed(Plain(out, explain=False, columns=80), [Warned(0.0, "Rule", f"no {n}", n) for n in range(1, 31)])
    lines = out.getvalue().splitlines()
    assert lines[1] == " 30 warnings found (use --check to see where):"
    assert lines[-2:] == [" - Rule: no 20 (line 20)", " - and 10 more"]


def test_lines_are_made_of_any_pieces() -> None:
    splitter = Splitter()
    assert splitter.lines(1, b"a") == [] and splitter.lines(2, b"x\n") == ["x"]
    assert splitter.lines(1, b"b\nc\n\nd") == ["ab", "c", ""]
    assert splitter.end() == ["d"] and splitter.end() == []


def test_a_line_without_an_end_is_not_kept_for_ever() -> None:
    splitter = Splitter()
    text = "é" * LONGEST
    pieces = [text.encode()[at : at + 4097] for at in range(0, 2 * LONGEST, 4097)]
    shown = [line for piece in pieces for line in splitter.lines(1, piece)]
    assert shown and max(len(line.encode()) for line in shown) <= LONGEST
    assert "".join([*shown, *splitter.end()]) == text


@given(st.lists(st.binary(max_size=20), max_size=10))
def test_nothing_that_was_printed_is_lost(pieces: list[bytes]) -> None:
    splitter = Splitter()
    shown = [line for piece in pieces for line in splitter.lines(1, piece)]
    whole = b"".join(pieces)
    shown += splitter.end()
    assert shown == [line.decode("utf-8", "replace") for line in whole.removesuffix(b"\n").split(b"\n")] or not whole


def test_raw_warns_as_buildkit_does() -> None:
    out = io.StringIO()
    feed(Raw(out), [Warned(0.0, "JSONArgsRecommended", "JSON arguments recommended", 7)])
    [warning] = json.loads(out.getvalue())["warnings"]
    assert base64.b64decode(warning["short"]) == b"JSONArgsRecommended: JSON arguments recommended (line 7)"
    assert warning["url"].endswith("/json-args-recommended/") and warning["level"] == 1
    assert warning["range"] == [{"start": {"line": 7}, "end": {"line": 7}}]


def test_raw_knows_which_step_follows_which() -> None:
    out = io.StringIO()
    feed(Raw(out), BUILT)
    vertexes = [each for line in out.getvalue().splitlines() for each in json.loads(line).get("vertexes", [])]
    assert "inputs" not in vertexes[0] and vertexes[-1]["inputs"] == [vertexes[0]["digest"]]


def test_raw_is_buildkits_json_and_a_reason_for_the_miss() -> None:
    out = io.StringIO()
    feed(Raw(out), BUILT)
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    vertexes = [each for line in lines for each in line.get("vertexes", [])]
    assert [each["name"] for each in vertexes if "completed" in each] == ["[0 1/2] FROM busybox", "[0 2/2] RUN make"]
    assert vertexes[-1]["miss"]["summary"] == "a.txt differs"
    logs = [each for line in lines for each in line.get("logs", [])]
    assert b"".join(base64.b64decode(each["data"]) for each in logs) == b"a\nbc\n\x1b[2Jd"
    assert {each["vertex"] for each in logs} == {vertexes[-1]["digest"]}


def test_the_terminal_keeps_finished_steps_and_shows_a_failed_ones_output() -> None:
    out = io.StringIO()
    view = Terminal(out, explain=False, columns=60, rows=20)
    feed(view, [StepStarted(0.0, FROM), StepDone(0.0, FROM, ONE, True, None, 0.0), StepStarted(0.0, MAKE),
                Output(0.0, MAKE, 1, b"one\ntwo\n"), StepFailed(0.0, MAKE, "no", ONE)])  # fmt: skip
    text = out.getvalue()
    assert "Step 1/2 : FROM busybox  cached" in text
    assert text.index("✗") < text.index("  one") < text.index("  two")


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("10%\r20%\r30%", "30%"),
        ("end\r", "end"),
        ("a\tb", "a\tb"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;x\x07", "\\x1b]0;x\\x07"),
    ],
)
def test_a_printed_line_cannot_redraw_the_terminal(line: str, shown: str) -> None:
    assert calm(line, colours=False) == shown


def test_colours_stay_where_they_are_wanted() -> None:
    assert calm("\x1b[31mred\x1b[0m\x1b[2J", colours=True) == "\x1b[31mred\x1b[0m\\x1b[2J"


# ---- what options mean


def test_an_output_is_a_directory_a_stream_or_a_list_of_words() -> None:
    assert output_spec("out") == OutputSpec("local", "out")
    assert output_spec("-") == OutputSpec("tar", "-")
    assert output_spec('type=oci,"dest=a,b.tar",compression=zstd') == OutputSpec(
        "oci", "a,b.tar", (("compression", "zstd"),)
    )
    with pytest.raises(Failure, match="unknown output type 'zip'"):
        output_spec("type=zip,dest=x")
    with pytest.raises(Failure, match="unknown output type ''"):
        output_spec("a,b")
    with pytest.raises(Failure, match="needs dest=DIRECTORY"):
        output_spec("type=local")


def test_a_cache_is_a_name_or_a_list_of_words() -> None:
    assert cache_spec("user/app:cache", "cache-from") == CacheSpec("registry", (("ref", "user/app:cache"),))
    assert cache_spec("type=local,src=d", "cache-from") == CacheSpec("local", (("src", "d"),))
    with pytest.raises(Failure, match="unknown cache type 's3'"):
        cache_spec("type=s3,bucket=x", "cache-to")


def test_a_secret_comes_from_a_file_or_a_variable(tmp_path: Any) -> None:
    file = tmp_path / "key"
    file.write_bytes(b"\x00secret")
    assert secret(f"id=k,src={file}", {}) == SecretSource("k", b"\x00secret")
    assert secret("id=k,env=TOKEN", {"TOKEN": "t"}) == SecretSource("k", b"t")
    assert secret("id=TOKEN", {"TOKEN": "t"}) == SecretSource("TOKEN", b"t")
    with pytest.raises(Failure, match="environment variable TOKEN is not set"):
        secret("id=k,env=TOKEN", {})
    with pytest.raises(Failure, match="needs an id"):
        secret(f"src={file}", {})
    with pytest.raises(Failure, match="cannot read"):
        secret(f"id=k,src={tmp_path / 'none'}", {})


@pytest.mark.parametrize(
    ("text", "size"), [("64m", 64 << 20), ("1G", 1 << 30), ("512", 512), ("1.5k", 1536), ("2gib", 2 << 30)]
)
def test_memory_counts_in_powers_of_1024(text: str, size: int) -> None:
    assert size_bytes(text, "memory") == size


def test_a_size_that_is_none_is_refused() -> None:
    with pytest.raises(Failure, match="invalid size 'lots'"):
        size_bytes("lots", "memory")


def test_words_may_hold_commas_in_quotes() -> None:
    assert words('type=x,"a=1,2"', "output") == {"type": "x", "a": "1,2"}
