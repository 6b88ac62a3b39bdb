"""Docker's config.json: read as docker reads it, written so that docker can read it."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from veneer.distribution.auth import Credentials
from veneer.distribution.credentials import (
    BadCredentialFile,
    BadCredentialHelper,
    CredentialFile,
    CredentialHelperFailed,
)

ADA = Credentials("ada", "love:lace")
HELPER = """#!/bin/sh
echo "$@" >>"$0.log"
cat >"$0.stdin"
case $1 in
get) cat "$0.answer" ;;
*) exit 0 ;;
esac
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "docker" / "config.json"


def write(path: Path, **document: object) -> CredentialFile:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return CredentialFile(path)


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A credential helper called `safe`, first on PATH."""
    program = tmp_path / "bin" / "docker-credential-safe"
    program.parent.mkdir()
    program.write_text(HELPER)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return program


def test_without_a_file_nobody_is_logged_in(path: Path) -> None:
    assert CredentialFile(path).get("quay.io") is None


def test_what_is_written_is_read_back_and_only_ours_to_read(path: Path) -> None:
    file = CredentialFile(path)
    assert file.set("quay.io", ADA) == str(path)
    assert file.get("quay.io") == ADA
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list(path.parent.iterdir()) == [path]


def test_docker_hub_is_filed_under_the_key_docker_uses(path: Path) -> None:
    CredentialFile(path).set("docker.io", ADA)
    assert list(json.loads(path.read_text())["auths"]) == ["https://index.docker.io/v1/"]
    assert CredentialFile(path).get("docker.io") == ADA


def test_keys_that_old_dockers_wrote_as_urls_are_found(path: Path) -> None:
    file = write(path, auths={"https://quay.io/v1/": {"auth": "YWRhOmxvdmU6bGFjZQ=="}})
    assert file.get("quay.io") == ADA
    assert file.get("quay.io:5000") is None


def test_identity_tokens_are_read_and_written(path: Path) -> None:
    file = CredentialFile(path)
    file.set("acr.example", Credentials("ada", identity_token="t0ken"))
    assert json.loads(path.read_text())["auths"]["acr.example"] == {"auth": "YWRhOg==", "identitytoken": "t0ken"}
    assert file.get("acr.example") == Credentials("ada", "", "t0ken")


def test_whatever_else_the_file_holds_stays_in_its_order(path: Path) -> None:
    before = {"HttpHeaders": {"X": "y"}, "auths": {"a.example": {"auth": "eA=="}}, "psFormat": "table"}
    file = write(path, **before)
    file.set("quay.io", ADA)
    assert file.erase("quay.io")
    assert json.loads(path.read_text()) == before
    assert list(json.loads(path.read_text())) == list(before)


def test_logging_out_where_nobody_was_in_says_so(path: Path) -> None:
    assert CredentialFile(path).erase("quay.io") is False
    assert not path.exists()


def test_a_symlinked_file_stays_a_symlink(path: Path, tmp_path: Path) -> None:
    real = tmp_path / "dotfiles.json"
    real.write_text("{}")
    path.parent.mkdir()
    path.symlink_to(real)
    CredentialFile(path).set("quay.io", ADA)
    assert path.is_symlink() and "quay.io" in real.read_text()


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"auths": []}', '{"auths": {"quay.io": {"auth": "%%%"}}}', '{"auths": {"quay.io": {"auth": "YWRh"}}}'],
)
def test_a_file_that_is_not_right_is_named_and_no_secret_shown(path: Path, text: str) -> None:
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(BadCredentialFile) as caught:
        CredentialFile(path).get("quay.io")
    assert str(path) in str(caught.value) and "YWRh" not in str(caught.value)


def test_a_helper_is_asked_over_stdin_and_answers_over_stdout(path: Path, helper: Path) -> None:
    Path(f"{helper}.answer").write_text('{"ServerURL": "quay.io", "Username": "ada", "Secret": "love:lace"}')
    assert write(path, credHelpers={"quay.io": "safe"}).get("quay.io") == ADA
    assert Path(f"{helper}.log").read_text() == "get\n"
    assert Path(f"{helper}.stdin").read_text() == "quay.io"


def test_a_helper_may_keep_identity_tokens(path: Path, helper: Path) -> None:
    Path(f"{helper}.answer").write_text('{"Username": "<token>", "Secret": "t0ken"}')
    assert write(path, credsStore="safe").get("quay.io") == Credentials(identity_token="t0ken")


def test_a_secret_given_to_a_helper_is_neither_in_its_arguments_nor_in_the_file(path: Path, helper: Path) -> None:
    file = write(path, credsStore="safe")
    assert file.set("docker.io", ADA) == "docker-credential-safe"
    assert json.loads(Path(f"{helper}.stdin").read_text()) == {
        "ServerURL": "https://index.docker.io/v1/", "Username": "ada", "Secret": "love:lace",
    }  # fmt: skip
    assert Path(f"{helper}.log").read_text() == "store\n"
    assert json.loads(path.read_text()) == {"credsStore": "safe", "auths": {"https://index.docker.io/v1/": {}}}


def test_logging_out_asks_the_helper_to_erase(path: Path, helper: Path) -> None:
    assert write(path, credsStore="safe", auths={"quay.io": {}}).erase("quay.io")
    assert Path(f"{helper}.log").read_text() == "erase\n"
    assert json.loads(path.read_text())["auths"] == {}


def test_a_helper_that_knows_nothing_means_nobody_is_logged_in(path: Path, helper: Path) -> None:
    helper.write_text("#!/bin/sh\ncat >/dev/null\necho credentials not found in native keychain\nexit 1\n")
    assert write(path, credsStore="safe").get("quay.io") is None


def test_a_helper_that_fails_is_named_but_what_it_was_given_is_not_shown(path: Path, helper: Path) -> None:
    helper.write_text("#!/bin/sh\ncat\nexit 3\n")
    with pytest.raises(CredentialHelperFailed, match="docker-credential-safe store ended with status 3") as caught:
        write(path, credsStore="safe").set("quay.io", ADA)
    assert "lace" not in str(caught.value)


def test_a_helper_that_answers_nonsense_is_named_and_not_quoted(path: Path, helper: Path) -> None:
    Path(f"{helper}.answer").write_text("love:lace")
    with pytest.raises(CredentialHelperFailed, match="not a JSON object") as caught:
        write(path, credsStore="safe").get("quay.io")
    assert "lace" not in str(caught.value)


def test_a_missing_helper_is_named(path: Path) -> None:
    with pytest.raises(CredentialHelperFailed, match="docker-credential-nosuchhelper is not on PATH"):
        write(path, credsStore="nosuchhelper").get("quay.io")


@pytest.mark.parametrize("name", ["../../evil", "a b", "a;b", "Ｘ", "a/b", "UPPER", "-x\n"])
def test_a_helper_name_cannot_name_another_program(path: Path, name: str) -> None:
    with pytest.raises(BadCredentialHelper, match="no credential helper's name"):
        write(path, credHelpers={"quay.io": name}).get("quay.io")
