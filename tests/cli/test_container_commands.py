"""What is done to containers from the command line: their life, exec, logs, top, stats, update, events."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import re
import shlex
import signal
import subprocess
from functools import partial
from pathlib import Path

import pytest

from tests.support.containers import IMAGE, OnTerminal, Yard, until
from veneer.engine.containers.creating import ContainerRequest
from veneer.engine.containers.leftovers import being_run
from veneer.run.cgroups import hierarchies
from veneer.run.monitor import state
from veneer.run.runtime import choose

pytestmark = pytest.mark.usefixtures("root_only")


def test_one_that_fails_stops_no_other_and_the_code_says_so(yard: Yard) -> None:
    yard.run("one", "sleep", "1000")
    yard.run("two", "sleep", "1000")
    found = yard("stop", "-t", "0", "one", "nosuch", "two", check=False)
    assert (found.code, found.out) == (1, "one\ntwo\n")
    assert found.err.startswith("Error: No such container: nosuch\n")
    assert yard.status("one") == yard.status("two") == "exited"
    found = yard("start", "one", "nosuch", "two", check=False)
    assert (found.code, found.out) == (1, "one\ntwo\n")
    assert found.err.endswith("Error: failed to start containers: nosuch\n")
    assert yard("start", "one").out == "one\n"  # one that runs is no error


def _printed(yard: Yard, name: str) -> str:
    return yard("logs", name).out


def test_a_stop_is_a_request_and_then_a_kill(yard: Yard) -> None:
    waiting = "; echo ready; while :; do sleep 0.01; done"
    yard.run("polite", "sh", "-c", f"trap 'exit 3' TERM{waiting}")
    yard.run("deaf", "sh", "-c", f"trap '' TERM{waiting}")
    yard.run("own", "sh", "-c", f"trap 'exit 4' USR1{waiting}", options=["--stop-signal", "USR1"])
    for name in ("polite", "own"):  # until then a signal is lost on it
        until(partial(_printed, yard, name))
    yard("stop", "polite", "own")
    yard("stop", "-t", "1", "deaf")
    assert yard("wait", "polite", "deaf", "own").out == "3\n137\n4\n"
    assert yard("stop", "deaf").out == "deaf\n"


def test_a_kill_is_any_signal(yard: Yard) -> None:
    yard.run("box", "sh", "-c", "trap 'echo hup' HUP; echo ready; while :; do sleep 0.01; done")
    until(lambda: yard("logs", "box").out)
    yard("kill", "-s", "SIGHUP", "box")
    until(lambda: yard("logs", "box").out == "ready\nhup\n")
    assert yard("kill", "box").out == "box\n"
    assert yard("wait", "box").out == "137\n"
    id = yard("create", "--network", "none", "--name", "new", IMAGE, "true").out.strip()
    found = yard("kill", "new", check=False)
    assert (found.code, found.err) == (1, f"Error: Cannot kill container: new: Container {id} is not running\n")
    assert yard("kill", "-s", "nosuch", "box", check=False).err.startswith("Error: Invalid signal: nosuch\n")


def test_a_caller_in_real_time_has_an_ordinary_container(yard: Yard) -> None:
    words = yard.command("run", "--rm", "--network", "none", IMAGE, "cat", "/proc/self/stat")
    done = subprocess.run(["chrt", "--fifo", "1", *map(str, words)], check=True, capture_output=True, text=True)
    assert done.stdout.split()[40] == "0", "the policy is SCHED_OTHER"


def test_what_is_paused_stands_still(yard: Yard) -> None:
    id = yard.run("box", "sh", "-c", "while :; do echo x >> /lines; sleep 0.01; done")
    # Not its log: there the monitor may yet write what was said before.
    lines = Path(f"/proc/{state.read(yard.root / 'containers' / id).pid}/root/lines")
    until(lines.exists)
    yard("pause", "box")
    assert yard.status("box") == "paused"
    before = lines.stat().st_size
    assert "is already paused" in yard("pause", "box", check=False).err
    assert yard("exec", "box", "true", check=False).err.startswith(
        "Error: Container box is paused, unpause the container before exec\n"
    )
    assert yard("attach", "box", check=False).err.endswith("paused container, unpause it first\n")
    assert lines.stat().st_size == before
    yard("unpause", "box")
    until(lambda: lines.stat().st_size > before)
    assert "is not paused" in yard("unpause", "box", check=False).err
    yard("pause", "box")
    yard("stop", "-t", "0", "box")


def test_restarted_it_runs_anew(yard: Yard) -> None:
    yard.run("box", "sh", "-c", "cat /proc/uptime >> /starts; sleep 1000")
    until(lambda: yard("exec", "box", "cat", "/starts", check=False).out)
    yard("restart", "-t", "0", "box")
    until(lambda: yard("exec", "box", "wc", "-l", "/starts").out.startswith("2"))
    yard("stop", "-t", "0", "box")
    yard("restart", "box")
    assert yard.status("box") == "running"


def test_wait_waits_and_prints_the_codes(yard: Yard) -> None:
    yard.run("box", "sh", "-c", "read x; exit 7", options=["-i"])
    with subprocess.Popen([*map(str, yard.command("wait", "box", "box"))], stdout=subprocess.PIPE) as waiting:
        with subprocess.Popen([*map(str, yard.command("attach", "box"))], stdin=subprocess.PIPE) as attached:
            attached.communicate(b"\n", timeout=60)
        assert attached.returncode == 7
        assert waiting.communicate(timeout=60)[0] == b"7\n7\n"
    assert yard("wait", "nosuch", "box", check=False).out == "7\n"


def test_exec_runs_what_it_is_told_as_whom_and_where(yard: Yard, tmp_path: Path) -> None:
    yard.run("box", "sleep", "1000", options=["-e", "FROM=container"])
    file = tmp_path / "env"
    file.write_text("# no variable\nB=file\nC=file\n")
    script = 'echo "$FROM $A $B $C $PWD $(id -u):$(id -g)"; exit 7'
    found = yard("exec", "-e", "A=1", "-e", "C=2", "--env-file", file, "-w", "/tmp", "-u", "5:6", "box", "sh", "-c",
                 script, check=False)  # fmt: skip
    assert (found.code, found.out) == (7, "container 1 file 2 /tmp 5:6\n")
    capabilities = ["exec", "box", "grep", "CapEff", "/proc/self/status"]
    assert yard(*capabilities).out != yard("exec", "--privileged", *capabilities[1:]).out
    assert yard("exec", "-d", "box", "touch", "/done").out == ""
    until(lambda: yard("exec", "box", "test", "-e", "/done", check=False).code == 0)


def test_an_exec_that_cannot_be_says_why_by_its_code(yard: Yard) -> None:
    yard.run("box", "sleep", "1000")
    assert yard("exec", "box", "nosuch", check=False).code == 127
    assert yard("exec", "box", "/etc", check=False).code == 126
    assert yard("exec", "-u", "nosuch", "box", "true", check=False).code == 126
    assert yard("exec", "-w", "/nosuch", "box", "true", check=False).code == 126
    yard("stop", "-t", "0", "box")
    assert re.fullmatch(r"Error: Container [0-9a-f]{64} is not running\n", yard("exec", "box", "true", check=False).err)


def test_logs_have_both_streams_times_and_their_end(yard: Yard) -> None:
    options = ["--label", "l=1", "-e", "V=2", "--log-opt", "labels=l,m", "--log-opt", "env-regex=^V"]
    script = "for i in 1 2 3; do echo out $i; echo err $i >&2; sleep 0.05; done; printf last"
    yard.run("box", "sh", "-c", script, options=options)
    yard("wait", "box")
    found = yard("logs", "box")
    assert (found.out, found.err) == ("out 1\nout 2\nout 3\nlast", "err 1\nerr 2\nerr 3\n")
    assert yard("logs", "-n", "1", "box").out == "last"
    assert yard("logs", "--tail", "0", "box") == yard("logs", "--since", "2100-01-01", "box")
    assert yard("logs", "--until", "1h", "box").out == ""
    stamped = yard("logs", "-t", "box").out.splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z ", line) for line in stamped)
    # Lines that came at once have one time.
    since = [line for line in stamped if line.split()[0] >= stamped[1].split()[0]]
    assert yard("logs", "-t", "--since", stamped[1].split()[0], "box").out.splitlines() == since
    assert yard("logs", "--details", "-n", "1", "box").out == "V=2,l=1 last"
    assert yard("logs", "--since", "soon", "box", check=False).err == (
        'Error: invalid value for "since": failed to parse value as time or duration: "soon"\n'
    )


def test_logs_are_followed_to_the_end_across_rotations(yard: Yard) -> None:
    script = "read x; i=0; while [ $i -lt 400 ]; do echo line $i; i=$((i+1)); done; sleep 0.3; echo end"
    yard.run("box", "sh", "-c", script,
             options=["-i", "--log-opt", "max-size=10k", "--log-opt", "max-file=9"])  # fmt: skip
    with subprocess.Popen([*map(str, yard.command("logs", "-f", "box"))], stdout=subprocess.PIPE) as following:
        with subprocess.Popen([*map(str, yard.command("attach", "box"))], stdin=subprocess.PIPE,
                              stdout=subprocess.DEVNULL) as attached:  # fmt: skip
            attached.communicate(b"\n", timeout=60)
        lines = following.communicate(timeout=60)[0].decode().splitlines()
    assert following.returncode == 0
    wanted = [*(f"line {number}" for number in range(400)), "end"]
    assert lines == wanted
    assert yard("logs", "box").out.splitlines() == wanted
    assert yard("logs", "-n", "300", "box").out.splitlines() == wanted[-300:]


def test_there_is_no_log_to_read_without_a_driver_that_keeps_it(yard: Yard) -> None:
    yard.run("box", "true", options=["--log-driver", "none"])
    assert yard("logs", "box", check=False).err == "Error: configured logging driver does not support reading\n"


def test_top_shows_the_containers_processes_and_no_other(yard: Yard) -> None:
    yard.run("box", "sh", "-c", "sleep 998 & sleep 999; true")
    until(lambda: len(yard("top", "box").out.splitlines()) == 4)
    lines = yard("top", "box", "-o", "pid,args").out.splitlines()
    assert lines[0].split() == ["PID", "COMMAND"]
    assert sorted(line.split(None, 1)[1] for line in lines[1:]) == [
        "sh -c sleep 998 & sleep 999; true", "sleep 998", "sleep 999"
    ]  # fmt: skip
    assert yard("top", "box", "-o", "comm", check=False).err == "Error: Couldn't find PID field in ps output\n"
    assert yard("top", "box", "-o", "x=PID", check=False).err == 'Error: specifying "x=PID" is not allowed\n'


def test_stats_tell_what_is_taken(yard: Yard) -> None:
    yard.run("busy", "sh", "-c", "sleep 1000 & while :; do :; done", options=["-m", "64m"])
    yard("create", "--network", "none", "--name", "idle", IMAGE, "true")

    def told() -> dict[str, str] | None:
        found: dict[str, str] = json.loads(yard("stats", "--no-stream", "--format", "json", "busy").out)
        return found if float(found["CPUPerc"].rstrip("%")) > 1 and found["PIDs"] == "2" else None

    found = until(told)
    assert found["MemUsage"].endswith(" / 64MiB") and found["Name"] == "busy"
    assert len(yard("stats", "--no-stream").out.splitlines()) == 2
    assert "0.00%     0B / 0B" in yard("stats", "--no-stream", "-a").out
    assert yard("stats", "--no-stream", "nosuch", check=False).code == 1


def test_stats_renew_themselves_before_a_terminal(yard: Yard) -> None:
    yard.run("box", "sleep", "1000")
    with OnTerminal(*yard.command("stats")) as terminal:
        for _ in range(2):
            terminal.expect(b"CONTAINER ID")
            terminal.expect(b"box")
        terminal.signal(signal.SIGINT)
        assert terminal.wait() == 130


def test_limits_and_restart_policy_are_changed_while_it_runs(yard: Yard) -> None:
    yard.run("box", "sleep", "1000", options=["-m", "64m"])
    assert yard("update", "-m", "128m", "--memory-swap", "256m", "--restart", "on-failure:3", "box").out == "box\n"
    assert json.loads(yard("stats", "--no-stream", "--format", "json", "box").out)["MemUsage"].endswith("128MiB")
    with yard.engine() as engine:
        host = engine.containers.get("box").document["HostConfig"]
    assert host["Memory"] == 128 << 20
    assert host["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 3}
    found = yard("update", "box", check=False)
    assert (found.code, found.err) == (1, "Error: you must provide one or more flags when using this command\n")


def test_what_is_wrong_in_the_words_comes_with_the_way_out(yard: Yard) -> None:
    missing = yard("cp", "nosuch:/x", ".", check=False)
    assert missing.code == 1 and missing.err.splitlines() == [
        "Error: No such container:path: nosuch:/x",
        f"hint: there is no container nosuch: veneer --root {yard.root} ps --all lists those there are",
    ]
    wrong = yard("run", "-p", "abc", "busybox:1", check=False)
    assert wrong.code == 125 and "invalid containerPort: abc\nhint: " in wrong.err


def test_a_copy_from_above_a_volume_has_it_whether_the_container_runs_or_not(yard: Yard, tmp_path: Path) -> None:
    words = "echo v >/t/vol/v; echo own >/t/own; sleep 1000"
    id = yard.run("box", "sh", "-c", words, options=["-v", "vol:/t/vol"])
    yard("exec", "box", "sh", "-c", "until test -e /t/own; do sleep 0.01; done")
    mounts = Path(f"/proc/{state.read(yard.root / 'containers' / id).monitor}/mountinfo")
    before = mounts.read_text()
    for status in ("running", "exited"):
        assert yard.status("box") == status
        yard("cp", "box:/t", tmp_path / status)
        assert (tmp_path / status / "vol/v").read_text() == "v\n" and (tmp_path / status / "own").exists()
        if status == "running":
            until(lambda: mounts.read_text() == before)
        yard("stop", "-t", "0", "box")
    yard("rm", "box")
    yard("volume", "rm", "vol")


def test_a_container_at_rest_is_copied_from_and_to_at_once(yard: Yard, tmp_path: Path) -> None:
    """A pipe holds less than what is copied, so each would wait for the other if one kept the other out."""
    yard.run("box", "sh", "-c", "mkdir /d /x; head -c 300000 /dev/zero >/d/f", options=["-v", f"{tmp_path}:/v/vol"])
    yard("wait", "box")

    def command(*words: str) -> str:
        return shlex.join(str(word) for word in yard.command(*words))

    def piped(*commands: str) -> str:
        words = ["timeout", "60", "sh", "-c", " | ".join(commands)]  # all of them end then
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        return done.stdout + done.stderr

    out, into = command("cp", "box:/d", "-"), command("cp", "-", "box:/x")
    assert piped(out, into) == ""
    again, above = command("cp", "box:/x/d", "-"), command("cp", "box:/v", "-")
    # The first can end only when the others, who read as well, have.
    listed = piped(out, f"{{ {again} | tar -t; {above} | tar -t; cat >/dev/null; }}")
    assert listed.split() == ["d/", "d/f", "v/", "v/vol/"]
    wrong = yard("cp", "-", "box:/d/f", stdin=b"", check=False)
    assert (wrong.code, wrong.err.splitlines()[0]) == (1, 'Error: destination "box:/d/f" must be a directory')


def test_events_tell_the_whole_life(yard: Yard) -> None:
    id = yard.run("box", "sleep", "1000", options=["--label", "l=1"])
    yard("exec", "box", "true")
    yard("pause", "box")
    yard("unpause", "box")
    yard("kill", "box")
    yard("wait", "box")
    with yard.engine() as engine:
        engine.containers.rename("box", "other")
        engine.containers.remove("other")
    words = ["events", "--since", "1h", "--until", "0s", "--filter", f"container={id}", "--filter", "type=container"]
    found = [json.loads(line) for line in yard(*words, "--format", "json").out.splitlines()]
    assert [each["Action"].partition(":")[0] for each in found] == [
        "create", "start", "exec_create", "exec_start", "exec_die", "pause", "unpause", "kill", "die", "rename",
        "destroy",
    ]  # fmt: skip
    assert found[0]["Actor"]["Attributes"] == {"image": IMAGE, "l": "1", "name": "box"}
    assert found[-2]["Actor"]["Attributes"]["oldName"] == "/box"
    start = yard(*words, "--filter", "event=start").out
    assert re.fullmatch(rf"\d{{4}}-\S+Z container start {id} \(image={IMAGE}, l=1, name=box\)\n", start)
    assert yard(*words, "--filter", "event=die", "--format", "{{.Type}} {{.Actor.Attributes.exitCode}}").out == (
        "container 137\n"
    )


def test_events_tell_of_volumes_from_start_to_end(yard: Yard) -> None:
    volumes = ["-v", "data:/data", "-v", "data:/again:ro", "--tmpfs", "/t"]
    id = yard.run("box", "true", options=[*volumes, "-v", "/anonymous"])
    with yard.engine() as engine:
        [nameless] = {volume.name for volume in engine.volumes.list()} - {"data"}
    yard("wait", "box")
    yard("rm", "-v", "box")
    yard("volume", "rm", "data")
    words = ["events", "--since", "1h", "--until", "0s", "--filter", "type=volume", "--format"]
    told = [json.loads(line) for line in yard(*words, "json").out.splitlines()]
    others = [each["Action"] for each in told if each["Actor"]["ID"] == nameless]
    assert others == ["create", "mount", "unmount", "destroy"]
    told = [each for each in told if each["Actor"]["ID"] == "data"]
    assert [each["Action"] for each in told] == ["create", "mount", "mount", "unmount", "unmount", "destroy"]
    about = [each["Actor"]["Attributes"] for each in told]
    both = {"container": id, "driver": "local"}
    assert sorted((each["destination"], each["read/write"]) for each in about[1:3]) == [
        ("/again", "false"), ("/data", "true"),
    ]  # fmt: skip
    assert all(each.items() >= both.items() for each in about[1:5]) and about[4] == both


def test_what_somebody_has_mounted_is_neither_started_nor_removed_nor_reset(yard: Yard, tmp_path: Path) -> None:
    yard("create", "--network", "none", "--name", "box", IMAGE, "true")
    place = tmp_path / "place"
    place.mkdir()
    yard("mount", "box", place)
    try:
        for words in (["start", "box"], ["rm", "box"], ["rm", "-f", "box"], ["container", "reset", "box"]):
            done = yard(*words, check=False)
            assert done.code == 1 and f"container box is mounted at {place}" in done.err, done.err
            assert f"hint: veneer --root {yard.root} unmount {place}" in done.err
        assert yard.status("box") == "created"
    finally:
        yard("unmount", place)
    yard("start", "-a", "box")
    yard("rm", "box")


def test_one_whose_removal_at_its_end_was_killed_says_so_and_goes_with_the_next_look(yard: Yard) -> None:
    id = yard.run("box", "sleep", "100", options=["--rm", "-v", "/anonymous"])
    with yard.engine() as engine:
        folder = engine.store.containers.folder(id)
        with engine.store.locked(f"container-{id}"):
            yard("kill", "box")
            os.kill(until(lambda: remover_of(id)), signal.SIGKILL)
            until(lambda: "could not be removed at its end" in state.read(folder).error)
            # Who has the lock may be about to remove it; nobody waits for him only to see what there is.
            assert yard("ps", "-aq", "--no-trunc").out.split() == [id]
    # Its name is free for whoever wants it.
    yard("create", "--network", "none", "--name", "box", IMAGE, "true")
    assert not folder.exists() and yard("volume", "ls", "-q").out == ""
    assert len(yard("ps", "-aq").out.split()) == 1


def test_one_of_a_run_that_was_killed_before_its_start_goes_with_the_next_look(yard: Yard) -> None:
    request = ContainerRequest(IMAGE, {"Cmd": ["true"]}, {"AutoRemove": True, "NetworkMode": "none"}, name="box")
    with yard.engine() as engine:
        with being_run(engine.store, request) as wanted:
            id = engine.containers.create(wanted).id
            assert yard("ps", "-aq", "--no-trunc").out.split() == [id]  # it is about to be started
        # As the kernel lets go of a killed one's lock.
        yard("create", "--rm", "--network", "none", "--name", "box", IMAGE, "true")
        assert engine.store.containers.find(id) is None
        assert len(yard("ps", "-aq").out.split()) == 1, "who made it without a start means to start it some time"


def remover_of(id: str) -> int:
    """The process that a monitor has started to remove its container; 0 for none."""
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{name}/cmdline").read_bytes().split(b"\0")
            if words[-2:] == [id.encode(), b""] and b"-c" in words:
                return int(name)
    return 0


def test_one_whose_monitor_does_not_answer_is_removed_by_force(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    id = yard.run("box", "sleep", "100")
    monkeypatch.setattr("veneer.engine.containers.lifecycle._PATIENCE_SECONDS", 0.2)
    with yard.engine() as engine:
        monitor = engine.containers.state(engine.containers.get("box")).monitor
        os.kill(monitor, signal.SIGSTOP)
        engine.containers.remove("box", force=True)
        assert engine.containers.list() == []
    until(lambda: not [each for each in hierarchies() if os.path.exists(f"{each}/veneer-{id}")])


def test_events_are_told_as_they_come(yard: Yard) -> None:
    with subprocess.Popen([*map(str, yard.command("events", "--filter", "event=tag"))], stdout=subprocess.PIPE) as told:
        try:
            assert told.stdout is not None
            os.set_blocking(told.stdout.fileno(), False)
            seen = b""

            def heard() -> bool:
                nonlocal seen
                yard("tag", IMAGE, "other:1")
                seen += told.stdout.read() or b""  # type: ignore[union-attr]
                return b"(name=other:1)" in seen

            until(heard)
        finally:
            told.kill()
    yard("rmi", "other:1")
    events = yard("events", "--since", "1h", "--until", "0s", "--filter", "type=image", "--format", "{{.Action}}").out
    assert events.splitlines()[-1] == "untag" and "import" in events


def test_a_container_whose_monitor_was_killed_has_ended_and_starts_again(yard: Yard) -> None:
    id = yard.run("box", "sleep", "1000")
    with yard.engine() as engine:
        found = engine.containers.state(engine.containers.get("box"))
    os.kill(found.monitor, signal.SIGKILL)
    until(lambda: yard.status("box") == "exited")
    with yard.engine() as engine:
        ended = engine.containers.state(engine.containers.get("box"))
    assert (ended.exit_code, ended.error) == (137, "the monitor was killed")
    assert yard("wait", "box").out == "137\n"
    yard("start", "box")
    assert yard.status("box") == "running"
    yard("stop", "-t", "0", "box")
    # By `glob`, which goes on when a group of somebody else's goes away meanwhile.
    assert [found for top in hierarchies() for found in glob.glob(f"{top}/**/veneer-{id}*", recursive=True)] == []
    die = yard("events", "--since", "1h", "--until", "0s", "--filter", f"container={id}", "--filter", "event=die")
    assert len(die.out.splitlines()) == 2


def test_what_ran_when_the_machine_went_down_has_ended_and_says_so(yard: Yard) -> None:
    id = yard.run("box", "sleep", "1000")
    with yard.engine() as engine:
        folder = engine.store.containers.folder(id)
        found = state.read(folder)
        os.kill(found.monitor, signal.SIGKILL)
        until(lambda: state.read(folder).status == "exited")
        state.write(folder, found.replaced(boot_id="another"))
        ended = engine.containers.state(engine.containers.get("box"))
    assert (ended.status, ended.exit_code, ended.error) == ("exited", 255, "the machine was restarted")
    assert yard("start", "box").out == "box\n"
    assert yard("exec", "box", "true").code == 0


def test_after_a_boot_those_are_started_whose_policy_says_so(yard: Yard) -> None:
    for name, policy in (("a1", "always"), ("u1", "unless-stopped"), ("u2", "unless-stopped"), ("n1", "no")):
        yard.run(name, "sleep", "1000", options=["--restart", policy])
    yard("stop", "-t", "0", "a1", "u2")
    with yard.engine() as engine:
        for name in ("u1", "n1"):
            os.kill(engine.containers.state(engine.containers.get(name)).monitor, signal.SIGKILL)
    until(lambda: yard.status("u1") == yard.status("n1") == "exited")
    words = ["start", "--all", "--filter", "restart-policy=always", "--filter", "restart-policy=unless-stopped"]
    assert sorted(yard(*words).out.split()) == ["a1", "u1"]
    assert sorted(yard("start", "--all").out.split()) == ["n1", "u2"]
    assert yard("start", check=False).code == 1
    assert yard("start", "--all", "u1", check=False).code == 1


def test_a_monitor_forked_from_run_has_its_own_name_and_none_of_the_callers_secrets(yard: Yard) -> None:
    """`ps` is not to show the words of a command that has ended, nor /proc its variables."""
    env = {**os.environ, "TOKEN": "a-secret-of-the-caller"}
    words = yard.command("run", "-d", "--network", "none", "--name", "quiet", IMAGE, "sleep", "1000")
    id = subprocess.run(words, env=env, check=True, capture_output=True, text=True).stdout.strip()
    pid = state.read(yard.root / "containers" / id).monitor
    assert Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0") == b"veneer-monitor"
    assert b"a-secret" not in Path(f"/proc/{pid}/environ").read_bytes()
    assert resident(pid) < 20 << 20
    descriptors = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            descriptors.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
    assert not [name for name in descriptors if "state.db" in name or name == "/dev/tty"]


def resident(pid: int) -> int:
    """Bytes of memory that the process has for itself and shares."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def test_the_second_container_gets_its_system_call_filter_as_the_first_ones_was_compiled(yard: Yard) -> None:
    """And is held by it as the first is, and so is what `exec` starts in it."""
    for name in ("first", "second"):
        yard.run(name, "sleep", "1000")
        look = "grep ^Seccomp: /proc/1/status /proc/self/status; unshare -m true"
        found = yard("exec", name, "sh", "-c", look, check=False)
        assert found.code != 0
        assert [line.split()[-1] for line in found.out.splitlines()] == ["2", "2"]
    if choose(hiding=True).name == "crun":
        assert list((yard.root / "filters").iterdir())
