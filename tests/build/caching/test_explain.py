"""Every miss of the cache is told with its cause: the first thing that differs from what was done before."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.builds import base, build, with_programs
from tests.support.programs import needs
from veneer.build.caching import mounted
from veneer.build.caching.explain import Miss, differing, why
from veneer.engine.engine import Engine
from veneer.store.store import Store

COPIES = "FROM base:1\nLABEL first=1\nCOPY . /app/\nLABEL last=1\n"


@pytest.fixture
def context(tmp_path: Path) -> Path:
    folder = tmp_path / "context"
    (folder / "sub").mkdir(parents=True)
    for name, text in (("main.py", "print(1)\n"), ("sub/data", "data\n"), ("notes.md", "notes\n")):
        (folder / name).write_text(text)
    (folder / ".dockerignore").write_text("*.log\n")
    return folder


def change_a_byte(folder: Path) -> None:
    (folder / "main.py").write_text("print(2)\n")


def change_a_mode(folder: Path) -> None:
    (folder / "sub" / "data").chmod(0o600)


def change_a_name(folder: Path) -> None:
    (folder / "notes.md").rename(folder / "readme.md")


def grow(folder: Path) -> None:
    (folder / "sub" / "data").write_text("more data\n")


def add(folder: Path) -> None:
    (folder / "sub" / "new").write_text("")


def remove(folder: Path) -> None:
    (folder / "notes.md").unlink()


def change_the_kind(folder: Path) -> None:
    remove(folder)
    (folder / "notes.md").symlink_to("main.py")


def told(miss: Miss) -> str:
    return "\n".join((miss.summary, *miss.details))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (change_a_byte, ["main.py"]),
        (change_a_mode, ["sub/data", "0644", "0600"]),
        (change_a_name, ["notes.md", "readme.md"]),
        (grow, ["sub/data", "5", "10"]),
        (add, ["sub/new"]),
        (remove, ["notes.md"]),
        (change_the_kind, ["notes.md: was a file, is a symbolic link"]),
    ],
)
def test_the_file_that_changed_is_named_with_what_of_it(
    engine: Engine, context: Path, change: Callable[[Path], None], words: list[str]
) -> None:
    base(engine)
    build(engine, COPIES, context)
    change(context)
    done = build(engine, COPIES, context)
    assert done.cached == [True, False, False]
    assert done.why.kind == "file"
    for word in words:
        assert word in told(done.why)


def test_a_file_that_is_ignored_or_only_touched_is_no_cause(engine: Engine, context: Path) -> None:
    base(engine)
    build(engine, COPIES, context)
    (context / "debug.log").write_text("noise")
    os.utime(context / "main.py", (1, 1))
    assert build(engine, COPIES, context).cached == [True, True, True]


def test_an_argument_is_told_with_both_values(engine: Engine, busybox: Path) -> None:
    with_programs(engine, busybox)
    text = "FROM busybox:1\nARG VERSION=1\nRUN echo $VERSION\n"
    build(engine, text)
    miss = build(engine, text, args={"VERSION": "2"}).why
    assert (miss.kind, miss.summary) == ("argument", 'build argument VERSION: "1" -> "2"')


def test_a_variable_is_told_with_both_values(engine: Engine) -> None:
    base(engine)
    build(engine, "FROM base:1\nENV A=1 B=2\n")
    miss = build(engine, "FROM base:1\nENV A=1 B=3\n").why
    assert (miss.kind, miss.summary) == ("environment", 'environment variable B: "2" -> "3"')


def test_the_words_of_an_instruction_that_differ_are_told(engine: Engine, busybox: Path) -> None:
    with_programs(engine, busybox)
    build(engine, "FROM busybox:1\nRUN echo one two three\n")
    miss = build(engine, "FROM busybox:1\nRUN echo one 2 three\n").why
    assert (miss.kind, miss.summary) == ("instruction", 'the instruction: "two" -> "2"')
    assert build(engine, "FROM busybox:1\nRUN echo one two three four\n").why.summary == (
        'the instruction has more: "four"'
    )


def test_another_instruction_in_a_steps_place_is_told_with_what_was_there(engine: Engine) -> None:
    base(engine)
    build(engine, "FROM base:1\nLABEL a=1\n")
    miss = build(engine, "FROM base:1\nUSER me\n").why
    assert (miss.kind, "LABEL a=1" in miss.summary) == ("instruction", True)


def test_what_follows_a_miss_says_that_its_parent_is_new(engine: Engine) -> None:
    base(engine)
    build(engine, "FROM base:1\nLABEL a=1\nLABEL b=1\n")
    done = build(engine, "FROM base:1\nLABEL a=2\nLABEL b=1\n")
    assert [miss.kind for miss in done.misses] == ["instruction", "parent"]
    assert "'LABEL a=2'" in done.misses[1].summary


def test_a_long_instruction_is_not_repeated_by_all_that_follow(engine: Engine) -> None:
    base(engine)
    text = "FROM base:1\nLABEL " + "a=1 " * 50 + "\nENV B=1\n"
    build(engine, text)
    misses = build(engine, text.replace("a=1", "a=2", 1)).misses
    assert misses[-1].summary == (
        "its parent is new: 'LABEL a=2 " + "a=1 " * 16 + "a=1...' was not in the cache"
    )  # fmt: skip


def test_a_step_that_was_done_on_another_parent_names_both(engine: Engine) -> None:
    base(engine)
    former = build(engine, "FROM base:1\nARG a\nLABEL z=1\n")
    build(engine, "FROM base:1\nARG b\n")
    done = build(engine, "FROM base:1\nARG b\nLABEL z=1\n")
    assert done.cached == [True, False]
    assert done.why.kind == "parent" and former.image.parent is not None
    assert f"done on {former.image.parent.short} before" in done.why.summary


def test_a_base_that_moved_is_named_with_both_ids(engine: Engine) -> None:
    old = base(engine)
    build(engine, "FROM base:1\nLABEL a=1\n")
    new = base(engine, text=b"moved\n")
    miss = build(engine, "FROM base:1\nLABEL a=1\n").why
    assert (miss.kind, miss.summary) == ("base", f"FROM base:1 was {old.id.short} and is now {new.id.short}")


def test_a_cache_that_is_off_and_a_first_build_say_so(engine: Engine) -> None:
    base(engine)
    assert build(engine, "FROM base:1\nLABEL a=1\n").why.kind == "new"
    assert build(engine, "FROM base:1\nLABEL a=1\n", no_cache=True).why.kind == "no-cache"


def test_a_dry_run_explains_as_the_build_does(engine: Engine, context: Path) -> None:
    base(engine)
    build(engine, COPIES, context)
    change_a_byte(context)
    predicted = build(engine, COPIES, context, dry_run=True)
    assert told(predicted.why) == told(build(engine, COPIES, context).why)


# ---- what a RUN has mounted

MOUNTS = "FROM busybox:1\nRUN --mount=type=bind,target=/c{} true\n"


def rebuilt(engine: Engine, busybox: Path, context: Path, change: Callable[[Path], None], of: str = "") -> Miss:
    """Why a RUN with a mount is done again after a change; a dry run gives the same reason."""
    needs("runc")
    with_programs(engine, busybox)
    text = MOUNTS.format(of)
    build(engine, text, context, network="none")
    assert build(engine, text, context, network="none").cached == [True]
    change(context)
    predicted = build(engine, text, context, network="none", dry_run=True).why
    done = build(engine, text, context, network="none").why
    assert (done.kind, told(done)) == ("mount", told(predicted))
    return done


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (change_a_byte, "main.py: other content (9 bytes, sha256 "),
        (change_a_mode, "sub/data: mode 0644 -> 0600"),
        (change_a_name, "notes.md is now called readme.md"),
        (grow, "sub/data: other content (5 -> 10 bytes, sha256 "),
        (add, "sub/new is new (0 bytes)"),
        (remove, "notes.md is gone"),
        (change_the_kind, "notes.md: was a file, is a symbolic link"),
    ],
)
def test_the_mounted_file_that_changed_is_named_with_what_of_it(
    engine: Engine, busybox: Path, context: Path, change: Callable[[Path], None], words: str, root_only: None
) -> None:
    miss = rebuilt(engine, busybox, context, change)
    assert miss.summary.startswith(f"mounted from the build context: {words}")
    assert "dir:" not in told(miss)


def test_the_file_of_a_mounted_directory_or_file_is_named_by_its_place_in_the_context(
    engine: Engine, busybox: Path, context: Path, root_only: None
) -> None:
    inside = rebuilt(engine, busybox, context, grow, ",source=sub").summary
    assert inside.startswith("mounted from the build context: sub/data: other content (5 -> 10 bytes")
    alone = rebuilt(engine, busybox, context, change_a_byte, ",source=main.py").summary
    assert alone.startswith("mounted from the build context: main.py: other content (9 bytes")


def test_a_mounted_link_that_points_elsewhere_is_named(
    engine: Engine, busybox: Path, context: Path, root_only: None
) -> None:
    (context / "link").symlink_to("main.py")

    def turn(folder: Path) -> None:
        (folder / "link").unlink()
        (folder / "link").symlink_to("sub")

    assert rebuilt(engine, busybox, context, turn).summary.endswith("context: link: the link points elsewhere")


def test_of_more_files_than_are_noted_the_directory_is_named(
    engine: Engine, busybox: Path, context: Path, root_only: None
) -> None:
    for number in range(mounted.MAX_FILES):
        (context / "sub" / f"{number}").write_bytes(b"")
    summary = rebuilt(engine, busybox, context, grow, ",source=sub").summary
    assert summary == (
        "what is mounted from the build context's sub/ is not the same; "
        "of more than 2000 files, or very long names, it is not noted which they are"
    )


def test_the_lists_of_a_steps_mounts_are_bounded_together(
    engine: Engine, busybox: Path, context: Path, root_only: None
) -> None:
    needs("runc")
    with_programs(engine, busybox)
    for name in ("one", "two"):
        (context / name).mkdir()
        for number in range(700):
            (context / name / f"{number:0240}").write_bytes(b"")
    text = "FROM busybox:1\nRUN --mount=source=one,target=/1 --mount=source=two,target=/2 true\n"
    step = engine.store.builds.of(build(engine, text, context, network="none").id)
    assert step is not None and len(step.facts) < mounted.MAX_BYTES
    assert list(step.read()["note"]["mounts"]) == ["the build context:/one"]


def test_a_dry_run_says_that_what_is_mounted_of_a_stage_would_be_made_anew(
    engine: Engine, busybox: Path, root_only: None
) -> None:
    needs("runc")
    with_programs(engine, busybox)
    text = "FROM busybox:1 AS made\nWORKDIR /{}\nFROM busybox:1\nRUN --mount=from=made,source={},target=/m true\n"
    build(engine, text.format("a", "a"), network="none")
    misses = build(engine, text.format("b", "a"), network="none", dry_run=True).misses
    assert misses[-1].summary == "what is mounted from made's a/ is yet to be made"
    whole = text.replace("source={},", "")
    build(engine, whole.format("a"), network="none")
    misses = build(engine, whole.format("b"), network="none").misses
    assert misses[-1].summary == "what is mounted from made is not the same: it is another file system"


# ---- without any build


def test_what_is_said_of_mounts_without_a_list_that_can_be_compared() -> None:
    def differ(was: dict[str, object], now: dict[str, object]) -> str:
        return told(differing(facts(**was), facts(**now)))

    name = "the build context:/d"
    assert differ({"mounts": {name: "dir:1"}}, {"mounts": {name: "dir:2"}, "note": {"mounts": {name: [["a"]]}}}) == (
        "what is mounted from the build context's d/ is not the same; which files it had was not noted"
    )
    note = {"mounts": {name: [["a", 0o100644, 1, "00" * 5 + "01"]]}}
    assert "an owner or an attribute" in differ({"mounts": {name: "dir:1"}, "note": note},
                                                {"mounts": {name: "dir:2"}, "note": note})  # fmt: skip
    assert differ({"mounts": {"0:/d": "file:1"}}, {"mounts": {"0:/d": "file:2"}}).startswith(
        "what is mounted from stage 0's d is not the same; "
    )
    assert differ({}, {"mounts": {name: "dir:1"}}) == "the build context's d/ was not mounted"
    assert differ({"mounts": {name: "file:1"}}, {}) == "the build context's d is not mounted any more"


def facts(**changes: object) -> dict[str, object]:
    return {"step": "RUN", "cmd": ["/bin/sh", "-c", "make"], "platform": "linux/amd64", **changes}


def test_the_causes_are_looked_for_in_a_fixed_order() -> None:
    old, new = facts(env=["A=1"], args={"V": "1"}), facts(env=["A=2"], args={"V": "2"}, platform="linux/arm64")
    assert differing(old, new).kind == "platform"
    assert differing(old, {**new, "platform": "linux/amd64"}).kind == "argument"
    assert differing(old, facts(env=["A=2"], args={"V": "1"})).kind == "environment"
    assert differing(old, facts(env=["A=1"], args={"V": "1"}, user="me")).summary == 'user: nothing -> "me"'
    assert differing(old, old).kind == "lost"


def test_the_nearest_of_several_former_steps_is_compared(store: Store) -> None:
    from tests.support.built import make_image

    with store.lease("test") as lease:
        for text in ("make all", "make test", "something else"):
            image = make_image(store, lease, [], comment=text)
            store.builds.record(image.id, None, facts(cmd=["/bin/sh", "-c", text]))
    miss = why(store.builds, None, facts(cmd=["/bin/sh", "-c", "make tests"]))
    assert miss.summary == 'the instruction: "test" -> "tests"'
