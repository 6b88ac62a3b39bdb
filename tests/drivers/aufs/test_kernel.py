"""The words for the kernel's own aufs, which no test machine has."""

from __future__ import annotations

from pathlib import Path

import pytest

from veneer.drivers import mount_syscalls as sys_mount
from veneer.drivers.aufs import kernel
from veneer.drivers.aufs.live import Places
from veneer.drivers.aufs.mounters import KERNEL
from veneer.drivers.aufs.stacks import view, writable
from veneer.drivers.mount import MountUnsupported, TooManyLayers, attach
from veneer.drivers.mounters import Finding

PLACES = Places("/r/aufs", "trusted.overlay.", ())
FOUND = Finding(KERNEL, True, "")


def test_a_stack_is_one_string_with_the_writable_branch_first() -> None:
    assert kernel.options(Path("/d/top"), [Path("/d/b"), Path("/d/a")]) == (
        "br:/d/top=rw:/d/b=ro+wh:/d/a=ro+wh,dio,xino=/dev/shm/aufs.xino,dirperm1",
    )


def test_what_does_not_fit_in_a_page_is_appended_one_by_one() -> None:
    lowers = [Path(f"/data/root/aufs/diff/{number:064x}") for number in range(120)]
    first, *more = kernel.options(Path("/data/root/aufs/diff/top"), lowers)
    assert len(first) < kernel.PAGE
    told = first.removeprefix("br:").partition(",")[0].split(":") + [each.removeprefix("append:") for each in more]
    assert told == ["/data/root/aufs/diff/top=rw", *(f"{lower}=ro+wh" for lower in lowers)]


def test_more_branches_than_aufs_is_built_for_are_refused() -> None:
    with pytest.raises(TooManyLayers, match="127"):
        kernel.options(None, [Path(f"/{number}") for number in range(128)])


@pytest.mark.parametrize("path", ["/a:b", "/a,b", "/a=b"])
def test_a_path_that_has_no_spelling_is_refused(path: str) -> None:
    with pytest.raises(MountUnsupported, match="cannot be told"):
        kernel.options(None, [Path(path)])


def test_a_mount_is_one_call_and_a_remount_for_each_further_branch(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[object, ...]] = []
    monkeypatch.setattr(sys_mount, "mount", lambda *call: calls.append(call))
    monkeypatch.setattr(kernel, "PAGE", 4096)
    [mount] = [writable(FOUND, PLACES, "top", ["b", "a"])]
    attach([mount.replaced(options=(*mount.options, "append:/r/aufs/diff/z=ro+wh"))], Path("/target"))
    first = b"br:/r/aufs/diff/top=rw:/r/aufs/diff/b=ro+wh:/r/aufs/diff/a=ro+wh,dio,xino=/dev/shm/aufs.xino,dirperm1"
    assert calls == [
        (b"none", b"/target", b"aufs", 0, first),
        (b"none", b"/target", b"aufs", sys_mount.MS_REMOUNT, b"append:/r/aufs/diff/z=ro+wh"),
    ]


def test_a_view_is_read_only(monkeypatch: pytest.MonkeyPatch) -> None:
    flags: list[object] = []
    monkeypatch.setattr(sys_mount, "mount", lambda *call: flags.append(call[3]))
    attach([view(FOUND, PLACES, ["b", "a"])], Path("/target"))
    assert flags == [sys_mount.MS_RDONLY]
