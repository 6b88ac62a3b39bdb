"""What overlay can do here is tried out, remembered, and tried again when anything changed."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.programs import needs
from veneer.drivers import mount_syscalls, overlay_probe
from veneer.drivers.overlay2 import Overlay2
from veneer.drivers.overlay_probe import Abilities, abilities, try_out
from veneer.drivers.userns import privileged


@pytest.fixture
def trials(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The roots that were tried out since the test began."""
    tried: list[Path] = []

    def watched(root: Path) -> Abilities:
        tried.append(root)
        return try_out(root)

    monkeypatch.setattr(overlay_probe, "try_out", watched)
    return tried


def test_this_machine_can_do_all_of_it(tmp_path: Path) -> None:
    found = abilities(tmp_path)
    assert found.usable, found.reason
    assert found.native_diff
    assert found.userxattr is not privileged()


def test_a_trial_leaves_its_notes_and_the_empty_directory_for_views(tmp_path: Path) -> None:
    abilities(tmp_path)
    assert sorted(os.listdir(tmp_path)) == [".empty", ".probe.json"]


def test_the_second_time_nothing_is_tried(tmp_path: Path, trials: list[Path]) -> None:
    first = abilities(tmp_path)
    assert abilities(tmp_path) == first
    assert trials == [tmp_path]


@pytest.mark.parametrize(
    "notes",
    [
        b"",
        b"{",
        b"\xff\x00",
        b"[]",
        b"null",
        b'{"key": null}',
        b'{"key": [1], "abilities": {}}',
        b"x" * 10_000,
    ],
)
def test_garbled_notes_are_tried_again_and_mended(tmp_path: Path, trials: list[Path], notes: bytes) -> None:
    first = abilities(tmp_path)
    good = (tmp_path / ".probe.json").read_bytes()
    (tmp_path / ".probe.json").write_bytes(notes)
    assert abilities(tmp_path) == first
    assert trials == [tmp_path, tmp_path]
    assert (tmp_path / ".probe.json").read_bytes() == good


@pytest.mark.parametrize(
    "change",
    [
        {"usable": "yes"},
        {"usable": False},
        {"native_diff": 1},
        {"options": [1]},
        {"options": None},
        {"surprise": True},
        {"reason": None},
    ],
)
def test_notes_of_the_wrong_shape_are_tried_again(
    tmp_path: Path, trials: list[Path], change: dict[str, object]
) -> None:
    first = abilities(tmp_path)
    notes = json.loads((tmp_path / ".probe.json").read_text())
    notes["abilities"].update(change)
    (tmp_path / ".probe.json").write_text(json.dumps(notes))
    assert abilities(tmp_path) == first
    assert len(trials) == 2


@pytest.mark.parametrize("position", range(6))
def test_another_kernel_disk_user_or_version_is_tried_again(tmp_path: Path, trials: list[Path], position: int) -> None:
    abilities(tmp_path)
    notes = json.loads((tmp_path / ".probe.json").read_text())
    notes["key"][position] = "another"
    (tmp_path / ".probe.json").write_text(json.dumps(notes))
    abilities(tmp_path)
    assert len(trials) == 2


def test_a_refusal_is_not_remembered(tmp_path: Path, trials: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def no_overlay(_: str) -> int:
        raise OSError(19, "No such device")

    with monkeypatch.context() as patch:
        patch.setattr(mount_syscalls, "fsopen", no_overlay)
        refused = abilities(tmp_path)
    assert not refused.usable
    assert refused.reason.startswith("this kernel has no overlay file system (modprobe overlay")
    assert abilities(tmp_path).usable
    assert len(trials) == 2


def test_notes_that_cannot_be_written_cost_a_trial_and_nothing_else(
    tmp_path: Path, trials: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert abilities(tmp_path).usable
    assert abilities(tmp_path).usable
    assert len(trials) == 2
    assert os.listdir(tmp_path) == []


def test_what_a_killed_trial_left_is_swept_and_what_a_live_one_uses_is_not(tmp_path: Path) -> None:
    dead, alive = tmp_path / ".probe-dead", tmp_path / ".probe-alive"
    (dead / "work" / "work").mkdir(parents=True)
    (dead / "work" / "work").chmod(0)
    alive.mkdir()
    held = os.open(alive, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    try:
        assert abilities(tmp_path).usable
        assert sorted(os.listdir(tmp_path)) == [".empty", ".probe-alive", ".probe.json"]
    finally:
        os.close(held)


def test_a_kernel_that_renames_lower_directories_makes_native_diffs_unsafe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overlay_probe, "_OPTIONS", ("index=off", "redirect_dir=on"))
    found = abilities(tmp_path)
    assert found.usable
    assert not found.native_diff


def test_looking_into_the_notes_of_one_root_does_not_answer_for_another(tmp_path: Path, trials: list[Path]) -> None:
    abilities(tmp_path / "a")
    abilities(tmp_path / "b")
    assert trials == [tmp_path / "a", tmp_path / "b"]


def test_inside_a_user_namespace_the_user_attributes_are_used(tmp_path: Path) -> None:
    needs("unshare")
    code = f"""
from pathlib import Path
from veneer.drivers.driver import choose, new_snapshot_id
from veneer.drivers.mount import mounted
driver = choose(Path({str(tmp_path)!r}))
below, top = new_snapshot_id(), new_snapshot_id()
(driver.create(below, []) / "d").mkdir()
(driver.directory(below) / "d" / "f").touch()
driver.create(top, [below])
target = Path({str(tmp_path)!r}, "t"); target.mkdir()
with mounted(driver.mounts(top, [below]), target):
    (target / "d" / "f").unlink(); (target / "d").rmdir(); (target / "d").mkdir()
import os
print(driver.name, driver.whiteouts.name, os.getxattr(driver.directory(top) / "d", "user.overlay.opaque").decode())
driver.remove(top); driver.remove(below)
print(*driver.snapshots())
"""
    source = str(Path(overlay_probe.__file__).parents[2])
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", sys.executable, "-c", code],
        env={"PYTHONPATH": source, "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    if "unshare failed" in done.stderr:
        pytest.skip(f"no user namespaces here: {done.stderr.strip()}")
    assert (done.stdout.split(), done.stderr) == (["overlay2", "OVERLAY_USER", "y"], "")


@pytest.mark.usefixtures("root_only")
@pytest.mark.parametrize(("memory", "said"), [
    ("rw", "True kernel overlay on tmpfs,"),
    ("ro", "False an overlay cannot be tried at /proc/fs/v, which is read-only, nor in /dev/shm: Read-only file"),
])  # fmt: skip
def test_where_nothing_else_can_be_written_a_read_only_root_is_tried_in_memory_or_refused_in_words(
    memory: str, said: str
) -> None:
    needs("unshare")
    script = f"""
mount -t tmpfs -o size=1m tmpfs /dev/shm && mount -o remount,{memory} /dev/shm || exit
mount -t tmpfs -o ro,size=1m tmpfs /proc/fs || exit
for each in /tmp /var/tmp /usr/tmp; do
    if [ -d $each ]; then mount --bind $each $each && mount -o remount,bind,ro $each || exit; fi
done
cd /proc/fs
exec "$@"
"""
    code = "from veneer.drivers.overlay_probe import *; f = abilities(Path('/proc/fs/v')); print(f.usable, f.reason)"
    source = str(Path(overlay_probe.__file__).parents[2])
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "slave", "sh", "-c", script, "sh", sys.executable, "-c", code],
        env={"PYTHONPATH": source, "PATH": os.environ["PATH"], "TMPDIR": "/proc/nowhere"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.startswith(said), done.stderr


def test_the_driver_says_what_it_found(tmp_path: Path) -> None:
    support = Overlay2(tmp_path).probe()
    assert support.usable
    assert support.reason.startswith("kernel overlay on ")
