"""Layers whose owners are seen as others: nothing on the disk changes, what is written is owned as it is seen."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import leaks
from veneer.drivers import idmap
from veneer.drivers.mount import Mount, MountUnsupported, mounted

pytestmark = pytest.mark.usefixtures("root_only")

IDS = ((0, 500_000, 1000), (5000, 600_000, 10))


@pytest.fixture
def layers(tmp_path: Path) -> tuple[Path, Path]:
    """Two layers with files of root, of 33 and of two that no map has a place for."""
    for name, owner in (("one/root", 0), ("one/web", 33), ("two/late", 5003), ("two/nobody", 4000), ("two/root", 0)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
        os.chown(tmp_path / name, owner, owner)
    return tmp_path / "two", tmp_path / "one"


def owners(folder: Path) -> dict[str, tuple[int, int]]:
    return {path.name: (path.stat().st_uid, path.stat().st_gid) for path in folder.iterdir()}


SEEN = {"root": 500_000, "web": 500_033, "late": 600_003, "nobody": 65534}
"""65534 is whom the kernel shows for an id without a place (/proc/sys/kernel/overflowuid)."""


def as_user(number: int, folder: Path, work: Callable[[], object]) -> None:
    """Do something in a folder as a plain user, in a process of its own."""
    child = os.fork()
    if child == 0:
        try:
            os.chdir(folder)  # on the way there are folders of root's alone
            os.setgroups([])
            os.setgid(number)
            os.setuid(number)
            work()
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0


def test_an_overlay_shows_its_layers_files_as_others(layers: tuple[Path, Path], target: Path) -> None:
    before = [owners(each) for each in layers]
    with mounted([Mount.overlay(layers).replaced(ids=IDS)], target):
        assert owners(target) == {name: (owner, owner) for name, owner in SEEN.items()}
    assert [owners(each) for each in layers] == before


def test_a_bind_does_too(layers: tuple[Path, Path], target: Path) -> None:
    with mounted([Mount.bind(layers[1], readonly=True).replaced(ids=IDS)], target):
        assert owners(target) == {"root": (500_000, 500_000), "web": (500_033, 500_033)}
        with pytest.raises(OSError, match="Read-only"):
            (target / "new").touch()
    with mounted([Mount.bind(layers[1]).replaced(ids=IDS)], target):
        as_user(500_000, target, lambda: Path("root").write_text("theirs"))
    assert (layers[1] / "root").read_text() == "theirs"
    assert owners(layers[1])["root"] == (0, 0)


def test_who_is_seen_as_the_owner_may_write_and_owns_what_he_wrote(
    layers: tuple[Path, Path], tmp_path: Path, target: Path
) -> None:
    upper, work = tmp_path / "upper", tmp_path / "work"
    for path in (upper, work):
        path.mkdir()
    os.chown(upper, 500_000, 500_000)

    def change() -> None:
        Path("root").write_text("changed")
        Path("new").write_text("new")

    with mounted([Mount.overlay(layers, upper=upper, work=work).replaced(ids=IDS)], target):
        as_user(500_000, target, change)
        assert owners(target)["root"] == owners(target)["new"] == (500_000, 500_000)
    assert owners(upper) == {"root": (500_000, 500_000), "new": (500_000, 500_000)}
    assert (layers[0] / "root").read_text() == "two/root"


def test_what_cannot_show_others_is_named(layers: tuple[Path, Path], target: Path) -> None:
    for kind in ("fuse", "aufs"):
        with (
            pytest.raises(MountUnsupported, match=f"by {kind} cannot show other owners"),
            mounted([Mount(kind, kind, lowers=tuple(map(str, layers)), ids=IDS)], target),
        ):
            pass
    with (
        pytest.raises(MountUnsupported, match="with other owners is refused") as raised,
        mounted([Mount.bind(Path("/proc/self")).replaced(ids=IDS)], target),
    ):
        pass
    assert "Linux 6.15" in raised.value.hint


def test_a_map_is_read_strictly() -> None:
    assert idmap.parse("0:100000:65536") == (0, 100_000, 65_536)
    for text in ("", "0:1", "0:1:0", "0:1:2:3", "-1:0:1", "0:4294967290:10", "a:b:c", "0:1:99999999999", "0: 1:2"):
        with pytest.raises(ValueError, match=f"^{text}$"):
            idmap.parse(text)
    assert [idmap.shown(number, IDS) for number in (0, 999, 1000, 5009)] == [500_000, 500_999, 1000, 600_009]


def test_a_namespace_is_there_without_a_process() -> None:
    before = leaks.children()
    with idmap.user_namespace(IDS) as namespace:
        assert os.readlink(f"/proc/self/fd/{namespace}").startswith("user:[")
        assert leaks.children() == before
