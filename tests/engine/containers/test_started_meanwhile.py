"""Who stops or removes a container waits for who starts it, and then has what was started before him."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.crash import container_worker
from veneer.engine.containers import lifecycle
from veneer.engine.engine import Engine
from veneer.run.monitor import state

pytestmark = pytest.mark.usefixtures("root_only")


@pytest.mark.parametrize("verb", ["stop", "remove"])
def test_one_that_was_started_while_its_lock_was_waited_for_is_ended_first(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    container = container_worker.create(engine.store, "one", container_worker.make(engine.store, "first"))
    wait_for_monitor, settled = lifecycle.wait_for_monitor, state.settled
    alive: list[int] = []
    looks: list[bool] = []

    def then_started(folder: Path) -> None:
        wait_for_monitor(folder)
        if len(looks) == 1:
            held = state.hold(folder, state.ALIVE)  # as a monitor that is about to start it
            assert held is not None
            alive.append(held)

    def then_ended(folder: Path) -> state.State:
        looks.append(engine.store.containers.find(container.id) is not None)
        while alive:
            os.close(alive.pop())
        return settled(folder)

    monkeypatch.setattr(lifecycle, "wait_for_monitor", then_started)
    monkeypatch.setattr(state, "settled", then_ended)
    if verb == "stop":
        engine.containers.stop("one")
    else:
        engine.containers.remove("one")
    assert looks == [True, True]
    assert (engine.store.containers.find(container.id) is None) == (verb == "remove")
