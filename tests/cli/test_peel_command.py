"""`veneer peel`: the tables as text, what it refuses, and the application on a real terminal."""

from __future__ import annotations

import importlib.util
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Veneer
from tests.support.containers import OnTerminal
from tests.support.finished import row
from tests.support.programs import VENEER
from veneer.testing.images import docker_archive, image
from veneer.testing.registry import Registry

APP = image(
    {"etc/motd": b"m" * 1000, "var/cache/a": b"c" * 5000}, {"etc/motd": b"M" * 900, "var/.wh.cache": b""},
    {"caf\udce9": b"x", "<b>\x1b[31m": b"12"},
    history=[row("ADD base /"), row("ENV A=1", empty=True), row("RUN tidy"), row("COPY . /")],
    config={"Labels": {"title": "\x1b[31mred"}},
)  # fmt: skip


@pytest.fixture
def app(veneer: Veneer, tmp_path: Path) -> Veneer:
    archive = tmp_path / "app.tar"
    archive.write_bytes(docker_archive((APP, ["app:1"])))
    assert veneer("load", "-i", str(archive)).code == 0
    return veneer


def test_plain_prints_every_table(app: Veneer) -> None:
    answer = app("peel", "--plain", "app:1")
    assert answer.code == 0, answer.err
    lines = answer.text.splitlines()
    assert lines[0].startswith("app:1 · linux/amd64 · ")
    assert lines[1] == "stored 6.9kB  visible 903B  pull ≤14.3kB  eff 13.1%  waste 6kB"
    assert lines[2].startswith("▏1──2──[3]▕")
    for wanted in (
        "Layers: stored, waste made", "Layer 3", "Files after layer 3 · sort size · show AMPDO·",
        "Waste 6kB of 6.9kB stored · by [cause]  layer  path", "Labels and annotations",
    ):  # fmt: skip
        assert wanted in lines, wanted
    assert any(re.match(r"   ▾ ENV +0B", line) for line in lines) and any("ENV A=1" in line for line in lines)
    assert "\x1b" not in answer.text and "caf\\xe9" in answer.text and "<b>\\x1b[31m" in answer.text
    assert "title  \\x1b[31mred  (config)" in lines
    assert all(line == line.rstrip() for line in lines)


def test_plain_of_a_path_and_a_range(app: Veneer) -> None:
    answer = app("peel", "--plain", "--at", "2", "--since", "1", "app:1", "/etc/motd")
    assert "History of /etc/motd" in answer.text and "since 1 … at 2" in answer.text
    assert re.search(r"  2 M +900B 0644 0:0  RUN tidy  \(content\)  ← wastes 1kB in layer 1", answer.text)
    answer = app("peel", "--plain", "--at", "2", "app:1", "/var")
    assert re.search(r"^D +0B +5kB 1 +\S+ +▸ cache/ ", answer.text, re.M)
    answer = app("peel", "--plain", "app:1", "/caf\\xe9")
    assert "History of /caf\\xe9" in answer.text, "a name as it was shown"


def test_an_archive_needs_no_name(app: Veneer, tmp_path: Path) -> None:
    archive = str(tmp_path / "app.tar")
    assert app("peel", "--plain", "--archive", archive).text.startswith("app:1 · ")
    assert "History of /etc/motd" in app("peel", "--plain", "--archive", archive, "/etc/motd").text
    assert app("peel", "--plain", "--archive", "-", stdin=Path(archive).read_bytes()).code == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("app:1",), "peel is for a terminal, and standard output is none; --plain prints the same tables"),
        (("--theme", "pink", "app:1"), "invalid --theme 'pink': one of dark, light, contrast"),
        (("--plain", "--at", "9", "app:1"), "no range from layer 8 to layer 9: the image has 3 layers"),
        (("--plain", "--at", "1", "--since", "2", "app:1"), "no range from layer 2 to layer 1"),
        (("--plain", "--at", "x", "app:1"), 'invalid argument "x" for "--at" flag'),
        (("--plain", "app:1", "/no/such"), "/no/such is in no layer of app:1"),
        (("--plain", "nothing:1"), "No such image: nothing:1"),
        ((), "requires at least 1 argument"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, tuple) else "",
)
def test_what_it_refuses(app: Veneer, words: tuple[str, ...], said: str) -> None:
    answer = app("peel", *words)
    assert answer.code != 0 and said in answer.err


def test_without_textual_it_says_what_to_install(app: Veneer, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec

    def without(name: str, package: str | None = None) -> Any:
        return None if name == "textual" else find(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    monkeypatch.setattr("veneer.cli.app.App.on_terminal", True)
    with OnTerminalInput() as stdin:
        answer = stdin.run(app, "peel", "app:1")
    assert "pip install 'veneer[tui]'" in answer


class OnTerminalInput:
    """The command line in this process with an input that says it is a terminal."""

    def __enter__(self) -> OnTerminalInput:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def run(self, app: Veneer, *words: str) -> str:
        import io

        from tests.cli.conftest import Terminal
        from veneer.cli.main import run

        said = io.BytesIO()
        out, err = Terminal(io.BytesIO(), write_through=True), io.TextIOWrapper(said, write_through=True)
        assert run(["--root", str(app.root), *words], out, err, Terminal(io.BytesIO())) != 0
        return said.getvalue().decode()


def test_no_archive_is_waited_for_from_a_keyboard(app: Veneer) -> None:
    with OnTerminalInput() as stdin:
        assert "standard input is this terminal, and no archive" in stdin.run(app, "peel", "--archive", "-")


PLAIN_ENVIRONMENT = ("env", "-u", "COLUMNS", "-u", "LINES")
"""Whoever loaded GNU readline, as pytest does, hands down a size that does not change."""


def test_on_a_real_terminal(app: Veneer) -> None:
    with OnTerminal(*PLAIN_ENVIRONMENT, VENEER, "--root", app.root, "peel", "app:1", "/etc/motd") as terminal:
        terminal.expect(b"[2 Files]")
        terminal.expect(b"motd")
        assert terminal.is_raw
        terminal.resize(60, 200)
        terminal.expect(b"History of /etc/motd")
        terminal.type(b"W")
        terminal.expect(b"of 6.9kB stored")
        terminal.type(b"\x7f")
        terminal.expect(b"Files after layer 3")
        terminal.type(b"q")
        assert terminal.wait() == 0
        assert terminal.is_as_before
        assert b"\x1b[?1049l" in terminal.seen, "the screen of before is back"


def test_an_archive_from_a_pipe_leaves_the_terminal_to_keys(app: Veneer, tmp_path: Path) -> None:
    command = 'cat "$1" | "$2" --root "$3" peel --archive -'
    words = ("sh", "-c", command, "sh", tmp_path / "app.tar", VENEER, app.root)
    with OnTerminal(*PLAIN_ENVIRONMENT, *words) as terminal:
        terminal.expect(b"[2 Files]")
        terminal.type(b"W")
        terminal.expect(b"of 6.9kB stored")
        terminal.type(b"q")
        assert terminal.wait() == 0
        assert terminal.is_as_before


def test_a_dumb_terminal_is_told_of_plain(app: Veneer) -> None:
    with OnTerminal("env", "TERM=dumb", VENEER, "--root", app.root, "peel", "app:1") as terminal:
        terminal.expect(b"--plain prints the same tables")
        assert terminal.wait() == 1


def test_preferences_that_cannot_be_end_it(app: Veneer, tmp_path: Path) -> None:
    (tmp_path / "veneer.toml").write_text("")
    (tmp_path / "peel.toml").write_text('theme = "pink"\n')
    with OnTerminal(VENEER, "--root", app.root, "--config-file", tmp_path / "veneer.toml", "peel", "app:1") as terminal:
        terminal.expect(b"theme cannot be 'pink'")
        assert terminal.wait() == 1
        assert b"dark, light, contrast" in terminal.seen


def test_leaving_waits_for_no_registry(tmp_path: Path) -> None:
    with Registry() as registry:
        registry.add("far/app:1", APP)
        registry.fault("/blobs/" + str(APP.layers[0].digest), cut=100, hang=True, times=-1)
        name = f"{registry.host}/far/app:1"
        words = ("--root", tmp_path / "none", "--insecure-registry", registry.host, "peel", "--remote", name)
        with OnTerminal(*PLAIN_ENVIRONMENT, VENEER, *words, rows=40, columns=120) as terminal:
            terminal.expect(b"Layers: to pull")
            terminal.type(b"a,.2j?")
            terminal.expect(b"One line up")
            terminal.type(b"q")
            started = time.monotonic()
            assert terminal.wait() == 0
            assert time.monotonic() - started < 20, "its answers time out later"
            assert terminal.is_as_before


def test_an_image_of_a_registry_is_peeled_and_not_kept(tmp_path: Path) -> None:
    with Registry() as registry:
        registry.add("far/app:1", APP)
        name = f"{registry.host}/far/app:1"
        words = ("--root", tmp_path / "none", "--insecure-registry", registry.host, "peel", "--remote", name)
        with OnTerminal(*PLAIN_ENVIRONMENT, VENEER, *words, rows=40, columns=120) as terminal:
            terminal.expect(b"eff 13.1%")
            terminal.signal(signal.SIGTERM)
            assert terminal.wait() == 128 + signal.SIGTERM
            assert terminal.is_as_before
            assert b"\x1b[?1049l" in terminal.seen, "the screen of before is back"
        assert not (tmp_path / "none").exists()
