"""What a container has printed before, from its log, for a reader who comes late."""

from __future__ import annotations

import json

from veneer.run.monitor import protocol
from veneer.run.monitor.loop import Future

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    from veneer.run.monitor.connection import Connection

_NUMBERS = {"stdout": protocol.STDOUT, "stderr": protocol.STDERR}


async def replay(connection: Connection, path: Path | None, *, stdout: bool, stderr: bool) -> None:
    """Send the log from its start on, as fast as the reader takes it.  Nothing where there is no log."""
    if path is None:
        return
    wanted = {protocol.STDOUT: stdout, protocol.STDERR: stderr}
    with open(path, "rb") as lines:
        for line in lines:
            if not line.endswith(b"\n"):
                return  # being written
            entry = json.loads(line)
            stream = _NUMBERS[entry["stream"]]
            if wanted[stream]:
                connection.send(protocol.frame(stream, entry["log"].encode("utf-8", "surrogateescape")))
            if connection.is_full:
                await _room(connection)
            if not connection.is_open:
                return


def _room(connection: Connection) -> Future[None]:
    """Known when the reader has taken something, or has gone."""
    room: Future[None] = Future()
    connection.on_room = connection.on_close = lambda: room.set(None)
    return room
