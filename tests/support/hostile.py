"""A store that has an image already, canaries beside it, and proof after each attack that neither changed."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.layers import Layer, snapshot
from veneer.config import Config
from veneer.engine.engine import Engine
from veneer.errors import VeneerError
from veneer.testing.images import SampleImage, SampleLayer, directory, docker_archive, image, layer_tar

KEPT = image(
    {"etc": directory(), "etc/motd": b"hello\n", "d": directory(0o1777)}, {"etc/.wh.motd": b"", "new": b"new\n"}
)
"""The image that was there before."""
BAD = "bad:1"


class Scene:
    """An engine whose store holds KEPT as `kept:1`; use it in a `with`.

    `outside` is the folder with canaries; the store's root, and whatever a test writes with `write`, lie beside it.
    """

    def __init__(self, base: Path, config: Config, **changes: Any) -> None:
        self.base = base
        self.outside = base / "outside"
        (self.outside / "folder").mkdir(parents=True, mode=0o700)
        (self.outside / "secret").write_bytes(b"canary")
        (self.outside / "folder" / "inner").write_bytes(b"canary too")
        (self.outside / "link").symlink_to("secret")
        self._canaries = snapshot(self.outside)
        self.config = config.replaced(unpack_workers=1, **changes)
        self.engine = Engine(self.config)
        self.load(docker_archive((KEPT, ["kept:1"])))
        self._export = self.exported("kept:1")
        self._files = self._stored()

    def __enter__(self) -> Scene:
        return self

    def __exit__(self, *_: object) -> None:
        self.engine.close()

    def write(self, data: bytes, name: str = "in.tar") -> Path:
        (self.base / name).write_bytes(data)
        return self.base / name

    def load(self, data: bytes) -> None:
        self.engine.images.load(self.write(data))

    def exported(self, name: str) -> bytes:
        out = io.BytesIO()
        self.engine.images.export(name, out)
        return out.getvalue()

    def _stored(self) -> dict[str, int]:
        """Every file of the store but the database's own and the snapshots' insides, with its size."""
        root, found = self.config.root, {}
        for folder in ("blobs", "indexes", "ingest", "partial", "trash"):
            found.update({str(each): each.stat().st_size for each in (root / folder).rglob("*") if each.is_file()})
        for driver in ("overlay2", "vfs"):
            found.update({str(each): 0 for each in (root / driver).glob("[!.]*")})
        return found

    def unharmed(self) -> None:
        """Canaries untouched; after a collection not a file more than before; the earlier image still whole."""
        assert snapshot(self.outside) == self._canaries, "something outside the root was touched"
        engine = self.engine
        engine.system.collect()
        assert engine.system.check(deep=True) == []
        assert [each.id for each in engine.images.list(all=True)] == [KEPT.image_id]
        assert self._stored() == self._files, "something is half stored, or something is gone"
        assert self.exported("kept:1") == self._export

    def refused(self, attempt: Callable[[], object], *facts: str) -> VeneerError:
        """The attempt fails with an error that tells all `facts`, and leaves nothing."""
        with pytest.raises(VeneerError) as caught:
            attempt()
        for fact in facts:
            assert fact in caught.value.message, caught.value.message
        assert len(caught.value.message) < 2000 and caught.value.message.isprintable(), caught.value.message
        self.unharmed()
        return caught.value

    def refuses_layer(self, layer: Layer | bytes, *facts: str, compression: str = "") -> None:
        """As the second layer of an image, it is refused with an error that names it."""
        hostile = with_layer(layer, compression)
        named = f"layer 2 of 2 ({hostile.layers[1].diff_id.short}): "
        error = self.refused(lambda: self.load(docker_archive((hostile, [BAD]))), *facts)
        assert error.message.startswith(named), error.message

    def takes_layer(self, layer: Layer | bytes) -> bytes:
        """The layer is harmless: it loads, and leaves with its image; what the image exports."""
        self.load(docker_archive((with_layer(layer, ""), [BAD])))
        found = self.exported(BAD)
        self.engine.images.remove(BAD)
        self.unharmed()
        return found


def with_layer(layer: Layer | bytes, compression: str) -> SampleImage:
    """KEPT's first layer with another one upon it."""
    return image(KEPT.layers[0], SampleLayer(layer if isinstance(layer, bytes) else layer.tar(), compression))


def archive(entries: object, files: Mapping[str, bytes]) -> bytes:
    """A docker archive with this manifest.json (bytes, or what JSON is made of) and these members."""
    raw = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    return layer_tar({**files, "manifest.json": raw})


def archive_with_config(raw: bytes) -> bytes:
    """A docker archive of an image with KEPT's first layer and this config."""
    entry = {"Config": "c.json", "RepoTags": [BAD], "Layers": ["l.tar"]}
    return archive([entry], {"c.json": raw, "l.tar": KEPT.layers[0].tar})


def config_with(**changes: Any) -> bytes:
    """The config of an image with KEPT's first layer, changed; a value of None leaves its key out."""
    document = json.loads(image(KEPT.layers[0]).config) | changes
    return json.dumps({key: value for key, value in document.items() if value is not None}).encode()


def descriptors_open() -> int:
    return len(os.listdir("/proc/self/fd"))
