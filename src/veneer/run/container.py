"""A container run to its end: its process started by the runtime, what it prints passed on, its status said."""

from __future__ import annotations

import json
import os
import selectors
import subprocess

from veneer.run.failures import errors, failed
from veneer.run.spec import document

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from subprocess import Popen

    from veneer.run.bundle import Bundle
    from veneer.run.enclosure import Enclosure
    from veneer.run.runtime import Runtime
    from veneer.run.spec import Host, Process

    Output = Callable[[int, bytes], object]
    """Gets the stream (1 or 2) and what came from it."""

_CHUNK = 64 << 10
_WITH_PROC = """mount -t proc -o nosuid,nodev,noexec proc /proc || {
echo '{"level":"error","msg":"/proc cannot be mounted"}' >>"$0"; exit 1; }; exec "$@\""""
"""Programs in a PID namespace need its own /proc; until then there was ours, which Python needs."""
_TICK_SECONDS = 0.1
"""How long it takes at most until we see that we should stop."""


def run(
    enclosure: Enclosure, bundle: Bundle, runtime: Runtime, process: Process, host: Host, *,
    output: Output, check: Callable[[], object],
) -> int:  # fmt: skip
    """Run `process` in the tree of the bundle, which is in the enclosure; its exit status, as the runtime says it.

    After a signal that is 128 and its number.
    `check` is called now and then; when it or `output` raises, every process in the container is killed.
    Raises NoSuchCommand, CannotExecute, ContainerFailed (see failures.py).
    """
    config = json.dumps(document(process, os.fspath(bundle.rootfs), host)).encode("utf-8", "surrogateescape")
    bundle.write("config.json", config)
    if runtime.hides:
        bundle.hide(runtime.hides)
    folder = os.fspath(bundle.folder)
    words = runtime.command(host, f"{folder}/state", f"{folder}/log", folder, "container")
    started = enclosure.start(["/bin/sh", "-c", _WITH_PROC, f"{folder}/log", *words], output=subprocess.PIPE)
    try:
        _pass_on(started, bundle.log, output, check)
        status = started.wait()
    except BaseException:
        enclosure.kill()
        started.wait()
        raise
    if status:
        said = errors(bundle.log)
        if said:
            raise failed(said, process.words[0])
    return status


def _pass_on(started: Popen[bytes], log: int, output: Output, check: Callable[[], object]) -> None:
    """Give `output` all that is printed, until both streams end."""
    with selectors.DefaultSelector() as selector:
        for stream, pipe in ((1, started.stdout), (2, started.stderr)):
            assert pipe is not None
            selector.register(pipe, selectors.EVENT_READ, stream)
        while selector.get_map():
            check()
            for key, _ in selector.select(_TICK_SECONDS):
                data = os.read(key.fd, _CHUNK)
                if not data:
                    selector.unregister(key.fileobj)
                elif key.data == 1 or not errors(log):
                    output(key.data, data)
                # else the runtime repeats what it has just written to its log, and nothing ever ran
