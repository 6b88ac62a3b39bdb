"""COPY and ADD as steps: what history says, where files go, what is refused, what the cache makes of it."""

from __future__ import annotations

import contextlib
import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.builds import Done, base, build
from tests.support.gits import MOMENT, Repository, smart_http
from tests.support.web import Answer, serving
from veneer.build.failure import StepFailed
from veneer.changeset.entry import Entry, Kind
from veneer.config import Config
from veneer.engine.engine import Engine
from veneer.errors import VeneerError
from veneer.store import indexes
from veneer.store.image import Image
from veneer.store.layers import LayerStore
from veneer.store.packing import IndexLost
from veneer.testing import images

D = "dir:9601d1dc68efb7b78862ebc7fc99e21f485a6d7260a924223ada67c980ddbf3b"
F = "file:94a90b73808907d1482d2787087ee50a4d8cd957f578810f701b9acb61ba9a55"
MULTI = "multi:4f6972464f3c5a0504b1c3ca64718297356fed9d9841b02ed5a2e462c14887d1"
NOP = "/bin/sh -c #(nop) "
SEVERAL = (
    "When using COPY with more than one source file, the destination must be a directory and end with a /"
)  # fmt: skip


@pytest.fixture
def context(tmp_path: Path) -> Path:
    root = tmp_path / "context"
    for name, text in {
        "f": "1\n", "g": "1\n", "hello.txt": "hello\n", "d/a": "a\n", "d/sub/b": "b\n", "dir/sub/x": "x\n",
        "dir/y": "y\n",
    }.items():  # fmt: skip
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def layer(done: Done, number: int = -1) -> dict[bytes, Entry]:
    """What a layer of the image holds, by path."""
    with done.engine.store.layers.index(done.image.config.diff_ids[number]) as index:
        return {entry.path: entry for entry in index}


def content(done: Done, path: str) -> bytes:
    """A file of the image's last layer, read from its tar."""
    found = done.engine.store.layers.by_diff_id(done.image.config.diff_ids[-1])[0]
    out = io.BytesIO()
    done.engine.store.layers.tar(found).write_to(out)
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as tar:
        member = tar.extractfile(path)
        assert member is not None
        return member.read()


def snapshot(done: Done) -> str:
    """Where the files of the image's last layer are."""
    top = done.image.top
    assert top is not None
    return done.engine.store.layers.get(top).snapshot


@contextlib.contextmanager
def never_copying() -> Iterator[None]:
    """No draft may be begun."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LayerStore, "draft", property(lambda _: pytest.fail("a layer is written")))
        yield


def refused(engine: Engine, text: str, context: Path, **fields: Any) -> VeneerError:
    with pytest.raises(StepFailed) as caught:
        build(engine, text, context, **fields)
    return caught.value.cause


def test_history_has_dockers_checksums_and_the_destination_as_written(engine: Engine, context: Path) -> None:
    done = build(engine, "FROM scratch\nWORKDIR /w\nCOPY f /opt/\nADD d .\nCOPY hello.txt dir/ ./to/\n", context)
    assert done.rows[1:] == [f"{NOP}COPY {F} in /opt/ ", f"{NOP}ADD {D} in . ", f"{NOP}COPY {MULTI} in ./to/ "]


def test_flags_stand_before_the_checksum(engine: Engine, context: Path) -> None:
    text = "FROM scratch AS one\nCOPY f /f\nFROM scratch\nCOPY --from=one --chown=5:6 --chmod=600 f /f\n"
    assert build(engine, text, context).rows == [f"{NOP}COPY --chown=5:6 --chmod=600 {F} in /f "]


@pytest.mark.parametrize(
    ("instruction", "paths"),
    [
        ("COPY f /opt/", ["opt", "opt/f"]),
        ("COPY f /opt", ["opt"]),
        ("COPY f /etc", ["etc", "etc/f"]),
        ("COPY f .", ["w", "w/f"]),
        ("COPY f ../x/../y", ["y"]),
        ("COPY d /etc", ["etc", "etc/a", "etc/sub", "etc/sub/b"]),
        ("COPY d /x", ["x", "x/a", "x/sub", "x/sub/b"]),
        ("COPY f g /x/", ["x", "x/f", "x/g"]),
        ("COPY --parents d/sub/b /x/", ["x", "x/d", "x/d/sub", "x/d/sub/b"]),
        ("COPY --parents d/./sub/b /x/", ["x", "x/sub", "x/sub/b"]),
        ("COPY --exclude=sub d /x", ["x", "x/a"]),
        ("COPY ../../f /x", ["x"]),
    ],
)
def test_files_go_where_docker_puts_them(engine: Engine, context: Path, instruction: str, paths: list[str]) -> None:
    base(engine)
    done = build(engine, f"FROM base:1\nWORKDIR /w\n{instruction}\n", context)
    assert sorted(layer(done)) == [os.fsencode(path) for path in paths]


def test_links_of_the_image_are_followed_inside_it(engine: Engine, context: Path) -> None:
    (context / "links").mkdir()
    (context / "links" / "out").symlink_to("/../../etc/deep")
    (context / "links" / "file").symlink_to("../real")
    text = "FROM scratch\nCOPY links /links/\nCOPY f /links/out/\nCOPY f /links/file\n"
    done = build(engine, text, context)
    assert sorted(layer(done, 1)) == [b"etc", b"etc/deep", b"etc/deep/f"]
    assert sorted(layer(done, 2)) == [b"real"]


def test_a_directory_made_below_set_group_id_is_roots(engine: Engine, context: Path) -> None:
    shared = context / "shared" / "group"
    shared.mkdir(parents=True)
    os.chown(shared, 33, 33)
    shared.chmod(0o2775)
    text = "FROM scratch\nCOPY --chown=33:33 shared /srv\nWORKDIR /srv/group/new\nCOPY f /srv/group/made/\n"
    done = build(engine, text, context)
    group = layer(done, 0)[b"srv/group"]
    assert (group.mode, group.gid) == (0o2775, 33)
    for number, path in ((1, b"srv/group/new"), (2, b"srv/group/made")):
        made = layer(done, number)[path]
        assert (made.mode, made.uid, made.gid) == (0o755, 0, 0)


def test_what_is_linked_does_not_follow_and_serves_other_images(engine: Engine, context: Path) -> None:
    base(engine)
    base(engine, "other:1", b"other\n")
    one = build(engine, "FROM base:1\nCOPY --link f /etc/f\n", context)
    other = build(engine, "FROM other:1\nCOPY --link f /etc/f\n", context)
    assert one.image.config.diff_ids[-1] == other.image.config.diff_ids[-1]
    assert snapshot(one) == snapshot(other)
    assert [(path, entry.implied) for path, entry in layer(one).items()] == [(b"etc", True), (b"etc/f", False)]


def test_what_was_linked_on_another_base_is_found_before_anything_is_copied(engine: Engine, context: Path) -> None:
    """Where the layer would be another, for a directory that is there or not, it is made."""
    base(engine)
    base(engine, "other:1", b"other\n", Env=["A=other"])
    engine.images.load(io.BytesIO(images.docker_archive((images.image({"new": images.directory(0o700)}), ["new:1"]))))
    steps = "COPY --link --chown=1:2 d f /new/\n"
    one = build(engine, f"FROM base:1\n{steps}", context)
    with never_copying():
        other = build(engine, f"FROM other:1\nWORKDIR /\n{steps}", context)
        assert build(engine, f"FROM other:1\nENV B=1\n{steps}", context).cached == [False, False]
    assert (other.cached, snapshot(other)) == ([False, False], snapshot(one))
    assert list(layer(other)) == [b"new", b"new/a", b"new/f", b"new/sub", b"new/sub/b"]
    made = build(engine, f"FROM new:1\n{steps}", context)
    assert layer(made)[b"new"].implied and snapshot(made) != snapshot(one)
    (context / "f").write_text("2\n")
    assert snapshot(build(engine, f"FROM other:1\n{steps}", context)) != snapshot(one)
    engine.images.remove(str(one.id), force=True)
    assert engine.store.check(deep=True) == []


def test_owner_and_mode_are_root_and_the_files_or_as_told(engine: Engine, context: Path) -> None:
    os.chown(context / "f", 1000, 1000)
    (context / "f").chmod(0o640)
    plain = layer(build(engine, "FROM scratch\nCOPY f /x/f\n", context))
    told = layer(build(engine, "FROM scratch\nCOPY --chown=7:8 --chmod=u+s f /x/f\n", context))
    assert [(entry.mode, entry.uid, entry.gid) for entry in plain.values()] == [(0o755, 0, 0), (0o640, 0, 0)]
    assert [(entry.mode, entry.uid, entry.gid) for entry in told.values()] == [(0o755, 7, 8), (0o4640, 7, 8)]


def test_a_name_in_chown_is_looked_up_in_the_image(engine: Engine, context: Path) -> None:
    (context / "etc").mkdir()
    (context / "etc" / "passwd").write_text("root:x:0:0::/:\napp:x:1000:5::/:\n")
    (context / "etc" / "group").write_text("staff:x:50:\napp:x:1001:\n")
    text = "FROM scratch\nCOPY etc /etc/\nCOPY --chown={} f /f\n"
    for owner, expected in (("app", (1000, 1001)), ("app:staff", (1000, 50)), ("12:staff", (12, 50)), ("7", (7, 7))):
        entry = layer(build(engine, text.format(owner), context))[b"f"]
        assert (entry.uid, entry.gid) == expected
    error = refused(engine, text.format("aap:staff"), context)
    wrong = "unable to convert uid/gid chown string to host mapping"
    assert error.message == f"{wrong}: can't find uid for user aap: no such user: aap"
    assert error.hint == "did you mean app?"
    assert refused(engine, text.format("a:b:c"), context).message == "invalid chown string format: a:b:c"


@pytest.mark.parametrize(
    ("instruction", "message", "hint"),
    [
        ("COPY helo.txt /", "COPY failed: helo.txt: no such file or directory in the build context", "hello.txt"),
        ("ADD *.nothing /", "ADD failed: no source files were specified: nothing matches *.nothing", ""),
        ("COPY f g /x", SEVERAL, "write /x/"),
        ("COPY f /etc/release/x", "cannot copy into /etc/release: not a directory", ""),
        ("COPY d /etc/release", "cannot copy into /etc/release: not a directory", ""),
        ("ADD --checksum=sha256:00 f /x", "checksum can't be specified for non-HTTP(S) sources", ""),
    ],
)  # fmt: skip
def test_what_cannot_be_copied_is_said_with_the_way_out(
    engine: Engine, context: Path, instruction: str, message: str, hint: str
) -> None:
    base(engine)
    error = refused(engine, f"FROM base:1\n{instruction}\n", context)
    assert error.message == message
    assert hint in error.hint


def test_here_documents_are_files(engine: Engine) -> None:
    done = build(engine, 'FROM scratch\nENV N=v\nCOPY <<a.txt <<"b.txt" /x/\n$N\na.txt\n$N\nb.txt\n')
    assert (content(done, "x/a.txt"), content(done, "x/b.txt")) == (b"v\n", b"$N\n")
    assert layer(done)[b"x/a.txt"].mode == 0o644


def archive(path: Path, mode: str, *members: tuple[tarfile.TarInfo, bytes]) -> None:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for info, data in members:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def member(name: str, **fields: Any) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for key, value in fields.items():
        setattr(info, key, value)
    return info


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_archives_are_unpacked_by_add_alone(engine: Engine, context: Path, mode: str) -> None:
    archive(context / "t", mode, (member("p/q", mode=0o640, uid=3, gid=4, mtime=5), b"q"))
    added = layer(build(engine, "FROM scratch\nADD --chown=9:9 t /x\n", context))
    entry = added[b"x/p/q"]
    assert (entry.mode, entry.uid, entry.gid, entry.mtime_ns) == (0o640, 3, 4, 5 * 10**9)
    for instruction in ("COPY t /x", "ADD --unpack=false t /x"):
        assert sorted(layer(build(engine, f"FROM scratch\n{instruction}\n", context))) == [b"x"]


def test_an_archive_goes_through_the_links_of_the_image_but_not_out_of_its_destination(
    engine: Engine, context: Path
) -> None:
    (context / "links").mkdir()
    (context / "links" / "inside").symlink_to("/real")
    (context / "links" / "replaced").symlink_to("/elsewhere")
    archive(
        context / "t", "w", (member("inside/f"), b"f"), (member("replaced", type=tarfile.DIRTYPE, mode=0o700), b""),
        (member("replaced/g"), b"g"),
    )  # fmt: skip
    done = build(engine, "FROM scratch\nCOPY links /x/\nADD t /x/\n", context)
    assert sorted(layer(done)) == [b"x", b"x/real", b"x/real/f", b"x/replaced", b"x/replaced/g"]


def test_a_hostile_archive_is_refused(engine: Engine, context: Path) -> None:
    archive(context / "t", "w", (member("../../out"), b"x"))
    assert "could leave the root" in refused(engine, "FROM scratch\nADD t /x/\n", context).message


def test_a_context_is_not_left_by_its_links(engine: Engine, context: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret\n")
    (context / "up").symlink_to("../secret")
    (context / "absolute").symlink_to(tmp_path / "secret")
    for name in ("up", "absolute"):
        assert "no such file or directory" in refused(engine, f"FROM scratch\nCOPY {name} /x\n", context).message


def test_an_unchanged_copy_is_cached_and_a_changed_one_says_which_file(engine: Engine, context: Path) -> None:
    text = "FROM scratch\nCOPY d /d\nCOPY f /f\n"
    first = build(engine, text, context)
    os.utime(context / "d" / "a", ns=(1, 1))
    assert build(engine, text, context).cached == [True, True]
    (context / "d" / "sub" / "b").write_text("c\n")
    second = build(engine, text, context)
    assert second.cached == [False, False]
    assert second.why.kind == "file"
    assert second.why.summary.startswith("d/sub/b: other content (2 bytes, sha256 ")
    assert second.why.former == first.engine.images.get(str(first.id)).parent
    (context / ".dockerignore").write_text("d/a\n")
    (context / "d" / "sub" / "b").write_text("b\n")
    assert build(engine, text, context).why.summary == "a is gone: .dockerignore excludes it now (d/a)"


def test_a_dry_run_copies_nothing(engine: Engine, context: Path) -> None:
    text = "FROM scratch\nCOPY d /d\n"
    assert build_dry(engine, text, context) == [False]
    build(engine, text, context)
    assert build_dry(engine, text, context) == [True]


def build_dry(engine: Engine, text: str, context: Path) -> list[bool]:
    before = len(engine.images.list())
    events: list[Any] = []
    engine.build(context, dockerfile=text.encode(), on_event=events.append, dry_run=True).result()
    assert len(engine.images.list()) == before
    from veneer.build.events import StepDone

    return [each.cached for each in events if isinstance(each, StepDone)][1:]


def test_files_of_a_stage_keep_their_owners_times_and_links(engine: Engine, context: Path) -> None:
    os.utime(context / "d" / "a", ns=(7, 1_234_567_890_123_456_789))
    (context / "d" / "again").hardlink_to(context / "d" / "a")
    text = "FROM scratch AS one\nCOPY --chown=5:6 d /d\nFROM scratch\nCOPY --from=one /d /e\n"
    found = layer(build(engine, text, context))
    assert (found[b"e/a"].uid, found[b"e/a"].gid, found[b"e/a"].mtime_ns) == (5, 6, 1_234_567_890_123_456_789)
    assert (found[b"e/again"].kind, found[b"e/again"].link) == (Kind.HARDLINK, b"e/a")


def test_capabilities_come_along_and_other_attributes_of_a_context_do_not(engine: Engine, context: Path) -> None:
    from veneer.testing.trees import CAPABILITY

    os.setxattr(context / "f", "security.capability", CAPABILITY)
    os.setxattr(context / "f", "user.note", b"x")
    found = layer(build(engine, "FROM scratch\nCOPY f /f\n", context))
    assert found[b"f"].xattrs == ((b"security.capability", CAPABILITY),)


def test_an_epoch_makes_two_builds_one_image_and_a_rewrite_makes_no_time_later(engine: Engine, context: Path) -> None:
    text = "FROM scratch\nCOPY d /new/d\n"
    first = build(engine, text, context, source_date_epoch=1000, no_cache=True)
    assert build(engine, text, context, source_date_epoch=1000, no_cache=True).id == first.id
    rewritten = build(engine, text, context, source_date_epoch=1000, rewrite_timestamp=True, no_cache=True)
    assert {entry.mtime_ns for entry in layer(rewritten).values()} == {1000 * 10**9}


def test_names_of_deletions_are_refused(engine: Engine, context: Path) -> None:
    (context / "d" / ".wh.a").write_text("")
    assert "begins with .wh." in refused(engine, "FROM scratch\nCOPY d /d\n", context).message


def test_a_copy_of_nothing_is_an_empty_layer(engine: Engine, context: Path) -> None:
    base(engine)
    (context / "empty").mkdir()
    done = build(engine, "FROM base:1\nCOPY empty /etc/\n", context)
    assert [row.empty_layer for row in done.image.config.history][-1]


def test_a_large_copy_by_several_processes_is_the_same_image(
    engine: Engine, context: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from veneer.build.copying import crew

    for number in range(300):
        (context / "d" / f"n{number}").write_text(str(number))
    text = "FROM scratch\nCOPY d /d\nCOPY --chown=3:4 dir d/sub /e/\n"
    alone = build(engine, text, context, source_date_epoch=1000, no_cache=True)
    monkeypatch.setattr(crew, "LEAST_ITEMS", 1)
    together = build(engine, text, context, source_date_epoch=1000, no_cache=True)
    assert together.id == alone.id


def test_a_repository_is_added_with_the_time_of_its_commit(engine: Engine, tmp_path: Path) -> None:
    served = tmp_path / "served"
    served.mkdir()
    repository = Repository(served / "b.git")
    commit = repository.commit(a="a", sub__b="b")
    with serving() as web:
        address = f"{smart_http(web, served)}/b.git"
        plain = layer(build(engine, f"FROM scratch\nADD --checksum={commit} {address} /x\n"))
        subdirectory = layer(build(engine, f"FROM scratch\nADD {address}#main:sub /x\n"))
        kept = layer(build(engine, f"FROM scratch\nADD --keep-git-dir=true {address} /x\n"))
    assert sorted(plain) == [b"x", b"x/a", b"x/sub", b"x/sub/b"]
    assert plain[b"x/a"].mtime_ns == MOMENT * 10**9
    assert sorted(subdirectory) == [b"x", b"x/b"]
    assert b"x/.git/HEAD" in kept


def test_a_file_behind_http_is_added_with_mode_0600_and_unpacked_only_if_asked(engine: Engine, tmp_path: Path) -> None:
    archive(tmp_path / "t", "w:gz", (member("p"), b"p"))
    with serving() as web:
        web.pages["/t.tgz"] = lambda asked: Answer((tmp_path / "t").read_bytes())
        plain = layer(build(engine, f"FROM scratch\nADD {web.url}/t.tgz /x/\n"))
        opened = layer(build(engine, f"FROM scratch\nADD --unpack=true {web.url}/t.tgz /x/\n"))
        again = build(engine, f"FROM scratch\nADD {web.url}/t.tgz /x/\n")
    assert (sorted(plain), plain[b"x/t.tgz"].mode) == ([b"x", b"x/t.tgz"], 0o600)
    assert sorted(opened) == [b"x", b"x/p"]
    assert again.cached == [True]


# ---- an index that is lost


def lost_index(done: Done) -> bytes:
    """Lose the index of the image's last layer; what it was."""
    path = indexes.path(done.engine.store, done.image.config.diff_ids[-1])
    before = path.read_bytes()
    path.unlink()
    return before


def released(image: Image, engine: Engine, context: Path) -> None:
    """Put into the context what is in every way the file that the image has."""
    with engine.store.layers.index(image.config.diff_ids[0]) as index:
        (found,) = (entry for entry in index if entry.path == b"etc/release")
    (context / "etc").mkdir()
    (context / "etc" / "release").write_text("base\n")
    os.utime(context / "etc" / "release", ns=(found.mtime_ns, found.mtime_ns))


@pytest.mark.parametrize(
    "instruction",
    [
        "COPY --chmod=644 etc/release f /etc/",
        "COPY --link f /etc/f",
        "COPY --link d /etc/new/d/",
        "COPY --link d /",
        "ADD d /new/",
    ],
)
def test_the_lost_index_of_a_copy_is_made_again(engine: Engine, context: Path, instruction: str) -> None:
    released(base(engine), engine, context)
    done = build(engine, f"FROM base:1\n{instruction}\n", context)
    before = lost_index(done)
    assert layer(done)
    assert indexes.path(engine.store, done.image.config.diff_ids[-1]).read_bytes() == before
    assert engine.store.check(deep=True) == []


def test_where_whole_trees_do_not_tell_what_was_copied_a_lost_index_is_reported_and_a_build_makes_it_again(
    config: Config, context: Path
) -> None:
    with Engine(config.replaced(storage_driver="vfs")) as engine:
        released(base(engine), engine, context)
        text = "FROM base:1\nCOPY --chmod=644 etc/release f /etc/\n"
        done = build(engine, text, context, source_date_epoch=1)
        before = lost_index(done)
        with pytest.raises(IndexLost, match="is lost"):
            layer(done)
        assert [(finding.code, finding.damage) for finding in engine.store.check(deep=True)] == [
            ("index-missing", False),
            ("snapshot-differs", True),
        ]
        assert build(engine, text, context, source_date_epoch=1, no_cache=True).id == done.id
        assert indexes.path(engine.store, done.image.config.diff_ids[-1]).read_bytes() == before
        assert engine.store.check(deep=True) == []
