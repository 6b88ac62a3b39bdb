"""Images kept open while people look at them: the last few, each with the views that were asked for.

An image never changes, its names do: so it is looked up by name each time, and kept by what it is and what it is
called.  A container changes: what it wrote is read again after a few seconds.
One question at a time is answered of one image; several images are looked at side by side.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator

from veneer.errors import NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, TypeVar

    from veneer.analysis.view import View
    from veneer.engine.engine import Engine
    from veneer.engine.looking.subject import Subject
    from veneer.oci.manifest import Index
    from veneer.store.images import Image

    T = TypeVar("T")

MOST_SUBJECTS = 48
MOST_ENTRIES = 1_000_000
"""Of the layers of images that are kept open while nobody asks them anything; the last one is kept whatever it has."""
MOST_VIEWS = 12
"""Of one image: pairs of depths whose sums are kept."""
MOST_LISTS = 8
MOST_ROWS = 1_200_000
"""Of one image: lists that are kept while somebody pages through them, and what all their rows weigh; a name in a
directory weighs 1.  The list that was asked for last is kept whatever it weighs."""
CONTAINER = "container:"
NOBODY: Mapping[str, Subject] = {}
CONTAINER_SECONDS = 5.0
"""How long what a container wrote is taken for what it has written; the questions of one page come within that."""


def parted(ref: str) -> tuple[str, str]:
    """NAME@OS/ARCH as (name, platform); of any other the platform is "".  No digest has a slash, each has a colon."""
    name, at, platform = ref.rpartition("@")
    return (name, platform) if at and "/" in platform and ":" not in platform else (ref, "")


class Looked:
    """One image that is looked at.  Hold `lock` while asking it anything that is not in its documents."""

    def __init__(
        self, subject: Subject, image: Image | None, stack: contextlib.ExitStack, until: float = math.inf
    ) -> None:
        self.subject = subject
        self.image = image
        self.until = until
        """By the monotonic clock: when it is to be opened again."""
        self.lock = threading.RLock()
        self.users = 0
        self._stack = stack
        self._views: OrderedDict[tuple[int, int], View] = OrderedDict()
        self._kept: OrderedDict[object, tuple[list[Any], int]] = OrderedDict()

    @property
    def etag(self) -> str:
        """What changes when an answer about the image itself could; "" for what may change any time."""
        return self.image.id.hex[:32] if self.image is not None else ""

    def view(self, at: int | None = None, since: int = 0) -> View:
        """The tree between two depths.  Raises NoSuchDepth."""
        from veneer.analysis.view import View

        layers = len(self.subject.table.indexes)
        key = (layers if at is None else at, since)
        found = self._views.get(key)
        if found is None:
            found = self._views[key] = View(self.subject.table, at, since, self.subject.depths)
        self._views.move_to_end(key)
        while len(self._views) > MOST_VIEWS:
            self._views.popitem(last=False)
        return found

    def kept(self, key: object, make: Callable[[], list[T]], weight: int = 1) -> list[T]:
        """The rows that `make` gives, remembered under `key` for a while; `weight` is that of one of them."""
        found = self._kept.get(key)
        if found is None:
            rows = make()
            found = self._kept[key] = (rows, weight * len(rows))
        self._kept.move_to_end(key)
        while len(self._kept) > MOST_LISTS or (
            len(self._kept) > 1 and sum(weight for _, weight in self._kept.values()) > MOST_ROWS
        ):
            self._kept.popitem(last=False)
        return found[0]

    @property
    def weight(self) -> int:
        """How many entries its layers have; 0 as long as nobody has looked into them."""
        return sum(map(len, self.subject.__dict__.get("indexes", ())))

    def close(self) -> None:
        self._stack.close()


class Subjects:
    """The images of one engine that are open."""

    def __init__(self, engine: Engine, most: int = MOST_SUBJECTS, *, guests: Mapping[str, Subject] = NOBODY) -> None:
        self.engine = engine
        self.guests = {ref: Looked(subject, None, contextlib.ExitStack()) for ref, subject in guests.items()}
        """Images that are not in the store; whoever brought them closes them."""
        self._most = most
        self._guard = threading.Lock()
        self._reading = threading.Lock()
        self._open: OrderedDict[tuple[str, ...], Looked] = OrderedDict()
        self._replaced: list[Looked] = []
        """No longer to be opened by anybody, but somebody may look at them still."""
        self._next_look = 0.0
        """By the monotonic clock: when it is looked again what of that is out of date."""
        self.pull_sizes: dict[str, tuple[int, bool]] = {}
        """Bytes to pull, by manifest."""

    def image(self, ref: str, platform: str = "") -> Image:
        """The image of the store called `ref`, for `platform` if that is given; NAME@OS/ARCH says both at once.

        Raises NoSuchImage, AmbiguousID, InvalidReference, NotThatPlatform.
        """
        ref, named = parted(ref)
        platform = platform or named
        image = self.engine.images.get(ref)
        if not platform:
            return image
        from veneer.engine.looking.sources import of_platform
        from veneer.oci.platform import Platform

        return of_platform(self.engine, image, ref, Platform.parse(platform))

    def platforms(self, index: Index) -> list[str]:
        """For which of the platforms of an index its image is in the store."""
        here = {str(image.manifest) for image in self.engine.images.list(all=True)}
        return [str(each.platform) for each in index.images() if str(each.digest) in here]

    @contextlib.contextmanager
    def opened(self, ref: str, platform: str = "") -> Iterator[Looked]:
        """The image or the guest called `ref`, or the container called `container:NAME`, open as long as it is needed.

        Raises what `image` raises, and NoSuchContainer.
        """
        if ref in self.guests:
            yield self._guest(ref, platform)
            return
        name = ref.removeprefix(CONTAINER)
        self._let_go()
        looked = self._of_container(name) if name != ref else self._of_image(self.image(ref, platform))
        try:
            yield looked
        finally:
            self._given_back(looked)

    def _guest(self, ref: str, platform: str) -> Looked:
        """A guest is of one platform: which one was said when it was brought."""
        from veneer.engine.looking.sources import NotThatPlatform
        from veneer.oci.platform import Platform

        guest = self.guests[ref]
        here = guest.subject.config.platform
        if platform and (wanted := Platform.parse(platform)) and str(wanted) != str(here):
            raise NotThatPlatform(f"{ref}: it is shown for {here}, not for {wanted}",
                                  hint=f"veneer serve --platform {wanted} {ref}")  # fmt: skip
        return guest

    def _of_image(self, image: Image) -> Looked:
        from veneer.engine.looking.sources import of_image

        key = (str(image.id), *map(str, image.references))
        with self._guard:
            looked = self._open.get(key)
            if looked is None:
                stack = contextlib.ExitStack()
                looked = self._open[key] = Looked(of_image(self.engine, stack, image), image, stack)
            return self._taken(key, looked)

    def _of_container(self, name: str) -> Looked:
        key = (CONTAINER, name)
        with self._reading:
            with self._guard:
                looked = self._open.get(key)
                if looked is not None and time.monotonic() < looked.until:
                    return self._taken(key, looked)
            # Outside the guard: what it wrote may be much.
            stack = contextlib.ExitStack()
            subject = stack.enter_context(self.engine.looking.open(name, container=True))
            fresh = Looked(subject, None, stack, time.monotonic() + CONTAINER_SECONDS)
            with self._guard:
                if (old := self._open.pop(key, None)) is not None:
                    self._replaced.append(old)
                self._open[key] = fresh
                return self._taken(key, fresh)

    def _taken(self, key: tuple[str, ...], looked: Looked) -> Looked:
        self._open.move_to_end(key)
        looked.users += 1
        return looked

    def _let_go(self) -> None:
        """Put aside, now and then, what nobody will be given again, which keeps the room of deleted files: containers
        that are to be read anew, and images that are gone or called otherwise."""
        now = time.monotonic()
        with self._guard:
            if now < self._next_look:
                return
            self._next_look = now + CONTAINER_SECONDS
            for key, each in list(self._open.items()):
                if now >= each.until or (each.image is not None and self._key_now(each.image) != key):
                    self._replaced.append(self._open.pop(key))

    def _key_now(self, image: Image) -> tuple[str, ...]:
        try:
            image = self.engine.store.images.get(image.id)
        except NotFound:
            return ()
        return (str(image.id), *map(str, image.references))

    def _given_back(self, looked: Looked) -> None:
        with self._guard:
            looked.users -= 1
            weight = sum(each.weight for each in self._open.values())
            for key in [key for key, each in self._open.items() if not each.users and each is not looked]:
                if len(self._open) <= self._most and weight <= MOST_ENTRIES:
                    break
                self._replaced.append(self._open.pop(key))
                weight -= self._replaced[-1].weight
            for each in [each for each in self._replaced if not each.users]:
                self._replaced.remove(each)
                each.close()

    def pull_size(self, image: Image) -> tuple[int | None, bool]:
        """The bytes to download for an image of the store, each blob once; whether that is but the most it can be,
        for a layer is not compressed yet.

        None where its manifest does not tell, or went with the image while somebody listed it.
        """
        from veneer.oci import manifest as oci

        digest = str(image.manifest)
        found = self.pull_sizes.get(digest)
        if found is None:
            try:
                data = self.engine.store.blobs.read(image.manifest)
            except NotFound:
                return None, False
            manifest = oci.parse(data, what=f"manifest {digest}")
            layers = manifest.layers if isinstance(manifest, oci.Manifest) else ()
            found = (sum({each.digest: each.size for each in layers}.values()),
                     any(each.is_plain_layer for each in layers))  # fmt: skip
            self.pull_sizes[digest] = found
        return found

    def visible(self, image: Image) -> int | None:
        """The bytes to be seen, if somebody has asked for them already."""
        key = (str(image.id), *map(str, image.references))
        with self._guard:
            looked = self._open.get(key)
        account = looked.subject.__dict__.get("account") if looked is not None else None
        return account.visible if account is not None else None

    def close(self) -> None:
        """Close all images; nothing may be asked any more."""
        with self._guard:
            for looked in (*self._open.values(), *self._replaced):
                looked.close()
            self._open.clear()
            self._replaced.clear()
