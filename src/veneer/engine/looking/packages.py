"""Which package the files of an image belong to, as its package managers wrote it down.

Read are dpkg's status and file lists (and `status.d` of images made without dpkg), apk's database, the RECORD of Python
distributions and the package.json of Node's.  Names, versions and files are what those say, not proved by anything.
rpm's databases are not read: see docs/decisions/0024.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from veneer.analysis.tree import BadLink, MergedTree, Node
from veneer.changeset.entry import Kind
from veneer.values import Value

if TYPE_CHECKING:
    from veneer.engine.looking.subject import Subject

DEB, APK, PIP, NPM = "deb", "apk", "pip", "npm"
_STATUS, _INFO, _STATUS_D = b"var/lib/dpkg/status", b"var/lib/dpkg/info", b"var/lib/dpkg/status.d"
_APK = (b"lib/apk/db/installed", b"usr/lib/apk/db/installed")
_PYTHON = re.compile(rb"(?:.*/)?([^/]+)\.(?:dist-info/RECORD|egg-info/installed-files\.txt)")
_NODE = re.compile(rb"(?:.*/)?node_modules/((?:@[^/]+/)?[^/@.][^/]*)/package\.json")
_VERSION = re.compile(rb'"version"\s*:\s*"([^"\\]{1,100})"')
_MAX_LINKS = 40


class Declared(Value):
    """A package as its manager says: the `paths` of its files, or the `folder` that is all its own."""

    __slots__ = ()
    kind: str
    name: str
    version: str
    paths: tuple[bytes, ...]
    folder: bytes | None = None


class Owned(Value):
    """A file to be seen: its path, the layer that stores it (0 is the base), its bytes; a second name has none."""

    __slots__ = ()
    path: bytes
    layer: int
    bytes: int


class Package(Value):
    """A package, as far as it is to be seen: how many files, their bytes, the layers they are from (ascending).

    `name` "" is that of what no package has.
    """

    __slots__ = ()
    kind: str
    name: str
    version: str
    files: int
    bytes: int
    layers: tuple[int, ...]


def packages(subject: Subject, beneath: bytes = b"") -> list[Package]:
    """The packages with files at or beneath a path, the most bytes first; what no package has among them.

    Files of an image in an archive or a registry are had by reading those of its layers once more that have databases.
    Raises NotThere, and what `contents.several` does.
    """
    _there(subject, beneath)
    found = declared(subject)
    files: dict[int, int] = {}
    sizes: dict[int, int] = {}
    layers: dict[int, int] = {}
    for number, file in _attributed(subject.table.tree, found, beneath):
        files[number] = files.get(number, 0) + 1
        sizes[number] = sizes.get(number, 0) + file.bytes
        layers[number] = layers.get(number, 0) | 1 << file.layer
    nobody = Declared("", "", "", ())
    told = []
    for number, count in files.items():
        each = found[number] if number < len(found) else nobody
        holders = tuple(layer for layer in range(len(subject.indexes)) if layers[number] >> layer & 1)
        told.append(Package(each.kind, each.name, each.version, count, sizes[number], holders))
    return sorted(told, key=lambda each: (-each.bytes, each.kind, each.name))


def files_of(subject: Subject, name: str, beneath: bytes = b"") -> Iterator[Owned]:
    """The files of the packages called so (KIND:NAME where several managers have one), at or beneath a path, by path.

    "" is what no package has.  Raises as `packages` does.
    """
    _there(subject, beneath)
    found = declared(subject)
    wanted = {number for number, each in enumerate(found) if name and name in (each.name, f"{each.kind}:{each.name}")}
    if not name:
        wanted = {len(found)}
    return (file for number, file in _attributed(subject.table.tree, found, beneath) if number in wanted)


def _there(subject: Subject, path: bytes) -> None:
    if path and subject.table.tree.find(path) is None:
        from veneer.analysis.view import NotThere

        shown = path.decode(errors="backslashreplace")
        raise NotThere(f"/{shown} is not to be seen in {subject.name}")


def declared(subject: Subject) -> list[Declared]:
    """What the package managers of an image say is installed."""
    from veneer.engine.looking.contents import several

    tree = subject.table.tree
    found = _databases(tree)
    texts = several(subject, [(node.layer, node.number) for node in found.values()])
    said = {path: texts[node.layer, node.number] for path, node in found.items()}
    return [*_debs(said), *_apks(said), *_python(said), *_node(said)]


# -- databases -------------------------------------------------------------------------------------------------


def _databases(tree: MergedTree) -> dict[bytes, Node]:
    """The files that say what is installed, by path."""
    found = {}
    for node in tree:
        path = node.path
        if node.kind in (Kind.REGULAR, Kind.HARDLINK) and (
            path == _STATUS or path in _APK
            or (path.startswith(_INFO) and path.endswith(b".list")) or path.startswith(_STATUS_D + b"/")
            or _PYTHON.fullmatch(path) or _NODE.fullmatch(path)
        ):  # fmt: skip
            found[path] = node
    return found


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")


def _stanzas(raw: bytes) -> Iterator[dict[bytes, bytes]]:
    """The fields of each paragraph of a file in Debian's control format, names in lower case, first lines alone."""
    fields: dict[bytes, bytes] = {}
    for line in raw.split(b"\n"):
        if not line.strip():
            if fields:
                yield fields
            fields = {}
        elif not line.startswith((b" ", b"\t")):
            name, _, value = line.partition(b":")
            fields[name.lower()] = value.strip()
    if fields:
        yield fields


def _listed(raw: bytes) -> tuple[bytes, ...]:
    return tuple(line.strip(b"/") for line in raw.split(b"\n") if line.strip(b"/."))


def _debs(said: Mapping[bytes, bytes]) -> Iterator[Declared]:
    """Source: dpkg(1), /var/lib/dpkg; status.d is what Bazel's rules and apko write."""
    for fields in _stanzas(said.get(_STATUS, b"")):
        name = fields.get(b"package", b"")
        if name and fields.get(b"status", b"installed").endswith(b"installed"):
            lists = (_INFO + b"/" + name + b".list",
                     _INFO + b"/" + name + b":" + fields.get(b"architecture", b"") + b".list")  # fmt: skip
            raw = next((said[path] for path in lists if path in said), b"")
            yield Declared(DEB, _text(name), _text(fields.get(b"version", b"")), _listed(raw))
    for path, raw in said.items():
        if path.startswith(_STATUS_D + b"/") and not path.endswith(b".md5sums"):
            sums = said.get(path + b".md5sums", b"")
            files = tuple(line.partition(b"  ")[2].removeprefix(b"./").strip(b"/") for line in sums.split(b"\n"))
            for fields in _stanzas(raw):
                if name := fields.get(b"package", b""):
                    yield Declared(DEB, _text(name), _text(fields.get(b"version", b"")), files)


def _apks(said: Mapping[bytes, bytes]) -> Iterator[Declared]:
    """Source: Alpine's wiki, Apk spec, the installed database."""
    for raw in (said[path] for path in _APK if path in said):
        for paragraph in raw.split(b"\n\n"):
            name = version = folder = b""
            files = []
            for line in paragraph.split(b"\n"):
                key, value = line[:2], line[2:]
                if key == b"P:":
                    name = value
                elif key == b"V:":
                    version = value
                elif key == b"F:":
                    folder = value.strip(b"/")
                elif key == b"R:":
                    files.append(folder + b"/" + value if folder else value)
            if name:
                yield Declared(APK, _text(name), _text(version), tuple(files))


def _python(said: Mapping[bytes, bytes]) -> Iterator[Declared]:
    """Source: PEP 376, PEP 427 (RECORD: path, digest, size; paths from the folder that holds the dist-info)."""
    import csv
    import posixpath

    for path, raw in said.items():
        if (match := _PYTHON.fullmatch(path)) is None:
            continue
        name, _, version = match[1].partition(b"-")
        inside = path.rpartition(b"/")[0]
        home = inside.rpartition(b"/")[0]
        if path.endswith(b"RECORD"):
            rows = csv.reader(raw.decode("latin-1").splitlines())
            named = [row[0].encode("latin-1") for row in rows if row]
        else:
            home, named = inside, raw.split(b"\n")
        files = tuple(posixpath.normpath(posixpath.join(b"/" + home, each)).strip(b"/") for each in named if each)
        yield Declared(PIP, _text(name), _text(version.partition(b"-py")[0]), files)


def _node(said: Mapping[bytes, bytes]) -> Iterator[Declared]:
    for path, raw in said.items():
        if (match := _NODE.fullmatch(path)) is not None:
            version = _VERSION.search(raw)
            yield Declared(NPM, _text(match[1]), _text(version[1]) if version else "", (), path.rpartition(b"/")[0])


# -- whose files -----------------------------------------------------------------------------------------------


class _Folders:
    """Folders as managers name them, and where symlinks of the image lead them."""

    def __init__(self, tree: MergedTree) -> None:
        self._tree = tree
        self._known: dict[bytes, bytes] = {b"": b""}

    def real(self, folder: bytes) -> bytes:
        found = self._known.get(folder)
        if found is None:
            found = self._known[folder] = self._resolved(folder)
        return found

    def _resolved(self, folder: bytes) -> bytes:
        done: list[bytes] = []
        pending = folder.split(b"/")[::-1]
        links = 0
        while pending:
            part = pending.pop()
            if part == b"..":
                done = done[:-1]
            elif part not in (b"", b"."):
                path = b"/".join((*done, part))
                node = self._tree.find(path)
                if node is not None and node.kind is Kind.SYMLINK and links < _MAX_LINKS:
                    links += 1
                    target = self._tree.indexes[node.layer].link(node.number)
                    done = [] if target.startswith(b"/") else done
                    pending.extend(target.split(b"/")[::-1])
                else:
                    done.append(part)
        return b"/".join(done)


def _attributed(tree: MergedTree, found: Sequence[Declared], beneath: bytes) -> Iterator[tuple[int, Owned]]:
    """Each file to be seen at or beneath a path, with the number of the first package that names it, or else of the one
    whose folder it is in; of what is nobody's with the number behind the last."""
    folders = _Folders(tree)
    exact: dict[bytes, int] = {}
    roots: dict[bytes, int] = {}
    for number, each in enumerate(found):
        if each.folder is not None:
            roots.setdefault(each.folder, number)
        for path in each.paths:
            folder, _, name = path.rpartition(b"/")
            real = folders.real(folder)
            if real != folder:
                path = real + b"/" + name if real else name
            exact.setdefault(path, number)
    nobody = len(found)
    owners: dict[bytes, int] = {b"": nobody}
    linked: set[tuple[int, int]] = set()
    inside = beneath + b"/"
    for node in tree:
        if node.kind is Kind.DIRECTORY:
            if roots:
                owners[node.path] = roots.get(node.path, owners[node.path.rpartition(b"/")[0]])
        elif not beneath or node.path == beneath or node.path.startswith(inside):
            above = owners[node.path.rpartition(b"/")[0]] if roots else nobody
            yield exact.get(node.path, above), _owned(tree, node, linked)


def _owned(tree: MergedTree, node: Node, linked: set[tuple[int, int]]) -> Owned:
    """A file with its bytes: those of one with several names are the name's it is stored under, if that is to be seen,
    else the first one's; `linked` are the files that have had theirs."""
    if node.kind is Kind.REGULAR:
        return Owned(node.path, node.layer, tree.indexes[node.layer].sizes[node.number])
    layer, size = node.layer, 0
    if node.kind is Kind.HARDLINK:
        with contextlib.suppress(BadLink):
            stored = tree.content(node)
            layer = stored[0]
            if stored not in linked and not _is_seen(tree, stored):
                size = tree.indexes[layer].sizes[stored[1]]
            linked.add(stored)
    return Owned(node.path, layer, size)


def _is_seen(tree: MergedTree, stored: tuple[int, int]) -> bool:
    """Whether the name a file is stored under is to be seen: then that has its bytes."""
    layer, number = stored
    node = tree.find(tree.indexes[layer].path(number))
    return node is not None and (node.layer, node.number) == stored
