"""`veneer image tree`."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator

from veneer.cli.app import App, Failure
from veneer.cli.command import Command
from veneer.cli.flags import FlagError, Option, Parsed
from veneer.cli.looked import (
    DOCUMENTS_FORMAT,
    HUMAN,
    WHERE,
    image_and,
    layer_numbers,
    looked_at,
    mode_text,
    needs_no_name,
    owner,
    path_bytes,
    path_text,
    show_documents,
    shown_path,
    spelled_out,
)
from veneer.cli.tables import align, harmless
from veneer.cli.units import human_size
from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from veneer.analysis.copies import Place
    from veneer.analysis.states import States
    from veneer.analysis.view import Line, View
    from veneer.engine.looking.subject import Subject

DEPTH = 2
MOST = 20
SORTS = ("size", "name", "waste", "layer")
STATES = "AMPDO"
UNCHANGED = "U"


class Wanted(Value):
    """What of a tree is to be shown.  `show`: states, "" for all; `hidden`: also what is stored and not to be seen."""

    __slots__ = ()
    depth: int
    most: int
    sort: str
    show: str
    hidden: bool
    states: bool


class Shown(Value):
    """One line of the tree: a path, or (line None) how many more a directory has.

    `depth` is 1 for what is in the topmost directory; `last`: nothing follows in the same directory.
    """

    __slots__ = ()
    line: Line | None
    depth: int
    last: bool
    more: int = 0
    more_size: int = 0


def _number(given: Parsed, option: str, default: int | None) -> int | None:
    if option not in given.given:
        return default
    text = given.text(option)
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise FlagError(f'invalid argument "{text}" for "--{option.replace("_", "-")}" flag: a number is wanted')
    return int(text)


def _wanted(given: Parsed) -> Wanted:
    sort, show = given.text("sort") or "size", given.text("show").upper()
    if sort not in SORTS:
        raise Failure(f"invalid --sort {sort!r}: one of {', '.join(SORTS)}")
    if not set(show) <= set(STATES + UNCHANGED):
        raise Failure(
            f"invalid --show {show!r}: letters of {STATES}{UNCHANGED} "
            "(added, modified, metadata only, deleted, replaced, unchanged)"
        )
    states = bool(show or {"since", "layer"} & given.given)
    show = show or (STATES if states else "")
    whole = given.flag("no_trunc")
    depth, most = _number(given, "depth", 0 if whole else DEPTH), _number(given, "limit", 0 if whole else MOST)
    assert depth is not None and most is not None
    return Wanted(depth or 1 << 30, most or 1 << 30, sort, show, given.flag("all"), states)


def _range(given: Parsed) -> tuple[int | None, int]:
    at, since, layer = _number(given, "at", None), _number(given, "since", 0), _number(given, "layer", None)
    if layer is not None:
        if at is not None or since:
            raise Failure("--layer cannot be used together with --at or --since")
        if layer == 0:
            raise Failure("layers are counted from 1")
        return layer, layer - 1
    return at, since or 0


def _is_wanted(line: Line, wanted: Wanted, states: States | None) -> bool:
    if not line.is_there and not (wanted.hidden or (wanted.states and line.state)):
        return False
    return states is None or states.has(line)


def walk(view: View, path: bytes, place: Place, wanted: Wanted) -> Iterator[Shown]:
    """The lines of a directory and, as deep as wanted, of those in it."""
    from veneer.analysis.states import States

    states = States(view, wanted.show) if wanted.show else None

    def level(path: bytes, place: Place, depth: int) -> Iterator[Shown]:
        from veneer.analysis.foremost import ORDERS, apart

        count = size = 0
        files, others = apart(view, path, place)

        def counted() -> Iterator[Line]:
            nonlocal count, size
            for line in others:
                if _is_wanted(line, wanted, states):
                    count, size = count + 1, size + line.sums.size
                    yield line
            if files is not None and _is_wanted(files.line(files.numbers[0]), wanted, states):
                count, size = count + len(files), size + files.size
                yield from files.first(wanted.most, wanted.sort)

        # Of a million names in a directory no more are kept than are shown.
        kept = heapq.nsmallest(wanted.most, counted(), key=ORDERS[wanted.sort])
        left = count - len(kept)
        for number, line in enumerate(kept, 1):
            yield Shown(line, depth, number == len(kept) and not left)
        if left:
            yield Shown(None, depth, True, left, size - sum(line.sums.size for line in kept))

    stack = [level(path, place, 1)]
    while stack:
        for shown in stack[-1]:
            yield shown
            line = shown.line
            if line is not None and line.place is not None and line.is_directory and len(stack) < wanted.depth:
                stack.append(level(line.path, line.place, len(stack) + 1))
                break
        else:
            stack.pop()


def _name(line: Line) -> str:
    from veneer.changeset.entry import Kind

    name = line.name.decode("utf-8", "backslashreplace")
    if line.entry.kind is Kind.DIRECTORY:
        return name + "/"
    if line.entry.kind is Kind.SYMLINK:
        return f"{name} -> {line.entry.link.decode('utf-8', 'backslashreplace')}"
    return name


def _state(line: Line) -> str:
    return str(line.state or "·")


def document(line: Line) -> dict[str, Any]:
    """A line for programs: one object."""
    return {
        "Path": path_text(line.path), "State": str(line.state), "Kind": line.entry.kind.name.lower(),
        "Size": line.sums.size, "Waste": line.sums.waste, "Entries": line.sums.entries, "Changed": line.sums.changed,
        "Layers": [layer + 1 for layer in line.sums.layers], "Mode": mode_text(line.entry.mode),
        "Uid": line.entry.uid, "Gid": line.entry.gid, "Link": line.entry.link.decode("utf-8", "backslashreplace"),
        "Fields": list(line.changed), "Visible": line.is_there,
    }  # fmt: skip


def _branches(shown: Iterable[Shown]) -> Iterator[str]:
    """What is drawn before each line's name."""
    above: list[str] = []
    for each in shown:
        del above[each.depth - 1 :]
        yield "".join(above) + ("└── " if each.last else "├── ")
        above.append("    " if each.last else "│   ")


def _table(view: View, path: bytes, shown: list[Shown], wanted: Wanted, human: bool) -> Iterator[str]:
    """The lines of the table, one by one: the branches of a very deep tree take more room than all else."""

    def size(number: int) -> str:
        return human_size(number) if human else str(number)

    heading = ["STATE"] if wanted.states else []
    rows = [[*heading, "SIZE", "WASTE", "LAYERS", "MODE", "OWNER", ""]]
    copies, place = view.table.find(path)
    sums = view.sums(path, copies, place)
    root = ["·"] if wanted.states else []
    rows.append([*root, size(sums.size), size(sums.waste), layer_numbers(sums.layers), "", "", ""])
    for each in shown:
        line = each.line
        if line is None:
            state = [""] if wanted.states else []
            rows.append([*state, size(each.more_size), "", "", "", "", ""])
            continue
        state = [_state(line)] if wanted.states else []
        rows.append([
            *state, size(line.sums.size), size(line.sums.waste) if line.sums.waste else "",
            layer_numbers(line.sums.layers), mode_text(line.entry.mode), owner(line.entry.uid, line.entry.gid),
            "",
        ])  # fmt: skip
    top, root_line, *before = align(rows).removesuffix("\n").split("\n")
    yield f"{top}NAME\n"
    yield f"{root_line}{harmless(path_text(path))}\n"
    for start, branches, each in zip(before, _branches(shown), shown, strict=True):
        name = f"... {each.more} more" if each.line is None else harmless(_name(each.line))
        yield f"{start}{branches}{name}\n"


def _no_directory(subject: Subject, view: View, path: bytes) -> Exception:
    """What to raise for a path that has nothing beneath it at this depth."""
    from veneer.analysis.view import NotThere
    from veneer.cli.commands.image_find import not_there

    shown = shown_path(path)
    if view.table.find(path)[0]:
        return NotThere(f"{shown} is no directory of this image", hint="veneer image find IMAGE PATH tells of a file")
    if subject.table.find(path)[0]:
        return NotThere(f"{shown} is in none of the lowest {view.at} layers of {subject.name}",
                        hint="veneer image find IMAGE PATH tells which layer brings it")  # fmt: skip
    return not_there(subject, path)


def run(app: App, given: Parsed) -> None:
    if needs_no_name(given) and len(given.arguments) == 1 and given.arguments[0].startswith("/"):
        name, paths = "", given.arguments
    else:
        name, paths = image_and(app, given, 0, TREE.usage)
    wanted, (at, since), format = _wanted(given), _range(given), given.text("format")
    with looked_at(app, given, name, contents=False) as subject:
        from veneer.analysis.view import View

        view = View(subject.table, at, since)
        path = path_bytes(paths[0]) if paths else b""
        if not view.table.find(path)[1] and view.table.find(spelled_out(path))[1]:
            path = spelled_out(path)
        elif view.table.find(path)[1] is None:
            from veneer.engine.looking.links import resolved

            path = resolved(view.table.tree, path)
        place = view.table.find(path)[1]
        if place is None:
            raise _no_directory(subject, view, path)
        shown = list(walk(view, path, place, wanted))
        lines = [each.line for each in shown if each.line is not None]
        if format not in ("", "table"):
            show_documents(app, [document(line) for line in lines], format)
        elif given.flag("quiet"):
            for line in lines:
                app.line(path_text(line.path))
        else:
            for text in _table(view, path, shown, wanted, given.flag("human")):
                app.write(text)


TREE = Command(
    run,
    "Show an image's files as a tree, after any of its layers",
    "[OPTIONS] IMAGE [PATH]",
    most=2,
    options=(
        Option("a,all", "bool", "Also show what is stored and not to be seen any more"),
        Option("at", "int", "The tree of the lowest layers, so many (default: all)"),
        Option("depth", "int", "How deep to go; 0 goes all the way", shown_default=str(DEPTH)),
        Option("format", "string", DOCUMENTS_FORMAT),
        HUMAN,
        Option("layer", "int", "What this layer did: --at N --since N-1"),
        Option("limit", "int", "Names shown of one directory; 0 shows all", shown_default=str(MOST)),
        Option("no-trunc", "bool", "Show all names and all directories: --depth 0 --limit 0"),
        Option("q,quiet", "bool", "Only show paths"),
        Option("show", "string", "Only paths in these states: letters of AMPDO, and U for unchanged"),
        Option("since", "int", "Show what differs from the tree of the lowest layers, so many"),
        Option("sort", "string", 'By "name", "size", "waste" or "layer"', shown_default='"size"'),
        *WHERE,
    ),
    only_looks=True,
)
