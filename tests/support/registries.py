"""A real registry (distribution's docker-registry) on a loopback port of its own choice."""

from __future__ import annotations

import base64
import json
import os
import re
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from tests.support.programs import Background, run
from veneer.oci.manifest import ACCEPT, Manifest
from veneer.testing.images import SampleImage

_CONFIG = """\
version: 0.1
log: {{level: info}}
storage: {{filesystem: {{rootdirectory: "{data}"}}, delete: {{enabled: true}}, redirect: {{disable: true}}}}
http: {{addr: "127.0.0.1:0"}}
{auth}
"""


class RegistryDidNotStart(RuntimeError):
    """docker-registry ended, or said nothing for 20 seconds."""


@dataclass
class RealRegistry:
    """A running docker-registry.  `host` is `127.0.0.1:PORT`; `user` and `password` are "" without auth."""

    host: str
    data: Path
    user: str = ""
    password: str = ""
    _program: Background | None = field(default=None, repr=False)

    @classmethod
    def start(cls, folder: Path, *, user: str = "", password: str = "") -> RealRegistry:
        """Start one with its data in the new directory `folder`; with a user it asks for basic auth."""
        data = folder / "data"
        data.mkdir(parents=True)
        auth = ""
        if user:
            users = folder / "htpasswd"
            users.write_text(run("htpasswd", "-Bbn", user, password).out)
            auth = f'auth: {{htpasswd: {{realm: "test", path: "{users}"}}}}'
        config = folder / "config.yml"
        config.write_text(_CONFIG.format(data=data, auth=auth))
        program = Background(["docker-registry", "serve", config], folder / "log", env={"PATH": "/usr/sbin:/usr/bin"})
        deadline = time.monotonic() + 60
        while not (found := re.search(r"listening on ([0-9.]+:[0-9]+)", program.said())):
            if not program.running or time.monotonic() > deadline:
                program.stop()
                raise RegistryDidNotStart(program.said()[-2000:])
            time.sleep(0.02)
        return cls(found[1], data, user, password, program)

    def stop(self) -> None:
        if self._program is not None:
            self._program.stop()

    def request(
        self, method: str, path: str, data: bytes | BinaryIO | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """One request: status, headers (keys lower case), body.  HTTP errors are answers, not exceptions."""
        url = path if path.startswith("http") else f"http://{self.host}{path}"
        request = urllib.request.Request(url, data=data, method=method, headers=headers or {})
        if self.user:
            token = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
            request.add_header("Authorization", f"Basic {token}")
        try:
            with urllib.request.urlopen(request, timeout=300) as answer:
                return answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, {k.lower(): v for k, v in error.headers.items()}, error.read()

    def manifest(self, repository: str, reference: str) -> tuple[bytes, str]:
        """The raw manifest or index and its content type.  Fails the test if it is not there."""
        status, headers, body = self.request(
            "GET", f"/v2/{repository}/manifests/{reference}", headers={"Accept": ", ".join(ACCEPT)}
        )
        assert status == 200, f"{repository}:{reference}: HTTP {status} {body[:300]!r}"
        return body, headers["content-type"]

    def has_blob(self, repository: str, digest: str) -> bool:
        return self.request("HEAD", f"/v2/{repository}/blobs/{digest}")[0] == 200

    def tags(self, repository: str) -> list[str]:
        status, _, body = self.request("GET", f"/v2/{repository}/tags/list")
        return sorted(json.loads(body).get("tags") or []) if status == 200 else []

    def put_blob(self, repository: str, digest: str, data: bytes | BinaryIO) -> None:
        """Put a blob; a file is sent without being read into memory."""
        status, headers, body = self.request("POST", f"/v2/{repository}/blobs/uploads/", b"")
        assert status == 202, body
        location = headers["location"]
        joint = "&" if "?" in location else "?"
        headers = {"Content-Type": "application/octet-stream"}
        if not isinstance(data, bytes):
            headers["Content-Length"] = str(os.fstat(data.fileno()).st_size)
        status, _, body = self.request("PUT", f"{location}{joint}digest={digest}", data, headers)
        assert status == 201, body

    def put_manifest(self, repository: str, reference: str, raw: bytes, media_type: str) -> None:
        status, _, body = self.request("PUT", f"/v2/{repository}/manifests/{reference}", raw,
                                       {"Content-Type": media_type})  # fmt: skip
        assert status == 201, body

    def put(self, name: str, *images: SampleImage) -> str:
        """Put a sample image, or several as an index, at `repository:tag`; returns `host/repository:tag`."""
        from veneer.testing.images import index

        repository, _, tag = name.rpartition(":")
        for image in images:
            for digest, data in image.blobs().items():
                self.put_blob(repository, digest, data)
        root: Manifest = images[0].manifest
        if len(images) > 1:
            for image in images:
                self.put_manifest(repository, image.digest, image.manifest.raw, image.manifest.media_type)
            listed = index(*images)
            self.put_manifest(repository, tag, listed.raw, listed.media_type)
        else:
            self.put_manifest(repository, tag, root.raw, root.media_type)
        return f"{self.host}/{name}"
