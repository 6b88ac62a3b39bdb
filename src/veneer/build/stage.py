"""One stage at work: each instruction looked up in the cache or carried out, each making an image on the one before.

Nothing is written for a step that only changes the configuration until a layer, or the stage's end, makes it worth a
transaction: its image's ID is known without.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence

from veneer.build import classic
from veneer.build import state as s
from veneer.build.caching.cache import facts_of
from veneer.build.derivation import StepConfigs, history_row
from veneer.build.events import BaseResolved, Missed, Step, StepDone, StepFailed, StepStarted, Transfer
from veneer.build.failure import located
from veneer.build.language import instructions as i
from veneer.build.language.resolve import resolve
from veneer.build.runconfig import RunConfig
from veneer.build.stages import SCRATCH
from veneer.errors import VeneerError
from veneer.progress import Cancelled
from veneer.store.durability import file_errors
from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from veneer.build.caching.explain import Miss
    from veneer.build.caching.imported import CachedStep
    from veneer.build.session import Session
    from veneer.build.stages import PlannedStage
    from veneer.oci.digest import ChainID, DiffID, ImageID
    from veneer.oci.image import ImageConfig
    from veneer.progress import Report
    from veneer.store.layers import Layer


MAX_PENDING = 4 << 20
"""Bytes of configs that wait to be written, and are ten times as much as objects: each has all of the history."""


class Outcome(Value):
    """What a stage came to.  `image` None: nothing at all (FROM scratch alone), or unknown in a dry run.

    `base` is the image its first step stands on.
    """

    image: ImageID | None
    state: s.BuildState
    unknown: bool
    base: ImageID | None


class Pending(Value):
    """An image that is made and not yet in the store."""

    __slots__ = ()
    image: ImageID
    config: ImageConfig
    parent: ImageID | None
    facts: dict[str, Any]


class StageRun:
    """A stage while it is worked on; used by one thread."""

    def __init__(self, session: Session, planned: PlannedStage) -> None:
        self.session = session
        self.store = session.store
        self.planned = planned
        self.platform = planned.platform
        self.image: ImageID | None = None
        self.state: s.BuildState
        self.unknown = False
        self.missed = ""
        self.layers = 0
        self._config: ImageConfig | None = None
        self._configs = StepConfigs()
        self._pending: list[Pending] = []
        self._pending_bytes = 0
        self._pending_since = 0.0
        self._first = True
        self._base: ImageID | None = None
        self._imagined = False  # a dry run whose image would come from elsewhere
        self._step: Step
        self._instructions = session.plan.steps(planned)
        self._before, self._of = session.position(planned)

    # ---- the stage

    def run(self) -> Outcome:
        """Do all of it.  Raises StepFailed and its like, Cancelled."""
        instruction: i.Instruction = self.planned.stage.base
        try:
            self._guarded(instruction, 1, self._from)
            for number, instruction in enumerate(self._instructions, 2):
                self._guarded(instruction, number, lambda each=instruction: self._do(each))
        except BaseException:
            self._kept()  # what was done stays in the cache, however this ends
            raise
        with self._placed(instruction):
            self.flush()
        return Outcome(self.image, self.state, self.unknown or self._imagined, self._base)

    def _guarded(self, instruction: i.Instruction, number: int, work: Any) -> None:
        """Do one step; a failure is told, and gets its place and the last good image."""
        stage = self.planned.stage
        total = 1 + len(self._instructions)
        step = Step(stage.title, number, total, self._before + number, self._of, instruction.text, instruction.line)
        self._step = step
        self.session.check()
        self.session.tell(StepStarted(time.time(), step))
        with self._placed(instruction):
            work()

    @contextlib.contextmanager
    def _placed(self, instruction: i.Instruction) -> Iterator[None]:
        """Tell a failure of what is done meanwhile, and give it its place and the last good image."""
        try:
            with file_errors(self.store.root):
                yield
        except Cancelled:
            raise
        except VeneerError as error:
            last_good = self._kept()
            self.session.tell(StepFailed(time.time(), self._step, error.message, last_good))
            dockerfile = self.session.plan.dockerfile
            raise located(error, dockerfile, instruction, last_good) from error

    def _kept(self) -> ImageID | None:
        """The image so far, now in the store; the last one that is there, if there is no room for it."""
        # What ended the stage is the news, and is under way: it is not to be hidden by what follows from a full disk.
        with contextlib.suppress(VeneerError), file_errors(self.store.root):
            self.flush()
        return self.image

    def _from(self) -> None:
        planned, session, began = self.planned, self.session, time.monotonic()
        if planned.base is not None:
            below = session.outcome(planned.base)
            self.image, self.unknown = below.image, below.unknown
            # Arguments come along, as with BuildKit; author and CMD of the stage do not.
            self.state = below.state.replaced(author="", has_cmd=False)
            if self.image is not None:
                self.state = self.state.with_run(image=str(self.image))
        else:
            self._external()
        self._base = self.image
        session.tell(BaseResolved(time.time(), self._step, planned.image, self.image))
        done = time.monotonic() - began
        session.tell(StepDone(time.time(), self._step, self.image, False, None, done, predicted=self.unknown))
        triggers = self.state.run.onbuild
        if triggers:
            from veneer.build.language.parser import trigger

            self.state = self.state.with_run(onbuild=None)
            for text in triggers:
                self._trigger(trigger(text))

    def _external(self) -> None:
        planned, session = self.planned, self.session
        scope = s.Scope(session.given, session.plan.meta)
        escape = session.plan.dockerfile.directives.escape
        run = RunConfig()
        if planned.image != SCRATCH or SCRATCH in session.contexts:
            image = session.bases.image(planned.image, self.platform, self._step)
            if image is None:
                self.unknown = True
            else:
                self.image, self._config = image.id, image.config
                run = RunConfig.from_json(image.config.run).replaced(image=str(image.id))
                self.platform = image.platform
        self.state = s.BuildState(run.with_default_path(), scope, escape=escape)

    def _trigger(self, instruction: i.Instruction) -> None:
        """One ONBUILD trigger; it belongs to FROM's step."""
        self._step = self._step.replaced(text=f"ONBUILD {instruction.text}")
        self.session.tell(StepStarted(time.time(), self._step))
        self._do(instruction)

    def _do(self, instruction: i.Instruction) -> None:
        began = time.monotonic()
        if isinstance(instruction, i.Expose):
            # Sorted as they are written, before variables are replaced.
            instruction = instruction.replaced(words=tuple(sorted(instruction.words)))
        resolved = resolve(instruction, self.state.names, self.state.escape)
        self.layers = -1
        if s.is_metadata(resolved):
            hit = self._metadata(resolved)
        else:
            from veneer.build import steps

            hit = steps.perform(self, resolved)
        self.session.count(hit=hit)
        self.session.tell(StepDone(
            time.time(), self._step, self.image, hit, self.layers if self.layers >= 0 else None,
            time.monotonic() - began, predicted=self.session.request.dry_run,
        ))  # fmt: skip

    def _metadata(self, instruction: i.Instruction) -> bool:
        state, comment = s.apply(self.state, instruction)
        if isinstance(instruction, i.Arg):
            self.session.declared({name for name, _ in instruction.pairs})
        self.state = state
        command = classic.noop(state.run.shell, comment)
        facts = facts_of(instruction.keyword, state.run, command, self.platform)
        if self.found(facts):
            return True
        self.make(command, facts, None)
        return False

    # ---- what steps need

    @property
    def step(self) -> Step:
        """The step that is being done."""
        return self._step

    def found(
        self, facts: dict[str, Any] | None, explained: Any = None, *, command: Sequence[str] = (), shown: str = ""
    ) -> bool:
        """Look a step up; a miss is told.

        `explained` may replace a Miss by one that says more.  `command` and `shown` are as for `make`; by default the
        command is the facts' own.
        """
        session = self.session
        stage = self.planned.stage
        if self.unknown or self.missed:
            self._tell_miss(_follows(self.missed))
            return False
        if session.cache.is_off(stage.name, stage.index):
            from veneer.build.caching.explain import switched_off

            self._tell_miss(switched_off())
            return False
        assert facts is not None
        command = command or facts["cmd"]
        there = session.cache.elsewhere(lambda: self.config, facts, shown or " ".join(command))
        if there is not None and self._brought(there, command, facts):
            return True
        hit = session.cache.find(self.image, facts)
        if hit is not None:
            self._first = False
            self._adopt(hit)
            return True
        from veneer.build.caching.explain import why

        facts, base = session.cache.dated(facts), self.planned.image if self._first else ""
        miss = why(session.cache.builds, self.image, facts, base=base)
        self._tell_miss(explained(miss) if explained is not None else miss)
        return False

    def _brought(self, there: CachedStep, command: Sequence[str], facts: dict[str, Any]) -> bool:
        """Use a step of a cache from elsewhere, which makes that cache's image this one's child; False if its layers
        cannot be had."""
        entry = there.entry
        row = history_row(entry.created, entry.author, entry.created_by, empty=entry.empty_layer, comment=entry.comment)
        dry = self.session.request.dry_run
        if not dry:
            self.flush()  # bringing it may take long, or fail
            try:
                there.take(self.session.lease, self._transferred)
            except Cancelled:
                raise
            except VeneerError as error:
                self.session.warn(f"a step of an imported cache cannot be used: {error.message}")
                return False
        self._imagined = self._imagined or dry
        self._write(command, facts, there.diff_id, row, whole=there.whole)
        return True

    def _transferred(self, report: Report) -> None:
        self.session.tell(Transfer(time.time(), self._step, report))

    @property
    def looks_up(self) -> bool:
        """Whether the next step may be in the cache at all, so that its key is worth making."""
        stage = self.planned.stage
        return not (self.unknown or self.missed or self.session.cache.is_off(stage.name, stage.index))

    def unforeseen(self, why: str) -> None:
        """In a dry run: the step would be done, since what it depends on is not here."""
        from veneer.build.caching.explain import Miss

        self._tell_miss(Miss("parent", why))

    def _tell_miss(self, miss: Miss) -> None:
        self.session.tell(Missed(time.time(), self._step, miss))
        self.missed = self.missed or self._step.text
        if self.session.request.dry_run:
            self.unknown, self.image = True, None

    def _adopt(self, image: ImageID) -> None:
        self.image, self._config = image, None
        self.state = self.state.with_run(image=str(image))

    @property
    def config(self) -> ImageConfig | None:
        """The config of the image so far; None: there is none yet."""
        if self._config is None and self.image is not None:
            self._config = self.store.images.get(self.image).config
        return self._config

    @property
    def top(self) -> ChainID | None:
        """The file system so far; None: an empty one."""
        return None if self.config is None else self.config.top

    def make(self, command: Sequence[str], facts: dict[str, Any], layer: Layer | None, *, shown: str = "") -> None:
        """The step's image: the state so far as its configuration, `command` (or `shown`) as its history.

        Nothing in a dry run.
        """
        if self.session.request.dry_run:
            return
        created_by = shown or " ".join(command)
        row = history_row(self.session.created(), self.state.author, created_by, empty=layer is None)
        self._write(command, facts, layer.diff_id if layer else None, row)
        self.layers = layer.size if layer else -1

    def _write(
        self, command: Sequence[str], facts: dict[str, Any], diff_id: DiffID | None, row: dict[str, Any],
        *, whole: bytes | None = None,
    ) -> None:  # fmt: skip
        """Go on from the image with that row and layer; `whole` is its config where that is known to the byte."""
        from veneer.oci.image import ImageConfig

        below = self.config
        if whole is not None:
            config = ImageConfig.parse(whole)
        else:
            config = self._configs.config(
                below, run=self.state.run, container=self.state.run.replaced(cmd=tuple(command)), row=row,
                diff_id=diff_id, platform=self.platform,
            )  # fmt: skip
        made = config.image_id
        facts = self.session.cache.dated(facts)
        if self._first and self.planned.base is None:
            facts = {**facts, "note": {**facts.get("note", {}), "base": self.planned.image}}
        self._first = False
        if not self.session.request.dry_run:
            if not self._pending:
                self._pending_since = time.monotonic()
            self._pending.append(Pending(made, config, self.image, facts))
            self._pending_bytes += len(config.raw)
        self.image, self._config = made, config
        self.state = self.state.with_run(image=str(made))
        if self._pending_bytes > MAX_PENDING:
            self.flush()

    def flush(self, *, waiting: float = 0.0) -> None:
        """Put the images made so far into the store, all at once; nothing if all wait for less than so many seconds.

        If that fails none of them is there, and `image` is the one before them.
        """
        if not self._pending or time.monotonic() - self._pending_since < waiting:
            return
        pending, self._pending, self._pending_bytes = self._pending, [], 0
        store, lease = self.store, self.session.lease
        added = []
        try:
            with store.catalog.transaction(), store.blobs.together():
                for each in pending:
                    if not store.images.has(each.image):
                        added.append(each.image)
                    store.images.add(lease, each.config, parent=each.parent, built=True)
                    store.builds.record(each.image, each.parent, each.facts)
        except BaseException:
            self.image, self._config = pending[0].parent, None  # nobody is to be shown what is not there
            raise
        self.session.note(added)


def _follows(text: str) -> Miss:
    from veneer.build.caching.explain import follows

    return follows(text)
