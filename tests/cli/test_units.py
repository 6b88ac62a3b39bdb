"""Sizes and ages are worded as docker words them."""

from __future__ import annotations

import pytest

from veneer.cli import units


@pytest.mark.parametrize(("size", "text"), [
    (0, "0B"), (7, "7B"), (999, "999B"), (1000, "1kB"), (1_982_429, "1.98MB"), (55_300_000, "55.3MB"),
    (187_000_000, "187MB"), (1_234_567_890, "1.23GB"), (10**15, "1PB"),
])  # fmt: skip
def test_a_size_has_three_digits(size: int, text: str) -> None:
    assert units.human_size(size) == text


def test_disk_usage_has_four_digits() -> None:
    assert units.human_size(1_982_429, 4) == "1.982MB"
    assert units.human_size(108_822_303, 4) == "108.8MB"


def test_a_size_that_rounds_up_to_a_thousand_takes_the_next_unit() -> None:
    assert units.human_size(999_900_000) == "1GB"
    assert units.human_size(999_400_000) == "999MB"
    assert units.human_size(999_950, 4) == "1MB"


def test_memory_counts_in_powers_of_1024() -> None:
    assert units.memory_size(8_325_000_000) == "7.753GiB"
    assert units.memory_size(1023) == "1023B"


@pytest.mark.parametrize(("seconds", "text"), [
    (0.4, "Less than a second"), (-5, "Less than a second"), (1.9, "1 second"), (59, "59 seconds"),
    (60, "About a minute"), (119, "About a minute"), (120, "2 minutes"), (3599, "59 minutes"), (3600, "About an hour"),
    (5399, "About an hour"), (5400, "2 hours"), (47 * 3600, "47 hours"), (48 * 3600, "2 days"),
    (13 * 86400, "13 days"), (14 * 86400, "2 weeks"), (59 * 86400, "8 weeks"), (60 * 86400, "2 months"),
    (729 * 86400, "24 months"), (730 * 86400, "2 years"), (56 * 365 * 86400, "56 years"),
])  # fmt: skip
def test_a_duration_is_told_in_docker_words(seconds: float, text: str) -> None:
    assert units.human_duration(seconds) == text


def test_an_age_nobody_can_know_is_not_available() -> None:
    now = 1_700_000_000.0
    assert units.ago(now - 60, now) == "About a minute ago"
    assert [units.ago(moment, now) for moment in (None, 0, -62_135_596_800, units.YEAR_2000)] == ["N/A"] * 4


def test_times_are_local(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    try:
        for zone, rfc3339, go in (
            ("UTC", "2023-11-14T22:13:20Z", "2023-11-14 22:13:20 +0000 UTC"),
            ("XYZ-5:30", "2023-11-15T03:43:20+05:30", "2023-11-15 03:43:20 +0530 XYZ"),
        ):
            monkeypatch.setenv("TZ", zone)
            time.tzset()
            assert units.local_rfc3339(1_700_000_000.9) == rfc3339
            assert units.local_time(1_700_000_000.9) == go
        assert units.local_rfc3339(None) == "0001-01-01T00:00:00Z"
    finally:
        monkeypatch.undo()
        time.tzset()
