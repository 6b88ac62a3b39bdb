"""What a build shows, on the real thing: RUN's bytes, stages side by side, checks, failures, dry runs."""

from __future__ import annotations

import base64
import json
import os
import pty
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import Veneer
from tests.support.programs import VENEER
from veneer.build.request import BuildRequest
from veneer.cli.app import Failure
from veneer.cli.build_flags import request
from veneer.cli.commands.build import BUILD
from veneer.cli.flags import parse

MESSY = b"""FROM busybox:1
RUN printf 'a\\nhalf'; printf 'err\\n' >&2
RUN printf '\\033[2Jx\\033[31mred\\033[0m\\n\\377\\n1%%\\r2%%\\r3%%\\nend'
CMD ["sh"]
"""
STAGES = b"""FROM busybox:1 AS one
RUN echo first
FROM busybox:1 AS two
RUN echo second > /f
FROM busybox:1
COPY --from=one /etc/passwd /one
COPY --from=two /f /two
CMD echo hi
"""


@pytest.fixture
def based(veneer: Veneer, busybox: Path) -> Veneer:
    """A store with busybox:1."""
    assert veneer("import", str(busybox), "busybox:1").code == 0
    return veneer


def written(folder: Path, text: bytes) -> str:
    folder.mkdir(exist_ok=True)
    (folder / "Dockerfile").write_bytes(text)
    return str(folder)


def test_what_a_run_prints_is_lines_that_steer_no_terminal(based: Veneer, tmp_path: Path) -> None:
    answer = based("build", "--progress", "plain", written(tmp_path / "c", MESSY))
    assert answer.code == 0
    lines = answer.text.splitlines()
    first, second = lines.index("Step 2/4 : RUN printf 'a\\nhalf'; printf 'err\\n' >&2"), lines.index("\\x1b[2Jxred")
    assert sorted(lines[first + 1 : first + 4]) == ["a", "err", "half"]
    assert lines[second : second + 4] == ["\\x1b[2Jxred", "\N{REPLACEMENT CHARACTER}", "3%", "end"]
    assert lines[-1].startswith("Successfully built ")


def test_quiet_prints_the_id_and_of_a_failure_what_its_step_printed(based: Veneer, tmp_path: Path) -> None:
    answer = based("build", "-q", written(tmp_path / "c", MESSY))
    assert (answer.code, answer.err) == (0, "") and answer.text.startswith("sha256:") and answer.text.count("\n") == 1
    answer = based("build", "-q", written(tmp_path / "c", b"FROM busybox:1\nRUN echo before; exit 3\n"))
    assert answer.code == 1 and answer.text == ""
    assert answer.err.startswith(
        "before\nError: The command '/bin/sh -c echo before; exit 3' returned a non-zero code: 3\n"
    )


def test_stages_side_by_side_say_whose_line_it_is_and_warnings_stand_at_the_end(based: Veneer, tmp_path: Path) -> None:
    answer = based("build", "--progress", "plain", "-t", "x:1", written(tmp_path / "c", STAGES))
    lines = answer.text.splitlines()
    end = lines.index("Successfully tagged x:1")
    assert all(line.startswith(("[one] ", "[two] ", "[stage-2] ")) for line in lines[: end - 1])
    assert "[one] first" in lines
    assert lines[end + 1 : end + 3] == ["", " 1 warning found (use --check to see where):"]
    [warning] = lines[end + 3 :]
    assert warning.startswith(" - JSONArgsRecommended: JSON arguments") and warning.endswith("OS signals (line 8)")


def test_a_dry_run_foresees_a_copy_from_a_stage_that_would_be_made_anew(based: Veneer, tmp_path: Path) -> None:
    assert based("build", written(tmp_path / "c", STAGES)).code == 0
    changed = written(tmp_path / "c", STAGES.replace(b"echo second", b"echo third"))
    answer = based("build", "--dry-run", "--explain", "--progress", "plain", changed)
    assert answer.code == 0, answer.err
    assert '[two]  ---> Not in the cache: the instruction: "second" -> "third"\n' in answer.text
    assert "[stage-2]  ---> Not in the cache: what it takes from stage two would be made anew\n" in answer.text
    assert answer.text.endswith("steps are in the cache; nothing was built\n")


def test_a_failure_is_shown_in_its_place(based: Veneer, tmp_path: Path) -> None:
    answer = based("build", written(tmp_path / "c", b"FROM busybox:1\nRUN <<E\nexit 4\nE\n"))
    assert answer.code == 1
    assert answer.err.splitlines()[:7] == [
        "Error: The command '/bin/sh -c exit 4\\n' returned a non-zero code: 4", "Dockerfile:2",
        "--------------------", "   1 |     FROM busybox:1", "   2 | >>> RUN <<E", "   3 | >>> exit 4", "   4 | >>> E",
    ]  # fmt: skip
    hint = next(line for line in answer.err.splitlines() if line.startswith("hint: the last good image is "))
    words = hint.partition("veneer ")[2].partition(", or")[0].split()
    words[words.index("-it")] = "--network=none"  # no terminal is here
    assert based(*words, "-c", "echo there").text == "there\n"


def test_raw_json_is_json_alone(based: Veneer, tmp_path: Path) -> None:
    folder = written(tmp_path / "c", MESSY + b"CMD hi\n")
    for words in (["build", "--progress", "rawjson", folder], ["build", "--progress", "rawjson", "--dry-run", folder]):
        documents = [json.loads(line) for line in based(*words).text.splitlines()]
        done = {each["digest"] for one in documents for each in one.get("vertexes", []) if "completed" in each}
        asked = {each["digest"] for one in documents for each in one.get("vertexes", [])}
        assert done == asked and len(done) == 5
        assert [each["rule"] for one in documents for each in one.get("warnings", [])] == [
            "MultipleInstructionsDisallowed", "JSONArgsRecommended",
        ]  # fmt: skip
        assert {key for one in documents for key in one} <= {
            "vertexes", "statuses", "logs", "warnings", "image", "tags", "warningTexts",
        }  # fmt: skip


def test_raw_json_has_the_bytes_and_the_stream_they_came_by(based: Veneer, tmp_path: Path) -> None:
    answer = based("build", "--progress", "rawjson", written(tmp_path / "c", MESSY))
    logs = [log for line in answer.text.splitlines() for log in json.loads(line).get("logs", [])]
    streams = {n: b"".join(base64.b64decode(log["data"]) for log in logs if log["stream"] == n) for n in (1, 2)}
    assert streams[2] == b"err\n"
    assert streams[1] == b"a\nhalf\x1b[2Jx\x1b[31mred\x1b[0m\n\xff\n1%\r2%\r3%\nend"


# ---- checks


def test_a_check_builds_nothing_and_exits_1_where_it_found_something(veneer: Veneer, tmp_path: Path) -> None:
    answer = veneer("build", "--check", written(tmp_path / "c", b"FROM nowhere AS x\nCMD a\n"))
    assert answer.code == 1 and answer.err == ""
    assert answer.text.splitlines() == [
        "Check complete, 1 warning has been found!", "",
        "WARNING: JSONArgsRecommended - https://docs.docker.com/go/dockerfile/rule/json-args-recommended/",
        "JSON arguments recommended for CMD to prevent unintended behavior related to OS signals",
        "Dockerfile:2", "--------------------", "   1 |     FROM nowhere AS x", "   2 | >>> CMD a",
        "--------------------",
    ]  # fmt: skip
    answer = veneer("build", "--check", written(tmp_path / "c", b'FROM nowhere AS x\nCMD ["a"]\n'))
    assert (answer.code, answer.text) == (0, "Check complete, no warnings found.\n")


def test_a_check_may_be_json_as_buildkit_writes_it(veneer: Veneer, tmp_path: Path) -> None:
    text = b"FROM nowhere\nENV a b\n"
    folder = written(tmp_path / "c", text)
    answer = veneer("build", "--check", "--format", "json", folder)
    assert answer.code == 1
    assert veneer("build", "--call", "check,format=json", folder) == answer
    document = json.loads(answer.text)
    assert document["warnings"] == [{
        "ruleName": "LegacyKeyValueFormat",
        "description": "Legacy key/value format with whitespace separator should not be used",
        "url": "https://docs.docker.com/go/dockerfile/rule/legacy-key-value-format/",
        "detail": '"ENV key=value" should be used instead of legacy "ENV key value" format',
        "location": {"ranges": [{"start": {"line": 2}, "end": {"line": 2}}]},
    }]  # fmt: skip
    [source] = document["sources"]
    assert source["filename"] == "Dockerfile" and base64.b64decode(source["data"]) == text


def test_a_check_of_what_cannot_be_built_is_an_error(veneer: Veneer, tmp_path: Path) -> None:
    answer = veneer("build", "--check", written(tmp_path / "c", b"FROM a\nRNU x\n"))
    assert answer.code == 1 and answer.text == ""
    assert answer.err.splitlines() == [
        "Error: dockerfile parse error on line 2: unknown instruction: RNU (did you mean RUN?)", "Dockerfile:2",
        "--------------------", "   1 |     FROM a", "   2 | >>> RNU x", "           ^", "--------------------",
    ]  # fmt: skip
    answer = veneer("build", "--check", written(tmp_path / "c", b"FROM a\nFROM b\nCOPY --from=2 x y\n"))
    assert answer.code == 1 and "there are only 2 stages" in answer.err


def test_findings_that_are_errors_stop_a_build_before_its_first_step(based: Veneer, tmp_path: Path) -> None:
    folder = written(tmp_path / "c", b"# check=error=true\nFROM busybox:1 as x\nRUN echo ran\n")
    answer = based("build", "--progress", "plain", "-t", "x:1", folder)
    assert answer.code == 1
    assert "Step" not in answer.text and " - FromAsCasing: " in answer.text
    assert answer.err.startswith("Error: lint violation found for rules: FromAsCasing\n")
    answer = based("build", "--build-arg", "BUILDKIT_DOCKERFILE_CHECK=skip=all", "--dry-run", folder)
    assert answer.code == 0 and "warning" not in answer.text


def test_the_variables_of_a_base_in_the_store_are_known_to_a_check(based: Veneer, tmp_path: Path) -> None:
    assert based("build", "-t", "base:1", written(tmp_path / "c", b"FROM busybox:1\nENV LANG=C\n")).code == 0
    answer = based("build", "--check", written(tmp_path / "c", b"FROM base:1\nENV a=$LANG b=$LAGN c=$other\n"))
    assert [line for line in answer.text.splitlines() if line.startswith("Usage")] == [
        "Usage of undefined variable '$LAGN' (did you mean $LANG?)", "Usage of undefined variable '$other'",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--progress", "fancy"], "invalid progress 'fancy': there are auto, plain, tty, quiet, rawjson"),
        (["--progress", "tty"], "--progress tty needs a terminal"),
        (
            ["--call", "outlines"],
            "invalid call 'outlines': there are build, check, outline, targets, and CALL,format=json",
        ),
        (["--check", "--format", "xml"], "invalid format 'xml': there are table, json"),
        (["--sbom", "true"], "--sbom is not supported: veneer writes no attestations"),
    ],
)
def test_an_unknown_way_to_show_a_build_is_refused(
    veneer: Veneer, tmp_path: Path, words: list[str], message: str
) -> None:
    answer = veneer("build", *words, written(tmp_path / "c", b"FROM scratch\n"))
    assert (answer.code != 0, answer.err) == (True, f"Error: {message}\n")


# ---- --call

OFFERED = b"""\
# GO is the version of Go
ARG GO=1.22

# base has the compiler
FROM golang:${GO} AS base
ARG EXTRA
RUN --mount=type=secret,id=token,required=true --mount=type=ssh --mount=type=cache,target=/c make $EXTRA
# release is what people get
FROM scratch
COPY --from=base /app /
"""


def test_targets_and_what_they_take_are_told_without_building(veneer: Veneer, tmp_path: Path) -> None:
    folder = written(tmp_path / "c", OFFERED)
    answer = veneer("build", "--call", "targets", folder)
    assert answer.text == "TARGET      DESCRIPTION\nbase        has the compiler\n(default)\n"
    answer = veneer("build", "--call=outline", "--build-arg", "EXTRA=all", folder)
    assert answer.text.split("\n\n") == [
        "BUILD ARG   VALUE   DESCRIPTION\nGO          1.22    is the version of Go\nEXTRA       all",
        "SECRET   REQUIRED\ntoken    true", "SSH       REQUIRED\ndefault", "CACHE\n/c\n",
    ]  # fmt: skip
    assert veneer("images", "-qa").text == ""


def test_a_call_answers_programs_in_json(veneer: Veneer, tmp_path: Path) -> None:
    folder = written(tmp_path / "c", OFFERED)
    found = json.loads(veneer("build", "--call", "outline,format=json", "--target", "base", folder).text)
    assert base64.b64decode(found.pop("sources")[0]) == OFFERED
    assert (found["name"], found["description"]) == ("base", "has the compiler")
    assert [(each["name"], each.get("value")) for each in found["args"]] == [("GO", "1.22"), ("EXTRA", None)]
    assert found["secrets"] == [
        {"name": "token", "required": True, "location": {"ranges": [{"start": {"line": 7}, "end": {"line": 7}}]}}
    ]
    found = json.loads(veneer("build", "--call", "targets", "--format", "json", folder).text)
    assert [(each.get("name"), each["base"], each.get("default")) for each in found["targets"]] == [
        ("base", "golang:${GO}", None), (None, "scratch", True),
    ]  # fmt: skip


# ---- docker's options

CLASSIC = """
add-host build-arg cache-from cgroup-parent compress cpu-period cpu-quota cpu-shares cpuset-cpus cpuset-mems
disable-content-trust file force-rm iidfile isolation label memory memory-swap network no-cache platform pull quiet
rm security-opt shm-size squash tag target ulimit
"""
BUILDX = """
add-host allow annotation attest build-arg build-context builder cache-from cache-to call cgroup-parent check file
iidfile label load metadata-file network no-cache no-cache-filter output platform progress provenance pull push
quiet sbom secret shm-size ssh tag target ulimit
"""


def test_every_option_of_dockers_two_builders_is_known() -> None:
    known = {option.long for option in BUILD.options}
    assert not {*CLASSIC.split(), *BUILDX.split()} - known


def test_the_shell_is_offered_what_the_help_shows(veneer: Veneer) -> None:
    offered = veneer("__complete", "build", "--").text.split()
    assert {"--dry-run", "--explain", "--cpu-shares", "--no-cache-filter", "--help"} <= set(offered)
    assert "--sbom" not in offered and "--compress" not in offered
    shown = veneer("build", "--help").text
    assert all(f" {word} " in shown or word == "--help" for word in offered)


def asked(*words: str) -> BuildRequest:
    return request(parse([*words, "."], BUILD.options), None, "", {})


def test_limits_are_read_as_docker_reads_them() -> None:
    made = asked(
        "-m", "64m", "--memory-swap", "1g", "-c", "512", "--cpu-period", "50000", "--cpu-quota", "25000",
        "--cpuset-cpus", "0-1,3", "--cpuset-mems", "0", "--shm-size", "1m", "--ulimit", "nofile=5",
    )  # fmt: skip
    assert (made.memory, made.memory_swap, made.shm_size) == (64 << 20, 1 << 30, 1 << 20)
    assert (made.cpu_shares, made.cpu_period, made.cpu_quota) == (512, 50_000, 25_000)
    assert (made.cpuset_cpus, made.cpuset_mems, made.ulimits) == ("0-1,3", "0", ("nofile=5",))
    assert asked("-m", "1m", "--memory-swap=-1").memory_swap == -1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--memory-swap", "1g"], "--memory-swap needs --memory"),
        (["-m", "2g", "--memory-swap", "1g"], "cannot be less than --memory"),
        (["--cpus", "1", "--cpu-quota", "5"], "give the one or the others"),
        (["--cpu-shares", "many"], "invalid value 'many' for --cpu-shares"),
        (["--cpuset-cpus", "0-"], "invalid value '0-' for --cpuset-cpus"),
    ],
)
def test_limits_that_cannot_be_are_refused(words: list[str], message: str) -> None:
    with pytest.raises(Failure, match=message):
        asked(*words)


@pytest.mark.parametrize("words", [["--builder", "mine"], ["--isolation", "hyperv"], ["--security-opt", "x"]])
def test_what_docker_has_and_veneer_has_not_is_refused(veneer: Veneer, tmp_path: Path, words: list[str]) -> None:
    answer = veneer("build", *words, written(tmp_path / "c", b"FROM scratch\n"))
    assert answer.code != 0 and "is not supported" in answer.err


# ---- a terminal


def test_on_a_terminal_the_live_view_is_shown_and_a_pipe_gets_lines(based: Veneer, tmp_path: Path) -> None:
    folder = written(tmp_path / "c", MESSY)
    command = [str(VENEER), "--root", str(based.root), "build", folder]
    pid, master = pty.fork()
    if not pid:
        try:
            os.execv(command[0], command)
        finally:
            os._exit(127)
    said = bytearray()
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:  # the other side is closed
            break
        if not piece:
            break
        said += piece
    os.close(master)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert "✓".encode() in said and b"\x1b[2J" not in said and b"Successfully built" in said
    piped = subprocess.run(command, capture_output=True, check=True)
    assert b"\x1b" not in piped.stdout and b" ---> Using cache\n" in piped.stdout
