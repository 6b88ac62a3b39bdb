"""Why a step is not in the cache: the first thing that differs from the nearest step that was done before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from veneer.oci.digest import ImageID
    from veneer.store.builds import BuildStore, CachedStep

    Facts = Mapping[str, Any]

MAX_DETAILS = 20


class Miss(Value):
    """`kind` is one of KINDS, `summary` one sentence, `details` what else there is to say, a line each.

    `former` is the image of the nearest step that was done before, if one was found.
    """

    kind: str
    summary: str
    details: tuple[str, ...] = ()
    former: ImageID | None = None


LONGEST = 80
"""Letters of another step's text in a reason."""
KINDS = ("no-cache", "new", "instruction", "argument", "environment", "configuration", "file", "mount", "platform",
         "parent", "base", "lost")  # fmt: skip


def switched_off() -> Miss:
    return Miss("no-cache", "the cache is not to be used for this step (--no-cache, --no-cache-filter)")


def follows(text: str) -> Miss:
    """The miss of a step after one that missed; after a base that a dry run does not fetch or make, `text` is ""."""
    if not text:
        return Miss("parent", "its parent is yet to be fetched or made")
    # The line of a step that goes on and on would be repeated by each after it.
    short = text if len(text) <= LONGEST else text[: LONGEST - 3].rstrip() + "..."
    return Miss("parent", f"its parent is new: {short!r} was not in the cache")


def why(builds: BuildStore, parent: ImageID | None, facts: Facts, *, base: str = "") -> Miss:
    """Why nothing was found for `facts` on `parent`.

    `base` is the name in FROM where the step is the first after it.  A COPY's files are compared by whoever has them
    (files.py): here it is only said that they differ.  A RUN's are in the facts' notes.
    """
    from veneer.store.builds import encode

    key = encode(dict(facts))[1]
    here = [(step, step.read()) for step in builds.children(parent)]
    if any(step.key == key for step, _ in here):
        return Miss("lost", "it was done before, but its layer was not yet on the disk when the machine stopped")
    nearest = _nearest(here, facts)
    if nearest is not None:
        step, former = nearest
        return differing(former, facts).replaced(former=step.image)
    moved = _moved(builds, parent, key, facts, base)
    if moved is not None:
        return moved
    if here:
        last = here[0][1]
        return Miss(
            "instruction", f"another instruction followed here before: {text_of(last)!r}", former=here[0][0].image
        )
    return Miss("new", "nothing was ever built on this parent, or it was pruned since")


def _nearest(steps: Sequence[tuple[CachedStep, Facts]], facts: Facts) -> tuple[CachedStep, Facts] | None:
    """The step of the same kind with the fewest differences; of several the most alike, then the newest."""
    alike = [pair for pair in steps if pair[1].get("step") == facts["step"]]
    if len(alike) < 2:
        return alike[0] if alike else None
    import difflib

    text = text_of(facts)
    scored = [
        (sum(1 for _ in _unlike(former, facts)), -difflib.SequenceMatcher(None, text_of(former), text).ratio(), number)
        for number, (_, former) in enumerate(alike)
    ]
    return alike[min(scored)[2]]


def _moved(builds: BuildStore, parent: ImageID | None, key: str, facts: Facts, base: str) -> Miss | None:
    """The same step on another parent."""
    others = [step for step in builds.alike(key) if step.parent != parent]
    if base:
        noted = [step for step in builds.noted(f'"base":"{base}"') if step.parent != parent]
        others = [*noted, *others] if not others or others[0] not in noted else others
    if not others:
        return None
    old = others[0].parent
    was, now = old.short if old else "scratch", parent.short if parent else "scratch"
    if base:
        return Miss("base", f"FROM {base} was {was} and is now {now}", former=others[0].image)
    return Miss("parent", f"it was done on {was} before, and now stands on {now}", former=others[0].image)


def text_of(facts: Facts) -> str:
    """The instruction as facts know it."""
    words = list(map(str, facts.get("cmd") or ()))
    return " ".join(words)


def _unlike(old: Facts, new: Facts) -> Iterator[str]:
    for name in dict.fromkeys((*_ORDER, *old, *new)):
        if name != "note" and old.get(name) != new.get(name):
            yield name


_ORDER = ("platform", "args", "checksum", "mounts", "cmd", "env")


def differing(old: Facts, new: Facts) -> Miss:
    """The first thing that differs between two steps of one kind."""
    names = list(_unlike(old, new))
    if not names:
        return Miss("lost", "it was done before, but what it made is not whole any more")
    if new["step"] == "ENV" and "env" in names:
        return _pairs("environment", "environment variable", _env(old), _env(new))
    for name in names:
        if name == "platform":
            return Miss("platform", f"platform: {old.get(name)} -> {new.get(name)}")
        if name == "args":
            return _pairs("argument", "build argument", old.get(name) or {}, new.get(name) or {})
        if name == "checksum" and _plain(old) == _plain(new):
            return Miss("file", "the files it copies are not the same")
        if name == "mounts":
            from veneer.build.caching import mounted

            return mounted.differing(old, new)
        if name == "cmd":
            return _words(_plain(old), _plain(new))
        if name == "env":
            return _pairs("environment", "environment variable", _env(old), _env(new))
    name = names[0]
    return Miss("configuration", f"{name.replace('_', ' ')}: {_shown(old.get(name))} -> {_shown(new.get(name))}")


def _plain(facts: Facts) -> list[str]:
    """The instruction's words without the checksum in them."""
    text = text_of(facts)
    for checksum in facts.get("checksum") or ():
        text = text.replace(str(checksum), "...")
    return text.split(" ")


def _env(facts: Facts) -> dict[str, str]:
    return dict(pair.partition("=")[::2] for pair in facts.get("env") or ())


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= 120 else text[:120] + "..."


def _pairs(kind: str, what: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Miss:
    lines = []
    for name in sorted({*old, *new}):
        if old.get(name) == new.get(name):
            continue
        if name not in old:
            lines.append(f"{what} {name} is new: {_shown(new[name])}")
        elif name not in new:
            lines.append(f"{what} {name} is gone; it was {_shown(old[name])}")
        else:
            lines.append(f"{what} {name}: {_shown(old[name])} -> {_shown(new[name])}")
    if not lines:
        return Miss(kind, f"{what}s stand in another order")
    return Miss(kind, lines[0], tuple(lines[1:MAX_DETAILS]))


def _words(old: list[str], new: list[str]) -> Miss:
    """The first stretch of words that differs."""
    begin = next((n for n, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    end = 0
    while end < min(len(old), len(new)) - begin and old[-1 - end] == new[-1 - end]:
        end += 1
    was, now = " ".join(old[begin : len(old) - end]), " ".join(new[begin : len(new) - end])
    if not was:
        summary = f"the instruction has more: {_shown(now)}"
    elif not now:
        summary = f"the instruction has less: {_shown(was)} is gone"
    else:
        summary = f"the instruction: {_shown(was)} -> {_shown(now)}"
    return Miss("instruction", summary)
