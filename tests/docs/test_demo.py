"""The demo's image, without what needs a Debian mirror."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import veneer
from demo.nginx import STEPS, assemble, installed_packages


def a_page(target: Path) -> None:
    (target / "index.html").write_text("<h1>Welcome</h1>\n")


def test_the_demos_image_has_ten_rows_with_ids_and_three_layers(busybox: Path, tmp_path: Path) -> None:
    steps = [replace(step, files=a_page) if step.files is installed_packages else step for step in STEPS]
    assemble(tmp_path / "root", busybox, tmp_path, tag="demo/nginx:latest", steps=steps)
    with veneer.open(tmp_path / "root") as engine:
        rows = engine.images.history("demo/nginx")
        layers = engine.images.get("demo/nginx").config.diff_ids
        assert engine.images.get("demo/rootfs").config.diff_ids == layers[:1], "the imported layer is stored once"
    instructions = [row.created_by.removeprefix("/bin/sh -c ").removeprefix("#(nop) ").split()[0] for row in rows]
    assert instructions == ["CMD", "STOPSIGNAL", "EXPOSE", "ln", "apt-get", "ENV", "ENV", "LABEL", "CMD", "ADD"]
    assert all(row.id for row in rows)
    assert [row.size for row in rows if row.layer][:2] == [22, 17]
