"""The front end's files: read once, served from memory by their exact names, and no others."""

from __future__ import annotations

import os

from aiohttp import web

from veneer.errors import NotFound
from veneer.view.web import answers
from veneer.view.web.bundle import FOLDER

TYPES = {
    "js": "application/javascript", "css": "text/css", "svg": "image/svg+xml", "png": "image/png",
    "woff2": "font/woff2", "json": "application/json", "txt": "text/plain",
}  # fmt: skip


class NoSuchFile(NotFound):
    """A file that is not part of the front end."""


def read_all(folder: str = FOLDER) -> dict[str, answers.Body]:
    """The files of a folder by name; those of kinds that a browser has no use for are left out."""
    found = {}
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name) if os.path.isdir(folder) else ():
        kind = TYPES.get(entry.name.rpartition(".")[2])
        if kind is not None and entry.is_file():
            with open(entry.path, "rb") as file:
                found[entry.name] = answers.body(file.read(), kind)
    return found


def routes(folder: str = FOLDER) -> list[web.RouteDef]:
    files = read_all(folder)

    async def handler(request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        found = files.get(name)
        if found is None:
            raise NoSuchFile(f"no file {name[:80]!r} here")
        return answers.sent(request, found)

    return [web.get("/static/{name}", handler)]
