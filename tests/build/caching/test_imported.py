"""A cache from elsewhere is an image: a step is found in it by its history, and its layer comes when it is used."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.registries import RealRegistry
from veneer.build.caching import imported
from veneer.build.request import CacheSpec
from veneer.engine.engine import Engine
from veneer.oci.image import ImageConfig
from veneer.oci.platform import host
from veneer.progress import silent
from veneer.store.images import Image
from veneer.store.store import Store


@pytest.fixture
def other(config: object, tmp_path: Path) -> Iterator[Engine]:
    """A second machine's engine, with an image of three steps called `made:1`."""
    from veneer.config import Config

    assert isinstance(config, Config)
    with Engine(config.replaced(root=tmp_path / "other")) as engine:
        first, second = tmp_path / "first", tmp_path / "second"
        for folder, text in ((first, "one"), (second, "two")):
            folder.mkdir()
            (folder / text).write_text(text)
        base = engine.images.derive(layer=first, created_by="ADD file:1 in / ", created="2024-01-01T00:00:00Z")
        step = engine.images.derive(base, created_by="ENV A=1", run={"Env": ["A=1"]}, created="2024-01-02T00:00:00Z")
        engine.images.derive(step, layer=second, created_by="RUN two", created="2024-01-03T00:00:00Z", tag="made:1")
        yield engine


def whole(engine: Engine) -> ImageConfig:
    return engine.images.get("made:1").config


def cut(config: ImageConfig, rows: int) -> ImageConfig:
    """The config as it was after so many rows."""
    layers = sum(not entry.empty_layer for entry in config.history[:rows])
    return config.replaced(history=config.history[:rows], diff_ids=config.diff_ids[:layers])


def rebuild(store: Store, cache: imported.ImportedCaches, wanted: ImageConfig) -> Image:
    """Walk through the cache as a build would."""
    steps = ["ADD file:1 in / ", "ENV A=1", "RUN two"]
    found: imported.CachedStep | None = None
    with store.lease("test") as lease:
        for row, text in enumerate(steps):
            found = cache.match(cut(wanted, row) if row else None, text)
            assert found is not None, text
            assert found.entry == wanted.history[row]
            found.take(lease, silent)
        assert found is not None and found.whole == wanted.raw
        return store.images.add(lease, found.whole, built=True)


def test_an_image_at_a_registry_is_a_cache(other: Engine, store: Store, registry: RealRegistry) -> None:
    name = f"{registry.host}/imported/cache:1"
    other.images.tag("made:1", name)
    other.images.push(name)
    with imported.opened(store, [CacheSpec("registry", (("ref", name),))], host()) as cache:
        assert not cache.warnings
        image = rebuild(store, cache, whole(other))
    assert image.id == other.images.get("made:1").id
    assert [layer.diff_id for layer in store.layers.ensure(image.config.chain_ids[-1])] == list(image.config.diff_ids)


def test_a_layout_directory_is_a_cache(other: Engine, store: Store, tmp_path: Path) -> None:
    other.images.save(["made:1"], tmp_path / "cache", format="oci-dir")
    with imported.opened(store, [CacheSpec("local", (("src", str(tmp_path / "cache")),))], host()) as cache:
        assert not cache.warnings
        image = rebuild(store, cache, whole(other))
    assert image.id == other.images.get("made:1").id


def test_only_the_layers_of_the_steps_found_are_brought(other: Engine, store: Store, tmp_path: Path) -> None:
    other.images.save(["made:1"], tmp_path / "cache", format="oci-dir")
    with imported.opened(store, [CacheSpec("local", (("src", str(tmp_path / "cache")),))], host()) as cache:
        found = cache.match(None, "ADD file:1 in / ")
        assert found is not None and found.whole is None
        with store.lease("test") as lease:
            found.take(lease, silent)
            config = whole(other)
            assert store.layers.find(config.chain_ids[0]) is not None
            assert store.layers.find(config.chain_ids[1]) is None


def test_another_text_another_base_or_another_time_below_is_no_hit(other: Engine, store: Store, tmp_path: Path) -> None:
    other.images.save(["made:1"], tmp_path / "cache", format="oci-dir")
    config = whole(other)
    with imported.opened(store, [CacheSpec("local", (("src", str(tmp_path / "cache")),))], host()) as cache:
        assert cache.match(cut(config, 2), "RUN three") is None
        assert cache.match(None, "RUN two") is None
        later = config.history[0].replaced(created="2025-01-01T00:00:00Z")
        moved = cut(config, 2).replaced(history=(later, config.history[1]))
        assert cache.match(moved, "RUN two") is None
        assert cache.match(cut(config, 2), "RUN two") is not None


def test_a_local_image_is_a_cache_without_anything_to_fetch(other: Engine) -> None:
    with imported.opened(other.store, [CacheSpec("registry", (("ref", "made:1"),))], host()) as cache:
        assert rebuild(other.store, cache, whole(other)).id == other.images.get("made:1").id


def test_a_cache_that_is_not_there_is_a_warning(store: Store, tmp_path: Path, registry: RealRegistry) -> None:
    specs = [
        CacheSpec("local", (("src", str(tmp_path / "none")),)),
        CacheSpec("registry", (("ref", f"{registry.host}/nobody/none:1"),)),
    ]
    with imported.opened(store, specs, host()) as cache:
        assert not cache
        assert len(cache.warnings) == 2
        assert "no such file" in cache.warnings[0] and "not found" in cache.warnings[1]


def test_a_damaged_layout_is_a_warning_and_a_cache_without_a_place_an_error(
    other: Engine, store: Store, tmp_path: Path
) -> None:
    other.images.save(["made:1"], tmp_path / "cache", format="oci-dir")
    image = other.images.get("made:1")
    (tmp_path / "cache" / "blobs" / "sha256" / image.id.hex).write_bytes(b"{}")
    with imported.opened(store, [CacheSpec("local", (("src", str(tmp_path / "cache")),))], host()) as cache:
        assert not cache and "not what its digest says" in cache.warnings[0]
    with (
        pytest.raises(imported.BadCache, match="needs src=DIRECTORY"),
        imported.opened(store, [CacheSpec("local", ())], host()),
    ):
        pass
    with (
        pytest.raises(imported.BadCache, match="needs ref=NAME"),
        imported.opened(store, [CacheSpec("registry", ())], host()),
    ):
        pass
