"""fuse-overlayfs: overlay2's layers, stacked by a program where the kernel's overlay cannot be had.

On disk as overlay2, in ROOT/fuse-overlayfs.  The mount is the kernel's FUSE, made here, so that it can be made before
it has a place; the program is given its device and serves it until the mount is gone, whoever started it.
Source: fuse-overlayfs(1); libfuse 3 for a device as /dev/fd/N.
"""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from veneer.drivers.driver import STACKS_NOTHING, SnapshotID, Support
from veneer.drivers.mount import Mount, MountFailed, MountUnsupported, TooManyLayers, mounted, open_layer
from veneer.drivers.overlay2 import Overlay2
from veneer.errors import VeneerError
from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

    from veneer.changeset.pack import Packed

PROGRAM = "fuse-overlayfs"
_OPTIONS = ("rootmode=40755", "user_id=0", "group_id=0", "default_permissions", "allow_other")
_USABLE = "FUSE, served by the program fuse-overlayfs"


class FuseOverlayfs(Overlay2):
    """A union by the program fuse-overlayfs.  `root` is ROOT/fuse-overlayfs."""

    name = "fuse-overlayfs"

    @property
    def status(self) -> list[tuple[str, str]]:
        """What holds the layers; nothing of what the kernel's overlay can do, which is not asked."""
        from veneer.drivers.mount import filesystem_of

        return [("Backing Filesystem", filesystem_of(self.root)), ("Native Overlay Diff", "false")]

    def probe(self) -> Support:
        """Whether the program is here and a mount that it serves can be written to."""
        import shutil

        if shutil.which(PROGRAM) is None:
            return Support(False, f"the program {PROGRAM} is not installed")
        try:
            os.close(_device())
            self.root.mkdir(mode=0o710, parents=True, exist_ok=True)
            note, key = self.root / ".probed", f"{os.uname().release} {os.stat(self.root).st_dev} {os.geteuid()}\n"
            with contextlib.suppress(FileNotFoundError):
                if note.read_text() == key:
                    return Support(True, _USABLE)
            reason = self._tried()
            if not reason:
                note.write_text(key)
        except (OSError, VeneerError) as error:
            reason = f"{PROGRAM} cannot mount at {self.root}: {error}"
        return Support(not reason, reason or _USABLE)

    def mounts(
        self, snapshot: SnapshotID | None, lowers: Sequence[SnapshotID], *, readonly: bool = False
    ) -> Sequence[Mount]:
        from veneer.drivers import treecopy

        below = list(dict.fromkeys(self._directories(lowers)))
        if len(below) > self.max_lowers:
            raise TooManyLayers(
                f"{self.name} can stand on {self.max_lowers} layers, not on {len(below)}",
                hint=STACKS_NOTHING,
            )
        if snapshot is None and not below:
            return [Mount.bind(treecopy.empty(self.root), readonly=True)]
        if snapshot is None or readonly:
            return [self._union([*self._directories([snapshot] if snapshot is not None else []), *below])]
        folder = self._folder(snapshot)
        if not below:
            return [Mount.bind(folder / "diff")]
        return [self._union(below, folder / "diff", folder / "work")]

    def diff(
        self,
        snapshot: SnapshotID,
        lowers: Sequence[SnapshotID],
        out: BinaryIO,
        *,
        index: BinaryIO | None = None,
    ) -> Packed:
        """By looking at both trees: the program has spellings of its own for what a layer deletes and hides."""
        from veneer.changeset.pack import pack_difference
        from veneer.drivers import fuse_copy_up
        from veneer.drivers.mount import opened

        if not lowers:
            return super().diff(snapshot, lowers, out, index=index)
        folder, below_it = self._folder(snapshot), self._directories(lowers)
        with _unless_readonly():
            fuse_copy_up.settle(folder / "diff", folder / "work", below_it, ended=False)
        untouched = range(os.stat(self._folder(snapshot)).st_ctime_ns)
        with opened(self.mounts(None, lowers)) as below, opened(self.mounts(snapshot, lowers, readonly=True)) as merged:
            return pack_difference(below, merged, out, index=index, untouched=untouched)

    def commit(self, snapshot: SnapshotID) -> None:
        """A lower is a directory that nobody writes to; what of it the program cannot copy up is found now."""
        from veneer.drivers import fuse_copy_up

        folder = self._folder(snapshot)
        fuse_copy_up.settle(folder / "diff", folder / "work")
        fuse_copy_up.note(folder / "diff")

    def _union(self, lowers: Sequence[str], upper: Path | None = None, work: Path | None = None) -> Mount:
        return Mount(
            "fuse",
            PROGRAM,
            _OPTIONS,
            tuple(lowers),
            upper,
            work,
            upper is None,
            keeper=Server(self.root, upper, work, tuple(lowers)),
        )

    def _tried(self) -> str:
        """What goes wrong in a small union; "" if nothing does."""
        from veneer.drivers import treecopy
        from veneer.drivers.driver import new_snapshot_id

        with tempfile.TemporaryDirectory(dir=self.root, prefix=".probe-") as name:
            trial, target = FuseOverlayfs(f"{name}/fuse-overlayfs"), Path(name, "target")
            target.mkdir()
            lower, upper = new_snapshot_id(), new_snapshot_id()
            directory = trial.create(lower, []) / "directory"
            directory.mkdir()
            (directory / "file").touch()
            trial.create(upper, [lower])
            try:
                with mounted(trial.mounts(upper, [lower]), target):
                    treecopy.delete_tree(target / "directory")
                    (target / "directory").mkdir()
                    if os.listdir(target / "directory"):
                        return "a directory that was deleted and made again shows what was in it"
            finally:
                treecopy.delete_tree(Path(name, "fuse-overlayfs"))
        return ""


class Server(Value):
    """The keeper of such a mount: starts the program, and puts right what that did in `upper` when it has ended.

    `root` is the folder all layers are in.
    """

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

        Raises LayerMissing, MountUnsupported, MountFailed.
        """
        own = [str(path) for path in (mount.upper, mount.work) if path is not None]
        for each in (*mount.lowers, *own):
            os.close(open_layer(each))
        if mount.upper is not None and mount.work is not None:
            _prepare(mount.upper, mount.work, mount.lowers)
        device = _device()
        try:
            yield mount.replaced(options=(f"fd={device}", *mount.options))
            self._start(device, mount)
        finally:
            os.close(device)

    def ended(self) -> None:
        """The program sees by itself that the mount is gone; what it copied up is put right."""
        from veneer.drivers import fuse_copy_up

        if self.upper is not None and self.work is not None:
            fuse_copy_up.settle(self.upper, self.work, self.lowers)

    def _start(self, device: int, mount: Mount) -> None:
        import subprocess

        # Below the root all names are ours: nothing in them has to be escaped, and they are short.
        options = ["lowerdir=" + ":".join(self._name(lower) for lower in mount.lowers)]
        if mount.upper is not None and mount.work is not None:
            options += [f"upperdir={self._name(mount.upper)}", f"workdir={self._name(mount.work)}"]
        try:
            done = subprocess.run(
                [PROGRAM, "-o", ",".join(options), f"/dev/fd/{device}"],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False,
                cwd=self.root, pass_fds=[device], start_new_session=True,
            )  # fmt: skip
        except FileNotFoundError as error:
            raise MountUnsupported(
                f"the program {PROGRAM} is not installed",
                hint="apt-get install fuse-overlayfs, or use --storage-driver vfs",
            ) from error
        if done.returncode:
            said = done.stderr.decode(errors="backslashreplace").strip()
            raise MountFailed(f"{PROGRAM} did not start: {said[-2000:] or done.returncode}")

    def _name(self, layer: str | Path) -> str:
        return os.path.relpath(layer, self.root)


def _prepare(upper: Path, work: Path, lowers: Sequence[str]) -> None:
    from veneer.drivers import fuse_copy_up

    try:
        fuse_copy_up.settle(upper, work, lowers)
        fuse_copy_up.copy_up(upper, work, lowers)
    except OSError as error:
        raise MountFailed(f"what {PROGRAM} cannot copy up was not copied to {upper}: {error}") from error


@contextlib.contextmanager
def _unless_readonly() -> Iterator[None]:
    """A data root that cannot be written to is looked at as it is."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.EROFS:
            raise


def _device() -> int:
    try:
        return os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise MountUnsupported(
            f"cannot open /dev/fuse: {(error.strerror or '').lower()}",
            hint="modprobe fuse; the user must be let write to it",
        ) from error
