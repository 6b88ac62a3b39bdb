"""A mount that the program fuse-overlayfs serves.

The mount is the kernel's FUSE, made here, so that it can be made before it has a place; the program is given its
device and serves it until the mount is gone, whoever started it.
Source: fuse-overlayfs(1); libfuse 3 for a device as /dev/fd/N.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from veneer.drivers.fuse import start
from veneer.drivers.fuse_overlayfs import copy_up, union
from veneer.drivers.mount import Mount, MountFailed, MountUnsupported, open_layer
from veneer.values import Value

NAME = "fuse-overlayfs"
_OF_NO_ACCOUNT = "unknown argument ignored"
"""How the program begins to say that an option is the kernel's and not its own."""


def stack(root: Path, lowers: Sequence[str], folder: Path | None = None) -> Mount:
    """`lowers`, nearest first, below what the snapshot in `folder` has, if one is to be written to.

    `root` is the folder all of them are in.
    """
    upper, work = (folder / "diff", folder / "work") if folder is not None else (None, None)
    keeper = Server(root, upper, work, tuple(lowers))
    return Mount("fuse", NAME, start.OPTIONS, tuple(lowers), upper, work, upper is None, keeper=keeper)


class Server(Value):
    """The keeper of such a mount: starts the program, and puts right what that did in `upper` when it has ended."""

    __slots__ = ()
    root: Path
    upper: Path | None = None
    work: Path | None = None
    lowers: tuple[str, ...] = ()

    @property
    def lasting(self) -> bool:
        """The program ends with the mount, not with who started it."""
        return True

    @contextlib.contextmanager
    def making(self, mount: Mount) -> Iterator[Mount]:
        """The mount with a device of its own; once it is made, the program serves it.

        Raises LayerMissing, MountBusy, MountUnsupported, MountFailed.
        """
        own = [str(path) for path in (mount.upper, mount.work) if path is not None]
        for each in (*mount.lowers, *own):
            os.close(open_layer(each))
        with contextlib.ExitStack() as held:
            given = []
            if mount.upper is not None and mount.work is not None:
                # The program has it as long as it runs, and with it the lock.
                given.append(held.enter_context(union.left(mount.upper.parent)))
                _prepare(mount.upper, mount.work, mount.lowers)
            device = start.opened()
            held.callback(os.close, device)
            yield mount.replaced(options=(f"fd={device}", *mount.options))
            self._start(mount, device, given)

    def ended(self) -> None:
        """The program sees by itself that the mount is gone; what it copied up is put right."""
        if self.upper is not None and self.work is not None:
            copy_up.settle(self.upper, self.work, self.lowers)

    def _start(self, mount: Mount, device: int, given: Sequence[int]) -> None:
        import subprocess

        # Below the root all names are ours: nothing in them has to be escaped, and they are short.
        options = ["lowerdir=" + ":".join(self._name(lower) for lower in mount.lowers)]
        if mount.upper is not None and mount.work is not None:
            options += [f"upperdir={self._name(mount.upper)}", f"workdir={self._name(mount.work)}"]
        try:
            done = subprocess.run(
                [NAME, "-o", ",".join(options), f"/dev/fd/{device}"],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False,
                cwd=self.root, pass_fds=[device, *given], start_new_session=True,
            )  # fmt: skip
        except FileNotFoundError as error:
            raise MountUnsupported(
                f"the program {NAME} is not installed",
                hint="apt-get install fuse-overlayfs, or leave fuse_overlayfs_mounter unset",
            ) from error
        if done.returncode:
            said = done.stderr.decode(errors="backslashreplace").splitlines()
            told = "; ".join(line for line in said if line.strip() and not line.startswith(_OF_NO_ACCOUNT))
            raise MountFailed(f"{NAME} did not start: {told[-2000:] or done.returncode}")

    def _name(self, layer: str | Path) -> str:
        return os.path.relpath(layer, self.root)


def _prepare(upper: Path, work: Path, lowers: Sequence[str]) -> None:
    try:
        copy_up.settle(upper, work, lowers)
        copy_up.copy_up(upper, work, lowers)
    except OSError as error:
        raise MountFailed(f"what {NAME} cannot copy up was not copied to {upper}: {error}") from error
