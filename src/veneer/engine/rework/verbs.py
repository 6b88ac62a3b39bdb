"""The verbs about finished images, as methods of `engine.images`; what they need is imported when they are called."""

from __future__ import annotations

from veneer.progress import silent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from veneer.engine.rework.dockerfile import Recovered
    from veneer.engine.rework.purging import Purged
    from veneer.engine.rework.rebasing import Rebased
    from veneer.engine.rework.squashing import Squashed
    from veneer.oci.digest import ChainID
    from veneer.oci.reference import Reference
    from veneer.progress import Progress
    from veneer.store.images import Image
    from veneer.store.store import Store


class Reworking:
    """New images out of finished ones.  None of these changes an image, and all leave layers below as they are.

    An image may be given by any of its names or as the value itself.
    """

    _store: Store

    def squash(
        self,
        image: Image | str,
        *,
        first: str | int = "",
        last: str | int = "",
        tag: str | None = None,
        message: str = "",
        created: str = "",
        progress: Progress = silent,
    ) -> Squashed:
        """Layers `first` to `last`, both included, as one; what later ones of them hid is in no layer any more.

        They are given as ranges.layer_range takes them; by default all above the image it was built on, or all if
        that is not known.  Raises NoSuchStep, NothingToSquash.
        """
        from veneer.engine.rework.bases import find_base
        from veneer.engine.rework.ranges import layer_range
        from veneer.engine.rework.squashing import squash

        source, name = self._image(image), _reference(tag)
        base = find_base(self._store, source) if first == "" else None
        below = len(base.image.config.diff_ids) if base else 0
        if below == len(source.config.diff_ids):
            below = 0
        begin, end = layer_range(source.config, str(first), str(last), self._top_of, base=below)
        return squash(
            self._store, source, begin, end, tag=name, message=message, created=created,
            onto=base.image if base and below else None, progress=progress,
        )  # fmt: skip

    def purge(
        self,
        image: Image | str,
        paths: Sequence[str],
        *,
        tag: str | None = None,
        message: str = "",
        created: str = "",
        progress: Progress = silent,
    ) -> Purged:
        """`paths` and all beneath them taken out of every layer, with all names their files have.

        Texts stay: history rows, build arguments in them, environment, labels.  Raises NoSuchPath, NotPurgeable.
        """
        from veneer.engine.rework.purging import purge

        return purge(
            self._store, self._image(image), paths, tag=_reference(tag), message=message, created=created,
            progress=progress,
        )  # fmt: skip

    def rebase(
        self,
        image: Image | str,
        new_base: Image | str,
        *,
        base: Image | str | None = None,
        tag: str | None = None,
        message: str = "",
        created: str = "",
        force: bool = False,
        dry_run: bool = False,
        progress: Progress = silent,
    ) -> Rebased:
        """The layers and settings `image` has beyond its base, on `new_base`: what it inherited follows that.

        `base` is what it was built on; by default what `bases.find_base` finds.  Labels of the new image name the new
        base.  `dry_run` tells what would become of it and makes nothing; `force` goes on where a directory of the
        image hides a link or file of the new base.
        Raises UnknownBase, NotTheBase, NothingToRebase, PlatformDiffers, ReliesOnBase.
        """
        from veneer.engine.rework.rebasing import rebase

        new = self._image(new_base)
        return rebase(
            self._store, self._image(image), new, name=_name_of(new, new_base), tag=_reference(tag),
            old=None if base is None else self._image(base), message=message, created=created, force=force,
            dry_run=dry_run, progress=progress,
        )  # fmt: skip

    def dockerfile(self, image: Image | str, *, base: Image | str | None = None) -> Recovered:
        """The Dockerfile again, from the history; `.text` is the file.

        `base` is the image behind FROM: by default the one that `bases.find_base` finds, else "scratch", which can
        also be asked for.  Raises NotTheBase.
        """
        from veneer.engine.rework.recovering import recovered

        given = None if base is None or base == "scratch" else self._image(base)
        return recovered(self._store, self._image(image), given, search=base is None)

    def _image(self, image: Image | str) -> Image:
        return self._store.images.find(image) if isinstance(image, str) else image

    def _top_of(self, name: str) -> ChainID | None:
        from veneer.errors import InvalidRequest, NotFound

        try:
            return self._store.images.find(name).top
        except (InvalidRequest, NotFound):
            return None


def _name_of(image: Image, given: Image | str) -> str:
    """The full name to record for a base: the one it was asked for by, else its first; "" if it has none."""
    if isinstance(given, str):
        asked = next((each for each in image.references if given in (each.familiar, str(each))), None)
        if asked is not None:
            return str(asked)
    names = image.tags or image.references
    return str(names[0]) if names else ""


def _reference(tag: str | None) -> Reference | None:
    """The name a new image gets; checked before any work is done."""
    from veneer.oci.reference import Reference
    from veneer.store.images import BadTag

    if tag is None:
        return None
    reference = Reference.parse(tag).tagged()
    if reference.digest is not None:
        raise BadTag(f"{tag}: a new image cannot be named by a digest", hint="give a name and a tag: -t name:tag")
    return reference
