"""The `veneer` command: find what was asked for, run it, and tell failures as people and scripts expect them."""

from __future__ import annotations

import errno
import gc
import os
import sys
from collections.abc import Sequence

from veneer.cli import tree
from veneer.cli.app import USAGE_EXIT, App, Failure
from veneer.cli.command import Command, commands_help, options_help
from veneer.cli.flags import FlagError, Option, Parsed, parse
from veneer.cli.tables import harmless
from veneer.cli.usage import UsageError, more_about, unknown_command, wrong_count, wrong_option
from veneer.errors import VeneerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn, TextIO

INTERRUPTED_EXIT = 130
BROKEN_PIPE_EXIT = 141
GARBAGE_AFTER = 100_000
"""New objects between two looks for garbage; the interpreter's own choice is 700."""

GLOBALS = (
    Option("config-file", "string", "Read settings from this TOML file"),
    Option("D,debug", "bool", "Show a traceback when veneer itself fails"),
    Option("durability", "string", 'What "done" promises after a power cut ("lazy", "sync", "none")'),
    Option("insecure-registry", "list", "Speak plain HTTP or unverified TLS to this registry", many=True),
    Option("root", "string", "The data root"),
    Option("storage-driver", "string", 'Where layers live ("overlay2", "fuse-overlayfs", "vfs", "erofs", "aufs")'),
    Option("v,version", "bool", "Print version information and quit"),
)


def load(leaf: tree.Leaf) -> Command:
    """The command a leaf stands for; imports its module."""
    # __import__ and not importlib: a short command has no other use for that module.
    module = __import__(f"{tree.PACKAGE}.{leaf.module}", fromlist=(leaf.attribute,))
    command: Command = getattr(module, leaf.attribute)
    return command


def find_leaf(words: Sequence[str]) -> tree.Leaf | None:
    """The command these words begin with; None if they name none."""
    leaf = tree.TOP.get(words[0]) if words else None
    group = tree.GROUPS.get(words[0]) if words else None
    if group and len(words) > 1:
        leaf = group.leaves.get(group.aliases.get(words[1], words[1]))
    return leaf


def find(words: Sequence[str]) -> tuple[Command | tree.Group | None, str, list[str]]:
    """What the words name: a command or a group (None: veneer itself), its path, and the words that remain.

    Raises UsageError for a name there is not.
    """
    if not words:
        return None, "veneer", []
    name, rest = words[0], list(words[1:])
    leaf = tree.TOP.get(name) or tree.HIDDEN.get(name)
    if leaf:
        return load(leaf), f"veneer {name}", rest
    group = tree.GROUPS.get(name)
    if group is None:
        raise unknown_command(f"veneer {name}", name, [*tree.TOP, *tree.GROUPS], within="veneer")
    if not rest or rest[0].startswith("-"):
        return group, f"veneer {name}", rest
    verb = group.aliases.get(rest[0], rest[0])
    if verb not in group.leaves:
        raise unknown_command(f"veneer {name} {rest[0]}", rest[0], [*group.leaves], within=f"veneer {name}")
    return load(group.leaves[verb]), f"veneer {name} {rest[0]}", rest[1:]


def _with_globals(command: Command) -> list[Option]:
    """The command's options, and the long global ones it does not define itself, which may stand behind it too."""
    own = {option.long for option in command.options}
    extra = [Option(option.long, option.kind, option.help, many=option.many, hidden=True)
             for option in GLOBALS if option.long not in own and option.long != "version"]  # fmt: skip
    return [*command.options, *extra]


def _settings(parsed: Parsed) -> dict[str, Any]:
    """What Config takes, from the global options that were given."""
    settings: dict[str, Any] = {}
    for option, setting in (("config_file", "config_file"), ("durability", "durability"), ("root", "root"),
                            ("storage_driver", "storage_driver")):  # fmt: skip
        if option in parsed.given:
            settings[setting] = parsed.text(option)
    if "insecure_registry" in parsed.given:
        settings["insecure_registries"] = parsed.texts("insecure_registry")
    return settings


def _read(command: Command, path: str, words: list[str]) -> Parsed:
    """The command's words, understood.  Raises UsageError."""
    if command.raw:
        parsed = parse((), _with_globals(command))
        parsed.arguments += words
        return parsed
    try:
        parsed = parse(words, _with_globals(command), interspersed=command.interspersed)
    except FlagError as error:
        raise wrong_option(path, command.usage, error, command.misuse) from None
    problem = command.count_problem(len(parsed.arguments))
    if problem and not parsed.help:
        raise wrong_count(path, command.usage, problem, command.misuse)
    return parsed


def _group_help(group: tree.Group, path: str) -> str:
    rows = [(name, leaf.about) for name, leaf in group.leaves.items()]
    return "\n\n".join([f"Usage:  {path} COMMAND", group.about, commands_help("Commands", rows),
                        f"Run '{path} COMMAND --help' for more information on a command.\n"])  # fmt: skip


def _top_help(columns: int) -> str:
    common = [(name, tree.TOP[name].about) for name in tree.COMMON]
    others = [(name, leaf.about) for name, leaf in tree.TOP.items() if name not in tree.COMMON]
    return "\n\n".join([
        "Usage:  veneer [OPTIONS] COMMAND",
        "A container-image engine: layers, registries, union file systems, and a clear look at all of them",
        commands_help("Common Commands", common),
        commands_help("Management Commands", [(name, group.about) for name, group in tree.GROUPS.items()]),
        commands_help("Commands", others),
        "Global Options:\n" + options_help(GLOBALS, columns),
        "Run 'veneer COMMAND --help' for more information on a command.\n",
    ])  # fmt: skip


def _dispatch(app: App, words: Sequence[str]) -> int:
    try:
        top = parse(words, GLOBALS, interspersed=False)
    except FlagError as error:
        raise wrong_option("veneer", "[OPTIONS] COMMAND [ARG...]", error) from None
    if top.flag("version"):
        from veneer import __version__

        app.write(f"veneer version {__version__}\n")
        return 0
    rest = top.arguments
    asks_help = top.help
    if rest[:1] == ["help"]:
        asks_help, rest = True, rest[1:]
    found, path, rest = find(rest)
    if found is None:
        (app.out if asks_help else app.err).write(_top_help(app.columns))
        return 0
    if isinstance(found, tree.Group):
        (app.out if asks_help or rest else app.err).write(_group_help(found, path))
        return 0
    if asks_help:
        app.write(found.help(path, app.columns))
        return 0
    parsed = _read(found, path, rest)
    if parsed.help:
        app.write(found.help(path, app.columns))
        return 0
    app.path = path
    app.settings.update(_settings(top) | _settings(parsed))
    app.debug = top.flag("debug") or parsed.values.get("debug") is True
    if not found.only_looks:
        app.enter_namespace()
    try:
        code = found.run(app, parsed) or 0
    except FlagError as error:  # of a value that only the command itself understands
        raise wrong_option(path, found.usage, error) from None
    app.tell_notes()
    return code


def run(
    words: Sequence[str], out: TextIO, err: TextIO, stdin: TextIO,
    *, now: float | None = None, owns_process: bool = False,
) -> int:  # fmt: skip
    """Run one command line (without the program's name) on these streams; gives the exit status.

    `now` is the moment ages are counted from, in Unix seconds (None: this one); `owns_process`: nothing else is done in
    this process.
    Everything expected to go wrong ends here as a sentence on `err`; BrokenPipeError is left to the caller.
    """
    app = App(out, err, stdin, {}, now, owns_process=owns_process)
    try:
        code = _dispatch(app, words)
        out.flush()
        return code
    except UsageError as error:
        err.write(harmless(error.text, keep="\n"))
        return error.code
    except Failure as failure:
        if failure.message:
            app.warn(f"Error: {app.spelled(failure.message)}")
        if failure.hint:
            app.hint(failure.hint)
        if failure.code == USAGE_EXIT:
            app.err.write(f"\n{more_about(app.path)}\n")
        return failure.code
    except VeneerError as error:
        out.flush()
        say(app, error)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED_EXIT
    except BrokenPipeError:
        raise
    except OSError as error:
        out.flush()
        _say_host_error(app, error)
        return 1
    except Exception as error:  # noqa: BLE001  the one place where a bug becomes a sentence
        out.flush()
        _say_bug(app, error)
        return 1
    finally:
        app.close()


def say(app: App, error: VeneerError) -> None:
    """The error, and the way out of it, on standard error."""
    for line in f"Error: {error.message}".split("\n") if error.has_lines else [f"Error: {error.message}"]:
        app.warn(line)
    if error.hint:
        app.hint(error.hint)


def _say_host_error(app: App, error: OSError) -> None:
    """What the machine refused: a full disk, a missing permission, a file that is not there."""
    if app.debug:
        _traceback(app, error)
    if error.errno == errno.EROFS and f"{error.filename}/".startswith(f"{app.engine.config.root_name}/"):
        app.warn(f"Error: {app.engine.config.root} is on a read-only file system")
        app.hint("choose another with --root")
        return
    where = ": ".join(str(name) for name in (error.filename, error.filename2) if name is not None)
    reason = (error.strerror or str(error) or type(error).__name__).lower()
    app.warn(f"Error: {where}: {reason}" if where else f"Error: {reason}")


def _say_bug(app: App, error: Exception) -> None:
    if app.debug:
        _traceback(app, error)
    app.warn(f"Error: veneer failed at something it should be able to do: {type(error).__name__}: {error}")
    if not app.debug:
        app.hint("this is a bug; please report it with what the same command prints under veneer --debug")


def _traceback(app: App, error: BaseException) -> None:
    import traceback

    app.err.write(harmless("".join(traceback.format_exception(error)), keep="\n"))


def main() -> NoReturn:
    """The console script."""
    # A list of 10,000 images is many small objects and no garbage: looking for some again and again takes a fifth of
    # the whole time.
    gc.set_threshold(GARBAGE_AFTER)
    if None in (sys.stdin, sys.stdout, sys.stderr):
        _replace_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        # Names are bytes of any kind and docker prints UTF-8 whatever the locale says.
        stream.reconfigure(encoding="utf-8", errors="surrogateescape")  # type: ignore[union-attr]
    try:
        code = run(sys.argv[1:], sys.stdout, sys.stderr, sys.stdin, owns_process=True)
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        # Whoever read has gone.  Point the stream elsewhere, or the interpreter complains when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = BROKEN_PIPE_EXIT
    _leave(code)


def _replace_closed_streams() -> None:
    """Put something in the place of standard streams the caller closed (`>&-`), or the next file opened would be one.

    Standard input is empty, standard output a pipe nobody reads, and what is said on standard error is lost.
    """
    if sys.stdin is None:
        sys.stdin = os.fdopen(_descriptor(0, os.open(os.devnull, os.O_RDONLY)))
    if sys.stdout is None:
        read, write = os.pipe()
        os.close(read)
        sys.stdout = os.fdopen(_descriptor(1, write), "w")
    if sys.stderr is None:
        sys.stderr = os.fdopen(_descriptor(2, os.open(os.devnull, os.O_WRONLY)), "w")


def _descriptor(wanted: int, opened: int) -> int:
    """`opened` under the number `wanted`, which child processes get too."""
    if opened == wanted:
        os.set_inheritable(opened, True)
    else:
        os.dup2(opened, wanted)
        os.close(opened)
    return wanted


def _leave(code: int) -> NoReturn:
    """End the process at once, unless a profiler, a debugger or `-X dev` waits for a regular end.

    Everything is closed and written by now; to take the interpreter apart, module by module, would be a tenth of
    what a short command takes.
    """
    if sys.getprofile() or sys.gettrace() or sys.flags.dev_mode:
        sys.exit(code)
    os._exit(code)
