"""The steps that touch files: WORKDIR here, RUN in running/, COPY and ADD in files.py."""

from __future__ import annotations

import contextlib
import errno
import os
import posixpath
from collections.abc import Iterator

from veneer.build import classic
from veneer.build import state as s
from veneer.build.caching.cache import facts_of
from veneer.build.language import instructions as i

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.build.stage import StageRun
    from veneer.oci.digest import ChainID
    from veneer.store.drafts import Draft
    from veneer.store.layers import Layer


def perform(stage: StageRun, instruction: i.Instruction) -> bool:
    """Do one step, its words resolved; whether the cache had it."""
    if isinstance(instruction, i.Workdir):
        return _workdir(stage, instruction)
    if isinstance(instruction, i.Run):
        from veneer.build.running.step import run

        return run(stage, instruction)
    assert isinstance(instruction, i.Copy), instruction.keyword
    from veneer.build.files import copy

    return copy(stage, instruction)


PATIENCE = 10.0
"""Seconds' worth of steps that are not in the store while the next is done: to wait for their rows is to wait until the
disk has all the files copied before.  So much is done again after a build that was killed; one that fails keeps it."""


@contextlib.contextmanager
def drafted(stage: StageRun) -> Iterator[Draft]:
    """A layer to write, on the file system so far.  Steps that have waited for PATIENCE are written first, for this may
    take long."""
    stage.flush(waiting=PATIENCE)
    with stage.store.layers.draft(stage.session.lease, stage.top) as draft:
        yield draft


def measured(stage: StageRun, draft: Draft) -> Layer | None:
    """The layer of a draft that was written to by others; None if they changed nothing."""
    if stage.session.request.rewrite_timestamp:
        _clamped(stage, draft)
    packed = draft.measure()
    return draft.publish(packed, standalone=False) if packed.entries else None


def _clamped(stage: StageRun, draft: Draft) -> None:
    from veneer.build.times import clamp

    clamp(draft, stage.session.created_ns())


def _workdir(stage: StageRun, instruction: i.Workdir) -> bool:
    stage.state, comment = s.workdir(stage.state, instruction)
    command = classic.noop_files(stage.state.run.shell, comment)
    facts = facts_of("WORKDIR", stage.state.run, command, stage.platform)
    if stage.found(facts):
        return True
    if not stage.session.request.dry_run:
        stage.make(command, facts, _directory(stage, posixpath.normpath(stage.state.run.working_dir)))
    return False


def _directory(stage: StageRun, path: str) -> Layer | None:
    """Have a directory in the file system; the layer that makes it, None if it is there."""
    from veneer.drivers.mount import opened

    if stage.top is not None and _is_there(stage, stage.top, path):
        return None
    with drafted(stage) as draft:
        with opened(draft.mounts()) as root:
            make_directories(root, path)
        if stage.session.is_dated:
            from veneer.build.times import date

            date(draft, stage.session.created_ns())
        return measured(stage, draft)


def _is_there(stage: StageRun, top: ChainID, path: str) -> bool:
    from veneer.changeset.syscalls import RESOLVE_IN_ROOT, openat2
    from veneer.drivers.mount import opened

    with opened(stage.store.layers.mounts(top)) as root:
        try:
            os.close(openat2(root, os.fsencode(path), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, RESOLVE_IN_ROOT))
        except OSError as error:
            if error.errno == errno.ENOENT:
                return False
            raise _cannot_make(path, error) from error
        return True


def _cannot_make(path: str, error: OSError) -> s.InvalidStep:
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return s.InvalidStep(f"cannot mkdir: {path} is not a directory", hint="a file stands in its way")
    return s.InvalidStep(f"cannot mkdir {path}: {error.strerror}")


def make_directories(root: int, path: str) -> None:
    """`mkdir -p` inside the tree at the descriptor `root`, links followed in it.

    New directories are root's, with mode 0755.  Raises InvalidStep.
    """
    from veneer.changeset.syscalls import RESOLVE_IN_ROOT, openat2

    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    parts = [part for part in path.split("/") if part not in ("", ".")]
    with contextlib.ExitStack() as stack:
        here = root
        for count in range(1, len(parts) + 1):
            prefix = os.fsencode("/".join(parts[:count]))
            try:
                here = openat2(root, prefix, flags, RESOLVE_IN_ROOT)
            except FileNotFoundError:
                try:
                    os.mkdir(parts[count - 1], 0o755, dir_fd=here)
                    here = openat2(root, prefix, flags, RESOLVE_IN_ROOT)
                    # Below a directory with set-group-ID the kernel gave it that one's group.
                    os.fchown(here, 0, 0)
                    os.fchmod(here, 0o755)
                except OSError as error:
                    raise _cannot_make(path, error) from error
            except OSError as error:
                raise _cannot_make(path, error) from error
            stack.callback(os.close, here)
