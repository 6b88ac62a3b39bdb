"""Waste: what is stored and not shown, who hid it and why; beside the figures that dive gives."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.analysis.test_tree import file, folder, gone, hard, layer
from veneer.analysis import dive
from veneer.analysis.copies import Cause
from veneer.analysis.table import Table
from veneer.analysis.waste import Account, Loss, account, by_cause, by_maker, by_path
from veneer.changeset.entry import Entry, Kind
from veneer.changeset.index import LayerIndex


def other(path: bytes, size: int, content: int = 1) -> Entry:
    """A file with another content than `file` gives."""
    return replace(file(path, size), digest=bytes([content]) * 32)


def weighed(*layers: LayerIndex) -> Account:
    return account(Table(layers))


PUBLISHED = (
    layer(file(b"etc/nginx/nginx.conf", 2000), file(b"etc/nginx/public", 3000)),
    layer(other(b"etc/nginx/nginx.conf", 5000), file(b"etc/athing", 10_000)),
    layer(gone(b"etc/nginx")),
)
"""dive's own test of efficiency: two files, one overwritten and another added, the first two's directory deleted."""


def test_dives_published_example_is_half_waste() -> None:
    found = weighed(*PUBLISHED)
    assert (found.stored, found.visible, found.wasted, found.efficiency) == (20_000, 10_000, 10_000, 0.5)
    assert found.losses == (
        Loss(b"etc/nginx", 1, 2, Cause.DELETED, 5000, 1),
        Loss(b"etc/nginx", 0, 2, Cause.DELETED, 3000, 1),
        Loss(b"etc/nginx/nginx.conf", 0, 1, Cause.OVERWRITTEN, 2000, 1),
    )
    assert [layer.made for layer in found.layers] == [0, 2000, 8000]
    assert [layer.held for layer in found.layers] == [5000, 5000, 0]
    assert [layer.net for layer in found.layers] == [5000, 13_000, -8000]
    assert [layer.total for layer in found.layers] == [5000, 18_000, 10_000]


def test_dives_own_figures_for_it() -> None:
    found = dive.figures(PUBLISHED)
    assert (found.score, found.wasted) == (0.75, 7000)
    headers = (
        layer(folder(b"etc"), folder(b"etc/nginx"), *(entry for entry in PUBLISHED[0] if not entry.implied)),
        *PUBLISHED[1:],
    )
    assert round(dive.figures(headers).score, 2) == 0.82


def test_dives_own_figures_for_its_test_image() -> None:
    """The image of dive's tests, by its Dockerfile: their expected figures, to the last digit."""
    size = 6405
    example = [folder(b"root"), folder(b"root/example")]
    layers = [
        layer(folder(b"bin"), other(b"bin/busybox", 1_154_361), folder(b"root"), folder(b"tmp")),
        layer(file(b"somefile.txt", size)),
        layer(*example, folder(b"root/example/really"), folder(b"root/example/really/nested")),
        layer(*example, file(b"root/example/somefile1.txt", size)),
        layer(*example, replace(file(b"root/example/somefile1.txt", size), mode=0o444)),
        layer(*example, file(b"root/example/somefile2.txt", size)),
        layer(*example, file(b"root/example/somefile3.txt", size)),
        layer(*example, gone(b"root/example/somefile3.txt"), file(b"root/saved.txt", size)),
        layer(folder(b"root"), file(b"root/.saved.txt", size)),
        layer(folder(b"root"), gone(b"root/example")),
        layer(folder(b"root"), folder(b"root/.data"), file(b"root/.data/test.sh", 2187)),
        layer(folder(b"tmp"), file(b"tmp/saved.again1.txt", size)),
        layer(folder(b"root"), folder(b"root/.data"), file(b"root/.data/saved.again2.txt", size)),
        layer(folder(b"root"), replace(file(b"root/saved.txt", size), mode=0o755)),
    ]
    found = dive.figures(layers)
    assert (found.size, found.user_size) == (1_220_598, 66_237)
    assert found.score == pytest.approx(0.9844212134184309, abs=1e-15)
    assert found.wasted == 32_025
    assert found.wasted_percent == pytest.approx(0.4834911001404049, abs=1e-15)
    assert [(each.path, each.count, each.bytes) for each in found.repeated if each.bytes] == [
        (b"root/example/somefile1.txt", 2, 12_810), (b"root/saved.txt", 2, 12_810),
        (b"root/example/somefile3.txt", 2, 6405),
    ]  # fmt: skip
    truth = weighed(*layers)
    # Three copies in the deleted directory, one of them stored twice, and one moved away; and the chmod of saved.txt.
    assert truth.wasted == 5 * size


# The errors of dive that its source proves.  Each of these a count in dive's way would fail.


def test_the_copy_that_is_seen_is_no_waste() -> None:
    layers = layer(file(b"f", 100)), layer(other(b"f", 70))
    assert weighed(*layers).wasted == 100
    assert dive.figures(layers).wasted == 170


def test_a_deleted_directory_is_waste_with_all_in_it() -> None:
    layers = layer(folder(b"d"), file(b"d/a", 40), file(b"d/b", 60), file(b"k", 100)), layer(gone(b"d"))
    found = weighed(*layers)
    assert (found.wasted, found.efficiency) == (100, 0.5)
    assert found.losses == (Loss(b"d", 0, 1, Cause.DELETED, 100, 2),)
    assert (dive.figures(layers).wasted, dive.figures(layers).score) == (0, 1.0)


def test_an_opaque_directory_hides_what_is_below() -> None:
    layers = layer(folder(b"d"), file(b"d/a", 40), file(b"d/b", 60)), layer(folder(b"d", opaque=True), file(b"d/c", 5))
    found = weighed(*layers)
    assert found.losses == (Loss(b"d", 0, 1, Cause.SHADOWED, 100, 2),)
    assert dive.figures(layers).wasted == 0


def test_a_symlink_that_leads_elsewhere_has_changed() -> None:
    def link(target: bytes) -> Entry:
        return Entry(b"l", Kind.SYMLINK, 0o777, link=target)

    found = weighed(layer(link(b"a")), layer(link(b"b")), layer(link(b"b")))
    assert [layer.modified for layer in found.layers] == [0, 1, 0]
    assert [layer.metadata for layer in found.layers] == [0, 0, 1]


def test_one_layer_that_stores_nothing_is_efficient() -> None:
    for layers in ((), (layer(),), (layer(folder(b"d")),)):
        found = weighed(*layers)
        assert (found.efficiency, found.wasted) == (1.0, 0)
        assert (dive.figures(layers).score, dive.figures(layers).wasted_percent) == (1.0, 0.0)


# Causes and culprits.


def test_rewriting_the_same_bytes_is_a_cause_of_its_own() -> None:
    layers = layer(file(b"a", 10), file(b"b", 20)), layer(replace(file(b"a", 10), uid=1000), other(b"b", 20))
    found = weighed(*layers)
    assert [(loss.path, loss.cause) for loss in found.losses] == [
        (b"b", Cause.OVERWRITTEN), (b"a", Cause.REWRITTEN),
    ]  # fmt: skip
    assert (found.layers[1].modified, found.layers[1].metadata) == (1, 1)


def test_who_holds_and_who_made_are_two_layers() -> None:
    found = weighed(layer(file(b"a", 7)), layer(file(b"b", 1)), layer(gone(b"a")))
    (loss,) = found.losses
    assert (loss.holder, loss.maker) == (0, 2)
    assert [layer.net for layer in found.layers] == [7, 1, -7]


def test_a_file_with_two_names_is_waste_when_both_are_gone() -> None:
    base = layer(file(b"a", 50), hard(b"b", b"a"))
    assert weighed(base, layer(gone(b"a"))).wasted == 0
    assert weighed(base, layer(gone(b"b"))).wasted == 0
    found = weighed(base, layer(gone(b"a")), layer(gone(b"b")))
    assert found.losses == (Loss(b"b", 0, 2, Cause.DELETED, 50, 1),)
    assert [layer.total for layer in found.layers] == [50, 50, 0]


def test_a_link_from_a_higher_layer_keeps_a_file() -> None:
    base = layer(folder(b"d"), file(b"d/a", 50))
    assert weighed(base, layer(hard(b"b", b"d/a")), layer(gone(b"d"))).wasted == 0
    assert weighed(base, layer(hard(b"b", b"d/a")), layer(gone(b"d")), layer(gone(b"b"))).wasted == 50


def test_deleted_and_made_again_counts_once_for_each_copy() -> None:
    found = weighed(layer(file(b"a", 5)), layer(gone(b"a")), layer(file(b"a", 5)), layer(other(b"a", 6)))
    assert [(loss.holder, loss.maker, loss.cause) for loss in found.losses] == [
        (0, 1, Cause.DELETED), (2, 3, Cause.OVERWRITTEN),
    ]  # fmt: skip


def test_a_file_in_the_place_of_a_directory_replaces_it() -> None:
    found = weighed(layer(folder(b"d"), file(b"d/a", 9)), layer(file(b"d", 1)))
    assert found.losses == (Loss(b"d", 0, 1, Cause.REPLACED, 9, 1),)
    assert (found.layers[1].exchanged, found.layers[1].deleted) == (1, 1)


def test_a_directory_named_again_has_not_changed() -> None:
    found = weighed(layer(folder(b"d"), file(b"d/a")), layer(replace(folder(b"d"), mtime_ns=5), file(b"d/b")))
    assert (found.layers[1].metadata, found.layers[1].added) == (0, 1)
    assert weighed(layer(folder(b"d")), layer(folder(b"d", 0o700))).layers[1].metadata == 1


def test_the_ledger_groups_by_path_layer_and_cause() -> None:
    losses = weighed(*PUBLISHED).losses
    assert [(waste.key, waste.bytes, waste.holders) for waste in by_path(losses)] == [
        (b"etc/nginx", 8000, (0, 1)), (b"etc/nginx/nginx.conf", 2000, (0,)),
    ]  # fmt: skip
    assert [(waste.key, waste.bytes, waste.files) for waste in by_maker(losses)] == [(2, 8000, 2), (1, 2000, 1)]
    assert [(waste.key, waste.bytes) for waste in by_cause(losses)] == [
        (Cause.DELETED, 8000), (Cause.OVERWRITTEN, 2000),
    ]  # fmt: skip


def test_empty_files_that_are_hidden_waste_nothing_and_make_no_row() -> None:
    found = weighed(layer(file(b"lock", 0), file(b"d/a", 0), file(b"d/b", 4)), layer(gone(b"d"), gone(b"lock")))
    assert [(waste.key, waste.bytes, waste.files) for waste in by_path(found.losses)] == [(b"d", 4, 2)]
    nothing = weighed(layer(file(b"lock", 0)), layer(gone(b"lock")))
    assert not [*by_path(nothing.losses), *by_maker(nothing.losses), *by_cause(nothing.losses)]


def test_dives_export_has_gos_modes() -> None:
    index = layer(folder(b"d", 0o1777), file(b"d/f", 3), Entry(b"l", Kind.SYMLINK, 0o777, link=b"d"), gone(b"x/y"))
    found = {each["path"]: each for each in dive.files(index)}
    assert found["d"]["fileMode"] == 1 << 31 | 1 << 20 | 0o777
    assert (found["d/f"]["size"], found["d/f"]["typeFlag"], found["d/f"]["isDir"]) == (3, 48, False)
    assert found["l"]["linkName"] == "d"
    assert "x/.wh.y" in found and "x" not in found
