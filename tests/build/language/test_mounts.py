"""`RUN --mount`: every type, its keys, and what they are without."""

from __future__ import annotations

from typing import Any

import pytest

from veneer.build.language.errors import ExpansionError, Syntax
from veneer.build.language.expand import expand
from veneer.build.language.instructions import Run
from veneer.build.language.mounts import mount_target, run_mount
from veneer.build.language.parser import parse
from veneer.build.language.resolve import resolve


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("target=/x", {"type": "bind", "target": "/x", "source": "", "from_": "", "readonly": True}),
        ("type=bind,dst=/x,src=a,from=b,rw", {"source": "a", "from_": "b", "readonly": False}),
        ("type=bind,destination=/x,source=a,readwrite=true", {"target": "/x", "source": "a", "readonly": False}),
        ("type=bind,target=/x,ro=false", {"readonly": False}),
        ("TYPE=Bind,Target=/X", {"type": "bind", "target": "/X"}),
        ("type=cache,target=/c", {"id": "/c", "sharing": "shared", "readonly": False, "mode": None, "uid": None}),
        ("type=cache,target=/c/,id=i,sharing=locked,mode=0700,uid=5,gid=6,ro",
         {"id": "i", "sharing": "locked", "mode": 0o700, "uid": 5, "gid": 6, "readonly": True}),
        ("type=cache,target=/c,sharing=PRIVATE,from=b,source=/s", {"sharing": "private", "from_": "b", "source": "/s"}),
        ("type=tmpfs,target=/t,size=64m", {"size": 64 << 20, "readonly": False}),
        ("type=tmpfs,target=/t,size=1.5GiB", {"size": 3 << 29}),
        ("type=secret,id=s", {"id": "s", "target": "", "required": False, "mode": None, "env": ""}),
        ("type=secret,id=s,required,mode=0440,uid=1,gid=2", {"required": True, "mode": 0o440, "uid": 1, "gid": 2}),
        ("type=secret,target=/a/b", {"id": "b", "target": "/a/b"}),
        ("type=secret,source=s", {"id": "s"}),
        ("type=secret,env=TOKEN", {"id": "TOKEN", "env": "TOKEN"}),
        ("type=secret,id=s,env=TOKEN,target=/f", {"id": "s", "env": "TOKEN", "target": "/f"}),
        ("type=ssh", {"id": "default", "required": False}),
        ("type=ssh,id=k,required=true,target=/s,mode=0600", {"id": "k", "required": True, "target": "/s"}),
        ('type=bind,"target=/a,b"', {"target": "/a,b"}),
    ],
)  # fmt: skip
def test_a_mount_is_read(text: str, fields: dict[str, Any]) -> None:
    made = run_mount(text)
    assert {name: getattr(made, name) for name in fields} == fields
    assert made.text == text and not made.deferred


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("type=bid,target=/x", 'unsupported mount type "bid" (did you mean bind?)'),
        ("target=/x,sorce=y", "unexpected key 'sorce' in 'sorce=y' (did you mean source?)"),
        ("target", "invalid field 'target' must be a key=value pair"),
        ("type=bind,target=/x,ro=maybe", "invalid value for readonly: maybe"),
        ("type=bind,target=/x,size=1", "unexpected key 'size' for mount type 'bind'"),
        ("type=bind,target=/x,required", "unexpected key 'required' for mount type 'bind'"),
        ("type=tmpfs,target=/x,sharing=locked", "unexpected key 'sharing' for mount type 'tmpfs'"),
        ("type=ssh,env=x", "unexpected key 'env' for mount type 'ssh'"),
        ("type=bind,target=/x,uid=1", 'uid not allowed for "bind" type mounts'),
        ("type=tmpfs,target=/x,mode=1777", 'mode not allowed for "tmpfs" type mounts'),
        ("type=cache,target=/x,sharing=lock", 'unsupported sharing value "lock" (did you mean locked?)'),
        ("type=cache,target=/x,mode=8", "invalid value 8 for mode"),
        ("type=cache,target=/x,uid=-1", "invalid value -1 for uid"),
        ("type=cache,target=/x,gid=4294967296", "invalid value 4294967296 for gid"),
        ("type=tmpfs,target=/x,size=lots", "invalid value for size: lots"),
        ("type=secret", "invalid secret mount. one of source, target required"),
        ("type=secret,id=a,source=b", "both source and id can't be set"),
        ("type=secret,id=a,from=b", "secret mount should not have a from"),
        ("type=bind,from=$x,target=/y", "'from' doesn't support variable expansion"),
        ('type=bind,"target=/x', "failed to parse csv mounts"),
    ],
)  # fmt: skip
def test_a_mount_that_is_wrong_is_refused(text: str, reason: str) -> None:
    with pytest.raises(Syntax) as caught:
        run_mount(text)
    assert caught.value.reason.startswith(reason.partition(" (did")[0])
    assert reason in caught.value.message or caught.value.message.startswith(reason)


def test_variables_wait_for_their_values() -> None:
    text = "type=cache,target=$home/.cache,id=${id:-x}"
    assert run_mount(text).deferred
    made = run_mount(text, lambda word: expand(word, {"home": "/root"}))
    assert (made.target, made.id, made.deferred) == ("/root/.cache", "x", False)


def test_a_value_with_a_comma_stays_one_value() -> None:
    made = run_mount("target=$t,source=x", lambda word: expand(word, {"t": "/a,source=/etc"}))
    assert (made.target, made.source) == ("/a,source=/etc", "x")


def test_what_a_variable_makes_wrong_is_refused_when_it_is_known() -> None:
    [run] = parse(b"FROM a\nRUN --mount=type=$kind,target=/x true\n").stages[0].instructions
    assert isinstance(resolve(run, {"kind": "tmpfs"}), Run)
    with pytest.raises(Syntax, match="unsupported mount type"):
        resolve(run, {"kind": "disk"})
    with pytest.raises(ExpansionError):
        run_mount("target=${x:?}", lambda word: expand(word, {}))


@pytest.mark.parametrize(
    ("text", "workdir", "target"),
    [
        ("target=/x/../y", "/w", "/y"),
        ("target=a", "/w", "/w/a"),
        ("target=a", "", "/a"),
        ("target=../../a", "/w", "/a"),
        ("target=//x", "/", "/x"),
        ("type=secret,id=a/b", "/w", "/run/secrets/b"),
        ("type=secret,id=a,env=A", "/w", ""),
        ("type=secret,id=a,env=A,target=/f", "/w", "/f"),
        ("type=ssh", "/w", "/run/buildkit/ssh_agent.0"),
    ],
)
def test_where_a_mount_goes(text: str, workdir: str, target: str) -> None:
    assert mount_target(run_mount(text), workdir) == target


@pytest.mark.parametrize("text", ["target=/", "type=tmpfs,target=/x/..", "type=cache"])
def test_a_mount_cannot_hide_everything(text: str) -> None:
    with pytest.raises(Syntax, match="invalid mount target"):
        mount_target(run_mount(text), "/")
