"""Two calls that the standard library has not, or not whole: fallocate with its modes, and names that change places.

Both raise OSError with the kernel's errno.
Sources: fallocate(2), renameat2(2).
"""

from __future__ import annotations

import functools
import os
from typing import Any

_EXCHANGE = 2


@functools.cache
def _libc() -> Any:
    # ctypes costs 5 ms to import, and few mounts see either call.
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    library.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long)
    library.renameat2.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    return library


def _check(result: int) -> None:
    if result:
        import ctypes

        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def fallocate(fd: int, mode: int, offset: int, length: int) -> None:
    """Give a file room, or take it away; `mode` has the kernel's FALLOC_FL_* bits."""
    _check(_libc().fallocate(fd, mode, offset, length))


def exchange(one_folder: int, one: bytes, other_folder: int, other: bytes) -> None:
    """Have two names, each in an open directory, change places at once."""
    _check(_libc().renameat2(one_folder, one, other_folder, other, _EXCHANGE))
