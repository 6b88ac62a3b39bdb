"""Who a process is: a USER's word looked up in the tree's own /etc/passwd and /etc/group.

Source: moby/sys user (GetExecUser), whose rules and words these are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from veneer.changeset.safepath import read_in_root
from veneer.drivers.userns import standing
from veneer.errors import InvalidRequest, Unsupported
from veneer.values import Value

MAX_ID = (1 << 31) - 1
_MAX_FILE = 16 << 20


class UnknownUser(InvalidRequest):
    """A user or a group that the tree does not know, or a number that is none."""


class NoSuchId(Unsupported):
    """A user or a group whose number the user namespace that veneer is in does not have."""


class Identity(Value):
    """`groups` are the supplementary ones, the own one among them as in docker; `home` is the user's directory."""

    __slots__ = ()
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


def identity(root: int, spec: str, more: Sequence[str] = ()) -> Identity:
    """Who `name|uid[:group|gid]` is in the tree at the descriptor `root`; "" is root.  Raises UnknownUser.

    `more` are groups, by name or number, to be a member of besides.
    """
    user, _, group = spec.partition(":")
    uid, gid, home, name = _user(root, user)
    groups: tuple[int, ...] = ()
    if group:
        gid = _group(root, group)
    elif name:
        groups = tuple(number for _, number, members in _groups(root) if name in members)
    return Identity(uid, gid, tuple(dict.fromkeys((gid, *groups, *(_group(root, each) for each in more)))), home)


def require_ids(who: Identity, what: str, *, groups: bool = False) -> None:
    """Raise NoSuchId unless this user namespace has a user's ids, with `groups` those of his groups, too; `what` is
    "a container" and the like."""
    here = standing()
    if not here.keeps(who.uid, who.gid):
        said = f"user {who.uid}:{who.gid}"
    elif groups and not all(here.keeps(who.uid, each) for each in who.groups):
        said = f"in the groups {', '.join(map(str, who.groups))}"
    else:
        return
    raise NoSuchId(f"{what} cannot be {said} here: this user namespace does not have that id",
                   hint="/etc/subuid and /etc/subgid give a user more ids; or be root")  # fmt: skip


def _user(root: int, user: str) -> tuple[int, int, str, str]:
    """User ID, group ID, home, and name if passwd has it."""
    number = _number(user) if user else 0
    for fields in _lines(root, b"etc/passwd", 6):
        uid, gid = _number(fields[2]), _number(fields[3])
        if (uid == number if number is not None else fields[0] == user) and uid is not None:
            return uid, gid or 0, fields[5] or "/", fields[0]
    if number is None:
        raise UnknownUser(f"unable to find user {user}: no matching entries in passwd file",
                          hint="make it in an earlier step, or say its number")  # fmt: skip
    _check(number)
    return number, 0, "/", ""


def _group(root: int, group: str) -> int:
    number = _number(group)
    for name, gid, _ in _groups(root):
        if gid == number if number is not None else name == group:
            return gid
    if number is None:
        raise UnknownUser(f"unable to find group {group}: no matching entries in group file",
                          hint="make it in an earlier step, or say its number")  # fmt: skip
    _check(number)
    return number


def _check(number: int) -> None:
    if not 0 <= number <= MAX_ID:
        raise UnknownUser(f"uids and gids must be in range 0-{MAX_ID}, not {number}")


def _number(text: str) -> int | None:
    digits = text[1:] if text[:1] in ("-", "+") else text
    return int(text) if digits.isascii() and digits.isdigit() and len(digits) < 19 else None


def _groups(root: int) -> Iterator[tuple[str, int, list[str]]]:
    for fields in _lines(root, b"etc/group", 3):
        gid = _number(fields[2])
        if gid is not None:
            yield fields[0], gid, fields[3].split(",") if len(fields) > 3 else []


def _lines(root: int, path: bytes, least: int) -> Iterator[list[str]]:
    """The lines of one of the two files as fields, of those that have enough; nothing if it is not there."""
    for line in read_in_root(root, path, _MAX_FILE).decode(errors="surrogateescape").split("\n"):
        fields = line.strip().split(":")
        if line.strip() and len(fields) >= least:
            yield fields
