"""`image rebase`: the layers and settings an image has of its own, on another base."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from veneer.engine.rework import bases, stacking, three_way
from veneer.engine.rework.hazards import Hazard, hazards
from veneer.engine.rework.rows import history_of, rewritten, whole_history
from veneer.errors import Conflict, InvalidRequest
from veneer.oci import timestamp
from veneer.oci.image import HistoryEntry, ImageConfig
from veneer.progress import Progress, Report, silent
from veneer.values import Value

if TYPE_CHECKING:
    from veneer.engine.rework.bases import Base
    from veneer.engine.rework.three_way import Merged
    from veneer.oci.reference import Reference
    from veneer.store.images import Image
    from veneer.store.store import Store

_PLATFORM = ("architecture", "os", "os.version", "os.features", "variant")


class UnknownBase(InvalidRequest):
    """Nothing tells what an image was built on, or it is not here."""


class NothingToRebase(InvalidRequest):
    """The image stands on that base already, or the base on the image."""


class PlatformDiffers(Conflict):
    """An image and a base for different machines."""


class ReliesOnBase(Conflict):
    """The image's own layers need something of the old base that the new one does not have."""


class Rebased(Value):
    """What a rebase made.

    `image` is None after a dry run.  `layers` are how many are the image's own, `rows` how many of the history;
    `config` is what became of its settings, `hazards` what its layers rely on (their layers count from 0, above the
    base).  `triggers` are instructions of the new base that a build would have carried out, and a rebase does not.
    """

    __slots__ = ()
    image: Image | None
    source: Image
    old: Base
    new: Image
    layers: int
    rows: int
    config: Merged
    hazards: tuple[Hazard, ...]
    triggers: tuple[str, ...]


def rebase(
    store: Store,
    source: Image,
    new: Image,
    *,
    name: str = "",
    old: Image | None = None,
    tag: Reference | None = None,
    message: str = "",
    created: str = "",
    force: bool = False,
    dry_run: bool = False,
    progress: Progress = silent,
) -> Rebased:
    """A new image: the layers of `source` above its base, as they are, on those of `new`, which is called `name`.

    `old` is the base; without one it is searched for.  `force` goes on where a directory of the image's layers hides
    a link or file of the new base.  Raises UnknownBase, NotTheBase, NothingToRebase, PlatformDiffers, ReliesOnBase.
    """
    base = _old_base(store, source, old)
    _check(source, base.image, new)
    config, below = source.config, len(base.image.config.diff_ids)
    skip = bases.shared_rows(base.image.config, config)
    merged = three_way.merged(base.image.config.run, config.run, new.config.run)
    raw = rebased_config(
        config, new.config, layers=below, rows=skip,
        run=bases.with_base_labels(merged.run, name, str(new.manifest)), message=message,
        created=created or timestamp.now(),
    )  # fmt: skip
    image = None
    with store.lease("rebase") as lease:
        with stacking.opened_indexes(store, config) as indexes, stacking.opened_indexes(store, new.config) as others:
            found = hazards(indexes[:below], others, indexes[below:])
        if not dry_run:
            _refuse(source, new, found, force=force)
            progress(Report(source.id.short, "Rebasing"))
            stacking.stand(store, lease, ImageConfig.parse(raw).diff_ids, progress=progress)
            image = stacking.add_image(store, lease, raw, tag)
    triggers = new.config.run.get("OnBuild")
    return Rebased(
        image, source, base, new, len(config.diff_ids) - below, len(config.history) - skip, merged, tuple(found),
        tuple(map(str, triggers)) if isinstance(triggers, list) else (),
    )  # fmt: skip


def rebased_config(
    config: ImageConfig, new: ImageConfig, *, layers: int, rows: int, run: dict[str, Any], message: str, created: str
) -> bytes:
    """The config with the lowest `layers` layers and the oldest `rows` rows replaced by all that `new` has.

    A row tells of it only where there is a message for one.
    """
    own = (config.history[rows:], len(config.diff_ids) - layers, config.created)
    history = whole_history(history_of(new), own)
    if history and message:
        history.append(HistoryEntry(created, comment=message, empty_layer=True))
    platform = {key: new.document.get(key) for key in _PLATFORM if key in config.document or key in new.document}
    author = config.document.get("author") or new.document.get("author")
    return rewritten(
        config, diff_ids=[*new.diff_ids, *config.diff_ids[layers:]], history=history, created=created, run=run,
        **platform, **({"author": author} if author else {}),
    )  # fmt: skip


def _old_base(store: Store, source: Image, given: Image | None) -> Base:
    if given is not None:
        base = bases.Base(given, "")
        if not bases.is_base(given.config, source.config):
            raise bases.NotTheBase(
                f"image {source.id.short} is not built on {base.name}: its lowest layers are others",
                hint="without --base the base is searched for",
            )
        return base
    found = bases.find_base(store, source)
    if found is None:
        said = bases.recorded(store, source).shown
        raise UnknownBase(
            f"image {source.id.short} is built on {said}, which is not here" if said
            else f"nothing tells what image {source.id.short} is built on",
            hint=f"pull it first: veneer pull {said}" if said else "say so: --base IMAGE",
        )  # fmt: skip
    return found


def _check(source: Image, old: Image, new: Image) -> None:
    what = f"image {source.id.short}"
    if new.id == old.id:
        raise NothingToRebase(f"{what} is built on {bases.Base(new, '').name} already")
    if new.id == source.id or (source.config.diff_ids and bases.is_base(source.config, new.config)):
        raise NothingToRebase(f"{bases.Base(new, '').name} is built on {what} itself")
    if source.config.platform.replaced(os_version="") != new.config.platform.replaced(os_version=""):
        raise PlatformDiffers(
            f"{what} is for {source.config.platform} and {bases.Base(new, '').name} for {new.config.platform}",
            hint=f"pull the base for the image's platform: veneer pull --platform {source.config.platform} ...",
        )


def _refuse(source: Image, new: Image, found: Sequence[Hazard], *, force: bool) -> None:
    severe = [each for each in found if each.is_severe and not (force and each.kind == "unfolded")]
    if severe:
        more = f" (and {len(severe) - 1} more)" if len(severe) > 1 else ""
        forced = all(each.kind == "unfolded" for each in severe)
        raise ReliesOnBase(
            f"image {source.id.short} on {bases.Base(new, '').name}: {severe[0].text}{more}",
            hint="--dry-run shows all" + ("; --force makes the image all the same" if forced else
                                          "; build the image again on that base"),
        )  # fmt: skip
