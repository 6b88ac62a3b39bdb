"""An image held against rules, and against what it was before."""

from __future__ import annotations

import enum
import fnmatch
import re
from collections.abc import Callable, Sequence

from veneer.analysis.waste import Loss, Waste, by_path
from veneer.engine.looking.rules import Rules
from veneer.engine.looking.subject import Subject
from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from veneer.engine.looking.findings import Finding

MOST_TOLD = 10
"""Paths that one verdict names in words."""
_MOST_KEPT = 1000
"""Paths that one verdict names to programs."""
NOT_YET_COMPRESSED = (
    "that is an upper bound, of layers that are not compressed yet: push the image and check it with --remote, "
    "or see what veneer image layers --remote says"
)


class Figures(Value):
    """What is compared with a baseline.  Bytes, but for `layers` and `efficiency` (0 to 1).

    `waste` leaves out what the rules ignore, `waste_percent` is it by what the image's own layers store.
    `pull_at_most`: some layers are not compressed yet, and a registry will have less than `pull`, which is None where
    nobody knows it.
    """

    __slots__ = ()
    image: str
    visible: int
    stored: int
    pull: int | None
    layers: int
    waste: int
    waste_percent: float
    efficiency: float
    pull_at_most: bool = False

    def document(self) -> dict[str, Any]:
        """As JSON; `figures` reads it again."""
        return {name: getattr(self, name) for name in type(self).__annotations__}


class Status(enum.StrEnum):
    """How a rule was kept."""

    PASS = "pass"
    FAIL = "fail"
    SKIP = "skip"


class Verdict(Value):
    """One rule: its limit and what was found, as text, and the paths or layers that broke it; `more` are not named."""

    __slots__ = ()
    rule: str
    status: Status
    limit: str
    found: str
    details: tuple[str, ...] = ()
    more: int = 0

    def told(self, most: int = MOST_TOLD) -> list[str]:
        """The first of what broke it, and how many more did."""
        left = len(self.details) - most + self.more if len(self.details) > most else self.more
        return [*self.details[:most], *([f"… and {left} more"] if left else [])]


class Judgement(Value):
    """Every verdict, the figures behind them, the baseline's if there was one, and what wasted most.

    `left_out`: the waste of the base's layers, and of what the rules ignore, which is in none of the figures.
    """

    __slots__ = ()
    verdicts: tuple[Verdict, ...]
    figures: Figures
    baseline: Figures | None
    losses: tuple[Loss, ...]
    left_out: int = 0

    @property
    def passed(self) -> bool:
        return all(verdict.status is not Status.FAIL for verdict in self.verdicts)


def figures_of(document: dict[str, Any]) -> Figures | None:
    """The figures of a JSON document of `veneer check`; None if it has none."""
    found = document.get("figures", document)
    try:
        return Figures(
            str(found["image"]), int(found["visible"]), int(found["stored"]),
            int(found["pull"]) if found["pull"] is not None else None, int(found["layers"]),
            int(found["waste"]), float(found["waste_percent"]), float(found["efficiency"]),
            bool(found.get("pull_at_most")),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError):
        return None


def counted_losses(subject: Subject, rules: Rules, base_layers: int) -> list[Loss]:
    """The waste that rules count: not the base's own, and not what `ignore-paths` names."""
    ignored = _matcher(rules.ignore_paths)
    base = base_layers if rules.ignore_base else 0
    return [loss for loss in subject.account.losses if loss.maker >= base and not ignored(loss.path)]


def measure(subject: Subject, rules: Rules, base_layers: int, *, dive: bool = False) -> Figures:
    """The figures of an image whose lowest `base_layers` layers are its base's; `dive`: in dive's arithmetic."""
    account = subject.account
    sizes = [blob.size for blob in subject.documents.blobs if blob is not None]
    # A container's own layer is in no registry; of other layers without a blob nobody knows how large it will be.
    without = 1 if subject.documents.where == "container" else 0
    pull = sum(sizes) if len(sizes) + without >= len(subject.documents.blobs) else None
    layers, at_most = len(subject.origins), subject.documents.pull_at_most
    if dive:
        from veneer.analysis.dive import figures

        found = figures(subject.indexes)
        return Figures(subject.name, account.visible, account.stored, pull, layers, found.wasted, found.wasted_percent,
                       found.score, at_most)  # fmt: skip
    waste = sum(loss.bytes for loss in counted_losses(subject, rules, base_layers))
    own = account.stored - sum(layer.stored for layer in account.layers[: base_layers if rules.ignore_base else 0])
    efficiency = 1 - waste / account.stored if account.stored else 1.0
    return Figures(subject.name, account.visible, account.stored, pull, layers, waste, waste / own if own else 0.0,
                   efficiency, at_most)  # fmt: skip


def judge(
    subject: Subject, rules: Rules, *, base_layers: int = 0, baseline: Figures | None = None, dive: bool = False,
    size: Callable[[int], str] = str,
) -> Judgement:  # fmt: skip
    """Hold an image against rules.  `size` writes bytes for people; `dive` uses dive's figures where it has some."""
    found = measure(subject, rules, base_layers, dive=dive)
    losses = counted_losses(subject, rules, base_layers)
    told, more = _copies(subject, size) if dive else _losses(losses, size)
    verdicts: list[Verdict] = []

    def at_most(
        rule: str, limit: float | None, value: float, show: Callable[[Any], str], *, waste: bool = False
    ) -> None:
        if limit is not None:
            good = value <= limit
            why = (told, more) if waste and not good else ((), 0)
            verdicts.append(Verdict(rule, Status.PASS if good else Status.FAIL, show(limit), show(value), *why))

    if rules.min_efficiency is not None:
        good = found.efficiency >= rules.min_efficiency
        verdicts.append(Verdict("min-efficiency", Status.PASS if good else Status.FAIL, _percent(rules.min_efficiency),
                                _percent(found.efficiency), *(((), 0) if good else (told, more))))  # fmt: skip
    at_most("max-waste", rules.max_waste, found.waste, size, waste=True)
    at_most("max-waste-percent", rules.max_waste_percent, found.waste_percent, _percent, waste=True)
    at_most("max-size", rules.max_size, found.visible, size)
    if rules.max_pull is not None:
        verdicts.append(_pull(rules.max_pull, found, size))
    at_most("max-layers", rules.max_layers, found.layers, str)
    if rules.max_growth is not None:
        verdicts.append(_growth(rules.max_growth, found, baseline))
    verdicts += _by_content(subject, rules, base_layers)
    left_out = 0 if dive else subject.account.wasted - found.waste
    return Judgement(tuple(verdicts), found, baseline, tuple(losses), left_out)


def _losses(losses: Sequence[Loss], size: Callable[[int], str]) -> tuple[tuple[str, ...], int]:
    """The paths that waste most, in words, and how many others do."""
    found = by_path(losses)
    return tuple(_wasted(waste, size) for waste in found[:MOST_TOLD]), max(len(found) - MOST_TOLD, 0)


def _copies(subject: Subject, size: Callable[[int], str]) -> tuple[tuple[str, ...], int]:
    """As `_losses`, by dive's arithmetic: every copy of a path that has several counts."""
    from veneer.analysis.dive import figures

    found = [each for each in figures(subject.indexes).repeated if each.bytes]
    told = tuple(f"{size(each.bytes)} {_path(each.path)}: all its {each.count} copies" for each in found[:MOST_TOLD])
    return told, max(len(found) - MOST_TOLD, 0)


def _pull(limit: int, found: Figures, size: Callable[[int], str]) -> Verdict:
    """That the most there can be keeps the rule is certain; that it does not, is not: the verdict says so."""
    if found.pull is None:
        return Verdict("max-pull", Status.SKIP, size(limit), "not known of these layers")
    good = found.pull <= limit
    why = (NOT_YET_COMPRESSED,) if found.pull_at_most and not good else ()
    shown = f"{'at most ' if found.pull_at_most else ''}{size(found.pull)}"
    return Verdict("max-pull", Status.PASS if good else Status.FAIL, size(limit), shown, why)


def _wasted(waste: Waste, size: Callable[[int], str]) -> str:
    assert isinstance(waste.key, bytes)
    layers = ", ".join(str(maker + 1) for maker in waste.makers)
    causes = ", ".join(cause.shown for cause in waste.causes)
    return f"{size(waste.bytes)} {_path(waste.key)}: {causes}, layer {layers}"


def _growth(limit: float, found: Figures, baseline: Figures | None) -> Verdict:
    if baseline is None:
        return Verdict("max-growth", Status.SKIP, _percent(limit), "no baseline was given")
    growth = (found.visible - baseline.visible) / baseline.visible if baseline.visible else 0.0
    status = Status.PASS if growth <= limit else Status.FAIL
    return Verdict("max-growth", status, _percent(limit), f"{100 * growth:+.1f}%")


def _by_content(subject: Subject, rules: Rules, base_layers: int) -> list[Verdict]:
    found = []
    if rules.forbid_paths:
        matches = _matcher(rules.forbid_paths)
        tree = subject.table.tree
        bad = [f"{_path(node.path)} in layer {node.layer + 1}" for node in tree if matches(node.path)]
        found.append(_none_of("forbid-paths", bad))
    if rules.no_setuid_added or rules.no_secret_like_paths:
        from veneer.engine.looking.findings import Concern, findings

        concerns = findings(subject)
        if rules.no_setuid_added:
            found.append(_none_of("no-setuid-added", _told(concerns, (Concern.SETUID, Concern.SETGID), base_layers)))
        if rules.no_secret_like_paths:
            found.append(_none_of("no-secret-like-paths",
                                  _told(concerns, (Concern.SECRET, Concern.STORED_SECRET),
                                        base_layers if rules.ignore_base else 0)))  # fmt: skip
    if rules.require_labels:
        from veneer.engine.looking.origins import labels

        said = {label.key for label in labels(subject) if label.value}
        missing = [key for key in rules.require_labels if key not in said]
        found.append(_none_of("require-labels", missing, "all", "missing"))
    if rules.require_user:
        user = str(subject.config.run.get("User") or "")
        root = user.partition(":")[0].lstrip("0") in ("", "root")  # engines read 00 as a number, too
        found.append(Verdict("require-user", Status.FAIL if root else Status.PASS, "not root", user or "root"))
    return found


def _none_of(rule: str, bad: Sequence[str], good_text: str = "none", bad_text: str = "") -> Verdict:
    if not bad:
        return Verdict(rule, Status.PASS, good_text, good_text)
    return Verdict(rule, Status.FAIL, good_text, f"{len(bad)} {bad_text}".strip(), tuple(bad[:_MOST_KEPT]),
                   max(len(bad) - _MOST_KEPT, 0))  # fmt: skip


def _told(found: Sequence[Finding], concerns: Sequence[str], from_layer: int) -> list[str]:
    return [f"{_path(each.path)} in layer {each.layer + 1}" for each in found
            if each.concern in concerns and each.layer >= from_layer]  # fmt: skip


def _matcher(patterns: Sequence[str]) -> Callable[[bytes], bool]:
    """Whether a path is one that patterns name, or beneath one; without a slash a pattern means any directory."""
    if not patterns:
        return lambda path: False
    parts = []
    for pattern in patterns:
        text = pattern.strip("/")
        anywhere = "" if "/" in text or pattern.startswith("/") else "(?:.*/)?"
        named = fnmatch.translate(text).removesuffix(r"\Z").removesuffix(r"\z")  # \z: from Python 3.14 on
        parts.append(anywhere + named + "(?:/.*)?")
    compiled = re.compile("|".join(parts).encode("utf-8", "surrogateescape"), re.DOTALL)
    return lambda path: compiled.fullmatch(path) is not None


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%"


def _path(path: bytes) -> str:
    return "/" + path.decode("utf-8", "backslashreplace")
