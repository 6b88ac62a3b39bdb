"""Files behind HTTP as sources of ADD: what is at a URL, fetched only where that cannot be known without.

Of each URL the store remembers what the server last said, in a small file beside the contexts' memories; an unchanged
file (`If-None-Match`) then costs a question and no bytes, and one with a checksum not even that.
Source: moby builder/dockerfile/copy.go (downloadSource), moby/buildkit source/http/source.go.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import time
from pathlib import Path

from veneer.build.context.failures import SourceChanged
from veneer.errors import InvalidRequest
from veneer.oci.digest import Digest, InvalidDigest
from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.build.context.access import Access

_MAX_FILE = 16 << 10


class BadLogin(InvalidRequest):
    """A secret for a web server that no header can carry."""


class _Known(Value):
    """What is known of the file without having it: its SHA-256, and the server's words."""

    digest: Digest
    etag: str = ""
    modified: str = ""
    disposition: str = ""


_FIELDS = ("digest", "etag", "modified", "disposition")


class Downloaded:
    """A file at a URL.  `digest` and `key` are known from the start; the others fetch it if they have to.

    All raise what `distribution.fetch.fetch` raises, and SourceChanged if the file changed since it was asked about.
    """

    def __init__(self, url: str, scratch: Path, access: Access, checksum: Digest | None) -> None:
        self.url = url
        self._scratch = scratch
        self._access = access
        self._checksum = checksum
        self._path: Path | None = None
        remembered = _recalled(access.memory, url)
        self._known = remembered if remembered is not None and remembered.digest == checksum else None
        if checksum is None:
            self._known = self._fetched(remembered)

    @property
    def digest(self) -> Digest:
        """The content's: SHA-256, or the checksum's own algorithm where one was given."""
        return self._checksum or self._described.digest

    @property
    def key(self) -> tuple[str, ...]:
        """What a step that adds the file depends on: not its time, where a checksum says what it is without asking."""
        if self._checksum is not None:
            return (str(self._checksum), _last_part(self.url))
        return (str(self.digest), self.name, str(self.mtime_ns))

    @property
    def name(self) -> str:
        """The last part of the URL's path, or where that has none `Content-Disposition`'s; "" if there is neither."""
        return _last_part(self.url) or _disposed(self._described.disposition)

    @property
    def mtime_ns(self) -> int:
        """`Last-Modified`; 0 without one, as with docker."""
        return _time_ns(self._described.modified)

    @property
    def path(self) -> Path:
        """The file, in the build's scratch, mode 0600."""
        if self._path is None:
            before = self._known.digest if self._known is not None else None
            self._known = self._fetched(None)
            if before is not None and before != self._known.digest:
                raise SourceChanged(f"{_shown(self.url)}: was changed while it was being added", hint="build again")
        assert self._path is not None
        return self._path

    @property
    def _described(self) -> _Known:
        if self._known is None:
            self._known = self._fetched(None)
        return self._known

    def _fetched(self, remembered: _Known | None) -> _Known:
        """The file's facts, by fetching it or by the server's word that it is the one `remembered`."""
        from veneer.config import environment
        from veneer.distribution.fetch import fetch

        access = self._access
        path = self._scratch / f"download-{os.urandom(4).hex()}"
        came = fetch(
            self.url, path, config=access.config, environment=environment(), checksum=self._checksum,
            known_etag=remembered.etag if remembered is not None else "",
            authorization=_authorization(self.url, access), progress=access.progress,
        )  # fmt: skip
        if came.digest is None:
            assert remembered is not None, "nobody was asked whether the file changed"
            return remembered
        self._path = path
        known = _Known(came.digest, came.etag, came.modified, came.disposition)
        if known.etag.isascii() and known.etag:
            _remember(access.memory, self.url, known)
        return known


def download(url: str, scratch: Path, access: Access, *, checksum: str = "") -> Downloaded:
    """The file at an http(s) URL.  `scratch` is a folder of the build; `checksum` is `sha256:HEX`, or sha512.

    Without a checksum the server is asked now, and unless the file is the one it was last time, it is fetched.
    Raises InvalidDigest, BadLogin, and what fetching raises.
    """
    return Downloaded(url, scratch, access, Digest.parse(checksum) if checksum else None)


def _shown(url: str) -> str:
    from veneer.distribution.fetch import redacted

    return redacted(url)


def _last_part(url: str) -> str:
    """The name in the URL's path, unescaped; "" if it has none that a file could have."""
    from urllib.parse import unquote, urlsplit

    return _as_name(unquote(urlsplit(url).path).rpartition("/")[2])


def _as_name(text: str) -> str:
    return "" if text in (".", "..") or "\0" in text or len(os.fsencode(text)) > 255 else text


def _disposed(header: str) -> str:
    """The file name that a Content-Disposition header gives, without directories.  Source: RFC 6266."""
    from email.message import Message

    message = Message()
    message["Content-Disposition"] = header.replace("\r", "").replace("\n", "")
    return _as_name((message.get_filename("") or "").replace("\\", "/").rpartition("/")[2])


def _time_ns(header: str) -> int:
    """An HTTP date as nanoseconds; 0 for anything else, and for what lies before 1970 or after what tar can say."""
    from email.utils import parsedate_to_datetime

    try:
        seconds = int(parsedate_to_datetime(header).timestamp())
    except (ValueError, TypeError, OverflowError, IndexError):
        return 0
    return seconds * 10**9 if 0 <= seconds < 1 << 33 else 0


def _authorization(url: str, access: Access) -> str:
    """The Authorization header: of the build's secrets for this host, else of the URL's own user and password."""
    from urllib.parse import unquote, urlsplit

    parts = urlsplit(url)
    for name, scheme in (("HTTP_AUTH_HEADER_", ""), ("HTTP_AUTH_TOKEN_", "Bearer ")):
        if (secret := access.secret(f"{name}{parts.hostname}")) is not None:
            text = secret.decode("utf-8", "replace").strip()
            if not text.isascii() or any(character < " " for character in text):
                raise BadLogin(f"secret {name}{parts.hostname}: not one line of ASCII", hint="give the bare token")
            return scheme + text
    if parts.username is None:
        return ""
    login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return "Basic " + base64.b64encode(login.encode()).decode()


def _file(memory: Path, url: str) -> Path:
    return memory / hashlib.sha256(b"url\0" + url.encode("utf-8", "surrogateescape")).hexdigest()[:40]


def _recalled(memory: Path | None, url: str) -> _Known | None:
    """What the server last said of a URL; a file that is damaged is as good as none."""
    if memory is None:
        return None
    try:
        with open(_file(memory, url), "rb") as file:
            said = json.loads(file.read(_MAX_FILE))
        return _Known(Digest.parse(said["digest"]), *[str(said[name]) for name in _FIELDS[1:]])
    except (OSError, ValueError, KeyError, TypeError, InvalidDigest):
        return None


def _remember(memory: Path | None, url: str, known: _Known) -> None:
    """Keep what the server said.  A full disk only means that it is not remembered."""
    data = json.dumps({name: str(getattr(known, name)) for name in _FIELDS}).encode()
    if memory is None or len(data) > _MAX_FILE:
        return
    path = _file(memory, url)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.{time.time_ns()}")
    try:
        memory.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
