"""A lease's scratch folder while it goes away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import veneer
from veneer.store import leases
from veneer.store.strays import dead_scratch


def test_a_scratch_folder_is_nobody_elses_to_take_until_it_is_empty(tmp_path: Path, monkeypatch: Any) -> None:
    with veneer.open(tmp_path / "root") as engine:
        store, seen = engine.store, []
        unlink = Path.unlink

        def looked_at(path: Path, missing_ok: bool = False) -> None:
            if path.name.startswith("file"):
                seen.append(dead_scratch(store))
            unlink(path, missing_ok=missing_ok)

        monkeypatch.setattr(Path, "unlink", looked_at)
        with store.lease("test") as lease:
            lease.file("file").touch()
            tree = lease.file("tree")
            tree.mkdir()
            (tree / "inside").touch()
        assert seen == [[]]
        assert list((tmp_path / "root" / "ingest").iterdir()) == []


@pytest.mark.parametrize("left", [(), ("lock",)])
def test_a_scratch_folder_that_another_process_took_is_gone_all_the_same(tmp_path: Path, left: tuple[str, ...]) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    for name in left:
        (scratch / name).touch()
    leases.remove_scratch(scratch)
    assert not scratch.exists() or not left
