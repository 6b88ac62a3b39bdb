"""Words as they count: variables are replaced where docker replaces them, and what comes out is checked."""

from __future__ import annotations

from typing import Any

import pytest

from veneer.build.language import instructions as i
from veneer.build.language.durations import duration_ns, go_duration
from veneer.build.language.errors import Syntax
from veneer.build.language.parser import parse
from veneer.build.language.ports import exposed_ports
from veneer.build.language.resolve import resolve, resolved_args
from veneer.build.language.signals import check_signal

NAMES = {"a": "one", "b": "two words", "port": "80", "empty": "", "more": "81 82"}


def resolved(text: str) -> Any:
    dockerfile = parse(b"FROM scratch\n" + text.encode() + b"\n")
    return resolve(dockerfile.stages[0].instructions[0], NAMES)


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("ENV x=$a y='$a' $a=z", {"pairs": (("x", "one"), ("y", "$a"), ("one", "z"))}),
        ("ENV x $a  rest", {"pairs": (("x", "one  rest"),)}),
        ("ENV n=1 m=$n", {"pairs": (("n", "1"), ("m", ""))}),
        ('LABEL "$a"="$b"', {"pairs": (("one", "two words"),)}),
        ("ARG x=$a y=${x}-", {"pairs": (("x", "one"), ("y", "one-"))}),
        ("COPY --chown=$a --chmod=6${empty}44 $a x$b /$a", {"sources": ("one", "xtwo words"), "destination": "/one",
                                                            "chown": "one", "chmod": "644"}),
        ("COPY --exclude=*.$a . /", {"excludes": ("*.one",)}),
        ("ADD --checksum=sha256:$a x /", {"checksum": "sha256:one"}),
        ("EXPOSE $port/udp $more", {"words": ("81", "82", "80/udp")}),
        ("USER $a:$a", {"user": "one:one"}),
        ("WORKDIR /$a/$b", {"path": "/one/two words"}),
        ("VOLUME /$a", {"paths": ("/one",)}),
        ("STOPSIGNAL SIG${none:-TERM}", {"signal": "SIGTERM"}),
        ("RUN --mount=type=cache,target=/$a,id=$b x", {"command": i.Command(True, ("x",))}),
        # A shell looks at these when they run.
        ("RUN echo $a", {"command": i.Command(True, ("echo $a",))}),
        ('CMD ["$a"]', {"command": i.Command(False, ("$a",))}),
        ("ENTRYPOINT $a", {"command": i.Command(True, ("$a",))}),
        ("HEALTHCHECK CMD $a", {"test": ("CMD-SHELL", "$a")}),
        ('SHELL ["$a"]', {"words": ("$a",)}),
        ("ONBUILD ENV x=$a", {"trigger": "ENV x=$a"}),
        ("MAINTAINER $a", {"name": "$a"}),
    ],
)  # fmt: skip
def test_variables_are_replaced_where_docker_replaces_them(text: str, fields: dict[str, Any]) -> None:
    made = resolved(text)
    assert {name: getattr(made, name) for name in fields} == fields


def test_mounts_get_their_variables() -> None:
    [mount] = resolved("RUN --mount=type=cache,target=/$a,id=$b x").mounts
    assert (mount.target, mount.id) == ("/one", "two words")


def test_here_documents_get_theirs_unless_quoted() -> None:
    one, two = resolved("COPY <<A <<'B' /x/\n$a \"$b\"\nA\n$a\nB").heredocs
    assert (one.content, two.content) == ('one "two words"\n', "$a\n")


def test_a_from_sees_what_it_is_given() -> None:
    [stage] = parse(b"FROM --platform=linux/$a $b:${none-latest}\n").stages
    made = resolve(stage.base, {"a": "arm64", "b": "alpine"})
    assert isinstance(made, i.From) and (made.image, made.platform) == ("alpine:latest", "linux/arm64")


def test_what_is_given_stands_before_a_default_that_is_then_not_looked_at() -> None:
    [arg] = parse(b"FROM a\nARG x=${none:?} y=1\n").stages[0].instructions
    assert isinstance(arg, i.Arg)
    assert resolved_args(arg, {}, given=("x",)) == (("x", None), ("y", "1"))
    with pytest.raises(Syntax, match="not allowed to be unset"):
        resolved_args(arg, {})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("ENV $none=1", "ENV names can not be blank"),
        ("LABEL $none=1", "LABEL names can not be blank"),
        ("VOLUME $none", "VOLUME specified can not be an empty string"),
        ("STOPSIGNAL $a", "invalid signal: one"),
        ("STOPSIGNAL $none", "invalid signal: "),
        ("EXPOSE $a", "invalid containerPort: one"),
        ("COPY --chmod=$a x y", "invalid chmod parameter: 'one'"),
        ("COPY --chmod=10000 x y", "invalid chmod parameter: '10000'"),
        ("COPY --chmod=u=q x y", "invalid chmod parameter: 'u=q'"),
        ("COPY --chmod=-1 x y", "invalid chmod parameter: '-1'"),
        ("USER ${none:?who}", "none: who"),
    ],
)
def test_what_comes_out_wrong_is_refused(text: str, reason: str) -> None:
    with pytest.raises(Syntax) as caught:
        resolved(text)
    assert reason in caught.value.message


@pytest.mark.parametrize("mode", ["0", "7", "644", "0644", "7777", "u=rw,go=r", "a+x", "+x", "u+s,g-w", "go=u", "=r"])
def test_a_mode_is_octal_or_symbolic(mode: str) -> None:
    assert resolved(f"COPY --chmod={mode} x y").chmod == mode


def test_a_blank_base_is_refused() -> None:
    [stage] = parse(b"FROM --platform=$p $x\n").stages
    with pytest.raises(Syntax, match=r"base name \(\$x\) should not be blank"):
        resolve(stage.base, {})
    with pytest.raises(Syntax, match=r"empty platform value from expression \$p"):
        resolve(stage.base, {"x": "a"})


# ---- ports, signals, times


@pytest.mark.parametrize(
    ("words", "ports"),
    [
        (["80"], ["80/tcp"]),
        (["80/TCP", "53/udp", "9/sctp", "80"], ["80/tcp", "53/udp", "9/sctp"]),
        (["8000-8002"], ["8000/tcp", "8001/tcp", "8002/tcp"]),
        (["80/"], ["80/tcp"]),
        (["0", "65535"], ["0/tcp", "65535/tcp"]),
        (["80:90", "1.2.3.4:5:6", "[::1]:7:8/udp", "80-81:90-91"], ["90/tcp", "6/tcp", "8/udp", "91/tcp"]),
    ],
)
def test_ports_are_listed_one_by_one(words: list[str], ports: list[str]) -> None:
    assert exposed_ports(words) == ports


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("x", "invalid containerPort: x"),
        ("65536", "invalid containerPort: 65536"),
        ("9-8", "invalid containerPort: 9-8"),
        ("-1", "invalid containerPort: -1"),
        ("80/http", "invalid proto: http"),
        ("/tcp", "no port specified: /tcp<empty>"),
        ("x:80", "invalid hostPort: x"),
        ("1.2.3:5:6", "invalid IP address: 1.2.3"),
        ("80-82:90-91", "invalid ranges specified for container and host Ports: 90-91 and 80-82"),
        ("٣", "invalid containerPort: ٣"),
    ],
)
def test_what_is_no_port_is_refused(word: str, reason: str) -> None:
    with pytest.raises(Syntax) as caught:
        exposed_ports([word])
    assert caught.value.reason == reason


def test_ports_have_a_number() -> None:
    assert len(exposed_ports(["0-65535/tcp", "0-65535/udp", "0-65535/sctp", *["0-65535"] * 1000])) == 3 << 16
    with pytest.raises(Syntax, match="ports in one EXPOSE"):
        exposed_ports(f"{n}-65535" for n in range(1000))


@pytest.mark.parametrize("text", ["TERM", "SIGTERM", "sigkill", "15", "RTMIN", "SIGRTMIN+3", "RTMAX-14", "+9", "-9"])
def test_a_signal_is_a_name_or_a_number(text: str) -> None:
    check_signal(text)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("SIGTREM", "SIGTERM"),
        ("trem", "term"),
        ("SIGFOO", "SIGFPE"),
        ("0", ""),
        ("", ""),
        ("1.5", ""),
        ("RTMIN+16", ""),
        ("²", ""),
    ],
)
def test_what_is_no_signal_is_refused(text: str, meant: str) -> None:
    with pytest.raises(Syntax) as caught:
        check_signal(text)
    assert caught.value.reason.startswith(f"invalid signal: {text}")
    assert meant in caught.value.reason


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [("0", 0), ("1s", 10**9), ("1m30s", 90 * 10**9), ("1.5h", 5400 * 10**9), ("500ms", 5 * 10**8), ("1us", 1000),
     ("1µs", 1000), (".5s", 5 * 10**8), ("-1s", -(10**9)), ("+1s", 10**9), ("1h1m1s1ms1us1ns", 3661001001001),
     ("", None), ("1", None), ("s", None), ("1x", None), ("1s ", None), ("9999999h", None), ("1" * 101 + "s", None)],
)  # fmt: skip
def test_a_duration_is_read_as_go_reads_it(text: str, nanoseconds: int | None) -> None:
    assert duration_ns(text) == nanoseconds


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [(0, "0s"), (1, "1ns"), (1500, "1.5µs"), (2_000_000, "2ms"), (10**9, "1s"), (90 * 10**9, "1m30s"),
     (3600 * 10**9, "1h0m0s"), (5400 * 10**9 + 5 * 10**8, "1h30m0.5s"), (-(10**9), "-1s")],
)  # fmt: skip
def test_a_duration_is_shown_as_go_shows_it(nanoseconds: int, text: str) -> None:
    assert go_duration(nanoseconds) == text
