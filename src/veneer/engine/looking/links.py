"""Where paths of an image lead: symlinks are followed within the image, as a container would, and never out of it."""

from __future__ import annotations

from veneer.changeset.entry import Kind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.analysis.tree import MergedTree

_MOST_LINKS = 40
"""As Linux has it: path_resolution(7)."""


def resolved(tree: MergedTree, path: bytes) -> bytes:
    """Where `path` leads in `tree`, through every symlink on the way and the one at its end.

    `path` itself where something on the way is not there, is deleted, or leads in circles: who asks tells of the path
    that was given.
    """
    left = [part for part in reversed(path.split(b"/")) if part]
    done: list[bytes] = []
    links = 0
    while left:
        part = left.pop()
        if part == b"..":
            done = done[:-1]  # above the root there is the root
            continue
        if part == b".":
            continue
        node = tree.find(b"/".join([*done, part]))
        if node is None:
            return path
        done.append(part)
        if node.kind is Kind.SYMLINK:
            links += 1
            if links > _MOST_LINKS:
                return path
            target = tree.entry(node).link
            done = [] if target.startswith(b"/") else done[:-1]
            left += [each for each in reversed(target.split(b"/")) if each]
    return b"/".join(done)
