"""`RUN --mount` on a real runtime: what is seen, what is kept, what the cache makes of it, and what stays: nothing."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.builds import Done, build, with_programs
from tests.support.programs import needs, run
from veneer.build.context.failures import SourceNotFound
from veneer.build.events import Output
from veneer.build.failure import StepFailed
from veneer.build.request import SecretSource
from veneer.build.running.mounts import BadSecret, NoSecret
from veneer.engine.engine import Engine
from veneer.run.mountpoints import BadMountPoint

Build = Callable[..., Done]


@pytest.fixture
def context(tmp_path: Path) -> Path:
    folder = tmp_path / "context"
    (folder / "sub/deep").mkdir(parents=True)
    (folder / "file").write_text("file\n")
    (folder / "sub/seen").write_text("seen\n")
    (folder / "sub/hidden").write_text("hidden\n")
    (folder / "sub/deep/x").write_text("x\n")
    (folder / "link").symlink_to("sub")
    return folder


@pytest.fixture
def built(engine: Engine, busybox: Path, context: Path, root_only: None) -> Build:
    needs("runc")
    with_programs(engine, busybox)

    def do(steps: str, **fields: object) -> Done:
        return build(engine, f"FROM busybox:1\n{steps}", context, **{"network": "none", **fields})

    return do


def said(done: Done) -> list[str]:
    """The lines on standard output; between it and standard error there is no order."""
    told = [each.data for each in done.events if isinstance(each, Output) and each.stream == 1]
    return b"".join(told).decode().splitlines()


# ---- bind


def test_the_context_a_part_of_it_a_stage_an_image_another_context(
    engine: Engine, built: Build, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other/named").write_text("named\n")
    done = build(
        engine,
        "FROM busybox:1 AS stage\nRUN mkdir /data && echo stage > /data/f\nFROM busybox:1\n"
        "RUN --mount=target=/c cat /c/file; ls /c\n"
        "RUN --mount=source=link,target=/c ls /c\n"
        "RUN --mount=source=file,target=/c/f cat /c/f\n"
        "RUN --mount=from=stage,source=data,target=/c cat /c/f\n"
        "RUN --mount=from=0,target=/c cat /c/data/f\n"
        "RUN --mount=from=busybox:1,source=/etc/passwd,target=/c grep -c root /c\n"
        "RUN --mount=from=other,target=/c cat /c/named\n",
        tmp_path / "context", network="none", contexts=(("other", str(tmp_path / "other")),),
    )  # fmt: skip
    assert said(done) == [
        "file", "file", "link", "sub", "deep", "hidden", "seen", "file", "stage", "stage", "1", "named"
    ]  # fmt: skip
    assert len(done.image.config.diff_ids) == 1


def test_what_is_written_is_refused_or_thrown_away(built: Build, context: Path) -> None:
    done = built(
        "RUN --mount=source=sub,target=/c touch /c/x 2>/dev/null || echo read-only\n"
        "RUN --mount=source=sub,target=/c,rw touch /c/x && rm /c/seen && ls /c\n"
        "RUN --mount=source=sub/seen,target=/c,rw echo more >> /c; cat /c\n"
        "RUN --mount=from=busybox:1,source=/etc,target=/c,rw touch /c/x && ls /c | grep -c x\n"
    )
    assert said(done) == ["read-only", "deep", "hidden", "x", "seen", "more", "1"]
    assert sorted(os.listdir(context / "sub")) == ["deep", "hidden", "seen"]
    assert (context / "sub/seen").read_text() == "seen\n"


def test_what_is_ignored_is_not_there(built: Build, context: Path) -> None:
    (context / ".dockerignore").write_text("sub/hidden\nsub/deep\n!sub/deep/x\nlink\n")
    (context / "sub/deep/y").write_text("")
    done = built("RUN --mount=target=/c find /c | sort; touch /c/new 2>/dev/null || echo read-only\n"
                 "RUN --mount=target=/c,rw cat /c/sub/hidden 2>/dev/null || touch /c/sub/new; ls /c/sub\n")  # fmt: skip
    assert said(done) == [
        "/c", "/c/.dockerignore", "/c/file", "/c/sub", "/c/sub/deep", "/c/sub/deep/x", "/c/sub/seen", "read-only",
        "deep", "new", "seen",
    ]  # fmt: skip
    with pytest.raises(StepFailed, match="sub/hidden: no such file or directory") as failure:
        built("RUN --mount=source=sub/hidden,target=/c true\n")
    assert ".dockerignore excludes it: sub/hidden" in failure.value.hint
    assert isinstance(failure.value.cause, SourceNotFound)


def test_the_step_is_done_again_when_the_files_it_sees_change_and_not_for_others(built: Build, context: Path) -> None:
    steps = "RUN --mount=source=sub,target=/c cat /c/seen > /f\n"
    first = built(steps)
    (context / "file").write_text("other\n")
    assert built(steps).cached == [True]
    (context / "sub/seen").write_text("news\n")
    again = built(steps)
    assert again.cached == [False] and again.id != first.id
    assert again.why.kind == "mount" and "the build context: sub/seen: other content" in again.why.summary


def test_a_source_that_is_not_there_is_named(built: Build) -> None:
    with pytest.raises(StepFailed, match="sub/sene: no such file or directory") as failure:
        built("RUN --mount=source=sub/sene,target=/c true\n")
    assert "sub/seen" in failure.value.hint


def test_a_mount_cannot_lie_on_what_is_of_another_kind(built: Build) -> None:
    with pytest.raises(StepFailed, match="cannot mount on /etc/passwd: not a directory") as failure:
        built("RUN --mount=target=/etc/passwd true\n")
    assert isinstance(failure.value.cause, BadMountPoint)


# ---- cache and tmpfs


def test_a_cache_is_kept_from_step_to_step_and_build_to_build_and_is_no_reason_to_do_a_step_again(
    built: Build,
) -> None:
    steps = "RUN --mount=type=cache,target=/c echo kept >> /c/f; wc -l < /c/f\n"
    assert said(built(steps)) == ["1"]
    assert built(steps).cached == [True]
    assert said(built(steps, no_cache=True)) == ["2"]
    assert said(built("RUN --mount=type=cache,target=/d,id=/c,ro cat /d/f; touch /d/x || echo read-only\n")) == [
        "kept", "kept", "read-only"
    ]  # fmt: skip


def test_a_new_cache_has_its_owner_its_mode_and_what_it_begins_with(built: Build) -> None:
    done = built(
        "RUN --mount=type=cache,target=/c,uid=7,gid=8,mode=0750 stat -c '%u %g %a' /c; ls /c\n"
        "RUN --mount=type=cache,target=/d,from=busybox:1,source=/etc ls /d | grep passwd\n"
    )
    assert said(done) == ["7 8 750", "passwd"]


def test_caches_of_a_namespace_are_apart(built: Build) -> None:
    steps = "RUN --mount=type=cache,target=/c touch /c/f; ls /c/g || touch /c/g\n"
    built(steps)
    other = built(steps.replace("touch /c/f", "ls /c"), args={"BUILDKIT_CACHE_MOUNT_NS": "apart"}, no_cache=True)
    assert "f" not in said(other)


def test_locked_caches_taken_in_any_order_by_stages_side_by_side(engine: Engine, built: Build) -> None:
    mounts = [f"--mount=type=cache,sharing=locked,id={id},target=/{id}" for id in "ab"]
    stages = "".join(
        f"FROM busybox:1 AS s{n}\nRUN {' '.join(mounts[:: 1 if n % 2 else -1])} echo {n} > /a/f; echo {n} > /b/f\n"
        for n in range(4)
    )
    last = "FROM busybox:1\n" + "".join(f"RUN --mount=from=s{n},target=/x true\n" for n in range(4))
    done = build(engine, stages + last + f"RUN {' '.join(mounts)} cat /a/f /b/f\n", network="none")
    assert len(set(said(done))) == 1


def test_a_cache_may_begin_with_a_stage_that_uses_the_same_cache(engine: Engine, built: Build) -> None:
    done = build(
        engine,
        "FROM busybox:1 AS first\nRUN mkdir /data && echo begun > /data/f\n"
        "RUN --mount=type=cache,id=one,sharing=locked,target=/c ls /c | wc -l\n"
        "FROM busybox:1\n"
        "RUN --mount=type=cache,id=one,sharing=locked,from=first,source=data,target=/c ls /c | wc -l\n",
        network="none",
    )  # fmt: skip
    assert said(done) == ["0", "0"]


def test_a_tmpfs_is_empty_of_its_size_and_gone(built: Build) -> None:
    size = "df -k /home | awk 'END { print $2 }'"
    done = built(f"RUN --mount=type=tmpfs,target=/home,size=1m ls /home; {size}; touch /home/x\n"
                 "RUN ls /home\n")  # fmt: skip
    assert said(done) == ["1024"]
    assert len(done.image.config.diff_ids) == 1


# ---- secrets


def test_a_secret_is_a_file_a_variable_or_both_and_in_no_layer(built: Build, engine: Engine) -> None:
    done = built(
        "RUN --mount=type=secret,id=t cat /run/secrets/t; stat -c ' %u %g %a' /run/secrets/t\n"
        "RUN --mount=type=secret,id=t,target=/root/.t,uid=7,gid=8,mode=0440 stat -c '%u %g %a' /root/.t\n"
        "ENV T=image\nRUN --mount=type=secret,id=t,env=T echo $T; test ! -e /run/secrets/t\n"
        "RUN --mount=type=secret,id=t,env=U,target=/s echo $U; cat /s\n"
        "RUN --mount=type=secret,id=none test ! -e /run/secrets/none\n",
        secrets=(SecretSource("t", b"open-sesame"),),
    )
    assert said(done) == ["open-sesame 0 0 400", "7 8 440", "open-sesame", "open-sesame", "open-sesame"]
    assert len(done.image.config.diff_ids) == 1
    found = [path for path in engine.config.root.rglob("*") if path.is_file() and b"open-sesame" in path.read_bytes()]
    assert found == [], "nowhere on the disk"


def test_another_secret_is_no_reason_to_do_a_step_again(built: Build) -> None:
    steps = "RUN --mount=type=secret,id=t cat /run/secrets/t\n"
    built(steps, secrets=(SecretSource("t", b"one"),))
    assert built(steps, secrets=(SecretSource("t", b"two"),)).cached == [True]


def test_secrets_that_cannot_be(built: Build) -> None:
    with pytest.raises(StepFailed, match="secret none: not found") as failure:
        built("RUN --mount=type=secret,id=none,required=true true\n")
    assert isinstance(failure.value.cause, NoSecret)
    with pytest.raises(StepFailed, match="unset ssh forward key default") as failure:
        built("RUN --mount=type=ssh,required=true true\n")
    assert isinstance(failure.value.cause, NoSecret)
    with pytest.raises(StepFailed, match="NUL byte") as failure:
        built("RUN --mount=type=secret,id=t,env=T true\n", secrets=(SecretSource("t", b"a\0b"),))
    assert isinstance(failure.value.cause, BadSecret)


# ---- ssh


def test_an_agents_socket_is_there_with_its_owner_and_is_what_ssh_looks_for(built: Build, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as agent:
        agent.bind(os.fspath(tmp_path / "agent"))
        agent.listen()
        done = built(
            "RUN --mount=type=ssh,uid=7,gid=8,mode=0666 echo $SSH_AUTH_SOCK; stat -c '%F %u %g %a' $SSH_AUTH_SOCK\n"
            "RUN --mount=type=ssh,target=/tmp/a --mount=type=ssh,id=other echo $SSH_AUTH_SOCK; ls /run 2>&1 || true\n",
            ssh=(("default", str(tmp_path / "agent")),),
        )
    assert said(done)[:3] == ["/run/buildkit/ssh_agent.0", "socket 7 8 666", "/tmp/a"]
    assert len(done.image.config.diff_ids) == 1


def test_a_key_given_by_file_is_had_by_an_agent_and_not_by_the_step(built: Build, tmp_path: Path) -> None:
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key")
    done = built("RUN --mount=type=ssh stat -c %F $SSH_AUTH_SOCK\n", ssh=(("default", str(tmp_path / "key")),))
    assert said(done) == ["socket"]
