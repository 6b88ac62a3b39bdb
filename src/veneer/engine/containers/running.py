"""A container made, started and waited for, from Python: what it printed, and how it ended."""

from __future__ import annotations

import contextlib
import os
import select

from veneer.errors import VeneerError
from veneer.run.monitor import state as states
from veneer.run.monitor.launch import Launch
from veneer.run.monitor.stream import Ended, Streams
from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from veneer.engine.containers.creating import ContainerRequest
    from veneer.engine.engine import Engine
    from veneer.run.monitor.stream import Stream
    from veneer.store.containers import Container

_CHUNK = 64 << 10


class ContainerExited(VeneerError):
    """A command in a container ended with another status than 0, and its caller had asked that it does not."""


class Finished(Value):
    """How a container ended: `code` its exit status, `out` and `err` what it printed (all in `out` with a terminal).

    `container` is its id, also where it has been removed meanwhile.
    """

    container: str
    code: int
    out: bytes = b""
    err: bytes = b""


def run(
    engine: Engine,
    request: ContainerRequest,
    *,
    input: bytes = b"",
    remove: bool = True,
    check: bool = False,
    on_output: Callable[[int, bytes], object] | None = None,
) -> Finished:
    """Run a container to its end.

    `input` is what it reads.  `on_output` gets (1 or 2, bytes) as it is printed, and nothing is kept then.  If we are
    interrupted, or `on_output` raises, a container that is to be removed is killed.
    Raises what create and start raise, and with `check` ContainerExited.
    """
    config = dict(request.config) | {"AttachStdout": True, "AttachStderr": True}
    if input:
        config |= {"OpenStdin": True, "StdinOnce": True, "AttachStdin": True}
    request = request.replaced(config=config, host_config=dict(request.host_config) | {"AutoRemove": remove})
    with contextlib.ExitStack() as stack:
        launch = stack.enter_context(Launch())
        if remove:
            from veneer.engine.containers.leftovers import being_run

            request = stack.enter_context(being_run(engine.store, request))
        container = engine.containers.create(request)
        with _taken_care_of(engine, container, remove=remove):
            stream = engine.containers.start(container.id, launch=launch, attach=Streams(bool(input)))
            assert stream is not None  # it was asked for
            with stream:
                found = _read(stream, container.id, input, on_output)
    if check and found.code != 0:
        last = (found.err or found.out).decode(errors="replace").strip().rpartition("\n")[2]
        raise ContainerExited(f"{container.name} ended with exit status {found.code}" + (f": {last}" if last else ""))
    return found


@contextlib.contextmanager
def _taken_care_of(engine: Engine, container: Container, *, remove: bool) -> Iterator[None]:
    """The removal is ours in this `with`; were we killed, the kernel would let go, and it would be the monitor's."""
    if not remove:
        yield
        return
    held = states.hold(engine.store.containers.folder(container.id), states.CARETAKER)
    try:
        yield
    finally:
        try:
            engine.containers.remove(container.id, force=True, volumes=True)
        finally:
            if held is not None:
                os.close(held)


def _read(stream: Stream, id: str, input: bytes, on_output: Callable[[int, bytes], object] | None) -> Finished:
    kept: dict[int, list[bytes]] = {1: [], 2: []}
    rest = memoryview(input)
    has_input = bool(input)
    while True:
        if has_input and not stream.wants_write:
            stream.write(bytes(rest[:_CHUNK]))
            rest = rest[_CHUNK:]
            if not rest:
                stream.close_input()
                has_input = False
        while (found := stream.read(wait=False)) is not None:
            if isinstance(found, Ended):
                return Finished(id, found.code, b"".join(kept[1]), b"".join(kept[2]))
            if on_output is not None:
                on_output(*found)
            else:
                kept[found[0]].append(found[1])
        writing = [stream.fileno()] if stream.wants_write or has_input else []
        select.select([stream.fileno()], writing, [])
        stream.flush()
