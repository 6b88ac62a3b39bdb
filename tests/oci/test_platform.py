"""Platforms are written, normalised and matched as containerd does."""

from __future__ import annotations

import pytest

from veneer.oci.platform import InvalidPlatform, Platform, host


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("linux/amd64", "linux/amd64"),
        ("linux/x86_64", "linux/amd64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("aarch64", "linux/arm64"),
        ("armhf", "linux/arm/v7"),
        ("linux/arm/7", "linux/arm/v7"),
        ("LINUX/ARM64", "linux/arm64"),
        ("windows/amd64", "windows/amd64"),
        ("linux", f"linux/{host().architecture}"),
    ],
)
def test_platforms_normalise(text: str, written: str) -> None:
    assert str(Platform.parse(text)) == written


@pytest.mark.parametrize("text", ["", "/", "linux/", "a/b/c/d", "linux/am d64", "linux/../x", "linux/amd64\n/x", "lol"])
def test_what_is_no_platform_is_refused(text: str) -> None:
    with pytest.raises(InvalidPlatform):
        Platform.parse(text)


def test_variants_fall_back_downwards_only() -> None:
    v7 = Platform.parse("linux/arm/v7")
    assert v7.suitability(Platform.parse("linux/arm/v7")) == 0
    assert v7.suitability(Platform.parse("linux/arm")) == 0  # an arm without variant is v7
    assert v7.suitability(Platform.parse("linux/arm/v6")) == 1
    assert v7.suitability(Platform.parse("linux/arm/v5")) == 2
    assert Platform.parse("linux/arm/v6").suitability(v7) is None
    assert Platform.parse("linux/arm64").suitability(v7) is None
    assert Platform.parse("linux/amd64/v3").suitability(Platform.parse("linux/amd64")) == 2
    assert Platform.parse("linux/amd64").suitability(Platform.parse("linux/amd64/v3")) is None
    assert Platform.parse("linux/amd64").suitability(Platform.parse("windows/amd64")) is None
