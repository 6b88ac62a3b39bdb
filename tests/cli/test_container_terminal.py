"""Containers before a terminal: what is typed and printed, its size, the keys to let go, and what is left of it."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.containers import IMAGE, OnTerminal, Yard, until
from veneer.cli.terminal import Detached, InvalidDetachKeys, Keys, parsed_keys

pytestmark = pytest.mark.usefixtures("root_only")
RUN = ("run", "--network", "none")
KEYS = b"\x10\x11"


@pytest.mark.parametrize(
    ("text", "keys"),
    [("ctrl-p,ctrl-q", b"\x10\x11"), ("a,b", b"ab"), ("ctrl-@", b"\0"), ("ctrl-[,x", b"\x1bx"), ("ctrl-_", b"\x1f")],
)
def test_detach_keys_are_read_as_docker_reads_them(text: str, keys: bytes) -> None:
    assert parsed_keys(text) == keys


@pytest.mark.parametrize("text", ["ctrl-", "ctrl-1", "shift-a", "abc", "a,,b"])
def test_keys_that_nobody_can_type_are_refused(text: str) -> None:
    with pytest.raises(InvalidDetachKeys):
        parsed_keys(text)


def test_the_keys_are_found_wherever_the_pieces_are_cut_and_their_beginnings_pass() -> None:
    keys = Keys(b"\x10\x11")
    assert keys.passed(b"a\x10b") == b"a\x10b"
    assert keys.passed(b"c\x10") == b"c"
    assert keys.passed(b"\x10d") == b"\x10\x10d"
    assert keys.passed(b"e\x10") == b"e"
    with pytest.raises(Detached):
        keys.passed(b"\x11")


def test_a_shell_before_a_terminal_ends_with_its_code_and_the_terminal_is_as_it_was(yard: Yard) -> None:
    with OnTerminal(*yard.command(*RUN, "-it", IMAGE, "sh"), rows=30, columns=100) as terminal:
        terminal.expect(b"#")
        assert terminal.is_raw
        terminal.type(b"stty size\n")
        terminal.expect(b"30 100")
        terminal.type(b"exit 5\n")
        assert terminal.wait() == 5
        assert terminal.is_as_before


def test_the_container_is_told_when_the_terminal_changes_its_size(yard: Yard) -> None:
    script = "trap 'stty size' WINCH; echo ready; while :; do read x; done"
    with OnTerminal(*yard.command(*RUN, "-it", IMAGE, "sh", "-c", script)) as terminal:
        terminal.expect(b"ready")
        terminal.resize(40, 132)
        terminal.type(b"\n")
        terminal.expect(b"40 132")
        terminal.type(b"\x03")
        assert terminal.wait() == 130


def test_who_lets_go_leaves_it_running_and_comes_back(yard: Yard) -> None:
    with OnTerminal(*yard.command(*RUN, "-it", "--name", "kept", IMAGE, "sh")) as terminal:
        terminal.expect(b"#")
        terminal.type(b"echo f''irst; x=17\n")
        terminal.expect(b"first")
        terminal.type(KEYS)
        assert terminal.wait() == 0 and terminal.is_as_before
    assert yard.status("kept") == "running"
    with OnTerminal(*yard.command("attach", "--detach-keys", "ctrl-a,d", "kept")) as terminal:
        until(lambda: terminal.is_raw)
        terminal.type(b"echo x''=$x\n")
        terminal.expect(b"x=17")
        terminal.type(b"\x01")
        terminal.type(b"d")
        assert terminal.wait() == 0 and terminal.is_as_before
    with OnTerminal(*yard.command("attach", "kept")) as terminal:
        until(lambda: terminal.is_raw)
        terminal.type(b"exit 3\n")
        assert terminal.wait() == 3
    assert yard.status("kept") == "exited"


def test_started_again_before_a_terminal(yard: Yard) -> None:
    yard("create", "--network", "none", "-it", "--name", "again", IMAGE, "sh")
    with OnTerminal(*yard.command("start", "-ai", "again")) as terminal:
        terminal.expect(b"#")
        terminal.type(b"exit 4\n")
        assert terminal.wait() == 4 and terminal.is_as_before


def test_exec_has_a_terminal_of_its_own(yard: Yard) -> None:
    yard.run("box", "sleep", "1000")
    with OnTerminal(*yard.command("exec", "-it", "box", "sh"), rows=33, columns=111) as terminal:
        terminal.expect(b"#")
        terminal.type(b"stty size; tty\n")
        terminal.expect(b"33 111")
        terminal.expect(b"/dev/pts/")
        terminal.resize(20, 60)
        terminal.type(b"until stty size | grep '^2[0] 60'; do :; done\n")  # what is typed is seen as well
        terminal.expect(b"20 60")
        terminal.type(b"exit 9\n")
        assert terminal.wait() == 9 and terminal.is_as_before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_who_is_told_to_end_leaves_the_terminal_as_it_was_and_the_container_running(
    yard: Yard, number: signal.Signals
) -> None:
    with OnTerminal(*yard.command(*RUN, "-it", "--name", "told", IMAGE, "sh")) as terminal:
        terminal.expect(b"#")
        terminal.signal(number)
        assert terminal.wait() == 128 + number and terminal.is_as_before
    assert yard.status("told") == "running"


def test_whoever_stood_still_makes_the_terminal_raw_again(yard: Yard) -> None:
    import termios

    with OnTerminal(*yard.command(*RUN, "-it", IMAGE, "sh")) as terminal:
        terminal.expect(b"#")
        termios.tcsetattr(terminal._theirs, termios.TCSANOW, terminal.before)
        terminal.signal(signal.SIGCONT)
        until(lambda: terminal.is_raw)
        terminal.type(b"exit\n")
        assert terminal.wait() == 0


def test_signals_are_passed_on_without_a_terminal(yard: Yard, tmp_path: Path) -> None:
    script = "trap 'echo told; exit 6' TERM; echo ready; while :; do sleep 0.01; done"
    with subprocess.Popen([*map(str, yard.command(*RUN, IMAGE, "sh", "-c", script))], stdout=subprocess.PIPE) as client:
        assert client.stdout is not None and client.stdout.readline() == b"ready\n"
        client.send_signal(signal.SIGTERM)
        assert client.stdout.read() == b"told\n"
    assert client.returncode == 6


def test_with_sig_proxy_false_the_client_alone_ends(yard: Yard) -> None:
    words = yard.command(*RUN, "--sig-proxy=false", "--name", "stays", IMAGE, "sh", "-c", "echo ready; sleep 1000")
    with subprocess.Popen([*map(str, words)], stdout=subprocess.PIPE) as client:
        assert client.stdout is not None and client.stdout.readline() == b"ready\n"
        client.send_signal(signal.SIGTERM)
    assert client.returncode == -signal.SIGTERM
    assert yard.status("stays") == "running"


def test_input_ends_and_output_goes_on(yard: Yard) -> None:
    found = yard(*RUN, "-i", IMAGE, "sh", "-c", "wc -c; echo after >&2; exit 2", stdin=b"x" * 300_000, check=False)
    assert (found.code, found.out.strip(), found.err) == (2, "300000", "after\n")
    yard.run("box", "sleep", "1000")
    found = yard("exec", "-i", "box", "sh", "-c", "cat; echo after", stdin=b"in\n")
    assert found.out == "in\nafter\n"


def test_large_output_is_whole_whoever_reads_slowly(yard: Yard) -> None:
    yard.run("box", "sleep", "1000")
    words = yard.command("exec", "box", "sh", "-c", "yes 0123456789abcde | head -n 200000")
    with subprocess.Popen([*map(str, words)], stdout=subprocess.PIPE) as client:
        assert client.stdout is not None
        read = client.stdout.read
        assert sum(len(piece) for piece in iter(lambda: read(4096), b"")) == 3_200_000
    assert client.returncode == 0


def test_a_terminal_that_is_none_is_refused(yard: Yard) -> None:
    yard.run("box", "sleep", "1000")
    found = yard("exec", "-it", "box", "true", check=False)
    assert (found.code, found.err) == (1, "Error: the input device is not a TTY\n")
