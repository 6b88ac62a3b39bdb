"""`veneer serve` as a command: where it listens, what it says, how it ends."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.programs import VENEER, run, veneer
from tests.support.served import Client
from veneer.view.web import serving

BLOCK_AIOHTTP = """
import sys
sys.modules["aiohttp"] = None
from veneer.cli.main import main
main()
"""


@contextmanager
def command(root: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A running `veneer serve` and the line it prints."""
    process = subprocess.Popen([VENEER, "--root", root, "serve", "--port", "0", *options], text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline()
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_says_where_it_is_and_ends_when_told(tmp_path: Path, number: signal.Signals) -> None:
    with command(tmp_path / "root") as (process, line):
        found = re.fullmatch(rf"The images of {tmp_path}/root: http://127.0.0.1:(\d+)/\n", line)
        assert found
        client = Client(int(found[1]))
        assert client.ask("/images") == []
        assert "no images here yet" in client.page("/")
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out, err) == (0, "", "")


ENDLESS = """
import sys, time
from veneer.view.web import images
images.image_list = lambda *_: (print("asked", flush=True), time.sleep(600))
from veneer.cli.main import main
main()
"""


def test_told_twice_it_waits_for_nobody(tmp_path: Path) -> None:
    words = [sys.executable, "-c", ENDLESS, "--root", str(tmp_path / "root"), "serve", "--port", "0"]
    process = subprocess.Popen(words, text=True, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        found = re.search(r":(\d+)/$", process.stdout.readline().strip())
        assert found
        with socket.create_connection(("127.0.0.1", int(found[1])), timeout=60) as connection:
            connection.sendall(b"GET /api/v1/images HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert process.stdout.readline() == "asked\n"
            process.send_signal(signal.SIGINT)
            while connection.recv(1024):
                pass  # it lets go of us, and waits for its thread
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == -signal.SIGINT
    finally:
        process.kill()
        process.communicate()


def test_others_are_warned_of_and_named(tmp_path: Path) -> None:
    with command(tmp_path / "root", "--host", "0.0.0.0", "--allow-host", "veneer.lan") as (process, line):
        found = re.search(r"http://localhost:(\d+)/", line)
        assert found and process.stderr is not None
        assert process.stderr.readline().startswith("Warning: whoever reaches")
        client = Client(int(found[1]))
        assert client.send("/", headers={"Host": "veneer.lan"}).status == 200
        assert client.send("/", headers={"Host": "evil.lan"}).status == 403


def test_a_browser_is_opened_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    browser, asked = tmp_path / "browser", tmp_path / "asked"
    os.mkfifo(asked)
    browser.write_text(f'#!/bin/sh\necho "$1" > {asked}\n')
    browser.chmod(0o755)
    monkeypatch.setenv("BROWSER", f"{browser} %s")
    with command(tmp_path / "root", "--open") as (process, line):
        assert asked.read_text() == re.sub(".*: ", "", line)
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=60) == ("", "")


def test_a_port_in_use_is_named_with_a_way_out(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = veneer("serve", "--port", str(port), root=tmp_path / "root", check=False)
    assert done.code == 1
    assert done.err == (
        f"Error: 127.0.0.1 port {port} is in use\n"
        f"hint: --port 0 takes any that is free; ss -ltnp 'sport = :{port}' shows who has it\n"
    )


@pytest.mark.parametrize("words, text", [
    (["--host", "no.such.host.invalid"], "--host no.such.host.invalid: "),
    (["--host", "192.0.2.1"], "--host 192.0.2.1: this machine has no such address"),
    (["--port", "x"], 'invalid argument "x" for "--port" flag'),
    (["--port", "65536"], 'invalid argument "65536" for "--port" flag'),
])  # fmt: skip
def test_what_cannot_be_listened_at_is_said(tmp_path: Path, words: list[str], text: str) -> None:
    done = veneer("serve", *words, root=tmp_path / "root", check=False)
    assert done.code == (125 if "flag" in text else 1) and text in done.err


def test_without_the_library_it_says_what_to_install(tmp_path: Path) -> None:
    done = run(sys.executable, "-c", BLOCK_AIOHTTP, "--root", tmp_path / "root", "serve", check=False)
    assert done.code == 1 and "pip install 'veneer[web]'" in done.err and "bug" not in done.err


def test_urls_are_what_browsers_take() -> None:
    for host, url in (("127.0.0.1", "http://127.0.0.1:"), ("::1", "http://[::1]:"), ("0.0.0.0", "http://localhost:")):
        try:
            listening = serving.bound(host, 0)
        except serving.NoSuchAddress:
            continue  # a machine without IPv6
        with listening:
            assert serving.url_of(listening).startswith(url)
