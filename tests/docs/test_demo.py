"""The demo's image, without what needs a Debian mirror."""

from __future__ import annotations

from pathlib import Path

import pytest

import veneer
from demo.nginx import make_context
from tests.support.programs import needs
from tests.support.programs import veneer as command

pytestmark = pytest.mark.usefixtures("root_only")


def test_the_demos_dockerfile_has_ten_rows_with_ids_three_layers_and_is_cached_whole(
    busybox: Path, tmp_path: Path
) -> None:
    needs("runc")
    context, root = tmp_path / "context", tmp_path / "root"
    make_context(context, busybox)
    build = ("build", "--progress", "plain", "--network", "none", "--tag", "demo/nginx", context)
    command(*build, root=root)
    with veneer.open(root) as engine:
        rows = engine.images.history("demo/nginx")
        layers = engine.images.get("demo/nginx").config.diff_ids
        parents = [engine.images.get(str(row.id)).parent for row in rows]
    instructions = [row.created_by.removeprefix("/bin/sh -c ").removeprefix("#(nop) ").split()[0] for row in rows]
    assert instructions == [
        "CMD",
        "STOPSIGNAL",
        "EXPOSE",
        "ln",
        "--mount=type=bind,source=packages,target=/packages",
        "ENV",
        "ENV",
        "LABEL",
        "CMD",
        "ADD",
    ]
    assert len(layers) == 3
    assert parents == [*(row.id for row in rows[1:]), None], "each row's image is the parent of the one above"
    assert next(row.size for row in rows if row.layer) == 22, "two symlinks, counted as docker does"
    shown = command("images", "--quiet", "--no-trunc", root=root).out.split()
    every = command("images", "--all", "--quiet", "--no-trunc", root=root).out.split()
    assert shown == [str(rows[0].id)]
    assert set(every) == {str(row.id) for row in rows}

    again = command(*build, root=root).out
    assert again.count("Using cache") == 10
