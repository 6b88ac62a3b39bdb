"""A store of an earlier veneer is brought up to date when it is opened; a later one's is left alone."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from tests.support.programs import run
from veneer.config import Config
from veneer.store import schema
from veneer.store.catalog import NewerStore, StoreReadOnly
from veneer.store.store import Store

VERSION_1 = Path(__file__).with_name("version-1.tar.gz")
"""A store that version 1 of the schema's code made: two images, old/image:1 and :2, with vfs."""

pytestmark = pytest.mark.usefixtures("root_only")


@pytest.fixture
def old(config: Config) -> Config:
    config.root.mkdir(parents=True, mode=0o700)
    run("tar", "-xpzf", VERSION_1, "-C", config.root)
    config.root.chmod(0o700)
    return config


def version(config: Config) -> int:
    connection = apsw.Connection(str(config.root / "state.db"))
    try:
        found: int = connection.pragma("user_version")
        return found
    finally:
        connection.close()


def test_a_store_of_version_1_keeps_all_it_has_and_gains_what_is_new(old: Config) -> None:
    assert version(old) == 1
    with Store.open(old) as store:
        names = sorted(tag.familiar for image in store.images.list() for tag in image.tags)
        assert names == ["old/image:1", "old/image:2"]
        image = store.images.find("old/image:2")
        assert image.parent == store.images.find("old/image:1").id
        assert store.check(deep=True) == []
        store.builds.record(image.id, image.parent, {"cmd": "COPY f /"})
        assert [step.image for step in store.builds.children(image.parent)] == [image.id]
    assert version(old) == schema.VERSION


def test_the_new_tables_are_those_of_a_new_store(old: Config, tmp_path: Path) -> None:
    def tables(config: Config) -> list[tuple[str, str]]:
        with Store.open(config) as store:
            return store.catalog.rows("SELECT name, sql FROM sqlite_master ORDER BY name")

    assert tables(old) == tables(old.replaced(root=tmp_path / "new"))


def test_an_old_store_on_a_read_only_file_system_is_refused_in_words(
    old: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    from veneer.store import catalog

    def only_reading(path: str) -> tuple[apsw.Connection, bool]:
        return apsw.Connection(path, flags=apsw.SQLITE_OPEN_READONLY), True

    monkeypatch.setattr(catalog, "_connection", only_reading)
    with Store.open(old) as store, pytest.raises(StoreReadOnly, match="old schema 1"):
        store.images.list()


def test_a_store_of_a_later_veneer_is_refused_and_not_touched(old: Config) -> None:
    connection = apsw.Connection(str(old.root / "state.db"))
    connection.pragma("user_version", schema.VERSION + 1)
    connection.close()
    before = (old.root / "state.db").read_bytes()
    with Store.open(old) as store, pytest.raises(NewerStore, match=f"schema {schema.VERSION + 1}"):
        store.images.list()
    assert (old.root / "state.db").read_bytes() == before
