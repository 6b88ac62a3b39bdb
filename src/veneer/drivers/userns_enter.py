"""How a process gets into a user namespace: with one id by itself, with more by a child that it joins.

The child is given its ids from outside, by newuidmap and newgidmap.  Whatever is refused on the way is refused to the
child, and this process stays what it was.
Sources: user_namespaces(7), setns(2), newuidmap(1), subuid(5).
"""

from __future__ import annotations

import contextlib
import errno
import os

from veneer.drivers import mount_syscalls as kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import NoReturn

_FIRST_FURTHER = 1
_SUB_FILES = ("/etc/subuid", "/etc/subgid")


class Refused(Exception):
    """What the kernel or newuidmap said to it."""


Ranges = tuple[list[tuple[int, int]], list[tuple[int, int]]]
"""(start, count) of every further uid and of every further gid."""


def further_ids() -> tuple[Ranges | None, str]:
    """The ids this user may have besides his own, or None; and why."""
    import pwd

    uid = os.geteuid()
    names = {str(uid)}
    with contextlib.suppress(KeyError):
        names.add(pwd.getpwuid(uid).pw_name)
    found = tuple(_listed(file, names) for file in _SUB_FILES)
    for file, ranges in zip(_SUB_FILES, found, strict=True):
        if not ranges:
            return None, f"one id: {file} has no range for {' or '.join(sorted(names, reverse=True))}"
    return (found[0], found[1]), f"ranges of {max(names)} in {' and '.join(_SUB_FILES)}"


def _listed(file: str, names: set[str]) -> list[tuple[int, int]]:
    """The ranges `file` has under one of `names`.  Source: subuid(5)."""
    try:
        with open(file, encoding="utf-8", errors="replace") as lines:
            fields = [line.strip().split(":") for line in lines]
    except OSError:
        return []  # not there, not to be read: no ranges
    return [
        (int(each[1]), int(each[2]))
        for each in fields
        if len(each) == 3 and each[0] in names and each[1].isdigit() and each[2].isdigit() and int(each[2]) > 0
    ]


def enter(ranges: Ranges | None) -> tuple[int, str]:
    """Enter, with `ranges` if newuidmap gives them.  Raises Refused.

    A descriptor of the root directory outside, and why the ranges were not had ("" if they were).
    """
    if ranges is None and not _treacherous():
        return _enter_alone(), ""
    with _holder() as (pid, ask):
        ask(b"u")
        why = "" if ranges is None else _map(pid, ranges)
        if why:  # in another one: of this one the groups may have their ranges already
            return enter(None)[0], why
        if ranges is None:
            ask(b"o")
        ask(b"m")
        outside = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            join(pid)
        except OSError as error:
            os.close(outside)
            raise Refused(_explained(error)) from error
    return outside, why


def enter_beside(pid: int) -> int:
    """Enter the user namespace that a process is in; the root directory outside, or -1 where that cannot be: the
    process is gone, or its namespace not this user's."""
    outside = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        join(pid)
    except OSError:
        os.close(outside)
        return -1
    return outside


def _enter_alone() -> int:
    """Enter with one id, in a tenth of the time; the root directory outside.  Raises Refused."""
    uid, gid = os.geteuid(), os.getegid()
    outside = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        kernel.unshare(kernel.CLONE_NEWUSER | kernel.CLONE_NEWNS)
    except OSError as error:
        os.close(outside)
        raise Refused(_explained(error)) from error
    _map_one(uid, gid)
    return outside


def _treacherous() -> bool:
    """Whether a namespace may be given and its privileges be held back, so that a child has to go first.

    Source: AppArmor's restriction of unprivileged user namespaces, in Ubuntu from 23.10 on.
    """
    try:
        with open("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", encoding="ascii") as switch:
            return switch.read().strip() != "0"
    except FileNotFoundError:
        return False


def join(pid: int) -> None:
    """Enter the user namespace of a process, and a mount namespace of this one's own in it.  Raises OSError."""
    namespace = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    try:
        kernel.setns(namespace, kernel.CLONE_NEWUSER)
    finally:
        os.close(namespace)
    # A mount namespace made here keeps the working directory, which joining the child's would not.  The kernel has
    # its mounts follow those outside, and not the other way about.
    kernel.unshare(kernel.CLONE_NEWNS)


@contextlib.contextmanager
def _holder() -> Iterator[tuple[int, _Ask]]:
    """A child that makes a user namespace step by step and holds it until the block ends."""
    kernel.load()  # here and not in the child, where it would be done for the child alone
    uid, gid = os.geteuid(), os.getegid()
    orders, answers = os.pipe2(os.O_CLOEXEC), os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        os.close(orders[1])
        os.close(answers[0])
        _obey(orders[0], answers[1], uid, gid)
    os.close(orders[0])
    os.close(answers[1])
    try:
        yield pid, _Ask(orders[1], answers[0])
    finally:
        os.close(orders[1])  # its end: the child has nothing more to do
        os.close(answers[0])
        os.waitpid(pid, 0)


class _Ask:
    """Has the child do one step.  Raises Refused with what it was told."""

    def __init__(self, orders: int, answers: int) -> None:
        self._orders, self._answers = orders, answers

    def __call__(self, step: bytes) -> None:
        os.write(self._orders, step)
        answer = os.read(self._answers, 400)
        if answer != b"+":
            raise Refused(answer.decode(errors="replace") or "the process that tried ended")


def _obey(orders: int, answers: int, uid: int, gid: int) -> NoReturn:
    """The child's whole life: `u` a user namespace, `o` one id in it, `m` a mount namespace."""
    try:
        while step := os.read(orders, 1):
            try:
                if step == b"u":
                    kernel.unshare(kernel.CLONE_NEWUSER)
                elif step == b"o":
                    _map_one(uid, gid)
                else:
                    kernel.unshare(kernel.CLONE_NEWNS)
            except OSError as error:
                os.write(answers, _explained(error).encode())
            else:
                os.write(answers, b"+")
    finally:
        os._exit(0)


def _map_one(uid: int, gid: int) -> None:
    """Map the ids this process had to 0 and nothing else.  Source: user_namespaces(7), on setgroups."""
    for name, text in (("uid_map", f"0 {uid} 1"), ("setgroups", "deny"), ("gid_map", f"0 {gid} 1")):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as table:
            table.write(text)


def _map(pid: int, ranges: Ranges) -> str:
    """Have newgidmap and newuidmap map `ranges` after the user's own ids; what went wrong, "" if nothing."""
    own = (os.geteuid(), os.getegid())
    for program, mine, further in (("newgidmap", own[1], ranges[1]), ("newuidmap", own[0], ranges[0])):
        words = [str(pid), "0", str(mine), "1"]
        at = _FIRST_FURTHER
        for start, count in further:
            words += [str(at), str(start), str(count)]
            at += count
        if problem := _run(program, words):
            return f"one id: {problem}"
    return ""


def _run(program: str, words: Sequence[str]) -> str:
    """Run a program to its end; "" or what was wrong."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    try:
        try:
            # A set-uid program: an empty environment is what it deserves.
            pid = os.posix_spawnp(
                program,
                [program, *words],
                {},
                file_actions=[(os.POSIX_SPAWN_DUP2, writing, number) for number in (1, 2)],
            )
        except OSError as error:
            return f"{program} is not installed" if error.errno == errno.ENOENT else f"{program}: {error.strerror}"
        finally:
            os.close(writing)
        said = b""
        while piece := os.read(reading, 4096):
            said += piece
    finally:
        os.close(reading)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return "" if code == 0 else f"{program} failed: {said.decode(errors='replace').strip() or f'exit status {code}'}"


def _explained(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return "the limit of user namespaces is reached (sysctl user.max_user_namespaces)"
    if error.errno in (errno.EPERM, errno.EACCES):
        return (
            "not permitted here (sysctl kernel.unprivileged_userns_clone or"
            " kernel.apparmor_restrict_unprivileged_userns, a sandbox, or a chroot)"
        )
    return os.strerror(error.errno or 0)
