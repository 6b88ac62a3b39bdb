"""Everything that needs no root is done by a plain user, with further ids and without, on a data root of his own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.plain_user import FIRST, UID, PlainUser, plain_user
from tests.support.programs import VENEER, run, veneer
from tests.support.registries import RealRegistry
from veneer.drivers.userns import ONE, RANGES
from veneer.testing.images import (
    SampleImage,
    device,
    directory,
    docker_archive,
    fifo,
    file,
    hardlink,
    image,
    symlink,
)

_CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")
_FAR = 4_294_967_200
"""An id that no range reaches."""
_BASE = {
    "etc": directory(), "etc/shadow": file(b"secret", 0o640).owned(0, 42),
    "www": directory(0o750).owned(33, 33), "www/index": file(b"hello").owned(33, 33),
    "www/far": file(b"far").owned(_FAR, 7), "www/link": symlink("index").owned(33, 33),
    "dev": directory(), "dev/null": device(1, 3, mode=0o666), "dev/disk": device(8, 0, block=True),
    "dev/null2": hardlink("dev/null"), "bin": directory(), "bin/su": file(b"su", 0o4755),
    "bin/ping": file(b"ping", 0o755, xattrs={b"security.capability": _CAPABILITY}),
    "closed": directory(0o000), "closed/f": file(b"x", 0o000).owned(1, 1), "pipe": fifo(),
    "gone": file(b"g"), "opaque": directory(), "opaque/below": file(b"x"), "turned": file(b"a file"),
}  # fmt: skip
_TOP = {
    ".wh.gone": file(), "opaque": directory(), "opaque/.wh..wh..opq": file(),
    "opaque/own": file(b"y").owned(1000, 1000), "dev": directory(), "dev/linked": hardlink("dev/disk"),
    "linked": hardlink("www/index"), "turned": device(5, 1),
}  # fmt: skip


_TAR = image({"a": file(b"a").owned(5, 5)}).layers[0].tar


@pytest.fixture(params=[True, False], ids=["ranges", "one-id"])
def user(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PlainUser]:
    with plain_user(tmp_path / "home", further_ids=request.param) as user:
        yield user


@pytest.fixture
def lone(tmp_path: Path) -> Iterator[PlainUser]:
    with plain_user(tmp_path / "home", further_ids=False) as user:
        yield user


@pytest.fixture(scope="module")
def sample() -> SampleImage:
    """Two layers with everything that takes privileges."""
    return image(_BASE, _TOP)


@pytest.fixture
def loaded(user: PlainUser, sample: SampleImage) -> PlainUser:
    (user.home / "odd.tar").write_bytes(docker_archive((sample, ["odd:1"])))
    said = user.veneer("load", "-i", "odd.tar")
    assert said.out == "Loaded image: odd:1\n"
    return user


def _root(user: PlainUser) -> Path:
    return user.home / ".local/share/veneer"


def test_what_could_not_be_kept_is_said_once_and_everything_is_whole(user: PlainUser, sample: SampleImage) -> None:
    said = user.veneer("load", stdin=docker_archive((sample, ["odd:1"]), (sample, ["even:1"]))).err.splitlines()
    assert said == [
        "Warning: device files are empty files here: devices are for root of the machine",
        "Warning: owners not kept: ids that this user namespace does not have; /etc/subuid and /etc/subgid give more",
    ]
    assert user.veneer("system", "check", "--deep").out == "Everything stored is whole.\n"
    assert {path.stat().st_uid for path in _root(user).rglob("index")} <= {UID, FIRST + 32}


def test_what_goes_out_is_what_root_would_give(loaded: PlainUser, tmp_path: Path) -> None:
    loaded.veneer("save", "-o", "saved.tar", "odd:1")
    loaded.veneer("export", "-o", "exported.tar", "odd:1")
    veneer("load", "-i", loaded.home / "odd.tar", root=tmp_path / "root")
    for verb, name in (("save", "saved.tar"), ("export", "exported.tar")):
        veneer(verb, "-o", tmp_path / name, "odd:1", root=tmp_path / "root")
        assert (tmp_path / name).read_bytes() == (loaded.home / name).read_bytes(), name


def test_looking_enters_no_namespace_and_takes_none_of_its_time(loaded: PlainUser) -> None:
    words = [["images"], ["history", "odd:1"], ["history", "--layers", "odd:1"], ["inspect", "odd:1"], ["layer", "ls"],
             ["tag", "odd:1", "odd:2"], ["version"]]  # fmt: skip
    done = loaded.python(f"""
import io, os, sys
from veneer.cli.main import run
for words in {words!r}:
    assert run(words, io.StringIO(), sys.stderr, io.StringIO()) == 0, words
    assert os.geteuid() == {UID} and "veneer.drivers.userns_enter" not in sys.modules, words
assert run(["system", "df"], io.StringIO(), sys.stderr, io.StringIO()) == 0 and os.geteuid() == 0
print("looked")""")
    assert (done.out, done.err) == ("looked\n", "")


def test_an_image_goes_to_a_registry_and_comes_back(loaded: PlainUser, registry: RealRegistry) -> None:
    name = f"{registry.host}/plain/{loaded.home.parent.name}:1"
    loaded.veneer("tag", "odd:1", name)
    loaded.veneer("push", name)
    loaded.veneer("rmi", name, "odd:1")
    assert loaded.veneer("images", "-q").out == ""
    loaded.veneer("pull", name)
    assert loaded.veneer("system", "check", "--deep").out == "Everything stored is whole.\n"
    assert json.loads(loaded.veneer("inspect", name).out)[0]["GraphDriver"]["Name"] == "overlay2"


def test_nothing_is_left_when_images_are_removed(loaded: PlainUser) -> None:
    loaded.veneer("import", "-", "flat:1", stdin=_TAR)
    plan = loaded.veneer("rmi", "--dry-run", "odd:1").out
    assert "odd:1" in plan
    loaded.veneer("rmi", "odd:1", "flat:1")
    loaded.veneer("system", "prune", "--all", "--force")
    left = {path.name for path in (_root(loaded) / "overlay2").iterdir()}
    assert left <= {".probe.json", ".empty"}
    assert list((_root(loaded) / "blobs/sha256").iterdir()) == []


def test_info_says_whose_ids_these_are_and_why(user: PlainUser, request: pytest.FixtureRequest) -> None:
    facts = json.loads(user.veneer("info", "--format", "json").out)
    assert facts["SecurityOptions"] == ["name=rootless"]
    assert facts["Rootless"] is True
    assert facts["UidMap"][0] == {"ContainerID": 0, "HostID": UID, "Size": 1}
    shown = user.veneer("info").out
    if "ranges" in request.node.name:
        assert facts["UidMap"][1]["HostID"] == FIRST
        assert " Reason: ranges of plain in /etc/subuid and /etc/subgid\n" in shown
    else:
        assert " Reason: one id: /etc/subuid has no range for plain or 1234\n" in shown
    assert "\nSecurity Options:\n rootless\n" in shown


def test_programs_in_the_same_namespace_see_and_may_remove_what_is_his(loaded: PlainUser) -> None:
    assert loaded.veneer("unshare", "id", "-u").out == "0\n"
    # Another process inside knows that nothing was mounted anew: layers are not taken for doubtful.
    inside = loaded.veneer("unshare", "sh", "-c", "exec $0 -m veneer system check --deep", loaded.python_words("")[0])
    assert inside.out == "Everything stored is whole.\n"
    loaded.veneer("unshare", "rm", "-r", ".local/share/veneer/overlay2")
    assert not (_root(loaded) / "overlay2").exists()
    missing = loaded.veneer("unshare", "no-such-program", check=False)
    assert missing.code == 127
    assert missing.err.startswith("Error: no program 'no-such-program'\n")


def test_a_store_begun_with_one_id_goes_on_with_one_when_there_are_more(tmp_path: Path, sample: SampleImage) -> None:
    with plain_user(tmp_path / "home", further_ids=False) as user:
        user.veneer("load", stdin=docker_archive((sample, ["odd:1"])))
    with plain_user(tmp_path / "home", further_ids=True) as user:
        assert " Reason: one id, because this data root was begun with one\n" in user.veneer("info").out
        user.veneer("rmi", "odd:1")
        # Nothing is in it any more that would have to be understood.
        assert f" Uids: 0 is {UID} (1), 1 is {FIRST} " in user.veneer("info").out


def test_a_store_begun_with_further_ids_is_refused_when_they_are_gone(tmp_path: Path, sample: SampleImage) -> None:
    with plain_user(tmp_path / "home", further_ids=True) as user:
        user.veneer("load", stdin=docker_archive((sample, ["odd:1"])))
    with plain_user(tmp_path / "home", further_ids=False) as user:
        refused = user.veneer("export", "-o", "x", "odd:1", check=False)
        assert refused.code == 1
        assert refused.err.startswith(
            f"Error: this data root needs what uid {UID} cannot have now: one id: /etc/subuid"
        )
        assert user.veneer("images", "-q").out != ""
        told = user.veneer("info")
        assert f" Uids: 0 is {UID} (1)\n" in told.out
        assert told.err.startswith(f"WARNING: this data root needs what uid {UID} cannot have now: one id: /etc/subuid")


def test_a_plain_users_store_and_roots_are_not_mixed(loaded: PlainUser, sample: SampleImage, tmp_path: Path) -> None:
    by_root = veneer("images", root=_root(loaded), check=False)
    assert by_root.err.startswith(f"Error: {_root(loaded)} belongs to uid {UID}, not to uid 0\nhint: run as its owner")
    mapped = run("unshare", "--user", "--map-root-user", VENEER, "--root", _root(loaded), "ps", check=False)
    assert "hint: in a user namespace that veneer did not make: run it outside, or" in mapped.err
    mine = tmp_path / "root"
    veneer("load", root=mine, stdin=docker_archive((sample, ["odd:1"])))
    inside = run("unshare", "--user", "--map-root-user", "--mount", VENEER, "--root", mine, "export", "odd:1",
                 check=False)  # fmt: skip
    assert inside.code == 1
    said = "were unpacked as root, and this process is in a user namespace with one id"
    assert inside.err.startswith(f"Error: the layers in {mine} {said}\n")


def test_a_program_of_his_enters_before_it_works_on_layers(loaded: PlainUser) -> None:
    done = loaded.python("""
import veneer
from veneer.drivers.userns import NotEntered
engine = veneer.open()
print(len(engine.images.list()), end=" ")
try: engine.images.load(open("odd.tar", "rb"))
except NotEntered as error: print("refused", end=" ")
print(engine.enter_namespace().kind, len(engine.images.load(open("odd.tar", "rb"))))
engine.close()""")
    listed, refused, kind, count = done.out.split()
    assert (listed, refused, count) == ("1", "refused", "1")
    assert kind in (RANGES, ONE)


def test_in_no_namespace_vfs_may_be_asked_for_and_the_store_stays_so(lone: PlainUser) -> None:
    (lone.home / "layer.tar").write_bytes(_TAR)
    done = lone.python("""
import os, veneer
with veneer.open(storage_driver="vfs") as engine:
    engine.images.import_(open("layer.tar", "rb"), reference="flat:1")
    print(engine.store.mapping, os.geteuid(), engine.notes)""")
    notes = "('owners not kept: files belong to the user who unpacked them',)"
    assert done.out == f"plain {UID} {notes}\n"
    assert lone.veneer("system", "check", "--deep").out == "Everything stored is whole.\n"
    assert "Storage Driver: vfs\n" in lone.veneer("info").out
