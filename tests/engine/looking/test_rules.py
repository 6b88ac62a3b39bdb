"""Rules as people write them, and images held against them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.finished import loaded
from veneer.engine.engine import Engine
from veneer.engine.looking.judging import Figures, Status, figures_of, judge, measure
from veneer.engine.looking.rules import DEFAULTS, BadRule, Rules, read_rules, rules
from veneer.testing.images import Tree, file

BASE: Tree = {"base": b"b" * 1000}
WASTEFUL: Tree = {"base": b"c" * 1000, "junk": b"j" * 500, "bin/su": file(b"s", 0o4755)}
TOP: Tree = {".wh.junk": b"", "keys/id_rsa": b"k"}


def written(folder: Path, name: str, text: str) -> Rules:
    path = folder / name
    path.write_text(text)
    return read_rules(path)


def test_dives_file_is_read_as_it_is(tmp_path: Path) -> None:
    text = """\
# our limits
rules:
  lowestEfficiency: 0.95   # quite good
  highestWastedBytes: '20MB'
  highestUserWastedPercent: disabled
other:
  thing: 1
"""
    found = written(tmp_path, ".dive-ci", text)
    assert (found.min_efficiency, found.max_waste, found.max_waste_percent) == (0.95, 20_000_000, None)
    kebab = written(tmp_path, ".dive-ci", "rules:\n  lowest-efficiency: 0.5\n")
    assert (kebab.min_efficiency, kebab.max_waste_percent) == (0.5, 0.1), "what is not said is dive's default"
    with pytest.raises(BadRule, match="dive has no rule 'lowestScore'"):
        written(tmp_path, ".dive-ci", "rules:\n  lowestScore: 1\n")
    flow = written(tmp_path, ".dive-ci", "rules: {lowestEfficiency: 0.8, 'highestWastedBytes': 2MB}\n")
    assert (flow.min_efficiency, flow.max_waste) == (0.8, 2_000_000)
    assert written(tmp_path, ".dive-ci", "") == written(tmp_path, ".dive-ci", "rules:\n") == rules(DEFAULTS, "")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("rules:\n  nonsense\n", "line 2 is no `key: value`"), ("rules: [a\n", r"line 1: '\[a' are no rules"),
        ("foo: 1\n", "there are no `rules:` in it"), ("rules: {lowestEfficiency}\n", "no `key: value`"),
        ("rules:\n  lowestEffciency: 0.99\n", "dive has no rule 'lowestEffciency'"),
        ("rules:\n  lowestEfficiency: 1.5\n", "'1.5' is no share, of at most 1"),
    ],
)  # fmt: skip
def test_a_broken_file_of_dives_is_no_file_without_rules(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(BadRule, match=complaint):
        written(tmp_path, ".dive-ci", text)


def test_a_list_is_written_with_commas_or_as_toml_has_it() -> None:
    for value in ("/opt/**,/srv/*", '["/opt/**", "/srv/*"]'):
        assert rules({"ignore-paths": value}, "--rule").ignore_paths == ("/opt/**", "/srv/*")
    with pytest.raises(BadRule, match="is no list"):
        rules({"ignore-paths": '["/opt'}, "--rule")


def test_tables_of_toml_are_rules(tmp_path: Path) -> None:
    text = """\
[check]
max-size = "1.5GiB"
forbid-paths = ["*.pyc", "/tmp/*"]
no-setuid-added = true
ignore-base = false
max-growth = "5%"
"""
    found = written(tmp_path, "veneer.toml", text)
    assert found == Rules(max_size=1_610_612_736, forbid_paths=("*.pyc", "/tmp/*"), no_setuid_added=True,
                          ignore_base=False, max_growth=0.05)  # fmt: skip
    assert written(tmp_path, "veneer.toml", "") == Rules()


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("max-wast", 1, "no rule is called 'max-wast'"), ("max-waste", "much", "'much' is no size"),
        ("max-waste", True, "is no size"), ("min-efficiency", "good", "'good' is no share"),
        ("min-efficiency", "-1", "is no share"), ("require-user", "maybe", "neither true nor false"),
        ("forbid-paths", [1], "a list of texts"), ("max-layers", "1 dozen", "is no size"),
    ],
)  # fmt: skip
def test_a_rule_that_cannot_be_is_named(name: str, value: object, complaint: str) -> None:
    with pytest.raises(BadRule, match=complaint):
        rules({name: value}, "veneer.toml")
    if name == "max-wast":
        with pytest.raises(BadRule) as caught:
            rules({name: value}, "veneer.toml")
        assert caught.value.hint == "did you mean max-waste?"


def verdicts(engine: Engine, image: str, said: Rules, **how: object) -> dict[str, tuple[str, str]]:
    with engine.looking.open(image) as subject:
        found = judge(subject, said, **how)  # type: ignore[arg-type]
    return {each.rule: (each.status.value, each.found) for each in found.verdicts}


def test_every_rule_can_be_kept_and_broken(engine: Engine) -> None:
    loaded(engine, "app:1", BASE, WASTEFUL, TOP, config={"User": "app", "Labels": {"a": "1"}})
    good = Rules(
        min_efficiency=0.1, max_waste=1500, max_waste_percent=1.0, max_size=10**6, max_pull=10**6, max_layers=3,
        forbid_paths=("*.pyc",), require_labels=("a",), require_user=True,
    )  # fmt: skip
    assert {status for status, _ in verdicts(engine, "app:1", good).values()} == {"pass"}
    bad = Rules(
        min_efficiency=0.9, max_waste=1499, max_waste_percent=0.1, max_size=1, max_pull=1, max_layers=2,
        forbid_paths=("id_*",), no_setuid_added=True, no_secret_like_paths=True, require_labels=("b",),
    )  # fmt: skip
    found = verdicts(engine, "app:1", bad)
    assert {status for status, _ in found.values()} == {"fail"} and len(found) == 10
    loaded(engine, "root:1", BASE)
    assert verdicts(engine, "root:1", Rules(require_user=True)) == {"require-user": ("fail", "root")}
    loaded(engine, "root:2", BASE, config={"User": "00:5"})
    assert verdicts(engine, "root:2", Rules(require_user=True)) == {"require-user": ("fail", "00:5")}


@pytest.mark.parametrize("end", [r"\Z", r"\z"], ids=["python-3.13", "python-3.14"])
def test_a_forbidden_directory_forbids_what_is_in_it(engine: Engine, monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    import fnmatch

    translate = fnmatch.translate
    monkeypatch.setattr(fnmatch, "translate", lambda text: translate(text)[:-2] + end)
    loaded(engine, "app:1", {"private/deep/key": b"k"})
    found = verdicts(engine, "app:1", Rules(forbid_paths=("priv*",)))
    assert found["forbid-paths"] == ("fail", "3")


def test_the_bases_waste_is_not_the_images_fault(engine: Engine) -> None:
    loaded(engine, "app:1", BASE, WASTEFUL, TOP)
    with engine.looking.open("app:1") as subject:
        assert measure(subject, Rules(), 0).waste == 1500
        assert measure(subject, Rules(), 2).waste == 500
        assert measure(subject, Rules(ignore_base=False), 2).waste == 1500
        assert measure(subject, Rules(ignore_paths=("junk",)), 0).waste == 1000
        own = measure(subject, Rules(), 2)
        assert own.waste_percent == 500 / 1, "by what its own layer stores"
        dive = measure(subject, Rules(), 0, dive=True)
        assert (dive.waste, dive.efficiency < 1) == (2500, True)


def test_what_nobody_knows_is_neither_kept_nor_broken(engine: Engine) -> None:
    loaded(engine, "app:1", BASE)
    with engine.looking.open("app:1") as subject:
        subject.documents = subject.documents.replaced(blobs=(None,))
        [verdict] = judge(subject, Rules(max_pull=1)).verdicts
        before = measure(subject, Rules(), 0)
    assert (verdict.status, verdict.found) == (Status.SKIP, "not known of these layers")
    assert before.pull is None and figures_of(before.document()) == before


def test_programs_are_told_of_every_path_and_people_of_ten(engine: Engine) -> None:
    loaded(engine, "app:1", {f"x/{number:02}.pyc": b"1" for number in range(29)})
    with engine.looking.open("app:1") as subject:
        [verdict] = judge(subject, Rules(forbid_paths=("*.pyc",))).verdicts
    assert (verdict.found, len(verdict.details), verdict.more) == ("29", 29, 0)
    assert verdict.told()[9:] == ["/x/09.pyc in layer 1", "… and 19 more"]


def test_dives_figures_are_explained_by_dives_paths(engine: Engine) -> None:
    loaded(engine, "app:1", BASE, WASTEFUL, TOP)
    with engine.looking.open("app:1") as subject:
        [verdict] = judge(subject, Rules(max_waste=1), dive=True).verdicts
    assert verdict.details == ("2000 /base: all its 2 copies", "500 /junk: all its 2 copies")


def test_growth_is_against_a_baseline(engine: Engine) -> None:
    loaded(engine, "app:1", BASE)
    loaded(engine, "app:2", BASE, {"more": b"m" * 100})
    with engine.looking.open("app:1") as subject:
        before = measure(subject, Rules(), 0)
    limit = Rules(max_growth=0.05)
    assert verdicts(engine, "app:2", limit, baseline=before) == {"max-growth": (Status.FAIL, "+10.0%")}
    assert verdicts(engine, "app:1", limit, baseline=before) == {"max-growth": (Status.PASS, "+0.0%")}
    assert verdicts(engine, "app:1", limit)["max-growth"][0] == Status.SKIP
    assert figures_of({"figures": before.document()}) == before
    assert figures_of({}) is None
    assert isinstance(before, Figures)
