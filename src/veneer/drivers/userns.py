"""Who this process is to the files of a store: root of the machine, root of a user namespace, or a plain user.

Owners, device files and mounts are for root.  A plain user enters a user and a mount namespace once, at the start of
a program: there he is root of what is his.  Nobody below knows.  With ranges of further ids (/etc/subuid, /etc/subgid,
handed out by newuidmap and newgidmap) layers keep their owners; with the user's own id alone every file is his, and
the true owners stand in the layers' indexes.
Sources: user_namespaces(7), subuid(5), newuidmap(1), setns(2); docs/decisions/0011-without-root.md.
"""

from __future__ import annotations

import os

from veneer.config import mark_entered
from veneer.errors import Conflict, Unsupported
from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

MACHINE: Final = "root"
RANGES: Final = "ranges"
ONE: Final = "one"
PLAIN: Final = "plain"

_ALL = ((0, 0, 4294967295),)

Extents = tuple[tuple[int, int, int], ...]
"""(first id inside, first id outside, how many), as /proc/PID/uid_map has them."""


class HasThreads(Conflict):
    """A program that has threads cannot enter a user namespace: the kernel takes the whole process or nothing."""


class NotEntered(Unsupported):
    """Layers' files need a user namespace, and this process has entered none."""


class NoNamespace(Unsupported):
    """The kernel or its administrator lets this user have no user namespace, or not the one that is needed."""


class OtherMapping(Conflict):
    """A store's files were written by somebody with other ids than this process has."""


class Standing(Value):
    """What this process is.  `kind`: MACHINE, RANGES, ONE (both in a user namespace) or PLAIN (in none, not root).

    `reason` says in words what it rests on, or why it is no more than that; "" for root.
    """

    __slots__ = ()
    kind: str
    uids: Extents
    gids: Extents
    reason: str

    def keeps(self, uid: int, gid: int) -> bool:
        """Whether a file can belong to these ids."""
        if self.kind == PLAIN:
            return uid == os.geteuid() and (gid == os.getegid() or gid in os.getgroups())
        return _has(self.uids, uid) and _has(self.gids, gid)

    def recorded(self) -> str:
        """As a store remembers it: the kind, and the ids outside where it matters which they are."""
        if self.kind != RANGES:
            return self.kind
        return " ".join([RANGES, *("/".join(f"{a}:{b}:{c}" for a, b, c in each) for each in (self.uids, self.gids))])

    def fits(self, recorded: str) -> bool:
        """Whether files written by who is `recorded` mean the same to this process; "" fits everybody."""
        if not recorded or self.kind != RANGES or recorded.partition(" ")[0] != RANGES:
            return recorded in ("", self.kind)
        # More ranges than there were change nothing of those there were.
        pairs = zip(self.recorded().split()[1:], recorded.split()[1:], strict=True)
        return all(now == then or now.startswith(then + "/") for now, then in pairs)


_why = ""
"""What the last `enter` rests on, or why it did not give more; "" before there was one."""
_tried = False
_outside = -1
"""The root directory as it is outside the mount namespace that was entered; -1: in none."""


def privileged() -> bool:
    """Whether this is root of the initial user namespace, who alone may use trusted.* attributes and make devices."""
    return os.geteuid() == 0 and extents("uid_map") == _ALL


def standing() -> Standing:
    """What this process is, now."""
    if os.geteuid() != 0:
        return Standing(PLAIN, (), (), _why or f"uid {os.geteuid()}, in no user namespace of its own")
    uids, gids = extents("uid_map"), extents("gid_map")
    if uids == _ALL:
        return Standing(MACHINE, uids, gids, "")
    if sum(count for _, _, count in uids) > 1 and sum(count for _, _, count in gids) > 1:
        return Standing(RANGES, uids, gids, _why or "root of a user namespace, not of the machine")
    return Standing(ONE, uids, gids, _why or "root of a user namespace with a single id")


def enter(recorded: str = "", beside: int = 0) -> Standing:
    """Become root of a user and a mount namespace, unless root already; what this process is then.

    Once, before the program has threads: HasThreads after that.  `recorded` is what the store to be worked on
    remembers (Standing.recorded); where it was begun by somebody with one id, one id is what there will be, and where
    it was begun in no namespace, none is entered.  Where the kernel lets this user have none, the process stays what
    it is, and `reason` says why.  `beside` is a process of this user's in whose user namespace this one is to be, if
    that can be: what is mounted there by FUSE only those may look at who are in it.
    Raises NoNamespace where the store needs what cannot be had.
    """
    global _why, _tried, _outside
    if os.geteuid() == 0 or recorded == PLAIN:
        _tried = True
        return standing()
    if len(os.listdir("/proc/self/task")) > 1:
        raise HasThreads(
            "a program that has threads cannot enter a user namespace",
            hint="call veneer.drivers.userns.enter() when it starts, or start it with: veneer unshare PROGRAM",
        )
    from veneer.drivers import userns_enter as entering

    if beside and (outside := entering.enter_beside(beside)) >= 0:
        _outside, _tried, _why = outside, True, "the user namespace of a container that runs"
        mark_entered()
        return standing()
    ranges, why = entering.further_ids()
    if ranges is not None and recorded == ONE:
        ranges, why = None, "one id, because this data root was begun with one"
    try:
        _outside, problem = entering.enter(ranges)
        _why = problem or why
        entered = standing()
        mark_entered()
    except entering.Refused as refused:
        entered, _why = standing(), f"no user namespace: {refused}"
    _tried = True
    if not entered.fits(recorded):
        why = _why if entered.kind != RANGES else f"it was begun {_told(recorded)}"
        raise NoNamespace(f"this data root needs what uid {_uid_outside(entered)} cannot have now: {why}",
                          hint="undo what was changed, or choose another --root")  # fmt: skip
    return standing()


def require(recorded: str, root: str, *, plainly: bool) -> None:
    """Raise unless this process may work on the files of the store at `root`, which remembers `recorded`.

    `plainly`: the caller asked for a driver that needs no namespace.  Raises NotEntered, OtherMapping.
    """
    here = standing()
    if here.fits(recorded) and (here.kind != PLAIN or recorded or plainly or _tried):
        return
    if here.kind == PLAIN:
        raise NotEntered(
            f"work on the layers in {root} needs a user namespace, since uid {os.geteuid()} is not root",
            hint="call veneer.drivers.userns.enter() when the program starts, before it has threads",
        )
    raise OtherMapping(
        f"the layers in {root} were unpacked {_told(recorded)}, and this process is {_told(here.recorded())}",
        hint="run as who began it, or choose another --root",
    )


def tell_children(root: str) -> None:
    """Have programs that this process starts, or becomes, know the mount that the data root `root` is on again."""
    if _outside >= 0:
        from pathlib import Path

        from veneer.drivers import mount_syscalls
        from veneer.drivers.mount import unique_mount_id

        mark_entered(mount_syscalls.mount_id(os.fsencode(root)), unique_mount_id(Path(root)))


def outside_root() -> int:
    """A descriptor of the root directory in the mount namespace that was left, or -1.

    The kernel numbers mounts anew in each namespace; who asks whether a file system is still the same mount has to
    ask outside.
    """
    return _outside


def _told(recorded: str) -> str:
    kind, _, ids = recorded.partition(" ")
    return {
        MACHINE: "as root",
        RANGES: f"in a user namespace with the ids {ids}",
        ONE: "in a user namespace with one id",
        PLAIN: "by a plain user in no namespace",
    }.get(kind, recorded)


def _has(extents: Extents, number: int) -> bool:
    return any(first <= number < first + count for first, _, count in extents)


def _uid_outside(here: Standing) -> int:
    return here.uids[0][1] if here.uids else os.geteuid()


def extents(name: str) -> Extents:
    """This process's `uid_map` or `gid_map`; empty in a namespace that has none yet."""
    with open(f"/proc/self/{name}", encoding="ascii") as table:
        return tuple((int(a), int(b), int(c)) for a, b, c in map(str.split, table))
