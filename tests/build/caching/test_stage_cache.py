"""The build cache's rules: what is done again, and what is not.

Source: docker's classic builder, moby image/cache; each rule was seen on a running dockerd.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.builds import base, build, with_programs
from veneer.build.failure import StageError
from veneer.engine.engine import Engine

STEPS = 'FROM base:1\nLABEL a=1\nENV B=2\nWORKDIR /w\nCMD ["x"]\n'


@pytest.fixture(autouse=True)
def _base(engine: Engine) -> None:
    base(engine)


def test_the_second_build_of_a_file_is_all_cached_and_the_same_image(engine: Engine) -> None:
    first, second = build(engine, STEPS), build(engine, STEPS)
    assert first.cached == [False] * 4
    assert second.cached == [True] * 4
    assert (first.id, second.built.hits, second.built.steps) == (second.id, 4, 4)


def test_a_miss_ends_the_cache_for_the_rest_of_its_stage(engine: Engine) -> None:
    build(engine, STEPS)
    assert build(engine, STEPS.replace("B=2", "B=3")).cached == [True, False, False, False]


def test_another_stage_has_hits_of_its_own_after_a_miss(engine: Engine) -> None:
    text = "FROM base:1 AS one\nENV A={}\nFROM base:1 AS two\nLABEL c=1\nWORKDIR /w\n"
    text += "FROM two\nCOPY --from=one /etc/release /x\n"
    build(engine, text.format(1))
    # One stage misses, the other does not; and the same files copied from a new image are the same files.
    assert sorted(build(engine, text.format(2)).cached) == [False, True, True, True]


def test_from_scratch_has_a_cache_too(engine: Engine) -> None:
    text = "FROM scratch\nLABEL a=1\nENV b=2\n"
    build(engine, text)
    assert build(engine, text).cached == [True, True]


def test_no_cache_does_everything_anew_and_what_it_makes_is_the_cache_from_then_on(engine: Engine) -> None:
    first = build(engine, STEPS)
    anew = build(engine, STEPS, no_cache=True)
    assert anew.cached == [False] * 4
    assert {miss.kind for miss in anew.misses} <= {"no-cache", "parent"}
    assert anew.id != first.id
    assert build(engine, STEPS).id == anew.id


def test_no_cache_filter_is_for_the_stages_it_names(engine: Engine) -> None:
    text = "FROM base:1 AS one\nLABEL a=1\nFROM one AS two\nLABEL b=1\n"
    build(engine, text)
    done = build(engine, text, no_cache_filter="two")
    assert done.cached == [True, False]
    assert build(engine, text, no_cache_filter="ONE").cached == [False, False]


def test_a_no_cache_filter_that_names_no_stage_is_refused_with_the_nearest(engine: Engine) -> None:
    text = "FROM scratch AS builder\nLABEL a=1\n"
    with pytest.raises(StageError, match='--no-cache-filter: stage "bilder" could not be found') as told:
        build(engine, text, no_cache_filter=["builder", "bilder"])
    assert told.value.hint == "did you mean builder?"
    with pytest.raises(StageError):
        build(engine, text, no_cache_filter="1")


def test_the_default_of_an_arg_counts_and_the_value_given_does_not(engine: Engine) -> None:
    text = "FROM base:1\nARG A=1\nLABEL x=y\n"
    build(engine, text)
    assert build(engine, text, args={"A": "2"}).cached == [True, True]
    assert build(engine, text.replace("A=1", "A=3")).cached == [False, False]


def test_the_first_run_after_an_arg_is_done_again_when_its_value_changes_even_unused(
    engine: Engine, busybox: Path, tmp_path: Path
) -> None:
    with_programs(engine, busybox)
    (tmp_path / "ctx").mkdir()
    (tmp_path / "ctx" / "f").write_text("f")
    text = "FROM busybox:1\nARG A=1\nCOPY f /f\nRUN true\n"
    build(engine, text, tmp_path / "ctx")
    done = build(engine, text, tmp_path / "ctx", args={"A": "2"})
    assert done.cached == [True, True, False]
    assert (done.why.kind, done.why.summary) == ("argument", 'build argument A: "1" -> "2"')


def test_arguments_nobody_declared_and_proxies_are_no_reason(engine: Engine, busybox: Path) -> None:
    with_programs(engine, busybox)
    text = "FROM busybox:1\nRUN true\n"
    build(engine, text)
    done = build(engine, text, args={"NOPE": "1", "HTTP_PROXY": "http://127.0.0.1:1", "no_proxy": "x"})
    assert done.cached == [True]
    assert done.warnings == ["One or more build-args [NOPE] were not consumed"]


def test_env_wins_over_an_argument_of_the_same_name(engine: Engine, busybox: Path) -> None:
    with_programs(engine, busybox)
    text = "FROM busybox:1\nARG A=1\nENV A=fixed\nRUN echo $A > /a\n"
    first = build(engine, text)
    assert build(engine, text, args={"A": "2"}).cached == [True, True, True]
    assert "|1 A=" not in first.rows[-1]


def test_another_way_to_quote_the_same_value_is_a_hit_and_another_order_is_not(engine: Engine) -> None:
    build(engine, "FROM base:1\nLABEL a=1 b=2\n")
    assert build(engine, "FROM base:1\nLABEL a=\"1\" 'b'=2\n").cached == [True]
    assert build(engine, "FROM base:1\nLABEL b=2 a=1\n").cached == [False]


def test_the_text_of_a_run_is_compared_as_its_continued_lines_come_to(engine: Engine, busybox: Path) -> None:
    with_programs(engine, busybox)
    build(engine, "FROM busybox:1\nRUN true \\\n  # why\n  && true\n")
    assert build(engine, "FROM busybox:1\nRUN true   && true\n").cached == [True]
    assert build(engine, "FROM busybox:1\nRUN true && true\n").cached == [False]


def test_a_base_tag_that_moves_makes_everything_miss_and_is_named(engine: Engine) -> None:
    build(engine, STEPS)
    before = engine.images.get("base:1").id
    after = base(engine, text=b"another\n").id
    done = build(engine, STEPS)
    assert done.cached == [False] * 4
    assert (done.why.kind, done.why.summary) == ("base", f"FROM base:1 was {before.short} and is now {after.short}")


def test_an_image_that_was_loaded_is_no_cache(engine: Engine, tmp_path: Path) -> None:
    first = build(engine, STEPS, tags="made:1")
    engine.images.save(["made:1"], tmp_path / "made.tar")
    engine.images.remove("made:1")
    engine.images.load(tmp_path / "made.tar")
    assert engine.images.get("made:1").id == first.id
    assert build(engine, STEPS).cached == [False] * 4


def test_another_platform_is_another_cache(engine: Engine) -> None:
    text = "FROM scratch\nLABEL a=1\n"
    build(engine, text, platforms="linux/amd64")
    assert build(engine, text, platforms="linux/arm64").cached == [False]
    assert build(engine, text, platforms="linux/arm64").cached == [True]


def test_every_step_is_a_nameless_image_on_the_one_before(engine: Engine) -> None:
    done = build(engine, STEPS, tags="made:1")
    line = list(engine.store.images.ancestors(done.id))
    assert [image.parent for image in line[:-1]] == [image.id for image in line[1:]]
    assert line[-1].id == engine.images.get("base:1").id
    assert {image.id for image in engine.images.list()} == {done.id, line[-1].id}
    assert len(engine.images.list(all=True)) == 5
    assert [row.id is not None for row in engine.images.history("made:1")] == [True] * 5


def test_a_removed_intermediate_image_is_made_again(engine: Engine) -> None:
    done = build(engine, STEPS)
    engine.images.remove(str(done.id))
    assert build(engine, STEPS).cached == [False] * 4


def test_a_dry_run_predicts_what_the_build_then_does(engine: Engine) -> None:
    build(engine, STEPS)
    changed = STEPS.replace("B=2", "B=3")
    known = {image.id for image in engine.images.list(all=True)}
    predicted = build(engine, changed, dry_run=True, tags="made:1")
    assert {image.id for image in engine.images.list(all=True)} == known
    assert predicted.built.image is None and predicted.built.tags == ()
    assert predicted.cached == build(engine, changed).cached == [True, False, False, False]
    whole = build(engine, STEPS, dry_run=True)
    assert whole.built.image == build(engine, STEPS).id
