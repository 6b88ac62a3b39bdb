"""The image everything is measured with: 1 GB, about 36,000 files, 6 layers, out of what this machine has."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.support.programs import run
from tests.support.registries import RealRegistry
from veneer.oci.digest import BlobDigest, Digest
from veneer.oci.manifest import DOCKER_CONFIG, DOCKER_LAYER_GZIP, DOCKER_MANIFEST, Descriptor, Manifest

FILES = 36_000
BYTES = 1_000_000_000
SHARES = (0.44, 0.22, 0.14, 0.10, 0.06, 0.04)
"""How much of the whole each layer holds, base first: one large base and ever smaller changes, as images are."""


@dataclass(frozen=True)
class Corpus:
    """The image on disk: `archive` is a docker archive, `blobs` the compressed layers, base first."""

    manifest: Manifest
    config: bytes
    blobs: tuple[Path, ...]
    archive: Path
    files: int
    bytes: int

    def put(self, registry: RealRegistry, repository: str) -> str:
        """Push it as it is; gives its name."""
        for descriptor, path in zip(self.manifest.layers, self.blobs, strict=True):
            with path.open("rb") as data:
                registry.put_blob(repository, descriptor.digest, data)
        registry.put_blob(repository, self.manifest.config.digest, self.config)
        registry.put_manifest(repository, "1", self.manifest.raw, self.manifest.media_type)
        return f"{registry.host}/{repository}:1"


def _candidates() -> list[tuple[str, int]]:
    """Every regular file below /usr with its size, sorted by path."""
    found = []
    for folder, folders, names in os.walk("/usr"):
        folders.sort()
        for name in names:
            path = f"{folder}/{name}"
            status = os.lstat(path)
            if stat.S_ISREG(status.st_mode):
                found.append((path, status.st_size))
    return sorted(found)


def choose(files: int, size: int) -> list[tuple[str, int]]:
    """Up to `files` files of about `size` bytes in all, spread evenly over what there is.

    The same machine gives the same choice.  Where the files are too large on average, the largest are left
    out before choosing; where there are too few, all are taken.
    """
    candidates = _candidates()
    low, high = 0, max(length for _, length in candidates)
    while True:
        cap = (low + high) // 2
        fitting = [each for each in candidates if each[1] <= cap]
        step = max(1.0, len(fitting) / files)
        chosen = [fitting[int(n * step)] for n in range(min(files, len(fitting)))]
        if high - low <= 1024:
            return sorted(chosen + _largest_left(candidates, chosen, size))
        if sum(length for _, length in chosen) > size:
            high = cap
        else:
            low = cap


def _with_folders(paths: list[str]) -> list[str]:
    """The files with every folder they are in, each before its content, as the layers of real images have them."""
    seen: dict[str, None] = {}
    for path in paths:
        for folder in reversed(Path(path).parents[:-1]):
            seen[str(folder)] = None
        seen[path] = None
    return list(seen)


def _largest_left(candidates: list[tuple[str, int]], chosen: list[tuple[str, int]], size: int) -> list[tuple[str, int]]:
    """A few large files more, to come close to `size` bytes in all: images have their large libraries too."""
    missing = size - sum(length for _, length in chosen)
    added = []
    for each in sorted(set(candidates) - set(chosen), key=lambda each: (-each[1], each[0])):
        if 1 << 20 <= each[1] <= missing // 4:
            added.append(each)
            missing -= each[1]
    return added


def _make_layer(work: Path, number: int, paths: list[str]) -> str:
    """Write layer-N.tar and layer-N.tar.gz; gives the diff ID's hex digits."""
    names = work / f"layer-{number}.list"
    names.write_bytes(b"\0".join(os.fsencode(path[1:]) for path in _with_folders(paths)))
    tar = work / f"layer-{number}.tar"
    run(
        "tar", "--create", "--file", tar, "--format=pax", "--pax-option=delete=atime,delete=ctime", "--numeric-owner",
        "--hard-dereference", "--no-recursion", "--directory", "/", "--null", "--files-from", names,
    )  # fmt: skip
    with tar.open("rb") as source, (work / f"layer-{number}.tar.gz").open("wb") as out:
        subprocess.run(["gzip", "-6", "-n"], stdin=source, stdout=out, check=True)
    with tar.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def _split(chosen: list[tuple[str, int]]) -> list[list[str]]:
    total = sum(length for _, length in chosen)
    layers: list[list[str]] = [[] for _ in SHARES]
    taken, number, limit = 0, 0, SHARES[0] * total
    for path, length in chosen:
        if taken >= limit and number + 1 < len(SHARES):
            number += 1
            limit += SHARES[number] * total
        layers[number].append(path)
        taken += length
    return layers


def corpus(work: Path, files: int = FILES, size: int = BYTES) -> Corpus:
    """Make the image in `work`, or take the one made there before."""
    facts = work / "corpus.json"
    if not facts.exists():
        work.mkdir(parents=True, exist_ok=True)
        chosen = choose(files, size)
        layers = _split(chosen)
        with ThreadPoolExecutor(2) as pool:
            diff_ids = list(pool.map(lambda each: _make_layer(work, *each), enumerate(layers)))
        _write_archive(work, diff_ids)
        facts.write_text(json.dumps({"files": len(chosen), "bytes": sum(length for _, length in chosen)}))
    known = json.loads(facts.read_text())
    config = (work / "config.json").read_bytes()
    blobs = tuple(work / f"layer-{number}.tar.gz" for number in range(len(SHARES)))
    manifest = Manifest.build(
        DOCKER_MANIFEST,
        Descriptor(DOCKER_CONFIG, BlobDigest(Digest.of(config)), len(config)),
        tuple(gzipped_layer(path) for path in blobs),
    )
    return Corpus(manifest, config, blobs, work / "archive.tar", known["files"], known["bytes"])


def gzipped_layer(path: Path) -> Descriptor:
    """The descriptor of a compressed layer in a file."""
    with path.open("rb") as source:
        digest = Digest.sha256(hashlib.file_digest(source, "sha256").hexdigest())
    return Descriptor(DOCKER_LAYER_GZIP, BlobDigest(digest), path.stat().st_size)


def _write_archive(work: Path, diff_ids: list[str]) -> None:
    """config.json, and archive.tar as docker save writes it."""
    created = "2023-11-14T22:13:20Z"
    config = json.dumps({
        "architecture": "amd64", "os": "linux", "created": created, "config": {"Cmd": ["sh"]},
        "history": [{"created": created, "created_by": f"COPY dir:{n} in /"} for n in range(len(diff_ids))],
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff_id}" for diff_id in diff_ids]},
    }).encode()  # fmt: skip
    (work / "config.json").write_bytes(config)
    names = [f"layer-{number}.tar" for number in range(len(diff_ids))]
    entry = {"Config": "config.json", "RepoTags": ["bench/loaded:1"], "Layers": names}
    (work / "manifest.json").write_text(json.dumps([entry]))
    run("tar", "--create", "--file", work / "archive.tar", "--directory", work, "config.json", *names, "manifest.json")
    for name in names:
        (work / name).unlink()
