"""The ten steps of the nginx image, made one by one through veneer's Python API."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import veneer
from tests.support.programs import ProgramFailed, run
from veneer.engine.engine import Engine
from veneer.oci import strictjson
from veneer.oci.digest import Digest
from veneer.oci.image import HistoryEntry
from veneer.store.images import Image

NOP = "/bin/sh -c #(nop) "


def installed_packages(target: Path) -> None:
    """Fill `target` with the files of Debian's nginx; without a mirror, with a page to serve."""
    with tempfile.TemporaryDirectory() as downloads:
        fetch = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", "nginx", "nginx-common"]
        try:
            run("env", "-C", downloads, *fetch)
        except ProgramFailed:
            page = target / "usr/share/nginx/html/index.html"
            page.parent.mkdir(parents=True)
            page.write_text("<h1>Welcome</h1>\n")
        for package in sorted(Path(downloads).glob("*.deb")):
            run("dpkg-deb", "--extract", package, target)


def redirected_logs(target: Path) -> None:
    """What `ln -sf /dev/stdout ...` leaves: two symlinks, 22 bytes in docker's way of counting."""
    logs = target / "var/log/nginx"
    logs.mkdir(parents=True)
    (logs / "access.log").symlink_to("/dev/stdout")
    (logs / "error.log").symlink_to("/dev/stderr")


def added(engine: Engine, rootfs: Path) -> Image:
    """Import the tar, then give its one layer the row a Dockerfile's ADD writes: two images, the layer stored once."""
    with rootfs.open("rb") as tar:
        imported = engine.images.import_(tar, reference="demo/rootfs")
    document = dict(imported.config.document)
    checksum = Digest.of(rootfs.read_bytes()).hex
    row = HistoryEntry(imported.config.created, f"{NOP}ADD file:{checksum} in / ")
    document["history"] = [row.to_json()]
    document.pop("comment", None)
    with engine.store.lease("demo") as lease:
        return engine.store.images.add(lease, strictjson.dumps(document), built=True)


@dataclass(frozen=True)
class Step:
    """One instruction: its row's text, what it changes in the run configuration, the files it adds."""

    created_by: str
    run: Mapping[str, Any] = field(default_factory=dict)
    files: Callable[[Path], None] | None = None


STEPS = (
    Step(f'{NOP} CMD ["bash"]', {"Cmd": ["bash"]}),
    Step(f"{NOP} LABEL maintainer=NGINX Docker Maintainers", {"Labels": {"maintainer": "NGINX Docker Maintainers"}}),
    Step(f"{NOP} ENV NGINX_VERSION=1.22.1", {"Env": {"NGINX_VERSION": "1.22.1"}}),
    Step(f"{NOP} ENV PKG_RELEASE=9~bookworm", {"Env": {"PKG_RELEASE": "9~bookworm"}}),
    Step("/bin/sh -c apt-get update && apt-get install -y nginx=${NGINX_VERSION}*", files=installed_packages),
    Step(
        "/bin/sh -c ln -sf /dev/stdout /var/log/nginx/access.log && ln -sf /dev/stderr /var/log/nginx/error.log",
        files=redirected_logs,
    ),
    Step(f"{NOP} EXPOSE 80", {"ExposedPorts": {"80/tcp": {}}}),
    Step(f"{NOP} STOPSIGNAL SIGQUIT", {"StopSignal": "SIGQUIT"}),
    Step(f'{NOP} CMD ["nginx" "-g" "daemon off;"]', {"Cmd": ["nginx", "-g", "daemon off;"]}),
)
"""The nine steps after ADD, oldest first."""


def assemble(root: Path, rootfs: Path, work: Path, *, tag: str, steps: Sequence[Step] = STEPS) -> None:
    """Make the image in the store at `root` and call it `tag`; `work` takes the files of its layers."""
    with veneer.open(root) as engine:
        image = added(engine, rootfs)
        for number, step in enumerate(steps):
            folder = None
            if step.files is not None:
                folder = work / f"layer-{number}"
                folder.mkdir()
                step.files(folder)
            image = engine.images.derive(image, layer=folder, created_by=step.created_by, run=step.run)
        engine.images.tag(str(image.id), tag)
