"""`image dockerfile`: the Dockerfile an image was built from, as far as its history and layers tell.

Every row above the base becomes an instruction; COPY and ADD, whose files nobody can name any more, become comments
with what their layer holds.  Every line is read again and carried out on the base's config; what the rows did not tell
and the image has all the same is written at the end, so that building the file gives the image's configuration.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from veneer.build.runconfig import RunConfig
from veneer.engine.rework import rowtext, writing
from veneer.engine.rework.rows import Step, steps
from veneer.engine.rework.rowtext import Row
from veneer.errors import InvalidRequest
from veneer.values import Value

if TYPE_CHECKING:
    from veneer.changeset.entry import Entry
    from veneer.oci.image import ImageConfig

FROM_SCRATCH = "scratch"
MOST_FILES = 20
"""Files of a layer that a comment lists."""
_EXPANDED = {"USER", "WORKDIR", "STOPSIGNAL"}


class Line(Value):
    """One row as the Dockerfile has it.

    `text` is the instruction, "" where there is only a `comment`; `row` and `layer` count from 1, oldest first (None:
    no row, no layer), `history` is the row's own text, `args` the build arguments it saw, `files` what its layer holds,
    for rows that a Dockerfile cannot repeat.
    """

    __slots__ = ()
    keyword: str
    text: str
    comment: tuple[str, ...]
    row: int | None
    layer: int | None
    history: str
    args: tuple[tuple[str, str], ...] = ()
    files: tuple[Entry, ...] = ()


class Recovered(Value):
    """A Dockerfile found again: `base` is what stands behind FROM, `found` how it was found out ("" if it was not)."""

    __slots__ = ()
    base: str
    found: str
    lines: tuple[Line, ...]
    notes: tuple[str, ...]

    @property
    def args(self) -> dict[str, str]:
        """The build arguments that were in force, last values."""
        return {name: value for line in self.lines for name, value in line.args}

    @property
    def text(self) -> str:
        """The file."""
        return "".join(line + "\n" for line in self._all_lines())

    def _all_lines(self) -> Iterator[str]:
        if any("<<" in line.text or "--mount" in line.text for line in self.lines):
            yield "# syntax=docker/dockerfile:1"
        for note in self.notes:
            yield f"# {note}"
        if self.found:
            yield f"# The base was found by {self.found}."
        yield f"FROM {self.base}"
        for line in self.lines:
            for comment in line.comment:
                yield f"# {comment}".rstrip()
            if line.text:
                yield line.text


Files = Callable[[int], "Sequence[Entry]"]
"""What a layer (the base is 1) holds."""


def recover(
    config: ImageConfig, base: ImageConfig | None, name: str, found: str, *, skip: int, layers: int, files: Files
) -> Recovered:
    """The Dockerfile of `config`, on the image `base` called `name` (None: from scratch).

    The oldest `skip` rows and `layers` layers are the base's.
    """
    args = _known_args(config)
    replay = _Replay({**(base.run if base else {}), "OnBuild": None}, args)
    writer = _Writer(config, replay, args, files)
    own = steps(config, skip=skip, layers=layers)
    for step in own:
        writer.add(step)
    lines, notes = writer.lines, []
    for text in _repairs(replay.run, RunConfig.from_json(config.run)):
        if text.startswith("# "):
            notes.append(text.removeprefix("# "))
        elif replay.take(text):
            lines.append(Line(text.partition(" ")[0], text, (), None, None, ""))
        else:
            notes.append(f"Not said, for no Dockerfile can say it: {json.dumps(text)}")
    args = {key: value for line in lines for key, value in line.args}
    if args:
        given = " ".join(f"--build-arg {key}={_shell_word(value)}" for key, value in sorted(args.items()))
        notes[:0] = [f"It was built with these arguments in force: {each}" for each in given.splitlines()]
    if any(step.unplaced for step in own):
        notes.append("The history has fewer rows than there are layers, and does not tell which made which.")
    return Recovered(name, found, tuple(lines), tuple(notes))


def _known_args(config: ImageConfig) -> dict[str, str]:
    """The build arguments that RUN rows show, which tell where a value ends elsewhere."""
    rows = [rowtext.read_row(entry.created_by, entry.comment) for entry in config.history]
    found = {name: value for row in rows if row.words is None for name, value in row.args}
    return {name: value for row in rows for name, value in row.args} | found


class _Writer:
    """Rows become lines, one after the other: what SHELL and ARG said counts for those after them."""

    def __init__(self, config: ImageConfig, replay: _Replay, args: Mapping[str, str], files: Files) -> None:
        self.lines: list[Line] = []
        self._run = config.run
        self._replay = replay
        self._args = args
        self._files = files
        self._env = dict(pair.partition("=")[::2] for pair in RunConfig.from_json(config.run).env)
        self._declared: dict[str, None] = {}

    @property
    def _shell(self) -> tuple[str, ...]:
        return self._replay.run.shell or rowtext.DEFAULT_SHELL

    def add(self, step: Step) -> None:
        if step.entry is None:
            self._opaque(step, Row("", ""), "A layer that no row of the history tells of")
            return
        entry = step.entry
        row = rowtext.read_row(entry.created_by, entry.comment, self._shell, self._declared, self._args)
        if row.keyword in ("", "COPY", "ADD"):
            said = f"{row.keyword} {row.text}".strip() or entry.comment
            self._opaque(step, row, said or "A step that says nothing of itself")
            return
        text = self._instruction(row)
        if text is None or not self._replay.take(text):
            self._opaque(step, row, f"{row.keyword} {row.text}")
            return
        comment: tuple[str, ...] = ()
        if row.keyword == "RUN" and row.words is not None:
            comment = ("The next command is in exec form; where its words end cannot be told for sure.",)
        self.lines.append(Line(row.keyword, text, comment, step.row, step.layer, entry.created_by, row.args))

    def _opaque(self, step: Step, row: Row, said: str) -> None:
        held = tuple(self._files(step.layer)) if step.layer is not None else ()
        comment = [*(f"{line}" for line in said.splitlines()), *map(_listed, held[:MOST_FILES])]
        if len(held) > MOST_FILES:
            comment.append(f"  ... and {len(held) - MOST_FILES} more")
        history = step.entry.created_by if step.entry else ""
        self.lines.append(Line(row.keyword, "", tuple(comment), step.row, step.layer, history, row.args, held))

    def _instruction(self, row: Row) -> str | None:
        """The instruction of a row; None where its text is not as any builder writes it."""
        keyword, text = row.keyword, row.text
        if row.is_source:
            return f"{keyword} {text}"
        if keyword == "RUN":
            if row.words is not None:
                return f"RUN {row.flags + ' ' if row.flags else ''}{writing.exec_form(row.words)}"
            return writing.run(text, row.flags)
        if keyword in ("ENV", "LABEL"):
            known = self._env if keyword == "ENV" else self._run.get("Labels") or {}
            return f"{keyword} {' '.join(writing.pair(*each) for each in rowtext.pairs(text, known))}"
        if keyword == "ARG":
            return self._arg(text)
        if keyword in ("CMD", "ENTRYPOINT"):
            words = rowtext.quoted_words(text)
            return None if words is None else writing.command(keyword, words, self._shell)
        if keyword == "EXPOSE":
            return f"EXPOSE {' '.join(rowtext.ports(text))}"
        if keyword == "VOLUME":
            return f"VOLUME {writing.expanded_list(rowtext.known_words(text, self._run.get('Volumes') or ()))}"
        if keyword == "SHELL":
            return self._said_shell(text)
        if keyword == "HEALTHCHECK":
            check = rowtext.healthcheck(text)
            return None if check is None else writing.healthcheck(check)
        return f"{keyword} {writing.word(text) if keyword in _EXPANDED else text}"

    def _arg(self, text: str) -> str:
        found = rowtext.pairs(text, self._args, names=True)
        self._declared |= dict.fromkeys(name for name, _ in found)
        has_default = {name for name, _ in found if f"{name}=" in text}
        return "ARG " + " ".join(writing.pair(*each) if each[0] in has_default else each[0] for each in found)

    def _said_shell(self, text: str) -> str:
        last = tuple(map(str, self._run.get("Shell") or ()))
        plain = text.strip().removeprefix("[").removesuffix("]")
        return f"SHELL {writing.exec_form(last if ' '.join(last) == plain else plain.split())}"


def _listed(entry: Entry) -> str:
    """A file as a comment shows it."""
    from veneer.changeset.entry import Kind

    path = "/" + entry.path.decode("utf-8", "backslashreplace")
    shown = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in path)
    if entry.kind is Kind.WHITEOUT:
        return f"  {shown} (deleted)"
    if entry.kind in (Kind.SYMLINK, Kind.HARDLINK):
        target = entry.link.decode("utf-8", "backslashreplace")
        return f"  {shown} -> {'/' if entry.kind is Kind.HARDLINK else ''}{target}"
    tail = "/" if entry.kind is Kind.DIRECTORY else ""
    size = f" {entry.size}B" if entry.kind is Kind.REGULAR else ""
    return f"  {shown}{tail} {entry.mode:04o} {entry.uid}:{entry.gid}{size}"


def _shell_word(text: str) -> str:
    import shlex

    return shlex.quote(text)


# ---- what the rows did not tell


class _Replay:
    """The run configuration that instructions make, one after the other, on top of `run`."""

    def __init__(self, run: Mapping[str, Any], args: Mapping[str, str]) -> None:
        from veneer.build import state as states

        self._state = states.BuildState(RunConfig.from_json(run).with_default_path(), states.Scope(args, {}))

    @property
    def run(self) -> RunConfig:
        return self._state.run

    def take(self, text: str) -> bool:
        """Carry an instruction out; False, and nothing done, for a text that is not one instruction and no more.

        Rows are anybody's: what stands in one must not become another step of the file.
        """
        from veneer.build import state as states
        from veneer.build.language import instructions as i
        from veneer.build.language.parser import parse
        from veneer.build.language.resolve import resolve

        try:
            stages = parse(f"FROM scratch\n{text}\n".encode("utf-8", "surrogateescape")).stages
            if len(stages) != 1 or len(stages[0].instructions) != 1:
                return False
            step = stages[0].instructions[0]
            if not isinstance(step, i.Run):
                resolved = resolve(step, self._state.names)
                self._state = (
                    states.workdir(self._state, resolved)
                    if isinstance(resolved, i.Workdir)
                    else states.apply(self._state, resolved)
                )[0]
        except InvalidRequest:
            return False
        return True


def _repairs(got: RunConfig, want: RunConfig) -> Iterator[str]:
    """Instructions that make of what the lines gave what the image has; comments where none can."""
    yield from _repaired_maps(got, want)
    shell = want.shell or rowtext.DEFAULT_SHELL
    if got.shell != want.shell and want.shell:
        yield f"SHELL {writing.exec_form(want.shell)}"
    entrypoint = (got.entrypoint or ()) != (want.entrypoint or ())
    if entrypoint:
        yield f"ENTRYPOINT {writing.exec_form(want.entrypoint or ())}"
    if (entrypoint and want.cmd) or (got.cmd or ()) != (want.cmd or ()):
        yield writing.command("CMD", want.cmd, shell) if want.cmd else "CMD []"
    for keyword, have, need in (("USER", got.user, want.user), ("WORKDIR", got.working_dir, want.working_dir),
                                ("STOPSIGNAL", got.stop_signal, want.stop_signal)):  # fmt: skip
        if have != need:
            # The root is what no USER and no WORKDIR mean.
            empty = {"USER": "0", "WORKDIR": "/"}.get(keyword, "SIGTERM")
            yield f"{keyword} {writing.word(need or empty)}"
    if got.healthcheck != want.healthcheck:
        yield writing.healthcheck(want.healthcheck or {"Test": ["NONE"]})
    for trigger in _missing(got.onbuild or (), want.onbuild or ()):
        yield f"ONBUILD {trigger}"
    if got.stop_timeout != want.stop_timeout:
        yield f"# Not said: a stop timeout of {want.stop_timeout} seconds; no instruction sets one."


def _repaired_maps(got: RunConfig, want: RunConfig) -> Iterator[str]:
    have_env = dict(pair.partition("=")[::2] for pair in got.env)
    need_env = dict(pair.partition("=")[::2] for pair in want.env)
    for name, value in need_env.items():
        if have_env.get(name) != value:
            yield f"ENV {writing.pair(name, value)}"
    yield from _left_over("environment variable", have_env.keys() - need_env.keys() - {"PATH"})
    have_labels, need_labels = dict(got.labels or ()), dict(want.labels or ())
    for name, value in need_labels.items():
        if have_labels.get(name) != value:
            yield f"LABEL {writing.pair(name, value)}"
    yield from _left_over("label", have_labels.keys() - need_labels.keys())
    if ports := _missing(got.ports or (), want.ports or ()):
        yield f"EXPOSE {' '.join(ports)}"
    yield from _left_over("exposed port", set(got.ports or ()) - set(want.ports or ()))
    if volumes := _missing(got.volumes or (), want.volumes or ()):
        yield f"VOLUME {writing.expanded_list(volumes)}"
    yield from _left_over("volume", set(got.volumes or ()) - set(want.volumes or ()))


def _missing(have: Sequence[str], need: Sequence[str]) -> list[str]:
    return [each for each in need if each not in have]


def _left_over(what: str, names: Iterable[str]) -> Iterator[str]:
    for name in sorted(names):
        yield f"# Not said: the image has no {what} {json.dumps(name)} any more; no instruction takes one away."
