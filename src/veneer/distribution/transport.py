"""One HTTP exchange with one server: connections, TLS, redirects, time-outs.  No retries and no tokens here.

Credentials are bound to the origin (scheme, host, port) they were meant for and dropped at any redirect that leaves
it (CVE-2020-15157).  Every failure comes out as one of the errors below, named in words.
"""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urljoin, urlsplit

from veneer.distribution.hosts import Origin, is_insecure, is_loopback, origin_of
from veneer.errors import Denied, Unavailable

if TYPE_CHECKING:
    import socket
    import ssl

    import urllib3

MAX_REDIRECTS = 5
CHUNK = 256 << 10
"""Bytes of one read: what a socket holds at loopback speed; larger reads cost memory and win nothing."""
CONNECT_TIMEOUT = 15.0
READ_TIMEOUT = 30.0
CERTIFICATES = Path("/etc/docker/certs.d")
_SILENT = "check the host, the port and what is between (a proxy, a firewall); what has come is kept for another try"
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class ConnectionFailed(Unavailable):
    """The other side could not be reached, or went away in the middle; `is_silence`: it is there, and says nothing."""

    is_silence = False


class Unreachable(ConnectionFailed):
    """Nobody answers under that name and port."""


class TLSRefused(Unavailable):
    """The other side's certificate proves nothing, or there is no TLS to be had."""


class BadRedirect(Denied):
    """A redirect that must not be followed."""


class AnswerTooLarge(Unavailable):
    """An answer longer than anything of its kind may be."""


class Response:
    """An answer whose body is still to be read.  Use it in a `with`: leaving early closes the connection."""

    def __init__(self, raw: urllib3.BaseHTTPResponse, url: str) -> None:
        self._raw = raw
        self.url = url
        self.status = raw.status
        self.reason = raw.reason or ""
        self.headers: Mapping[str, str] = raw.headers

    @property
    def origin(self) -> Origin:
        return origin_of(self.url)

    def read1(self, size: int = CHUNK) -> bytes:
        """What one read of the socket gives, at most `size` bytes; b"" at the end.  Raises ConnectionFailed."""
        import urllib3

        try:
            return self._raw.read1(size)
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise explain(error, self.url) from None

    def read_all(self, limit: int, what: str) -> bytes:
        """The whole body.  Raises AnswerTooLarge past `limit` bytes; `what` names the thing in errors."""
        parts: list[bytes] = []
        total = 0
        while part := self.read1():
            parts.append(part)
            total += len(part)
            if total > limit:
                raise AnswerTooLarge(f"{self.origin.authority}: {what} is longer than the {limit} bytes allowed")
        return b"".join(parts)

    def close(self) -> None:
        """Give the connection back if the body was read to its end, else close it."""
        self._raw.close()
        self._raw.release_conn()

    def finish(self) -> None:
        """Read what little is left, so that the connection can be used again, and close."""
        try:
            for _ in range(16):
                if not self.read1():
                    break
        finally:
            self.close()

    def __enter__(self) -> Response:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _directly(origin: Origin) -> str:
    return ""


class Transport:
    """Connections to any number of servers, kept and used again; safe to use from several threads.

    `insecure` names registries whose certificates are not checked.  `certificates` is a folder like
    /etc/docker/certs.d: HOST[:PORT]/*.crt are authorities for that host, *.cert with *.key identify us.  `proxy` gives
    the URL of the proxy that an origin is reached through, "" for none.
    """

    def __init__(
        self,
        insecure: frozenset[str] = frozenset(),
        certificates: Path = CERTIFICATES,
        proxy: Callable[[Origin], str] = _directly,
    ) -> None:
        self._insecure, self._certificates, self._proxy = insecure, certificates, proxy
        self._pools: dict[Origin, urllib3.HTTPConnectionPool] = {}
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._lock = threading.Lock()

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        authorization: str = "",
        body: Iterable[bytes] | bytes | None = None,
        timeout: float = READ_TIMEOUT,
    ) -> Response:
        """Send one request and wait for the answer's head.

        GET and HEAD follow at most five redirects, never from https to http, and `authorization` only goes to the
        first URL's origin.  Raises ConnectionFailed, TLSRefused, BadRedirect.
        """
        first = self._origin(url, url)
        origin = first
        for _ in range(MAX_REDIRECTS + 1):
            sent = dict(headers or {})
            sent.setdefault("User-Agent", "veneer")
            sent.setdefault("Accept-Encoding", "identity")
            if authorization and origin == first:
                sent["Authorization"] = authorization
            response = self._exchange(method, url, origin, sent, body, timeout)
            location = response.headers.get("Location", "")
            if response.status not in _REDIRECTS or not location or method not in ("GET", "HEAD"):
                return response
            response.close()
            target = urljoin(url, location)
            origin = self._redirected(url, target)
            url = target
        raise BadRedirect(f"{first.authority}: more than {MAX_REDIRECTS} redirects, the last to {_shown(url)}")

    def _redirected(self, url: str, target: str) -> Origin:
        origin = self._origin(target, url)
        if urlsplit(url).scheme == "https" and origin.scheme != "https":
            raise BadRedirect(f"{origin_of(url).authority} redirects from https to plain http: {_shown(target)}")
        return origin

    def _origin(self, url: str, sender: str) -> Origin:
        try:
            if not url.isascii() or any(ord(char) <= 0x20 for char in url):
                raise ValueError("not printable")
            return origin_of(url)
        except ValueError:
            raise BadRedirect(f"{_shown(sender)} leads to {url[:200]!r}, which is no http or https URL") from None

    def _exchange(
        self,
        method: str,
        url: str,
        origin: Origin,
        headers: dict[str, str],
        body: Iterable[bytes] | bytes | None,
        timeout: float,
    ) -> Response:
        import urllib3

        parts = urlsplit(url)
        target = (parts.path or "/") + ("?" + parts.query if parts.query else "")
        if origin.scheme == "http" and self._proxy(origin):
            target = f"http://{origin.authority}{target}"  # a proxy is told the whole URL
        try:
            raw = self._pool(origin).urlopen(
                method, target, body=body, headers=headers, retries=False, redirect=False,
                timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT, read=timeout),
                preload_content=False, decode_content=False, assert_same_host=False,
            )  # fmt: skip
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise explain(error, url) from None
        return Response(raw, url)

    def _pool(self, origin: Origin) -> urllib3.HTTPConnectionPool:
        import urllib3

        with self._lock:
            if (pool := self._pools.get(origin)) is None:
                host = f"[{origin.host}]" if ":" in origin.host else origin.host
                if proxy := self._proxy(origin):
                    pool = self._proxied(proxy, origin, host)
                elif origin.scheme == "http":
                    pool = urllib3.HTTPConnectionPool(host, origin.port, maxsize=16, blocksize=CHUNK)
                else:
                    context = self._context(origin)
                    pool = urllib3.HTTPSConnectionPool(
                        host, origin.port, maxsize=16, blocksize=CHUNK, ssl_context=context,
                        cert_reqs=context.verify_mode, assert_hostname=None if context.check_hostname else False,
                    )  # fmt: skip
                self._watch(pool)
                self._pools[origin] = pool
            return pool

    def _proxied(self, proxy: str, origin: Origin, host: str) -> urllib3.HTTPConnectionPool:
        """Connections through a proxy, which sees of https only the host's name."""
        import urllib3

        parts = urlsplit(proxy)
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username else None
        address = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        context = self._context(origin) if origin.scheme == "https" else None
        manager = urllib3.ProxyManager(
            address, proxy_headers=urllib3.make_headers(proxy_basic_auth=login), maxsize=16, blocksize=CHUNK,
            ssl_context=context,
        )  # fmt: skip
        return manager.connection_from_host(host, origin.port, origin.scheme)

    def _watch(self, pool: urllib3.HTTPConnectionPool) -> None:
        """Remember the sockets that `pool` opens, so that `abort` can wake whoever waits for one."""
        remember = self._remember
        plain: type[Any] = pool.ConnectionCls

        class Watched(plain):  # type: ignore[misc]
            def connect(self) -> None:
                super().connect()
                remember(self.sock)

        pool.ConnectionCls = Watched

    def _remember(self, opened: socket.socket) -> None:
        with self._lock:
            self._sockets.add(opened)

    def abort(self) -> None:
        """Break every connection, so that a thread that waits for a server wakes up with ConnectionFailed."""
        import socket

        with self._lock:
            opened = list(self._sockets)
        for each in opened:
            # Past SSLSocket's own shutdown, which takes the TLS object away from the thread that is using it.
            with contextlib.suppress(OSError):
                socket.socket.shutdown(each, socket.SHUT_RDWR)

    def _context(self, origin: Origin) -> ssl.SSLContext:
        import ssl

        context = ssl.create_default_context()
        names = (f"{origin.host}:{origin.port}", origin.authority, origin.host)
        if is_loopback(origin.host) or any(is_insecure(name, self._insecure) for name in names):
            import warnings

            import urllib3

            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            # The user named this registry insecure; once is enough, and stderr is not ours.
            warnings.simplefilter("ignore", urllib3.exceptions.InsecureRequestWarning)
        for name in dict.fromkeys(names):
            folder = self._certificates / name
            for authority in sorted(folder.glob("*.crt")):
                context.load_verify_locations(authority)
            for certificate in sorted(folder.glob("*.cert")):
                context.load_cert_chain(certificate, certificate.with_suffix(".key"))
        return context

    def close(self) -> None:
        """Close every connection that is not in use."""
        with self._lock:
            for pool in self._pools.values():
                pool.close()
            self._pools.clear()


def explain(error: Exception, url: str) -> ConnectionFailed | TLSRefused:
    """An HTTP library's or the system's failure, in words that name the host."""
    import ssl

    import urllib3

    try:
        where = origin_of(url).authority
    except ValueError:
        where = _shown(url)
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError):
            return ConnectionFailed(f"{where}: the TLS connection ended in the middle")
        if isinstance(cause, ssl.SSLError):
            return _explain_tls(cause, where)
        if isinstance(cause, urllib3.exceptions.IncompleteRead):
            return ConnectionFailed(f"{where}: the connection ended {cause.expected} bytes early")
        nested = cause.args[0] if cause.args and isinstance(cause.args[0], BaseException) else None
        cause = cause.__cause__ or nested
    if isinstance(error, urllib3.exceptions.NameResolutionError):
        return Unreachable(f"{where}: no such host", hint="check the name, the network and the resolver")
    if isinstance(error, urllib3.exceptions.NewConnectionError):
        reason = str(error).rpartition(": ")[2].rpartition("] ")[2].lower()  # "[Errno 111] Connection refused"
        return Unreachable(f"{where}: cannot connect: {reason}", hint="check the host, the port and the network")
    if isinstance(error, urllib3.exceptions.ConnectTimeoutError):
        return Unreachable(f"{where}: no answer within {CONNECT_TIMEOUT:.0f} s", hint=_SILENT)
    if isinstance(error, urllib3.exceptions.ReadTimeoutError | TimeoutError):
        failed = ConnectionFailed(f"{where}: nothing came for {READ_TIMEOUT:.0f} s", hint=_SILENT)
        failed.is_silence = True
        return failed
    return ConnectionFailed(f"{where}: the connection broke: {str(error)[:200] or type(error).__name__}")


def _explain_tls(error: ssl.SSLError, where: str) -> TLSRefused:
    import ssl

    if isinstance(error, ssl.SSLCertVerificationError):
        reason = error.verify_message or "its certificate cannot be verified"
        clock = " (is this machine's clock right?)" if "expired" in reason or "not yet valid" in reason else ""
        return TLSRefused(
            f"{where}: TLS certificate refused: {reason}{clock}",
            hint=f"put its authority into {CERTIFICATES}/{where}/ca.crt, or ask it unverified: "
            f"--insecure-registry {where}",
        )
    if error.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"):
        return TLSRefused(f"{where}: server gave HTTP response to HTTPS client",
                          hint=f"if plain HTTP is meant: --insecure-registry {where}")  # fmt: skip
    return TLSRefused(f"{where}: TLS failed: {(error.reason or str(error)).replace('_', ' ').lower()[:200]}")


def _shown(url: str) -> str:
    """A URL for people: without the query, which is where signatures and tokens are."""
    return repr(url.partition("?")[0][:200])
