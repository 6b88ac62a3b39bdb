"""Looking for something: images by what they say, layers by digest, files by name."""

from __future__ import annotations

import fnmatch
import re
import time
from itertools import islice

from veneer.errors import VeneerError
from veneer.view.texts import path_bytes
from veneer.view.web import words
from veneer.view.web.images import guest_list, images_of, ref_of, says, short

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.store.images import Image
    from veneer.view.web.query import Query
    from veneer.view.web.subjects import Looked, Subjects
    from veneer.view.web.words import Json

MOST_FOUND = 50
MOST_SEARCHED = 20
"""Images whose files are looked through, unless one is named."""
SECONDS = 2.0
"""How long files are looked for."""


def search(subjects: Subjects, query: Query) -> Json:
    """What `q` may mean.  Files are looked for in `image`, without it in the newest images while there is time."""
    wanted = query.text("q").strip()
    images = subjects.engine.images.list(all=False)
    lower = wanted.lower()
    named = [image for image in images if says(image, lower)] if wanted else []
    documents = guest_list(subjects, lower) if wanted else []
    documents += [short(subjects, image, len(image.config.diff_ids)) for image in named[:MOST_FOUND]]
    files, truncated = _files(subjects, wanted, query.text("image"), images) if wanted else ([], False)
    return {
        "q": wanted, "images": documents, "layers": _layers(subjects, lower), "files": files,
        "truncated": truncated or len(named) > MOST_FOUND,
    }  # fmt: skip


def _layers(subjects: Subjects, wanted: str) -> list[Json]:
    """Layers whose diff ID or chain ID begins like that; at least four digits are needed."""
    prefix = wanted.removeprefix("sha256:")
    if not re.fullmatch(r"[0-9a-f]{4,64}", prefix):
        return []
    layers = subjects.engine.store.layers
    found = []
    for layer in layers.list():
        if layer.diff_id.hex.startswith(prefix) or layer.chain_id.hex.startswith(prefix):
            users = [ref_of(image) for image in islice(images_of(subjects.engine, layer.chain_id), 10)]
            found.append({"diff_id": str(layer.diff_id), "chain_id": str(layer.chain_id), "stored": layer.size,
                          "images": users})  # fmt: skip
    return found[:MOST_FOUND]


def pattern_of(wanted: str) -> re.Pattern[bytes]:
    """What a path must be like: a glob where there is one, else any path whose last part has the text in it."""
    path = path_bytes(wanted).decode("latin-1")
    if not any(char in wanted for char in "*?["):
        if wanted.startswith("/"):
            return re.compile(re.escape(path).encode("latin-1") + rb"(?:/.*)?", re.DOTALL)
        return re.compile(rb"(?:.*/)?[^/]*" + re.escape(path).encode("latin-1") + rb"[^/]*", re.DOTALL)
    anchor = "" if "/" in path else r"(?:.*/)?"
    return re.compile((anchor + fnmatch.translate(path)).encode("latin-1"), re.DOTALL)


def _files(subjects: Subjects, wanted: str, name: str, images: list[Image]) -> tuple[list[Json], bool]:
    """(files of that name, whether there may be more)."""
    pattern = pattern_of(wanted)
    until = time.monotonic() + SECONDS
    names = [name] if name else [*subjects.guests, *(str(image.id) for image in images[:MOST_SEARCHED])]
    found: list[Json] = []
    for each in names:
        try:
            with subjects.opened(each) as looked, looked.lock:
                ref = ref_of(looked.image) if looked.image is not None else each
                found += _files_of(looked, name or ref, pattern, MOST_FOUND - len(found), until)
        except VeneerError:
            if name:
                raise
            continue  # removed since it was listed
        if len(found) >= MOST_FOUND or time.monotonic() > until:
            return found, True
    return found, not name and len(images) > MOST_SEARCHED


def _files_of(looked: Looked, ref: str, pattern: re.Pattern[bytes], most: int, until: float) -> list[Json]:
    from veneer.analysis.copies import NEVER
    from veneer.analysis.events import matching
    from veneer.analysis.names import Names

    table = looked.subject.table
    holding = Names(table, len(table.indexes))
    found: list[Json] = []
    for path, copies in matching(table, pattern):
        seen = copies[-1].ended == NEVER
        size, _, _ = holding.of_path(copies)
        found.append({"ref": ref} | words.path_document(path) | {
            "size": size, "there": seen, "layers": words.numbers(copy.layer for copy in copies)})  # fmt: skip
        if len(found) >= most or time.monotonic() > until:
            break
    return found
