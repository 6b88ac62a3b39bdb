"""The instructions of a Dockerfile as values.

`location` is where it stands, `text` the instruction as docker shows it: continuation lines joined, comments gone.
Words are as written, quotes and `${...}` included, until `resolve` replaces them.
Source: docker/dockerfile:1 reference.
"""

from __future__ import annotations

from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


class Location(Value):
    """Lines of the file, from 1, both included."""

    __slots__ = ()
    line: int
    end_line: int


class Heredoc(Value):
    """A here-document: its content without the line that ends it, leading tabs gone where it began with `<<-`.

    `expand` is False where its word was quoted; `raw` is the content as written.
    """

    __slots__ = ()
    name: str
    content: str
    expand: bool
    strip_tabs: bool = False
    raw: str = ""
    fd: int = 0


class Command(Value):
    """A command in shell form (`words` is its text alone) or exec form."""

    __slots__ = ()
    shell: bool
    words: tuple[str, ...]


class RunMount(Value):
    """`RUN --mount=...`.  Sizes are bytes; `mode`, `uid`, `gid` None where not given; `text` is as written.

    `target` "" means: the working directory (bind, cache, tmpfs), /run/secrets/ID (secret, unless there is an `env`),
    a socket of the builder's choice (ssh).  `deferred`: it has variables, and means nothing before `resolve`.
    """

    __slots__ = ()
    type: str
    target: str
    source: str
    from_: str
    id: str
    readonly: bool
    required: bool
    sharing: str
    mode: int | None
    uid: int | None
    gid: int | None
    size: int
    env: str
    text: str
    deferred: bool = False


class Instruction(Value):
    """Base of all instructions."""

    __slots__ = ()
    location: Location
    text: str

    @property
    def keyword(self) -> str:
        """The instruction's word, upper case."""
        return type(self).__name__.upper()

    @property
    def line(self) -> int:
        return self.location.line


class From(Instruction):
    __slots__ = ()
    image: str
    platform: str
    alias: str


class Arg(Instruction):
    """`pairs`: names and defaults (None: none)."""

    __slots__ = ()
    pairs: tuple[tuple[str, str | None], ...]


class Env(Instruction):
    __slots__ = ()
    pairs: tuple[tuple[str, str], ...]
    legacy: bool = False


class Label(Instruction):
    __slots__ = ()
    pairs: tuple[tuple[str, str], ...]
    legacy: bool = False


NETWORKS = ("default", "none", "host")
"""What --network of a RUN, and of a build, may say."""


class Run(Instruction):
    """`flags` are the flags as written, in order.

    Where the whole command is one here-document, the shell is given its content, or, where that begins with `#!`,
    it is a `script`: a file to be made executable and run.  Other here-documents are the shell's own business.
    """

    __slots__ = ()
    command: Command
    mounts: tuple[RunMount, ...]
    network: str
    security: str
    heredocs: tuple[Heredoc, ...]
    flags: tuple[str, ...] = ()
    alone: bool = False

    @property
    def script(self) -> Heredoc | None:
        """The here-document that is a program of its own."""
        return self.heredocs[0] if self.alone and self.heredocs[0].content.startswith("#!") else None

    @property
    def shell_text(self) -> str:
        """What the shell is given, in shell form."""
        if self.alone:
            return self.heredocs[0].content
        return "".join((self.command.words[0], *(f"\n{doc.raw}{doc.name}" for doc in self.heredocs)))


class Copy(Instruction):
    """COPY.  `sources` come before `heredocs`' files; `flags` are as written, in order.

    `shown_flags` is what a history row shows of them: all but --from and what is empty.
    """

    __slots__ = ()
    sources: tuple[str, ...]
    heredocs: tuple[Heredoc, ...]
    destination: str
    from_: str = ""
    chown: str = ""
    chmod: str = ""
    link: bool = False
    parents: bool = False
    excludes: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()

    @property
    def shown_flags(self) -> tuple[str, ...]:
        return tuple(flag for flag in self.flags if not flag.startswith("--from=") and not flag.endswith("="))


class Add(Copy):
    """ADD.  `unpack` None: archives of the context are extracted, fetched ones are not."""

    __slots__ = ()
    checksum: str = ""
    unpack: bool | None = None
    keep_git_dir: bool = False


class Cmd(Instruction):
    __slots__ = ()
    command: Command


class Entrypoint(Instruction):
    __slots__ = ()
    command: Command


class Expose(Instruction):
    __slots__ = ()
    words: tuple[str, ...]


class User(Instruction):
    __slots__ = ()
    user: str


class Workdir(Instruction):
    __slots__ = ()
    path: str


class Volume(Instruction):
    __slots__ = ()
    paths: tuple[str, ...]


class StopSignal(Instruction):
    __slots__ = ()
    signal: str


class Healthcheck(Instruction):
    """`test` is (), ("NONE",), ("CMD", ...) or ("CMD-SHELL", text); times are nanoseconds, 0 where not given."""

    __slots__ = ()
    test: tuple[str, ...]
    interval_ns: int = 0
    timeout_ns: int = 0
    start_period_ns: int = 0
    start_interval_ns: int = 0
    retries: int = 0


class Shell(Instruction):
    __slots__ = ()
    words: tuple[str, ...]


class Onbuild(Instruction):
    """`trigger` is the text of the instruction to run later."""

    __slots__ = ()
    trigger: str


class Maintainer(Instruction):
    __slots__ = ()
    name: str


class Warning(Value):
    """What a linter would say; `rule` is BuildKit's name for it."""

    __slots__ = ()
    rule: str
    message: str
    line: int


class Directives(Value):
    """The parser directives at the top of a file; `last` is the last one's line, 0 if there is none."""

    __slots__ = ()
    syntax: str = ""
    escape: str = "\\"
    check: str = ""
    last: int = 0


class Stage(Value):
    """One FROM and what follows; `name` is lower case, "" if it has none."""

    index: int
    name: str
    base: From
    instructions: tuple[Instruction, ...]

    @property
    def label(self) -> str:
        """What it can be named by: its name, else its number."""
        return self.name or str(self.index)

    @property
    def title(self) -> str:
        """What it is called where its steps are shown, as by BuildKit."""
        return self.name or f"stage-{self.index}"


class Dockerfile(Value):
    """A whole file."""

    name: str
    source: bytes
    directives: Directives
    global_args: tuple[Arg, ...]
    stages: tuple[Stage, ...]
    warnings: tuple[Warning, ...]

    @property
    def lines(self) -> list[str]:
        """The source's lines, for excerpts."""
        return self.source.decode("utf-8", "replace").split("\n")

    def walk(self) -> Iterator[Instruction]:
        """Every instruction in its order, FROMs included."""
        yield from self.global_args
        for stage in self.stages:
            yield stage.base
            yield from stage.instructions
