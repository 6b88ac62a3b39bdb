"""The standard streams of one process: from it to its log and its readers, from a writer to it.

What it prints is read only while every reader has room for more, as with docker: a slow one slows the process down,
and nobody's memory fills.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import termios

from veneer.run.monitor import protocol
from veneer.run.monitor.connection import Connection
from veneer.run.monitor.loop import READ, WRITE, Future, Loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.run.monitor.execs import Output
    from veneer.run.monitor.logfile import LogFile

_CHUNK = protocol.MAX_DATA
_MOST_LEFT = 256 << 10
"""What may still be in pipes when their process has ended, and is read though a reader is slow."""
_MOST_INPUT = 256 << 10
"""Input that the process has not read; with more we stop reading from who sends it."""


class Streams:
    """Made with pipes, or told of a terminal when there is one; `drained` is known when the process has no more to say.

    With `keeps_input` it can be written to; with `once` its input ends with the first writer.
    """

    def __init__(
        self, loop: Loop, log: LogFile | None, *, terminal: bool, keeps_input: bool, once: bool = False
    ) -> None:
        self.drained: Future[None] = Future()
        self.terminal = terminal
        self._loop = loop
        self._log = log
        self._once = once
        self._readers: dict[Connection, tuple[bool, bool]] = {}
        self._writers: set[Connection] = set()
        self._outputs: dict[int, int] = {}
        self._input = -1
        self._pending = bytearray()
        self._closing = False
        self._has_ended = False
        self._may_be_left = _MOST_LEFT
        self._collecting: Output | None = None
        self._is_started = False
        self._theirs: list[int] = []
        if terminal:
            self.stdio = (-1, -1, -1)
            return
        stdin, *outputs = -1, os.pipe2(os.O_CLOEXEC), os.pipe2(os.O_CLOEXEC)
        if keeps_input:
            stdin, self._input = os.pipe2(os.O_CLOEXEC)
            os.set_blocking(self._input, False)
        else:
            stdin = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        for stream, (ours, _) in enumerate(outputs, 1):
            os.set_blocking(ours, False)
            self._outputs[ours] = stream
        self.stdio = (stdin, outputs[0][1], outputs[1][1])
        self._theirs = list(self.stdio)

    def started(self, terminal: int = -1) -> None:
        """The process runs, on its pipes or on this terminal (the master's descriptor, ours from now on)."""
        if terminal >= 0:
            os.set_blocking(terminal, False)
            self._outputs[terminal] = 1
            self._input = terminal
        self._let_go()
        self._is_started = True
        self._update()

    def not_started(self) -> None:
        """It never ran: whatever is in the pipes is not its."""
        self._let_go()
        for fd in self._outputs:
            os.close(fd)
        if self._input >= 0 and self._input not in self._outputs:
            os.close(self._input)
        self._outputs.clear()
        self._input = -1

    def ended(self) -> None:
        """The process has ended.  What it left in its pipes is little, and read whoever has room or not."""
        self._has_ended = True
        self._close_input()
        self._update()

    def abandon(self) -> None:
        """Read no more: somebody else has kept the streams."""
        for fd in list(self._outputs):
            self._end_of(fd)

    def attach(self, connection: Connection, *, stdin: bool, stdout: bool, stderr: bool) -> None:
        """One more reader, or writer, or both."""
        self._readers[connection] = (stdout, stderr)
        connection.on_room = self._update
        connection.on_close = lambda: self._gone(connection)
        connection.on_frame = lambda kind, content: self._frame(connection, kind, content)
        if stdin:
            self._writers.add(connection)
        if not connection.is_open:
            self._gone(connection)

    def collect(self, output: Output) -> None:
        """Have everything kept."""
        self._collecting = output

    def end_readers(self, code: int) -> None:
        """Tell everybody how it ended, and close when they know."""
        for connection in list(self._readers):
            connection.send(protocol.message(protocol.ENDED, {"code": code}))
            connection.hold(reading=True)  # to see him go
            connection.on_frame = lambda *_: None
            connection.finish()

    def resize(self, rows: int, columns: int) -> None:
        """The terminal's new size; nothing where there is none."""
        if self.terminal and self._input >= 0:
            size = struct.pack("HHHH", rows & 0xFFFF, columns & 0xFFFF, 0, 0)
            fcntl.ioctl(self._input, termios.TIOCSWINSZ, size)

    def _let_go(self) -> None:
        for fd in self._theirs:
            os.close(fd)
        self._theirs = []

    def _update(self) -> None:
        """Look at the outputs if there is room for what they have."""
        if not self._is_started:
            return
        left = self._has_ended and self._may_be_left > 0
        reads = READ if left or not any(each.is_full for each in self._readers) else 0
        for fd in list(self._outputs):
            writes = WRITE if fd == self._input and self._pending else 0
            self._loop.watch(fd, reads | writes, lambda events, fd=fd: self._ready(fd, events))  # type: ignore[misc]
        if self._input >= 0 and self._input not in self._outputs:
            self._loop.watch(self._input, WRITE if self._pending else 0, lambda _: self._write())
        if not self._outputs:
            self.drained.set(None)

    def _ready(self, fd: int, events: int) -> None:
        if events & WRITE:
            self._write()
        if events & READ and fd in self._outputs:
            self._read(fd)

    def _read(self, fd: int) -> None:
        try:
            data = os.read(fd, _CHUNK)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.EIO:  # a terminal that nobody has open any more
                raise
            data = b""
        if not data:
            self._end_of(fd)
            return
        stream = self._outputs[fd]
        if self._log is not None:
            self._log.write(stream, data)
        framed = protocol.frame(stream, data)
        if self._collecting is not None:
            self._collecting.send(framed)
        full = False
        if self._has_ended:
            self._may_be_left -= len(data)
        for connection, wanted in list(self._readers.items()):
            # With a terminal there is one stream, for whoever wants either.
            if wanted[stream - 1] or (self.terminal and wanted[1]):
                connection.send(framed)
                full = full or connection.is_full
        if full:
            self._update()

    def _end_of(self, fd: int) -> None:
        self._loop.watch(fd, 0, lambda _: None)
        del self._outputs[fd]
        if fd == self._input:
            self._input = -1
        os.close(fd)
        if not self._outputs:
            self._close_input()
            self.drained.set(None)

    def _frame(self, connection: Connection, kind: int, content: bytes) -> None:
        if kind == protocol.STDIN:
            if connection in self._writers and self._input >= 0 and not self._closing:
                self._pending += content
                self._write()
        elif kind == protocol.CLOSE_INPUT:
            self._end_of_input(connection)
        elif kind == protocol.RESIZE:
            size = protocol.parsed(content)
            self.resize(protocol.number(size, "rows"), protocol.number(size, "columns"))
        else:
            raise protocol.BadFrame(f"a frame of kind {kind} in a stream")

    def _end_of_input(self, connection: Connection) -> None:
        if connection in self._writers:
            self._writers.discard(connection)
            if self._once and not self.terminal:
                self._closing = True
                self._write()

    def _gone(self, connection: Connection) -> None:
        self._end_of_input(connection)
        self._readers.pop(connection, None)
        self._update()

    def _write(self) -> None:
        while self._pending and self._input >= 0:
            try:
                written = os.write(self._input, memoryview(self._pending)[:_CHUNK])
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno not in (errno.EPIPE, errno.EIO):
                    raise
                self._close_input()  # it reads no more
                break
            del self._pending[:written]
        if self._closing and not self._pending:
            self._close_input()
        for connection in self._writers:
            connection.hold(reading=len(self._pending) < _MOST_INPUT)
        self._update()

    def _close_input(self) -> None:
        self._pending.clear()
        if self._input >= 0 and self._input not in self._outputs:
            self._loop.watch(self._input, 0, lambda _: None)
            os.close(self._input)
            self._input = -1
        for connection in self._writers:
            connection.hold(reading=True)
