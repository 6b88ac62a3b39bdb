"""What a build tells while it runs: one value per thing that happened, in order, from whichever thread did it."""

from __future__ import annotations

from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from veneer.build.caching.explain import Miss
    from veneer.oci.digest import ImageID
    from veneer.progress import Report


class Step(Value):
    """Which step: `stage` is its stage's name or number as text, `number` counts from 1 within the stage's `total`.

    `text` is the instruction as docker shows it (continuations joined), `line` where it begins in its file.
    `position` counts over all stages that are built, `of` is their sum: classic's `Step 3/20`.
    """

    __slots__ = ()
    stage: str
    number: int
    total: int
    position: int
    of: int
    text: str
    line: int


class Event(Value):
    """Base of all events; `time` is Unix seconds."""

    __slots__ = ()
    time: float


class BaseResolved(Event):
    """`FROM name` is this image."""

    __slots__ = ()
    step: Step
    name: str
    image: ImageID | None


class Transfer(Event):
    """A base image, a URL or a git source is on its way."""

    __slots__ = ()
    step: Step | None
    report: Report


class StepStarted(Event):
    """A step begins: it will be looked up in the cache, and else done."""

    __slots__ = ()
    step: Step


class Missed(Event):
    """The step is not in the cache, and why: told for every miss, shown by --explain."""

    __slots__ = ()
    step: Step
    miss: Miss


class Output(Event):
    """What a RUN printed; `stream` is 1 or 2; bytes as they came, not split at lines."""

    __slots__ = ()
    step: Step
    stream: int
    data: bytes


class StepDone(Event):
    """A step ended well: `image` is its image, `cached` whether the cache had it (`predicted`: a dry run says so).

    `size` is its layer's size in bytes, None if it made no layer.
    """

    __slots__ = ()
    step: Step
    image: ImageID | None
    cached: bool
    size: int | None
    seconds: float
    predicted: bool = False


class StepFailed(Event):
    """A step ended badly; `last_good` is the image before it, ready for a look (None: there was none)."""

    __slots__ = ()
    step: Step
    message: str
    last_good: ImageID | None


class Warned(Event):
    """Something the author should know: `rule` is a lint rule's name or "", `line` 0 if it has none."""

    __slots__ = ()
    rule: str
    message: str
    line: int = 0


class OutputProgress(Event):
    """An output (`-o`, a push) is being written."""

    __slots__ = ()
    output: str
    report: Report


class Repeated(Event):
    """All is done, and now done a second time to compare: what follows is that."""

    __slots__ = ()


class Verified(Event):
    """The second time came to the same image."""

    __slots__ = ()
    image: ImageID


class Finished(Event):
    """The build ended well: `image` (None after a dry run) got the names `tags`."""

    __slots__ = ()
    image: ImageID | None
    tags: tuple[str, ...]
    warnings: tuple[str, ...] = ()


if TYPE_CHECKING:
    Listener = Callable[[Event], None]


def unheard(event: Event) -> None:
    """The listener nobody is."""
