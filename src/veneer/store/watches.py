"""What is remembered of tags that are watched: one small JSON document each, replaced whole.

    watches/<sha256 of the key>.json

Losing one loses no image: the tag is seen as if for the first time.  Nothing deletes them: a watch that is asked once a
year is one, too.
"""

from __future__ import annotations

import hashlib
import json
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from veneer.store.store import Store

FOLDER = "watches"


class Watches:
    """The documents of one store, by key; whoever reads and then writes one locks `lock` meanwhile."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def lock(self, key: str) -> str:
        """What to give to `Store.locked`."""
        return f"watch-{_name(key)}"

    def _path(self, key: str) -> Path:
        return self._store.root / FOLDER / f"{_name(key)}.json"

    def get(self, key: str) -> dict[str, Any] | None:
        """What is remembered; None where nothing is, or what is there cannot be read."""
        try:
            found = json.loads(self._path(key).read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def put(self, key: str, document: dict[str, Any]) -> None:
        """Remember it: the old document or the new one is there, whatever happens."""
        from veneer.store.durability import file_errors, sync_directory, sync_file

        path = self._path(key)
        with file_errors(self._store.root):
            path.parent.mkdir(mode=0o700, exist_ok=True)
            part = path.with_suffix(".part")
            with open(part, "wb") as file:
                file.write(json.dumps(document, ensure_ascii=True, separators=(",", ":")).encode())
                file.flush()
                sync_file(file.fileno())
            os.replace(part, path)
            sync_directory(path.parent)


def _name(key: str) -> str:
    return hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()
