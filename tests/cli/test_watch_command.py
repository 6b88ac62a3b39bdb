"""`veneer watch`: a real registry's tag moves, a command and a URL are told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Veneer
from tests.support.containers import until
from tests.support.programs import VENEER, Background
from tests.support.registries import RealRegistry
from tests.support.web import Answer, serving
from veneer.distribution.webhook import SIGNATURE, TIMESTAMP, signature
from veneer.testing.images import image
from veneer.testing.registry import Registry

OLD, NEW = image({"a": b"1"}, {"b": b"old"}), image({"a": b"1"}, {"b": b"new\n"})


def test_a_move_is_printed_run_and_posted(veneer: Veneer, registry: RealRegistry, tmp_path: Path) -> None:
    name = registry.put("watch/app:1", OLD)
    seen, secret = tmp_path / "seen", tmp_path / "secret"
    secret.write_text("sesame\n")
    words_of_it = 'echo "$VENEER_WATCH_EVENT $1 $2 $3"; env | grep -c ^VENEER_WATCH_'
    command = f"cat > {seen}; ({words_of_it}) > {seen}.words"
    with serving() as web:
        web.pages["/hook"] = Answer()
        words = ["watch", "--once", "--files", "--exec", command, "--webhook", f"{web.url}/hook", "--allow-private",
                 "--secret-file", str(secret), name]  # fmt: skip
        first = veneer(*words)
        assert (first.code, first.text) == (
            0,
            "",
        ) and first.err == f"{name} is {OLD.digest}; whatever becomes of it will be told\n"
        assert (veneer(*words).err, web.asked) == ("", [])
        registry.put("watch/app:1", NEW)
        told = veneer(*words)
        assert told.code == 0, told.err
        lines = told.text.splitlines()
        assert f"{name} moved: {OLD.digest[7:19]} -> {NEW.digest[7:19]}; 1 layer more, 1 layer less" in lines[0]
        assert lines[-1] == "  M /b"
        [request] = web.asked
        assert request.headers[SIGNATURE] == signature(b"sesame", request.headers[TIMESTAMP], request.body)
        assert request.headers["X-Veneer-Event"] == "changed" and len(request.headers["X-Veneer-Delivery"]) == 32
        message = json.loads(request.body)
        assert message == json.loads(seen.read_text()) and message["files"]["counts"] == {"M": 1}
        assert (tmp_path / "seen.words").read_text() == f"changed {name} {OLD.digest} {NEW.digest}\n6\n"
        assert veneer(*words).text == "" and len(web.asked) == 1


def test_json_is_one_line_for_each_move(veneer: Veneer, registry: RealRegistry) -> None:
    one, other = registry.put("watch/one:1", OLD), registry.put("watch/other:1", OLD)
    words = ["watch", "--once", "-q", "--format", "json", one, other, one]
    assert (veneer(*words).text, veneer(*words).err) == ("", "")
    registry.put("watch/one:1", NEW)
    registry.put("watch/other:1", NEW)
    told = [json.loads(line) for line in veneer(*words).text.splitlines()]
    assert [each["reference"] for each in told] == [one, other] and told[0]["files"] is None


def test_it_goes_on_until_it_is_stopped(registry: RealRegistry, tmp_path: Path) -> None:
    name = registry.put("watch/on:1", OLD)
    seen = tmp_path / "seen"
    words: list[str | Path] = ["--root", tmp_path / "root", "watch", "--interval", "1s"]
    words += ["--exec", f"cat >> {seen}", name]
    program = Background([VENEER, *words], tmp_path / "log")
    try:
        until(lambda: "will be told" in program.said(), "it is not seen")
        registry.put("watch/on:1", NEW)
        until(lambda: seen.exists() and seen.read_text().endswith("}"), "nobody is told")
        assert json.loads(seen.read_text())["after"]["digest"] == NEW.digest
    finally:
        program.stop()


def test_who_cannot_be_told_and_who_cannot_be_asked_is_said(veneer: Veneer, tmp_path: Path) -> None:
    with Registry() as fake:
        fake.add("app:1", OLD)
        name = f"{fake.host}/app:1"
        words = ["watch", "--once", "-q", "--exec", "exit 3", "--webhook", f"http://{fake.host}/hook?token=hush", name]
        assert veneer(*words).code == 0
        fake.add("app:1", NEW)
        told = veneer(*words)
        assert told.code == 1 and "moved" in told.text
        assert "Error: 'exit 3' ended with 3\n" in told.err
        assert f"Error: {fake.host} is 127.0.0.1, which is no address of the open network" in told.err
        assert "hush" not in told.err and "hint: --allow-private" in told.err
        assert not fake.requests("/hook")
        fake.fault("/manifests/", method="", status=429, times=-1, headers={"Retry-After": "3600"})
        before = len(fake.requests("/manifests/"))
        limited = veneer("watch", "--once", "-q", name)
        assert limited.code == 1 and "answers 429" in limited.err
        assert len(fake.requests("/manifests/")) == before + 1, "later is later"


@pytest.mark.parametrize(("words", "complaint"), [
    (["app@sha256:" + "0" * 64], "Error: app@sha256:"),
    (["--interval", "soon", "app:1"], "Error: invalid --interval 'soon'"),
    (["--interval", "1ms", "app:1"], "Error: invalid --interval '1ms'"),
    (["--webhook", "file:///etc/passwd", "app:1"], "Error: 'file:///etc/passwd': not an http or https URL"),
    (["--webhook", "https://u:p@h/", "app:1"], "Error: h: a URL with a user in it"),
    (["--allow-private", "app:1"], "Error: --secret-file and --allow-private are about a --webhook"),
    (["--secret-file", "/nosuch", "--webhook", "https://h/", "app:1"], "Error: cannot read /nosuch"),
    (["--format", "xml", "app:1"], "Error: invalid --format 'xml'"),
    ([], "veneer: 'veneer watch' requires at least 1 argument"),
])  # fmt: skip
def test_what_cannot_be_is_said(veneer: Veneer, words: list[str], complaint: str) -> None:
    answer = veneer("watch", "--once", *words)
    assert answer.code != 0 and answer.err.startswith(complaint), answer.err
