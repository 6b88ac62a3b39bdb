"""`image history` is docker's table, byte for byte."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

import pytest

from tests.compat.conftest import Veneer, without_ages
from tests.compat.samples import BASE, CHANGE, ODD, UNDATED, nginx_like, row
from tests.support.peers import Docker
from tests.support.registries import RealRegistry
from veneer.testing.images import SampleImage, docker_archive
from veneer.testing.images import image as make_image

pytestmark = pytest.mark.compat

WAYS = {
    "as a table": (),
    "untruncated": ("--no-trunc",),
    "in bytes and dates": ("--human=false",),
    "quiet": ("--quiet",),
    "quiet and untruncated": ("--quiet", "--no-trunc"),
    "as JSON": ("--format", "{{json .}}"),
    "by a template": ("--format", "{{.ID}}|{{.CreatedSince}}|{{.CreatedAt}}|{{.CreatedBy}}|{{.Size}}|{{.Comment}}"),
    "by a table template": ("--format", "table {{.ID}}\t{{.Size}}\t{{.CreatedBy}}"),
}


def load_both(ours: Veneer, theirs: Docker, folder: Path, image: SampleImage, name: str) -> None:
    archive = folder / "image.tar"
    archive.write_bytes(docker_archive((image, [name])))
    theirs("load", "--input", archive)
    ours("load", "--input", archive)


def client_version(theirs: Docker) -> int:
    return int(theirs("version", "--format", "{{.Client.Version}}").out.partition(".")[0])


@pytest.mark.parametrize("image", ODD.values(), ids=ODD)
def test_a_loaded_image_has_dockers_history(ours: Veneer, theirs: Docker, tmp_path: Path, image: SampleImage) -> None:
    load_both(ours, theirs, tmp_path, image, "compat/history:1")
    for words in WAYS.values():
        command = ("image", "history", *words, "compat/history:1")
        mine, dockers = ours(*command).out, theirs(*command).out
        if any(unicodedata.east_asian_width(char) == "W" for char in dockers) and client_version(theirs) < 28:
            # Clients before 28 counted a wide character as one cell when they padded columns.
            mine, dockers = (re.sub(" +", " ", text) for text in (mine, dockers))
        assert mine == dockers, words


@pytest.mark.parametrize("image", UNDATED.values(), ids=UNDATED)
def test_a_row_without_a_date_says_so(ours: Veneer, theirs: Docker, tmp_path: Path, image: SampleImage) -> None:
    load_both(ours, theirs, tmp_path, image, "compat/undated:1")
    words = ("image", "history", "compat/undated:1")
    mine, dockers = ours(*words).out, theirs(*words).out
    if client_version(theirs) < 28:
        # Clients before 28 counted the years from the epoch or from year one; veneer prints N/A as they do since.
        dockers = re.sub(r"\d+ years ago *", "N/A ", dockers)
        mine, dockers = (re.sub(" +", " ", text) for text in (mine, dockers))
    assert mine == dockers
    assert "N/A" in mine


def test_a_pulled_image_has_dockers_history(ours: Veneer, theirs: Docker, registry: RealRegistry, names: str) -> None:
    name = registry.put(f"{names.partition('/')[2]}:1", nginx_like())
    theirs("pull", name)
    ours("pull", name)
    table = ours("image", "history", name).out
    assert table == theirs("image", "history", name).out
    assert table.count("<missing>") == 9


def test_an_imported_image_has_dockers_history(ours: Veneer, theirs: Docker, busybox: Path) -> None:
    for words in ((), ("--message", "by hand"), ("--change", 'CMD ["sh"]', "--change", "ENV A=b")):
        command = ("import", *words, busybox, "compat/imported:1")
        theirs(*command)
        ours(*command)
        tables = [each("image", "history", "compat/imported:1").out for each in (ours, theirs)]
        mine, dockers = (re.sub(r"^[0-9a-f]{12}", "<id>", without_ages(table), flags=re.M) for table in tables)
        assert mine == dockers


def test_parents_in_an_archive_give_every_row_its_id_back(ours: Veneer, theirs: Docker, tmp_path: Path) -> None:
    first = make_image(BASE, style="docker", history=[row("one")])
    second = make_image(BASE, style="docker", history=[row("one"), row("two", empty=True)], config={"Cmd": ["sh"]})
    third = make_image(BASE, CHANGE, style="docker", history=[row("one"), row("two", empty=True), row("three")])
    parents = {second.image_id: first.image_id, third.image_id: second.image_id}
    archive = tmp_path / "chain.tar"
    archive.write_bytes(docker_archive((first, []), (second, []), (third, ["compat/chain:1"]), parents=parents))
    theirs("load", "--input", archive)
    ours("load", "--input", archive)
    table = ours("image", "history", "compat/chain:1").out
    assert table == theirs("image", "history", "compat/chain:1").out
    assert "<missing>" not in table
