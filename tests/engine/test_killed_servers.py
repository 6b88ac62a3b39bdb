"""Files that are served by a process that was killed: what is said of a container's, and of a build's."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from pathlib import Path

import pytest

from tests.support import ways
from tests.support.containers import until
from tests.support.programs import needs, process_with
from veneer.build.events import Event, Output
from veneer.build.failure import StepFailed
from veneer.engine.containers import viewing
from veneer.engine.containers.creating import ContainerRequest
from veneer.engine.engine import Engine, open_engine
from veneer.run.failures import TreeLost
from veneer.store.containers import Container

pytestmark = pytest.mark.usefixtures("root_only")


def is_lost(engine: Engine, container: Container) -> bool:
    """Whether who wants to read a running container's files is told that nobody serves them."""
    try:
        with viewing.reached(engine, container, reading=True):
            return False
    except TreeLost:
        return True


@pytest.mark.parametrize("way", ["aufs by FUSE", "fuse-overlayfs"])
def test_a_container_whose_server_was_killed_says_so_and_starts_anew(tmp_path: Path, busybox: Path, way: str) -> None:
    settings = ways.require(way, tmp_path / "root")
    with open_engine(tmp_path / "root", **settings) as engine:
        with busybox.open("rb") as tar:
            image = engine.images.import_(tar)
        # By a shell that is not of the tree, and goes on waiting whatever becomes of that.
        script = "test -e /kept && exit 3; echo kept > /kept; read what_never_comes"
        config = {"Cmd": ["/busybox", "sh", "-c", script], "OpenStdin": True}
        host = {"NetworkMode": "none", "Binds": [f"{shutil.which('busybox')}:/busybox:ro"]}
        made = engine.containers.create(ContainerRequest(str(image.id), config, host))
        engine.containers.start(made.id)
        try:
            kept = engine.store.driver.directory(made.rw) / "kept"
            until(lambda: kept.exists() and kept.stat().st_size, "the container does not write")
            os.kill(process_with(f"# veneer: FUSE server of snapshot {made.rw}\n"), signal.SIGKILL)
            until(lambda: is_lost(engine, made), "its files are still shown")
            with pytest.raises(TreeLost, match="what it had written is kept") as caught:
                engine.containers.exec(made.id, {"Cmd": ["true"], "User": "daemon"})
            assert caught.value.hint == f"veneer restart {made.id[:12]}"
            engine.containers.kill(made.id)
            engine.containers.wait(made.id)
            error = engine.containers.inspect(made.id)["State"]["Error"]
            assert "FUSE server was killed; what it had written is kept" in error
            engine.containers.start(made.id)
            assert engine.containers.wait(made.id) == 3
            assert engine.containers.inspect(made.id)["State"]["Error"] == ""
        finally:
            engine.containers.remove(made.id, force=True)


def test_a_step_whose_server_was_killed_leaves_no_layer_though_its_command_is_content(
    tmp_path: Path, busybox: Path
) -> None:
    needs("runc")
    settings = ways.require("fuse-overlayfs", tmp_path / "root")
    with open_engine(tmp_path / "root", durability="none", **settings) as engine:
        with busybox.open("rb") as tar:
            base = engine.images.import_(tar)

        def kill(event: Event) -> None:
            if isinstance(event, Output) and b"begun" in event.data:
                for snapshot in engine.store.driver.snapshots():
                    with contextlib.suppress(ValueError):  # it has no server
                        os.kill(process_with(f"# veneer: FUSE server of snapshot {snapshot}\n"), signal.SIGKILL)

        step = "RUN echo half >/half; echo begun; for i in $(seq 100000); do touch /half || exit 0; done"
        dockerfile = f"FROM {base.id}\n{step}\n".encode()
        with pytest.raises(StepFailed) as caught:
            engine.build(dockerfile=dockerfile, on_event=kill, network="none").result()
        assert isinstance(caught.value.cause, TreeLost)
        assert caught.value.cause.hint == "build again"
        assert engine.system.check(deep=True) == []
