"""A tag that moves: what it named before, what it names now, and what that changes in the image.

Of what a tag named, its documents are remembered (manifest and config, a few kilobytes), so that layers, settings and
history can be told even when the registry has let the old image go; files only while it still has the layers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from veneer.engine.looking import differences
from veneer.errors import InvalidRequest, NotFound, VeneerError
from veneer.oci.reference import Reference
from veneer.progress import Cancelled
from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from veneer.analysis.comparison import Difference
    from veneer.distribution.client import Registries
    from veneer.distribution.standing import Standing
    from veneer.engine.engine import Engine
    from veneer.engine.looking.differences import RowChange, Setting
    from veneer.engine.looking.subject import Subject
    from veneer.oci.platform import Platform

NEW, CHANGED, DELETED = "new", "changed", "deleted"
VERSION = 1


class NeverMoves(InvalidRequest):
    """A name with a digest: what it stands for is always the same."""


class LayerTold(Value):
    """A layer that came or went: its diff ID, its bytes in the registry, and what made it."""

    __slots__ = ()
    diff_id: str
    size: int
    instruction: str


class Move(Value):
    """What became of a tag.

    `kind` is "new" (it was not there the last time), "changed" or "deleted"; `before` and `after` are the digests it
    named, "" for none, `id_before` and `id_after` the image IDs for `platform`.  `kept` layers, base first, are the
    same.  `files` is None where nobody looked, and `unseen` then says why ("" if nobody was asked to).
    """

    __slots__ = ()
    kind: str
    reference: Reference
    platform: str
    before: str = ""
    after: str = ""
    id_before: str = ""
    id_after: str = ""
    kept: int = 0
    gone: tuple[LayerTold, ...] = ()
    come: tuple[LayerTold, ...] = ()
    settings: tuple[Setting, ...] = ()
    rows: tuple[RowChange, ...] = ()
    files: tuple[Difference, ...] | None = None
    unseen: str = ""

    @property
    def to_pull(self) -> int:
        """Bytes that a host with the old image has to download for the new one."""
        return sum(layer.size for layer in self.come)


def watched(name: str) -> Reference:
    """The tag that `name` means.  Raises NeverMoves, InvalidReference."""
    reference = Reference.parse(name).tagged()
    if reference.digest is not None:
        raise NeverMoves(f"{reference.familiar} names one content for ever: there is nothing to watch",
                         hint="name a tag")  # fmt: skip
    return reference


def look(
    engine: Engine,
    registries: Registries,
    reference: Reference,
    platform: Platform,
    known: Mapping[str, Any] | None,
    *,
    files: bool = False,
) -> tuple[Move | None, dict[str, Any], Standing | None]:
    """Ask the registry where the tag stands; what became of it since `known`, and what to remember from now on.

    `known` is what the last call gave to remember, None the first time: then there is nothing to tell.  With `files`
    layers that differ are read, as streams.  Asks the registry itself, no mirror of it, by one HEAD if nothing moved.
    Raises AccessDenied, AuthenticationRequired, TryAgain, NoMatchingPlatform and what else stands in the way.
    """
    from veneer.distribution.session import NotInRegistry
    from veneer.distribution.standing import standing

    last = dict(known or {}) if (known or {}).get("version") == VERSION else {}
    registry = registries.registry(reference.registry)
    try:
        now = standing(registry, reference, str(last.get("etag") or ""))
    except NotInRegistry:
        gone = last | {"version": VERSION, "digest": "", "etag": ""}
        move = Move(DELETED, reference, str(platform), before=last["digest"]) if last.get("digest") else None
        return move, gone, None
    if now.digest is None or str(now.digest) == last.get("digest"):
        return None, last | {"etag": now.etag}, now
    move, remembered = _moved(engine, registries, reference, platform, last, str(now.digest), files)
    return (move if last else None), remembered | {"etag": now.etag}, now


def _alike(engine: Engine, registries: Registries) -> Registries:
    """Registries of one comparison's own, as patient as the caller's: who asks holds the tag's lock meanwhile."""
    from veneer.distribution.client import Registries

    return Registries(engine.config, clock=registries.effort.clock, policy=registries.effort.policy)


def _moved(
    engine: Engine, asked: Registries, reference: Reference, platform: Platform, last: Mapping[str, Any], digest: str,
    files: bool,
) -> tuple[Move, dict[str, Any]]:  # fmt: skip
    """The move to `digest`, and what to remember of it."""
    from veneer.distribution.streaming import resolve
    from veneer.engine.looking.sources import from_afar
    from veneer.oci.digest import Digest

    exact = reference.with_digest(Digest.parse(digest))
    with contextlib.ExitStack() as stack:
        registries = stack.enter_context(_alike(engine, asked))
        image = resolve(registries, exact, platform)
        new = from_afar(engine, stack, registries, image, reference.familiar)
        old = _remembered(engine, asked, stack, reference, last, new)
        move = Move(NEW if not last.get("digest") else CHANGED, reference, str(platform), str(last.get("digest") or ""),
                    digest, id_after=str(new.config.image_id))  # fmt: skip
        if old is not None:
            move = _compared(move, old, new, files)
    remembered = {"version": VERSION, "digest": digest, "manifest": image.manifest.raw.decode(),
                  "config": image.config.raw.decode()}  # fmt: skip
    return move, remembered


def _remembered(
    engine: Engine, asked: Registries, stack: contextlib.ExitStack, reference: Reference, last: Mapping[str, Any],
    new: Subject,
) -> Subject | None:  # fmt: skip
    """The image that the tag named before, by its documents; None if there is none, or they are damaged."""
    from veneer.distribution.streaming import RemoteImage
    from veneer.engine.looking.sources import from_afar
    from veneer.oci import manifest as oci
    from veneer.oci.image import ImageConfig

    try:
        manifest = oci.parse(str(last["manifest"]).encode())
        config = ImageConfig.parse(str(last["config"]).encode())
    except (KeyError, VeneerError):
        return None
    if not isinstance(manifest, oci.Manifest) or len(manifest.layers) != len(config.diff_ids):
        return None
    registries = stack.enter_context(_alike(engine, asked))
    image = RemoteImage(registries.registry(reference.registry), reference, manifest.digest, None, manifest, config)
    return from_afar(engine, stack, registries, image, reference.familiar, beside=new)


def _compared(move: Move, old: Subject, new: Subject, files: bool) -> Move:
    from veneer.analysis.sharing import common_layers

    kept = common_layers(old.config.chain_ids, new.config.chain_ids)
    had, has = set(old.config.diff_ids), set(new.config.diff_ids)
    told = move.replaced(
        id_before=str(old.config.image_id),
        kept=kept,
        gone=tuple(_layer(old, at) for at in range(kept, len(old.config.diff_ids))
                   if old.config.diff_ids[at] not in has),
        come=tuple(_layer(new, at) for at in range(kept, len(new.config.diff_ids))
                   if new.config.diff_ids[at] not in had),
        settings=tuple(differences.settings(old, new, semantic=True)),
        rows=tuple(differences.history(old, new, semantic=True)),
    )  # fmt: skip
    if not files:
        return told
    if old.config.diff_ids == new.config.diff_ids:
        return told.replaced(files=())
    try:
        return told.replaced(files=tuple(differences.files(old, new, semantic=True)))
    except NotFound as error:
        return told.replaced(unseen=f"the old image's layers are gone: {error.message}")
    except Cancelled:
        raise
    except VeneerError as error:
        return told.replaced(unseen=error.message)  # that the tag moved must be told, whatever its layers are


def _layer(subject: Subject, at: int) -> LayerTold:
    origin = subject.origins[at]
    return LayerTold(str(origin.diff_id), origin.blob.size if origin.blob else 0, origin.shown)
