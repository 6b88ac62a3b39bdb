"""`veneer check`: exit codes, and the same judgement in every format."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.cli.conftest import Veneer
from veneer.testing.images import Tree, docker_archive, image

BASE: Tree = {"data": b"d" * 1000}
EVIL = ("evil\n::error::x|y`z", "\ufffe]]>&<b>", "\udcff\x1b[31m\u202e", "a%0A%b\u0085")
TOP: Tree = {"data": b"e" * 1000, **dict.fromkeys(EVIL, b"1")}
APP = image(BASE, TOP, dict.fromkeys(EVIL, b"2"))


@pytest.fixture
def app(veneer: Veneer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Veneer:
    """A store with demo/app:1, half of which is waste, and demo/small:1; an empty folder to stand in."""
    archive = tmp_path / "app.tar"
    archive.write_bytes(docker_archive((APP, ["demo/app:1"]), (image({"small": b"1"}), ["demo/small:1"])))
    assert veneer("load", "-i", str(archive)).code == 0
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return veneer


def test_the_exit_status_tells_pass_fail_misuse_and_unknown(app: Veneer) -> None:
    assert app("check", "demo/small:1").code == 0
    assert app("check", "demo/app:1").code == 1
    assert app("check", "--rule", "nope=1", "demo/app:1").code == 2
    assert app("check", "--format", "pdf", "demo/app:1").code == 2
    assert app("check", "--baseline", "/dev/null", "demo/nosuch:1").code == 3
    assert app("check", "demo/nosuch:1").err.startswith("Error: No such image: demo/nosuch:1\n")
    assert app("check").code == app("check", "a", "b").code == app("check", "--bogus", "demo/app:1").code == 2
    other = app("check", "--base", "demo/small:1", "demo/app:1")
    assert (other.code, other.err.splitlines()[0]) == (
        3, "Error: demo/app:1 does not stand on demo/small:1: 0 of its 1 layers",
    )  # fmt: skip


def test_what_says_only_how_waste_is_counted_leaves_the_defaults(app: Veneer) -> None:
    answer = app("check", "--rule", "ignore-paths=/data", "--rule", "ignore-base=false", "demo/app:1")
    assert "min-efficiency" in answer.text and "Not counted: 1kB of waste" in answer.text
    Path(".dive-ci").write_text("rules: {lowestEfficiency: off, highestUserWastedPercent: off}")
    assert app("check", "demo/app:1").text.endswith("PASS: 0 of 0 rules kept, for none is set\n")
    Path("veneer.toml").write_text("")
    assert ".dive-ci is not read, since there is veneer.toml" in app("check", "demo/app:1").err


def test_markdown_holds_strangers_texts_in_code_and_names_what_broke_a_rule(app: Veneer) -> None:
    answer = app("check", "--rule", "forbid-paths=evil*,*b*", "--format", "markdown", "demo/app:1")
    told = answer.text.split("forbid-paths:\n\n")[1].splitlines()
    assert told[:2] == ["- `/a%0A%b\\u0085 in layer 3`", "- ``/evil\\n::error::x|y`z in layer 3``"]
    assert app("image", "explain", "--format", "markdown", "demo/app:1").text.startswith(
        "## What it is\n- `demo/app:1` is"
    )


def test_rules_come_from_files_and_words(app: Veneer) -> None:
    Path(".dive-ci").write_text("rules:\n  lowestEfficiency: 0.1\n  highestUserWastedPercent: off\n")
    assert app("check", "demo/app:1").code == 0
    assert app("check", "--rule", "max-layers=2", "demo/app:1").code == 1
    Path("veneer.toml").write_text("[check]\nmax-waste = 5000\n")
    answer = app("check", "demo/app:1")
    assert (answer.code, "max-waste" in answer.text, "min-efficiency" in answer.text) == (0, True, False)
    Path("other.toml").write_text("[check]\nmax-waste = 5\n")
    assert app("check", "--rules", "other.toml", "demo/app:1").code == 1
    assert app("check", "--rules", "none.toml", "demo/app:1").code == 2
    Path("veneer.toml").write_text("[check\n")
    assert app("check", "demo/app:1").code == 2


def test_text_names_rule_limit_and_culprit(app: Veneer) -> None:
    text = app("check", "demo/app:1").text
    assert re.search(r"^FAIL +min-efficiency +90\.0% +50\.0%$", text, re.M)
    assert "  1kB /data: overwritten, layer 2\n" in text
    assert text.endswith("FAIL: 0 of 2 rules kept\n")
    dive = app("check", "--metric", "dive", "demo/app:1").text
    assert "waste 2.01kB" in dive


def test_a_baseline_is_a_file_or_an_image(app: Veneer) -> None:
    assert app("check", "--format", "json", "-o", "before.json", "demo/small:1").code == 0
    for baseline in ("before.json", "demo/small:1"):
        answer = app(
            "check", "--baseline", baseline, "--rule", "max-growth=10%", "--rule", "min-efficiency=off", "demo/app:1"
        )
        assert answer.code == 1 and "max-growth" in answer.text and "(+" in answer.text
    Path("bad.json").write_text("[]")
    assert app("check", "--baseline", "bad.json", "demo/app:1").code == 2


def test_every_format_says_the_same_and_survives_hostile_names(app: Veneer) -> None:
    def of(format: str) -> str:
        answer = app("check", "--format", format, "demo/app:1")
        assert answer.code == 1
        return answer.text

    found = json.loads(of("json"))
    assert found["version"] == 1 and not found["passed"]
    assert [(each["rule"], each["status"]) for each in found["rules"]] == [
        ("min-efficiency", "fail"), ("max-waste-percent", "fail"),
    ]  # fmt: skip
    assert found["waste"][0]["path"] == "/data"
    suite = ElementTree.fromstring(of("junit"))
    assert (suite.get("tests"), suite.get("failures")) == ("2", "2")
    assert {char for failure in suite.iter("failure") for char in failure.text or ""}.isdisjoint("\x1b\u202e\u0085")
    assert "/\\ufffe]]>&<b>" in (suite[0][0].text or "")
    sarif = json.loads(of("sarif"))
    assert len(sarif["runs"][0]["results"][0]["message"]["text"].split("\n- ")) == 2 + len(EVIL), "one line for each"
    assert [each["ruleId"] for each in sarif["runs"][0]["results"]] == ["min-efficiency", "max-waste-percent"]
    github = of("github").splitlines()
    assert [line.split("::")[1].split("=")[0] for line in github[:2]] == ["error title", "error title"]
    assert len(github) == 3, "a name cannot add an annotation"
    table = of("markdown").splitlines()
    assert table[0] == "### `demo/app:1`: FAIL: 0 of 2 rules kept"
    assert all(line.count("|") - line.count("\\|") in (0, 4, 5) for line in table)


def test_sarifs_place_is_an_address(app: Veneer) -> None:
    Path("our rules%.toml").write_text("[check]\nmax-waste = 5\n")
    found = json.loads(app("check", "--rules", "our rules%.toml", "--format", "sarif", "demo/app:1").text)
    [result] = found["runs"][0]["results"]
    place = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert (place, result["level"], found["version"]) == ("our%20rules%25.toml", "error", "2.1.0")
    assert {each["id"] for each in found["runs"][0]["tool"]["driver"]["rules"]} == {result["ruleId"]}


def test_an_archive_is_checked_without_a_store(app: Veneer, tmp_path: Path) -> None:
    archive = tmp_path / "one.tar"
    archive.write_bytes(docker_archive((APP, ["demo/app:1"])))
    assert app("check", "--archive", str(archive)).code == 1
    assert app("check", "--archive", str(archive), "--rule", "max-waste=1GB").code == 0
