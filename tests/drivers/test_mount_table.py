"""Mounts that are there and served by nobody."""

from __future__ import annotations

import contextlib
import os
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from veneer.drivers import mount_syscalls as kernel
from veneer.drivers.mount_table import is_dead

_INIT, _STATFS = 26, 17


def _asked(device: int) -> tuple[int, int]:
    """What the kernel asks a FUSE server next, and the request's number."""
    request = os.read(device, 1 << 20)
    _, what, number = struct.unpack_from("=IIQ", request)
    return what, number


def _mounted(device: int) -> int:
    """A mount that nobody else sees."""
    context = kernel.fsopen("fuse")
    try:
        for key, value in (("fd", str(device)), ("rootmode", "40000"), ("user_id", "0"), ("group_id", "0")):
            kernel.fsconfig(context, kernel.SET_STRING, key, value.encode())
        kernel.fsconfig(context, kernel.CMD_CREATE)
        return kernel.fsmount(context, 0)
    finally:
        os.close(context)


@pytest.mark.usefixtures("root_only")
@pytest.mark.skipif(not os.path.exists("/dev/fuse"), reason="there is no /dev/fuse")
def test_one_whose_server_ends_while_it_is_asked_is_dead_and_stays_so(tmp_path: Path) -> None:
    assert not is_dead(os.fspath(tmp_path))
    with contextlib.ExitStack() as undone:
        device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        server = undone.enter_context(contextlib.ExitStack())
        server.callback(os.close, device)
        mount = _mounted(device)
        undone.callback(os.close, mount)
        what, number = _asked(device)
        assert what == _INIT
        os.write(device, struct.pack("=IiQ", 80, 0, number) + struct.pack("=4I48x", 7, 31, 0, 0))
        with ThreadPoolExecutor(1) as pool:
            found = pool.submit(is_dead, mount)
            try:
                assert _asked(device)[0] == _STATFS
            finally:
                server.close()
            assert found.result()
        assert is_dead(mount)
