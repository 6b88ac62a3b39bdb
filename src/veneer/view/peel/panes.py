"""What the four panes and the two lines above them say, as lines of spans."""

from __future__ import annotations

from collections.abc import Sequence

from veneer.changeset.entry import Entry, Kind
from veneer.values import Value
from veneer.view.amounts import size
from veneer.view.cells import width
from veneer.view.peel.model import ALL, Peel, Told
from veneer.view.peel.spans import (
    LAYER_COLOURS,
    Spans,
    bar,
    cell,
    cut,
    cut_middle,
    name_text,
    path_shown,
    plain,
    text_of,
    wrapped,
)
from veneer.view.texts import layer_numbers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.analysis.events import Event
    from veneer.analysis.view import Line
    from veneer.engine.looking.instructions import Instruction
    from veneer.view.peel.tree import Row, Tree

WIDE_FILES, WIDE_LAYERS, LONG_BARS = 64, 40, 54
"""Cells from which these panes have all their columns, and the layers longer bars."""
AT_MOST = "≤"
"""Before a size that is only the most there will be."""
DEEPEST = 24
"""Levels that are indented, where there is room; deeper ones say how deep they are."""


def signed(number: int) -> str:
    return ("-" if number < 0 else "") + size(abs(number))


def layer_meaning(layer: int) -> str:
    """The colour of a layer: neighbours have different ones."""
    return f"layer{layer % LAYER_COLOURS}"


# -- above the panes -----------------------------------------------------------------------------------------


def identity(peel: Peel) -> str:
    """Which image."""
    config = peel.subject.config
    return f"{plain(peel.subject.name)} · {plain(str(config.platform))} · {config.image_id.short}"


def sums(peel: Peel) -> list[tuple[str, str]]:
    """What it takes, as (name, value), as far as it is known."""
    subject, pull = peel.subject, peel.to_pull
    told: list[tuple[str, str]] = []
    account = subject.account if peel.loaded else None  # asked once: a thread loads it
    if account is not None:
        told = [("stored", size(account.stored)), ("visible", size(account.visible))]
    at_most = AT_MOST if subject.documents.pull_at_most else ""
    told.append(("pull", at_most + size(pull) if pull else "-"))
    if account is not None:
        told += [("eff", f"{100 * account.efficiency:.1f}%"), ("waste", size(account.wasted))]
    return told


def headline(peel: Peel, room: int) -> Spans:
    """Which image, and its sums; where there is little room, without those that others tell too."""
    name, told = plain(peel.subject.name), sums(peel)
    left, right = f" veneer  {identity(peel)}", _sums(told)
    if room - width(left) - width(right) < 2:
        for dispensable in ("pull", "stored"):
            if width(name) + width(right) + 3 > room:
                told = [each for each in told if each[0] != dispensable or len(told) == 1]
                right = _sums(told)
        left = f" {cut_middle(name, max(room - width(right) - 3, 8))}"
    space = room - width(left) - width(right)
    return [(left, "strong"), (" " * max(space, 1), ""), (cut(right, max(room - width(left) - 1, 0)), "")]


def _sums(told: Sequence[tuple[str, str]]) -> str:
    return "  ".join(f"{name} {value}" for name, value in told) + " "


def slider(peel: Peel, room: int) -> Spans:
    """Every layer as a stop; those that are looked at joined by a heavy line, the upper end in brackets."""
    stops = list(range(1, peel.layers + 1))
    if not stops:
        return [("no layers", "dim")]
    wide = sum(len(str(stop)) + 2 for stop in stops) + 4
    first, last = 0, peel.layers
    if wide > room:
        around = max(room // (len(str(peel.layers)) + 2) - 3, 3)
        first = max(0, min(peel.at - 1 - around // 2, peel.layers - around))
        last = min(first + around, peel.layers)
    spans: Spans = [("▏" if first == 0 else "…", "dim")]
    for stop in stops[first:last]:
        inside = peel.since < stop <= peel.at
        if stop > first + 1:
            joined = inside and stop - 1 > peel.since
            spans.append(("━━" if joined else "──", "range" if joined else "dim"))
        if stop == peel.at:
            spans.append((f"[{stop}]", "here"))
        else:
            spans.append((str(stop), "range" if inside else "dim" if stop > peel.at else ""))
    spans.append(("▕" if last == peel.layers else "…", "dim"))
    return spans


def second_line(peel: Peel, room: int, news: str = "") -> Spans:
    """The base, the slider and where its ends are; `news` of work that goes on."""
    what = "all so far" if peel.mode == ALL else f"since {peel.since} … at {peel.at}"
    right = f"  {news or what} "
    base = ""
    if peel.base is not None and room >= 90:
        base = f"base {cut(plain(peel.base.name), 24)} "
    left = f" {base}"
    middle = slider(peel, max(room - width(left) - width(right), 10))
    space = room - width(left) - width(text_of(middle)) - width(right)
    return [(left, "dim"), *middle, (" " * max(space, 0), ""), (right, "dim" if news else "")]


# -- 1 layers ------------------------------------------------------------------------------------------------


class LayerRow(Value):
    """A row of the layers: a layer (`step` None), the steps before one folded together (-1), or one of them.

    `layer` counts from 0; that of the steps above the last layer is how many there are.
    """

    __slots__ = ()
    layer: int
    step: int | None = None


def steps_before(peel: Peel, layer: int) -> Sequence[Instruction]:
    subject = peel.subject
    return subject.origins[layer].before if layer < peel.layers else subject.after or subject.unplaced


def layer_rows(peel: Peel, unfolded: set[int]) -> list[LayerRow]:
    """The layers, base first, each after the steps that made none; those of `unfolded` one by one."""
    rows: list[LayerRow] = []
    for layer in range(peel.layers + 1):
        steps = steps_before(peel, layer)
        if steps:
            rows.append(LayerRow(layer, -1))
            if layer in unfolded:
                rows += [LayerRow(layer, number) for number in range(len(steps))]
        if layer < peel.layers:
            rows.append(LayerRow(layer))
    return rows


def folded(steps: Sequence[Instruction]) -> str:
    """Steps in few words: `ENV ×3 LABEL`."""
    counts: dict[str, int] = {}
    for step in steps:
        keyword = step.keyword or "?"
        counts[keyword] = counts.get(keyword, 0) + 1
    return " ".join(f"{name} ×{count}" if count > 1 else name for name, count in counts.items())


def layer_spans(peel: Peel, row: LayerRow, room: int, *, log: bool = False, unfolded: bool = False) -> Spans:
    """One row of the layers."""
    wide = room >= WIDE_LAYERS
    digits = len(str(peel.layers))
    if row.step is not None:
        steps = steps_before(peel, row.layer)
        where = "layers unknown: " if row.layer == peel.layers and peel.subject.unplaced else ""
        heading = ("▾ " if unfolded else "▸ ") + where + folded(steps)
        what = heading if row.step < 0 else "  " + plain(steps[row.step].shown)
        nothing = cell("-" if where else "0B", 8, right=True) + " " * (8 if wide else 1)
        space = room - digits - 2 - len(nothing)
        return [(" " * (digits + 2), ""), (cell(what, max(space, 0)), "dim"), (nothing, "dim")]
    origin = peel.subject.origins[row.layer]
    stored = _stored(peel, row.layer)
    most = max((each for number in range(peel.layers) if (each := _stored(peel, number))), default=0)
    number = row.layer + 1
    mark = "▶" if number == peel.at else "▌" if peel.since < number < peel.at else " "
    made = peel.subject.account.layers[row.layer].made if peel.loaded else 0
    tail: Spans = [(cell(size(stored) if stored is not None else "-", 8, right=True), "")]
    if wide:
        tail.append((cell(size(made) if made else "", 8, right=True), "waste"))
    elif made:
        tail.append(("▲", "waste"))
    else:
        tail.append((" ", ""))
    bar_room = 10 if room >= LONG_BARS else 6
    head: Spans = [
        (mark, "here" if mark == "▶" else "range"),
        (cell(str(number), digits, right=True) + " ", "strong" if mark != " " else ""),
        (bar(stored or 0, most, bar_room, log=log) + " ", layer_meaning(row.layer)),
    ]
    rest = room - width(text_of(head)) - width(text_of(tail))
    return [*head, (cell(plain(origin.shown), max(rest, 0)), ""), *tail]


def _stored(peel: Peel, layer: int) -> int | None:
    """Stored bytes, or while nobody knows them those of the blob."""
    if peel.loaded:
        return peel.subject.indexes[layer].bytes_total
    blob = peel.subject.origins[layer].blob
    return blob.size if blob else None


def layers_title(peel: Peel) -> str:
    return "Layers: stored, waste made" if peel.loaded else "Layers: to pull"


# -- 2 files -------------------------------------------------------------------------------------------------


def files_title(peel: Peel) -> str:
    """What the files are of, in which order, what is shown and hidden."""
    tree = peel.tree
    shown = "".join(letter if letter in tree.show else "-" for letter in "AMPDO") + ("·" if "U" in tree.show else "-")
    what = f"Files after layer {peel.at} · sort {tree.sort} · show {shown}"
    if tree.least:
        what += f" · from {size(tree.least)}"
    if tree.only is not None:
        what += f" · filter {plain(tree.only.text)} ({len(tree.only.paths)})"
    return what


def files_heading(room: int) -> Spans:
    if room >= WIDE_FILES:
        return [("      SIZE    WASTE LAYERS  MODE NAME", "dim")]
    return [("      SIZE    WASTE NAME", "dim")]


def file_spans(row: Row, room: int, tree: Tree) -> Spans:
    """One row of the files."""
    deepest = min(DEEPEST, room // 8)
    indent = "  " * min(row.depth, deepest) + (f"({row.depth}) " if row.depth > deepest else "")
    if row.line is None:
        if row.left:
            return [(cut(f"{indent}... {row.left} more, {size(row.left_size)} (Enter)", room), "dim")]
        return [(cut(f"{indent}reading ...", room), "dim")]
    line = row.line
    state = str(line.state)
    spans: Spans = [
        (f"{state or '·'} ", state),
        (cell(size(line.sums.size), 8, right=True), ""),
        (cell(size(line.sums.waste) if line.sums.waste else "", 9, right=True) + " ", "waste"),
    ]
    if room >= WIDE_FILES:
        mode = f"{line.entry.mode:04o}" + ("*" if "mode" in line.changed else " ")
        spans += [(cell(layer_numbers(line.sums.layers), 6) + " ", ""), (f"{mode} ", "")]
    name, note = _name(line, is_open=row.open), _note(line)
    rest = room - width(text_of(spans))
    matched = tree.only is not None and line.path in tree.only.paths
    meaning = "match" if matched else "strong" if line.place is not None else "" if line.is_there else "dim"
    if note and room >= WIDE_FILES and rest > 30:
        name = cut(indent + name, rest - min(width(note) + 2, rest // 2))
        return [*spans, (name, meaning), (cut("  " + note, rest - width(name)), "dim")]
    return [*spans, (cut(indent + name, rest), meaning)]


def _name(line: Line, *, is_open: bool) -> str:
    name = name_text(line.name)
    if line.place is not None and line.is_directory:
        return f"{'▾' if is_open else '▸'} {name}/"
    if line.place is not None:
        return f"{'▾' if is_open else '▸'} {name}"
    if line.entry.kind is Kind.SYMLINK:
        return f"  {name} -> {name_text(line.entry.link)}"
    return f"  {name}"


def _note(line: Line) -> str:
    """In words what the letter and the columns do not say."""
    state = str(line.state)
    if state == "P" and line.changed:
        return "same bytes: " + ",".join(field for field in line.changed if field != "content")
    if state == "D":
        return f"deleted, held in {layer_numbers(line.sums.layers)}" if line.sums.waste else "deleted"
    if state == "O":
        return "was of another kind"
    if state == "M" and line.changed and line.place is None:
        return ",".join(line.changed)
    return "" if line.is_there else "gone"


# -- 3 layer -------------------------------------------------------------------------------------------------


def layer_details(peel: Peel, room: int, *, wrap: bool = True) -> list[Spans]:
    """What is known of the layer at the slider's upper end."""
    if not peel.layers:
        return [[("This image has no layers.", "")]]
    number = peel.at - 1
    origin = peel.subject.origins[number]
    lines: list[Spans] = []

    def say(name: str, value: str) -> None:
        text = plain(value)
        for number, line in enumerate(wrapped(text, room - 8) if wrap else [cut(text, room - 8)]):
            lines.append([(cell("" if number else name, 8), "dim"), (line, "")])

    text = plain(origin.shown)
    lines += [[(line, "strong")] for line in (wrapped(text, room) if wrap else [cut(text, room)])]
    made = origin.instruction
    if made is not None and made.args:
        say("with", " ".join(f"{key}={value}" for key, value in made.args))
    lines.append([])
    if peel.loaded:
        each = peel.subject.account.layers[number]
        say("stored", f"{size(each.stored)}, net {signed(each.net)}, total {size(each.total)}")
        say("waste", f"made {size(each.made)}, held {size(each.held)}")
        say("paths", f"A {each.added}  M {each.modified}  P {each.metadata}  D {each.deleted}  O {each.exchanged}")
    if number < len(peel.shared) and (shown := peel.shared[number].shown) != "-":
        say("shared", f"with {shown}")
    if made is not None and made.created is not None:
        from veneer.oci import timestamp

        say("created", timestamp.render(made.created)[:19])
    if origin.blob is not None:
        at_most = AT_MOST if origin.at_most else ""
        say(
            "blob",
            f"{at_most}{size(origin.blob.size)} {origin.blob.media_type.rpartition('.')[2]} {origin.blob.digest.short}",
        )
    say("diff", str(origin.diff_id or "-"))
    say("chain", str(origin.chain_id or "-"))
    return lines


# -- 4 history -----------------------------------------------------------------------------------------------


def history_title(peel: Peel, room: int) -> str:
    return f"History of {cut_middle(path_shown(peel.path), max(room - 14, 8))}" if peel.path else "History"


def history_lines(peel: Peel, told: Told | None, room: int) -> list[Spans]:
    """What each layer did to the path, and what became of its bytes."""
    if told is None:
        return [[("no layer has it" if peel.loaded and peel.path else "", "dim")]]
    origins = peel.subject.origins
    lines: list[Spans] = []
    for event, hidden in zip(told.events, told.hidden, strict=True):
        entry = event.entry
        above = event.layer >= peel.at
        what = _what(event)
        head: Spans = [
            (cell(str(event.layer + 1), 3, right=True) + " ", "strong"),
            (f"{event.op.value} ", event.op.value),
            (cell(size(entry.size) if entry.kind is not Kind.DIRECTORY else "", 8, right=True), ""),
            (f" {entry.mode:04o} {_owner(entry)}", ""),
        ]
        rest = room - width(text_of(head))
        waste = _wasted(hidden, rest - width(what)) if hidden else ""
        what = cut(what, rest - width(waste))
        rest -= width(waste) + width(what) + 2
        made = f"  {cut(plain(origins[event.layer].shown), rest)}" if rest >= 8 else ""
        lines.append([*head, (made, "dim" if above else ""), (what, ""), (waste, "waste")])
    if told.stored:
        lines.append([(f"    {size(told.stored)} stored, {size(told.visible)} to be seen", "dim")])
    return lines


def _wasted(hidden: tuple[int, int], room: int) -> str:
    amount, layer = size(hidden[0]), hidden[1] + 1
    forms = (f"  ← wastes {amount} in layer {layer}", f"  ← wastes {amount} in {layer}", f"  ← {amount} in {layer}")
    return next((form for form in forms if width(form) <= room), forms[-1])


def _owner(entry: Entry) -> str:
    return f"{entry.uid}:{entry.gid}"


def _what(event: Event) -> str:
    if event.op.value == "D":
        by = "" if event.by == event.path else f" with {path_shown(event.by)}"
        return f"  ({event.cause.shown if event.cause else 'deleted'}{by})"
    return f"  ({','.join(event.changed)})" if event.changed else ""
