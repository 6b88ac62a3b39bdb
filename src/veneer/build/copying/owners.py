"""`--chown`: users and groups by number, or by the names that the image's own files have for them.

Source: moby builder/dockerfile/internals_linux.go (parseChownFlag), moby/sys/user.
"""

from __future__ import annotations

import os

from veneer.build.context.scan import Tree
from veneer.build.state import InvalidStep
from veneer.changeset.safepath import read_in_root

_MAX_FILE = 16 << 20
_MAX_ID = 0xFFFFFFFE
_WRONG = "unable to convert uid/gid chown string to host mapping"


class UnknownOwner(InvalidStep):
    """A name in --chown that the image does not know, or a number no file can belong to."""


def owner(text: str, image: Tree | None) -> tuple[int, int]:
    """The user and group that `USER[:GROUP]` means; without a group it is the one called as the user.

    `image` None: nothing is known of the image's names.  Raises UnknownOwner.
    """
    parts = text.split(":")
    if len(parts) > 2:
        raise UnknownOwner(f"invalid chown string format: {text}", hint="as in 1000:1000 or app:staff")
    user, group = parts[0], parts[-1]
    return _number(user, image, "etc/passwd", "user", "uid"), _number(group, image, "etc/group", "group", "gid")


def _number(name: str, image: Tree | None, path: str, what: str, kind: str) -> int:
    if name.isascii() and name.isdigit():
        if int(name) > _MAX_ID:
            raise UnknownOwner(f"{_WRONG}: can't find {kind} for {what} {name}: no file can belong to it")
        return int(name)
    if image is None:
        raise UnknownOwner(f"{_WRONG}: can't find {kind} for {what} {name}: there is no image to know names",
                           hint="give a number")  # fmt: skip
    names = []
    for line in read_in_root(image.fd, path.encode(), _MAX_FILE).split(b"\n"):
        fields = line.split(b":")
        if len(fields) > 2 and fields[2].isdigit() and int(fields[2]) <= _MAX_ID:
            if os.fsdecode(fields[0]) == name:
                return int(fields[2])
            names.append(os.fsdecode(fields[0]))
    from veneer.build.language.errors import nearest

    near = nearest(name, names)
    raise UnknownOwner(
        f"{_WRONG}: can't find {kind} for {what} {name}: no such {what}: {name}",
        hint=f"did you mean {near}?" if near else f"/{path} of the image does not have it; a number will do",
    )
