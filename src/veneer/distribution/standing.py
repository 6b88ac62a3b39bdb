"""Where a tag stands now, asked as cheaply as a registry lets one: by HEAD, and only for news.

Source: OCI distribution spec (end-2, end-3); RFC 9110 section 13 for ETag; the RateLimit header fields as Docker Hub
sends them (`76;w=21600`).
"""

from __future__ import annotations

from veneer.distribution.auth import AuthenticationRequired, repository_scope
from veneer.distribution.session import AccessDenied, NotInRegistry
from veneer.oci import strictjson
from veneer.oci.digest import BlobDigest, Digest, InvalidDigest
from veneer.oci.manifest import ACCEPT
from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from veneer.distribution.client import Registry
    from veneer.distribution.transport import Response
    from veneer.oci.reference import Reference

_NOT_MODIFIED = 304
_MOST_DIGITS = 9


class Standing(Value):
    """What a tag names.  `digest` None: the same as the last time, by its `etag`.

    `remaining` is how often the registry lets one ask in the next `window` seconds, as far as it says so.
    """

    __slots__ = ()
    digest: BlobDigest | None
    etag: str = ""
    remaining: int | None = None
    window: int | None = None


def standing(registry: Registry, reference: Reference, etag: str = "") -> Standing:
    """Where the tag stands; `etag` is what the registry said it was the last time.

    One HEAD; a GET where the HEAD does not tell.  Raises NotInRegistry where there is no such tag, AccessDenied,
    AuthenticationRequired, TryAgain and its like.
    """
    try:
        found = _asked("HEAD", registry, reference, etag)
    except (NotInRegistry, AuthenticationRequired, AccessDenied):
        found = None  # a HEAD has no body to say why; the GET has
    return found or _asked("GET", registry, reference, etag) or Standing(None, etag)


def _asked(method: str, registry: Registry, reference: Reference, etag: str) -> Standing | None:
    headers = {"Accept": ", ".join(ACCEPT)} | ({"If-None-Match": etag} if etag else {})
    with registry.session.request(
        method, f"/v2/{reference.repository}/manifests/{reference.tag}", what=f"manifest for {reference.familiar}",
        scopes=(repository_scope(reference.repository, "pull"),), headers=headers,
        expect=(200, _NOT_MODIFIED) if etag else (200,),
    ) as response:  # fmt: skip
        limits = _limits(response.headers)
        if response.status == _NOT_MODIFIED:
            return Standing(None, etag, *limits)
        digest = _digest(response) if method == "HEAD" else _read(response)
        return Standing(digest, response.headers.get("ETag", ""), *limits) if digest is not None else None


def _digest(response: Response) -> BlobDigest | None:
    response.finish()
    try:
        return BlobDigest(Digest.parse(response.headers.get("Docker-Content-Digest", "")))
    except InvalidDigest:
        return None


def _read(response: Response) -> BlobDigest:
    return BlobDigest(Digest.of(response.read_all(strictjson.MAX_DOCUMENT, "manifest")))


def _limits(headers: Mapping[str, str]) -> tuple[int | None, int | None]:
    number, _, rest = headers.get("RateLimit-Remaining", "").partition(";")
    window = next((part.partition("=")[2] for part in rest.split(";") if part.strip().startswith("w=")), "")
    return _count(number), _count(window)


def _count(text: str) -> int | None:
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS else None
