"""A terminal joined to a container: what is typed goes in, what is printed comes out, until it ends or is let go.

Sources: docker/cli cli/command/container/hijack.go, signals.go; moby/term ascii.go, proxy.go.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
from collections.abc import Callable, Iterator, Sequence

from veneer.errors import InvalidRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TextIO

    from veneer.run.monitor.stream import Stream

DETACH_KEYS = "ctrl-p,ctrl-q"
_CHUNK = 32 << 10
_NOT_PASSED_ON = {signal.SIGCHLD, signal.SIGPIPE, signal.SIGURG, signal.SIGWINCH, signal.SIGTTIN, signal.SIGTTOU,
                  signal.SIGTSTP, signal.SIGCONT, signal.SIGKILL, signal.SIGSTOP}  # fmt: skip
_CONTROLS = {"@": 0, "[": 27, "\\": 28, "]": 29, "^": 30, "_": 31}


class InvalidDetachKeys(InvalidRequest):
    """Keys that nobody can type."""


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
    and the detach keys are looked for.  `proxy` gets the signals that are sent to us.  Raises Detached, MonitorGone.
    """
    keys = Keys(parsed_keys(detach_keys or DETACH_KEYS)) if tty and stdin is not None else None
    out.flush()
    with contextlib.ExitStack() as stack:
        raw = stdin is not None and tty and os.isatty(stdin)
        if raw and stdin is not None:
            stack.enter_context(_raw(stdin))
        signals = stack.enter_context(_signals(tty=tty, proxy=proxy is not None and not tty))
        if tty:
            _tell_size(stream)
        return _loop(stream, _Ends(out, err), stdin, keys, signals, proxy)


class _Ends:
    """Where the two streams of output go."""

    def __init__(self, out: TextIO, err: TextIO) -> None:
        self._buffers: dict[int, Any] = {1: out.buffer, 2: err.buffer}

    def write(self, number: int, data: bytes) -> None:
        buffer = self._buffers[number]
        buffer.write(data)
        buffer.flush()


def _loop(
    stream: Stream,
    ends: _Ends,
    stdin: int | None,
    keys: Keys | None,
    signals: int,
    proxy: Callable[[int], object] | None,
) -> int:
    from veneer.run.monitor.stream import Ended

    while True:
        # Nothing more is read from us while the container has not taken what was.
        reading = [stream.fileno(), signals, *([stdin] if stdin is not None and not stream.wants_write else [])]
        ready, _, _ = select.select(reading, [stream.fileno()] if stream.wants_write else [], [])
        if signals in ready:
            for number in os.read(signals, 64):
                if number == signal.SIGWINCH:
                    _tell_size(stream)
                elif proxy is not None:
                    proxy(number)
        stream.flush()
        while (found := stream.read(wait=False)) is not None:
            if isinstance(found, Ended):
                return found.code
            ends.write(*found)
        if stdin is not None and stdin in ready:
            data = os.read(stdin, _CHUNK)
            if not data:
                stream.close_input()
                stdin = None
            elif passed := keys.passed(data) if keys is not None else data:
                stream.write(passed)


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


@contextlib.contextmanager
def _raw(fd: int) -> Iterator[None]:
    """The terminal passes everything on as it is typed, for this `with`."""
    import termios
    import tty

    before = termios.tcgetattr(fd)
    try:
        tty.setraw(fd, termios.TCSANOW)
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


@contextlib.contextmanager
def _signals(*, tty: bool, proxy: bool) -> Iterator[int]:
    """A descriptor from which the numbers of the signals sent to us can be read, a byte each."""
    reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    wanted: Sequence[signal.Signals] = [signal.SIGWINCH] if tty else []
    if proxy:
        wanted = [*wanted, *(each for each in signal.Signals if each not in _NOT_PASSED_ON and each < signal.SIGRTMIN)]

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
