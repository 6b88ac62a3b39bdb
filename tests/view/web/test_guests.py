"""Images on the pages that are not in the store: an archive's, a registry's."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.finished import loaded
from tests.support.programs import veneer
from tests.support.served import Client, served
from tests.view.web.conftest import APP, BASE
from tests.view.web.test_serving import command
from veneer.engine.engine import Engine
from veneer.testing.images import docker_archive, image
from veneer.testing.registry import Registry

REF = "archive:demo%2Fapp:1"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    file = tmp_path / "app.tar"
    file.write_bytes(docker_archive((image(BASE, APP, config={"Labels": {"who": "guest"}}), ["demo/app:1"])))
    return file


@pytest.fixture
def client(engine: Engine, archive: Path) -> Iterator[Client]:
    loaded(engine, "os:1", BASE)
    with engine.looking.open(archive=archive) as guest, served(engine, guests={"archive:demo/app:1": guest}) as found:
        yield found


def test_a_guest_is_shown_as_an_image_of_the_store_is(client: Client) -> None:
    told = client.ask(f"/images/{REF}")
    assert (told["where"], told["ref"], told["base"]["ref"]) == ("archive", "archive:demo/app:1", "os:1")
    assert [entry["path"] for entry in client.ask(f"/images/{REF}/tree?path=/app&sort=name")["entries"]] == [
        "/app/data.bin", "/app/gone.txt", "/app/link", "/app/read.me"]  # fmt: skip
    assert client.send(f"/api/v1/images/{REF}/file?path=/app/read.me").text == "grüße\n"
    compared = client.ask(f"/compare?images=os:1,{REF}")
    assert [each["images"] for each in compared["trie"]] == [[0, 1]], "its base is the one that is here"
    assert "archive:demo/app:1" in client.page("/i/archive:demo/app:1")
    assert client.ask(f"/images/{REF}/labels")["labels"][0]["value"] == "guest"
    assert client.ask(f"/images/{REF}/tags")["groups"] == []
    told = client.ask(f"/images/{REF}/dockerfile")
    assert (told["base"], told["lines"][0]["layer"], told["lines"][0]["comment"][0]) == ("os:1", 2, "ADD layer 1")
    assert told["lines"][-1]["text"] == "LABEL who=guest"
    assert client.ask(f"/images/{REF}/labels?platform=linux/amd64")["labels"][0]["value"] == "guest"
    assert "--platform linux/arm64" in client.ask(f"/images/{REF}/labels?platform=linux/arm64", 404)["hint"]


def test_what_is_shown_otherwise_than_it_is_stands_on_the_page(engine: Engine, tmp_path: Path) -> None:
    file = tmp_path / "out.tar"
    file.write_bytes(docker_archive((image({"../out": b"1"}), ["demo/out:1"])))
    with engine.looking.open(archive=file) as guest, served(engine, guests={"archive:demo/out:1": guest}) as client:
        (doubt,) = client.ask("/images/archive:demo%2Fout:1")["doubts"]
        assert doubt == f"{file}: layer 1: '../out' is shown as /out; load refuses such a name"


def test_guests_are_listed_and_found(client: Client) -> None:
    assert [each["ref"] for each in client.ask("/images")] == ["archive:demo/app:1", "os:1"]
    assert [each["ref"] for each in client.ask("/images?limit=1")] == ["archive:demo/app:1"]
    assert [each["ref"] for each in client.ask("/images?after=1&limit=5")] == ["os:1"]
    assert [each["ref"] for each in client.ask("/images?q=guest")] == ["archive:demo/app:1"]
    found = client.ask("/search?q=read.me")
    assert [(each["ref"], each["path"]) for each in found["files"]] == [("archive:demo/app:1", "/app/read.me")]
    assert [each["ref"] for each in client.ask("/search?q=demo")["images"]] == ["archive:demo/app:1"]


def test_no_address_brings_one(client: Client, archive: Path) -> None:
    for ref in (f"archive:{archive}", f"archive:{archive}#demo/app:1", "remote:localhost:1/x", "archive:", "remote:x"):
        name = ref.replace("/", "%2F").replace("#", "%23")
        assert client.send(f"/api/v1/images/{name}").status in (400, 404), ref


def test_the_command_line_brings_them(tmp_path: Path, archive: Path) -> None:
    with command(tmp_path / "root", f"archive:{archive}#demo/app:1") as (process, line):
        found = re.search(r"http://127.0.0.1:(\d+)/i/archive:demo/app:1\n", line)
        assert found
        assert [each["ref"] for each in Client(int(found[1])).ask("/images")] == ["archive:demo/app:1"]
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=60) == ("", "") and process.returncode == 0
    done = veneer("serve", "none:1", root=tmp_path / "root", check=False)
    assert done.code == 1 and "No such image: none:1" in done.err


def test_a_registrys_image_is_read_before_anybody_asks(tmp_path: Path, archive: Path) -> None:
    with Registry() as registry:
        name = f"{registry.host}/team/app:1"
        registry.add("team/app:1", image(BASE, APP))
        with command(tmp_path / "root", f"archive:{archive}#demo/app:1", f"remote:{name}") as (_, line):
            found = re.search(r":(\d+)/compare\?images=(.*)\n", line)
            assert found and found[2] == f"archive:demo/app:1,remote:{name}"
            client = Client(int(found[1]))
            requests = len(registry.requests())
            told = client.ask(f"/images/remote:{name.replace('/', '%2F')}")
            assert (told["where"], told["stored"]) == ("registry", 52_318)
            assert len(registry.requests()) == requests
