"""Tiny images made by code: layers from dicts, and every wrapping an image travels in.

    base = image({"etc": directory(), "etc/hostname": b"veneer\n", "sbin/init": symlink("../bin/busybox")})
    Path("base.tar").write_bytes(docker_archive((base, ["example/base:1"])))

The bytes are a pure function of the arguments.  The tar writer below shares nothing with
`veneer.changeset`, so that a mistake there cannot hide behind the same mistake here.
"""

from __future__ import annotations

import bz2
import functools
import gzip
import io
import json
import lzma
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from veneer.oci.digest import BlobDigest, DiffID, Digest, ImageID
from veneer.oci.image import HistoryEntry, ImageConfig
from veneer.oci.manifest import (
    ANNOTATION_IMAGE_NAME,
    ANNOTATION_REF_NAME,
    DOCKER_CONFIG,
    DOCKER_LAYER,
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
    Descriptor,
    Index,
    Manifest,
)
from veneer.oci.platform import Platform

EPOCH = 1_700_000_000
"""Unix seconds: the modification time of every member that names none."""
CREATED = "2023-11-14T22:13:20Z"
"""EPOCH as RFC 3339: when every image that does not say otherwise was made."""
_BLOCK = 512


@dataclass(frozen=True, slots=True)
class Member:
    """One tar member as it will be written; `type` is the ustar type flag, `size` is taken from `content`."""

    type: bytes
    content: bytes = b""
    link: bytes = b""
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime_ns: int = EPOCH * 10**9
    device: tuple[int, int] = (0, 0)
    xattrs: tuple[tuple[bytes, bytes], ...] = ()

    def owned(self, uid: int, gid: int) -> Member:
        """The same member with another owner."""
        return replace(self, uid=uid, gid=gid)


def file(content: bytes = b"", mode: int = 0o644, *, xattrs: Mapping[bytes, bytes] | None = None,
         mtime_ns: int = EPOCH * 10**9) -> Member:  # fmt: skip
    """A regular file."""
    return Member(b"0", content, mode=mode, xattrs=tuple((xattrs or {}).items()), mtime_ns=mtime_ns)


def directory(mode: int = 0o755, *, xattrs: Mapping[bytes, bytes] | None = None) -> Member:
    return Member(b"5", mode=mode, xattrs=tuple((xattrs or {}).items()))


def symlink(target: str | bytes) -> Member:
    return Member(b"2", link=_bytes(target), mode=0o777)


def hardlink(target: str | bytes) -> Member:
    """A second name for `target`, a path of this or a lower layer."""
    return Member(b"1", link=_bytes(target))


def fifo(mode: int = 0o644) -> Member:
    return Member(b"6", mode=mode)


def device(major: int, minor: int, *, block: bool = False, mode: int = 0o600) -> Member:
    return Member(b"4" if block else b"3", device=(major, minor), mode=mode)


Tree = Mapping[str, Member | bytes]
"""A layer's members in order, by name as it stands in the tar; bare bytes are a regular file's content.

A name that is not UTF-8 is written as `os.fsdecode` gives it ("caf\udce9").

Whiteouts are written as the OCI spells them: `{"etc/.wh.passwd": b"", "var/.wh..wh..opq": b""}`.
Parent directories are not added: a layer without them is legal and worth testing.
"""


def _bytes(text: str | bytes) -> bytes:
    return text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text


def _pax_record(key: bytes, value: bytes) -> bytes:
    body = b" " + key + b"=" + value + b"\n"
    length = len(body) + len(str(len(body)))
    length = len(body) + len(str(length))
    return str(length).encode() + body


def _header(name: bytes, member: Member, size: int) -> bytes:
    def octal(value: int, width: int) -> bytes:
        return f"{value:0{width - 1}o}".encode() + b"\0"

    head = name[:100].ljust(100, b"\0") + octal(member.mode & 0o7777, 8)
    head += octal(min(member.uid, 0o7777777), 8) + octal(min(member.gid, 0o7777777), 8)
    head += octal(min(size, 0o77777777777), 12) + octal(max(member.mtime_ns // 10**9, 0), 12)
    tail = member.type + member.link[:100].ljust(100, b"\0") + b"ustar\0" + b"00" + bytes(64)
    tail += octal(member.device[0], 8) + octal(member.device[1], 8) + bytes(167)
    checksum = sum(head) + 8 * 32 + sum(tail)
    return head + f"{checksum:06o}\0 ".encode() + tail


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % _BLOCK)


def _write_member(out: io.BytesIO, name: bytes, member: Member) -> None:
    pax = b""
    if len(name) > 100:
        pax += _pax_record(b"path", name)
    if len(member.link) > 100:
        pax += _pax_record(b"linkpath", member.link)
    for owner, number in ((b"uid", member.uid), (b"gid", member.gid)):
        if number > 0o7777777:
            pax += _pax_record(owner, str(number).encode())
    if member.mtime_ns < 0 or member.mtime_ns % 10**9:
        # A pax time is a decimal number: a quarter of a second before the epoch is -0.25.
        sign, whole = "-" if member.mtime_ns < 0 else "", abs(member.mtime_ns)
        pax += _pax_record(b"mtime", f"{sign}{whole // 10**9}.{whole % 10**9:09d}".encode())
    for key, value in member.xattrs:
        pax += _pax_record(b"SCHILY.xattr." + key, value)
    if pax:
        out.write(_header(b"PaxHeaders/" + name[:80], Member(b"x"), len(pax)) + _padded(pax))
    out.write(_header(name, member, len(member.content)) + _padded(member.content))


def layer_tar(tree: Tree) -> bytes:
    """The tar of a layer: ustar, with pax records only where ustar is too narrow; ends with two zero blocks."""
    out = io.BytesIO()
    for path, value in tree.items():
        member = file(value) if isinstance(value, bytes) else value
        name = _bytes(path)
        if member.type == b"5" and not name.endswith(b"/"):
            name += b"/"
        _write_member(out, name, member)
    out.write(bytes(2 * _BLOCK))
    return out.getvalue()


def _zstd(data: bytes) -> bytes:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd

    return zstd.compress(data)


_COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "": lambda data: data,
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "zstd": _zstd,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}


@dataclass(frozen=True)
class SampleLayer:
    """One layer: its tar and how it is wrapped ("" plain, "gzip", "zstd", "bzip2" or "xz")."""

    tar: bytes
    compression: str = "gzip"

    @functools.cached_property
    def blob(self) -> bytes:
        """The bytes as stored and sent."""
        return _COMPRESSORS[self.compression](self.tar)

    @functools.cached_property
    def diff_id(self) -> DiffID:
        return DiffID(Digest.of(self.tar))

    @functools.cached_property
    def digest(self) -> BlobDigest:
        return BlobDigest(Digest.of(self.blob))

    def descriptor(self, style: str = "oci") -> Descriptor:
        """Its descriptor; `style` "oci" or "docker" gives the media type."""
        base, joint = (OCI_LAYER, "+") if style == "oci" else (DOCKER_LAYER, ".")
        media_type = base + (joint + self.compression if self.compression else "")
        return Descriptor(media_type, self.digest, len(self.blob))


@dataclass(frozen=True)
class SampleImage:
    """An image in memory.  `layers` base first; `manifest` is OCI or schema 2 as asked."""

    layers: tuple[SampleLayer, ...]
    config: bytes
    manifest: Manifest

    @property
    def image_id(self) -> ImageID:
        return ImageID(Digest.of(self.config))

    @property
    def digest(self) -> BlobDigest:
        """The manifest's digest: what a registry calls this image."""
        return self.manifest.digest

    @property
    def parsed(self) -> ImageConfig:
        return ImageConfig.parse(self.config)

    @property
    def platform(self) -> Platform:
        return self.parsed.platform

    def blobs(self) -> dict[BlobDigest, bytes]:
        """Everything but the manifest, by digest: the config and each layer."""
        found = {layer.digest: layer.blob for layer in self.layers}
        found[BlobDigest(Digest.of(self.config))] = self.config
        return found


def image(*layers: Tree | SampleLayer, compression: str = "gzip", style: str = "oci", platform: str = "linux/amd64",
          created: str = CREATED, history: Sequence[HistoryEntry] | None = None,
          config: Mapping[str, Any] | None = None, **keys: Any) -> SampleImage:  # fmt: skip
    """An image of `layers`, base first.

    `history` None gives each layer one row (`ADD layer 0`, ...); pass () for a config without any.
    `config` is the config's `config` object; other keyword arguments are further top-level keys
    (None leaves a key out, so `created=""` or `os=None` make odd configs).
    """
    made = tuple(x if isinstance(x, SampleLayer) else SampleLayer(layer_tar(x), compression) for x in layers)
    if history is None:
        history = [HistoryEntry(created=created, created_by=f"ADD layer {n}") for n in range(len(made))]
    wanted = Platform.parse(platform)
    document: dict[str, Any] = {
        "architecture": wanted.architecture,
        "config": dict(config or {}),
        "created": created or None,
        "history": [entry.to_json() for entry in history] or None,
        "os": wanted.os,
        "rootfs": {"type": "layers", "diff_ids": [str(layer.diff_id) for layer in made]},
        "variant": wanted.variant or None,
    } | keys
    raw = json.dumps({key: value for key, value in document.items() if value is not None}).encode()
    config_type, manifest_type = (OCI_CONFIG, OCI_MANIFEST) if style == "oci" else (DOCKER_CONFIG, DOCKER_MANIFEST)
    manifest = Manifest.build(
        manifest_type,
        Descriptor(config_type, BlobDigest(Digest.of(raw)), len(raw)),
        tuple(layer.descriptor(style) for layer in made),
    )
    return SampleImage(made, raw, manifest)


def index(*images: SampleImage, style: str = "oci") -> Index:
    """An index (or Docker manifest list) of `images`, each with its platform."""
    children = tuple(one.manifest.descriptor.replaced(platform=one.platform) for one in images)
    return Index.build(OCI_INDEX if style == "oci" else DOCKER_LIST, children)


def _tar_of(files: Mapping[str, bytes]) -> bytes:
    tree: dict[str, Member | bytes] = {}
    for path, data in files.items():
        for parent in list(Path(path).parents)[-2::-1]:
            tree.setdefault(str(parent), directory())
        tree[path] = data
    return layer_tar(tree)


def docker_archive(*images: tuple[SampleImage, Sequence[str]], parents: Mapping[ImageID, ImageID] | None = None,
                   compression: str = "") -> bytes:  # fmt: skip
    """What `docker save` writes (its layout up to Engine 24): `manifest.json`, configs, `<layer>/layer.tar`.

    `images` are (image, tags) pairs; `parents` adds the `Parent` key to the entries of the images it names;
    `compression` wraps the whole archive.
    """
    files: dict[str, bytes] = {}
    entries: list[dict[str, Any]] = []
    repositories: dict[str, dict[str, str]] = {}
    for one, tags in images:
        names = []
        for layer in one.layers:
            folder = layer.diff_id.hex
            files[f"{folder}/VERSION"] = b"1.0"
            files[f"{folder}/layer.tar"] = layer.tar
            names.append(f"{folder}/layer.tar")
        files[f"{one.image_id.hex}.json"] = one.config
        entry: dict[str, Any] = {"Config": f"{one.image_id.hex}.json", "RepoTags": list(tags) or None, "Layers": names}
        if parents and one.image_id in parents:
            entry["Parent"] = str(parents[one.image_id])
        entries.append(entry)
        for name in tags:
            repository, _, tag = name.rpartition(":")
            repositories.setdefault(repository, {})[tag] = one.layers[-1].diff_id.hex if one.layers else ""
    files["manifest.json"] = json.dumps(entries).encode()
    if repositories:
        files["repositories"] = json.dumps(repositories).encode()
    return _COMPRESSORS[compression](_tar_of(files))


def _layout_files(images: Iterable[tuple[str, SampleImage | tuple[SampleImage, ...]]]) -> dict[str, bytes]:
    files = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}'}
    roots: list[dict[str, Any]] = []
    for name, one in images:
        members = one if isinstance(one, tuple) else (one,)
        for member in members:
            for digest, data in {**member.blobs(), member.digest: member.manifest.raw}.items():
                files[f"blobs/sha256/{digest.hex}"] = data
        root = members[0].manifest.descriptor
        if isinstance(one, tuple):
            listed = index(*one)
            files[f"blobs/sha256/{listed.digest.hex}"] = listed.raw
            root = listed.descriptor
        annotations = {}
        if name:
            tag = name.rpartition(":")[2]
            annotations = {ANNOTATION_REF_NAME: tag, ANNOTATION_IMAGE_NAME: name}
        roots.append(root.replaced(annotations=annotations).to_json())
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": roots}
    files["index.json"] = json.dumps(document).encode()
    return files


def oci_layout(target: Path, *images: tuple[str, SampleImage | tuple[SampleImage, ...]]) -> Path:
    """Write an OCI image layout into the new directory `target` and return it.

    `images` are (name, image) pairs; a tuple of images becomes an index of platforms.  `name` may be "".
    """
    for path, data in _layout_files(images).items():
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        (target / path).write_bytes(data)
    return target


def oci_archive(*images: tuple[str, SampleImage | tuple[SampleImage, ...]], compression: str = "") -> bytes:
    """The same layout as one tar."""
    return _COMPRESSORS[compression](_tar_of(_layout_files(images)))
