"""Images as documents: the list of them, one with its layers, and what is told of it beside its files."""

from __future__ import annotations

import contextlib

from veneer.oci import timestamp
from veneer.view.web import words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from veneer.analysis.waste import LayerFigures
    from veneer.engine.engine import Engine
    from veneer.engine.looking.origins import SharedWith, StandsOn
    from veneer.engine.looking.subject import Origin, Subject
    from veneer.oci.digest import ChainID
    from veneer.oci.manifest import Index
    from veneer.store.images import Image
    from veneer.view.web.query import Query
    from veneer.view.web.subjects import Looked, Subjects
    from veneer.view.web.words import Json

MOST_ELSEWHERE = 20
"""Images that are named for one layer."""


def ref_of(image: Image) -> str:
    """What to call an image: its first tag, its first digest, or its ID."""
    names = [*image.tags[:1], *image.digests[:1]]
    return names[0].familiar if names else str(image.id)


def short(subjects: Subjects, image: Image, layers: int) -> Json:
    """One image of a list."""
    pull, at_most = subjects.pull_size(image)
    return {
        "ref": ref_of(image), "id": str(image.id), "tags": [tag.familiar for tag in image.tags],
        "platform": str(image.platform), "created": words.moment(image.created or None), "stored": image.size,
        "visible": subjects.visible(image), "blob_size": pull, "blob_size_at_most": at_most, "layers": layers,
    }  # fmt: skip


def image_list(subjects: Subjects, query: Query) -> list[Json]:
    """The guests, and the images of the store, newest first; with `q` those that say it in a name, an ID or a label."""
    from veneer.engine.looking.origins import stacks
    from veneer.view.web.query import page_of

    images = subjects.engine.images.list(all=query.flag("all"))
    wanted = query.text("q").lower().strip()
    if wanted:
        images = [image for image in images if says(image, wanted)]
    first, limit = page_of(query.text("after")), query.number("limit", 10_000, most=10_000)
    guests = guest_list(subjects, wanted)
    here = guests[first : first + limit]
    images = images[max(first - len(guests), 0) :][: limit - len(here)]
    found = stacks(subjects.engine, images)
    return here + [short(subjects, image, len(stack.chain_ids)) for image, stack in zip(images, found, strict=True)]


def guest_list(subjects: Subjects, wanted: str) -> list[Json]:
    """The images that are not in the store, with `wanted` (lower case) in a name, the ID or a label."""
    found = []
    for ref, looked in subjects.guests.items():
        config, account = looked.subject.config, looked.subject.account
        texts = [ref, config.image_id.hex, *config.labels, *config.labels.values()]
        if any(wanted in text.lower() for text in texts):
            blobs = {blob.digest: blob.size for blob in looked.subject.documents.blobs if blob is not None}
            found.append({
                "ref": ref, "id": str(config.image_id), "tags": [], "platform": str(config.platform),
                "created": words.moment(timestamp.parse(config.created)), "stored": account.stored,
                "visible": account.visible, "blob_size": sum(blobs.values()) if blobs else None,
                "blob_size_at_most": looked.subject.documents.pull_at_most, "layers": len(config.diff_ids),
            })  # fmt: skip
    return found


def container_list(subjects: Subjects) -> list[Json]:
    """The containers, newest first: what each wrote is one more layer on its image's, at the ref told here."""
    from veneer.view.web.subjects import CONTAINER

    return [
        {"ref": CONTAINER + each.name, "id": each.id, "name": each.name, "image": each.image_name,
         "created": words.moment(each.created)}
        for each in subjects.engine.containers.list()
    ]  # fmt: skip


def says(image: Image, wanted: str) -> bool:
    """Whether a name, the ID or a label of an image has `wanted` (lower case) in it."""
    if any(wanted in name.familiar.lower() for name in image.references) or image.id.hex.startswith(wanted):
        return True
    return any(wanted in key.lower() or wanted in value.lower() for key, value in image.labels.items())


def image_document(subjects: Subjects, looked: Looked, ref: str) -> Json:
    """All that is told of one image but its files; its layers come with what they store, show and waste."""
    from veneer.view.web.subjects import parted

    engine, subject = subjects.engine, looked.subject
    _ = subject.depths  # for the map and the tree, which are asked for next; the account is made on the way
    elsewhere = _Elsewhere(engine, subject)
    with subjects.opened(ref if ref in subjects.guests else parted(ref)[0]) as named:
        index = named.subject.documents.index  # of this one, or the same for another platform
    return told(
        subject, ref, base=engine.looking.stands_on(subject), shared=engine.looking.shared_with(subject),
        elsewhere=elsewhere.of, index=index, here=subjects.platforms(index) if index else (),
    )  # fmt: skip


def told(
    subject: Subject, ref: str, *, base: StandsOn | None, shared: Sequence[SharedWith],
    elsewhere: Callable[[Origin], list[str]] = lambda origin: [], index: Index | None = None, here: Sequence[str] = (),
) -> Json:  # fmt: skip
    """The same from its parts: `shared` for each layer, `elsewhere` who has a layer's content on something else.

    `index` tells for which platforms the name stands, if the image's own documents do not, and `here` which of them
    can be looked at beside this one.
    """
    documents, config, account = subject.documents, subject.config, subject.account
    blobs = {blob.digest: blob.size for blob in documents.blobs if blob is not None}
    manifest = documents.manifest
    index = index or documents.index
    platforms = [str(each.platform) for each in index.images()] if index else []
    return {
        "ref": ref, "id": str(config.image_id), "digest": str(documents.digest or ""),
        "platform": str(config.platform), "platforms": platforms or [str(config.platform)],
        "platforms_here": [each for each in platforms if each in here] or [str(config.platform)],
        "created": words.moment(timestamp.parse(config.created)), "author": _text(config.document.get("author")),
        "labels": config.labels, "annotations": dict(manifest.annotations) if manifest else {}, "config": config.run,
        "tags": [reference.familiar for reference in documents.references if reference.digest is None],
        "where": documents.where, "stored": account.stored, "visible": account.visible, "wasted": account.wasted,
        "efficiency": account.efficiency, "blob_size": sum(blobs.values()) if None not in documents.blobs else None,
        "blob_size_at_most": documents.pull_at_most,
        "layers": [_layer(number, *of, elsewhere) for number, of in enumerate(
            zip(subject.origins, account.layers, shared, strict=True), 1)],
        "after": [words.instruction(row) for row in subject.after],
        "unplaced": [words.instruction(row) for row in subject.unplaced], "doubts": list(subject.doubts),
        "base": _base(base),
        "history": [{"created": row.created, "created_by": row.created_by, "comment": row.comment,
                     "author": row.author, "empty_layer": row.empty_layer} for row in config.history],
    }  # fmt: skip


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _base(base: StandsOn | None) -> Json | None:
    if base is None:
        return None
    here = ref_of(base.image) if base.image is not None else None
    return {"ref": base.name, "digest": base.digest, "layers": base.layers, "how": base.how, "here": here}


def _layer(
    number: int, origin: Origin, figure: LayerFigures, who: SharedWith, elsewhere: Callable[[Origin], list[str]]
) -> Json:
    return origin_document(origin, number) | {
        "stored": figure.stored, "net": figure.net, "cumulative": figure.total,
        "n": {"A": figure.added, "M": figure.modified, "P": figure.metadata, "D": figure.deleted,
              "O": figure.exchanged},
        "waste_made": figure.made, "waste_held": figure.held,
        "instr": words.instruction(origin.instruction) if origin.instruction else None,
        "empty_before": [words.instruction(row) for row in origin.before],
        "same_chain": {"base": who.base, "others": who.others}, "same_diff": elsewhere(origin),
    }  # fmt: skip


def origin_document(origin: Origin, number: int) -> Json:
    """What is known of a layer without looking into it."""
    made, blob = origin.instruction, origin.blob
    return {
        "index": number, "chain_id": str(origin.chain_id or ""), "diff_id": str(origin.diff_id or ""),
        "blob_digest": str(blob.digest) if blob else "", "media_type": blob.media_type if blob else "",
        "blob_size": blob.size if blob else None, "blob_size_at_most": origin.at_most,
        "created": words.moment(made.created if made else None),
        "created_by": made.raw if made else "", "instruction": origin.shown, "keyword": made.keyword if made else "",
    }  # fmt: skip


def images_of(engine: Engine, chain_id: ChainID) -> Iterator[Image]:
    """The images with a layer, without those that are removed while we look."""
    from veneer.errors import NotFound

    for image_id in engine.store.layers.users(chain_id):
        with contextlib.suppress(NotFound):
            yield engine.images.get(str(image_id))


class _Elsewhere:
    """Which images have a layer's content on something else."""

    def __init__(self, engine: Engine, subject: Subject) -> None:
        self._engine = engine
        self._own = {str(chain_id) for chain_id in subject.config.chain_ids}

    def of(self, origin: Origin) -> list[str]:
        layers = self._engine.store.layers
        found: dict[str, None] = {}
        for layer in layers.by_diff_id(origin.diff_id) if origin.diff_id else ():
            if str(layer.chain_id) in self._own:
                continue
            for image in images_of(self._engine, layer.chain_id):
                if len(found) >= MOST_ELSEWHERE:
                    return list(found)
                found[ref_of(image)] = None
        return list(found)


def layer_images(subjects: Subjects, text: str) -> Json:
    """A layer by its diff ID: what it holds, its blobs, and every image that has it, wherever in the stack.

    Raises InvalidDigest, NoSuchLayer.
    """
    from veneer.oci.digest import DiffID, Digest
    from veneer.store.layers import NoSuchLayer

    engine = subjects.engine
    diff_id = DiffID(Digest.parse(text if ":" in text else f"sha256:{text}"))
    layers = engine.store.layers
    places = layers.by_diff_id(diff_id)
    if not places:
        raise NoSuchLayer(f"No such layer: {diff_id}", hint="veneer layer ls shows all of them")
    images = []
    for place in places:
        with contextlib.suppress(NoSuchLayer):  # removed while we look
            depth, chain_id = len(layers.stack(place.chain_id)), str(place.chain_id)
            images += [{"ref": ref_of(image), "id": str(image.id), "layer": depth, "chain_id": chain_id}
                       for image in images_of(engine, place.chain_id)]  # fmt: skip
    with layers.index(diff_id) as index:
        stored, entries = index.bytes_total, len(index)
    return {
        "diff_id": str(diff_id), "stored": stored, "entries": entries,
        "blobs": [{"digest": str(blob.digest), "size": blob.size, "media_type": blob.media_type}
                  for blob in layers.blobs(diff_id)],
        "images": sorted(images, key=lambda each: (each["ref"], each["layer"])),
    }  # fmt: skip
