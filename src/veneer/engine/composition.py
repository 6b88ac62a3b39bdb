"""Images composed in Python, without a Dockerfile: values that stand for an image, each method giving the next one.

Every method is the instruction a Dockerfile would have for it and goes through the builder: the same cache, the same
history rows, the same intermediate images.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from veneer.build.context.failures import SourceNotFound
from veneer.build.language import instructions as i
from veneer.errors import InvalidRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from veneer.build.request import BuildRequest
    from veneer.engine.engine import Engine
    from veneer.oci.digest import ImageID
    from veneer.store.image import Image

SCRATCH = "scratch"
_NOWHERE = i.Location(0, 0)
_PATTERN = re.compile(r"([*?\[\\])")


class NothingThere(InvalidRequest):
    """An image from scratch to which nothing was added yet has no ID and cannot be named."""


class Composition:
    """An image to go on from; made by Engine.image_from.  It never changes.

    Each method makes an image, in the store when it returns, whose Parent is this one's; what was made before is
    taken from the build cache.  They raise what a build raises.
    """

    __slots__ = ("_engine", "_name", "_platform")

    def __init__(self, engine: Engine, name: str, platform: str = "") -> None:
        self._engine = engine
        self._name = name
        self._platform = platform

    def __repr__(self) -> str:
        return f"Composition({self._name!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Composition) and (self._name, self._engine) == (other._name, other._engine)

    def __hash__(self) -> int:
        return hash(self._name)

    @property
    def image(self) -> Image:
        """The image in the store.  Raises NothingThere."""
        if self._name == SCRATCH:
            raise NothingThere("there is nothing in an image from scratch yet", hint="append or configure something")
        return self._engine.images.get(self._name)

    @property
    def id(self) -> ImageID:
        return self.image.id

    # -- files

    def append(
        self, source: Path | str, dest: str = "/", *, owner: str = "", mode: str = "", exclude: Sequence[str] = ()
    ) -> Composition:
        """A layer with what is in the directory `source`, or with that one file, at `dest`.

        As COPY has it: owned by root or by `owner` (`user:group`), of `mode` (`644`, `go-w`) if given, without what the
        patterns of `exclude` and the directory's own `.dockerignore` name.  Behind a file's `dest` a slash makes it the
        directory to put the file in.  Raises SourceNotFound.
        """
        path = Path(source)
        single = not path.is_dir()
        if single and not path.exists():
            # Said here: COPY would look through all of the directory for what may have been meant.
            raise SourceNotFound(f"append failed: {path}: no such file or directory", hint="see where you are")
        words = _PATTERN.sub(r"\\\1", path.name) if single else "."
        return self._done(
            _copy(words, dest, owner=owner, mode=mode, exclude=exclude), context=path.parent if single else path
        )

    def copy(
        self, other: Composition | Image | str, path: str, dest: str, *, owner: str = "", mode: str = "",
        exclude: Sequence[str] = (),
    ) -> Composition:  # fmt: skip
        """A layer with what another image has at `path`, as COPY --from has it."""
        return self._done(
            _copy(_PATTERN.sub(r"\\\1", path), dest, owner=owner, mode=mode, exclude=exclude, origin=named(other))
        )

    def with_layers(self, *others: Composition | Image | str) -> Composition:
        """All layers of other images, in their order, on top of this one's; what is configured stays this one's.

        From scratch the first of them says how it is configured.
        """
        if not others:
            return self
        from veneer.engine.rework.stacking import stacked

        images = [self._engine.images.get(named(other)) for other in others]
        below = None if self._name == SCRATCH else self.image
        return self._next(stacked(self._engine.store, below, images).id)

    def run(self, command: str | Sequence[str], **options: Any) -> Composition:
        """A layer with what a command leaves: a text for the shell, or words.

        `options` are fields of BuildRequest: `network`, `secrets`, `add_hosts`, ...
        """
        shown, words = _command(command)
        return self._done(i.Run(_NOWHERE, f"RUN {shown}", words, (), "", "", ()), **options)

    # -- configuration

    def with_config(
        self,
        *,
        env: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        shell: Sequence[str] | None = None,
        user: str | None = None,
        workdir: str | None = None,
        ports: Sequence[str | int] = (),
        volumes: Sequence[str] = (),
        stop_signal: str | None = None,
        entrypoint: Sequence[str] | str | None = None,
        cmd: Sequence[str] | str | None = None,
    ) -> Composition:
        """The run configuration with these parts of it set; a step for each, in this order.

        `env` and `labels`, `ports` (`80`, `53/udp`) and `volumes` are added to what there is.  A command given as a
        text is for the shell.  A `workdir` that is not there is made.
        """
        steps: list[i.Instruction] = []

        def add(kind: type[i.Instruction], shown: str, value: object) -> None:
            steps.append(kind(_NOWHERE, f"{kind.__name__.upper()} {shown}", value))  # type: ignore[call-arg]

        for kind, pairs in ((i.Env, env), (i.Label, labels)):
            if pairs:
                shown = " ".join(f"{name}={value}" for name, value in pairs.items())
                add(kind, shown, tuple((quoted(name), quoted(value)) for name, value in pairs.items()))
        if shell is not None:
            add(i.Shell, _list(shell), tuple(shell))
        if user is not None:
            add(i.User, user, quoted(user))
        if workdir is not None:
            add(i.Workdir, workdir, quoted(workdir))
        if ports:
            add(i.Expose, " ".join(map(str, ports)), tuple(quoted(str(port)) for port in ports))
        if volumes:
            add(i.Volume, _list(volumes), tuple(map(quoted, volumes)))
        if stop_signal is not None:
            add(i.StopSignal, stop_signal, quoted(stop_signal))
        if entrypoint is not None:
            add(i.Entrypoint, *_command(entrypoint))
        if cmd is not None:
            add(i.Cmd, *_command(cmd))
        return self._done(*steps) if steps else self

    def tag(self, *names: str) -> Composition:
        """The same image with these names."""
        for name in names:
            self._engine.images.tag(str(self.id), name)
        return self

    # -- how

    def _done(self, *steps: i.Instruction, context: Path | None = None, **options: Any) -> Composition:
        from veneer.engine.builds import requested

        base = i.From(_NOWHERE, f"FROM {self._name}", quoted(self._name), "", "")
        stage = i.Stage(0, "", base, steps)
        dockerfile = i.Dockerfile("composition", b"", i.Directives(), (), (stage,), ())
        platforms = (self._platform,) if self._platform else ()
        request: BuildRequest = requested(context=context, dockerfile=dockerfile, platforms=platforms, **options)
        made = self._engine.builds.run(request).image
        assert made is not None, "only a dry run makes nothing of a step"
        return self._next(made)

    def _next(self, image: ImageID) -> Composition:
        return Composition(self._engine, str(image), self._platform)


def named(image: Composition | Image | str) -> str:
    """What FROM and --from call an image."""
    return image if isinstance(image, str) else str(image.id)


def quoted(word: str) -> str:
    """A word of an instruction that is read as exactly that: nothing in it is expanded."""
    return '"' + re.sub(r'(["\\$])', r"\\\1", word) + '"'


def _list(words: Sequence[str]) -> str:
    import json

    return json.dumps(list(words), ensure_ascii=False)


def _command(command: Sequence[str] | str) -> tuple[str, i.Command]:
    """A command as it is shown, and as an instruction has it: a text is for the shell."""
    if isinstance(command, str):
        return command, i.Command(True, (command,))
    return _list(command), i.Command(False, tuple(command))


def _copy(
    source: str, dest: str, *, owner: str, mode: str, exclude: Sequence[str], origin: str = ""
) -> i.Copy:  # fmt: skip
    told = [("from", origin), ("chown", owner), ("chmod", mode), *(("exclude", each) for each in exclude)]
    flags = tuple(f"--{name}={value}" for name, value in told if value)
    text = " ".join(("COPY", *flags, source, dest))
    return i.Copy(
        _NOWHERE, text, (quoted(source),), (), quoted(dest), origin, quoted(owner) if owner else "",
        quoted(mode) if mode else "", excludes=tuple(map(quoted, exclude)), flags=flags,
    )  # fmt: skip
