"""Where a build's text and files come from: the Dockerfile, the context, named contexts; opened when first needed."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from pathlib import Path

from veneer.build.events import Transfer, Warned
from veneer.build.failure import NoSuchContext
from veneer.build.language.parser import parse
from veneer.errors import InvalidRequest, NotFound
from veneer.store.durability import file_errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

    from veneer.build.context.access import Access
    from veneer.build.context.ignore import Ignore
    from veneer.build.context.root import Context
    from veneer.build.events import Listener
    from veneer.build.language.instructions import Dockerfile
    from veneer.build.request import BuildRequest
    from veneer.progress import Report
    from veneer.store.leases import Lease
    from veneer.store.store import Store

MAX_DOCKERFILE = 64 << 20
_KEEP_GIT_DIR = "BUILDKIT_CONTEXT_KEEP_GIT_DIR"
TRUE = frozenset(("1", "t", "T", "TRUE", "true", "True"))
"""What Go reads as true."""


class NoDockerfile(NotFound):
    """There is no Dockerfile where one was looked for."""


class TwoDockerfiles(InvalidRequest):
    """A Dockerfile is given by `-f` and another one as the context."""


class Sources:
    """What one build reads.

    Raises NoDockerfile, DockerfileError, BadKey, and what opening a context raises, on entering.
    """

    def __init__(self, store: Store, request: BuildRequest, tell: Listener) -> None:
        self._store = store
        self._request = request
        self._tell = tell
        self._stack = contextlib.ExitStack()
        self._guard = threading.RLock()
        self._leasing = threading.Lock()  # its own: a context that is fetched, under the other, takes its time
        self._lease: Lease | None = None
        self._contexts: dict[str, Context] = {}
        self._agents: tuple[tuple[str, str], ...] = ()
        self.dockerfile: Dockerfile

    def __enter__(self) -> Sources:
        try:
            if self._request.ssh:
                from veneer.build.keys import agents

                self._agents = self._stack.enter_context(agents(self._request.ssh, lambda: self.lease.file("ssh")))
            given = self._request.dockerfile
            self.dockerfile = parse(*self._text()) if isinstance(given, Path | str | bytes) else given
            for warning in self.dockerfile.warnings:
                if not warning.rule:  # those of a rule are the linter's to tell
                    self._tell(Warned(time.time(), "", warning.message, warning.line))
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *details: object) -> None:
        self._stack.__exit__(*details)  # type: ignore[arg-type]

    @property
    def lease(self) -> Lease:
        """The build's claim on what it needs; taken when first asked for, since a build that is all cached does not."""
        with self._leasing:
            if self._lease is None:
                self._lease = self._stack.enter_context(self._store.lease("build"))
            return self._lease

    def _text(self) -> tuple[bytes, str]:
        """The Dockerfile and what it is called."""
        given = self._request.dockerfile
        assert isinstance(given, Path | str | bytes)
        source = self._request.context
        alone = None if source is None or _is_directory(source) else self.context.dockerfile
        if alone is not None:
            if given:
                name = self.context.name if isinstance(source, str) else "stdin"
                raise TwoDockerfiles(
                    f"ambiguous Dockerfile source: both {name} and flag correspond to Dockerfiles",
                    hint="leave -f out, or give an archive or a directory as the context",
                )
            return alone, "Dockerfile"
        if isinstance(given, bytes):
            return given, "Dockerfile"
        if isinstance(given, str) and given.startswith(("http://", "https://")):
            return self._fetched(given)
        path = Path(given) if given else Path("Dockerfile")
        if path.is_absolute():
            try:
                with open(path, "rb") as file:
                    return file.read(MAX_DOCKERFILE), path.name
            except OSError as error:
                raise NoDockerfile(f"failed to read dockerfile: open {path}: {(error.strerror or '').lower()}",
                                   hint=_beside(path) or "name it with -f, or see where you are") from None  # fmt: skip
        try:
            return self.context.read(os.fspath(path), limit=MAX_DOCKERFILE), path.name
        except NotFound as error:
            raise NoDockerfile(
                f"failed to read dockerfile: open {path}: no such file or directory in "
                f"{self.context.name or 'the context'}",
                hint=error.hint or "name it with -f",
            ) from None

    def _fetched(self, url: str) -> tuple[bytes, str]:
        """A Dockerfile that is behind a URL, as buildx takes it."""
        from veneer.build.context.download import download

        scratch = self.lease.file("dockerfile")
        scratch.mkdir(0o700)
        came = download(url, scratch, self.access)
        with file_errors(self._store.root), open(came.path, "rb") as file:
            return file.read(MAX_DOCKERFILE), came.name or "Dockerfile"

    @property
    def ignore(self) -> Ignore | None:
        """The context's `.dockerignore`, if there is a context."""
        return None if self._request.context is None else self.context.ignore

    @property
    def context(self) -> Context:
        """The build context."""
        return self.named("")

    def named(self, name: str) -> Context:
        """A context by the name it has in `--build-context`; "" is the build's own.  Raises NoSuchContext."""
        with self._guard:
            found = self._contexts.get(name)
            if found is None:
                source = self._request.context if not name else self._place(name)
                found = self._contexts[name] = self._open(source, name)
            return found

    def _place(self, name: str) -> str:
        for known, place in self._request.contexts:
            if known.lower() == name:
                return place
        raise NoSuchContext(f"there is no context {name!r}", hint="give one with --build-context")

    def _open(self, source: Path | str | BinaryIO | None, name: str) -> Context:
        from veneer.build.context.root import open_context

        scratch = self._store.root  # not used for a directory, and looked at for nothing else
        if not _is_directory(source):
            scratch = self.lease.file("context")
            scratch.mkdir(0o700)
        with file_errors(self._store.root):
            return self._stack.enter_context(
                open_context(
                    source,
                    scratch=scratch,
                    memory=self._store.root / "contexts",
                    dockerfile=self._ignored_by() if not name else "",
                    access=self.access,
                    named=bool(name),
                    keep_git_dir=not name and dict(self._request.args).get(_KEEP_GIT_DIR, "") in TRUE,
                )
            )

    @property
    def access(self) -> Access:
        """What fetching for this build may use; it tells the build's listener."""
        from veneer.build.context.access import Access

        def progress(report: Report) -> None:
            self._tell(Transfer(time.time(), None, report))

        return Access(
            self._store.config, self._request.secrets, self._agents, self._store.root / "contexts", progress
        )  # fmt: skip

    def _ignored_by(self) -> str:
        """The Dockerfile's path in the context, whose own ignore file counts; "" if it is not in it."""
        given, context = self._request.dockerfile, self._request.context
        if not isinstance(given, str | Path):
            return ""
        path = os.fspath(given) or "Dockerfile"
        if path.startswith(("http://", "https://")):
            return ""
        if not Path(path).is_absolute():
            return path
        if not isinstance(context, str | Path):
            return ""
        root, real = os.path.realpath(context), os.path.realpath(path)
        return os.path.relpath(real, root) if real.startswith(root.rstrip("/") + "/") else ""


def _beside(path: Path) -> str:
    """A hint to the file of the same directory that is called nearly so; "" if none is."""
    from veneer.build.language.errors import nearest

    try:
        near = nearest(path.name, sorted(os.listdir(path.parent)))
    except OSError:
        return ""
    return f"did you mean {near}?" if near else ""


def _is_directory(source: object) -> bool:
    """Whether a source is a directory here; what has another's form but is one, is one, as for docker."""
    return isinstance(source, Path) or (isinstance(source, str) and os.path.isdir(source))
