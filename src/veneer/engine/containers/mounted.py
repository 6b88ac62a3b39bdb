"""Which of a container's mounts a path in it lies in: links in its tree lead into mounts, too.

The tree is looked at without what is mounted in it, as a container that does not run has it.  Whoever flips links
meanwhile may have the answer be another of the container's own mounts, and leads nobody out.
"""

from __future__ import annotations

import os
import stat

from veneer.changeset import syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from typing import Any

_MAX_LINKS = 40


def located(
    root: int, points: Iterable[Mapping[str, Any]], path: str, *, follow: bool
) -> tuple[Mapping[str, Any] | None, str, bool]:
    """The nearest mount point that an absolute `path` lies in, the path in it, "." for itself, and whether there are
    others below it.

    None and the path for what is in the tree at the descriptor `root`, and in a file that is mounted.  `follow`: also
    a link that is the last of the path.
    """
    mounted: dict[str, Mapping[str, Any]] = {}
    for point in sorted(points, key=lambda point: str(point["Destination"])):
        if point["Type"] in ("bind", "volume") and os.path.isdir(point["Source"]):
            mounted[_real(root, point["Destination"], mounted, follow=True)] = point
    real = _real(root, path, mounted, follow=follow) if mounted else path
    nearest = max((each for each in mounted if _is_in(real, each)), key=len, default=None)
    has_more = any(each != real and _is_in(each, real.rstrip("/")) for each in mounted)
    if nearest is None:
        return None, path, has_more
    return mounted[nearest], real[len(nearest) :].lstrip("/") or ".", has_more


def _is_in(path: str, above: str) -> bool:
    return path == above or path.startswith(above + "/")


def _real(root: int, path: str, mounted: Collection[str], *, follow: bool) -> str:
    """A path without the links of the tree; what is not there, and what is in something mounted, stays as it is."""
    todo = [part for part in reversed(path.split("/")) if part not in ("", ".")]
    real: list[str] = []
    links = 0
    while todo:
        part = todo.pop()
        if part == "..":
            del real[-1:]
            continue
        here = "/" + "/".join([*real, part])
        link = "" if any(_is_in(here, each) for each in mounted) or not (todo or follow) else _link(root, here)
        if not link:
            real.append(part)
            continue
        links += 1
        if links > _MAX_LINKS:
            return path  # whoever opens it is told so by the kernel
        if link.startswith("/"):
            real = []
        todo += [each for each in reversed(link.split("/")) if each not in ("", ".")]
    return "/" + "/".join(real)


def _link(root: int, path: str) -> str:
    """Where a link leads; "" for what is none."""
    try:
        fd = syscalls.openat2(
            root, os.fsencode(path), os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, syscalls.RESOLVE_IN_ROOT
        )
    except (FileNotFoundError, NotADirectoryError):
        return ""
    try:
        return os.readlink("", dir_fd=fd) if stat.S_ISLNK(os.fstat(fd).st_mode) else ""
    finally:
        os.close(fd)
