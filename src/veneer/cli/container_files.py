"""Files of variables and of labels, and what stands beside them on the command line.

Source: docker/cli opts/{file,envfile,parse}.go.
"""

from __future__ import annotations

from veneer.engine.containers.spelling import InvalidContainer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_SPACE = " \t\n\v\f\r"


def environment(files: Iterable[str], given: Iterable[str], outside: Mapping[str, str]) -> list[str]:
    """The variables of --env-file, then those of --env.  A bare name has our own value (`outside`).

    Without one it is left out of a file; on the command line it takes away what the image says.
    Raises InvalidContainer.
    """
    found = []
    for line in (line for path in files for line in _lines(path)):
        if "=" in line:
            found.append(line)
        elif line in outside:
            found.append(f"{line}={outside[line]}")
    for text in given:
        found.append(f"{text}={outside[text]}" if "=" not in text and text in outside else text)
    return found


def labels(files: Iterable[str], given: Iterable[str]) -> dict[str, str]:
    """The labels of --label-file, where bare names are nothing, then those of --label.  Raises InvalidContainer."""
    lines = [line for path in files for line in _lines(path) if "=" in line]
    return dict(text.partition("=")[::2] for text in [*lines, *given])


def _lines(path: str) -> list[str]:
    """A file of lines NAME=VALUE; empty ones and those that begin with # are left out."""
    try:
        with open(path, "rb") as file:
            content = file.read().removeprefix(b"\xef\xbb\xbf")
    except OSError as error:
        raise InvalidContainer(f"open {path}: {(error.strerror or '').lower()}") from None
    found = []
    for number, raw in enumerate(content.split(b"\n"), 1):
        try:
            line = raw.removesuffix(b"\r").decode("utf-8").lstrip(_SPACE)
        except UnicodeDecodeError:
            raise InvalidContainer(
                f"env file {path} contains invalid utf8 bytes at line {number}: [{' '.join(map(str, raw))}]"
            ) from None
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        name = name if equals else name.strip(_SPACE)
        if not name:
            raise InvalidContainer(f"poorly formatted environment: no variable name on line '{line}'")
        if any(space in name for space in _SPACE):
            raise InvalidContainer(f"poorly formatted environment: variable '{name}' contains whitespaces")
        found.append(f"{name}={value}" if equals else name)
    return found
