"""The HTTP side of the test registry: OCI distribution spec end-1 to end-11, and a token server.

Everything it may do wrong is decided by the Fault that `Registry.faults` hands out for the request.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from veneer.oci.digest import Digest
from veneer.testing.registry import Fault, Registry, Request, Upload


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16
    fault: Fault
    entry: Request

    @property
    def registry(self) -> Registry:
        registry: Registry = self.server.registry  # type: ignore[attr-defined]
        return registry

    def log_message(self, format: str, *args: Any) -> None:
        """The log is `Registry.log`."""

    def do_GET(self) -> None:
        self._handle()

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

    def _handle(self) -> None:
        self.entry = Request(self.command, self.path, dict(self.headers.items()))
        self.registry.record(self.entry)
        self.fault = self.registry.faults(self.command, self.path)
        if self.fault.read is not None:
            self._break_off(self.fault.read)
            return
        if self.fault.status is not None:
            self._body()
            headers = {name: value for name, value in self.fault.headers.items() if value is not None}
            self._answer(self.fault.status, self.fault.body, headers)
            return
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        if parts.path == "/token":
            self._token(query, parts.query)
        elif self._allowed(parts.path, query):
            self._route(unquote(parts.path), query)

    def _route(self, path: str, query: Mapping[str, str]) -> None:
        if path == "/v2/":
            self._answer(200, b"{}", {"Docker-Distribution-Api-Version": "registry/2.0"})
            return
        name, _, rest = path.removeprefix("/v2/").rpartition("/")
        for kind, handler in (("/manifests", self._manifest), ("/blobs/uploads", self._upload), ("/blobs", self._blob)):
            if name.endswith(kind):
                handler(name.removesuffix(kind), rest, query)
                return
        if path.endswith("/tags/list"):
            self._tags(name.removesuffix("/tags"), query)
            return
        self._error(404, "UNSUPPORTED", "no such endpoint")

    # -- who is there ----------------------------------------------------------------------------------------

    def _allowed(self, path: str, query: Mapping[str, str]) -> bool:
        registry = self.registry
        if not registry.auth:
            return True
        kind, _, value = self.headers.get("Authorization", "").partition(" ")
        if registry.auth == "basic":
            if kind == "Basic" and self._user(value) is not None:
                return True
            return self._challenge('Basic realm="test registry"')
        name = next((path[4:].partition(part)[0] for part in ("/manifests/", "/blobs/", "/tags/") if part in path), "")
        action = "pull" if self.command in ("GET", "HEAD") else "push"
        granted = registry.tokens.get(value) if kind == "Bearer" else None
        if granted is not None and (not name or f"{name}:{action}" in granted):
            return True
        scope = f',scope="repository:{name}:{"pull" if action == "pull" else "pull,push"}"' if name else ""
        realm = registry.realm or f"{registry.url}/token"
        error = ',error="insufficient_scope"' if granted is not None else ""
        return self._challenge(f'Bearer realm="{realm}",service="test"{scope}{error}')

    def _challenge(self, header: str) -> bool:
        self._body()
        self._error(401, "UNAUTHORIZED", "authentication required", {"WWW-Authenticate": header})
        return False

    def _user(self, encoded: str) -> str | None:
        user, _, password = base64.b64decode(encoded).decode().partition(":")
        return user if self.registry.users.get(user) == password else None

    def _token(self, query: Mapping[str, str], raw_query: str) -> None:
        registry = self.registry
        body = self._body().decode()
        form = parse_qs(body)
        scopes = parse_qs(raw_query).get("scope", []) + " ".join(form.get("scope", [])).split()
        kind, _, value = self.headers.get("Authorization", "").partition(" ")
        user = self._user(value) if kind == "Basic" else None
        if form and registry.identity_token and form.get("refresh_token") == [registry.identity_token]:
            user = "identity"
        if user is None and (value or form or not registry.anonymous):
            self._error(401, "UNAUTHORIZED", "incorrect username or password")
            return
        granted = set()
        for scope in scopes:
            _, name, actions = scope.split(":")
            granted |= {f"{name}:{action}" for action in actions.split(",") if user or action == "pull"}
        answer: dict[str, Any] = {registry.token_key: registry.issue_token(granted), "expires_in": 300}
        if registry.identity_token and "offline_token" in query:
            answer["refresh_token"] = registry.identity_token
        self._answer(200, json.dumps(answer).encode(), {"Content-Type": "application/json"})

    # -- content ---------------------------------------------------------------------------------------------

    def _manifest(self, repository: str, reference: str, query: Mapping[str, str]) -> None:
        registry = self.registry
        if self.command == "PUT":
            raw, media_type = self._body(), self.headers.get("Content-Type", "")
            if lacking := registry.missing(repository, raw, media_type):
                errors = [{"code": "MANIFEST_BLOB_UNKNOWN", "message": "blob unknown to registry",
                           "detail": {"digest": digest}} for digest in lacking]  # fmt: skip
                self._answer(404, json.dumps({"errors": errors}).encode(), {"Content-Type": "application/json"})
                return
            name = repository if ":" in reference else f"{repository}:{reference}"
            digest = registry.add_manifest(name, media_type, raw)
            self._answer(
                201, b"", {"Docker-Content-Digest": digest, "Location": f"/v2/{repository}/manifests/{digest}"}
            )
            return
        held = registry.manifest(repository, reference)
        if held is None:
            code = "MANIFEST_UNKNOWN" if repository in registry.manifests else "NAME_UNKNOWN"
            self._error(404, code, "manifest unknown" if code[0] == "M" else "repository name not known to registry")
            return
        digest, media_type, raw = held
        self._answer(200, raw, {"Content-Type": media_type, "Docker-Content-Digest": digest})

    def _blob(self, repository: str, digest: str, query: Mapping[str, str]) -> None:
        registry = self.registry
        if not registry.has(repository, digest):
            self._error(404, "BLOB_UNKNOWN", "blob unknown to registry")
            return
        data = registry.blobs[digest]
        headers = {
            "Content-Type": "application/octet-stream",
            "Docker-Content-Digest": digest,
            "Accept-Ranges": "bytes",
        }
        wanted = self.headers.get("Range", "")
        if wanted.startswith("bytes=") and not self.fault.ignore_range:
            start = int(wanted.removeprefix("bytes=").partition("-")[0])
            if start >= len(data):
                self._error(416, "RANGE_INVALID", "no such range")
                return
            headers["Content-Range"] = self.fault.content_range or f"bytes {start}-{len(data) - 1}/{len(data)}"
            self._answer(206, data[start:], headers)
            return
        self._answer(200, data, headers)

    def _tags(self, repository: str, query: Mapping[str, str]) -> None:
        names = sorted(self.registry.tags.get(repository, {}))
        names = [name for name in names if name > query.get("last", "")]
        count = int(query.get("n") or 100)
        headers = {"Content-Type": "application/json"}
        if len(names) > count:
            names = names[:count]
            headers["Link"] = f'</v2/{repository}/tags/list?n={count}&last={names[-1]}>; rel="next"'
        self._answer(200, json.dumps({"name": repository, "tags": names}).encode(), headers)

    # -- uploads ---------------------------------------------------------------------------------------------

    def _upload(self, repository: str, session: str, query: Mapping[str, str]) -> None:
        registry = self.registry
        if self.command == "POST":
            self._body()
            source, digest = query.get("from", ""), query.get("mount", "")
            if digest and not registry.refuse_mounts and registry.has(source, digest):
                registry.linked.setdefault(repository, set()).add(digest)
                self._answer(
                    201, b"", {"Location": f"/v2/{repository}/blobs/{digest}", "Docker-Content-Digest": digest}
                )
                return
            session = secrets.token_hex(8)
            registry.uploads[session] = Upload(repository)
            self._progress(202, repository, session)
            return
        upload = registry.uploads.get(session)
        if upload is None or upload.repository != repository:
            self._body()
            self._error(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
        elif self.command == "GET":
            self._progress(204, repository, session)
        elif self.command == "PATCH":
            self._patch(upload, repository, session)
        elif self.command == "PUT":
            upload.data += self._body()
            self._complete(upload, repository, session, query.get("digest", ""))
        else:
            registry.uploads.pop(session)
            self._answer(204, b"", {})

    def _patch(self, upload: Upload, repository: str, session: str) -> None:
        data = self._body()
        start = self.headers.get("Content-Range", f"{len(upload.data)}-").partition("-")[0]
        if int(start) != len(upload.data):
            self._error(416, "RANGE_INVALID", "not where the upload stands", self._where(repository, session))
            return
        upload.data += data
        self._progress(202, repository, session)

    def _complete(self, upload: Upload, repository: str, session: str, digest: str) -> None:
        if Digest.of(upload.data) != digest:
            self._error(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
            return
        self.registry.uploads.pop(session)
        self.registry.add_blob(repository, bytes(upload.data))
        self._answer(201, b"", {"Location": f"/v2/{repository}/blobs/{digest}", "Docker-Content-Digest": digest})

    def _where(self, repository: str, session: str) -> dict[str, str]:
        # The query is state that a client must send back, as distribution's _state is.
        have = len(self.registry.uploads[session].data)
        headers = {
            "Location": f"/v2/{repository}/blobs/uploads/{session}?state={have}",
            "Range": f"0-{max(have - 1, 0)}",
        }
        if self.registry.chunk_min_length:
            headers["OCI-Chunk-Min-Length"] = str(self.registry.chunk_min_length)
        return headers

    def _progress(self, status: int, repository: str, session: str) -> None:
        self._answer(status, b"", self._where(repository, session))

    def _break_off(self, count: int) -> None:
        """Take `count` bytes of the body and hang up; an upload keeps them, as with real registries."""
        data = self._body(count)
        upload = self.registry.uploads.get(urlsplit(self.path).path.rpartition("/")[2])
        if upload is not None:
            upload.data += data
        self.close_connection = True

    # -- bytes -----------------------------------------------------------------------------------------------

    def _body(self, most: int = 1 << 40) -> bytes:
        """The request's body, or so many bytes of it."""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            data = b""
            while len(data) < most and (size := int(self.rfile.readline().split(b";")[0], 16)):
                data += self.rfile.read(min(size, most - len(data)))
                if len(data) < most:
                    self.rfile.readline()
            if len(data) < most:
                self.rfile.readline()
        else:
            data = self.rfile.read(min(int(self.headers.get("Content-Length") or 0), most))
        self.entry.received = len(data)
        return data

    def _error(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
        self._answer(status, body, {"Content-Type": "application/json", **(headers or {})})

    def _answer(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        fault = self.fault
        self.entry.status = status
        body += fault.extra
        if fault.flip is not None:
            body = body[: fault.flip] + bytes([body[fault.flip] ^ 1]) + body[fault.flip + 1 :]
        length = len(body) if fault.length is None else fault.length
        told = {**headers, "Content-Length": str(length) if length >= 0 else None, **dict(fault.headers)}
        if status == 204:
            told.pop("Content-Length")
        self.send_response(status)
        for name, value in told.items():
            if value is not None:
                self.send_header(name, value)
        if length < 0 or fault.cut is not None:
            self.close_connection = True
        self.end_headers()
        if self.command == "HEAD" or status == 204:
            self.wfile.flush()
            return
        body = body[: fault.cut] if fault.cut is not None else body
        # Noted before, for the client may look as soon as it has the last byte.
        self.entry.sent = len(body)
        self.wfile.write(body)
        self.wfile.flush()
        if fault.hang:
            self.registry.released.wait()
