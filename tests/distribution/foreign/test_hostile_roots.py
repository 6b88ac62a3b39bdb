"""Data roots that somebody has tampered with: nothing outside of them is read, and what is wrong is said."""

from __future__ import annotations

import gzip
import json
import os
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Veneer
from tests.distribution.foreign.test_foreign_roots import docker_root, podman_root, sample
from veneer.distribution.foreign.reading import Reading
from veneer.distribution.foreign.root import ForeignDamaged, require
from veneer.distribution.foreign.tarsplit import Replay
from veneer.oci.digest import chain_ids

pytestmark = pytest.mark.usefixtures("root_only")

SECRET = "what nobody was to read"
ONE = sample()
CHAINS = chain_ids(list(ONE.parsed.diff_ids))
ROWS = "image/overlay2/layerdb/sha256"
TOP = f"{ROWS}/{CHAINS[1].hex}"
CONFIG = f"image/overlay2/imagedb/content/sha256/{ONE.image_id.hex}"


@pytest.fixture
def veneer(tmp_path: Path) -> Veneer:
    (tmp_path / "secret").write_text(SECRET)
    return Veneer(tmp_path / "root")


@pytest.fixture
def docker(tmp_path: Path) -> Path:
    return docker_root(tmp_path / "theirs", ONE, "overlay2")


@pytest.fixture
def podman(tmp_path: Path) -> Path:
    (tmp_path / "theirs").mkdir()
    return podman_root(tmp_path / "theirs", ONE)


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def link(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.parents[len(path.parts) - path.parts.index("theirs") - 1].parent / "secret")


def huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


def says(text: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_text(text)

    return write


DAMAGED: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "a name upwards": (f"{TOP}/cache-id", says("../../../.."), "'../../../..' is no name of a directory"),
    "no name": (f"{TOP}/cache-id", says(".."), "'..' is no name of a directory"),
    "a link for a name": (f"{TOP}/cache-id", link, "cache-id is a link"),
    "a fifo for a name": (f"{TOP}/diff", fifo, "diff is no file"),
    "a name without end": (f"{TOP}/cache-id", huge, "more than the 4096 bytes"),
    "no digest": (f"{TOP}/diff", says("sha256:zz"), "invalid digest: 'sha256:zz'"),
    "another layer's digest": (f"{TOP}/diff", says(ONE.parsed.diff_ids[0]), "not that of its parent and content"),
    "a parent that is not": (f"{TOP}/parent", says("sha256:" + "0" * 64), "not that of its parent and content"),
    "a size that is none": (f"{TOP}/size", says("-1"), "'-1' is no number of bytes"),
    "a file that is missing": (f"{TOP}/diff", Path.unlink, "diff is missing"),
    "a config without end": (CONFIG, huge, "more than the 4194304 bytes"),
    "a config behind a link": (CONFIG, link, "is a link"),
    "another config": (CONFIG, says('{"rootfs": {"type": "layers", "diff_ids": []}}'), "is not what its name says"),
    "a config that is none": (CONFIG, says("[" * 100_000), "nested deeper than"),
    "names without end": ("image/overlay2/repositories.json", huge, "more than the 4194304 bytes"),
    "names behind a link": ("image/overlay2/repositories.json", link, "is a link"),
    "names that are none": ("image/overlay2/repositories.json", says('{"Repositories": [1]}'), "is no object"),
    "a name that is none": ("image/overlay2/repositories.json", says('{"Repositories":{"a":{"../A b":1}}}'), "../A b"),
}  # fmt: skip


@pytest.mark.parametrize("case", DAMAGED)
def test_what_is_damaged_is_told_and_the_rest_is_shown(docker: Path, veneer: Veneer, case: str) -> None:
    path, tamper, message = DAMAGED[case]
    tamper(docker / path)
    there = Veneer(docker)
    listed = there("layer", "ls", "-q", "--no-trunc")
    assert listed.code == 0
    assert CHAINS[0] in listed.text.split()
    warning, *images = listed.err.splitlines()
    assert warning.startswith("Warning: left out: ")
    assert message in warning
    assert images in ([], [f"Warning: image old/app:1 is damaged: its layer {CHAINS[1]} is not there"])
    told = there("images").text + there("history", ONE.image_id).err
    assert SECRET not in listed.text + listed.err + told


@pytest.mark.parametrize("place", ["image", "image/overlay2/layerdb", ROWS, TOP])
def test_a_link_on_the_way_is_not_followed(docker: Path, veneer: Veneer, place: str, tmp_path: Path) -> None:
    (docker / place).rename(tmp_path / "elsewhere")
    (docker / place).symlink_to(tmp_path / "elsewhere")
    listed = Veneer(docker)("layer", "ls", "--no-trunc")
    assert CHAINS[1] not in listed.text
    assert f"{docker / place} is a link" in listed.err or f"{docker / place}/" in listed.err
    assert veneer("import-store", str(docker)).text == ""


def test_a_layer_s_directory_that_is_a_link_is_not_followed(docker: Path, veneer: Veneer, tmp_path: Path) -> None:
    directory = docker / f"overlay2/{2:064x}/diff"
    directory.rename(tmp_path / "elsewhere")
    directory.symlink_to(tmp_path / "elsewhere")
    assert "diff is a link" in veneer("import-store", str(docker)).err
    # nor is what it points to taken for the layer's
    assert "belongs to no layer" in Veneer(docker)("layer", "which", str(tmp_path / "elsewhere/etc")).err


def test_the_engine_s_own_short_links_are_not_needed(docker: Path, veneer: Veneer, tmp_path: Path) -> None:
    (docker / "overlay2/l").mkdir()
    (docker / "overlay2/l/AAAA").symlink_to(tmp_path)
    (docker / f"overlay2/{2:064x}/link").symlink_to(tmp_path / "secret")
    (docker / f"overlay2/{2:064x}/lower").write_text(f"l/AAAA:{tmp_path}:../../..")
    there = Veneer(docker)
    assert (there("layer", "ls", "-q").err, len(there("layer", "ls", "-q").text.split())) == ("", 2)
    assert "belongs to no layer" in there("layer", "which", str(docker / "overlay2/l/AAAA/secret")).err
    assert veneer("import-store", str(docker)).code == 0


def record(*lines: object) -> bytes:
    return gzip.compress("".join(json.dumps(line) + "\n" for line in lines).encode())


RECORDS = {
    "a name upwards": (record({"type": 1, "name": "../../../../secret", "size": 5}), "cannot be read"),
    "a name from the top": (record({"type": 1, "name": "/etc/passwd", "size": 5}), "cannot be read"),
    "a directory": (record({"type": 1, "name": "etc", "size": 5}), "'etc' is no file"),
    "less than nothing": (record({"type": 1, "name": "etc/name", "size": -3}), "-3 is no number of bytes"),
    "more than there is": (record({"type": 1, "name": "etc/name", "size": 1 << 61}), "bytes too short"),
    "more than can be": (record({"type": 1, "name": "etc/name", "size": 10**30}), "is no number of bytes"),
    "a line without end": (gzip.compress(b"{" + b" " * (64 << 20), 1), "more than the 4194304 allowed"),
    "no lines": (gzip.compress(b"[1]\n"), "want a JSON object"),
    "no gzip": (b"nothing of the kind", "Not a gzipped file"),
    "half a gzip": (record({"type": 2, "payload": "AAAA"})[:-4], "Compressed file ended"),
    "no base64": (record({"type": 2, "payload": "A"}), "base64"),
}


@pytest.mark.parametrize("case", RECORDS)
def test_a_record_that_is_not_a_layer_s_is_refused(docker: Path, case: str) -> None:
    data, message = RECORDS[case]
    (docker / TOP / "tar-split.json.gz").write_bytes(data)
    layer = require(docker).layer(CHAINS[1])
    assert layer.tar_split is not None
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ForeignDamaged, match=message), Reading(docker) as reading:
        assert layer.directory is not None
        replay = Replay(reading, layer.directory, layer.tar_split)
        try:
            while replay.readinto(bytearray(1 << 16)):
                pass
        finally:
            replay.close()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 48 << 10, "KiB, whatever a line says"


def test_what_a_record_cannot_give_is_not_taken_in(docker: Path, veneer: Veneer) -> None:
    (docker / TOP / "tar-split.json.gz").write_bytes(RECORDS["a name upwards"][0])
    done = veneer("import-store", str(docker))
    assert (done.code, done.text) == (1, "")
    assert "cannot be read" in done.err
    assert "hint: pull the image again" in done.err
    assert veneer("images", "-q").text == ""
    assert veneer("system", "check", "--deep").code == 0


LISTS: dict[str, tuple[str, str, str]] = {
    "no list": ("overlay-layers/layers.json", '{"id": "x"}', "is no list of objects with ids"),
    "no id": ("overlay-layers/layers.json", '[{"id": 7}]', "is no list of objects with ids"),
    "no text": ("overlay-layers/layers.json", '[{"id": "a", "parent": ["b"]}]', "is no list of objects with ids"),
    "a name upwards": (
        "overlay-layers/layers.json", f'[{{"id": "../up", "diff-digest": "sha256:{"0" * 64}"}}]', "'../up' is no name"),
    "a circle": (
        "overlay-layers/layers.json",
        json.dumps([{"id": a, "parent": b, "diff-digest": "sha256:" + "0" * 64} for a, b in ("ab", "ba")]),
        "stands on a layer that is not there"),
    "no digest": ("overlay-layers/layers.json", '[{"id": "a", "diff-digest": "md5:1"}]', "invalid digest"),
    "no size": (
        "overlay-layers/layers.json",
        f'[{{"id": "a", "diff-size": -5, "diff-digest": "sha256:{"0" * 64}"}}]', "-5 of layer a is no number"),
    "an image upwards": ("overlay-images/images.json", '[{"id": "../../etc"}]', "'../../etc' is no name"),
    "no JSON": ("overlay-images/images.json", "{", "not JSON"),
}  # fmt: skip


@pytest.mark.parametrize("case", LISTS)
def test_lists_of_containers_storage_are_checked(podman: Path, veneer: Veneer, case: str) -> None:
    path, text, message = LISTS[case]
    (podman / path).write_text(text)
    listed = Veneer(podman)("layer", "ls")
    assert message in listed.err
    assert listed.code == 0 or listed.text == ""
    assert veneer("import-store", str(podman), ONE.image_id).code == 1
    assert veneer("images", "-q").text == ""
