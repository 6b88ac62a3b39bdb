"""Docker's filters: what they keep, and docker's words for what they do not know."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.store.shelf import Shelf
from veneer.store.filters import PRUNE_FILTERS, InvalidFilter, duration, filtered, glob, moment, parse, unix_time
from veneer.store.images import Image, NoSuchImage

NOBODY = "sha256:" + "0" * 64


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    made = Shelf(tmp_path / "root")
    yield made
    made.close()


def listed(shelf: Shelf, *filters: str, all: bool = False, name: str | None = None) -> list[Image]:
    chosen: dict[str, list[str]] = {}
    for text in filters:
        key, _, value = text.partition("=")
        chosen.setdefault(key, []).append(value)
    return filtered(shelf.store, all=all, name=name, filters=chosen)


def test_dangling_images_are_heads_without_a_tag(shelf: Shelf) -> None:
    base = shelf.image("a")
    shelf.image("a", "b", parent=base, tags=["t:1"])
    left = shelf.image("a", "c", parent=base)
    digested = shelf.image("d", digests=[f"d@{NOBODY}"])
    parent = shelf.image("e", digests=[f"e@{NOBODY}"])
    child = shelf.image("e", "f", parent=parent)
    assert listed(shelf, "dangling=true") == [child, digested, left]
    assert listed(shelf, "dangling=1") == listed(shelf, "dangling=true", all=True)
    assert [image.tags[0].familiar if image.tags else "" for image in listed(shelf, "dangling=false")] == [
        "",
        "",
        "t:1",
    ]


def test_labels_match_by_key_or_by_key_and_value_and_all_of_them_must(shelf: Shelf) -> None:
    plain = shelf.image("a", tags=["plain"])
    both = shelf.image("b", tags=["both"], labels={"x": "y", "stage": "prod=eu"})
    one = shelf.image("c", tags=["one"], labels={"x": ""})
    assert listed(shelf, "label=x") == [one, both]
    assert listed(shelf, "label=x=y") == [both]
    assert listed(shelf, "label=x=") == [one]
    assert listed(shelf, "label=stage=prod=eu") == [both]
    assert listed(shelf, "label=x=*") == []
    assert listed(shelf, "label=x", "label=stage") == [both]
    assert listed(shelf, "label!=x=y") == [one, plain]
    assert listed(shelf, "label!=x") == [plain]


def test_before_and_since_leave_out_the_image_they_name(shelf: Shelf) -> None:
    one, two, three = (shelf.image(name, tags=[name]) for name in "abc")
    assert listed(shelf, "before=b") == [one]
    assert listed(shelf, f"since={two.id.short}") == [three]
    assert listed(shelf, "since=a", "before=c") == [two]
    assert listed(shelf, "since=a", "since=b") == [three]
    with pytest.raises(NoSuchImage, match="No such image: nope:latest"):
        listed(shelf, "before=nope")


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("t", ["t:1", "t:2"]),
        ("t:1", ["t:1"]),
        ("t*", ["t:1", "t:2"]),
        ("t:*", ["t:1", "t:2"]),
        ("*", ["base:1", "t:1", "t:2"]),
        ("*/*", []),
        ("a/*/*", ["a/b/c:1"]),
        ("localhost:5000/x/y", ["localhost:5000/x/y:1"]),
        ("localhost:5000/*/y:1", ["localhost:5000/x/y:1"]),
        ("[a-c]ase:[0-9]", ["base:1"]),
        ("[^a-c]:?", ["t:1", "t:2"]),
        ("docker.io/library/t", []),
        ("T", []),
    ],
)
def test_a_reference_is_matched_whole_or_by_repository(shelf: Shelf, pattern: str, expected: list[str]) -> None:
    shelf.image("a", tags=["base:1"])
    shelf.image("b", tags=["t:1", "t:2", "a/b/c:1", "localhost:5000/x/y:1"])
    shelf.image("c")
    by_filter, by_name = listed(shelf, f"reference={pattern}", all=True), listed(shelf, name=pattern)
    assert by_filter == by_name
    # Other names of the same image are left out, as docker does.
    assert sorted(name.familiar for image in by_name for name in image.tags) == expected


def test_several_references_are_alternatives(shelf: Shelf) -> None:
    shelf.image("a", tags=["a:1"])
    shelf.image("b", tags=["b:1"], digests=[f"q@{NOBODY}"])
    assert len(listed(shelf, "reference=a", "reference=b")) == 2
    assert listed(shelf, "reference=a", name="b") == listed(shelf, "reference=a", "reference=b")
    (by_digest,) = listed(shelf, f"reference=q@{NOBODY}")
    assert (by_digest.tags, [name.familiar for name in by_digest.digests]) == ((), [f"q@{NOBODY}"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("foo=bar", "Invalid filter 'foo'"),
        ("dangling=maybe", "Invalid filter 'dangling=[maybe]'"),
        ("reference=[", "syntax error in pattern"),
        ("reference=a\\", "syntax error in pattern"),
        ("reference=[]a]", "syntax error in pattern"),
        ("reference=[a-]", "syntax error in pattern"),
        ("until=zzz", 'failed to parse value as time or duration: "zzz"'),
    ],
)
def test_a_filter_that_cannot_be_is_refused_in_dockers_words(shelf: Shelf, text: str, said: str) -> None:
    shelf.image("a", tags=["a:1"])
    with pytest.raises(InvalidFilter) as caught:
        listed(shelf, text)
    assert caught.value.message == said


def test_prune_knows_fewer_filters(shelf: Shelf) -> None:
    for name in ("before", "since", "reference"):
        with pytest.raises(InvalidFilter, match=f"Invalid filter '{name}'"):
            parse({name: ["x"]}, accepted=PRUNE_FILTERS, find=shelf.images.find)
    with pytest.raises(InvalidFilter, match="more than one until filter specified"):
        parse({"until": ["1h", "2h"]}, accepted=PRUNE_FILTERS, find=shelf.images.find)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10m", 600), ("1h30m", 5400), ("1.5h", 5400), ("90s", 90), ("1h1m1s", 3661), ("500ms", 0.5), ("2us", 2e-6),
        ("2µs", 2e-6), ("3ns", 3e-9), ("0", 0), ("-2s", -2), ("+2s", 2), (".5s", 0.5), ("1.s", 1), ("1d", None),
        ("10", None), ("", None), ("-", None), ("h", None), ("1h ", None), ("1h-2m", None), (".s", None),
    ],
)  # fmt: skip
def test_durations_are_gos(text: str, seconds: float | None) -> None:
    assert duration(text) == (pytest.approx(seconds) if seconds is not None else None)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2024-05-01T12:00:00Z", 1714564800),
        ("2024-05-01T12:00:00.25Z", 1714564800.25),
        ("2024-05-01T12:00:00.123456789+02:00", 1714557600.123456789),
        ("2024-05-01T12:00:00-0130", 1714570200),
        ("2024-05-01T12:00Z", 1714564800),
        ("2024-05-01Z", 1714521600),
        ("2024-05-01T12Z", 1714564800),
        ("2016-12-31T23:59:60Z", 1483228800),
        ("0001-01-01T00:00:00Z", -62135596800),
        ("2024-13-01", None),
        ("2024-02-30", None),
        ("yesterday", None),
        ("2024-05", None),
    ],
)
def test_times_are_rfc_3339_or_the_beginning_of_one(text: str, seconds: float | None) -> None:
    assert unix_time(text) == (pytest.approx(seconds) if seconds is not None else None)


def test_a_time_without_a_zone_is_local() -> None:
    assert unix_time("2024-05-01") == datetime.datetime(2024, 5, 1).timestamp()
    assert unix_time("2024-05-01T12:30") == datetime.datetime(2024, 5, 1, 12, 30).timestamp()


def test_until_counts_back_from_now_or_is_a_time() -> None:
    assert moment("1h", 10_000) == 6400
    assert moment("2024-05-01T12:00:00Z", 0) == 1714564800
    assert moment("1136073600.000000001", 0) == pytest.approx(1136073600.000000001)


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [  # from the table in Go's path/match_test.go
        ("abc", "abc", True), ("*", "abc", True), ("*c", "abc", True), ("a*", "a", True), ("a*", "ab/c", False),
        ("a*/b", "abc/b", True), ("a*/b", "a/c/b", False), ("a*b*c*d*e*/f", "axbxcxdxe/f", True),
        ("a*b*c*d*e*/f", "axbxcxdxexxx/f", True), ("a*b*c*d*e*/f", "axbxcxdxe/xxx/f", False),
        ("a*b*c*d*e*/f", "axbxcxdxexxx/fff", False), ("a*b?c*x", "abxbbxdbxebxczzx", True),
        ("a*b?c*x", "abxbbxdbxebxczzy", False), ("ab[c]", "abc", True), ("ab[b-d]", "abc", True),
        ("ab[e-g]", "abc", False), ("ab[^c]", "abc", False), ("ab[^b-d]", "abc", False), ("ab[^e-g]", "abc", True),
        ("a\\*b", "a*b", True), ("a\\*b", "ab", False), ("a?b", "a☺b", True), ("a[^a]b", "a☺b", True),
        ("a???b", "a☺b", False), ("a[^a][^a][^a]b", "a☺b", False), ("[a-ζ]*", "α", True), ("*[a-ζ]", "A", False),
        ("a?b", "a/b", False), ("a*b", "a/b", False), ("[\\]a]", "]", True), ("[\\-]", "-", True),
        ("[x\\-]", "x", True), ("[x\\-]", "z", False), ("[\\-x]", "a", False), ("*x", "xxx", True),
        ("[z-a]", "m", False), ("[^z-a]", "m", True), ("a.c", "abc", False), ("(a)", "(a)", True),
    ],
)  # fmt: skip
def test_patterns_are_gos(pattern: str, text: str, matches: bool) -> None:
    assert (glob(pattern).fullmatch(text) is not None) == matches


def test_a_hostile_pattern_costs_no_more_than_its_length_squared() -> None:
    assert glob("a*" * 60 + "b").fullmatch("a" * 2000) is None
    assert isinstance(glob("x"), re.Pattern)
