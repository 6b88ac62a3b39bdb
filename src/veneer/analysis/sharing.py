"""What images have in common: a tree of layers by chain ID, and equal layers elsewhere by diff ID.

Two images share a *stack* as far as their chain IDs are the same: those layers are one on the disk and in a picture.
A layer with the same diff ID in another place has the same content: one blob, and one directory where the driver
allows it.  The two are different facts and both are told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from veneer.oci.digest import ChainID, DiffID
from veneer.values import Value


class Stack(Value):
    """An image as a stack of layers, base first; `sizes` in bytes, `key` is whatever tells images apart.

    `places`: for each layer what is one on the disk, such as its directory; () stands for one for each diff ID.
    """

    __slots__ = ()
    key: str
    chain_ids: tuple[ChainID, ...]
    diff_ids: tuple[DiffID, ...]
    sizes: tuple[int, ...]
    places: tuple[str, ...] = ()


class Branch:
    """Layers that the same images have, lowest first, and what grows on them.

    `layers`: (chain ID, diff ID, size); `ends`: the keys of images whose top this is; `users`: how many images have it.
    """

    __slots__ = ("branches", "ends", "layers", "users")

    def __init__(self) -> None:
        self.layers: list[tuple[ChainID, DiffID, int]] = []
        self.branches: list[Branch] = []
        self.ends: list[str] = []
        self.users = 0

    @property
    def size(self) -> int:
        """Bytes of its own layers."""
        return sum(size for _, _, size in self.layers)

    @property
    def saved(self) -> int:
        """Bytes that are not there a second time because images share them, in this branch alone."""
        return self.size * max(self.users - 1, 0)


def forest(stacks: Iterable[Stack]) -> list[Branch]:
    """The stacks as trees, by what they share; the heaviest first.

    Every layer is in one branch, so the sizes of all branches add up to the unique layers' bytes.
    """
    roots: dict[ChainID | None, _Node] = {}
    known: dict[ChainID, _Node] = {}
    bare = Branch()
    for stack in stacks:
        above: _Node | None = None
        for chain_id, diff_id, size in zip(stack.chain_ids, stack.diff_ids, stack.sizes, strict=True):
            node = known.get(chain_id)
            if node is None:
                node = known[chain_id] = _Node((chain_id, diff_id, size))
                if above is None:
                    roots[chain_id] = node
                else:
                    above.children.append(node)
            node.users += 1
            above = node
        if above is None:
            bare.ends.append(stack.key)
            bare.users += 1
        else:
            above.ends.append(stack.key)
    found = [_branch(node) for node in roots.values()]
    return [*_heaviest_first(found), *([bare] if bare.users else [])]


class _Node:
    __slots__ = ("children", "ends", "layer", "users")

    def __init__(self, layer: tuple[ChainID, DiffID, int]) -> None:
        self.layer = layer
        self.children: list[_Node] = []
        self.ends: list[str] = []
        self.users = 0


def _branch(root: _Node) -> Branch:
    """A node and all above it; layers in a row that the same images have are one branch."""
    top = Branch()
    pending = [(root, top)]
    while pending:
        node, branch = pending.pop()
        branch.users = node.users
        while True:
            branch.layers.append(node.layer)
            if node.ends or len(node.children) != 1:
                break
            node = node.children[0]
        branch.ends = node.ends
        for child in node.children:
            above = Branch()
            branch.branches.append(above)
            pending.append((child, above))
    _sort(top)
    return top


def _sort(root: Branch) -> None:
    pending = [root]
    while pending:
        branch = pending.pop()
        branch.branches = _heaviest_first(branch.branches)
        pending += branch.branches


def _heaviest_first(branches: list[Branch]) -> list[Branch]:
    return sorted(branches, key=lambda branch: (-branch.users, -branch.size, branch.layers[0][0]))


class Totals(Value):
    """Bytes of some stacks: `unshared`, if each had its own; `unique`, each chain ID once; `disk`, each place once.

    `layers` is how many chain IDs there are, `largest` the bytes of the largest layer.
    """

    __slots__ = ()
    unshared: int
    unique: int
    disk: int
    layers: int
    largest: int

    @property
    def saved(self) -> int:
        """What sharing saves on the disk."""
        return self.unshared - self.disk


def totals(stacks: Iterable[Stack]) -> Totals:
    """The bytes of these stacks, whatever is shared counted once or not."""
    unshared = 0
    by_chain: dict[ChainID, int] = {}
    by_place: dict[str, int] = {}
    for stack in stacks:
        unshared += sum(stack.sizes)
        by_chain.update(zip(stack.chain_ids, stack.sizes, strict=True))
        by_place.update(zip(stack.places or stack.diff_ids, stack.sizes, strict=True))
    sizes = by_chain.values()
    return Totals(unshared, sum(sizes), sum(by_place.values()), len(by_chain), max(sizes, default=0))


def elsewhere(stacks: Sequence[Stack]) -> Mapping[DiffID, tuple[ChainID, ...]]:
    """Contents that stand in several places: diff ID -> the chain IDs there."""
    places: dict[DiffID, dict[ChainID, None]] = {}
    for stack in stacks:
        for chain_id, diff_id in zip(stack.chain_ids, stack.diff_ids, strict=True):
            places.setdefault(diff_id, {})[chain_id] = None
    return {diff_id: tuple(chains) for diff_id, chains in places.items() if len(chains) > 1}


def common_layers(first: Sequence[ChainID], second: Sequence[ChainID]) -> int:
    """How many of the lowest layers two stacks share."""
    count = 0
    for one, other in zip(first, second, strict=False):
        if one != other:
            break
        count += 1
    return count
