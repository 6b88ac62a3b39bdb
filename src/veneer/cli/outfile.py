"""Where an archive goes: a file that appears whole or not at all, or standard output if that is no terminal."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from veneer.cli.app import App, Failure


@contextlib.contextmanager
def archive_out(app: App, path: str) -> Iterator[BinaryIO]:
    """The stream to write to; `path` "" is standard output.

    A regular file is written beside its name and renamed when it is complete, so that what was there stays until
    then.  Raises Failure for a terminal and for a folder that is not there.
    """
    if not path:
        if app.on_terminal:
            raise Failure("cowardly refusing to save to a terminal. Use the -o flag or redirect")
        yield app.binary_out()
        return
    target = Path(path)
    try:
        special = not stat.S_ISREG(target.stat().st_mode)
    except FileNotFoundError:
        special = False
    if special and target.is_dir():
        raise Failure(f'invalid output path: "{path}" must be a file, not a directory')
    if special:
        with open(target, "wb") as out:
            yield out
        return
    if not target.parent.is_dir():
        raise Failure(f"invalid output path: directory {str(target.parent)!r} does not exist")
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    with ending_when_told():
        try:
            with open(part, "wb") as out:
                yield out
            os.replace(part, target)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(part)
            raise


@contextlib.contextmanager
def ending_when_told() -> Iterator[None]:
    """Let SIGTERM end the command as an exception does, with its clean-up: timeout(1), systemd and CI send it."""
    import signal
    import threading

    def end(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield  # a library's caller has its own signals
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
