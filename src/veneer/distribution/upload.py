"""A blob on its way out: not at all if the registry has it, by mount if it has it elsewhere, else sent and checked.

The whole blob goes in one PATCH, which may have begun while the blob was still being made (ahead.py).  Where that
breaks, the registry is asked how far it came and the rest follows in chunks; where it has forgotten, the blob starts
again.  Source: OCI distribution-spec, Pushing Blobs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import urljoin

from veneer.distribution.auth import AuthenticationRequired, repository_scope
from veneer.distribution.client import Registry, WrongDigest
from veneer.distribution.retry import check
from veneer.distribution.session import AccessDenied, NotInRegistry, TryAgain, read_refusal, refused
from veneer.distribution.transport import ConnectionFailed, Response
from veneer.errors import Corrupt, VeneerError
from veneer.oci.digest import BlobDigest
from veneer.oci.manifest import Descriptor

if TYPE_CHECKING:
    from veneer.distribution.ahead import Ahead

BLOCK = 1 << 17
"""Bytes read and sent at a time: so few that they are still in the processor's own memory when they are sent."""
CHUNK_SIZE = 16 << 20
"""Bytes of one PATCH once sending the whole at once has failed."""
FINISH_TIMEOUT = 300.0
"""Seconds a registry may take to check and file a blob of many gigabytes."""
MAX_MOUNTS = 3
"""Repositories asked for a blob before it is sent."""

Source = Callable[[], BinaryIO]
"""Opens the blob to read from its first byte."""


@dataclass(frozen=True, slots=True)
class Uploaded:
    """How the blob got there: sent, or `existed`, or `mounted_from` another repository."""

    existed: bool = False
    mounted_from: str = ""


def upload(
    registry: Registry,
    repository: str,
    descriptor: Descriptor,
    source: Source,
    *,
    mount_from: Sequence[str] = (),
    trust_head: bool = True,
    report: Callable[[int], None] = lambda sent: None,
    ahead: Ahead | None = None,
) -> Uploaded:
    """Make `repository` hold the blob; `report` is told the bytes sent.

    `mount_from` are repositories of the same registry that may hold it.  `trust_head` False sends it whatever the
    registry says it has.  `ahead` has sent some of it already, or all.  Raises AccessDenied, ConnectionFailed,
    WrongDigest, ...; never returns unless the registry says that it has exactly this digest.
    """
    return _Upload(registry, repository, descriptor, source, report).run(mount_from, ahead, trust_head=trust_head)


class Standing:
    """An upload as the registry knows it: `location` takes the bytes from `offset` on.

    `location` is "" where none was begun, `offset` -1 where only the registry knows how far it came, and `chunk` the
    bytes of one PATCH, 0 for all there are.
    """

    def __init__(self, registry: Registry, repository: str, what: str) -> None:
        self._registry, self._repository, self._what = registry, repository, what
        self.location = ""
        self.offset = 0
        self.chunk = 0

    def begin(self) -> None:
        """Open an upload.  Raises AccessDenied, ConnectionFailed, TryAgain, ..."""
        with self._registry.session.request(
            "POST", f"/v2/{self._repository}/blobs/uploads/", what=self._what, expect=(202,),
            scopes=(repository_scope(self._repository, "pull", "push"),),
        ) as response:  # fmt: skip
            self.accept(response)
            self.offset = 0
            response.finish()

    def accept(self, response: Response) -> None:
        """Where to go on, and in chunks of what size."""
        location = response.headers.get("Location", "")
        if not location and not self.location:
            raise TryAgain(
                f"{self._registry.host}: {self._what}: the registry opened an upload without a Location", None
            )
        if location:
            self.location = urljoin(response.url, location)
        least = response.headers.get("OCI-Chunk-Min-Length", "")
        if self.chunk and least.isascii() and least.isdigit():
            self.chunk = max(self.chunk, int(least))

    def broke(self) -> None:
        """Bytes were under way when the connection ended: how many arrived only the registry knows."""
        self.offset = -1 if self.location else 0
        self.chunk = self.chunk or CHUNK_SIZE


class _SessionLost(VeneerError):
    """The registry does not know this upload any more."""


class _Upload:
    def __init__(
        self, registry: Registry, repository: str, descriptor: Descriptor, source: Source, report: Callable[[int], None]
    ) -> None:
        self._registry, self._repository = registry, repository
        self._descriptor, self._source, self._report = descriptor, source, report
        self._session = registry.session
        self._effort = registry.session.effort
        self._scope = repository_scope(repository, "pull", "push")
        self._what = f"blob {descriptor.digest} to {repository}"
        self._at = Standing(registry, repository, self._what)

    def run(self, mount_from: Sequence[str], ahead: Ahead | None, *, trust_head: bool) -> Uploaded:
        if trust_head and self._registry.has_blob(self._repository, self._descriptor.digest, "push"):
            if ahead is not None:
                ahead.abandon()
            return Uploaded(existed=True)
        if ahead is not None and (begun := ahead.standing()) is not None:
            self._at, mount_from = begun, ()
        for other in [name for name in mount_from if name != self._repository][:MAX_MOUNTS]:
            if self._mount(other):
                return Uploaded(mounted_from=other)
        attempts = self._effort.attempts()
        while True:
            check(self._effort.stop)
            before = self._at.offset
            try:
                if not self._at.location:
                    self._at.begin()
                elif self._at.offset < 0:
                    self._ask_offset()
                else:
                    self._send_rest()
                    self._finish()
                    return Uploaded()
            except _SessionLost as error:
                self._at.location, self._at.offset = "", 0
                attempts.failed(error)
            except (ConnectionFailed, TryAgain) as error:
                check(self._effort.stop)
                attempts.progressed(max(0, self._at.offset - before))
                self._at.broke()
                attempts.failed(error, getattr(error, "retry_after", None))

    def _mount(self, other: str) -> bool:
        """Ask for the blob of another repository; False begins an ordinary upload."""
        path = f"/v2/{self._repository}/blobs/uploads/?mount={self._descriptor.digest}&from={other}"
        try:
            response = self._session.request(
                "POST", path, what=self._what, expect=(201, 202), scopes=(self._scope, repository_scope(other, "pull"))
            )
        except (AuthenticationRequired, AccessDenied, NotInRegistry):
            # We may not read the other repository, which says nothing about this one.
            return False
        with response:
            if response.status == 201:
                self._check_digest(response)
                response.finish()
                return True
            self._at.accept(response)
            self._at.offset = 0
            response.finish()
        return False

    def _send_rest(self) -> None:
        size = self._descriptor.size
        while self._at.offset < size or (size == 0 and self._at.offset == 0):
            check(self._effort.stop)
            end = min(size, self._at.offset + self._at.chunk) if self._at.chunk else size
            self._patch(self._at.offset, end)
            if size == 0:
                return

    def _patch(self, start: int, end: int) -> None:
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(end - start)}
        if self._at.chunk or start:
            headers["Content-Range"] = f"{start}-{end - 1}"
        with self._session.once(
            "PATCH", self._at.location, scopes=(self._scope,), headers=headers,
            body=lambda: self._blocks(start, end), timeout=FINISH_TIMEOUT,
        ) as response:  # fmt: skip
            if response.status in (201, 202, 204):
                self._at.accept(response)
                have = range_end(response.headers.get("Range", ""), end)
                response.finish()
                # "0-0" is what a registry says that has nothing, and one that has one byte.
                self._at.offset = max(have, 1) if end == 1 else have
                if self._at.offset <= start < end:
                    raise TryAgain(f"{self._registry.host}: {self._what}: the registry took nothing", None)
                return
            self._sort_out(response)

    def _sort_out(self, response: Response) -> None:
        """Make the right error of an answer that is no success."""
        refusal = read_refusal(response)
        unknown = response.status == 404 or "BLOB_UPLOAD_UNKNOWN" in refusal.codes
        if unknown or "BLOB_UPLOAD_INVALID" in refusal.codes:
            raise _SessionLost(refused(self._registry.host, self._what, refusal).message)
        if response.status == 416 or (response.status == 413 and not self._at.chunk):
            # Not where it stands, or too much at once: ask where it stands and go on in chunks.
            raise TryAgain(f"{self._registry.host}: {self._what}: {refusal.text}", "0")
        raise refused(self._registry.host, self._what, refusal)

    def _ask_offset(self) -> None:
        with self._session.once("GET", self._at.location, scopes=(self._scope,)) as response:
            if response.status not in (200, 202, 204):
                raise _SessionLost(f"{self._registry.host}: {self._what}: the registry has forgotten the upload")
            self._at.accept(response)
            have = range_end(response.headers.get("Range", ""), -1)
            response.finish()
        if not 0 <= have <= self._descriptor.size:
            raise _SessionLost(f"{self._registry.host}: {self._what}: the registry does not say what it has")
        self._at.offset = have

    def _finish(self) -> None:
        joint = "&" if "?" in self._at.location else "?"
        with self._session.once(
            "PUT", f"{self._at.location}{joint}digest={self._descriptor.digest}", scopes=(self._scope,),
            headers={"Content-Length": "0", "Content-Type": "application/octet-stream"}, timeout=FINISH_TIMEOUT,
        ) as response:  # fmt: skip
            if response.status not in (201, 204):
                self._sort_out(response)
            named = self._check_digest(response)
            response.finish()
        if not named and not self._registry.has_blob(self._repository, self._descriptor.digest, "push"):
            raise WrongDigest(f"{self._registry.host}: {self._what}: taken, but it is not there")

    def _check_digest(self, response: Response) -> bool:
        """Whether the registry names the digest it filed.  Raises WrongDigest where it names another."""
        digest = response.headers.get("Docker-Content-Digest", "")
        if digest and digest != self._descriptor.digest:
            raise WrongDigest(f"{self._registry.host}: {self._what}: the registry filed it as {digest[:100]}")
        return bool(digest)

    def _blocks(self, start: int, end: int) -> Iterator[bytes]:
        sent = start
        with self._source() as file:
            file.seek(start)
            while sent < end:
                check(self._effort.stop)
                block = file.read(min(BLOCK, end - sent))
                if not block:
                    raise Corrupt(f"{self._what}: the stored blob ends at byte {sent} of {end}",
                                      hint="veneer system check")  # fmt: skip
                yield block
                sent += len(block)
                self._report(sent)


def range_end(header: str, otherwise: int) -> int:
    """How many bytes `Range: 0-N` says are there: N + 1."""
    span = header.removeprefix("bytes=").strip()
    start, dash, end = span.partition("-")
    if start != "0" or not dash or not (end.isascii() and end.isdigit() and len(end) < 20):
        return otherwise
    # A registry with nothing yet says 0-0, the same as with one byte; distribution's and everybody's habit.
    return int(end) + 1 if int(end) else 0


def push_manifest(registry: Registry, repository: str, target: str, raw: bytes, media_type: str) -> BlobDigest:
    """Put a manifest or index under a tag or digest; returns its digest.

    Raises MissingBlobs where the registry lacks what it names, WrongDigest where it filed something else.
    """
    digest = BlobDigest(_digest_like(target, raw))
    what = f"manifest {repository}:{target}"
    with registry.session.request(
        "PUT", f"/v2/{repository}/manifests/{target}", what=what, expect=(201, 202, 200, 400, 404),
        scopes=(repository_scope(repository, "pull", "push"),),
        headers={"Content-Type": media_type, "Content-Length": str(len(raw))},
        body=lambda: (raw,), timeout=FINISH_TIMEOUT,
    ) as response:  # fmt: skip
        if response.status in (400, 404):
            refusal = read_refusal(response)
            error = refused(registry.host, what, refusal)
            if refusal.codes & {"MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN", "MANIFEST_UNKNOWN"}:
                raise MissingBlobs(error.message, frozenset(refusal.missing))
            raise error
        filed = response.headers.get("Docker-Content-Digest", "")
        response.finish()
    if filed and filed != digest:
        raise WrongDigest(f"{registry.host}: {what}: want {digest}, the registry filed it as {filed[:100]}")
    return digest


class MissingBlobs(NotInRegistry):
    """The registry lacks blobs that a manifest names; `digests` are those it told (maybe none)."""

    def __init__(self, message: str, digests: frozenset[str]) -> None:
        super().__init__(message)
        self.digests = digests


def _digest_like(target: str, raw: bytes) -> BlobDigest:
    from veneer.oci.digest import Digest

    if target.startswith("sha512:"):
        return BlobDigest(Digest("sha512:" + hashlib.sha512(raw).hexdigest()))
    return BlobDigest(Digest.of(raw))
