"""`veneer builder`: docker's words for a prune, buildx's table for what there is, one line of `system df`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Veneer
from tests.support.built import make_image, make_layer, writing
from veneer.engine.engine import open_engine
from veneer.oci.reference import Reference

pytestmark = pytest.mark.usefixtures("root_only")


@pytest.fixture
def cached(veneer: Veneer) -> Veneer:
    """A cache of two steps with nothing on them (1000 and 0 bytes), one that demo:1 stands on (30), and a mount (7)."""
    with open_engine(veneer.root) as engine, engine.store.lease("build") as lease:
        store = engine.store
        loose = make_layer(store, lease, writing(loose=b"x" * 1000))
        below = make_image(store, lease, [loose], comment="below")
        above = make_image(store, lease, [loose], parent=below.id, comment="above")
        named = make_image(store, lease, [make_layer(store, lease, writing(named=b"y" * 30))], comment="named")
        for parent, made, text in (
            (None, below, "COPY loose /"),
            (below, above, "ENV A=1"),
            (None, named, "COPY named /"),
        ):
            store.builds.record(made.id, parent.id if parent else None, {"cmd": ["/bin/sh", "-c", f"#(nop) {text}"]})
        store.images.tag(named.id, Reference.parse("demo:1").tagged())
        with store.cache_mounts.acquire("npm") as mount:
            (mount / "package").write_bytes(b"package")
    return veneer


def ids(veneer: Veneer, text: str) -> list[str]:
    shown = veneer("builder", "du", "--filter", f"description={text}", "--format", "{{.ID}}").text
    return shown.split()


def test_du_shows_every_record_and_the_sums(cached: Veneer) -> None:
    answer = cached("builder", "du")
    heading, *rows = answer.text.splitlines()
    assert heading == "ID              RECLAIMABLE   SIZE      LAST ACCESSED"
    (mount,) = ids(cached, "npm")
    assert mount.endswith("*"), "a cache mount changes"
    facts = {row.split()[0]: tuple(row.split()[1:3]) for row in rows}
    assert facts[mount] == ("true", "7B")
    assert facts[ids(cached, "loose")[0]] == ("true", "1kB")
    assert facts[ids(cached, "ENV")[0]] == ("true", "0B")
    assert facts[ids(cached, "named")[0]] == ("false", "30B*")
    assert rows[-4:] == [
        "Shared:        30B",
        "Private:       1.007kB",
        "Reclaimable:   1.007kB",
        "Total:         1.037kB",
    ]


def test_du_tells_every_fact_or_answers_programs(cached: Veneer) -> None:
    told = cached("builder", "du", "--verbose", "--filter", "description=ENV").text.splitlines()
    facts = dict(line.split(":", 1) for line in told if line)
    assert list(facts) == [
        "ID", "Parents", "Created at", "Mutable", "Reclaimable", "Shared", "Size", "Description", "Usage count",
        "Last used", "Type",
    ]  # fmt: skip
    assert facts["Description"].strip() == "/bin/sh -c #(nop) ENV A=1"
    assert facts["Parents"].strip() == ids(cached, "loose")[0]
    (line,) = cached("builder", "du", "--filter", "type=exec.cachemount", "--format", "json").text.splitlines()
    shown = json.loads(line)
    assert (shown["Type"], shown["Size"], shown["Mutable"], shown["InUse"]) == (
        "exec.cachemount",
        "7B",
        "true",
        "false",
    )
    assert cached("builder", "du", "--filter", "color=red").code == 1
    assert cached("builder", "du", "--verbose", "--format", "json").code == 1


def test_prune_asks_in_dockers_words_and_takes_no_for_an_answer(cached: Veneer) -> None:
    for words, what in (((), "all dangling build cache"), (("--all",), "all build cache")):
        answer = cached("builder", "prune", *words, stdin=b"n\n")
        assert (answer.code, answer.text) == (
            0, f"WARNING! This will remove {what}. Are you sure you want to continue? [y/N] ",
        )  # fmt: skip
    assert len(cached("builder", "du", "--format", "{{.ID}}").text.split()) == 4


def test_prune_deletes_what_nothing_stands_on_and_says_how_much_that_freed(cached: Veneer) -> None:
    loose, env, mount = (ids(cached, text)[0] for text in ("loose", "ENV", "npm"))
    told = cached("builder", "prune", "--dry-run").text.splitlines()
    assert told[0] == "Would delete build cache objects:" and told[-1] == "Would reclaim: 1.007kB"
    assert [line.split()[:2] for line in told[1:4]] == [[env, "0B"], [loose, "1kB"], [mount.removesuffix("*"), "7B"]]
    answer = cached("builder", "prune", stdin=b"y\n")
    assert answer.code == 0
    assert answer.text.partition("[y/N] ")[2].splitlines() == [
        "Deleted build cache objects:", env, loose, mount.removesuffix("*"), "", "Total reclaimed space: 1.007kB",
    ]  # fmt: skip
    assert cached("builder", "prune", "--force").text == "Total reclaimed space: 0B\n"
    assert cached("images", "--format", "{{.Repository}}").text == "demo\n"


def test_prune_keeps_so_much_and_filters(cached: Veneer) -> None:
    answer = cached("builder", "prune", "-f", "--keep-storage", "1k", "--filter", "type=exec.cachemount")
    assert answer.text == "Total reclaimed space: 0B\n", "no more than that is there"
    assert cached("builder", "prune", "-f", "--filter", "until=24h").text == "Total reclaimed space: 0B\n"
    assert cached("builder", "prune", "-f", "--filter", "type=exec.cachemount").text.endswith("space: 7B\n")
    everything = cached("builder", "prune", "-af")
    assert everything.text.endswith("Total reclaimed space: 1kB\n")
    assert cached("builder", "du", "--format", "{{.ID}}").text == ""
    assert cached("inspect", "demo:1").code == 0


@pytest.mark.parametrize(("words", "code", "complaint"), [
    (("--keep-storage", "much"), 1, "invalid size 'much' for --keep-storage"),
    (("--filter", "color=red"), 1, "Invalid filter 'color'"),
    (("--filter", "until"), 125, "bad format of filter (expected name=value)"),
    (("something",), 1, "accepts no arguments"),
])  # fmt: skip
def test_what_prune_cannot_do_it_says(cached: Veneer, words: tuple[str, ...], code: int, complaint: str) -> None:
    answer = cached("builder", "prune", "-f", *words)
    assert answer.code == code and complaint in answer.err
    assert len(cached("builder", "du", "--format", "{{.ID}}").text.split()) == 4


def test_disk_usage_counts_the_cache_beside_the_images(cached: Veneer) -> None:
    rows = cached("system", "df", "--format", "{{.Type}} {{.TotalCount}} {{.Active}} {{.Size}} {{.Reclaimable}}").text
    assert "Build Cache 4 0 1.007kB 1.007kB (100%)\n" in rows


def test_system_prune_takes_the_cache_too_unless_a_filter_is_about_images(cached: Veneer) -> None:
    assert "  - all dangling build cache\n" in cached("system", "prune", stdin=b"n\n").text
    labelled = cached("system", "prune", "--filter", "label=x", stdin=b"n\n").text
    assert "build cache" not in labelled
    told = cached("system", "prune", "--dry-run").text
    done = cached("system", "prune", "--force").text
    assert done.splitlines()[-1] == told.splitlines()[-1].replace("Would reclaim", "Total reclaimed space")
    assert cached("builder", "du", "--format", "{{.Size}}").text == "30B*\n"


def test_build_is_one_command_under_three_names(veneer: Veneer, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nENV A=1\n")
    found = {veneer(*words, "build", "-q", str(tmp_path)).text for words in ((), ("image",), ("builder",))}
    assert len(found) == 1 and next(iter(found)).startswith("sha256:")
    assert "Usage:  veneer builder build" in veneer("builder", "build", "--help").text
