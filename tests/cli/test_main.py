"""The command as a whole: finding commands, helping, failing."""

from __future__ import annotations

import errno
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import veneer as package
from tests.cli.conftest import Veneer
from veneer.cli import main, tree
from veneer.cli.app import App
from veneer.cli.commands import tag as tag_module
from veneer.errors import Conflict

LEAVES = [*tree.TOP.items(), *((f"{noun} {verb}", leaf) for noun, group in tree.GROUPS.items()
                               for verb, leaf in group.leaves.items())]  # fmt: skip


@pytest.mark.parametrize(("name", "leaf"), LEAVES, ids=[name for name, _ in LEAVES])
def test_every_command_is_what_the_tree_says(veneer: Veneer, name: str, leaf: tree.Leaf) -> None:
    command = main.load(leaf)
    assert command.about.split("\n")[0].rstrip(".") == leaf.about
    assert all(option.help for option in command.options)
    shown = veneer(*name.split(), "--help")
    assert (shown.code, shown.err) == (0, "")
    assert shown.text.startswith(f"Usage:  veneer {name}")
    for alias in command.names:
        assert main.find(alias.split())[0] is command
    assert not (veneer.root).exists(), "help opens no store"


def test_help_comes_in_every_way_docker_offers(veneer: Veneer) -> None:
    wanted = veneer("images", "--help").text.replace("veneer images [", "veneer X [")
    for words in (["images", "-h"], ["help", "images"], ["--help", "images"], ["image", "ls", "--help"]):
        assert (
            veneer(*words).text.replace("veneer image ls [", "veneer X [").replace("veneer images [", "veneer X [")
            == wanted
        )
    assert "Common Commands:" in veneer("help").text
    assert "Manage images" in veneer("image", "--help").text
    nothing = veneer()
    assert nothing.code == 0 and "Usage:  veneer [OPTIONS] COMMAND" in nothing.err and not nothing.out
    assert veneer("images", "--help=false").text.startswith("REPOSITORY")


def test_the_version(veneer: Veneer) -> None:
    assert veneer("--version").text == f"veneer version {package.__version__}\n"
    assert veneer("-v").text == f"veneer version {package.__version__}\n"
    shown = veneer("version")
    assert shown.text.startswith(f"veneer:\n Version:           {package.__version__}\n")
    assert veneer("version", "-f", "{{.Server.Version}} {{.Client.Os}}").text == f"{package.__version__} linux\n"


@pytest.mark.parametrize(("words", "hint"), [
    (["imges"], "hint: did you mean veneer images?"), (["image", "lss"], "hint: did you mean veneer image ls?"),
    (["images", "--no-trnc"], "hint: did you mean --no-trunc?"),
])  # fmt: skip
def test_a_slip_is_answered_with_what_was_meant(veneer: Veneer, words: list[str], hint: str) -> None:
    answer = veneer(*words)
    assert hint in answer.err.splitlines()
    assert answer.code == (125 if words[-1].startswith("--") else 1)


def test_global_options_may_stand_before_and_behind_the_command(tmp_path: Path, veneer: Veneer) -> None:
    for n, words in enumerate((["--root", "{}", "images"], ["images", "--root={}"], ["image", "ls", "--root", "{}"])):
        root = tmp_path / str(n)
        assert veneer(*[word.format(root) for word in words]).code == 0
        assert (root / "oci-layout").exists()
    answer = veneer("--storage-driver", "nosuch", "info")
    assert "nosuch" in answer.text + answer.err
    assert veneer("--durability=never", "images").err.startswith("Error: flag: durability must be one of")
    assert veneer("--nosuch", "images").code == 125


def test_settings_of_the_command_line_reach_the_engine(veneer: Veneer) -> None:
    shown = veneer("--insecure-registry", "a:1", "--insecure-registry=b:2", "info", "-f",
                   "{{json .RegistryConfig.InsecureRegistries}}")  # fmt: skip
    assert shown.text == '["a:1","b:2"]\n'


def _raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def run(app: App, given: object) -> None:
        app.line("before")
        raise error

    monkeypatch.setattr(tag_module.TAG, "run", run)


def test_an_error_is_a_sentence_and_its_hint_another(veneer: Veneer, monkeypatch: pytest.MonkeyPatch) -> None:
    _raising(monkeypatch, Conflict("conflict: it is in use\x1b[2J", hint="veneer rm it"))
    answer = veneer("tag", "a", "b")
    assert (answer.code, answer.text) == (1, "before\n")
    assert answer.err == f"Error: conflict: it is in use\\x1b[2J\nhint: veneer --root {veneer.root} rm it\n"


def test_a_command_that_a_hint_names_means_the_same_when_it_is_pasted(
    veneer: Veneer, monkeypatch: pytest.MonkeyPatch
) -> None:
    _raising(monkeypatch, Conflict("in use", hint="veneer rm it; veneer makes no mounts; see veneer system df"))
    more = ["--storage-driver", "vfs", "--insecure-registry", "a:1", "--insecure-registry", "b c"]
    given = f"--insecure-registry a:1 --insecure-registry 'b c' --root {veneer.root} --storage-driver vfs"
    answer = veneer(*more, "tag", "a", "b")
    assert answer.err.splitlines()[-1] == (
        f"hint: veneer {given} rm it; veneer makes no mounts; see veneer {given} system df"
    )


@pytest.mark.parametrize("words", [["mount", "web:1"], ["tag", "a"], ["start"], ["image", "tree"], ["rm"]])
def test_a_wrong_number_of_arguments_is_told_in_one_shape(veneer: Veneer, words: list[str]) -> None:
    path = f"veneer {' '.join(words if words[0] == 'image' else words[:1])}"
    answer = veneer(*words)
    said, empty, usage, blank, more = answer.err.splitlines()
    assert answer.code == 1 and said.startswith(f"veneer: '{path}' requires ") and not empty and not blank
    assert usage.startswith(f"Usage:  {path} ") and more == f"Run '{path} --help' for more information"


def test_what_the_machine_refuses_is_no_bug(veneer: Veneer, monkeypatch: pytest.MonkeyPatch) -> None:
    _raising(monkeypatch, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/some/file"))
    assert veneer("tag", "a", "b").err == "Error: /some/file: no space left on device\n"


def test_a_bug_says_so_and_debug_shows_where(veneer: Veneer, monkeypatch: pytest.MonkeyPatch) -> None:
    _raising(monkeypatch, ZeroDivisionError("division by zero"))
    answer = veneer("tag", "a", "b")
    assert answer.code == 1
    assert "Traceback" not in answer.err and "hint: this is a bug; please report it" in answer.err
    for words in (["-D", "tag", "a", "b"], ["tag", "--debug", "a", "b"]):
        assert "Traceback (most recent call last):" in veneer(*words).err


def test_an_interrupt_is_status_130_and_silent(veneer: Veneer, monkeypatch: pytest.MonkeyPatch) -> None:
    _raising(monkeypatch, KeyboardInterrupt())
    answer = veneer("tag", "a", "b")
    assert (answer.code, answer.err) == (130, "")


def _program(*words: str) -> list[str]:
    return [sys.executable, "-m", "veneer", *words]


def test_the_module_runs_as_a_program(tmp_path: Path) -> None:
    done = subprocess.run(_program("--root", str(tmp_path / "root"), "images"), capture_output=True, check=True)
    assert done.stdout == b"REPOSITORY   TAG       IMAGE ID   CREATED   SIZE\n"
    assert done.stderr == b""


def test_a_reader_that_leaves_is_no_error(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        words = _program("--root", str(tmp_path / "root"), "images")
        done = subprocess.run(words, stdout=write, stderr=subprocess.PIPE, check=False)
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize(("closed", "words", "code"), [
    (">&-", "images", 141), ("<&-", "images -q", 0), ("2>&-", "images -q", 0), ("2>&-", "nosuch", 1),
    ("<&- >&- 2>&-", "images", 141), ("<&-", "image prune", 0),
])  # fmt: skip
def test_a_closed_stream_is_no_bug(tmp_path: Path, closed: str, words: str, code: int) -> None:
    command = shlex.join(_program("--root", str(tmp_path / "root"), *words.split()))
    done = subprocess.run(["sh", "-c", f"{command} {closed}"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (code, "")


def test_control_c_ends_a_command_that_waits(tmp_path: Path) -> None:
    program = subprocess.Popen(_program("--root", str(tmp_path / "root"), "image", "prune"), stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
    with program:
        assert program.stdout and program.stdout.read(7) == b"WARNING"
        program.send_signal(signal.SIGINT)
        _, complaint = program.communicate()
    assert (program.returncode, complaint) == (130, b"")


def test_a_locale_without_utf8_does_not_matter(tmp_path: Path) -> None:
    env = {**os.environ, "LC_ALL": "POSIX", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = subprocess.run(_program("images", "--nosuch…"), capture_output=True, check=False, env=env)
    assert done.returncode == 125 and "unknown flag" in done.stderr.decode()


def test_a_refused_run_says_where_there_is_more(veneer: Veneer) -> None:
    answer = veneer("run", "--userns", "keep-id", "x:1")
    said, hint, empty, more = answer.err.splitlines()
    assert (
        answer.code == 125 and said == "Error: --userns: invalid USER mode" and hint.startswith("hint: there is host")
    )
    assert not empty and more == "Run 'veneer run --help' for more information"
