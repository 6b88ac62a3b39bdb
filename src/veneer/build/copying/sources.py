"""What a COPY or ADD takes its files from: the context, a stage, an image, an address, a here-document.

Each becomes a tree with a selection in it; the trees stay open as long as the step's `with`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from veneer.build.context import checksum as sums
from veneer.build.context.failures import SourceNotFound
from veneer.build.context.scan import Tree
from veneer.build.context.select import Root, Selection, select
from veneer.build.language import instructions as i
from veneer.build.meant import meant, opened_tree
from veneer.build.state import InvalidStep
from veneer.changeset.safepath import DIRECTORY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.build.stage import StageRun


class BadFlag(InvalidStep):
    """A flag of ADD that the source it stands before cannot have."""


class Part:
    """Sources from one tree.  `unpack`: its archives are extracted.  `fetched`: a file from a URL."""

    __slots__ = ("fetched", "selection", "unpack")

    def __init__(self, selection: Selection, *, unpack: bool = False, fetched: bool = False) -> None:
        self.selection = selection
        self.unpack = unpack
        self.fetched = fetched

    def checksums(self) -> list[str]:
        """Each source's, in order; docker writes a fetched file's without its kind."""
        self.selection.complete()
        tree = self.selection.tree
        found = [Selection(tree, (root,)).summary() for root in self.selection.roots]
        return [each.removeprefix("file:") for each in found] if self.fetched else found


class Given:
    """All sources of one instruction, in order."""

    def __init__(self, parts: Sequence[Part], scratch: Callable[[], Path]) -> None:
        self.parts = tuple(parts)
        self.scratch = scratch
        self._checksum = ""

    def __len__(self) -> int:
        return sum(len(part.selection.roots) for part in self.parts)

    def checksum(self) -> str:
        """docker's checksum of all of it; reads what is not known, when first asked."""
        self._checksum = self._checksum or self._made_checksum()
        return self._checksum

    def copied(self) -> None:
        """The sources were read to be copied: what they were then is what counts now."""
        self._checksum = ""

    def _made_checksum(self) -> str:
        if len(self.parts) == 1 and not self.parts[0].fetched:
            return self.parts[0].selection.checksum()
        found = [checksum for part in self.parts for checksum in part.checksums()]
        return found[0] if len(found) == 1 else sums.of_several(found)

    def selection(self) -> Selection:
        """All sources as if from one tree, for who only looks at them; each entry's digest is known."""
        for part in self.parts:
            part.selection.complete()
        roots = [root for part in self.parts for root in part.selection.roots]
        return Selection(self.parts[0].selection.tree, roots)

    def hidden(self, path: bytes) -> str:
        """The pattern of an ignore file that keeps a path, in the context or below a source, out; "" if none does."""
        for part in self.parts:
            ignore = part.selection.tree.ignore
            folders = [root.path + b"/" for root in part.selection.roots if root.folder is not None and root.path]
            for folder in (b"", *folders):
                if pattern := ignore.deciding(folder + path):
                    return pattern
        return ""


class Unforeseen(Exception):
    """A dry run comes to a source that is not there to be looked at; the text is why the step would be done."""


def given(stage: StageRun, instruction: i.Copy, stack: contextlib.ExitStack) -> Given:
    """Open what an instruction names; `stack` closes it.

    Raises SourceNotFound, EscapesContext, BadPattern, BadContext, StageError, NoSuchImage, and what fetching does;
    Unforeseen in a dry run.
    """
    return _Opening(stage, instruction, stack).given()


class _Opening:
    def __init__(self, stage: StageRun, instruction: i.Copy, stack: contextlib.ExitStack) -> None:
        self._stage = stage
        self._instruction = instruction
        self._stack = stack
        self._scratch: Path | None = None

    def given(self) -> Given:
        instruction = self._instruction
        parts: list[Part] = []
        paths: list[str] = []
        for source in instruction.sources:
            remote = self._remote(source) if isinstance(instruction, i.Add) else None
            if remote is None:
                paths.append(source)
                continue
            if paths:
                parts.append(self._local(paths))
                paths = []
            parts.append(remote)
        if paths:
            parts.append(self._local(paths))
        if instruction.heredocs:
            parts.append(self._documents(instruction.heredocs))
        found = Given(parts, self.scratch)
        if not len(found):
            shown = " ".join(instruction.sources)
            raise SourceNotFound(
                f"{instruction.keyword} failed: no source files were specified: nothing matches {shown}"
            )
        return found

    def scratch(self) -> Path:
        """A folder of this step on the store's file system; it goes with the step."""
        if self._scratch is None:
            import shutil

            self._scratch = self._stage.session.lease.file("copy")
            self._scratch.mkdir(0o700)
            self._stack.callback(shutil.rmtree, self._scratch, ignore_errors=True)
        return self._scratch

    # ---- what lies here

    def _local(self, paths: Sequence[str]) -> Part:
        instruction = self._instruction
        tree = self._tree()
        selection = select(
            tree, paths, excludes=instruction.excludes, parents=instruction.parents, keyword=instruction.keyword
        )  # fmt: skip
        unpack = isinstance(instruction, i.Add) and instruction.unpack is not False
        return Part(selection, unpack=unpack)

    def _tree(self) -> Tree:
        found = meant(self._stage, self._instruction.from_)
        if found.unforeseen:
            raise Unforeseen(found.unforeseen)
        return self._stack.enter_context(opened_tree(self._stage, found))

    # ---- what comes from elsewhere

    def _remote(self, source: str) -> Part | None:
        from veneer.build.context.address import is_http, parse_git

        instruction = self._instruction
        assert isinstance(instruction, i.Add)
        if (address := parse_git(source)) is not None:
            from veneer.build.context.git import fetch_git

            address = address.pinned(instruction.checksum)
            access = self._stage.session.sources.access
            checkout = fetch_git(address, self.scratch(), access, keep_git_dir=instruction.keep_git_dir)
            tree = self._opened(checkout.path, address.shown)
            return Part(select(tree, ["."], excludes=instruction.excludes, keyword=instruction.keyword))
        if is_http(source):
            return self._download(source, instruction)
        if instruction.checksum:
            raise BadFlag("checksum can't be specified for non-HTTP(S) sources" if not instruction.from_ else
                          "checksum can't be specified with --from")  # fmt: skip
        return None

    def _download(self, url: str, instruction: i.Add) -> Part:
        from veneer.build.context.download import download

        file = download(url, self.scratch(), self._stage.session.sources.access, checksum=instruction.checksum)
        name = file.name
        if not name:
            if instruction.destination.endswith("/"):
                raise BadFlag(f"cannot determine filename for source {url}", hint="name the file in the destination")
            name = instruction.destination.rpartition("/")[2]
        folder = self._folder()
        target = folder / name
        file.path.rename(target)
        target.chmod(0o600)
        os.utime(target, ns=(file.mtime_ns, file.mtime_ns))
        tree = self._opened(folder, url)
        row = [Root(name_bytes := os.fsencode(name), name_bytes, name_bytes, _row(tree, name_bytes), None)]
        return Part(Selection(tree, row), unpack=bool(instruction.unpack), fetched=True)

    def _documents(self, documents: Sequence[i.Heredoc]) -> Part:
        folder = self._folder()
        now = self._stage.session.created_ns()
        names = []
        for document in documents:
            path = folder / document.name
            path.write_bytes(document.content.encode("utf-8", "surrogateescape"))
            path.chmod(0o644)
            os.utime(path, ns=(now, now))
            names.append(os.fsencode(document.name))
        tree = self._opened(folder, "the Dockerfile")
        return Part(Selection(tree, [Root(name, name, name, _row(tree, name), None) for name in names]))

    def _folder(self) -> Path:
        folder = self.scratch() / os.urandom(4).hex()
        folder.mkdir()
        return folder

    def _opened(self, folder: Path, what: str) -> Tree:
        fd = os.open(folder, DIRECTORY)
        self._stack.callback(os.close, fd)
        return Tree(fd, what, normalised=True)


def _row(tree: Tree, name: bytes) -> tuple[int, ...]:
    from veneer.build.context.scan import row_of

    status = tree.status(name)
    assert status is not None, "it was just written"
    return row_of(status)
