"""What the documents show works, and what they list is complete."""

from __future__ import annotations

import doctest
import importlib
import json
import os
import pkgutil
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import veneer
from tests.support.programs import VENEER, needs, run
from tests.support.registries import RealRegistry
from veneer.engine.engine import open_engine
from veneer.errors import VeneerError

HOME = Path(__file__).parents[2]
DOCUMENTS = sorted([*HOME.glob("*.md"), *HOME.glob("docs/**/*.md")])
REGISTRY = "localhost:5000"
"""The registry documents name; the tests put a running one in its place."""


def blocks(document: Path, language: str) -> list[str]:
    """The fenced code blocks of one language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", document.read_text(), re.M | re.S)


def steps(block: str) -> Iterator[tuple[str, str]]:
    """The commands of a console block with the output shown below each."""
    command, shown = "", ""
    for line in block.splitlines():
        if line.startswith("$ "):
            if command:
                yield command, shown
            command, shown = line[2:], ""
        else:
            shown += line + "\n"
    yield command, shown


def plain(text: str) -> str:
    """The text without what differs from run to run: digests, IDs and ages."""
    text = re.sub(r"\b[0-9a-f]{12,64}\b", "<hex>", text)
    return re.sub(r"(Less than a second|About an? \w+|\d+ (second|minute)s?) ago", "<age>", text)


def agrees(shown: str, got: str) -> bool:
    """Whether `got` is what a document shows, where `...` stands for anything and runs of blanks are one."""
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    return not shown or doctest.OutputChecker().check_output(plain(shown), plain(got), flags)


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment the documents assume: veneer on PATH, a store of its own, the project's scripts beside.

    No container of it is left, wherever a document's commands ended.
    """
    (tmp_path / "scripts").symlink_to(HOME / "scripts")
    path = f"{VENEER.parent}:{os.environ['PATH']}:/usr/sbin"
    yield {"PATH": path, "HOME": str(tmp_path), "VENEER_ROOT": str(tmp_path / "store"), "TZ": "UTC"}
    if (tmp_path / "store/containers").exists():
        with open_engine(tmp_path / "store") as engine:
            for container in engine.containers.list():
                engine.containers.remove(container.id, force=True, volumes=True)


@pytest.mark.parametrize(
    "document", [each for each in DOCUMENTS if blocks(each, "console")], ids=lambda each: each.name
)
def test_every_command_a_document_shows_prints_what_it_shows(
    document: Path, registry: RealRegistry, sandbox: dict[str, str], tmp_path: Path
) -> None:
    needs("busybox", "skopeo")
    for block in blocks(document, "console"):
        # By the name the documents use: what is sorted by name stands in the order they show.
        for command, shown in steps(block.replace(REGISTRY, registry.host.replace("127.0.0.1", "localhost"))):
            done = subprocess.run(["bash", "-euo", "pipefail", "-c", command], cwd=tmp_path, env=sandbox, text=True,
                                  capture_output=True, stdin=subprocess.DEVNULL, check=False)  # fmt: skip
            assert done.returncode == 0, f"$ {command}\n{done.stdout}{done.stderr}"
            assert agrees(shown, done.stdout), f"$ {command}\nshown:\n{shown}\ngot:\n{done.stdout}"


def test_the_python_documents_session_runs_as_shown(
    registry: RealRegistry, busybox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VENEER_ROOT", str(tmp_path / "store"))
    (tmp_path / "rootfs.tar").symlink_to(busybox)
    text = (HOME / "docs" / "python.md").read_text().replace(REGISTRY, registry.host)
    session = doctest.DocTestParser().get_doctest(text, {}, "docs/python.md", None, 0)
    said: list[str] = []
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    failed, tried = doctest.DocTestRunner(optionflags=flags).run(session, out=said.append)
    assert tried > 10
    assert not failed, "".join(said)


def test_readmes_python_runs(busybox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VENEER_ROOT", str(tmp_path / "store"))
    run(VENEER, "import", busybox, "tiny:1")
    for block in blocks(HOME / "README.md", "python"):
        exec(compile(block, "README.md", "exec"), {})


def every_error() -> list[type[VeneerError]]:
    for module in pkgutil.walk_packages(veneer.__path__, "veneer."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found: set[type[VeneerError]] = set()
    pending: list[type[VeneerError]] = [VeneerError]
    while pending:
        kind = pending.pop()
        found.add(kind)
        pending += kind.__subclasses__()
    return sorted(
        (kind for kind in found if kind.__module__.startswith("veneer.") and kind.__name__[0] != "_"),
        key=lambda kind: kind.__name__,
    )


def test_every_error_is_explained_and_every_explained_error_exists() -> None:
    listed = re.findall(r"^\| `(\w+)` \|", (HOME / "docs" / "errors.md").read_text(), re.M)
    names = [kind.__name__ for kind in every_error()]
    assert sorted(listed) == sorted(set(listed)), "an error is listed twice"
    assert sorted(set(names) - set(listed)) == [], "errors without a line in docs/errors.md"
    assert sorted(set(listed) - set(names)) == [], "lines of docs/errors.md without an error"


def test_every_dependency_is_explained() -> None:
    project = tomllib.loads((HOME / "pyproject.toml").read_text())
    wanted = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    names = {re.match(r"[\w.-]+", line)[0] for line in wanted}  # type: ignore[index]
    names |= set(json.loads((HOME / "web" / "package.json").read_text())["dependencies"])
    listed = set(re.findall(r"^\| `([\w.-]+)` \|", (HOME / "docs" / "dependencies.md").read_text(), re.M))
    assert listed == names


def test_every_dependency_is_pinned() -> None:
    project = tomllib.loads((HOME / "pyproject.toml").read_text())

    def pinned(name: str) -> set[str]:
        lines = (HOME / name).read_text().splitlines()
        return {line.partition("==")[0].lower() for line in lines if "==" in line}

    def asked(lines: list[str]) -> set[str]:
        return {re.match(r"[\w.-]+", line)[0].lower() for line in lines}  # type: ignore[index]

    assert asked(project["project"]["dependencies"]) <= pinned("requirements.lock")
    assert asked(project["dependency-groups"]["dev"]) <= pinned("requirements-dev.lock")


def test_every_decision_is_numbered_in_turn_and_listed() -> None:
    folder = HOME / "docs" / "decisions"
    pages = sorted(path.name for path in folder.glob("[0-9]*.md"))
    assert [int(name[:4]) for name in pages] == list(range(1, len(pages) + 1))
    index = (folder / "README.md").read_text()
    for name in pages:
        title = (folder / name).read_text().splitlines()[0].removeprefix("# ")
        assert f"[{title}]({name})" in index
        assert "**Decided:**" in (folder / name).read_text()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda each: str(each.relative_to(HOME)))
def test_every_link_between_documents_leads_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", document.read_text()):
        if "://" not in target:
            assert (document.parent / target).exists(), target
