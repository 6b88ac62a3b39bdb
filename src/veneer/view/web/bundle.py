"""The built front end's files: where they are, and the two that a page without a server carries in itself."""

from __future__ import annotations

import os

FOLDER = os.path.join(os.path.dirname(__file__), "static")
SCRIPT, STYLE = "app.js", "app.css"


def read(name: str, folder: str = FOLDER) -> str:
    """A file of the bundle as text; "" where it was not built."""
    try:
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def inline_script(folder: str = FOLDER) -> str:
    """The script for a `<script>` element: nothing in it ends that."""
    # In a string or a comment, which is where these can stand, `\\/` and `\\!` are what they are without.
    return read(SCRIPT, folder).replace("</script", "<\\/script").replace("<!--", "<\\!--")


def inline_style(folder: str = FOLDER) -> str:
    """The style sheet for a `<style>` element."""
    return read(STYLE, folder).replace("</style", "<\\/style")
