"""The Dockerfiles that veneer and docker both build: what a case says, and its context made on disk.

A case is a folder with a `Dockerfile` (or others, named in `case.toml`), and a `case.toml` that says who docker is
(`builder`), what is given on the command line, and every file of the context, so that modes, owners, times, links,
devices and names are the same wherever the folder was checked out.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import shutil
import stat
import tarfile
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backports import zstd

FOLDER = Path(__file__).parents[1] / "compat" / "dockerfiles"
MTIME = 1_500_000_000
"""When every file of a context was changed, unless its case says something else."""
CAP_NET_RAW = bytes.fromhex("0100000200200000000000000000000000000000")
"""security.capability as `setcap cap_net_raw+ep` writes it."""

_CASE_KEYS = {"about", "builder", "args", "target", "labels", "dockerfile", "before", "secrets", "serve", "fails",
              "veneer_fails", "fails_why", "history", "differs", "files", "contexts", "allow"}  # fmt: skip


@dataclass(frozen=True)
class Difference:
    """A difference that is meant: `what` is the beginning of the line the comparison prints, `why` the argument."""

    what: str
    why: str


@dataclass(frozen=True)
class Case:
    """One Dockerfile with everything that belongs to it.

    `builder` is docker's: classic or buildkit.  Where `equivalent` is true docker is too old for the Dockerfile, and
    builds `Dockerfile.equivalent` instead, which says the same in its own words.  `history` is what veneer's rows
    must be, oldest first and without the base's, each "layer: " or "empty: " and its text; None: the same as docker's.
    `before` are Dockerfiles built first, each by (file, name); `contexts` are named ones for veneer, each by (name,
    folder in the context); `allow` is what veneer must be allowed; with `serve` the context can be had from $URL.
    `fails` is what docker says when it refuses, None where it builds; `veneer_fails` is what veneer says.
    """

    name: str
    about: str
    builder: str
    equivalent: bool
    args: tuple[tuple[str, str], ...]
    labels: tuple[tuple[str, str], ...]
    target: str
    dockerfile: str
    before: tuple[tuple[str, str], ...]
    secrets: tuple[tuple[str, str], ...]
    contexts: tuple[tuple[str, str], ...]
    allow: tuple[str, ...]
    serve: bool
    fails: str | None
    veneer_fails: str | None
    fails_why: str
    history: tuple[str, ...] | None
    differs: tuple[Difference, ...]
    files: Mapping[str, Mapping[str, Any]]

    @classmethod
    def load(cls, folder: Path) -> Case:
        """Read `folder`/case.toml.  Raises ValueError, naming the case, for words it does not know."""
        said = tomllib.loads((folder / "case.toml").read_text())
        unknown = set(said) - _CASE_KEYS
        if unknown:
            raise ValueError(f"{folder.name}: case.toml says {', '.join(sorted(unknown))}, which mean nothing")
        builder = said["builder"]
        if builder not in ("classic", "buildkit"):
            raise ValueError(f"{folder.name}: builder is classic or buildkit, not {builder}")
        fails = said.get("fails")
        return cls(
            name=folder.name,
            about=said["about"],
            builder=builder,
            equivalent=(folder / "Dockerfile.equivalent").exists(),
            args=tuple(said.get("args", {}).items()),
            labels=tuple(said.get("labels", {}).items()),
            target=said.get("target", ""),
            dockerfile=said.get("dockerfile", ""),
            before=tuple(said.get("before", {}).items()),
            secrets=tuple(said.get("secrets", {}).items()),
            contexts=tuple(said.get("contexts", {}).items()),
            allow=tuple(said.get("allow", ())),
            serve=said.get("serve", False),
            fails=fails,
            veneer_fails=said.get("veneer_fails", fails) or None,
            fails_why=said.get("fails_why", ""),
            history=tuple(said["history"]) if "history" in said else None,
            differs=tuple(Difference(each["what"], each["why"]) for each in said.get("differs", ())),
            files=said.get("files", {}),
        )

    @property
    def folder(self) -> Path:
        return FOLDER / self.name


def cases() -> list[Case]:
    """Every case, sorted by name."""
    return [Case.load(path.parent) for path in sorted(FOLDER.glob("*/case.toml"))]


def make_context(case: Case, target: Path, *, equivalent: bool = False) -> Path:
    """Make the case's context in the new directory `target`; `equivalent`: with docker's Dockerfile, not ours."""
    target.mkdir(parents=True)
    for source in sorted(case.folder.iterdir()):
        if source.name in ("case.toml", "Dockerfile.equivalent"):
            continue
        if equivalent and source.name == "Dockerfile":
            source = source.with_name("Dockerfile.equivalent")
            shutil.copyfile(source, target / "Dockerfile")
        else:
            shutil.copyfile(source, target / source.name)
    root = os.fsencode(target)
    files = {_path(name): said for name, said in case.files.items()}
    for path, said in files.items():
        _make(root, path, said)
    for folder, folders, names in os.walk(root, topdown=False):
        for name in (*folders, *names):
            full = os.path.join(folder, name)
            _finish(full, files.get(os.path.relpath(full, root), {}))
    return target


def _path(name: str) -> bytes:
    r"""A context path as bytes; in a name with a backslash, `\xNN` is that byte."""
    return name.encode("latin-1").decode("unicode_escape").encode("latin-1") if "\\" in name else name.encode()


def _make(root: bytes, path: bytes, said: Mapping[str, Any]) -> None:
    full = os.path.join(root, path)
    os.makedirs(os.path.dirname(full), exist_ok=True)
    if "symlink" in said:
        os.symlink(said["symlink"], full)
    elif "hardlink" in said:
        os.link(os.path.join(root, _path(said["hardlink"])), full)
    elif "directory" in said:
        os.makedirs(full, exist_ok=True)
    elif "fifo" in said:
        os.mkfifo(full)
    elif "device" in said:
        kind, major, minor = said["device"]
        os.mknod(full, 0o600 | {"c": stat.S_IFCHR, "b": stat.S_IFBLK}[kind], os.makedev(major, minor))
    else:
        Path(os.fsdecode(full)).write_bytes(content(said))


def _finish(full: bytes, said: Mapping[str, Any]) -> None:
    """Owner, mode, attributes and times; of files before the directories they are in."""
    status = os.lstat(full)
    if not stat.S_ISLNK(status.st_mode):
        default = 0o755 if stat.S_ISDIR(status.st_mode) else 0o644
        uid, gid = said.get("owner", (0, 0))
        os.chown(full, uid, gid)
        os.chmod(full, said.get("mode", default))
        if said.get("capability"):
            os.setxattr(full, "security.capability", CAP_NET_RAW)
        for key, value in said.get("xattrs", {}).items():
            os.setxattr(full, key, value.encode())
    mtime_ns = int(said.get("mtime", MTIME) * 1_000_000_000)
    os.utime(full, ns=(mtime_ns, mtime_ns), follow_symlinks=False)


def content(said: Mapping[str, Any]) -> bytes:
    """The bytes of a file: `text`, `base` repeated `times`, or an `archive` of `members`, maybe compressed."""
    if "archive" in said:
        return compressed(archive(said.get("members", {})), said["archive"])
    if "compressed" in said:
        return compressed(str(said.get("text", "")).encode(), said["compressed"])
    return str(said.get("text", "")).encode() * int(said.get("times", 1))


def compressed(data: bytes, kind: str) -> bytes:
    if kind == "gzip":
        return gzip.compress(data, mtime=0)
    compressors: dict[str, Callable[[bytes], bytes]] = {
        "tar": bytes, "bzip2": bz2.compress, "xz": lzma.compress, "zstd": zstd.compress}  # fmt: skip
    return compressors[kind](data)


_KINDS = {"symlink": tarfile.SYMTYPE, "hardlink": tarfile.LNKTYPE, "directory": tarfile.DIRTYPE,
          "fifo": tarfile.FIFOTYPE, "device": tarfile.CHRTYPE}  # fmt: skip


def archive(members: Mapping[str, Mapping[str, Any]]) -> bytes:
    """A tar of `members`, in their order, each like a file of a context; a hard link with its file's attributes."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, said in members.items():
            info = tarfile.TarInfo(name)
            if "hardlink" in said:
                said = {**members[said["hardlink"]], **said}
            kind = next((kind for kind in _KINDS if kind in said), "")
            info.type = _KINDS.get(kind, tarfile.REGTYPE)
            info.linkname = said[kind] if kind in ("symlink", "hardlink") else ""
            info.mode = said.get("mode", 0o755 if kind == "directory" else 0o644)
            info.uid, info.gid = said.get("owner", (0, 0))
            info.mtime = said.get("mtime", MTIME)
            if kind == "device":
                letter, info.devmajor, info.devminor = said[kind]
                info.type = tarfile.BLKTYPE if letter == "b" else tarfile.CHRTYPE
            if said.get("capability"):
                info.pax_headers = {"SCHILY.xattr.security.capability": CAP_NET_RAW.decode("utf-8", "surrogateescape")}
            data = b"" if kind else content(said)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()
