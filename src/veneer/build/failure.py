"""How a build ends badly: which step, where it stands, what docker says, and the image there is to look at."""

from __future__ import annotations

from veneer.build.language.errors import DockerfileError, Syntax, excerpt, pointed
from veneer.errors import InvalidRequest, NotFound, VeneerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from veneer.build.language.instructions import Dockerfile, Instruction
    from veneer.oci.digest import ImageID


class CommandFailed(VeneerError):
    """A RUN that ended with another status than 0; `status` is it, or minus the signal's number."""

    def __init__(self, words: Sequence[str], status: int, *, hint: str = "") -> None:
        # A shell says 128 and the signal's number, and so does docker.
        code = 128 - status if status < 0 else status
        super().__init__(f"The command '{' '.join(words)}' returned a non-zero code: {code}", hint=hint)
        self.status = status


class StageError(InvalidRequest):
    """Stages that cannot be put in order, or a stage that is not there."""


class NoSuchContext(NotFound):
    """A `--build-context`, or what stands behind it, that is not there."""


class StepFailed(VeneerError):
    """A step that could not be done.  `cause` is why, `last_good` the image before it (None: there is none)."""

    has_lines = True

    def __init__(self, message: str, *, cause: VeneerError, last_good: ImageID | None, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.cause = cause
        self.last_good = last_good


def located(
    error: VeneerError, dockerfile: Dockerfile, instruction: Instruction, last_good: ImageID | None
) -> VeneerError:
    """`error` with the place in the Dockerfile and the last good image; what has its place already stays.

    An instruction that stands in no file (line 0: --label, an image composed in Python) is shown itself.
    """
    if isinstance(error, StepFailed | DockerfileError):
        return error
    line, end = instruction.location.line, instruction.location.end_line
    if not line:
        shown = instruction.text
    elif isinstance(error, Syntax):
        line, shown = pointed(error, dockerfile.source.decode("utf-8", "replace"), line, end)
    else:
        shown = excerpt(dockerfile.lines, line, min(end, line + 3))
    rule = "-" * 20
    place = f"{dockerfile.name}:{line}\n" if line else ""
    fact = error.message.replace("\n", "\\n")  # a command's or a name's own
    message = f"{fact}\n{place}{rule}\n{shown}\n{rule}"
    hints = [error.hint] if error.hint else []
    if last_good is not None:
        hints.append(_look_into(last_good))
    return StepFailed(message, cause=error, last_good=last_good, hint="; ".join(hints))


def _look_into(image: ImageID) -> str:
    """What can be done with the image that a failed build leaves."""
    return (
        f"the last good image is {image.short}: look into it with veneer run --rm -it {image.short} sh, "
        f"or go on from it with FROM {image.short}"
    )
