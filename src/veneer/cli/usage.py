"""What is said of a command line that cannot run: the fact, how the command is used, where there is more.

As docker says it.  Source: docker/cli cli/required.go, cli/cobra.go.
"""

from __future__ import annotations

from veneer.cli.app import USAGE_EXIT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.cli.flags import FlagError


class UsageError(Exception):
    """A command line that names no command, or one that cannot run: `text` is all there is to say."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.text = text
        self.code = code


def wrong_count(path: str, usage: str, problem: str, code: int = 0) -> UsageError:
    """Of the number of a command's arguments: `problem` goes on after its name, as in "requires 2 arguments"."""
    return UsageError(f"veneer: '{path}' {problem}\n\n{_ending(path, usage)}", code or 1)


def wrong_option(path: str, usage: str, error: FlagError, code: int = 0) -> UsageError:
    """Of an option."""
    hint = f"hint: did you mean {error.near}?\n" if error.near else ""
    return UsageError(f"{error}\n{hint}\n{_ending(path, usage)}", code or USAGE_EXIT)


def unknown_command(path: str, word: str, known: list[str], *, within: str) -> UsageError:
    """Of a command that is none of those `known` to `within`, which is veneer itself or a group."""
    import difflib

    near = difflib.get_close_matches(word, known, 1)
    hint = f"hint: did you mean {within} {near[0]}?\n" if near else ""
    usage = "" if within == "veneer" else f"\nUsage:  {within} COMMAND\n"
    return UsageError(f"veneer: unknown command: {path}\n{hint}{usage}\n{more_about(within)}\n", 1)


def more_about(path: str) -> str:
    """Where there is more to read."""
    return f"Run '{path} --help' for more information"


def _ending(path: str, usage: str) -> str:
    return f"{f'Usage:  {path} {usage}'.rstrip()}\n\n{more_about(path)}\n"
