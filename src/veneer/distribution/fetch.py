"""A file from any web server: one URL into one file, hashed on the way, tried again where that may help.

Unlike a registry's blobs these have no name of their own bytes, so what the server says of them counts: `ETag`,
`Last-Modified`, `Content-Disposition`.  Source: RFC 9110; moby builder/remotecontext/remote.go for the words of errors.
"""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

from veneer.distribution.hosts import origin_of
from veneer.distribution.proxies import proxy_for
from veneer.distribution.retry import RETRY_STATUSES, Attempts, Clock, Policy
from veneer.distribution.transport import ConnectionFailed, Response, Transport, Unreachable
from veneer.errors import Corrupt, Denied, InvalidRequest, NotFound, Unauthorized, Unavailable, VeneerError
from veneer.oci.digest import Digest
from veneer.progress import Report, silent
from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from veneer.config import Config
    from veneer.progress import Progress

MAX_SIZE = 1 << 40
"""Bytes: as much as a layer may unpack to."""
MAX_REASON = 200
"""Letters of a server's own words in an error."""
POLICY = Policy(tries=4, first_wait=0.5, longest_wait=10.0, waits_in_all=30.0)
_NOT_MODIFIED = 304


class BadURL(InvalidRequest):
    """A text that is no URL a file could be fetched from."""


class FetchFailed(Unavailable):
    """The server did not give the file; the message has its status."""


class FileNotThere(NotFound):
    """The server has no such file."""


class FetchUnauthorized(Unauthorized):
    """The server wants to know who is asking."""


class FetchDenied(Denied):
    """The server does not give this file to whoever is asking."""


class FileTooLarge(Unavailable):
    """More bytes came than a file may have."""


class WrongChecksum(Corrupt):
    """The file is not the one its checksum says."""


class Fetched(Value):
    """What came.  `unchanged`: nothing did, since the server's file is the one asked about by `etag`.

    `digest` is SHA-256; `disposition`, `etag` and `modified` are the headers as sent, "" if there were none.
    """

    digest: Digest | None
    size: int
    etag: str = ""
    modified: str = ""
    disposition: str = ""
    unchanged: bool = False


def fetch(
    url: str,
    path: Path,
    *,
    config: Config,
    environment: Mapping[str, str],
    known_etag: str = "",
    checksum: Digest | None = None,
    authorization: str = "",
    limit: int = MAX_SIZE,
    progress: Progress = silent,
    clock: Clock | None = None,
) -> Fetched:
    """Fetch `url` into the new file `path`, which is there afterwards only if this succeeded and something came.

    `known_etag` is what the file had when it was last fetched; `checksum` (any algorithm) is what it must have, found
    out while it comes.  `authorization` goes to the URL's own origin alone.
    Raises BadURL, FetchFailed and its like by the server's status, WrongChecksum, FileTooLarge, BadRedirect,
    ConnectionFailed, TLSRefused, BadProxy, and what `progress` raises.
    """
    url = quoted(url)
    attempts = Attempts(clock or Clock(), threading.Event(), POLICY)
    transport = Transport(
        frozenset(config.insecure_registries), proxy=lambda origin: proxy_for(origin, environment)
    )  # fmt: skip
    headers = {"If-None-Match": known_etag} if known_etag else {}
    try:
        while True:
            retry_after: str | None = None
            try:
                with transport.send("GET", url, headers=headers, authorization=authorization) as response:
                    if response.status == _NOT_MODIFIED and known_etag:
                        return Fetched(None, 0, known_etag, unchanged=True)
                    retry_after = response.headers.get("Retry-After")
                    if not 200 <= response.status < 300:
                        raise _refusal(url, response)
                    return _received(url, response, path, checksum, limit, progress)
            except Unreachable:
                raise
            except (ConnectionFailed, _Again) as error:
                path.unlink(missing_ok=True)
                attempts.failed(error, retry_after)
            except BaseException:
                path.unlink(missing_ok=True)
                raise
    finally:
        transport.close()


class _Again(FetchFailed):
    """A failure of the server's that may be over soon."""


def quoted(url: str) -> str:
    """The URL with what must not stand in one escaped.  Raises BadURL."""
    from urllib.parse import quote

    if any(character < " " or character == "\x7f" for character in url):
        raise BadURL(f"{url[:200]!r}: not a URL: it has control characters in it")
    url = quote(url.partition("#")[0], safe="%/:?#[]@!$&'()*+,;=~-._")
    try:
        origin_of(url)
    except ValueError:
        raise BadURL(f"{url[:200]!r}: not an http or https URL") from None
    return url


def redacted(url: str) -> str:
    """The URL for people: without a password, and without the query, which is where signatures and tokens are."""
    import re

    return re.sub(r"(?<=//)([^/@:]*):[^/@]*@", r"\1:xxxxx@", url.partition("?")[0])


def _refusal(url: str, response: Response) -> VeneerError:
    """The error for an answer that is no file."""
    # Nothing of the body: it is a page for a browser, as often as not.
    reason = "".join(character for character in response.reason if character.isprintable())[:MAX_REASON]
    message = f"failed to GET {redacted(url)} with status {response.status} {reason}".rstrip()
    if response.status in RETRY_STATUSES:
        return _Again(message)
    kinds: dict[int, type[VeneerError]] = {
        401: FetchUnauthorized,
        403: FetchDenied,
        404: FileNotThere,
        410: FileNotThere,
    }
    return kinds.get(response.status, FetchFailed)(message)


def _received(
    url: str, response: Response, path: Path, checksum: Digest | None, limit: int, progress: Progress
) -> Fetched:
    """Write the body to `path`, hashing it."""
    headers = response.headers
    total = int(length) if (length := headers.get("Content-Length", "")).isascii() and length.isdigit() else None
    if total is not None and total > limit:
        raise FileTooLarge(f"{redacted(url)}: {total} bytes; at most {limit} are taken")
    sha256 = hashlib.sha256()
    other = hashlib.new(checksum.algorithm) if checksum and checksum.algorithm != "sha256" else None
    size, shown = 0, redacted(url)
    with open(path, "xb", buffering=0) as file:
        path.chmod(0o600)
        while data := response.read1():
            size += len(data)
            if size > limit:
                raise FileTooLarge(f"{shown}: more than {limit} bytes came; no more are taken")
            sha256.update(data)
            if other is not None:
                other.update(data)
            _write_all(file.fileno(), data)
            progress(Report(shown, "Downloading", size, total))
    digest = Digest.sha256(sha256.hexdigest())
    found = Digest.parse(f"{checksum.algorithm}:{other.hexdigest()}") if checksum and other else digest
    if checksum is not None and found != checksum:
        raise WrongChecksum(
            f"digest mismatch for {shown}: {found} (expected: {checksum})",
            hint="the file was changed, or is another than you think; if it is right, give its new checksum",
        )
    return Fetched(
        digest, size, headers.get("ETag", ""), headers.get("Last-Modified", ""), headers.get("Content-Disposition", "")
    )  # fmt: skip


def _write_all(fd: int, data: bytes) -> None:
    import os

    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
