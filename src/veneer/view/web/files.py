"""A file out of an image, as it is: to be read as text or kept, never to be run by a browser."""

from __future__ import annotations

import asyncio
import re
from typing import BinaryIO
from urllib.parse import quote

from aiohttp import web

from veneer.errors import InvalidRequest
from veneer.view.texts import path_text
from veneer.view.web import answers, guard
from veneer.view.web.api import PREFIX, Asker, query_of
from veneer.view.web.trees import found_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.changeset.entry import Entry
    from veneer.view.web.query import Query
    from veneer.view.web.subjects import Looked

PIECE = 256 << 10
SNIFFED = 8192
"""Bytes that are looked at to tell whether a file is a text."""
_RANGE = re.compile(r"bytes=(?:(\d{1,18})-(\d{0,18})|-(\d{1,18}))")


class BadRange(InvalidRequest):
    """A part of a file that it does not have."""


def routes(asker: Asker) -> list[web.RouteDef]:
    return [web.get(f"{PREFIX}/images/{{ref}}/file", _handler(asker))]


def _found(looked: Looked, query: Query, ref: str) -> tuple[Entry, BinaryIO]:
    """The file that a URL means after `at` layers (default: in the whole image `ref`), open.

    Raises NoSuchDepth, NotThere, NoContent, ContentGone, OtherContent.
    """
    from veneer.analysis.view import NoSuchDepth, NotThere
    from veneer.engine.looking.contents import content

    table = looked.subject.table
    layers = len(table.indexes)
    at = query.number("at", layers)
    if at > layers:
        raise NoSuchDepth(f"there is no layer {at}: the image has {layers}")
    path = found_path(table, query.path())
    copies = [copy for copy in table.find(path)[0] if copy.seen_at(at)]
    if not copies:
        raise NotThere(f"{path_text(path)} is not to be seen after layer {at} of {ref}",
                       hint="its history tells which layers have it")  # fmt: skip
    copy = copies[-1]
    return table.entry(copy, path), content(looked.subject, copy.layer, copy.number)


def span(header: str | None, size: int) -> tuple[int, int] | None:
    """(first, behind the last) of a Range header with one part; None for the whole file.  Raises BadRange."""
    found = _RANGE.fullmatch(header.strip().replace(" ", "")) if header else None
    if found is None:
        return None  # RFC 9110: what is not understood is left out of account
    if found[3] is not None:
        first, end = max(size - int(found[3]), 0), size
    else:
        first, end = int(found[1]), min(int(found[2]) + 1, size) if found[2] else size
    if first >= end:
        raise BadRange(f"bytes {header}: the file has {size} bytes")
    return first, end


def _handler(asker: Asker) -> answers.Handled:
    async def handler(request: web.Request) -> web.StreamResponse:
        ref, query = request.match_info["ref"], query_of(request)

        def open_() -> tuple[Entry, BinaryIO, bool]:
            with asker.subjects.opened(ref, query.text("platform")) as looked, looked.lock:
                entry, file = _found(looked, query, ref)
            return entry, file, _is_text(file.read(SNIFFED), entry.size)

        entry, file, is_text = await asker.asked(open_)
        try:
            return await _sent(request, entry, file, shown=is_text and not query.flag("download"))
        finally:
            file.close()

    return handler


def _is_text(beginning: bytes, size: int) -> bool:
    if b"\0" in beginning:
        return False
    try:
        beginning.decode()
    except UnicodeDecodeError as error:
        # A character may be cut in two by the end of what was looked at.
        return size > len(beginning) and error.start > len(beginning) - 4
    return True


async def _sent(request: web.Request, entry: Entry, file: BinaryIO, *, shown: bool) -> web.StreamResponse:
    size, etag = entry.size, f'"{entry.digest.hex()[:32]}"'
    headers = {
        "ETag": etag, "Accept-Ranges": "bytes", "Cache-Control": "no-cache",
        "Content-Type": "text/plain; charset=utf-8" if shown else "application/octet-stream",
        "Content-Disposition": disposition(entry.path.rpartition(b"/")[2], attached=not shown),
        "Content-Security-Policy": "default-src 'none'; sandbox; frame-ancestors 'none'",
    }  # fmt: skip
    if answers.has_it(request, etag):
        return web.Response(status=304, headers={"ETag": etag, "Cache-Control": "no-cache"})
    asked = request.headers.get("Range")
    if asked and request.headers.get("If-Range", etag) != etag:
        asked = None
    try:
        part = span(asked, size)
    except BadRange as error:
        failed = answers.failure(error, 416)
        failed.headers["Content-Range"] = f"bytes */{size}"
        return failed
    first, end = part or (0, size)
    if part is not None:
        headers["Content-Range"] = f"bytes {first}-{end - 1}/{size}"
    response = web.StreamResponse(status=206 if part is not None else 200, headers=headers)
    response.content_length = end - first
    await response.prepare(request)
    if request.method != "HEAD":
        await asyncio.to_thread(file.seek, first)
        while first < end and (piece := await asyncio.to_thread(file.read, min(PIECE, end - first))):
            first += len(piece)
            await response.write(piece)
            guard.goes_on()
    await response.write_eof()
    return response


def disposition(name: bytes, *, attached: bool) -> str:
    """A Content-Disposition; a stranger's name is spelled twice, both times harmless.  Source: RFC 6266."""
    plain = "".join(char if char.isascii() and (char.isalnum() or char in "._- ") else "_"
                    for char in name.decode("utf-8", "replace"))  # fmt: skip
    return f"{'attachment' if attached else 'inline'}; filename=\"{plain[:150]}\"; filename*=UTF-8''{quote(name[:150])}"
