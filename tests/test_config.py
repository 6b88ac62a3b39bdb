"""Configuration: one value, built from defaults < file < environment < flags, each with its origin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from veneer.config import Config, InvalidConfig


def load(flags: dict[str, Any] | None = None, **environ: str) -> Config:
    return Config.load(flags, {"HOME": "/nonexistent", **environ})


def test_flags_win_over_environment_over_file_over_defaults(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('max_uploads = 7\nmax_downloads = 8\ndurability = "sync"\nroot = "/from/file"\n')
    found = load({"root": "/from/flag"}, VENEER_CONFIG=str(file), VENEER_MAX_DOWNLOADS="9", VENEER_ROOT="/from/env")
    assert (found.root, found.max_downloads, found.max_uploads) == (Path("/from/flag"), 9, 7)
    assert found.origins["root"] == "flag"
    assert found.origins["max_downloads"] == "VENEER_MAX_DOWNLOADS"
    assert found.origins["durability"] == str(file)
    assert found.origins["storage_driver"] == "default"


def test_a_flag_that_was_not_given_changes_nothing() -> None:
    assert load({"root": None}).root == load().root


def test_root_and_its_owner_have_their_places() -> None:
    assert load().root == Path("/var/lib/veneer")
    assert load().docker_config == Path("/nonexistent/.docker/config.json")
    assert load(DOCKER_CONFIG="/etc/d").docker_config == Path("/etc/d/config.json")


def test_an_unknown_setting_names_the_nearest_one(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("max_download = 1\n")
    with pytest.raises(InvalidConfig) as caught:
        load({"config_file": str(file)})
    assert "max_download" in caught.value.message
    assert "did you mean max_downloads?" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_downloads", "0"), ("max_downloads", "many"), ("max_downloads", "65"), ("durability", "maybe"),
        ("root", "\0"), ("mirrors", "docker.io"), ("mirrors", "docker.io=ftp://x"),
        ("max_downloads", "9" * 5000),
    ],
)  # fmt: skip
def test_a_value_it_cannot_have_is_refused_with_its_place(name: str, value: str) -> None:
    with pytest.raises(InvalidConfig, match=f"VENEER_{name.upper()}"):
        load({}, **{f"VENEER_{name.upper()}": value})


def test_a_mirror_in_the_file_that_is_no_list_of_urls_is_refused_with_its_place(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('[mirrors]\n"docker.io" = 5\n')
    with pytest.raises(InvalidConfig, match=f"{file}: mirrors"):
        load({"config_file": str(file)})


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.toml"
    broken.write_text("root = ")
    for file in (broken, tmp_path / "missing.toml", tmp_path):
        with pytest.raises(InvalidConfig, match=str(file)):
            load({"config_file": str(file)})


def test_lists_and_mirrors_are_read_from_both_places(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('insecure_registries = ["a:1"]\n[mirrors]\n"docker.io" = ["https://m.example"]\n')
    found = load({"config_file": str(file)})
    assert found.insecure_registries == ("a:1",)
    assert found.mirrors == {"docker.io": ("https://m.example",)}
    found = load(VENEER_INSECURE_REGISTRIES="a:1, b", VENEER_MIRRORS="docker.io=http://m:5000,docker.io=https://n")
    assert found.insecure_registries == ("a:1", "b")
    assert found.mirrors == {"docker.io": ("http://m:5000", "https://n")}
