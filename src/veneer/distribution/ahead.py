"""A blob that goes out while it is still being made: its bytes as they come, its digest when it has one.

The registry is told the digest only by the last request, which belongs to the upload proper (upload.py): a blob that
comes to nothing, because its layer's files are not what they were, never gets that far, and one that breaks on the way
goes on from there as any upload does.  What goes out is one PATCH of unknown length, as docker sends all its layers.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from veneer.distribution.auth import repository_scope
from veneer.distribution.retry import check
from veneer.distribution.upload import BLOCK, FINISH_TIMEOUT, Standing, range_end
from veneer.errors import VeneerError
from veneer.progress import Cancelled

if TYPE_CHECKING:
    from veneer.changeset.growing import GrowingSource
    from veneer.distribution.client import Registry
    from veneer.store.blob_writer import BlobWriter

WORTHWHILE = 1 << 20
"""Bytes there have to be before sending begins: a smaller blob is sent when it is whole, if the registry lacks it."""


class Ahead:
    """Sends, from a thread of its own, the blob that one BlobWriter writes.

    `report` is told the bytes sent.  Call `follow` when the writer has begun, then either `standing` once the blob is
    whole or `abandon`; both wait for the thread.
    """

    def __init__(self, registry: Registry, repository: str, report: Callable[[int], None]) -> None:
        self._registry, self._repository, self._report = registry, repository, report
        self._session = registry.session
        self._scopes = (repository_scope(repository, "pull", "push"),)
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._source: GrowingSource | None = None
        self._at = Standing(registry, repository, f"blob to {repository}")
        self._sent = 0
        self._failure: BaseException | None = None

    def follow(self, writer: BlobWriter) -> None:
        """Begin to send what `writer` writes."""
        from veneer.changeset.growing import GrowingSource

        # Of our own, since the writer closes its descriptors when the blob is whole.
        fds = [os.dup(writer.fileno()), os.dup(writer.feeder().wake_fd)]
        self._source = GrowingSource(*fds)
        self._thread = threading.Thread(target=self._run, args=(self._source, fds), name="upload-ahead", daemon=True)
        self._thread.start()

    def standing(self) -> Standing | None:
        """How far the upload came, now that the blob is whole; None if none was begun."""
        self._join()
        return self._at if self._at.location else None

    def abandon(self) -> None:
        """Stop sending, and have the registry forget what it got."""
        self._stopped.set()
        if self._source is not None:
            self._source.interrupt()
        self._join()
        if self._at.location and not self._session.effort.stop.is_set():
            # It forgets by itself too, in some days; that it cannot be told changes nothing for us.
            with contextlib.suppress(VeneerError):
                self._session.once("DELETE", self._at.location, scopes=self._scopes).close()

    def _join(self) -> None:
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._source is not None:
            self._source.close()
            self._source = None
        if self._failure is not None:
            raise self._failure

    def _run(self, source: GrowingSource, fds: list[int]) -> None:
        try:
            self._send(source)
        except VeneerError:
            # The upload proper, or whoever makes the blob, meets the same fault if it lasts, and tells of it.
            return
        except BaseException as error:  # noqa: BLE001 - carried to the thread that waits
            self._failure = error
        finally:
            for fd in fds:
                os.close(fd)

    def _send(self, source: GrowingSource) -> None:
        first = bytearray(WORTHWHILE)
        have = 0
        while have < WORTHWHILE:
            count = source.readinto(memoryview(first)[have:])
            if not count:
                return
            have += count
        self._at.begin()
        bodies = iter((self._blocks(first, source),))

        def body() -> Iterator[bytes]:
            for each in bodies:
                return each
            # The token ended at this moment: what was sent is gone here, but not from the blob.
            raise Cancelled(f"{self._registry.host} wants the blob again from its beginning")

        try:
            with self._session.once(
                "PATCH", self._at.location, scopes=self._scopes, headers={"Content-Type": "application/octet-stream"},
                body=body, timeout=FINISH_TIMEOUT,
            ) as response:  # fmt: skip
                if response.status not in (201, 202, 204):
                    self._at.broke()
                    return
                self._at.accept(response)
                self._at.offset = range_end(response.headers.get("Range", ""), self._sent)
                response.finish()
        except BaseException:
            self._at.broke()
            raise

    def _blocks(self, first: bytearray, source: GrowingSource) -> Iterator[bytes]:
        data = bytes(first)
        buffer = memoryview(first)[:BLOCK]
        while data:
            if self._stopped.is_set():
                raise Cancelled("the blob is not wanted any more")
            check(self._session.effort.stop)
            yield data
            self._sent += len(data)
            self._report(self._sent)
            data = bytes(buffer[: source.readinto(buffer)])
