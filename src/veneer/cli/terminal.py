"""A terminal joined to a container: what is typed goes in, what is printed comes out, until it ends or is let go.

Sources: docker/cli cli/command/container/hijack.go, signals.go; moby/term ascii.go, proxy.go.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import sys
from collections.abc import Callable, Iterator, Sequence

from veneer.cli.app import Failure
from veneer.errors import InvalidRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TextIO

    from veneer.cli.app import App
    from veneer.run.monitor.stream import Stream

DETACH_KEYS = "ctrl-p,ctrl-q"
_CHUNK = 32 << 10
_NOT_PASSED_ON = {signal.SIGCHLD, signal.SIGPIPE, signal.SIGURG, signal.SIGWINCH, signal.SIGTTIN, signal.SIGTTOU,
                  signal.SIGTSTP, signal.SIGCONT, signal.SIGKILL, signal.SIGSTOP}  # fmt: skip
_ENDS_TERMINAL = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGINT)
"""What would end us, and leave the terminal raw.  (The keys that send them go to the container.)"""
_CONTROLS = {"@": 0, "[": 27, "\\": 28, "]": 29, "^": 30, "_": 31}


class InvalidDetachKeys(InvalidRequest):
    """Keys that nobody can type."""


class Terminated(Failure):
    """We were told to end while we had the terminal."""

    def __init__(self, number: int) -> None:
        super().__init__("", 128 + number)


class Detached(Exception):
    """The detach keys were typed: the container goes on."""


def parsed_keys(text: str) -> bytes:
    """`ctrl-p,ctrl-q`, `a,b` as the bytes a terminal sends.  Raises InvalidDetachKeys."""
    made = bytearray()
    for word in text.split(","):
        if len(word) == 1:
            made += word.encode()
            continue
        head, dash, key = word.partition("-")
        code = ord(key) - ord("a") + 1 if len(key) == 1 and "a" <= key <= "z" else _CONTROLS.get(key)
        if head.lower() != "ctrl" or not dash or code is None:
            raise InvalidDetachKeys(f"invalid detach keys ({text}): Unknown character: '{word}'",
                                    hint="as in ctrl-p,ctrl-q or a,b")  # fmt: skip
        made.append(code)
    return bytes(made)


class Keys:
    """Looks for the detach keys in what is typed, wherever the pieces are cut."""

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._seen = 0

    def passed(self, data: bytes) -> bytes:
        """What of `data` is for the container.  Raises Detached."""
        made = bytearray()
        for byte in data:
            if self._keys and byte == self._keys[self._seen]:
                self._seen += 1
                if self._seen == len(self._keys):
                    raise Detached
                continue
            # What looked like the beginning of the keys was not; the container has it after all.
            made += self._keys[: self._seen]
            self._seen = 1 if self._keys and byte == self._keys[0] else 0
            if not self._seen:
                made.append(byte)
        return bytes(made)


def session(
    stream: Stream,
    *,
    out: TextIO,
    err: TextIO,
    stdin: int | None = None,
    tty: bool = False,
    detach_keys: str = DETACH_KEYS,
    proxy: Callable[[int], object] | None = None,
) -> int:
    """Join the stream to our own ones until the container (or the exec) ends; its exit code.

    `stdin` is a descriptor to read from, None for no input.  With `tty` our terminal becomes raw, its size is told,
    and the detach keys are looked for; however we end, it is as before then.  `proxy` gets the signals that are sent
    to us, unless there is a terminal, as with docker.  Raises Detached, Terminated, MonitorGone.
    """
    keys = Keys(parsed_keys(detach_keys or DETACH_KEYS)) if tty and stdin is not None else None
    out.flush()
    with contextlib.ExitStack() as stack:
        # Before the terminal is changed: a signal between the two would leave it so.
        signals = stack.enter_context(_signals(tty=tty, proxy=proxy is not None and not tty))
        terminal = None
        if stdin is not None and tty and os.isatty(stdin):
            terminal = stack.enter_context(_Raw(stdin))
        if tty:
            _tell_size(stream)
        return _loop(stream, _Ends(out, err), stdin, keys, _Signals(signals, stream, terminal, None if tty else proxy))


def proxy_to(app: App, container: str) -> Callable[[int], object]:
    """What passes a signal on to a container that may just have ended."""
    from veneer.errors import Conflict, NotFound

    def passed_on(number: int) -> None:
        with contextlib.suppress(Conflict, NotFound):
            app.engine.containers.kill(container, str(number))

    return passed_on


class _Ends:
    """Where the two streams of output go."""

    def __init__(self, out: TextIO, err: TextIO) -> None:
        self._buffers: dict[int, Any] = {1: out.buffer, 2: err.buffer}

    def write(self, number: int, data: bytes) -> None:
        buffer = self._buffers[number]
        buffer.write(data)
        buffer.flush()


class _Signals:
    """The signals sent to us, and what each means."""

    def __init__(self, fd: int, stream: Stream, terminal: _Raw | None, passes: Callable[[int], object] | None) -> None:
        self.fd = fd
        self._stream = stream
        self._terminal = terminal
        self._passes = passes

    def take(self) -> None:
        """Do what those that came mean.  Raises Terminated."""
        for number in os.read(self.fd, 64):
            if number == signal.SIGWINCH:
                _tell_size(self._stream)
            elif number == signal.SIGCONT:
                # Whoever had the terminal while we stood still has made it what it was.
                if self._terminal is not None:
                    self._terminal.set()
                _tell_size(self._stream)
            elif self._passes:
                self._passes(number)
            else:
                raise Terminated(number)


def _loop(stream: Stream, ends: _Ends, stdin: int | None, keys: Keys | None, signals: _Signals) -> int:
    from veneer.run.monitor.stream import Ended

    while True:
        # Nothing more is read from us while the container has not taken what was.
        reading = [stream.fileno(), signals.fd, *([stdin] if stdin is not None and not stream.wants_write else [])]
        ready, _, _ = select.select(reading, [stream.fileno()] if stream.wants_write else [], [])
        if signals.fd in ready:
            signals.take()
        stream.flush()
        while (found := stream.read(wait=False)) is not None:
            if isinstance(found, Ended):
                return found.code
            ends.write(*found)
        if stdin is not None and stdin in ready:
            data = _input(stdin)
            if not data:
                stream.close_input()
                stdin = None
            elif passed := keys.passed(data) if keys is not None else data:
                stream.write(passed)


def _input(fd: int) -> bytes:
    """What is there to be read; nothing where the terminal was hung up."""
    try:
        return os.read(fd, _CHUNK)
    except OSError as error:
        if error.errno == errno.EIO:
            return b""
        raise


def _tell_size(stream: Stream) -> None:
    rows, columns = size()
    if rows and columns:
        stream.resize(rows, columns)


def size() -> tuple[int, int]:
    """Rows and columns of the terminal that any of our standard streams is; (0, 0) where none is."""
    for fd in (1, 0, 2):
        with contextlib.suppress(OSError):
            found = os.get_terminal_size(fd)
            return found.lines, found.columns
    return 0, 0


class _Raw:
    """A terminal that passes everything on as it is typed, for this `with`."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __enter__(self) -> _Raw:
        import termios

        self._before = termios.tcgetattr(self._fd)
        self.set()
        return self

    def set(self) -> None:
        """Make it so, once more."""
        import termios
        import tty

        tty.setraw(self._fd, termios.TCSANOW)

    def __exit__(self, *_: object) -> None:
        import termios

        with contextlib.suppress(termios.error):  # it was hung up
            termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)


@contextlib.contextmanager
def _signals(*, tty: bool, proxy: bool) -> Iterator[int]:
    """A descriptor from which the numbers of the signals sent to us can be read, a byte each."""
    reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    wanted: Sequence[signal.Signals] = [signal.SIGWINCH, signal.SIGCONT, *_ENDS_TERMINAL] if tty else []
    if proxy:
        wanted = [each for each in signal.Signals if each not in _NOT_PASSED_ON and each < signal.SIGRTMIN]

    def note(number: int, frame: object) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(writing, bytes([number]))

    before = {}
    try:
        for each in wanted:
            with contextlib.suppress(OSError, ValueError):  # some are the thread library's own
                before[each] = signal.signal(each, note)
        yield reading
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
        os.close(reading)
        os.close(writing)


def check_tty(*, stdin: bool, tty: bool) -> None:
    """Raise for a terminal that was asked for where our input is none, in docker's words."""
    if tty and stdin and not sys.stdin.isatty():
        raise NotATerminal("the input device is not a TTY")


class NotATerminal(InvalidRequest):
    """A container with a terminal (-t) is to read (-i) from what is none."""
