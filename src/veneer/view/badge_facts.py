"""What a badge needs to know, asked of an image that is looked at."""

from __future__ import annotations

from veneer.view.badges import Facts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.engine.engine import Engine
    from veneer.engine.looking.subject import Subject


def facts(engine: Engine, subject: Subject, kind: str, now: float) -> Facts:
    """What a badge of `kind` tells of the image; `now` is the time in seconds since 1970.

    Only "efficiency" and "disk" look into layers; all others come from manifest and config.
    """
    from veneer.engine.looking.origins import labels
    from veneer.oci import timestamp

    documents = subject.documents
    blobs = {blob.digest: blob.size for blob in documents.blobs if blob is not None}
    account = subject.account if kind in ("efficiency", "disk") else None
    base = engine.looking.stands_on(subject) if kind == "base" else None
    created = timestamp.parse(subject.config.created)
    said: dict[str, str] = {}
    for label in labels(subject):
        said.setdefault(label.key, label.value)
    return Facts(
        layers=len(documents.config.diff_ids),
        pull=sum(blobs.values()) if None not in documents.blobs else None,
        pull_at_most=documents.pull_at_most,
        stored=account.stored if account is not None else None,
        efficiency=account.efficiency if account is not None else None,
        age=None if created is None else now - created,
        base=base.name if base is not None else None,
        tags=_tags(subject),
        labels=said,
    )


def _tags(subject: Subject) -> tuple[str, ...]:
    """The tags of the image in the repository that it was asked for in; in all of them, if by an ID."""
    from veneer.oci.reference import InvalidReference, Reference

    references = subject.documents.references
    try:
        asked = Reference.parse(subject.name).name
    except InvalidReference:
        asked = ""
    own = [reference for reference in references if reference.name == asked] or references
    return tuple(reference.tag for reference in own if reference.tag)
