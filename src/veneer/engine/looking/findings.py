"""What somebody who looks into an image should be told without asking.

By names and modes alone: no file is read.  A name is a hint, not a proof; each finding says which file and which layer.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator, Mapping

from veneer.analysis.copies import NEVER
from veneer.analysis.events import matching
from veneer.analysis.table import Table
from veneer.changeset.entry import Kind
from veneer.engine.looking.subject import Subject
from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.changeset.index import LayerIndex

_SETUID, _SETGID, _STICKY, _WORLD = 0o4000, 0o2000, 0o1000, 0o002
_SECRET = re.compile(
    rb"(?:.*/)?(?:id_(?:rsa|dsa|ecdsa|ed25519)|ssh_host_[a-z0-9]+_key|\.npmrc|\.pypirc|\.netrc|\.git-credentials"
    rb"|\.env(?!\.(?:example|sample|template|dist)$)(?:\.[a-z]+)?|\.htpasswd|\.vault-token|service-account\.json"
    rb"|terraform\.tfstate(?:\.backup)?|\.aws/credentials|\.docker/config\.json|\.kube/config"
    rb"|[^/]*\.(?:key|pem|p12|pfx|jks|keystore)|[^/]*_?secrets?\.ya?ml)"
)
_PUBLIC = re.compile(
    rb"(?:etc/ssl(?!/private/)|etc/pki(?!/tls/private/)|etc/ca-certificates|etc/apk/keys|usr/(?:local/)?share|usr/(?:local/)?lib[^/]*)/.*"
    rb"|.*/(?:site|dist)-packages/.*|.*/node_modules/.*"
)
"""Where certificates and keys are that everybody may have."""
_LEFT_OVERS = (
    (b"var/lib/apt/lists", "package lists of apt"),
    (b"var/cache/apt/archives", "packages apt downloaded"),
    (b"var/cache/apk", "the cache of apk"),
    (b"var/cache/yum", "the cache of yum"),
    (b"var/cache/dnf", "the cache of dnf"),
    (b"root/.cache", "caches of root"),
    (b"root/.npm", "the cache of npm"),
    (b"tmp", "temporary files"),
    (b"usr/share/doc", "documentation"),
    (b"usr/share/man", "manual pages"),
)
_MOST_LOOKED_UP = 1000
"""Of more paths than that it takes less time to go through the whole tree."""
LEAST_LEFT_OVER = 1_000_000
"""Bytes from which left-overs are worth a line."""


class Concern(enum.StrEnum):
    """What a finding is about."""

    SETUID = "setuid"
    SETGID = "setgid"
    WORLD_WRITABLE = "world-writable"
    SECRET = "secret"
    """A name that secrets have."""
    STORED_SECRET = "stored-secret"
    """The same, deleted or changed by a later layer: not to be seen, and still in the image for whoever has it."""
    REPOSITORY = "repository"
    LEFT_OVER = "left-over"


class Finding(Value):
    """One thing found: `layer` (0 is the base) stores it, `bytes` is what is there, `detail` more in words."""

    __slots__ = ()
    concern: Concern
    path: bytes
    layer: int
    bytes: int = 0
    detail: str = ""


def findings(subject: Subject) -> list[Finding]:
    """Everything found, by concern, path and layer."""
    table = subject.table
    found = [*_by_mode(table), *_by_name(table), *_left_overs(subject)]
    order = list(Concern)
    return sorted(found, key=lambda each: (order.index(each.concern), each.path, each.layer))


def _by_mode(table: Table) -> Iterator[Finding]:
    found: dict[tuple[int, int], Concern] = {}
    for layer, index in enumerate(table.indexes):
        for number, meta in enumerate(index.metas):
            if meta & (_SETUID | _SETGID | _WORLD) and (concern := _concern(index, number, meta)) is not None:
                found[layer, number] = concern
    for key, path in _seen(table, found):
        layer, number = key
        yield Finding(found[key], path, layer, table.indexes[layer].sizes[number])


def _concern(index: LayerIndex, number: int, meta: int) -> Concern | None:
    kind = index.kind(number)
    if kind is Kind.REGULAR and meta & _SETUID:
        return Concern.SETUID
    if kind is Kind.REGULAR and meta & _SETGID:
        return Concern.SETGID
    directory = kind is Kind.DIRECTORY and not meta & _STICKY and not index.is_implied(number)
    return Concern.WORLD_WRITABLE if meta & _WORLD and (kind is Kind.REGULAR or directory) else None


def _seen(table: Table, wanted: Mapping[tuple[int, int], object]) -> Iterator[tuple[tuple[int, int], bytes]]:
    """Those of the entries, as (layer, number), that are to be seen, with their paths."""
    if len(wanted) > _MOST_LOOKED_UP:
        yield from ((key, node.path) for node in table.tree if (key := (node.layer, node.number)) in wanted)
        return
    for key in wanted:
        path = table.indexes[key[0]].path(key[1])
        copies, _ = table.find(path)
        if any((copy.layer, copy.number) == key and copy.ended == NEVER for copy in copies):
            yield key, path


def _by_name(table: Table) -> Iterator[Finding]:
    for path, copies in matching(table, _SECRET):
        if _PUBLIC.fullmatch(path):
            continue
        told: set[bytes] = set()
        for copy in reversed(copies):
            index = table.indexes[copy.layer]
            number = _file(index, copy.number)
            # What an older copy says is told already where a newer one says the same.
            if number is None or index.digest(number) in told:
                continue
            told.add(index.digest(number))
            concern = Concern.SECRET if copy.ended == NEVER else Concern.STORED_SECRET
            detail = "" if copy.ended == NEVER else f"hidden by layer {copy.ended + 1}"
            yield Finding(concern, path, copy.layer, index.sizes[number], detail)
    for path, copies in matching(table, re.compile(rb"(?:.*/)?\.(?:git|svn|hg)")):
        copy = copies[-1]
        if copy.ended == NEVER and table.indexes[copy.layer].kind(copy.number) is Kind.DIRECTORY:
            yield Finding(Concern.REPOSITORY, path, copy.layer)


def _file(index: LayerIndex, number: int) -> int | None:
    """The entry with the content of a file, by whichever of its names; None for what is no file."""
    if index.kind(number) is Kind.HARDLINK:
        target = index.find(index.link(number))
        return target if target is not None and index.kind(target) is Kind.REGULAR else None
    return number if index.kind(number) is Kind.REGULAR else None


def _left_overs(subject: Subject) -> Iterator[Finding]:
    from veneer.analysis.view import View

    view = View(subject.table, depths=subject.depths)
    for path, what in _LEFT_OVERS:
        copies, place = subject.table.find(path)
        if place is None:
            continue
        sums = view.sums(path, copies, place)
        if sums.size >= LEAST_LEFT_OVER:
            yield Finding(Concern.LEFT_OVER, path, max(sums.layers, default=0), sums.size, what)
