"""System call filters that a runtime has compiled before, kept so that it need not do so again.

Compiling a profile takes the runtime 25 ms, three times what all else it does for a container takes, and gives the same
program each time.  crun leaves that program beside the container's state, and takes one from an annotation; runc knows
neither, and compiles.
Source: crun(1), run.oci.seccomp_bpf_data; seccomp(2).
"""

from __future__ import annotations

import contextlib
import json
import os
import zlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDER = "filters"
"""In the data root."""
ANNOTATION = "run.oci.seccomp_bpf_data"
_COMPILED = "seccomp.bpf"
"""Where crun leaves the program, in the folder of a container's state."""
_MOST = 64
"""Filters kept: profiles are few, unless somebody makes one for each container."""
_INSTRUCTION_BYTES = 8


class Filter:
    """The compiled form of `rules`, the runtime-spec's `seccomp`, for the runtime at `path`.

    `program` is it, b"" where it is not known yet.  A file that is not whole, or another's, is none.
    """

    def __init__(self, root: str, rules: Mapping[str, object], path: str) -> None:
        found = os.stat(path)
        key = [rules, path, found.st_size, found.st_mtime_ns, os.uname().release]
        self._key = json.dumps(key, sort_keys=True).encode()
        self._folder = f"{root}/{FOLDER}"
        self._path = f"{self._folder}/{zlib.crc32(self._key):08x}"
        self.program = self._read()

    def keep(self, state: str) -> None:
        """Keep the program that the runtime has made for a container, which runs; `state` is the folder of its state.

        What cannot be kept is compiled again the next time.
        """
        with contextlib.suppress(OSError):
            with open(f"{state}/{_COMPILED}", "rb") as file:
                program = file.read()
            if program and len(program) % _INSTRUCTION_BYTES == 0:
                os.makedirs(self._folder, mode=0o700, exist_ok=True)
                self._make_room()
                new = f"{self._path}.{os.getpid()}"
                with open(new, "wb") as file:
                    file.write(b"\n".join((self._sum(program), self._key, program)))
                os.replace(new, self._path)

    def _read(self) -> bytes:
        try:
            with open(self._path, "rb") as file:
                found, key, program = file.read().split(b"\n", 2)
        except (OSError, ValueError):
            return b""
        return program if key == self._key and found == self._sum(program) else b""

    def _sum(self, program: bytes) -> bytes:
        # After a crash of the machine a file that nobody has synchronised may have its size and not its bytes.
        return f"{zlib.crc32(program, zlib.crc32(self._key)):08x}".encode()

    def _make_room(self) -> None:
        names = os.listdir(self._folder)
        if len(names) >= _MOST:
            for name in names:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(f"{self._folder}/{name}")
