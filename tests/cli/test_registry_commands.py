"""pull, push, login and logout against a real registry, told in docker's lines."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.cli.conftest import Veneer
from tests.support.registries import RealRegistry

DATA = Path(__file__).parent / "golden"


def _lines(text: str) -> list[str]:
    """The lines of a push or pull, with the hex of layers replaced: blobs made here have digests of their own."""
    return [
        re.sub(r"^[0-9a-f]{12}: ", "LAYER: ", re.sub(r"sha256:[0-9a-f]{64}", "DIGEST", line))
        for line in text.splitlines()
    ]


@pytest.fixture
def pushed(veneer: Veneer, registry: RealRegistry) -> str:
    """The name of a two-layer image that was pushed, and is still here."""
    name = f"{registry.host}/cli-{abs(hash(veneer.root)):x}/app"
    assert veneer("load", "-i", str(DATA / "app.tar.gz")).code == 0
    assert veneer("tag", "gold/app:1", f"{name}:1").code == 0
    answer = veneer("push", f"{name}:1")
    assert answer.code == 0, answer.err
    return name


def test_push_tells_each_layer_and_the_digest(veneer: Veneer, pushed: str) -> None:
    answer = veneer("push", f"{pushed}:1")
    heading, *layers, last = _lines(answer.text)
    assert heading == f"The push refers to repository [{pushed}]"
    assert sorted(layers) == ["LAYER: Layer already exists"] * 2 + ["LAYER: Preparing"] * 2
    assert re.fullmatch(r"1: digest: DIGEST size: \d+", last)
    assert (answer.code, answer.err) == (0, "")


def test_push_of_all_tags_has_one_heading(veneer: Veneer, pushed: str, registry: RealRegistry) -> None:
    veneer("tag", f"{pushed}:1", f"{pushed}:2")
    lines = _lines(veneer("push", "-a", pushed).text)
    assert lines.count(f"The push refers to repository [{pushed}]") == 1
    assert [line[:10] for line in lines if "digest:" in line] == ["1: digest:", "2: digest:"]
    assert registry.tags(pushed.partition("/")[2]) == ["1", "2"]


def test_quiet_push_prints_the_name_alone(veneer: Veneer, pushed: str) -> None:
    assert veneer("push", "-q", f"{pushed}:1").text == f"{pushed}:1\n"


def test_push_of_what_is_not_here(veneer: Veneer, registry: RealRegistry) -> None:
    answer = veneer("push", f"{registry.host}/cli/nosuch")
    assert answer.code == 1
    assert f"Error: An image does not exist locally with the tag: {registry.host}/cli/nosuch" in answer.err
    answer = veneer("push", "-a", f"{registry.host}/cli/nosuch")
    assert f"Error: An image does not exist locally with the tag: {registry.host}/cli/nosuch" in answer.err


def test_pull_tells_each_layer_the_digest_and_the_name(veneer: Veneer, pushed: str, tmp_path: Path) -> None:
    other = Veneer(tmp_path / "other")
    answer = other("pull", f"{pushed}:1")
    assert (answer.code, answer.err) == (0, "")
    heading, *layers, digest, status, name = _lines(answer.text)
    assert heading == f"1: Pulling from {pushed.partition('/')[2]}"
    statuses = ("Pulling fs layer", "Verifying Checksum", "Download complete", "Pull complete")
    assert sorted(line for line in layers if "Waiting" not in line) == sorted(f"LAYER: {each}" for each in statuses * 2)
    assert (digest, status) == ("Digest: DIGEST", f"Status: Downloaded newer image for {pushed}:1")
    assert name == f"{pushed}:1"
    again = _lines(other("pull", f"{pushed}:1").text)
    assert again == [heading, digest, f"Status: Image is up to date for {pushed}:1", name]
    assert other("pull", "-q", f"{pushed}:1").text == f"{pushed}:1\n"
    missing = other("history", "-q", f"{pushed}:1").text.split()
    assert len(missing) == 8 and missing[1:] == ["<missing>"] * 7


def test_pull_of_all_tags(veneer: Veneer, pushed: str, tmp_path: Path) -> None:
    veneer("tag", f"{pushed}:1", f"{pushed}:2")
    veneer("push", f"{pushed}:2")
    other = Veneer(tmp_path / "other")
    lines = _lines(other("pull", "-a", pushed).text)
    repository = pushed.partition("/")[2]
    assert {f"1: Pulling from {repository}", f"2: Pulling from {repository}"} <= set(lines)
    assert lines[-2:] == [f"Status: Downloaded newer image for {pushed}", pushed]
    assert sum(line.startswith("Status: ") for line in lines) == 1
    assert sorted(other("images", "--format", "{{.Tag}}").text.split()) == ["1", "2"]


def test_an_image_pulled_by_digest_has_no_tag(veneer: Veneer, pushed: str, tmp_path: Path) -> None:
    digest = json.loads(veneer("inspect", "-f", "{{json .RepoDigests}}", f"{pushed}:1").text)[0]
    other = Veneer(tmp_path / "other")
    answer = other("pull", digest)
    shown = digest.partition("@")[2]
    assert answer.text.splitlines()[0].endswith(f"{shown}: Pulling from {pushed.partition('/')[2]}")
    assert answer.text.splitlines()[-1] == digest
    table = other("images", "--digests").text.splitlines()
    assert table[1].split()[:3] == [pushed, "<none>", digest.partition("@")[2]]
    assert other("images", "--format", "{{.Tag}}|{{.Digest}}").text == "<none>|\n"
    assert other("images").text.splitlines()[1].split()[:2] == [pushed, "<none>"]


def test_pull_of_what_the_registry_does_not_have(veneer: Veneer, registry: RealRegistry) -> None:
    answer = veneer("pull", f"{registry.host}/cli/nosuch:9")
    assert answer.code == 1
    assert answer.err.startswith(f"Error: manifest for {registry.host}/cli/nosuch:9 not found")


@pytest.fixture
def docker_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    return tmp_path / "docker" / "config.json"


def test_login_keeps_credentials_and_logout_forgets_them(
    veneer: Veneer, private_registry: RealRegistry, docker_config: Path
) -> None:
    host = private_registry.host
    answer = veneer("login", "-u", "ada", "--password-stdin", host, stdin=b"lovelace\n")
    assert (answer.code, answer.text) == (0, "Login Succeeded\n")
    assert answer.err == (
        f"\nWARNING! Your credentials are stored unencrypted in '{docker_config}'.\nConfigure a credential helper to "
        "remove this warning. See\nhttps://docs.docker.com/go/credential-store/\n\n"
    )
    assert host in json.loads(docker_config.read_text())["auths"]
    assert veneer("logout", host).text == f"Removing login credentials for {host}\n"
    assert host not in json.loads(docker_config.read_text()).get("auths", {})
    assert veneer("logout", host).text == f"Not logged in to {host}\n"


def test_a_wrong_password_is_refused_and_not_kept(
    veneer: Veneer, private_registry: RealRegistry, docker_config: Path
) -> None:
    answer = veneer("login", "-u", "ada", "-p", "byron", f"http://{private_registry.host}/v2/")
    assert answer.code == 1
    assert answer.err.startswith("WARNING! Using --password via the CLI is insecure. Use --password-stdin.\nError: ")
    assert "byron" not in answer.err
    assert not docker_config.exists()


def test_logout_of_docker_hub_names_it_as_docker_does(veneer: Veneer, docker_config: Path) -> None:
    assert veneer("logout").text == "Not logged in to https://index.docker.io/v1/\n"


@pytest.mark.parametrize(("words", "complaint"), [
    (["-u", "x"], "Error: Cannot perform an interactive login from a non TTY device\n"),
    (["-u", "x", "-p", ""],
     "WARNING! Using --password via the CLI is insecure. Use --password-stdin.\nError: password is empty\n"),
    (["-u", "x", "--password-stdin"], "Error: password is required\n"),
])  # fmt: skip
def test_login_without_credentials(veneer: Veneer, words: list[str], complaint: str) -> None:
    answer = veneer("login", *words, "127.0.0.1:1")
    assert (answer.code, answer.err) == (1, complaint)
