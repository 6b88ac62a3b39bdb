"""Tags that are watched: one round of asking, what is told of a tag that moved, and when to ask again.

What is to be told is remembered before it is told, so that whoever is to hear of it does: at least once, whatever
breaks off in between.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

from veneer.errors import VeneerError
from veneer.values import Value
from veneer.view.amounts import size
from veneer.view.badges import printable
from veneer.view.texts import path_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from veneer.analysis.comparison import Difference
    from veneer.distribution.client import Registries
    from veneer.distribution.standing import Standing
    from veneer.engine.engine import Engine
    from veneer.engine.looking.moves import LayerTold, Move
    from veneer.oci.platform import Platform
    from veneer.oci.reference import Reference
    from veneer.store.watches import Watches

    Sink = Callable[[dict[str, Any]], None]

MOST_FILES = 1000
"""Paths that one message names; of the others it has the number."""
MOST_ROUNDS = 5
"""So many rounds a message is tried to be delivered in, each with the tries of its sink, before it is given up."""
LONGEST_BACK_OFF = 3600.0
LONGEST_ASKED_FOR = 86400.0
_VERBS = {"new": "is there", "changed": "moved", "deleted": "is gone"}


class Asked(Value):
    """What a round told of one tag: the message (None: nothing new), where the tag stands (None: there is none), the
    failures of those who were to be told, and `error`, for which it could not be asked after."""

    __slots__ = ()
    message: dict[str, Any] | None
    standing: Standing | None
    failures: tuple[VeneerError, ...] = ()
    first: bool = False
    error: VeneerError | None = None


def ask(
    engine: Engine, registries: Registries, reference: Reference, platform: Platform, sinks: Sequence[tuple[str, Sink]],
    *, files: bool = False, now: str,
) -> Asked:  # fmt: skip
    """Ask after one tag, remember, tell the `sinks` (each with a name that stays the same) if it moved.

    What is remembered belongs to the tag, the platform and who is told; whoever asks so for the first time goes on from
    where the tag was seen last by anybody, so that a move is not lost with an option that is added.
    `now` is the time that messages carry.  What the registry raises is in what is returned, beside the failures of the
    round; what the disk does while it is remembered is raised.
    """
    from veneer.engine.looking.moves import look
    from veneer.store.watches import Watches

    watches = Watches(engine.store)
    seen = "\n".join([str(reference), str(platform), "", "seen"])
    key = "\n".join([str(reference), str(platform), *(name for name, _ in sinks)])
    with engine.store.locked(watches.lock(key)):
        state = watches.get(key) or {}
        first = "known" not in state
        if first and "known" in (last := watches.get(seen) or {}):
            state["known"] = last["known"]
        telling = _Telling(watches, key, state, dict(sinks))
        telling.go_on()
        try:
            move, known, standing = look(engine, registries, reference, platform, state.get("known"), files=files)
        except VeneerError as error:  # messages were tried to be delivered, and each try counts: that is told, too
            return Asked(None, None, tuple(telling.failures), error=error)
        if known == state.get("known") and not first:
            return Asked(None, standing, tuple(telling.failures))
        state["known"] = known
        with engine.store.locked(watches.lock(seen)):
            watches.put(seen, {"known": known})
        message = document(move, now) if move is not None else None
        if message is not None:
            waiting = [{"to": name, "message": message, "rounds": 0} for name, _ in sinks]
            state["pending"] = [*state.get("pending", ()), *waiting]
        watches.put(key, state)
        telling.go_on()
        return Asked(message, standing, tuple(telling.failures), first)


class _Telling:
    """Messages on their way, in one round: each of those to be told is tried once, in the messages' order."""

    def __init__(self, watches: Watches, key: str, state: dict[str, Any], sinks: dict[str, Sink]) -> None:
        self._watches, self._key, self._state, self._sinks = watches, key, state, sinks
        self._deaf: set[str] = set()
        self.failures: list[VeneerError] = []

    def go_on(self) -> None:
        """Tell what is still to be told, oldest first; whoever was not reached is not tried again in this round."""
        for each in list(self._state.get("pending", ())):
            name = each["to"]
            if name in self._deaf:
                continue
            try:
                self._sinks[name](each["message"])
            except VeneerError as error:
                self.failures.append(error)
                self._deaf.add(name)
                each["rounds"] += 1
                if each["rounds"] < MOST_ROUNDS:
                    self._watches.put(self._key, self._state)
                    continue
            self._state["pending"].remove(each)
            self._watches.put(self._key, self._state)


# -- what is told -----------------------------------------------------------------------------------------------


def document(move: Move, now: str) -> dict[str, Any]:
    """A move as JSON: the keys that MicroBadger's webhooks had, then the rest."""
    reference = move.reference
    tag = [{"tag": reference.tag, "SHA": move.after or move.before}]
    return {
        "text": summary(move),
        "image_name": reference.familiar_name,
        "new_tags": tag if move.kind == "new" else [],
        "changed_tags": tag if move.kind == "changed" else [],
        "deleted_tags": tag if move.kind == "deleted" else [],
        "event": move.kind,
        "reference": str(reference),
        "platform": move.platform,
        "time": now,
        "before": {"digest": move.before, "id": move.id_before},
        "after": {"digest": move.after, "id": move.id_after},
        "layers": {
            "kept": move.kept,
            "removed": [_layer(layer) for layer in move.gone],
            "added": [_layer(layer) for layer in move.come],
            "pull_size": move.to_pull,
        },
        "config": [{"key": each.key, "before": each.before, "after": each.after} for each in move.settings],
        "history": [{"row": each.number, "before": each.before, "after": each.after} for each in move.rows],
        "files": _files(move.files) if move.files is not None else None,
        "files_unseen": move.unseen,
    }


def _layer(layer: LayerTold) -> dict[str, Any]:
    return {"diff_id": layer.diff_id, "size": layer.size, "instruction": layer.instruction}


def _files(found: Sequence[Difference]) -> dict[str, Any]:
    counts: dict[str, int] = {}
    for each in found:
        counts[each.op.value] = counts.get(each.op.value, 0) + 1
    return {
        "counts": counts,
        "changes": [
            {"op": each.op.value, "path": path_text(each.path), "changed": list(each.changed),
             "size_before": each.size_before, "size_after": each.size_after, "entries": each.entries}
            for each in found[:MOST_FILES]
        ],
        "left_off": max(len(found) - MOST_FILES, 0),
    }  # fmt: skip


def summary(move: Move) -> str:
    """A move on one line, for chats and logs."""
    name = move.reference.familiar
    told = f"{name} {_VERBS[move.kind]}: {_short(move.before)} -> {_short(move.after)}"
    if move.kind == "deleted":
        return f"{name} {_VERBS[move.kind]}: it was {_short(move.before)}"
    if move.id_before and move.id_before == move.id_after:
        return f"{told}; for {move.platform} it is the same image"
    if not move.id_before:
        return f"{name} {_VERBS[move.kind]}: {_short(move.after)}"
    parts = [f"{_count(len(move.come), 'layer')} more", f"{_count(len(move.gone), 'layer')} less",
             f"{size(move.to_pull)} to pull"]  # fmt: skip
    if move.settings:
        parts.append(_count(len(move.settings), "setting") + " changed")
    if move.files is not None:
        parts.append(_count(len(move.files), "path") + " changed")
    return f"{told}; {', '.join(parts)}"


def lines(message: dict[str, Any]) -> Iterator[str]:
    """A message for people, the summary first; any name in it may hold anything."""
    yield f"{message['time']}  {message['text']}"
    for sign, key in (("-", "removed"), ("+", "added")):
        for layer in message["layers"][key]:
            yield f"  {sign} {_short(layer['diff_id'])} {size(layer['size']):>8}  {printable(layer['instruction'])}"
    for each in message["config"]:
        yield f"  {each['key']}: {printable(each['before']) or '-'} -> {printable(each['after']) or '-'}"
    files = message["files"]
    if files is not None:
        for each in files["changes"][:20]:
            yield f"  {each['op']} {each['path']}"
        more = len(files["changes"]) - 20 + files["left_off"]
        if more > 0:
            yield f"  ... {_count(more, 'path')} more"
    if message["files_unseen"]:
        yield f"  files: {message['files_unseen']}"


def _short(digest: str) -> str:
    return digest.partition(":")[2][:12] or "nothing"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


# -- when to ask again --------------------------------------------------------------------------------------------


def pause(
    interval: float, *, standing: Standing | None = None, together: int = 1, failures: int = 0,
    asked_for: float | None = None,
) -> float:  # fmt: skip
    """Seconds until a tag is asked after again.

    Not before the registry's limit allows for it and the `together` others that are watched there; after failures twice
    as long each time; and not before the registry's own Retry-After, `asked_for`.
    """
    seconds = interval
    if standing is not None and standing.remaining is not None and standing.window:
        seconds = max(seconds, standing.window * together / (standing.remaining + 1))
    if failures:
        seconds = max(interval, min(interval * 2.0 ** min(failures, 30), LONGEST_BACK_OFF))
    if asked_for is not None:
        seconds = max(seconds, min(asked_for, LONGEST_ASKED_FOR))
    # A little later each time, by chance: many watchers that were started together must not stay together.
    return seconds * (1 + random.random() / 10)
