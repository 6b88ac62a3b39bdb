"""COPY and ADD: what they depend on, where it goes, and the layer it makes.

Source: moby builder/dockerfile/copy.go, dispatchers.go; where words are newer than that, moby/buildkit
dockerfile2llb/convert.go.
"""

from __future__ import annotations

import contextlib
import json
import os
import posixpath
import stat

from veneer.build import classic
from veneer.build.caching.cache import facts_of
from veneer.build.context.scan import Tree
from veneer.build.copying.sources import Given, Part, Unforeseen, given
from veneer.build.language import instructions as i
from veneer.build.state import InvalidStep
from veneer.build.steps import drafted
from veneer.oci.digest import Digest
from veneer.store.durability import file_errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from veneer.build.caching.cache import Facts
    from veneer.build.caching.explain import Miss
    from veneer.build.copying.plan import Plan
    from veneer.build.stage import StageRun
    from veneer.store.layers import Layer


class NeedsDirectory(InvalidStep):
    """Several sources for a destination that is not written as a directory."""


def copy(stage: StageRun, instruction: i.Copy) -> bool:
    """Do a COPY or ADD; whether the cache had it."""
    dry_run = stage.session.request.dry_run
    looks_up = stage.looks_up
    if not looks_up:
        stage.found(None)
        if dry_run:
            return False
    with contextlib.ExitStack() as stack:
        try:
            sources = given(stage, instruction, stack)
        except Unforeseen as unforeseen:
            stage.unforeseen(str(unforeseen))
            return False
        step = Step(stage, instruction, sources)
        # Where nothing was ever done on the parent, the files are read once: while they are copied.
        first = looks_up and not dry_run and not stage.session.cache.may_have(stage.image) and not step.may_be_shared()
        if looks_up and not first:
            if stage.found(step.facts(), step.explained):
                return True
            if dry_run:
                return False
        layer = step.layer()
        facts = step.facts()
        if first and stage.found(facts):
            return True  # another build has just done it
        stage.make(step.command(), facts, layer)
        return False


class Step:
    """One COPY or ADD."""

    def __init__(self, stage: StageRun, instruction: i.Copy, sources: Given) -> None:
        self._stage = stage
        self._instruction = instruction
        self._sources = sources
        self._text = _destination(stage.state.run.working_dir, instruction.destination)
        if len(sources) > 1 and not self._is_directory:
            raise NeedsDirectory(
                f"When using {instruction.keyword} with more than one source file, the destination must be a directory "
                "and end with a /",
                hint=f"write {instruction.destination}/",
            )

    @property
    def _is_directory(self) -> bool:
        return self._text.endswith("/") or posixpath.basename(self._instruction.destination) in (".", "..")

    # ---- the cache

    def command(self) -> tuple[str, ...]:
        """What stands in history."""
        instruction = self._instruction
        checksum, target = self._sources.checksum(), instruction.destination
        words = [instruction.keyword, *instruction.shown_flags, checksum, "in", target]
        return classic.noop_files(self._stage.state.run.shell, " ".join(words) + " ")

    def facts(self) -> Facts:
        """What the step depends on; reads every source that is not known."""
        more: Facts = {"checksum": [self._sources.checksum()]}
        if self._instruction.link:
            more["note"] = {"link": self._note()}
        return facts_of(self._instruction.keyword, self._stage.state.run, self.command(), self._stage.platform, more)

    def may_be_shared(self) -> bool:
        """Whether it is worth knowing the files before they are copied: something was linked here before."""
        cache, stage = self._stage.session.cache, self._stage.planned.stage
        return self._instruction.link and not cache.is_off(stage.name, stage.index) and any(cache.linked())

    def _note(self) -> str:
        """What a layer that looks at nothing below it depends on, as a digest."""
        instruction, dated = self._instruction, self._stage.session.cache.dated({})
        told = (instruction.keyword, instruction.shown_flags, self._sources.checksum(), self._text, self._is_directory)
        return Digest.of(json.dumps([told, dated], sort_keys=True).encode()).hex

    def explained(self, miss: Miss) -> Miss:
        """The miss with the files that differ, where it is because of files."""
        if miss.kind != "file" or miss.former is None:
            return miss
        from veneer.build.caching.difference import compare

        images, layers = self._stage.store.images, self._stage.store.layers
        diff_ids = images.get(miss.former).config.diff_ids
        if not diff_ids:
            return miss
        with self._target() as (destination, into), layers.index(diff_ids[-1]) as index:
            found = compare(
                self._sources.selection(), destination, into, index,
                modes=not self._instruction.chmod, hidden=self._sources.hidden,
            )  # fmt: skip
        return miss if found is None else found.replaced(former=miss.former)

    @contextlib.contextmanager
    def _target(self) -> Iterator[tuple[bytes, bool]]:
        with contextlib.ExitStack() as stack:
            yield self._resolved(self._below(stack))

    # ---- the layer

    def layer(self) -> Layer | None:
        """Copy; None if that changes nothing."""
        # Here, and below: a step that the cache has copies nothing.
        from veneer.build.copying.filling import Filling
        from veneer.build.copying.owners import owner
        from veneer.build.copying.plan import Plan

        stage, instruction = self._stage, self._instruction
        session = stage.session
        with contextlib.ExitStack() as stack:
            below = self._below(stack)
            who = owner(instruction.chown, below) if instruction.chown else None
            target, into = self._resolved(below)
            latest = session.created_ns() if session.request.rewrite_timestamp else None
            plan = Plan(
                below, owner=who or (0, 0), now_ns=session.created_ns(), latest_ns=latest, link=instruction.link
            )
            for part in self._sources.parts:
                self._planned(plan, part, target, into, who, stack)
            if (shared := self._shared(plan)) is not None:
                return shared
            draft = stack.enter_context(drafted(stage))
            with draft.index_file() as index, file_errors(stage.store.root):
                # The disk begins meanwhile, and is nearly done when the build waits for it.
                begin_flush = stage.store.layers.begin_flush
                packed = Filling(draft, plan, latest_ns=latest).run(index, session.crews.lend, begin_flush)
            self._sources.copied()
            if not packed.entries:
                return None
            layer = draft.publish(packed, standalone=plan.is_standalone)
            stage.store.layers.begin_flush(packed.size)  # the steps that follow leave the disk alone
            return layer

    def _shared(self, plan: Plan) -> Layer | None:
        """The layer, where the same was linked on top of something else and would be the same here; else None.

        It has entries for the directories that lead to the files where they were not there below.
        """
        from veneer.changeset.entry import Kind

        stage, instruction = self._stage, self._instruction
        numeric = instruction.chown.replace(":", "").isdecimal() or not instruction.chown  # names are the image's
        if not (numeric and plan.is_standalone and self.may_be_shared()):
            return None
        layers = stage.store.layers
        listed = {place.path: place.listed for place, _, child in plan.walk() if child is None}
        for image in stage.session.cache.linked(self._note()):
            diff_ids = stage.store.images.get(image).config.diff_ids
            with layers.index(diff_ids[-1]) as index:
                same = listed == {entry.path: not entry.implied for entry in index if entry.kind is Kind.DIRECTORY}
            found = layers.share(stage.session.lease, diff_ids[-1], stage.top) if same else None
            if found is not None:
                return found
        return None

    def _planned(
        self, plan: Plan, part: Part, target: bytes, into: bool, who: tuple[int, int] | None,
        stack: contextlib.ExitStack,
    ) -> None:  # fmt: skip
        """Put the sources of one tree into the plan, archives as what is in them."""
        from veneer.build.copying.archives import unpacked
        from veneer.build.copying.items import Rules
        from veneer.build.copying.plan import Origin

        tree = part.selection.tree
        rules = Rules(tree.normalised, who or ((0, 0) if tree.normalised else None), self._instruction.chmod, False,
                      tree.what)  # fmt: skip
        for root in part.selection.roots:
            archive = None
            if part.unpack and root.folder is None:
                archive = unpacked(tree, root, self._sources.scratch(), stack)
            if archive is not None:
                plan.add(archive, target, into=True)
            else:
                plan.add(Origin(tree, (root,), rules), target, into=into)

    def _below(self, stack: contextlib.ExitStack) -> Tree | None:
        """The file system so far; None: there is none."""
        from veneer.drivers.mount import opened

        layers, top = self._stage.store.layers, self._stage.top
        if top is None:
            return None
        layers.ensure(top)
        return Tree(stack.enter_context(opened(layers.mounts(top))), "the image")

    def _resolved(self, below: Tree | None) -> tuple[bytes, bool]:
        """The destination in the image without its first slash, and whether it is a directory."""
        path = os.fsencode(posixpath.normpath("/" + self._text)).lstrip(b"/")
        if self._instruction.link or below is None:
            return path, self._is_directory or not path
        from veneer.build.copying.plan import resolve

        path = resolve(below, os.fsencode(self._text))
        status = below.status(path)
        return path, self._is_directory or not path or (status is not None and stat.S_ISDIR(status.st_mode))


def _destination(working_dir: str, written: str) -> str:
    """The destination as history shows it: absolute, with the slash that says that it is a directory."""
    if written.startswith("/"):
        return written
    path = posixpath.normpath(posixpath.join("/", working_dir, written))
    return path + "/" if written.endswith("/") and path != "/" else path
