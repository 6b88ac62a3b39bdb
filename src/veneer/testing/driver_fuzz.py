"""The driver suite's fuzzer: random work on growing stacks, beside the same work where every layer is a full copy.

Whatever is done in a mount has to have the same outcome in both, to look the same at once and after it was mounted
anew, and to be the same layer, byte for byte.  `--operations` says how many operations to try, `--seed` which story to
begin with.  What a driver is known to do wrong can be left out, and nothing else with it: see Fault.

One thing the kernel's overlay does otherwise than any file system, and the copies have to do it as well.  Of a file
that has several names in the layers below it copies up one name, which is a file of its own from then on, the same in
all else, with its directory's time as it was; the other names stay one file.  Tried out (6.18; with and without
`metacopy` and `redirect_dir`):
  - Whatever opens a name for writing does it, also if nothing is written then; so do truncate, chmod, chown and utime
    that change nothing, setting and removing an attribute, link (the two names that it leaves are one file) and rename.
  - Rename to another name of the same file, which does nothing elsewhere, is done: one name less.  Rename of a name to
    itself does nothing, nor do deleting, replacing and reading a name, nor renaming the directory it is in.
  - What fails copies nothing up, but for an attribute of a kind that nobody knows, which is not tried here.
  - `stat` says the number of the layer's file for the names that were not touched, so they show as one, and how many
    names that has there, copied up or deleted ones too: `facts` does not look at it.
  - A layer has the name that was copied up and what was linked to it, and no word of the names that were not touched;
    so they are one file in the next mount, too.
  - In a user namespace a file that had one name below, was copied up and linked may have two numbers as long as it is
    mounted; there it is the next mount that has to show which names are one file.
So where the driver has done something, and only then, the copies' name is made a copy before the same is done to it.
"""

from __future__ import annotations

import enum
import errno
import os
import stat
from pathlib import Path
from random import Random

import pytest

from veneer.drivers.userns import privileged
from veneer.drivers.vfs import Vfs
from veneer.testing.driver_bench import NOBODY, Bench, DriverFixtures, facts
from veneer.testing.driver_fuzz_work import (
    Operation,
    break_link,
    count_names,
    done,
    is_folder,
    level_times,
    linking,
    listed,
    read,
    remove_all,
    write,
)  # fmt: skip

DEFAULT = 420
"""Operations where nobody says how many: a second or so."""
_LAYERS = 7
_A_STORY = 350
_OF_SEVERAL = 0.1
"""How often an operation is on a file that still has several names in a layer below, if there is one."""
_NAMES = ("a", "b", "c", "d", "long" * 20, "ö", "with space", ".hidden")
_WRITES = ("write ", "overwrite ", "patch ", "append ", "truncate ")
_MOUNTED = "while it is mounted"
_EPOCH = 1_500_000_000


class Fault(enum.Enum):
    """What a driver may be known to do wrong, and how a story then goes around it."""

    SEVERAL_NAMES = "what is written to one name of a file is another's"
    """A file is not changed, moved or linked while it has several names, nor linked if it was there when the layer
    began; it may be read, deleted and replaced.  Which names are one file is looked at when it is mounted anew."""
    MOVED_LINK = "a symbolic link that is moved gets a new owner and a new time"
    """One that was untouched in this layer is given both after it was moved."""
    REPLACED = "what was below a name comes back when what was renamed to that name is deleted at once"
    """The directory is listed after a rename to a name that was there, or in any layer below."""
    REMADE_DIRECTORY = "what was deleted comes back when a directory made in its place is moved"
    """A directory is not moved if its name was in any layer below, and was gone meanwhile."""
    REMADE_NAME = "what was in a directory that was deleted, made again and listed is there for whoever names it"
    """Where both a name and its directory were in any layer below and were gone meanwhile, and the name is still gone,
    nothing is tried with it."""
    SET_ID_KEPT = "in a user namespace a file that is written anew keeps its set-id bits"
    """What was written to is given the mode that it should have."""
    DIRECTORY_TIME = "a directory into which something is copied up, or which takes another's place, gets a new time"
    """Directories are given the times that they should have when a layer is done."""


class FuzzSuite(DriverFixtures):
    """No story makes a difference, but for the driver's `faults`."""

    faults: frozenset[Fault] = frozenset()

    def test_random_work_on_seven_layers_is_what_full_copies_make_of_it(
        self, bench: Bench, tmp_path: Path, request: pytest.FixtureRequest
    ) -> None:
        count = request.config.getoption("--operations", default=None) or DEFAULT
        first = request.config.getoption("--seed", default=None) or 0
        keeps_links = _keeps_links(bench)
        for number in range(-(-count // _A_STORY)):
            copies = Bench(Vfs(tmp_path / f"copies-{number}"), tmp_path)
            story = Story(first + number, bench, copies, keeps_links=keeps_links, faults=self.faults)
            story.tell(min(_A_STORY, count - number * _A_STORY))
            for each in (bench, copies):
                for snapshot in list(each.driver.snapshots()):
                    each.driver.remove(snapshot)


def _keeps_links(bench: Bench) -> bool:
    """Whether a file with two names in a lower layer still has both when it is changed; the kernel's overlay copies
    one name up."""

    def make(root: Path) -> None:
        (root / "one").write_text("x")
        os.link(root / "one", root / "two")

    def change(root: Path) -> None:
        (root / "one").write_text("changed")

    stack = bench.layers(make, change)
    return len(bench.facts(stack)[b"two"][8]) == 2  # type: ignore[arg-type]


class Story:
    """One stack that grows to seven layers, in the driver and in copies; the same for the same seed."""

    def __init__(
        self, seed: int, bench: Bench, copies: Bench, *, keeps_links: bool, faults: frozenset[Fault] = frozenset()
    ) -> None:
        self._random = Random(seed)
        self._seed = seed
        self._benches = (bench, copies)
        self._keeps_links = keeps_links
        self._faults = faults
        self._clock = _EPOCH
        self._told: list[str] = []
        self._shared: set[tuple[int, int]] = set()
        self._several: list[str] = []
        self._old_links: set[tuple[int, int]] = set()
        self._below: set[str] = set()
        self._old: set[int] = set()
        self._gone: set[str] = set()

    def tell(self, count: int) -> None:
        """Do `count` operations, some on each layer.  AssertionError with the last of them where something differs."""
        stacks = [NOBODY, NOBODY]
        for layer in range(_LAYERS):
            share = count // _LAYERS + (layer < count % _LAYERS)
            with self._benches[0].writing(stacks[0]) as one, self._benches[1].writing(stacks[1]) as two:
                stacks = [one[0], two[0]]
                self._work((one[1], two[1]), share)
                if Fault.DIRECTORY_TIME in self._faults:
                    level_times(one[1], two[1])
                self._same(facts(one[1]), facts(two[1]), _MOUNTED)
            for bench, stack in zip(self._benches, stacks, strict=True):
                bench.driver.commit(stack[0])
            ids = [bench.diff(stack)[1].diff_id for bench, stack in zip(self._benches, stacks, strict=True)]
            assert ids[0] == ids[1], self._where("the layers differ")
            views = [bench.facts(stack) for bench, stack in zip(self._benches, stacks, strict=True)]
            for view in views:
                del view[b""]  # its time is that of the topmost layer's making
            self._same(views[0], views[1], "mounted anew")

    def _where(self, what: str) -> str:
        return f"seed {self._seed}: {what}, after:\n" + "\n".join(self._told[-30:])

    def _same(
        self, seen: dict[bytes, tuple[object, ...]], expected: dict[bytes, tuple[object, ...]], when: str
    ) -> None:
        mounted = when == _MOUNTED
        if mounted and (Fault.SEVERAL_NAMES in self._faults or not (self._keeps_links or privileged())):
            # Which names are one file is then told by the layer, and by inode numbers not always.
            seen, expected = ({path: each[:8] for path, each in some.items()} for some in (seen, expected))
        different = [path for path in seen.keys() | expected.keys() if seen.get(path) != expected.get(path)]
        assert not different, self._where(
            f"{when} {sorted(different)[:5]} differ: {[(seen.get(p), expected.get(p)) for p in sorted(different)[:2]]}"
        )

    def _work(self, roots: tuple[Path, Path], count: int) -> None:
        found = {each: each.lstat() for each in roots[1].rglob("*")}
        # With their times, since the file system gives the number of what was deleted to others.
        times = {
            path: (each.st_ino, each.st_mtime_ns) for path, each in found.items() if not stat.S_ISDIR(each.st_mode)
        }
        several = [path for path in times if found[path].st_nlink > 1 and not self._keeps_links]
        self._shared = {times[path] for path in several}
        self._several = sorted(os.path.relpath(path, roots[1]) for path in several)
        self._below |= {os.path.relpath(each, roots[1]) for each in found}
        self._old = {each.st_ino for each in found.values()}
        self._old_links = {times[path] for path in times if stat.S_ISLNK(found[path].st_mode)}
        for root in roots:
            os.utime(root, ns=(0, _EPOCH))
        for _ in range(count):
            self._step(roots)
        if not self._keeps_links:
            self._give_names(roots)

    def _give_names(self, roots: tuple[Path, Path]) -> None:
        """Give files further names, for the next layer: of themselves few have several.  No directory's time changes,
        so that what it was is still looked at."""
        files, folders = listed(roots[1])
        files = [each for each in files if stat.S_ISREG((roots[1] / each).lstat().st_mode)]
        for file in self._random.sample(files, min(len(files), 3)):
            for name in ("first", "second"):
                folder = self._random.choice(folders)
                new = os.path.normpath(f"{folder}/{name} {self._clock}")
                times = [(root / folder).stat().st_mtime_ns for root in roots]
                self._do(roots, linking(file, new), [file, new], ("", ""))
                for root, time in zip(roots, times, strict=True):
                    os.utime(root / folder, ns=(0, time))

    def _step(self, roots: tuple[Path, Path]) -> None:
        several = [each for each in self._several if self._is_shared(roots[1] / each)]
        self._do(roots, *self._chosen(*listed(roots[1]), several))

    def _do(self, roots: tuple[Path, Path], operation: Operation, named: list[str], moves: tuple[str, str]) -> None:
        name, work, touched, changed = operation
        source, target = moves
        if self._is_faulty(roots[1], name, named, source, changed):
            return
        is_old_link = self._is_old_link(roots[1], source)
        replaces = bool(target) and (target in self._gone or os.path.lexists(roots[1] / target))
        self._told.append(name)
        self._clock += 1
        outcomes: list[object] = []
        for root in roots:
            if outcomes and not isinstance(outcomes[0], int) and not (source and source == target):
                self._break_links(root, changed)
            outcomes.append(done(work, root))
            if outcomes[0] == errno.EXDEV and not self._benches[0].driver.renames_dirs:
                break  # as the driver says: directories from below are not renamed
        else:
            stayed = bool(source) and os.path.lexists(roots[1] / source)
            if outcomes == [errno.ESTALE, None] and not self._keeps_links and stayed:
                # Seen of the kernel's overlay (6.18) in a user namespace: two names of a file that was copied up have
                # two inode numbers, and to rename one to the other, which does nothing elsewhere, is refused.
                outcomes[0] = None
            assert outcomes[0] == outcomes[1], self._where(f"{outcomes[0]!r} instead of {outcomes[1]!r}")
        failed = isinstance(outcomes[0], int)
        if Fault.SET_ID_KEPT in self._faults and name.startswith(_WRITES) and not failed and not privileged():
            for path in changed:
                (roots[0] / path).chmod(stat.S_IMODE((roots[1] / path).stat().st_mode))
        time = self._clock * 10**9 + self._clock % 1000
        if Fault.SEVERAL_NAMES in self._faults and name.startswith("link "):
            touched = touched[1:]  # not the file, which has several names now
        for root in roots:
            for path in touched:
                # Also the directories of what failed: the kernel's overlay may have begun, and taken it back.
                if os.path.lexists(root / path) and (not failed or is_folder(root / path)):
                    os.utime(root / path, ns=(0, time), follow_symlinks=False)
            if Fault.MOVED_LINK in self._faults and is_old_link and not failed:
                os.chown(root / target, 0, 0, follow_symlinks=False)
                os.utime(root / target, ns=(0, time), follow_symlinks=False)
            if Fault.REPLACED in self._faults and replaces and not failed:
                os.listdir((root / target).parent)

    def _is_faulty(self, oracle: Path, name: str, named: list[str], source: str, changed: tuple[str, ...]) -> bool:
        """Whether an operation is one of those that the driver's faults leave out."""
        if Fault.SEVERAL_NAMES in self._faults and any(count_names(oracle / each) > 1 for each in changed):
            return True
        if self._faults:
            self._gone |= {each for each in self._below if not os.path.lexists(oracle / each)}
        if Fault.REMADE_DIRECTORY in self._faults and source in self._gone and os.path.lexists(oracle / source):
            return is_folder(oracle / source)
        if Fault.SEVERAL_NAMES in self._faults and name.startswith("link "):
            found = [os.lstat(oracle / each).st_ino for each in named if os.path.lexists(oracle / each)]
            if self._old.intersection(found):
                return True
        gone = [each for each in named if {each, os.path.dirname(each)} <= self._gone]
        return Fault.REMADE_NAME in self._faults and any(not os.path.lexists(oracle / each) for each in gone)

    def _is_old_link(self, oracle: Path, path: str) -> bool:
        if not path or not os.path.lexists(oracle / path):
            return False
        status = os.lstat(oracle / path)
        return stat.S_ISLNK(status.st_mode) and (status.st_ino, status.st_mtime_ns) in self._old_links

    def _break_links(self, oracle: Path, changed: tuple[str, ...]) -> None:
        """Do to the names that are about to be changed what overlay did by copying them up."""
        for path in changed:
            if self._is_shared(oracle / path):
                break_link(oracle / path)

    def _is_shared(self, name: Path) -> bool:
        """Whether it is one of several names of a file that shows from a layer below, for a driver that breaks links.

        In the copies such a file is never changed, so it still has its time; one that got a further name in this layer
        has another time.
        """
        if not self._shared:
            return False
        try:
            status = name.lstat()
        except OSError:
            return False
        return status.st_nlink > 1 and (status.st_ino, status.st_mtime_ns) in self._shared

    def _chosen(
        self, files: list[str], folders: list[str], several: list[str]
    ) -> tuple[Operation, list[str], tuple[str, str]]:
        """An operation: in words, what to do, what to give a time afterwards, what it changes; the paths it names; what
        it moves where."""
        random = self._random
        new = os.path.normpath(f"{random.choice(folders)}/{random.choice(_NAMES)}")
        file = random.choice(files) if files else new
        folder = random.choice(folders[1:]) if len(folders) > 1 else new
        any_ = random.choice([*files, *folders[1:], new])
        if several and random.random() < _OF_SEVERAL:
            file, any_ = random.choice(several), random.choice(several)
        up, up_new, up_folder, up_any = (os.path.dirname(each) or "." for each in (file, new, folder, any_))
        text, size = f"{self._clock}" * random.choice((1, 30, 3000)), random.choice((0, 1, 100, 5000))
        mode = random.choice((0o644, 0o600, 0o755, 0o4755, 0o400))
        uid, gid = (random.choice((0, 7, 33)), random.choice((0, 7))) if privileged() else (0, 0)
        key = random.choice(("user.one", "user.two"))
        value = text[:40].encode()
        operations: list[Operation] = [
            (f"write {new}", lambda root: write(root / new, text, os.O_TRUNC | os.O_CREAT), (new, up_new), (new,)),
            (f"overwrite {file}", lambda root: write(root / file, text, os.O_TRUNC), (file,), (file,)),
            (f"patch {file}", lambda root: write(root / file, text, 0), (file,), (file,)),
            (f"append {file}", lambda root: write(root / file, text, os.O_APPEND), (file,), (file,)),
            (f"truncate {file} {size}", lambda root: os.truncate(root / file, size), (file,), (file,)),
            (f"rename {file} {new}", lambda root: (root / file).rename(root / new) and None, (up, up_new), (file,)),
            (f"move {any_} {file}", lambda root: (root / any_).rename(root / file) and None, (up_any, up), (any_,)),
            (f"rename {folder} {new}", lambda root: (root / folder).rename(root / new) and None,
             (up_folder, up_new), ()),
            linking(file, new),
            (f"chmod {any_} {mode:o}", lambda root: (root / any_).chmod(mode), (any_,), (any_,)),
            (f"chown {any_} {uid}:{gid}", lambda root: os.chown(root / any_, uid, gid, follow_symlinks=False),
             (any_,), (any_,)),
            (f"setxattr {any_} {key}", lambda root: os.setxattr(root / any_, key, value, follow_symlinks=False),
             (any_,), (any_,)),
            (f"removexattr {any_} {key}", lambda root: os.removexattr(root / any_, key, follow_symlinks=False),
             (any_,), (any_,)),
            (f"unlink {file}", lambda root: (root / file).unlink(), (up,), ()),
            (f"mkdir {new}", lambda root: (root / new).mkdir(), (new, up_new), ()),
            (f"mkdir {new}", lambda root: (root / new).mkdir(), (new, up_new), ()),
            (f"rmdir {folder}", lambda root: (root / folder).rmdir(), (up_folder,), ()),
            (f"remove all of {folder}", lambda root: remove_all(root / folder), (up_folder,), ()),
            (f"symlink {new}", lambda root: (root / new).symlink_to(f"nowhere/{file}"), (new, up_new), ()),
            (f"mkfifo {new}", lambda root: os.mkfifo(root / new), (new, up_new), ()),
            (f"list {folder}", lambda root: sorted(os.listdir(root / folder)), (), ()),
            (f"read {file}", lambda root: read(root / file), (), ()),
        ]  # fmt: skip
        moves = {
            f"rename {file} {new}": (file, new),
            f"move {any_} {file}": (any_, file),
            f"rename {folder} {new}": (folder, new),
        }
        chosen = random.choice(operations)
        named = [each for each in {new, file, folder, any_} if f" {each} " in f"{chosen[0]} "]
        return chosen, named, moves.get(chosen[0], ("", ""))
