"""The image another one was built on: by what it says, by its parents, by its layers."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.support.finished import loaded, row
from veneer.engine.engine import Engine
from veneer.engine.rework.bases import (
    DIGEST_LABEL,
    NAME_LABEL,
    Base,
    find_base,
    is_base,
    recorded,
    shared_rows,
    with_base_labels,
)
from veneer.oci.image import HistoryEntry
from veneer.oci.manifest import Manifest, parse
from veneer.store.images import Image
from veneer.testing.images import Tree, image, oci_archive

BASE: Tree = {"etc/os": b"1"}
MORE: Tree = {"usr/lib": b"2"}
TOP: Tree = {"app": b"3"}
ROWS = (row("ADD base"), row("RUN more"), row("COPY app /"), row("USER me", empty=True))


def found(engine: Engine, name: str) -> tuple[str, str] | None:
    base = find_base(engine.store, engine.images.get(name))
    return (base.name, base.how) if base else None


def app(engine: Engine, name: str = "app:1", **labels: str) -> Image:
    return loaded(engine, name, BASE, MORE, TOP, history=ROWS, config={"Labels": labels} if labels else {})


def test_nothing_tells_where_no_image_here_has_its_layers(engine: Engine) -> None:
    app(engine)
    loaded(engine, "other:1", {"etc/os": b"9"}, history=ROWS[:1])
    assert found(engine, "app:1") is None


def test_of_images_below_the_one_with_most_layers_counts(engine: Engine) -> None:
    app(engine)
    loaded(engine, "small:1", BASE, history=ROWS[:1])
    assert found(engine, "app:1") == ("small:1", "layers")
    loaded(engine, "larger:1", BASE, MORE, history=ROWS[:2])
    assert found(engine, "app:1") == ("larger:1", "layers")
    loaded(engine, "app:0", BASE, MORE, TOP, history=ROWS[:3])
    assert found(engine, "app:1") == ("larger:1", "layers"), "an earlier state of the same repository is no base"
    loaded(engine, "whole:1", BASE, MORE, TOP, history=ROWS[:3], config={"User": "root"})
    assert found(engine, "app:1") == ("whole:1", "layers"), "all its layers, and one row less"


def test_an_image_whose_rows_are_its_own_wins_over_one_with_more_layers(engine: Engine) -> None:
    app(engine)
    loaded(engine, "told:1", BASE, history=ROWS[:1])
    loaded(engine, "silent:1", BASE, MORE, history=[row("?"), row("??")])
    assert found(engine, "app:1") == ("told:1", "layers")


def test_the_nearest_parent_that_no_own_step_made_is_the_base(engine: Engine) -> None:
    loaded(engine, "base:1", BASE, history=ROWS[:1])
    first = engine.images.derive("base:1", created_by="ENV A=1", run={"Env": ["A=1"]})
    engine.images.derive(first, created_by="ENV B=1", run={"Env": ["B=1"]}, tag="app:1")
    assert found(engine, "app:1") == ("base:1", "parent")
    engine.images.tag(str(first.id), "app:0")
    assert found(engine, "app:1") == ("base:1", "parent"), "the same repository's is an earlier build"
    engine.images.tag(str(first.id), "middle:1")
    engine.images.remove("app:0")
    assert found(engine, "app:1") == ("middle:1", "parent")


def test_a_label_counts_most_if_what_it_names_is_below(engine: Engine) -> None:
    loaded(engine, "larger:1", BASE, MORE, history=ROWS[:2])
    small = loaded(engine, "small:1", BASE, history=ROWS[:1])
    loaded(engine, "wrong:1", {"x": b"x"})
    app(engine, "one:1", **{NAME_LABEL: "docker.io/library/small:1"})
    app(engine, "two:1", **{NAME_LABEL: "wrong:1", DIGEST_LABEL: str(small.manifest)})
    app(engine, "three:1", **{NAME_LABEL: "wrong:1"})
    app(engine, "four:1", **{NAME_LABEL: "NOT A NAME", DIGEST_LABEL: "nor a digest"})
    assert found(engine, "one:1") == found(engine, "two:1") == ("small:1", "label")
    assert found(engine, "three:1") == found(engine, "four:1") == ("larger:1", "layers")


def test_annotations_of_the_manifest_say_it_too(engine: Engine) -> None:
    loaded(engine, "small:1", BASE, history=ROWS[:1])
    made = image(BASE, TOP, history=[ROWS[0], ROWS[2]])
    document = json.loads(made.manifest.raw)
    document["annotations"] = {NAME_LABEL: "small:1", DIGEST_LABEL: "sha256:x"}
    manifest = parse(json.dumps(document).encode())
    assert isinstance(manifest, Manifest)
    noted = replace(made, manifest=manifest)
    engine.images.load(io.BytesIO(oci_archive(("noted:1", noted))))
    said = recorded(engine.store, engine.images.get("noted:1"))
    assert (said.name, said.digest, said.shown) == ("small:1", "sha256:x", "small:1@sha256:x")
    assert found(engine, "noted:1") == ("small:1", "label")


def test_of_several_names_the_base_has_the_one_that_labels_say_else_the_shortest(engine: Engine) -> None:
    loaded(engine, "r.example/team/small:1", BASE, history=ROWS[:1])
    engine.images.tag("r.example/team/small:1", "small:1")
    app(engine, "one:1", **{NAME_LABEL: "r.example/team/small:1"})
    app(engine, "two:1")
    assert found(engine, "one:1") == ("r.example/team/small:1", "label")
    assert found(engine, "two:1") == ("small:1", "layers")


def test_a_nameless_base_is_called_by_its_id(engine: Engine) -> None:
    base = engine.images.derive(None, created_by="ENV A=1", run={"Env": ["A=1"]})
    assert Base(base, "").name == str(base.id)


@pytest.mark.parametrize(("base", "shared"), [
    ((BASE, ROWS[:1]), 1), ((BASE, [row("ADD another")]), 1), ((BASE, ()), 1), ((MORE, ROWS[:1]), 1),
])  # fmt: skip
def test_rows_that_are_the_bases_are_told_apart(
    engine: Engine, base: tuple[Tree, Sequence[HistoryEntry]], shared: int
) -> None:
    tree, rows = base
    below = loaded(engine, "below:1", tree, history=rows).config
    above = app(engine).config
    assert is_base(below, above) is (tree is BASE)
    assert shared_rows(below, above) == shared


@pytest.mark.parametrize(("below", "above", "shared"), [
    (0, 2, 0), (0, 3, 1), (1, 1, 1), (1, 2, 1), (1, 3, 1),
])  # fmt: skip
def test_of_a_short_history_only_rows_that_the_base_has_are_the_bases(below: int, above: int, shared: int) -> None:
    config = image(BASE, MORE, TOP, history=ROWS[:above]).parsed
    assert shared_rows(image(BASE, history=ROWS[:below]).parsed, config) == shared
    two = image(BASE, MORE, history=ROWS[:below]).parsed
    assert shared_rows(two, config) == (2 if above == 3 else below), "the base's own rows are as few as they are"
    assert shared_rows(image(BASE, history=[row("?")]).parsed, config) == (above == 3)


def test_labels_name_the_base_and_leave_the_others() -> None:
    run = {"User": "me", "Labels": {"a": "1", NAME_LABEL: "old"}}
    assert with_base_labels(run, "new:1", "sha256:1") == {
        "User": "me", "Labels": {"a": "1", NAME_LABEL: "new:1", DIGEST_LABEL: "sha256:1"},
    }  # fmt: skip
    assert with_base_labels(run, "", "sha256:1")["Labels"] == {"a": "1", DIGEST_LABEL: "sha256:1"}
    assert json.dumps(with_base_labels({}, "", "sha256:1")["Labels"]) == json.dumps({DIGEST_LABEL: "sha256:1"})
