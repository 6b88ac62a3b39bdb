"""A registry in this process that speaks real HTTP on loopback, and misbehaves when told to.

    with Registry() as registry:
        registry.add("acme/app:1", image)
        registry.fault(path=f"/blobs/{image.layers[0].digest}", cut=1000)
        ...pull f"{registry.host}/acme/app:1"...
        assert [entry.headers.get("Range") for entry in registry.requests("/blobs/")] == [None, "bytes=1000-"]

It keeps everything in memory and follows the OCI distribution spec, so that whatever it does wrong was asked for.
"""

from __future__ import annotations

import json
import secrets
import socket
import ssl
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from veneer.oci.digest import Digest
from veneer.oci.manifest import INDEX_TYPES


class Sample(Protocol):
    """What `add` takes: an image in memory, such as veneer.testing.images makes."""

    @property
    def manifest(self) -> Any: ...
    def blobs(self) -> Mapping[Any, bytes]: ...


@dataclass
class Fault:
    """One way to misbehave, for requests of `method` ("" any) whose path with query contains `path`.

    The first `after` such requests go well, the next `times` go wrong (-1: all).  `status` replaces the answer by
    an error with `headers` and `body`; without it `headers` are added to the answer (None takes one out).  Of an
    answer's body: only `cut` bytes are sent before the connection is closed, or goes silent with `hang`; the byte
    at `flip` is changed; `extra` is added; `length` is what Content-Length claims (-1: no such header).  Of a
    request's body only `read` bytes are taken before the connection is closed.  `ignore_range` answers 200 to a
    Range; `content_range` lies about the part.
    """

    path: str = ""
    method: str = "GET"
    after: int = 0
    times: int = 1
    status: int | None = None
    headers: Mapping[str, str | None] = field(default_factory=dict)
    body: bytes = b""
    cut: int | None = None
    hang: bool = False
    flip: int | None = None
    extra: bytes = b""
    length: int | None = None
    read: int | None = None
    ignore_range: bool = False
    content_range: str = ""
    met: int = 0

    def applies(self, method: str, path: str) -> bool:
        """Whether this request is one to spoil; counts it."""
        if self.method not in ("", method) or self.path not in path:
            return False
        self.met += 1
        return self.met > self.after and (self.times < 0 or self.met <= self.after + self.times)


@dataclass
class Request:
    """One request as it was answered: `path` with its query, `sent` and `received` bytes of body."""

    method: str
    path: str
    headers: dict[str, str]
    status: int = 0
    sent: int = 0
    received: int = 0


@dataclass
class Upload:
    """A blob half sent."""

    repository: str
    data: bytearray = field(default_factory=bytearray)


class Registry:
    """See the module.  Use it in a `with`; `host` is what stands before the slash of its images' names.

    `auth` is "" (none), "basic" or "bearer" (its own token server, at /token); `users` are names and passwords;
    `anonymous` lets tokens without credentials pull.  `tls` names a certificate file and its key.
    """

    def __init__(
        self,
        *,
        auth: str = "",
        users: Mapping[str, str] | None = None,
        anonymous: bool = False,
        tls: tuple[Path, Path] | None = None,
        address: str = "127.0.0.1",
    ) -> None:
        self.auth, self.users, self.anonymous = auth, dict(users or {}), anonymous
        self.realm = ""
        self.token_key = "token"
        self.identity_token = ""
        self.chunk_min_length = 0
        self.refuse_mounts = False
        self.blobs: dict[str, bytes] = {}
        self.linked: dict[str, set[str]] = {}
        self.manifests: dict[str, dict[str, tuple[str, bytes]]] = {}
        self.tags: dict[str, dict[str, str]] = {}
        self.uploads: dict[str, Upload] = {}
        self.tokens: dict[str, set[str]] = {}
        self.log: list[Request] = []
        self.released = threading.Event()
        self._faults: list[Fault] = []
        self._lock = threading.RLock()
        self._address, self._tls = address, tls
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    # -- life ------------------------------------------------------------------------------------------------

    def start(self) -> Registry:
        context = None
        if self._tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self._tls)
        self._server = _Server(self, self._address, context)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="test registry")
        self._thread.start()
        return self

    def stop(self) -> None:
        """Close every connection and wait for their threads."""
        if self._server is not None and self._thread is not None:
            self.released.set()
            self._server.shutdown()
            self._thread.join()
            self._server.hang_up()
            self._server.server_close()
            self._server = None

    def __enter__(self) -> Registry:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def port(self) -> int:
        assert self._server is not None, "not started"
        return int(self._server.server_address[1])

    @property
    def host(self) -> str:
        address = f"[{self._address}]" if ":" in self._address else self._address
        return f"{address}:{self.port}"

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self.host}"

    # -- content ---------------------------------------------------------------------------------------------

    def add(self, name: str, image: Sample) -> Digest:
        """Hold an image under `repository[:tag]`; returns its manifest's digest."""
        for data in image.blobs().values():
            self.add_blob(name.partition(":")[0], data)
        return self.add_manifest(name, image.manifest.media_type, image.manifest.raw)

    def add_blob(self, repository: str, data: bytes) -> Digest:
        digest = Digest.of(data)
        with self._lock:
            self.blobs[digest] = data
            self.linked.setdefault(repository, set()).add(digest)
        return digest

    def add_manifest(self, name: str, media_type: str, raw: bytes) -> Digest:
        """Hold a manifest or index as it is, under a tag if `name` has one."""
        repository, _, tag = name.partition(":")
        digest = Digest.of(raw)
        with self._lock:
            self.manifests.setdefault(repository, {})[digest] = (media_type, raw)
            if tag:
                self.tags.setdefault(repository, {})[tag] = digest
        return digest

    def manifest(self, repository: str, reference: str) -> tuple[Digest, str, bytes] | None:
        """Digest, media type and bytes of what a tag or digest names."""
        with self._lock:
            digest = self.tags.get(repository, {}).get(reference, reference)
            held = self.manifests.get(repository, {}).get(digest)
        return None if held is None else (Digest(digest), *held)

    def has(self, repository: str, digest: str) -> bool:
        return digest in self.linked.get(repository, ()) and digest in self.blobs

    def missing(self, repository: str, raw: bytes, media_type: str) -> list[str]:
        """What a manifest names and the repository lacks."""
        document = json.loads(raw)
        if media_type in INDEX_TYPES:
            children = [str(child["digest"]) for child in document["manifests"]]
            return [digest for digest in children if digest not in self.manifests.get(repository, {})]
        parts = [document["config"], *(one for one in document["layers"] if not one.get("urls"))]
        return [str(one["digest"]) for one in parts if not self.has(repository, str(one["digest"]))]

    # -- tests -----------------------------------------------------------------------------------------------

    def fault(self, path: str = "", **how: Any) -> Fault:
        """Misbehave; see Fault."""
        fault = Fault(path, **how)
        with self._lock:
            self._faults.append(fault)
        return fault

    def heal(self) -> None:
        """Behave again."""
        with self._lock:
            self._faults.clear()

    def faults(self, method: str, path: str) -> Fault:
        """The fault this request meets (one without effect if none)."""
        with self._lock:
            for fault in self._faults:
                if fault.applies(method, path):
                    return fault
        return Fault()

    def requests(self, path: str = "", method: str = "") -> list[Request]:
        """Those requests so far whose path contains `path`."""
        with self._lock:
            return [entry for entry in self.log if path in entry.path and method in ("", entry.method)]

    def record(self, entry: Request) -> None:
        with self._lock:
            self.log.append(entry)

    def issue_token(self, scopes: Iterable[str]) -> str:
        token = secrets.token_urlsafe(16)
        with self._lock:
            self.tokens[token] = set(scopes)
        return token


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 64

    def __init__(self, registry: Registry, address: str, context: ssl.SSLContext | None) -> None:
        from veneer.testing.registry_handler import Handler

        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.registry = registry
        self.context = context
        self._open: set[Any] = set()
        self._open_lock = threading.Lock()
        super().__init__((address, 0), Handler)

    def server_bind(self) -> None:
        # HTTPServer's own asks the resolver for our name, which can take seconds and is of no use here.
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()

    def finish_request(self, request: Any, client_address: Any) -> None:
        with self._open_lock:
            self._open.add(request)
        try:
            # A TLS hello on a plain port is hung up on; waiting for its first line would take for ever.
            hello = request.recv(1, socket.MSG_PEEK)
            if (hello == b"\x16") != (self.context is not None) and hello:
                if self.context is not None:
                    request.sendall(
                        b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"
                    )
                return
            if self.context is not None:
                request = self.context.wrap_socket(request, server_side=True)
                with self._open_lock:
                    self._open.add(request)
            super().finish_request(request, client_address)
        finally:
            with self._open_lock:
                self._open.discard(request)
            self.shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is what many tests are about."""

    def hang_up(self) -> None:
        with self._open_lock:
            for each in self._open:
                try:
                    socket.socket.shutdown(each, socket.SHUT_RDWR)
                except OSError:
                    continue  # the client was faster
