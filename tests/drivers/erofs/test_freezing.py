"""A directory made a layer, whoever is killed in between."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from veneer.changeset.syscalls import exchange
from veneer.drivers.driver import new_snapshot_id
from veneer.drivers.erofs import freezing
from veneer.drivers.erofs.driver import Erofs
from veneer.drivers.mount import mounted

pytestmark = pytest.mark.usefixtures("root_only")


class Killed(BaseException):
    pass


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_renamed_directory_is_made_whole_by_whoever_is_not_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    driver = Erofs(tmp_path / "erofs")
    if not driver.probe().usable:
        pytest.skip(driver.probe().reason)
    target = tmp_path / "target"
    target.mkdir()
    base, top = new_snapshot_id(), new_snapshot_id()
    (driver.create(base, []) / "old").mkdir()
    (driver.directory(base) / "old/file").write_text("content")
    driver.commit(base)
    driver.create(top, [base])
    with mounted(driver.mounts(top, [base]), target):
        (target / "old").rename(target / "new")
    assert not freezing.is_plain(driver.directory(top))

    def killed(one: bytes, other: bytes) -> None:
        if when == "after":
            exchange(one, other)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(freezing, "exchange", killed)
        with pytest.raises(Killed):
            driver.commit(top)
    assert sorted(os.listdir(driver.directory(top))) == ["new", "old"]
    driver.commit(top)
    assert sorted(os.listdir(driver.directory(top))) == ["new", "old"]
    assert not driver.directory(top).with_name("whole").exists()
    assert (driver.directory(top) / "new/file").read_text() == "content"
