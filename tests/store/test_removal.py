"""rmi and prune: docker's words in docker's order, planned before anything is done.

The expected lines were taken from dockerd 20.10.24 for the same graphs of images.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.store.shelf import Shelf, diff_id, ref
from veneer.errors import InvalidRequest
from veneer.oci.digest import ImageID, chain_ids
from veneer.store.images import AmbiguousID, Image, NoSuchImage
from veneer.store.removal import Pruned, Removal, RemovalConflict, User, UsersOf, prune, remove

NOBODY = "sha256:" + "0" * 64


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    made = Shelf(tmp_path / "root")
    yield made
    made.close()


def chain(*names: str) -> str:
    return chain_ids([diff_id(name) for name in names])[-1]


def lines(removals: Sequence[Removal]) -> list[str]:
    """What docker prints."""
    return [f"{removal.kind.capitalize()}: {removal.text}" for removal in removals]


def rmi(shelf: Shelf, name: str, *, force: bool = False, prune: bool = True) -> list[str]:
    """Remove, after making sure that a dry run says the same and does nothing."""
    before = everything(shelf)
    planned = remove(shelf.store, name, force=force, prune=prune, dry_run=True)
    assert everything(shelf) == before
    done = remove(shelf.store, name, force=force, prune=prune)
    assert done == planned
    return lines(done)


def everything(shelf: Shelf) -> list[list[object]]:
    tables = ("image", "tag", "digest_ref", "layer", "blob")
    return [shelf.catalog.rows(f"SELECT * FROM {table} ORDER BY 1") for table in tables]


def build(shelf: Shelf, *tags: str) -> list[Image]:
    """What a Dockerfile of RUN, LABEL, RUN, CMD on base:1 makes: base first, four images on it."""
    base = shelf.image("base", tags=["base:1"])
    first = shelf.image("base", "a", parent=base)
    label = shelf.image("base", "a", parent=first, labels={"x": "y"})
    second = shelf.image("base", "a", "b", parent=label, labels={"x": "y"})
    top = shelf.image("base", "a", "b", parent=second, labels={"x": "y"}, author="cmd", tags=tags)
    return [base, first, label, second, top]


def everything_built(built: Sequence[Image]) -> list[str]:
    """The deletion of what `build` made, but for the base, which has a name."""
    _, first, label, second, top = built
    return [
        f"Deleted: {top.id}", f"Deleted: {second.id}", f"Deleted: {chain('base', 'a', 'b')}", f"Deleted: {label.id}",
        f"Deleted: {first.id}", f"Deleted: {chain('base', 'a')}",
    ]  # fmt: skip


# ---- rmi


def test_the_last_name_takes_the_image_its_layers_and_its_unnamed_parents_along(shelf: Shelf) -> None:
    built = build(shelf, "t:1")
    assert rmi(shelf, "t:1") == ["Untagged: t:1", *everything_built(built)]
    assert [image.id for image in shelf.images.list(all=True)] == [built[0].id]
    assert shelf.catalog.value("SELECT count(*) FROM layer") == 1
    assert shelf.collections == 1


def test_one_of_two_names_is_only_taken_away(shelf: Shelf) -> None:
    built = build(shelf, "t:1", "t:2")
    assert rmi(shelf, "t:1") == ["Untagged: t:1"]
    assert shelf.collections == 0
    assert rmi(shelf, "t:2") == ["Untagged: t:2", *everything_built(built)]


def test_a_name_without_a_tag_means_latest(shelf: Shelf) -> None:
    shelf.image("a", tags=["t", "t:2"])
    assert rmi(shelf, "t") == ["Untagged: t:latest"]
    with pytest.raises(NoSuchImage, match="No such image: t:latest"):
        rmi(shelf, "t")


def test_an_id_takes_the_only_name_and_its_digest_along(shelf: Shelf) -> None:
    image = shelf.image("a", tags=["r/a:1"], digests=[f"r/a@{NOBODY}"])
    assert rmi(shelf, image.id.short) == [
        "Untagged: r/a:1", f"Untagged: r/a@{NOBODY}", f"Deleted: {image.id}", f"Deleted: {chain('a')}",
    ]  # fmt: skip


@pytest.mark.parametrize("names", [["t:1", "u:1"], ["t:1", "t:2"]])
def test_an_id_with_two_names_must_be_forced(shelf: Shelf, names: list[str]) -> None:
    image = shelf.image("a", tags=names)
    with pytest.raises(RemovalConflict) as caught:
        rmi(shelf, image.id)
    assert caught.value.message == (
        f"conflict: unable to delete {image.id.short} (must be forced) - image is referenced in multiple repositories"
    )
    assert ", ".join(names) in caught.value.hint
    removed = [f"Untagged: {names[0]}", f"Untagged: {names[1]}", f"Deleted: {image.id}", f"Deleted: {chain('a')}"]
    assert rmi(shelf, image.id, force=True) == removed


def test_an_id_with_names_and_digests_in_two_repositories_is_forced_in_the_order_of_names(shelf: Shelf) -> None:
    image = shelf.image("a", tags=["r/a:1", "r/b:1", "r/b:2"], digests=[f"r/a@{NOBODY}"])
    with pytest.raises(RemovalConflict, match="multiple repositories"):
        rmi(shelf, image.id)
    assert rmi(shelf, image.id, force=True)[:4] == [
        "Untagged: r/a:1", f"Untagged: r/a@{NOBODY}", "Untagged: r/b:1", "Untagged: r/b:2",
    ]  # fmt: skip


def test_a_repositorys_last_tag_takes_its_digests_along_and_no_others(shelf: Shelf) -> None:
    shelf.image("a", tags=["r/a:1", "r/a:2", "r/b:1"], digests=[f"r/a@{NOBODY}", f"r/b@{NOBODY}"])
    assert rmi(shelf, "r/a:1") == ["Untagged: r/a:1"]
    assert rmi(shelf, "r/a:2") == ["Untagged: r/a:2", f"Untagged: r/a@{NOBODY}"]
    assert rmi(shelf, f"r/b@{NOBODY}") == [f"Untagged: r/b@{NOBODY}"]
    assert [name.familiar for name in shelf.images.find("r/b:1").references] == ["r/b:1"]


def test_an_image_known_by_digest_alone_goes_by_digest_or_by_id(shelf: Shelf) -> None:
    for by_digest in (True, False):
        image = shelf.image("a", digests=[f"r/a@{NOBODY}"])
        expected = [f"Untagged: r/a@{NOBODY}", f"Deleted: {image.id}", f"Deleted: {chain('a')}"]
        assert rmi(shelf, f"r/a@{NOBODY}" if by_digest else image.id.hex) == expected


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("tags", [[], ["p:1"], ["p:1", "q:1"]])
def test_an_image_with_children_cannot_be_deleted_by_id_and_its_children_are_named(
    shelf: Shelf, tags: list[str], force: bool
) -> None:
    built = build(shelf, "t:1", "u:1")
    parent = built[3]
    for tag in tags:
        shelf.images.tag(parent.id, ref(tag))
    before = everything(shelf)
    with pytest.raises(RemovalConflict) as caught:
        rmi(shelf, parent.id, force=force)
    assert caught.value.message == (
        f"conflict: unable to delete {parent.id.short} (cannot be forced) - image has dependent child images"
    )
    assert caught.value.hint == f"its children: {built[4].id.short}; images built on it: t:1, u:1"
    assert everything(shelf) == before


def test_a_name_of_an_image_with_children_is_taken_away_and_the_image_stays(shelf: Shelf) -> None:
    built = build(shelf, "t:1")
    assert rmi(shelf, "base:1") == ["Untagged: base:1"]
    expected = [*everything_built(built), f"Deleted: {built[0].id}", f"Deleted: {chain('base')}"]
    assert rmi(shelf, "t:1") == ["Untagged: t:1", *expected]


def test_without_pruning_the_parents_stay_and_the_nearest_dangles(shelf: Shelf) -> None:
    built = build(shelf, "t:1")
    assert rmi(shelf, "t:1", prune=False) == ["Untagged: t:1", f"Deleted: {built[4].id}"]
    assert [image.id for image in shelf.images.list(filters={"dangling": ["true"]})] == [built[3].id]
    assert rmi(shelf, built[3].id.short) == everything_built(built)[1:]


def test_a_dangling_image_goes_by_id(shelf: Shelf) -> None:
    built = build(shelf, "t:1")
    shelf.images.tag(built[0].id, ref("t:1"))
    assert rmi(shelf, built[4].id.short) == everything_built(built)
    assert [name.familiar for name in shelf.images.find("t:1").tags] == ["base:1", "t:1"]


def test_layers_that_another_image_has_too_stay(shelf: Shelf) -> None:
    one = shelf.image("base", "a", tags=["one"])
    shelf.image("base", "b", tags=["two"])
    twin = shelf.image("base", "a", labels={}, tags=["twin"])
    assert rmi(shelf, "one") == ["Untagged: one:latest", f"Deleted: {one.id}"]
    expected = ["Untagged: twin:latest", f"Deleted: {twin.id}", f"Deleted: {chain('base', 'a')}"]
    assert rmi(shelf, "twin") == expected


def test_layers_that_running_work_holds_stay(shelf: Shelf) -> None:
    image = shelf.image("base", "a", tags=["one"])
    with shelf.lease() as lease:
        with shelf.catalog.transaction() as connection:
            lease.hold_layer(connection, chain_ids([diff_id("base")])[0])
        removed = ["Untagged: one:latest", f"Deleted: {image.id}", f"Deleted: {chain('base', 'a')}"]
        assert rmi(shelf, "one") == removed
    assert shelf.catalog.value("SELECT chain_id FROM layer") == chain("base")


def test_what_means_no_image_or_several_removes_nothing(shelf: Shelf) -> None:
    made = [shelf.image("a", labels={"n": str(n)}) for n in range(17)]
    firsts = [image.id.hex[0] for image in made]
    with pytest.raises(AmbiguousID):
        rmi(shelf, next(first for first in firsts if firsts.count(first) > 1))
    for name in ("nope", "nope:1", "sha256:abcd", NOBODY, f"nope@{NOBODY}"):
        with pytest.raises(NoSuchImage):
            rmi(shelf, name)
    with pytest.raises(InvalidRequest):
        rmi(shelf, "No/Such")
    assert len(shelf.images.list()) == 17


def test_the_other_platforms_of_a_name_go_with_its_index(shelf: Shelf) -> None:
    mine = shelf.image("a")
    arm = shelf.image("b", architecture="arm64")
    shared = shelf.image("c", architecture="s390x", tags=["own:1"])
    index = shelf.index(mine, arm, shared)
    shelf.images.tag(mine.id, ref("x:1"), index=index.digest)
    shelf.images.tag(mine.id, ref("x:2"), index=index.digest)
    shelf.images.add_digest(mine.id, ref(f"x@{index.digest}"))
    shelf.images.add_digest(arm.id, ref(f"x@{arm.manifest}"))
    assert prune(shelf.store) == Pruned((), 0)
    assert rmi(shelf, "x:2") == ["Untagged: x:2"]
    assert rmi(shelf, "x:1") == [
        "Untagged: x:1", f"Untagged: x@{index.digest}", f"Deleted: {mine.id}", f"Deleted: {chain('a')}",
        f"Untagged: x@{arm.manifest}", f"Deleted: {arm.id}", f"Deleted: {chain('b')}",
    ]  # fmt: skip


# ---- containers, when there are some


def test_containers_keep_their_images_in_dockers_words(shelf: Shelf) -> None:
    image = shelf.image("a", tags=["t:1"])
    stopped, running = User("d5bfa6428e64" + "0" * 52, running=False), User("e" * 64, running=True)

    def used_by(*users: User) -> UsersOf:
        def users_of(image_id: ImageID) -> Sequence[User]:
            return users if image_id == image.id else ()

        return users_of

    def refused(name: str, *users: User, force: bool = False) -> str:
        with pytest.raises(RemovalConflict) as caught:
            remove(shelf.store, name, force=force, users_of=used_by(*users))
        return caught.value.message

    assert refused("t:1", stopped) == (
        'conflict: unable to remove repository reference "t:1" (must force) - container d5bfa6428e64 is using its '
        f"referenced image {image.id.short}"
    )
    assert refused(image.id, stopped) == (
        f"conflict: unable to delete {image.id.short} (must be forced) - image is being used by stopped container "
        "d5bfa6428e64"
    )
    assert refused(image.id, running, force=True) == (
        f"conflict: unable to delete {image.id.short} (cannot be forced) - image is being used by running container "
        "eeeeeeeeeeee"
    )
    dry = remove(shelf.store, "t:1", force=True, users_of=used_by(running), dry_run=True)
    assert lines(dry) == ["Untagged: t:1"]
    # The layers stay: the stopped container stands on them.
    done = remove(shelf.store, "t:1", force=True, users_of=used_by(stopped))
    assert lines(done) == ["Untagged: t:1", f"Deleted: {image.id}"]
    assert shelf.catalog.value("SELECT count(*) FROM layer") == 1


# ---- prune


def test_prune_takes_dangling_images_and_says_what_their_layers_took(shelf: Shelf) -> None:
    built = build(shelf, "t:1")
    shelf.images.untag(ref("t:1"))
    digested = shelf.image("q", digests=[f"q@{NOBODY}"], sizes={"q": 1000})
    planned = prune(shelf.store, dry_run=True)
    done = prune(shelf.store)
    assert done == planned
    assert lines(done.removals) == [
        f"Untagged: q@{NOBODY}", f"Deleted: {digested.id}", f"Deleted: {chain('q')}", *everything_built(built),
    ]  # fmt: skip
    assert done.bytes == 1002
    assert [image.id for image in shelf.images.list(all=True)] == [built[0].id]
    assert prune(shelf.store) == Pruned((), 0)


def test_prune_all_takes_named_images_too_newest_first(shelf: Shelf) -> None:
    built = build(shelf, "x:1", "y:1")
    done = prune(shelf.store, all=True)
    assert lines(done.removals) == [
        "Untagged: x:1", "Untagged: y:1", *everything_built(built),
        "Untagged: base:1", f"Deleted: {built[0].id}", f"Deleted: {chain('base')}",
    ]  # fmt: skip
    assert shelf.images.list(all=True) == []
    assert shelf.catalog.value("SELECT count(*) FROM layer") == 0


def test_prune_spares_images_of_containers_and_of_running_work(shelf: Shelf) -> None:
    used = shelf.image("a", tags=["used"])
    config = shelf.config(["b"])

    def users_of(image_id: ImageID) -> Sequence[User]:
        return [User("c" * 64, running=False)] if image_id == used.id else []

    with shelf.lease() as lease:
        shelf.layers(lease, ["b"])
        pulled = shelf.images.add(lease, config)
        assert prune(shelf.store, all=True, users_of=users_of) == Pruned((), 0)
    assert lines(prune(shelf.store, all=True, users_of=users_of).removals)[0] == f"Deleted: {pulled.id}"


def test_prune_filters_by_label_and_age(shelf: Shelf) -> None:
    old = shelf.image("a", created=1000, labels={"keep": "no"})
    kept = shelf.image("b", created=2000, labels={"keep": "yes"})
    new = shelf.image("c", created=9000)

    def would_go(**filters: str) -> set[str]:
        chosen = {name.replace("_not", "!"): [value] for name, value in filters.items()}
        plan = prune(shelf.store, filters=chosen, dry_run=True, now=10_000)
        return {removal.text for removal in plan.removals} & {old.id, kept.id, new.id}

    assert would_go() == {old.id, kept.id, new.id}
    assert would_go(label="keep") == {old.id, kept.id}
    assert would_go(label="keep=no") == {old.id}
    assert would_go(label_not="keep=yes") == {old.id, new.id}
    assert would_go(until="1h") == {old.id, kept.id}
    assert would_go(until="1970-01-01T00:20:00Z") == {old.id}
    assert would_go(until="1500") == {old.id}
    assert would_go(dangling="true") == {old.id, kept.id, new.id}
