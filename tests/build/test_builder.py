"""A build as a whole: names, indexes, annotations, dates, squashing, verifying, and how it ends badly."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.builds import Done, base, build, with_programs
from tests.support.programs import needs, run
from veneer.build.annotations import BadAnnotation
from veneer.build.builder import NothingBuilt
from veneer.build.events import Event, Repeated, StepFailed, StepStarted, Verified
from veneer.build.failure import CommandFailed
from veneer.build.failure import StepFailed as Failed
from veneer.build.outputs import BadOutput
from veneer.build.request import CacheSpec, OutputSpec
from veneer.build.running.container import BadLimit
from veneer.build.validation import BadRequest
from veneer.build.verify import NotReproducible
from veneer.config import Config
from veneer.engine.engine import Engine
from veneer.oci import manifest as oci
from veneer.oci.manifest import Index, Manifest
from veneer.oci.reference import Reference
from veneer.store import manifests
from veneer.store.catalog import StoreFull, StoreReadOnly

TWO = "FROM scratch\nLABEL a=1\nWORKDIR /one\nWORKDIR /two\n"


def target(engine: Engine, name: str) -> Manifest | Index:
    """What a name stands for."""
    digest = engine.store.images.target(Reference.parse(name)) or engine.images.get(name).manifest
    return manifests.read(engine.store.catalog, engine.store.blobs, digest)


# ---- names


def test_every_tag_names_the_image_and_one_that_named_another_moves(engine: Engine) -> None:
    before = build(engine, "FROM scratch\nLABEL a=0\n", tags="a/b:1")
    done = build(engine, TWO, tags=["a/b:1", "other"])
    assert done.built.tags == ("a/b:1", "other:latest")
    assert {tag.familiar for tag in done.image.tags} == {"a/b:1", "other:latest"}
    assert engine.images.get(str(before.id)).tags == ()


def test_what_outputs_call_the_image_is_its_name_too(engine: Engine, tmp_path: Path) -> None:
    outputs = (OutputSpec("image", "", (("name", "called:1"),)),
               OutputSpec("docker", str(tmp_path / "x.tar"), (("name", "filed:1"),)))  # fmt: skip
    done = build(engine, TWO, tags="x:1", outputs=outputs)
    assert {tag.familiar for tag in done.image.tags} == {"x:1", "called:1", "filed:1"}
    with Engine(engine.config.replaced(root=tmp_path / "other")) as other:
        assert [loaded.image_id for loaded in other.images.load(tmp_path / "x.tar")] == [done.id]
        assert other.images.get("filed:1").tags != ()


def test_several_outputs_are_written_one_of_them_to_a_stream(engine: Engine, tmp_path: Path) -> None:
    out = io.BytesIO()
    from veneer.engine.builds import requested

    outputs = (OutputSpec("local", str(tmp_path / "tree")), OutputSpec("tar", "-"))
    engine.builds.run(requested(dockerfile=TWO.encode(), outputs=outputs), stdout=out)
    assert sorted(path.name for path in (tmp_path / "tree").iterdir()) == ["one", "two"]
    assert b"one/" in out.getvalue()


def test_the_metadata_has_buildxs_keys(engine: Engine) -> None:
    done = build(engine, TWO, tags=["x:1", "x:2"])
    found = json.loads(json.dumps(done.built.metadata()))
    assert found["containerimage.config.digest"] == str(done.id)
    assert found["containerimage.digest"] == found["containerimage.descriptor"]["digest"] == str(done.image.manifest)
    assert found["image.name"] == "x:1,x:2"


# ---- manifests and indexes


def test_annotations_stand_on_what_the_tag_names_and_on_nothing_else(engine: Engine) -> None:
    plain = build(engine, TWO, tags="plain:1")
    done = build(engine, TWO, tags="noted:1", annotations={"org.example.a": "b:c=d"})
    assert done.id == plain.id
    assert target(engine, "noted:1").annotations == {"org.example.a": "b:c=d"}
    assert target(engine, "plain:1").annotations == {}
    assert done.built.descriptor is not None and done.built.descriptor.digest == target(engine, "noted:1").digest


def test_annotations_without_a_name_stand_on_the_images_own_manifest(engine: Engine) -> None:
    done = build(engine, TWO, annotations={"a": "b"})
    own = manifests.read(engine.store.catalog, engine.store.blobs, done.image.manifest)
    assert own.annotations == {"a": "b"}


@pytest.mark.parametrize(
    ("compression", "media_type"),
    [("gzip", oci.OCI_LAYER_GZIP), ("zstd", oci.OCI_LAYER_ZSTD), ("uncompressed", oci.OCI_LAYER)],
)
def test_layers_are_written_as_compressed_as_asked(
    engine: Engine, tmp_path: Path, compression: str, media_type: str
) -> None:
    output = OutputSpec("oci", str(tmp_path / "x.tar"), (("compression", compression),))
    build(engine, TWO, tags="x:1", outputs=(output,))
    made = target(engine, "x:1")
    assert isinstance(made, Manifest)
    assert {layer.media_type for layer in made.layers} == {media_type}
    with Engine(engine.config.replaced(root=tmp_path / "other")) as other:
        other.images.load(tmp_path / "x.tar")
        assert other.images.get("x:1").config == engine.images.get("x:1").config
    assert engine.system.check(deep=True) == []


def test_several_platforms_are_an_index_under_the_tag(engine: Engine, tmp_path: Path) -> None:
    text = "FROM scratch\nARG TARGETARCH\nLABEL arch=$TARGETARCH\nWORKDIR /$TARGETARCH\n"
    done = build(engine, text, tags="many:1", platforms=["linux/amd64", "linux/arm64"],
                 annotations={"index:i": "1", "manifest[linux/arm64]:m": "2", "manifest-descriptor:d": "3"},
                 outputs=(OutputSpec("local", str(tmp_path / "out")),))  # fmt: skip
    index = target(engine, "many:1")
    assert isinstance(index, Index) and done.built.is_index
    assert index.annotations == {"i": "1"}
    assert [(str(child.platform), dict(child.annotations)) for child in index.manifests] == [
        ("linux/amd64", {"d": "3"}), ("linux/arm64", {"d": "3"}),
    ]  # fmt: skip
    notes = [manifests.read(engine.store.catalog, engine.store.blobs, child.digest) for child in index.manifests]
    assert [note.annotations for note in notes] == [{}, {"m": "2"}]
    assert [engine.images.get(str(image)).labels["arch"] for image in done.built.images.values()] == ["amd64", "arm64"]
    assert done.image.labels["arch"] == "amd64"
    assert (tmp_path / "out" / "linux_arm64" / "arm64").is_dir()
    # The image of the other platform belongs to the name: nothing prunes it.
    assert engine.images.prune().removals == ()
    assert engine.system.check(deep=True) == []


def test_an_index_is_pushed_whole(engine: Engine, registry: Any, tmp_path: Path) -> None:
    name = f"{registry.host}/builder/many:1"
    done = build(engine, TWO, tags=name, platforms=["linux/amd64", "linux/arm64"], outputs=(OutputSpec("registry"),))
    with Engine(engine.config.replaced(root=tmp_path / "other")) as other:
        pulled = other.images.pull(name, all_platforms=True)
        assert done.built.descriptor is not None and pulled.digest == done.built.descriptor.digest
        for image in done.built.images.values():
            assert other.images.get(str(image)).id == image


def test_a_build_for_several_platforms_stands_on_an_index_that_is_here(engine: Engine) -> None:
    both = ["linux/amd64", "linux/arm64"]
    below = build(engine, "FROM scratch\nARG TARGETARCH\nLABEL arch=$TARGETARCH\n", tags="many:1", platforms=both)
    done = build(engine, "FROM many:1\nLABEL more=1\n", platforms=both)
    for platform, image in done.built.images.items():
        assert engine.images.get(str(image)).parent == below.built.images[platform]
    only = build(engine, "FROM --platform=linux/arm64 many:1\nLABEL more=1\n")
    assert only.image.labels["arch"] == "arm64"


# ---- dates


@pytest.fixture
def elsewhere(config: Config, tmp_path: Path) -> Engine:
    """An engine on a store of its own."""
    return Engine(config.replaced(root=tmp_path / "elsewhere"))


DATED = """FROM busybox:1
ARG A=1
WORKDIR /made/here
COPY . /copied/to/
RUN echo hi > /made/file && mkdir /made/dir && rm -r /tmp && ln -s x /made/link
LABEL a=b
"""


def test_two_stores_come_to_one_image_id_when_the_date_is_given(
    engine: Engine, elsewhere: Engine, busybox: Path, tmp_path: Path
) -> None:
    (tmp_path / "ctx").mkdir()
    (tmp_path / "ctx" / "file").write_text("text")
    options: dict[str, Any] = {"source_date_epoch": 1_600_000_000, "rewrite_timestamp": True}
    with elsewhere:
        # The base comes with its own date, the same one in both.
        with_programs(engine, busybox)
        engine.images.save(["busybox:1"], tmp_path / "base.tar")
        elsewhere.images.load(tmp_path / "base.tar")
        build(elsewhere, DATED, tmp_path / "ctx")  # what is cached here without a date must not count
        one, two = (build(each, DATED, tmp_path / "ctx", **options) for each in (engine, elsewhere))
        assert one.id == two.id
    assert {row.created for row in one.image.config.history[1:]} == {"2020-09-13T12:26:40Z"}
    for index in engine.images.indexes(str(one.id))[1:]:
        with index:
            assert {entry.mtime_ns for entry in index if entry.kind.name != "WHITEOUT"} <= {1_600_000_000 * 10**9}


def test_another_date_is_told_as_the_reason_to_build_anew(engine: Engine) -> None:
    build(engine, TWO, source_date_epoch=1)
    assert build(engine, TWO, source_date_epoch=1).cached == [True] * 3
    done = build(engine, TWO, source_date_epoch=2)
    assert (done.why.kind, done.why.summary) == ("configuration", "source date epoch: 1 -> 2")


# ---- squash


def test_squash_makes_one_layer_above_the_base_and_keeps_the_history(engine: Engine) -> None:
    below = base(engine)
    done = build(engine, "FROM base:1\nWORKDIR /one\nLABEL a=1\nWORKDIR /two\n", tags="flat:1", squash=True)
    assert len(done.image.config.diff_ids) == 2
    assert done.image.config.diff_ids[0] == below.config.diff_ids[0]
    rows = done.image.config.history
    assert [row.empty_layer for row in rows[-4:]] == [True, True, True, False]
    assert rows[-1].comment.startswith("merge sha256:") and rows[-1].comment.endswith(f" to {below.id}")
    with engine.images.indexes("flat:1")[1] as index:
        assert [entry.path for entry in index] == [b"one", b"two"]


def test_what_is_cached_is_squashed_to_the_same_image(engine: Engine) -> None:
    assert build(engine, TWO, squash=True).id == build(engine, TWO, squash=True).id


def test_there_is_nothing_to_squash_in_one_layer(engine: Engine) -> None:
    text = "FROM scratch\nWORKDIR /one\n"
    assert build(engine, text, squash=True).id == build(engine, text).id


# ---- verify


def test_a_build_that_comes_out_the_same_twice_is_verified(engine: Engine) -> None:
    done = build(engine, TWO, tags="x:1", verify=True)
    assert [type(event) for event in done.events if isinstance(event, Repeated | Verified)] == [Repeated, Verified]
    assert {image.id for image in engine.images.list()} == {done.id}


def test_what_a_verified_build_makes_has_its_time_though_the_clock_of_files_lags(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: now() + 10**9)
    done = build(engine, TWO, tags="x:1", verify=True)
    assert [event.image for event in done.events if isinstance(event, Verified)] == [done.id]


def test_a_build_that_does_not_is_told_to_the_byte_gets_no_name_and_leaves_only_its_first_image(
    engine: Engine, busybox: Path
) -> None:
    with_programs(engine, busybox)
    text = "FROM busybox:1\nRUN echo same; cat /proc/sys/kernel/random/uuid > /id; touch -d @0 /id /\n"
    with pytest.raises(NotReproducible, match=r"made by /bin/sh -c echo same.*: /id: content differs at byte") as told:
        build(engine, text, tags="x:1", verify=True)
    assert [image.id for image in engine.images.list() if not image.tags] == [told.value.image.id]
    assert told.value.difference.path == "/id"


# ---- bases


def test_pull_asks_the_registry_for_every_base_and_nothing_else_does(engine: Engine, registry: Any) -> None:
    from veneer.testing.images import image

    name = registry.put("builder/base:1", image({"f": b"old"}))
    text = f"FROM {name}\nLABEL a=1\n"
    first = build(engine, text)
    registry.put("builder/base:1", image({"f": b"new"}))
    assert build(engine, text).id == first.id
    done = build(engine, text, pull=True)
    assert done.image.parent == engine.images.get(name).id != first.image.parent
    assert done.why.kind == "base"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("localhost:1/baes:1", "did you mean the image localhost:1/base:1?"),
        ("localhost:1/oter", "did you mean the context localhost:1/other?"),
        ("localhost:1/something-else", "check the host, the port and the network"),
    ],
)
def test_a_base_that_cannot_be_had_is_answered_with_the_nearest_name(engine: Engine, name: str, hint: str) -> None:
    engine.images.tag(str(base(engine).id), "localhost:1/base:1")
    with pytest.raises(Failed) as told:
        build(engine, f"FROM {name}\n", contexts=(("localhost:1/other", "docker-image://base:1"),))
    assert told.value.hint == hint
    assert told.value.message.startswith(f"{Reference.parse(name).tagged()}: cannot be fetched: localhost:1: ")


def test_a_name_of_hexadecimal_letters_is_no_ambiguous_id(engine: Engine) -> None:
    many = [build(engine, f"FROM scratch\nLABEL n={n}\n").id for n in range(17)]
    letter = next(each for each in "0123456789abcdef" if sum(image.hex.startswith(each) for image in many) > 1)
    assert build(engine, f"FROM {letter}\n", dry_run=True).built.image is None, "it would be pulled"


def test_a_dry_run_fetches_no_base(engine: Engine, registry: Any) -> None:
    from veneer.testing.images import image

    name = registry.put("builder/unseen:1", image({"f": b"old"}))
    done = build(engine, f"FROM {name}\nLABEL a=1\n", dry_run=True)
    assert (done.built.image, done.cached) == (None, [False])
    assert (done.why.kind, done.why.summary) == ("parent", "its parent is yet to be fetched or made")
    assert engine.images.list(all=True) == []


# ---- failing


def test_a_failed_build_names_its_last_good_image_and_keeps_it(engine: Engine, busybox: Path) -> None:
    with_programs(engine, busybox)
    events: list[Event] = []
    text = b"FROM busybox:1\nRUN echo good > /good\nENV A=1\nRUN exit 7\nENV B=1\n"
    with pytest.raises(Failed, match=r"(?s)'/bin/sh -c exit 7' returned a non-zero code: 7.*Dockerfile:4") as told:
        engine.build(dockerfile=text, on_event=events.append).result()
    assert isinstance(told.value.cause, CommandFailed)
    good = told.value.last_good
    assert good is not None and told.value.hint is not None
    (again,) = re.findall(r"FROM \w+", told.value.hint)
    assert build(engine, f"{again}\nRUN cat /good\n", network="none").built.image is not None
    assert "A=1" in engine.images.get(str(good)).config.run["Env"]
    assert [event.last_good for event in events if isinstance(event, StepFailed)] == [good]
    mended = build(engine, text.decode().replace("exit 7", "true"))
    assert mended.cached == [True, True, False, False]


def test_a_disk_that_is_full_fails_the_step_and_leaves_a_sound_store(
    config: Config, ext4: Any, tmp_path: Path, root_only: None
) -> None:
    from veneer.errors import Unavailable

    context = tmp_path / "big"
    context.mkdir()
    for number in range(60):
        (context / f"file-{number}").write_bytes(bytes([number]) * (1 << 20))
    with Engine(config.replaced(root=ext4(48 << 20) / "root")) as engine:
        with pytest.raises(Failed) as told:
            build(engine, "FROM scratch\nLABEL a=1\nCOPY . /\n", context)
        assert isinstance(told.value.cause, Unavailable)
        assert told.value.last_good is not None
        assert engine.system.check(deep=True) == []
        assert list((engine.store.root / "ingest").iterdir()) == []
        assert build(engine, "FROM scratch\nLABEL a=1\nLABEL b=1\n").cached == [True, False]


@pytest.mark.parametrize(
    ("last", "line", "cause", "full"),
    [("COPY none /", 5, "none", 5), ("LABEL c=1", 5, "no space", 5), ("COPY none /", 5, "none", 0)],
    ids=["a step that fails anyway", "the stage's end", "with room"],
)
def test_a_disk_that_fills_up_hides_no_failure_and_no_image_is_named_that_is_not_there(
    config: Config, tmp_path: Path, last: str, line: int, cause: str, full: int
) -> None:
    small, context, events = tmp_path / "small", tmp_path / "context", list[Event]()
    context.mkdir()

    def listen(event: Event) -> None:
        events.append(event)
        if isinstance(event, StepStarted) and event.step.line == full:
            with (small / "ballast").open("wb", buffering=0) as file, contextlib.suppress(OSError):
                while file.write(bytes(1 << 12)):
                    pass

    with small_tmpfs(small, "24m"), Engine(config.replaced(root=small / "root")) as engine:
        kept = build(engine, "FROM scratch\nLABEL z=1\n", context).id
        text = f"FROM scratch\nLABEL z=1\nLABEL a=1\nLABEL b=1\n{last}\n".encode()
        with pytest.raises(Failed, match=f"(?s){cause}.*Dockerfile:{line}\n-+\n.*{re.escape(last)}") as told:
            engine.build(context, dockerfile=text, on_event=listen).result()
        assert isinstance(told.value.cause, StoreFull) is (cause == "no space")
        good = told.value.last_good
        assert [event.last_good for event in events if isinstance(event, StepFailed)] == [good]
        assert good is not None and (good == kept) is bool(full)
        assert engine.images.get(str(good)).id == good
        (small / "ballast").unlink(missing_ok=True)
        assert engine.system.check(deep=True) == []
        assert build(engine, text.decode().replace(last, "LABEL d=1"), context).cached[:1] == [True]


@contextlib.contextmanager
def small_tmpfs(place: Path, size: str) -> Iterator[None]:
    place.mkdir()
    if os.geteuid() or run("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place, check=False).code:
        pytest.skip("this machine does not let the tests mount a tmpfs")
    try:
        yield
    finally:
        run("umount", place)


def test_a_command_that_fails_while_the_disk_is_full_is_told_with_that(
    config: Config, ext4: Any, busybox: Path, root_only: None
) -> None:
    needs("runc")
    with Engine(config.replaced(root=ext4(48 << 20) / "root")) as engine:
        with_programs(engine, busybox)
        for command, is_told in (("dd if=/dev/zero of=/big bs=64k", True), ("false", False)):
            with pytest.raises(Failed) as told:
                build(engine, f"FROM busybox:1\nRUN {command}\n", network="none")
            assert isinstance(told.value.cause, CommandFailed)
            assert (f"no space is left on the file system of {engine.store.root}" in told.value.hint) is is_told


def test_a_store_that_is_read_only_is_told_before_the_first_step(config: Config, ext4: Any, root_only: None) -> None:
    mounted = ext4(16 << 20)
    elsewhere = config.replaced(root=mounted / "root")
    with Engine(elsewhere) as engine:
        build(engine, "FROM scratch\nENV A=1\n")
    subprocess.run(["mount", "-o", "remount,ro", mounted], check=True)
    events: list[Event] = []
    with Engine(elsewhere) as engine:
        with pytest.raises(StoreReadOnly, match=f"{mounted}/root is on a read-only file system"):
            engine.build(dockerfile=b"FROM scratch\nENV A=1\nENV B=1\n", on_event=events.append).result()
        assert events == []
        assert build(engine, "FROM scratch\nENV A=1\nENV B=1\n", dry_run=True).cached == [True, False]


def test_nothing_after_from_scratch_is_no_image(engine: Engine) -> None:
    with pytest.raises(NothingBuilt, match="No image was generated"):
        build(engine, "FROM scratch\n", tags="x:1")


def refused(engine: Engine, **fields: Any) -> str:
    with pytest.raises((BadRequest, BadOutput, BadAnnotation, BadLimit)) as told:
        build(engine, TWO, **fields)
    assert engine.images.list(all=True) == [], "refused before anything is built"
    return told.value.message


def test_what_cannot_be_is_refused_before_anything_is_built(engine: Engine) -> None:
    registry, oci_file = OutputSpec("registry"), OutputSpec("oci", "x.tar")
    assert "unknown entitlement 'all'" in refused(engine, allow="all")
    assert "'n': path '/nowhere': no such directory" in refused(engine, contexts=(("n", "/nowhere"),))
    assert "invalid ulimit type: files" in refused(engine, ulimits="files=1")
    assert "SOURCE_DATE_EPOCH" in refused(engine, rewrite_timestamp=True)
    assert "--verify builds twice" in refused(engine, verify=True, dry_run=True)
    assert "unknown compression 'lz4'" in refused(engine, compression="lz4")
    assert "gzip and as zstd at once" in refused(
        engine, compression="zstd", outputs=(OutputSpec("oci", "x", (("compression", "gzip"),)),)
    )
    assert "registries are sent compressed" in refused(
        engine, compression="uncompressed", tags="a", outputs=(registry,)
    )
    assert "needs a name to push" in refused(engine, outputs=(registry,))
    assert "force-compression=true is not supported" in refused(
        engine, outputs=(OutputSpec("oci", "x", (("force-compression", "true"),)),)
    )
    assert "makes no index" in refused(engine, annotations={"index:a": "b"})
    assert "unknown type 'layer'" in refused(engine, annotations={"layer:a": "b"})
    assert "there is none" in refused(engine, annotations={"a": "b"}, outputs=(oci_file,))
    assert "holds one platform" in refused(
        engine, platforms=["linux/amd64", "linux/arm64"], outputs=(OutputSpec("tar", "x"),)
    )
    assert "there is no such cache" in refused(engine, cache_from=(CacheSpec("s3"),))
    assert "needs ref=" in refused(engine, cache_to=(CacheSpec("registry"),))
    assert "mode=most" in refused(engine, cache_to=(CacheSpec("local", (("dest", "x"), ("mode", "most"))),))
    assert "compression-level=9 is not supported" in refused(
        engine, cache_to=(CacheSpec("local", (("dest", "x"), ("compression-level", "9"))),)
    )


def test_a_stage_of_more_steps_than_an_image_can_have_is_refused(engine: Engine) -> None:
    from veneer.build.failure import StageError

    events: list[Event] = []
    text = b"FROM scratch\n" + b"env A 1\n" * 5001  # the linter, which has something to say of each, is not asked
    with pytest.raises(StageError, match="stage 0 has 5001 steps"):
        engine.build(dockerfile=text, on_event=events.append).result()
    assert events == []


def test_a_dockerfile_of_a_hundred_thousand_lines_is_built(engine: Engine) -> None:
    text = (
        "FROM scratch\n"
        + "# a comment\n" * 50_000
        + "LABEL "
        + "".join(f"l{n}=x \\\n" for n in range(50_000))
        + "z=1\n"
    )
    done: Done = build(engine, text)
    assert len(done.image.labels) == 50_001
