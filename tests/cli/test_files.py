"""Archives go where they are asked to go, whole or not at all; and what images say cannot harm who reads it."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path

import pytest

from tests.cli.conftest import Veneer

DATA = Path(__file__).parent / "golden"


@pytest.fixture
def loaded(veneer: Veneer) -> Veneer:
    assert veneer("load", "-i", str(DATA / "chain.tar.gz")).code == 0
    return veneer


def _tar(**files: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def test_what_save_writes_load_reads(loaded: Veneer, tmp_path: Path) -> None:
    archive = tmp_path / "app.tar"
    assert loaded("save", "-o", str(archive), "gold/app:1").code == 0
    piped = loaded("save", "gold/app:1")
    assert piped.out == archive.read_bytes()
    other = Veneer(tmp_path / "other")
    assert other("load", stdin=piped.out).text == "Loaded image: gold/app:1\n"
    assert other("images", "-q").text == loaded("images", "-q", "gold/app").text


@pytest.mark.parametrize("command", ["save", "export"])
def test_a_terminal_is_no_place_for_an_archive(loaded: Veneer, command: str) -> None:
    answer = loaded(command, "gold/app:1", terminal=True)
    assert (answer.code, answer.out) == (1, b"")
    assert answer.err == "Error: cowardly refusing to save to a terminal. Use the -o flag or redirect\n"


def test_a_save_that_fails_leaves_the_file_that_was_there(loaded: Veneer, tmp_path: Path) -> None:
    archive = tmp_path / "old.tar"
    archive.write_bytes(b"precious")
    answer = loaded("save", "-o", str(archive), "gold/app:1", "nosuch")
    assert answer.code == 1 and "No such image: nosuch" in answer.err
    assert archive.read_bytes() == b"precious"
    assert os.listdir(tmp_path) == [name for name in os.listdir(tmp_path) if not name.endswith(".part")]


def test_places_where_no_archive_can_go(loaded: Veneer, tmp_path: Path) -> None:
    nowhere = loaded("save", "-o", str(tmp_path / "no" / "x.tar"), "gold/app:1")
    assert nowhere.err == f"Error: invalid output path: directory '{tmp_path}/no' does not exist\n"
    folder = loaded("save", "-o", str(tmp_path), "gold/app:1")
    assert folder.err == f'Error: invalid output path: "{tmp_path}" must be a file, not a directory\n'
    assert loaded("save", "-o", "/dev/null", "gold/app:1").code == 0


def test_save_knows_its_formats(loaded: Veneer, tmp_path: Path) -> None:
    answer = loaded("save", "--format", "zip", "gold/app:1")
    assert answer.err == "Error: no archive format 'zip': there are docker, oci, docker-legacy\n"
    oci = loaded("save", "--format=oci", "gold/app:1")
    with tarfile.open(fileobj=io.BytesIO(oci.out)) as tar:
        assert {"oci-layout", "index.json"} <= set(tar.getnames())


def test_import_takes_a_file_or_standard_input(veneer: Veneer, tmp_path: Path) -> None:
    root = tmp_path / "root.tar"
    root.write_bytes(_tar(a=b"1"))
    first = veneer("import", "-m", "by hand", "-c", "ENV A=b", "-c", 'CMD ["sh"]', str(root), "x/y:1")
    assert first.text.startswith("sha256:") and len(first.text) == 72
    assert (
        veneer("inspect", "-f", "{{.Comment}} {{.Config.Env}} {{.Config.Cmd}}", "x/y:1").text == "by hand [A=b] [sh]\n"
    )
    assert veneer("import", "-", "x/z", stdin=_tar(a=b"1")).code == 0
    assert veneer("history", "--format", "{{.Comment}}", "x/z").text == "Imported from -\n"
    assert veneer("import", "-", stdin=_tar(b=b"1")).code == 0
    assert sorted(veneer("images", "--format", "{{.Repository}}:{{.Tag}}").text.split()) == [
        "<none>:<none>", "x/y:1", "x/z:latest",
    ]  # fmt: skip
    url = veneer("import", "http://127.0.0.1:1/root.tar")
    assert url.code == 1 and f"curl -fsSL http://127.0.0.1:1/root.tar | veneer --root {veneer.root} import -" in url.err


def test_export_gives_the_files_an_image_would_show(loaded: Veneer, tmp_path: Path) -> None:
    exported = loaded("export", "gold/app:1")
    with tarfile.open(fileobj=io.BytesIO(exported.out)) as tar:
        assert {"etc/hostname", "srv/empty", "srv/greeting"} <= set(tar.getnames())
    assert loaded("export", "-o", str(tmp_path / "x.tar"), "gold/app:1").code == 0
    assert (tmp_path / "x.tar").read_bytes() == exported.out


def test_load_takes_an_oci_layout_directory(loaded: Veneer, tmp_path: Path) -> None:
    other = Veneer(tmp_path / "other")
    answer = other("load", "-i", str(loaded.root))
    assert answer.code == 0, answer.err
    assert "Loaded image: gold/app:1" in answer.text


EVIL = "\x1b[2J\x1b]0;owned\x07 one\ntwo\r\u202ethree"


@pytest.fixture
def hostile(veneer: Veneer) -> Veneer:
    """An image whose history, comment, author and label are out to get the terminal."""
    layer = _tar(f=b"1")
    from hashlib import sha256

    config = json.dumps({
        "architecture": "amd64", "os": "linux", "author": EVIL, "created": "2024-01-01T00:00:00Z",
        "config": {"Labels": {"evil": EVIL}},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + sha256(layer).hexdigest()]},
        "history": [{"created": "2024-01-01T00:00:00Z", "created_by": EVIL, "comment": EVIL}],
    }).encode()  # fmt: skip
    manifest = json.dumps([{"Config": "c.json", "RepoTags": ["evil:1"], "Layers": ["l.tar"]}]).encode()
    answer = veneer("load", stdin=_tar(**{"c.json": config, "l.tar": layer, "manifest.json": manifest}))
    assert answer.code == 0, answer.err
    return veneer


def test_a_table_cannot_be_forged(hostile: Veneer) -> None:
    for words in (["history", "evil:1"], ["history", "--no-trunc", "evil:1"], ["history", "--layers", "evil:1"]):
        for terminal in (False, True):
            shown = hostile(*words, terminal=terminal).text
            assert shown.count("\n") == 2
            assert not set("\x1b\x07\r\u202e") & set(shown)
    assert r"\x1b[2J\x1b]0;owned\x07 one\ntwo\r\u202ethree" in hostile("history", "--no-trunc", "evil:1").text


def test_a_template_is_harmless_on_a_terminal_and_exact_in_a_pipe(hostile: Veneer) -> None:
    words = ["inspect", "-f", '{{index .Config.Labels "evil"}}', "evil:1"]
    assert hostile(*words).text == EVIL + "\n"
    assert hostile(*words, terminal=True).text == "\\x1b[2J\\x1b]0;owned\\x07 one\ntwo\\r\\u202ethree\n"
    assert json.loads(hostile("inspect", "evil:1", terminal=True).text.replace("\\u202e", "x"))
    table = hostile("history", "--format", "table {{.CreatedBy}}\t{{.Comment}}", "--no-trunc", "evil:1")
    assert table.text.count("\n") == 2
