"""Mounts performed and undone; the values that describe them are in mount_value.py.

A driver says *what* would have to be mounted; `mounted` does it.  The new mount API is used where the kernel has
it: the mount is built completely while detached and attached in one step, so a process that dies in between leaves
nothing, and layers are handed over as descriptors, so neither their number nor their names meet a page of options.
mount(2) is the way on older kernels, under the page's limit by all means: past it the kernel silently loses layers.
Sources: Linux Documentation/filesystems/overlayfs.rst, mount(2), fsconfig(2).
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from veneer.config import mount_outside
from veneer.drivers import mount_syscalls as sys_mount
from veneer.drivers.mount_value import Keeper, Mount, TooManyLayers
from veneer.errors import Conflict, NotFound, Unavailable, Unsupported

__all__ = [
    "Keeper", "LayerMissing", "Mount", "MountBusy", "MountFailed", "MountUnsupported", "NotMounted", "TooManyLayers",
    "attach", "explained", "filesystem_of", "mounted", "open_layer", "opened", "unique_mount_id", "unmount",
]  # fmt: skip


_WHERE_OTHER_OWNERS = "the machine's root can have it so, by overlay or vfs: Linux 6.15; ext4, xfs, btrfs or tmpfs"
_LONGEST_NAME = 255
"""Bytes of a string that fsconfig takes."""
_CHECK = "veneer system check --repair makes it anew, or says how"


class MountUnsupported(Unsupported):
    """This kernel, this user or this file system cannot make the mount."""


class MountFailed(Unavailable):
    """The mount should work here but did not this time."""


class LayerMissing(NotFound):
    """A directory the mount needs is not there."""


class NotMounted(NotFound):
    """Nothing is mounted at the path."""


class MountBusy(Conflict):
    """Somebody still uses what lies under the mount point."""


class _OldKernel(Exception):
    """The new mount API, or overlay's part of it, is not here; mount(2) has to do."""


def attach(mounts: Sequence[Mount], target: Path) -> None:
    """Mount `mounts` one over the other at the directory `target`; all of them or, on an error, none."""
    done = 0
    try:
        for mount in mounts:
            _attach_one(mount, target)
            done += 1
    except BaseException:
        for mount in reversed(mounts[:done]):
            unmount(target, lazy=True)
            _ended(mount)
        raise


def unmount(target: Path, *, lazy: bool = False) -> None:
    """Undo the topmost mount at `target`; `lazy` takes it out of sight now and ends it when its last user goes.

    Raises NotMounted, and MountBusy when something below `target` is in use and `lazy` was not asked for.
    """
    try:
        sys_mount.umount2(os.fsencode(target), sys_mount.UMOUNT_NOFOLLOW | (sys_mount.MNT_DETACH if lazy else 0))
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOENT):
            raise NotMounted(f"nothing is mounted at {target}") from error
        if error.errno == errno.EBUSY:
            raise MountBusy(f"{target} is still in use", hint=f"find the process with: fuser -vm {target}") from error
        raise MountFailed(f"cannot unmount {target}: {error.strerror}") from error


@contextlib.contextmanager
def mounted(mounts: Sequence[Mount], target: Path, *, lazy: bool = False) -> Iterator[Path]:
    """`target` with `mounts` on it, for as long as the block lasts; `lazy` is as for `unmount`.

    When the block ends by an exception and the mount is busy (a file of it may be held by the traceback itself),
    it is detached lazily: a mount never outlives its block.
    """
    attach(mounts, target)
    try:
        yield target
    except BaseException:
        for mount in reversed(mounts):
            try:
                unmount(target, lazy=lazy)
            except MountBusy:
                unmount(target, lazy=True)
            _ended(mount)
        raise
    for mount in reversed(mounts):
        unmount(target, lazy=lazy)
        _ended(mount)


@contextlib.contextmanager
def opened(mounts: Sequence[Mount]) -> Iterator[int]:
    """A descriptor of the root directory of `mounts` (exactly one), mounted nowhere: for reading a tree in passing."""
    [mount] = mounts
    if mount.type == "bind":
        # Reading through a mount of a directory and reading the directory are the same, and this needs no privileges.
        root = os.open(mount.source, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield root
        finally:
            os.close(root)
        return
    try:
        detached = _detached(mount)
    except _OldKernel:
        _require_own_ids(mount)
        with _opened_by_mount_point(mount) as root:
            yield root
        return
    try:
        # Kept open as well: of a mount that is in no namespace the kernel takes every look through a link for a change
        # of mounts, and openat2 is told to try again for ever where a link leads upwards.
        try:
            root = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=detached)
            try:
                yield root
            finally:
                os.close(root)
        finally:
            os.close(detached)
    finally:
        _ended(mount)


@contextlib.contextmanager
def _opened_by_mount_point(mount: Mount) -> Iterator[int]:
    import tempfile

    with tempfile.TemporaryDirectory(prefix="veneer-view-") as folder, mounted([mount], Path(folder), lazy=True):
        root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield root
        finally:
            os.close(root)


def unique_mount_id(path: Path) -> int:
    """Which mount `path` lies on; see mount_syscalls.mount_id.  With the boot ID it tells two file systems apart."""
    from veneer.drivers.userns import outside_root

    # In a mount namespace of its own every process would see another number.
    if (outside := outside_root()) >= 0:
        return sys_mount.mount_id(os.fsencode(os.path.realpath(path)).lstrip(b"/") or b".", outside)
    return mount_outside(sys_mount.mount_id(os.fsencode(path)))


def filesystem_of(path: Path) -> str:
    """The type of the file system `path` lies on ("ext4", "overlay"), "unknown" if the kernel does not list it."""
    device = os.stat(path).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
        for line in table:
            fields = line.split()
            if fields[2] == wanted:
                return fields[fields.index("-") + 1]
    return "unknown"


def _attach_one(mount: Mount, target: Path) -> None:
    try:
        detached = _detached(mount)
    except _OldKernel:
        _require_own_ids(mount)
        from veneer.drivers import mount_legacy

        with contextlib.ExitStack() as undone:
            with _made(mount) as ready:
                mount_legacy.attach(ready, target)
                undone.callback(unmount, target, lazy=True)  # should its keeper fail now: a server may not start
            undone.pop_all()
        return
    try:
        try:
            sys_mount.move_mount(detached, os.fsencode(target))
        finally:
            os.close(detached)  # an open one would keep the mount busy
    except BaseException as error:
        _ended(mount)
        if isinstance(error, OSError):
            raise explained(mount, error, f"at {target}") from error
        raise


def _made(mount: Mount) -> contextlib.AbstractContextManager[Mount]:
    return contextlib.nullcontext(mount) if mount.keeper is None else mount.keeper.making(mount)


def _ended(mount: Mount) -> None:
    if mount.keeper is not None:
        mount.keeper.ended()


def _require_own_ids(mount: Mount) -> None:
    if mount.ids:
        raise MountUnsupported(f"a mount by {mount.type} cannot show other owners here", hint=_WHERE_OTHER_OWNERS)


def _detached(mount: Mount) -> int:
    if mount.type not in ("bind", "overlay"):
        _require_own_ids(mount)
    if mount.type == "bind":
        return _detached_bind(mount)
    if mount.type == "aufs":
        raise _OldKernel  # it was never part of the kernel, and knows mount(2) alone
    with contextlib.ExitStack() as undone:
        with _made(mount) as ready:
            detached = _detached_filesystem(ready)
            undone.callback(os.close, detached)
        undone.pop_all()
        return detached


def _detached_bind(mount: Mount) -> int:
    if mount.ids:
        return _detached_bind_of_others(mount)
    try:
        tree = sys_mount.open_tree_clone(os.fsencode(mount.source))
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.EPERM):
            raise _OldKernel from error
        if error.errno == errno.ENOENT:
            raise LayerMissing(f"layer directory {mount.source} is missing", hint=_CHECK) from error
        raise explained(mount, error) from error
    try:
        # A clone of a shared mount is its peer: what a container mounts inside would show up in the layer itself.
        attributes = sys_mount.MOUNT_ATTR_RDONLY if mount.readonly else 0
        sys_mount.mount_setattr(tree, set_attributes=attributes, propagation=sys_mount.MS_PRIVATE)
    except OSError as error:
        os.close(tree)
        if error.errno == errno.ENOSYS:
            raise _OldKernel from error
        raise explained(mount, error) from error
    return tree


def _detached_bind_of_others(mount: Mount) -> int:
    from veneer.drivers import idmap

    try:
        with idmap.user_namespace(mount.ids) as namespace:
            return idmap.clone(Path(mount.source), namespace, readonly=mount.readonly)
    except OSError as error:
        raise explained(mount, error) from error


def _detached_filesystem(mount: Mount) -> int:
    try:
        context = sys_mount.fsopen(mount.type)
    except OSError as error:
        # EPERM too: a seccomp filter older than the call answers so, and mount(2) may still be allowed.
        if error.errno in (errno.ENOSYS, errno.EPERM):
            raise _OldKernel from error
        raise explained(mount, error) from error
    try:
        _configure(context, mount)
        return sys_mount.fsmount(context, sys_mount.MOUNT_ATTR_RDONLY if mount.readonly else 0)
    except OSError as error:
        raise explained(mount, error, log=sys_mount.context_log(context)) from error
    finally:
        os.close(context)


def _configure(context: int, mount: Mount) -> None:
    with contextlib.ExitStack() as held:
        if mount.ids:
            from veneer.drivers import idmap

            idmap.configure_layers(context, mount, held)
        else:
            _configure_layers(context, mount, held)
        for option in mount.options:
            key, equals, value = option.partition("=")
            if equals:
                sys_mount.fsconfig(context, sys_mount.SET_STRING, key, os.fsencode(value))
            else:
                sys_mount.fsconfig(context, sys_mount.SET_FLAG, key)
        sys_mount.fsconfig(context, sys_mount.CMD_CREATE)


def _configure_layers(context: int, mount: Mount, held: contextlib.ExitStack) -> None:
    sys_mount.fsconfig(context, sys_mount.SET_STRING, "source", os.fsencode(mount.source))
    if mount.type != "overlay":
        return
    for number, lower in enumerate(mount.lowers):
        try:
            if mount.data and os.path.isfile(lower):
                image = detached_image(lower)
                # Closed, it would be gone: the overlay takes it over when it is created.
                held.callback(os.close, image)
                sys_mount.fsconfig(context, sys_mount.SET_FD, "lowerdir+", None, image)
            else:
                _add_layer(context, lower)
        except OSError as error:
            if number == 0 and error.errno == errno.EINVAL and not mount.data:
                raise _OldKernel from error  # `lowerdir+` came with 6.7
            raise
    for directory in mount.data:
        set_layer(context, "datadir+", directory)
    if mount.upper is not None and mount.work is not None:
        set_layer(context, "upperdir", mount.upper)
        set_layer(context, "workdir", mount.work)


def _add_layer(context: int, lower: str) -> None:
    """One more lower directory, by its name where that has a plain spelling, which takes a single call."""
    name = os.fsencode(lower)
    if len(name) <= _LONGEST_NAME and b"\\" not in name:
        try:
            sys_mount.fsconfig(context, sys_mount.SET_STRING, "lowerdir+", name)
            return
        except OSError:
            # By descriptor it is told what the matter is; and what the kernel said of this way is not to be told.
            sys_mount.context_log(context)
    set_layer(context, "lowerdir+", lower)


def set_layer(context: int, key: str, directory: str | Path) -> None:
    """Hand over `directory` by descriptor (6.13), else by the descriptor's short name.

    Whatever its own is: fsconfig refuses strings of more than 255 bytes, and upperdir reads backslashes as escapes.
    """
    layer = open_layer(directory)
    try:
        try:
            sys_mount.fsconfig(context, sys_mount.SET_FD, key, None, layer)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            sys_mount.fsconfig(context, sys_mount.SET_STRING, key, b"/proc/self/fd/%d" % layer)
    finally:
        os.close(layer)


def detached_image(file: str) -> int:
    """An EROFS image mounted nowhere: straight from its file, without a loop device (6.12).

    Raises OSError; MountUnsupported where the file lies on a file system that lets no other be read from its files.
    """
    context = sys_mount.fsopen("erofs")
    try:
        sys_mount.fsconfig(context, sys_mount.SET_STRING, "source", os.fsencode(file))
        sys_mount.fsconfig(context, sys_mount.SET_FLAG, "ro")
        sys_mount.fsconfig(context, sys_mount.CMD_CREATE)
        return sys_mount.fsmount(context, sys_mount.MOUNT_ATTR_RDONLY)
    except OSError as error:
        if error.errno != errno.ENOTBLK:
            raise
        fact = f"the kernel mounts no EROFS image that is a file on {filesystem_of(Path(file))}"
        raise MountUnsupported(fact, hint="choose a data root on ext4, xfs or btrfs, or another driver") from error
    finally:
        os.close(context)


def open_layer(directory: str | Path, how: int = os.O_PATH) -> int:
    """A descriptor of a layer's directory; one of `how` os.O_RDONLY can also be listed by.  Raises LayerMissing."""
    try:
        return os.open(directory, how | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise LayerMissing(f"layer directory {directory} is missing", hint=_CHECK) from error


def explained(mount: Mount, error: OSError, where: str = "", log: str = "") -> MountUnsupported | MountFailed:
    """The error of one failed call in words: what was to be mounted, what the kernel said, what can be done."""
    what = f"{mount.type} mount" + (f" of {mount.source}" if mount.type == "bind" else "")
    what += (" with other owners" if mount.ids else "") + (where and f" {where}")
    said = log or os.strerror(error.errno or 0)
    if error.errno == errno.ENODEV:
        return MountUnsupported(
            f"this kernel has no {mount.type} file system", hint=f"modprobe {mount.type}, or use --storage-driver vfs"
        )
    if mount.ids and error.errno in (errno.EPERM, errno.EACCES, errno.EINVAL, errno.ENOSYS):
        return MountUnsupported(f"{what} is refused: {said}", hint=_WHERE_OTHER_OWNERS)
    if error.errno in (errno.EPERM, errno.EACCES):
        return MountUnsupported(
            f"{what} needs CAP_SYS_ADMIN here: {said}", hint="run as root, or inside a user and mount namespace"
        )
    if error.errno == errno.EINVAL:
        return MountUnsupported(f"the kernel refuses the {what}: {said}", hint="" if log else "dmesg may say more")
    return MountFailed(f"{what} failed: {said}")
