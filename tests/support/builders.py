"""Who builds a case: a private dockerd (its classic builder or its BuildKit) or veneer; and what came out of it."""

from __future__ import annotations

import functools
import http.server
import io
import itertools
import json
import tarfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tests.support import flattened
from tests.support.build_cases import MTIME, Case, archive, make_context
from tests.support.peers import Docker
from tests.support.programs import Output, run, veneer
from veneer.oci.digest import Digest

BUSYBOX, DEBIAN, BARE = "compat/busybox", "compat/debian", "compat/bare"
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Row:
    """A row of history that came with the build: text, comment, whether it says it has no layer, bytes shown."""

    created_by: str
    comment: str
    empty: bool
    size: int

    def __str__(self) -> str:
        comment = f" ({self.comment})" if self.comment else ""
        return f"{'empty' if self.empty else 'layer'}: {self.created_by}{comment} {self.size}B"


@dataclass(frozen=True)
class Built:
    """An image that was built: how it was saved, its history oldest first, what `inspect` says of it.

    `began` is when the first of the case's builds did, in Unix seconds: what they changed is not older.
    """

    saved: flattened.Saved
    history: tuple[Row, ...]
    inspected: Mapping[str, Any]
    began: int


class Refused(Exception):
    """The builder ended with an error; the message is everything it said."""


class Builder(Protocol):
    """Somebody who can build a case; `name` is how a difference calls him."""

    name: str

    def build(self, case: Case, folder: Path, *, url: str = "") -> Built:
        """Build `case` with its context made in `folder`.  Raises Refused where that fails."""
        ...


def _arguments(case: Case, context: Path, tag: str, url: str, *, equivalent: bool = False) -> list[str | Path]:
    words: list[str | Path] = ["--network", "none", "--no-cache", "--tag", tag]
    for key, value in (*case.args, *((("URL", url),) if case.serve else ())):
        words += ["--build-arg", f"{key}={value}"]
    for key, value in case.labels:
        words += ["--label", f"{key}={value}"]
    if not equivalent:
        words += ["--target", case.target] if case.target else []
        for name, folder in case.contexts:
            words += ["--build-context", f"{name}={context / folder}"]
        for each in case.allow:
            words += ["--allow", each]
    if case.dockerfile:
        words += ["--file", context / case.dockerfile]
    return [*words, context]


def _secrets(case: Case, folder: Path) -> list[str | Path]:
    words: list[str | Path] = []
    for key, value in case.secrets:
        source = folder / f"secret-{key}"
        source.write_text(value)
        words += ["--secret", f"id={key},src={source}"]
    return words


def _result(call: Callable[..., Output], archive: Path, name: str, began: int) -> Built:
    """The image as `call`, either command, shows and saves it."""
    inspected = json.loads(call("image", "inspect", name).out)[0]
    if inspected["RootFS"].get("Layers"):
        call("save", "--output", archive, name)
        image = flattened.read(archive)
        archive.unlink()
    else:  # docker refuses to save an image without layers
        image = flattened.Saved(_unsaved_config(call, name, inspected), {}, ())
    sizes = call("history", "--human=false", "--format", "{{.Size}}", name).out
    return Built(image, _history(sizes, image.config), inspected, began)


def _unsaved_config(call: Callable[..., Output], name: str, inspected: Mapping[str, Any]) -> Mapping[str, Any]:
    lines = call("history", "--no-trunc", "--format", "{{json .}}", name).out.splitlines()
    rows = [json.loads(line) for line in reversed(lines)]
    history = [{"created_by": row["CreatedBy"], "comment": row["Comment"], "empty_layer": True} for row in rows]
    return {"architecture": inspected["Architecture"], "os": inspected["Os"], "author": inspected["Author"],
            "config": inspected["Config"], "history": history}  # fmt: skip


def _history(lines: str, config: Mapping[str, Any]) -> tuple[Row, ...]:
    sizes = [int(line) for line in reversed(lines.split())]
    return tuple(
        Row(row.get("created_by", ""), row.get("comment", ""), row.get("empty_layer", False), size)
        for row, size in zip(config["history"], sizes, strict=True)
    )


class DockerBuilder:
    """Builds with `docker`, by the builder each case names."""

    name = "docker"

    def __init__(self, docker: Docker, bases: Path) -> None:
        self._docker = docker
        self._count = itertools.count()
        for base in sorted(bases.glob("*.tar")):
            docker("load", "--quiet", "--input", base)

    def build(self, case: Case, folder: Path, *, url: str = "") -> Built:
        context = make_context(case, folder / "docker", equivalent=case.equivalent)
        began = int(time.time())
        for file, name in case.before:
            self._build(case.builder, "--network", "none", "--tag", name, "--file", context / file, context)
        tag = f"compat/case-{next(self._count)}"
        arguments = _arguments(case, context, tag, url, equivalent=case.equivalent)
        self._build(case.builder, *_secrets(case, folder), *arguments)
        return _result(self._docker, folder / "docker.tar", tag, began)

    def _build(self, builder: str, *words: str | Path) -> None:
        line, env = self._docker.command("build", *words)
        _checked(run(*line, env=env | {"DOCKER_BUILDKIT": str(int(builder == "buildkit"))}, check=False))


class VeneerBuilder:
    """Builds with the veneer command, all cases on one store in `folder`, as docker does."""

    name = "veneer"

    def __init__(self, bases: Path, folder: Path) -> None:
        self._call = functools.partial(veneer, root=folder / "root")
        self._count = itertools.count()
        for base in sorted(bases.glob("*.tar")):
            self._call("--durability", "none", "load", "--quiet", "--input", base)

    def build(self, case: Case, folder: Path, *, url: str = "") -> Built:
        context = make_context(case, folder / "veneer")
        began = int(time.time())
        for file, name in case.before:
            self._build("--network", "none", "--tag", name, "--file", context / file, context)
        tag = f"compat/case-{next(self._count)}"
        self._build(*_secrets(case, folder), *_arguments(case, context, tag, url))
        return _result(self._call, folder / "veneer.tar", tag, began)

    def _build(self, *words: str | Path) -> None:
        _checked(self._call("build", *words, check=False))


def _checked(output: Output) -> None:
    if output.code != 0:
        raise Refused(output.out + output.err)


class _Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: what was asked for is the test's business."""


@contextmanager
def served(case: Case, folder: Path) -> Iterator[str]:
    """The address where the case's files are to be had, for ADD; "" where the case wants none."""
    if not case.serve:
        yield ""
        return
    handler = functools.partial(_Handler, directory=str(make_context(case, folder / "served")))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


# The base images: the same archives, loaded by both, so that even their IDs are equal.


def make_bases(busybox: Path, folder: Path) -> Path:
    """Write the three base images as archives to `folder`, from the tar of a busybox root file system."""
    folder.mkdir(parents=True, exist_ok=True)
    bare = busybox.read_bytes()
    run_files = archive({f"etc/{name}": {} for name in ("hostname", "hosts", "resolv.conf")} | {
        "etc/mtab": {"symlink": "/proc/mounts"}})  # fmt: skip
    _write(folder / "bare.tar", BARE, {"Cmd": ["sh"], "Env": [PATH]}, bare)
    _write(folder / "busybox.tar", BUSYBOX, {"Cmd": ["sh"], "Env": [PATH]}, bare, run_files)
    config = {"Cmd": ["bash"], "Env": [PATH, "LANG=C.UTF-8"], "Labels": {"vendor": "nobody"}, "WorkingDir": "/root"}
    _write(folder / "debian.tar", DEBIAN, config, _merged_usr(bare), run_files, archive(_DEBIAN))
    return folder


_USERS = {"root": 0, "daemon": 1, "www-data": 33, "app": 1000, "nobody": 65534}
_DEBIAN: Mapping[str, Mapping[str, Any]] = {
    "etc": {"directory": True},
    "etc/passwd": {"text": "".join(f"{name}:x:{uid}:{uid}:{name}:{'/home/app' if name == 'app' else '/'}:/bin/sh\n"
                                   for name, uid in _USERS.items())},
    "etc/group": {"text": "".join(f"{name}:x:{gid}:{'app' if name == 'staff' else ''}\n"
                                  for name, gid in {**_USERS, "staff": 50}.items())},
    "etc/debian_version": {"text": "12.0\n"},
    "home": {"directory": True},
    "home/app": {"directory": True, "owner": [1000, 1000], "mode": 0o700},
    "run": {"directory": True},
    "run/lock": {"directory": True, "mode": 0o1777},
    "srv": {"directory": True},
    "srv/full": {"directory": True, "owner": [33, 33], "mode": 0o2775},
    "srv/full/a": {"text": "a\n", "owner": [33, 33]},
    "srv/full/b": {"text": "b\n", "mode": 0o600},
    "srv/full/sub": {"directory": True},
    "srv/full/sub/c": {"text": "c\n"},
    "srv/one": {"text": "linked\n"},
    "srv/other": {"hardlink": "srv/one"},
    "srv/ping": {"text": "#!/bin/sh\n", "mode": 0o755, "capability": True},
    "srv/su": {"text": "#!/bin/sh\n", "mode": 0o4755},
    "var": {"directory": True},
    "var/run": {"symlink": "/run"},
    "var/www": {"symlink": "../srv/full"},
}  # fmt: skip


def _merged_usr(bare: bytes) -> bytes:
    """The busybox tar as Debian lays it out: what was in /bin is in /usr/bin, /bin and /sbin are symlinks."""
    out = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(bare)) as source, tarfile.open(fileobj=out, mode="w") as target:
        for member in source:
            name = member.name.removeprefix("./")
            if name.partition("/")[0] == "bin":
                member.name = f"usr/{name}"
            if name == "sbin":
                member.type, member.linkname, member.mode = tarfile.SYMTYPE, "usr/sbin", 0o777
            if name not in ("usr/bin", "."):
                target.addfile(member, source.extractfile(member) if member.isreg() else None)
        link = tarfile.TarInfo("bin")
        link.type, link.linkname, link.mode, link.mtime = tarfile.SYMTYPE, "usr/bin", 0o777, MTIME
        target.addfile(link)
    return out.getvalue()


def _write(target: Path, name: str, run_config: Mapping[str, Any], *layers: bytes) -> None:
    created = "2023-11-14T22:13:20Z"
    config = json.dumps({
        "architecture": "amd64", "os": "linux", "created": created, "config": run_config,
        "history": [{"created": created, "created_by": f"layer {number}"} for number in range(len(layers))],
        "rootfs": {"type": "layers", "diff_ids": [str(Digest.of(layer)) for layer in layers]},
    }).encode()  # fmt: skip
    names = [f"layer-{number}.tar" for number in range(len(layers))]
    manifest = json.dumps([{"Config": "config.json", "RepoTags": [f"{name}:latest"], "Layers": names}]).encode()
    files = {"config.json": config, **dict(zip(names, layers, strict=True)), "manifest.json": manifest}
    with tarfile.open(target, "w") as tar:
        for file, data in files.items():
            info = tarfile.TarInfo(file)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
