"""Everything that touches layers, with the aufs driver and each of its mounters: built, looked at, moved, run."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from tests.support.programs import run
from veneer.drivers.aufs.driver import Aufs
from veneer.drivers.aufs.live import Places
from veneer.drivers.aufs.mounters import FUSE, SHIM
from veneer.drivers.aufs.stacks import writable
from veneer.drivers.mounters import Finding
from veneer.run.monitor.mounts import mount, told

pytestmark = pytest.mark.usefixtures("root_only")

_DOCKERFILE = """
FROM scratch AS tree
ADD busybox.tar /
RUN mkdir -p /d/old /e && echo one > /d/old/f && echo two > /e/gone
RUN rm -r /d && mkdir /d && echo new > /d/f && rm /e/gone
COPY Dockerfile /e/again
FROM tree
RUN --mount=from=tree,target=/mnt,rw rm -r /mnt/e && echo changed > /mnt/d/f && ls /mnt > /seen
"""


@pytest.mark.parametrize("mounter", [SHIM, FUSE])
def test_an_image_is_built_looked_at_moved_and_run(tmp_path: Path, busybox: Path, mounter: str) -> None:
    support = Aufs(tmp_path / "probe", mounter).probe()
    if not support.usable:
        pytest.skip(support.reason)
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text(_DOCKERFILE)
    shutil.copy(busybox, context / "busybox.tar")

    def veneer(*words: str, root: str = "root") -> str:
        env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(tmp_path), "VENEER_AUFS_MOUNTER": mounter}
        here = ["--root", str(tmp_path / root), "--storage-driver", "aufs"]
        return run(Path(sys.executable).with_name("veneer"), *here, *words, env=env).out

    veneer("build", "-q", "-t", "demo:1", str(context))
    assert veneer("history", "-q", "demo:1").count("\n") == 5
    assert veneer("image", "inspect", "-f", "{{.GraphDriver.Name}} {{.GraphDriver.Data}}", "demo:1").startswith("aufs ")
    assert f"Backing Mount: {mounter}" in veneer("info")
    veneer("export", "-o", str(tmp_path / "tree.tar"), "demo:1")
    names = run("tar", "tf", str(tmp_path / "tree.tar")).out.split()
    assert {"d/f", "e/again"} <= set(names)
    seen = set(veneer("run", "--rm", "--network=none", "demo:1", "cat", "/seen").split())
    assert "d" in seen
    assert "e" not in seen
    assert not {"d/old/", "e/gone"} & set(names)
    veneer("save", "-o", str(tmp_path / "saved.tar"), "demo:1")
    veneer("load", "-i", str(tmp_path / "saved.tar"), root="other")
    for root in ("root", "other"):
        assert "whole" in veneer("system", "check", "--deep", root=root)
    assert veneer("run", "--rm", "--network=none", "demo:1", "cat", "/d/f", root="other") == "new\n"
    veneer("run", "--name=changed", "--network=none", "demo:1", "sh", "-c", "rm -r /d; echo x > /added")
    assert veneer("diff", "changed") == "A /added\nD /d\n"
    veneer("commit", "changed", "demo:2")
    assert veneer("run", "--rm", "--network=none", "demo:2", "sh", "-c", "cat /added; ls -d /d || true") == "x\n"
    assert not list((tmp_path / "root/aufs/state").iterdir())


@pytest.mark.parametrize("mounter", [SHIM, FUSE])
def test_a_mount_with_its_keeper_is_told_to_another_process(tmp_path: Path, mounter: str) -> None:
    driver = Aufs(tmp_path)
    stack = ["1" * 32, "2" * 32]
    for snapshot in stack:
        driver.create(snapshot, [])  # type: ignore[arg-type]
    found = writable(Finding(mounter, True, ""), Places(str(tmp_path), "trusted.overlay.", ()), stack[0], stack[1:])
    assert mount(told(found)) == found
