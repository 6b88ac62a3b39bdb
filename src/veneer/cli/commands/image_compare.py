"""`veneer image compare` and `veneer image shared`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

from veneer.cli.app import App, Failure
from veneer.cli.command import LIST_FORMAT, Command
from veneer.cli.flags import Option, Parsed
from veneer.cli.listing import Column, Listing
from veneer.cli.looked import HUMAN, NO_TRUNC, SEVERAL, in_words, instruction, looked_at
from veneer.cli.reworked import counted
from veneer.cli.tables import align, harmless
from veneer.cli.units import human_size
from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.analysis.sharing import Branch, Stack
    from veneer.engine.looking.subject import Subject
    from veneer.engine.looking.verbs import Shared
    from veneer.oci.digest import ChainID, DiffID
    from veneer.store.images import Image

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
MOST = len(_LETTERS)


class Row(Value):
    """One layer of some images: `images` are the letters of those that have it in its place, `elsewhere` of those that
    have the same content in another; `pull` in bytes, None where nobody knows.
    """

    __slots__ = ()
    images: str
    chain_id: ChainID
    diff_id: DiffID
    size: int
    pull: int | None
    text: str
    elsewhere: str


def _rows(subjects: Sequence[Subject], stacks: Sequence[Stack]) -> list[Row]:
    """The layers of all of them, base first, those that most images have before the others."""
    from veneer.analysis.sharing import forest

    users: dict[ChainID, str] = {}
    contents: dict[DiffID, str] = {}
    facts: dict[ChainID, tuple[Subject, int]] = {}
    for letter, subject, stack in zip(_LETTERS, subjects, stacks, strict=False):
        for position, (chain_id, diff_id) in enumerate(zip(stack.chain_ids, stack.diff_ids, strict=True)):
            users[chain_id] = users.get(chain_id, "") + letter
            contents[diff_id] = contents.get(diff_id, "") + letter
            facts.setdefault(chain_id, (subject, position))
    found: list[Row] = []
    pending = list(reversed(forest(stacks)))
    while pending:
        branch = pending.pop()
        for chain_id, diff_id, size in branch.layers:
            subject, position = facts[chain_id]
            origin = subject.origins[position]
            other = "".join(letter for letter in dict.fromkeys(contents[diff_id]) if letter not in users[chain_id])
            found.append(Row(users[chain_id], chain_id, diff_id, size, origin.blob.size if origin.blob else None,
                             origin.shown, other))  # fmt: skip
        pending += reversed(branch.branches)
    return found


def _stack(subject: Subject, key: str, *, inside: bool) -> Stack:
    from veneer.analysis.sharing import Stack

    config = subject.config
    if inside:
        sizes = tuple(index.bytes_total for index in subject.indexes)
    else:
        sizes = tuple(blob.size if blob else 0 for blob in subject.documents.blobs)
    return Stack(key, config.chain_ids, config.diff_ids, sizes)


def _sizes(given: Parsed, digits: int = 3) -> Callable[[int], str]:
    """How bytes are written: for people unless the options say otherwise."""
    return (lambda number: human_size(number, digits)) if in_words(given) else str


def run_compare(app: App, given: Parsed) -> None:
    from veneer.analysis.sharing import totals

    names = given.arguments
    if len(names) > MOST:
        raise Failure(f"at most {MOST} images can be compared at once")
    format, truncate = given.text("format"), not given.flag("no_trunc")
    with contextlib.ExitStack() as stack:
        subjects = [stack.enter_context(looked_at(app, given, name, position=at)) for at, name in enumerate(names)]
        # One image in a registry, not downloaded: all are weighed by what they are to pull, or nothing compares.
        inside = all(subject.documents.where != "registry" for subject in subjects)
        stacks = [_stack(subject, letter, inside=inside) for letter, subject in zip(_LETTERS, subjects, strict=False)]
        rows = _rows(subjects, stacks)
        called = {letter: subject.name for letter, subject in zip(_LETTERS, subjects, strict=False)}
        size = _sizes(given)
        kind: Listing[Row] = Listing("layer of several images", (
            Column("Images", "IMAGES", lambda row: row.images),
            Column("Names", "NAMES", lambda row: ", ".join(map(called.__getitem__, row.images))),
            Column("ChainID", "CHAIN ID", lambda row: row.chain_id.short if truncate else str(row.chain_id)),
            Column("DiffID", "DIFF ID", lambda row: row.diff_id.short if truncate else str(row.diff_id)),
            Column("Size", "STORED" if inside else "PULL", lambda row: size(row.size)),
            Column("Elsewhere", "ALSO IN", lambda row: row.elsewhere or "-"),
            Column("Instruction", "INSTRUCTION", lambda row: instruction(row.text, truncate=truncate)),
        ))  # fmt: skip
        is_table = format in ("", "table")
        if given.flag("quiet") and is_table:
            app.write("".join(kind.columns["ChainID"].text(row) + "\n" for row in rows))
            return
        if is_table:
            lines = [[letter, subject.name, size(sum(each.sizes)), counted(len(each.sizes), "layer")]
                     for letter, subject, each in zip(_LETTERS, subjects, stacks, strict=False)]  # fmt: skip
            app.write(align([["", "NAME", "STORED" if inside else "PULL", "LAYERS"],
                             *([harmless(cell) for cell in line] for line in lines)]) + "\n")  # fmt: skip
        kind.show(app, rows, format, ("Images", "ChainID", "Size", "Elsewhere", "Instruction"))
        if is_table:
            sums = totals(stacks)
            share = f" ({100 * sums.saved / sums.unshared:.0f}%)" if sums.unshared else ""
            app.line("")
            app.line(f"{size(sums.unshared)} if nothing were shared, {size(sums.disk)} with "
                     f"{counted(sums.layers, 'layer')}: {size(sums.saved)} saved{share}; the largest layer has "
                     f"{size(sums.largest)}")  # fmt: skip


COMPARE = Command(
    run_compare,
    "Show which layers several images share",
    "[OPTIONS] IMAGE IMAGE [IMAGE...]",
    least=2,
    most=None,
    options=(
        Option("format", "string", LIST_FORMAT),
        HUMAN,
        NO_TRUNC,
        Option("q,quiet", "bool", "Only show chain IDs"),
        *SEVERAL,
    ),
    only_looks=True,
)


# -- all images of the store ---------------------------------------------------------------------------------


class Node(Value):
    """A line of the tree of shared layers: `branch` with the branches before it, or (branch None) an image's end."""

    __slots__ = ()
    prefix: str
    branch: Branch | None
    image: Image | None


def _tree(shared: Shared) -> Iterator[Node]:
    """The trees, line by line; each branch, then the images that end there, then what grows on it."""
    from veneer.analysis.sharing import Branch

    pending: list[tuple[str, str, Branch | Image]] = [("", "", branch) for branch in reversed(shared.trees)]
    while pending:
        own, beneath, thing = pending.pop()
        if not isinstance(thing, Branch):
            yield Node(own, None, thing)
            continue
        yield Node(own, thing, None)
        inside: list[Branch | Image] = [shared.images[key] for key in thing.ends]
        inside += thing.branches
        for number, each in enumerate(reversed(inside)):
            last = number == 0
            pending.append((beneath + ("└── " if last else "├── "), beneath + ("    " if last else "│   "), each))


def _names(image: Image, *, truncate: bool = False) -> str:
    """`truncate` leaves out names by digest, where there are others."""
    tags = [reference.familiar for reference in image.references if reference.digest is None]
    names = tags if tags and truncate else [reference.familiar for reference in image.references]
    return f"{image.id.short} {', '.join(names)}" if names else image.id.short


def run_shared(app: App, given: Parsed) -> None:
    shared = app.engine.looking.shared(given.arguments, all=given.flag("all"))
    format, truncate = given.text("format"), not given.flag("no_trunc")
    if format not in ("", "table", "tree"):
        _branches(app, given, shared, truncate=truncate)
        return
    size, finely = _sizes(given), _sizes(given, 4)
    lines = [["TREE", "SIZE", "LAYERS", "IMAGES", "SAVED"]]
    for node in _tree(shared):
        if node.branch is None:
            assert node.image is not None
            lines.append([node.prefix + harmless(_names(node.image, truncate=truncate)), "", "", "", ""])
            continue
        branch = node.branch
        if not branch.layers:
            lines.append([node.prefix + "(no layers)", "0B", "0", str(branch.users), ""])
            continue
        chain_id = branch.layers[-1][0]
        lines.append([
            node.prefix + (chain_id.short if truncate else str(chain_id)), size(branch.size),
            str(len(branch.layers)), str(branch.users), size(branch.saved) if branch.users > 1 else "",
        ])  # fmt: skip
    sums = shared.totals
    app.write(align(lines))
    app.line("")
    app.line(f"{counted(len(shared.images), 'image')}: {finely(sums.unshared)} if nothing were shared, "
             f"{finely(sums.disk)} on the disk: {finely(sums.saved)} saved")  # fmt: skip


def _branches(app: App, given: Parsed, shared: Shared, *, truncate: bool) -> None:
    size = _sizes(given)

    def names(branch: Branch) -> str:
        return ",".join(_names(shared.images[key]) for key in branch.ends)

    kind: Listing[Branch] = Listing("shared layers", (
        Column("ChainID", "CHAIN ID", lambda branch: _short(branch, truncate=truncate)),
        Column("Layers", "LAYERS", lambda branch: str(len(branch.layers))),
        Column("Size", "SIZE", lambda branch: size(branch.size)),
        Column("Images", "IMAGES", lambda branch: str(branch.users)),
        Column("Saved", "SAVED", lambda branch: size(branch.saved)),
        Column("Ends", "ENDS", names),
    ))  # fmt: skip
    branches = [node.branch for node in _tree(shared) if node.branch is not None]
    kind.show(app, branches, given.text("format"), ("ChainID", "Layers", "Size", "Images", "Saved", "Ends"))


def _short(branch: Branch, *, truncate: bool) -> str:
    if not branch.layers:
        return ""
    return branch.layers[-1][0].short if truncate else str(branch.layers[-1][0])


SHARED = Command(
    run_shared,
    "Show the layers of all images as a tree, by what they share",
    "[OPTIONS] [IMAGE...]",
    most=None,
    options=(
        Option("a,all", "bool", "Intermediate images too"),
        Option("format", "string", LIST_FORMAT),
        HUMAN,
        NO_TRUNC,
    ),
    only_looks=True,
)
