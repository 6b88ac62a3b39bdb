"""What containers have written: diff, commit, export and cp do what docker's do, or the difference is argued."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import shutil
import stat
import tarfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.compat.conftest import Veneer
from tests.support.containers import until
from tests.support.peers import Docker
from tests.support.programs import Output, run
from tests.support.rootfs import busybox_tar
from veneer.engine.engine import open_engine

pytestmark = [pytest.mark.compat, pytest.mark.usefixtures("root_only")]
IMAGE = "layer:1"
Engines = tuple[Veneer | Docker, Veneer | Docker]

WRITES = {
    "nothing": "true",
    "a new file": "echo x > /t/new",
    "a new tree": "mkdir -p /t/n/m; touch /t/n/m/f",
    "another content": "echo longer > /t/d/f",
    "the same size, another time": "echo other > /t/d/f",
    "another mode": "chmod 600 /t/d/f",
    "another mode and back": "chmod 600 /t/d/f; chmod 644 /t/d/f",
    "another owner": "chown 5:6 /t/d/f",
    "another time": "touch -d @5 /t/d/f",
    "a directory's time": "touch -d @5 /t/d",
    "a directory's mode": "chmod 700 /t/d",
    "a directory's owner": "chown 5:6 /t/d",
    "a file gone": "rm /t/d/f",
    "a tree gone": "rm -r /t/d",
    "a tree made anew": "rm -r /t/d; mkdir /t/d",
    "a tree made anew with one of its files": "rm -r /t/d; mkdir /t/d; echo x > /t/d/f",
    "a file that is a directory": "rm /t/d/f; mkdir /t/d/f; touch /t/d/f/in",
    "a directory that is a file": "rm -r /t/d/s; touch /t/d/s",
    "a file renamed": "mv /t/d/f /t/d/g",
    "a tree renamed": "mv /t/d /t/e",
    "one more name": "ln /t/d/f /t/d/g",
    "another link": "rm /t/l; ln -s elsewhere /t/l",
    "a link that is a file": "rm /t/l; touch /t/l",
    "a device and a pipe": "mknod /t/null c 1 3; mkfifo /t/pipe",
    "made and gone": "touch /t/d/new; rm /t/d/new",
    "below the init layer's": "echo x > /etc/mine; echo y > /dev/mine; echo z > /t/z",
    "at the root": "touch /top; rm -r /u",
    "names that sort": "touch /t/a.b /t/a-b /t/ab; mkdir /t/a; touch /t/a/b",
}
"""Shell scripts, each run in a container of its own whose image has /t/d/f, /t/d/s/x, /t/l -> d and /u/v."""

CONFIGURED = [
    [],
    ["-a", "Me <me@example.org>", "-m", "what it is"],
    ["-p=false"],
    ["-c", "ENV A=2 B=3", "-c", 'CMD ["x", "y"]', "-c", "ENTRYPOINT z"],
    ["-c", "LABEL a=b", "-c", "EXPOSE 80 53/udp", "-c", "USER me", "-c", "VOLUME /v", "-c", "WORKDIR /w"],
    ["-c", "HEALTHCHECK --interval=5s CMD true", "-c", "ONBUILD RUN true"],
]
"""Options of commit."""

COPIES = """
cp box:/t/d HERE/one
cp box:/t/d HERE/one
cp box:/t/d/. HERE/one
cp box:/t/d/f HERE/file
cp box:/t/d/f HERE/one
cp box:/t/d/f HERE/one/
cp box:/t/d/f HERE/nosuch/
cp box:/t/d/f HERE/nosuch/file
cp box:/t/d HERE/nosuch/dir
cp box:/t/d HERE/file
cp box:/t/d/f/ HERE/out
cp box:/t/l HERE/link
cp -L box:/t/l HERE/followed
cp box:/t/l/ HERE/through
cp -a box:/t/owned HERE/owned
cp box:/t/owned HERE/mine
cp box:/t/nosuch HERE/x
cp box:t/d/f HERE/relative
cp box:../../t/d/f HERE/above
cp box:/t/up/etc/passwd HERE/passwd
cp nosuch:/t HERE/x
cp HERE/nosuch box:/t
cp HERE/in/file box:/t/new
cp HERE/in/file box:/t/new
cp HERE/in/file box:/t
cp HERE/in/file box:/t/
cp HERE/in/file box:/t/nosuch/
cp HERE/in/file box:/t/nosuch/file
cp HERE/in/dir box:/t/copied
cp HERE/in/dir box:/t/copied
cp HERE/in/dir/. box:/t/contents
cp HERE/in/dir/. box:/t
cp HERE/in/dir box:/t/new
cp HERE/in/link box:/t/aslink
cp -L HERE/in/link box:/t/asfile
cp HERE/in/file box:/t/l/via
cp HERE/in/file box:/t/up/tmp/inside
cp HERE/in/file box:/t/d/s
cp HERE/in/file box:/t/file-link
cp HERE/in/file box:
cp HERE/in/file HERE/x
cp box:/t box:/u
cp box:/t
cp HERE/in/file box:/vol/f
cp box:/vol/f HERE/fromvolume
cp box:/vol HERE/volume
cp HERE/in/file box:/ro/f
cp HERE/in box:/etc/hostname
cp box:/nosuch/. HERE/x
cp HERE/in/theirs box:/t/theirs
cp -a HERE/in/theirs box:/t/archived
cp HERE/in/owned box:/t/owned-in
cp HERE/in/setid box:/t/setid
cp box:/t/setid HERE/setid
cp HERE/in/pipe box:/t/pipe
cp box:/t/pipe HERE/pipe
"""
"""Copies, one after another: on each side a container box, and HERE a folder with in/file, in/dir/sub/f, in/link."""

_NO_DIRECTORY = "an error names the path itself"
ARGUED = {
    "cp box:/t/d/f HERE/nosuch/file": _NO_DIRECTORY,
    "cp box:/t/d HERE/nosuch/dir": _NO_DIRECTORY,
    "cp box:/t/d/f/ HERE/out": "an error names the path in the container, not one below the data root",
    "cp HERE/in/file box:": "the same, and what to do",
    "cp box:/t": "the number of arguments is told as newer docker clients tell it",
    "cp -a box:/t/owned HERE/owned": "owners are kept, as docker's manual says of -a",
}
"""Where veneer differs on purpose, and why; the exit status is docker's."""


def base(folder: Path) -> Path:
    """A root file system: busybox, and /t and /u as WRITES says."""
    made = busybox_tar(folder / "busybox.tar")
    with tarfile.open(made, "a") as archive:
        for name in (
            "t", "t/d", "t/d/s", "t/d/s/x", "t/d/f", "t/l", "t/owned", "t/owned/f", "t/up", "t/file-link", "u", "u/v",
            "vol", "ro",
        ):  # fmt: skip
            member = tarfile.TarInfo(name)
            member.mtime, member.mode = 1_000_000_000, 0o755
            content = b""
            if name in ("t/l", "t/up", "t/file-link"):
                member.type = tarfile.SYMTYPE
                member.linkname = {"t/l": "d", "t/up": "../../../..", "t/file-link": "/t/d/f"}[name]
            elif name.endswith(("/x", "/f", "/v")):
                content = b"first\n"
                member.mode, member.size = 0o644, len(content)
            else:
                member.type = tarfile.DIRTYPE
            if "owned" in name:
                member.uid, member.gid, member.mode = 12, 34, member.mode & 0o700
            archive.addfile(member, io.BytesIO(content))
    return made


@pytest.fixture(scope="module")
def both(docker: Docker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engines]:
    """The two engines, each with the image; what tests leave in them goes at the end."""
    folder = tmp_path_factory.mktemp("layer")
    archive = base(folder)
    ours = Veneer(folder / "root")
    for engine in (ours, docker):
        engine("import", "-c", "ENV A=1", "-c", "LABEL kept=yes", archive, IMAGE)
    yield ours, docker
    if left := docker("ps", "-aq").out.split():
        docker("rm", "-fv", *left)
    docker("image", "prune", "-af")
    with open_engine(ours.root) as opened:
        for container in opened.containers.list():
            opened.containers.remove(container.id, force=True, volumes=True)


@pytest.fixture(scope="module")
def written(both: Engines) -> Engines:
    """Both, with a container for each of WRITES, its name w and a number, that has written what it writes."""
    for engine in both:
        for number, script in enumerate(WRITES.values()):
            engine("run", "--network", "none", "--name", f"w{number}", IMAGE, "sh", "-ec", script)
    return both


def tree(engine: Veneer | Docker, words: list[str], to: Path) -> dict[str, tuple[Any, ...]]:
    """What is in the archive that a command writes to a file: by path its kind, mode, owner, link and content."""
    engine(*words, "-o", to)
    found = {}
    with tarfile.open(to) as archive:
        for member in archive:
            content = archive.extractfile(member).read() if member.isfile() else b""  # type: ignore[union-attr]
            if member.islnk():
                content = archive.extractfile(member).read()  # type: ignore[union-attr]
            kind = tarfile.REGTYPE if member.islnk() else member.type
            link = member.linkname if member.issym() else ""
            device = (member.devmajor, member.devminor) if member.isdev() else ()
            found[member.name.rstrip("/")] = (kind, member.mode & 0o7777, member.uid, member.gid, link, device, content)
    return found


@pytest.mark.parametrize("what", WRITES)
def test_diff_is_dockers_sorted(written: Engines, what: str) -> None:
    name = f"w{list(WRITES).index(what)}"
    mine, dockers = (engine("diff", name).out.splitlines() for engine in written)
    assert mine == sorted(dockers, key=lambda line: line[2:].split("/"))


@pytest.mark.parametrize("what", WRITES)
def test_a_committed_image_has_the_tree_of_dockers(written: Engines, what: str, tmp_path: Path) -> None:
    """Both images are run, or rather made into containers and exported, by docker."""
    ours, docker = written
    number = list(WRITES).index(what)
    trees = []
    for engine in written:
        engine("commit", f"w{number}", f"committed:{number}")
    ours("save", "-o", tmp_path / "image.tar", f"committed:{number}")
    for loads in (False, True):
        if loads:
            docker("load", "-i", tmp_path / "image.tar")
        container = docker("create", "--network", "none", f"committed:{number}", "true").out.strip()
        trees.append(tree(docker, ["export", container], tmp_path / "tree.tar"))
    assert trees[0] == trees[1]


def test_export_has_the_tree_of_dockers(written: Engines, tmp_path: Path) -> None:
    for what in ("nothing", "a new tree", "a tree made anew", "a device and a pipe", "below the init layer's"):
        name = f"w{list(WRITES).index(what)}"
        mine, dockers = (tree(engine, ["export", name], tmp_path / "tree.tar") for engine in written)
        assert mine == dockers, what


def test_names_that_begin_like_whiteouts_are_dockers_but_in_an_image(both: Engines, tmp_path: Path) -> None:
    """Docker's commit makes deletions of them: /t/d/f is missing in its image, which nobody asked for."""
    script = "echo x > /t/d/.wh.f; echo y > /.wh.lone; mkdir -p /t/n/.wh.m; ln -s x /t/n/.wh.m/l"
    for engine in both:
        engine("run", "--network", "none", "--name", "marked", IMAGE, "sh", "-ec", script)
    mine, dockers = (engine("diff", "marked").out.splitlines() for engine in both)
    assert mine == sorted(dockers, key=lambda line: line[2:].split("/"))
    mine_tree, dockers_tree = (tree(engine, ["export", "marked"], tmp_path / "tree.tar") for engine in both)
    assert mine_tree == dockers_tree
    assert "/.wh.lone: a layer cannot hold a name that begins with .wh." in both[0]("commit", "marked", check=False).err
    both[1]("commit", "marked", "marked:1")
    container = both[1]("create", "marked:1", "true").out.strip()
    assert "t/d/f" in dockers_tree
    assert "t/d/f" not in tree(both[1], ["export", container], tmp_path / "tree.tar")


@pytest.mark.parametrize("options", CONFIGURED, ids=" ".join)
def test_a_commits_configuration_is_dockers(written: Engines, options: list[str]) -> None:
    name = f"w{list(WRITES).index('a new file')}"
    told = []
    for engine in written:
        made = engine("commit", *options, name).out.strip()
        found: dict[str, Any] = json.loads(engine("image", "inspect", made).out)[0]
        rows = [
            json.loads(line)
            for line in engine("history", "--no-trunc", "--format", "{{json .}}", made).out.splitlines()
        ]
        told.append((
            comparable(found["Config"], engine, name), comparable(found["ContainerConfig"], engine, name),
            [found[key] for key in ("Author", "Comment", "Os", "Architecture", "Variant") if key in found],
            len(found["RootFS"]["Layers"]), bool(found["Parent"]), len(found["Container"]),
            [(row["CreatedBy"], row["Comment"], row["Size"]) for row in rows],
        ))  # fmt: skip
    assert told[0] == told[1]


def has_written(engine: Veneer | Docker) -> bool:
    """The container that goes on running has done what it does first."""
    return "A /t/new" in engine("diff", "running").out and "sleep" in engine("top", "running").out


@pytest.mark.parametrize("options", [[], ["-p=false"]], ids=["frozen", "running on"])
def test_a_running_container_is_committed_and_runs_on(both: Engines, options: list[str], tmp_path: Path) -> None:
    """The image is docker's, to the history and the tree, and the container as it was before."""
    ours, docker = both
    told = []
    for engine in both:
        script = "echo x > /t/new; rm /t/d/f; exec sleep 600"
        engine("run", "-d", "--network", "none", "--name", "running", IMAGE, "sh", "-ec", script)
        try:
            until(partial(has_written, engine))
            made = engine("commit", "-a", "Me", "-m", "while it ran", *options, "running", "ran:1").out.strip()
            found: dict[str, Any] = json.loads(engine("image", "inspect", "ran:1").out)[0]
            assert found["Id"] == made and found["Parent"] == engine.image_id(IMAGE)
            assert found["Container"] == engine("inspect", "-f", "{{.Id}}", "running").out.strip()
            history = engine("history", "--no-trunc", "--format", "{{.CreatedBy}}|{{.Comment}}|{{.Size}}", "ran:1").out
            state = engine("inspect", "-f", "{{.State.Status}} {{.State.Paused}}", "running").out
            told.append(
                (comparable(found["Config"], engine, "running"), found["Author"], found["Comment"], history, state)
            )
        finally:
            engine("rm", "-f", "running")
    assert told[0] == told[1]
    trees = []
    ours("save", "-o", tmp_path / "image.tar", "ran:1")
    for loads in (False, True):
        if loads:
            docker("load", "-i", tmp_path / "image.tar")
        container = docker("create", "--network", "none", "ran:1", "true").out.strip()
        trees.append(tree(docker, ["export", container], tmp_path / "tree.tar"))
    assert trees[0] == trees[1]


def comparable(config: dict[str, Any], engine: Veneer | Docker, name: str) -> dict[str, Any]:
    """A configuration without what names the container."""
    id = engine("inspect", "-f", "{{.Id}}", name).out.strip()
    return {key: "HOST" if value == id[:12] else value for key, value in config.items()}


REFUSED = """
commit nosuch
commit -c 'RUN x' w0
commit -c 'FROM x' w0
commit -c 'NONSENSE' w0
commit -c 'EXPOSE nonsense' w0
commit w0 Upper:1
commit w0 a:b:c
diff nosuch
export nosuch
"""


@pytest.mark.parametrize("line", REFUSED.strip().splitlines())
def test_what_is_refused_is_refused_in_dockers_words(written: Engines, line: str) -> None:
    """Ours may go on after them: with the line that is wrong, or what a name may have."""
    mine, dockers = (said(engine(*shlex.split(line), check=False)) for engine in written)
    assert mine[0] == dockers[0] and mine[1].lower().startswith(dockers[1].lower())


def said(output: Output) -> tuple[int, str]:
    """The exit status and what the first line of an error says."""
    lines = [text for text in output.err.splitlines() if not text.startswith(("hint: ", "See 'docker"))]
    line = re.sub(r"^(docker: )?(Error response from daemon|Error|veneer): ", "", lines[0] if lines else "")
    return output.code, line.rstrip(".")


@pytest.fixture
def places(both: Engines, tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """A folder for each engine, and on each a container box with a volume at /vol and a read-only one at /ro."""
    folders = tmp_path / "mine", tmp_path / "dockers"
    for engine, folder in zip(both, folders, strict=True):
        (folder / "in/dir/sub").mkdir(parents=True)
        (folder / "in/file").write_text("file")
        (folder / "in/dir/sub/f").write_text("sub")
        (folder / "in/link").symlink_to("file")
        (folder / "in/owned").mkdir()
        for name in ("theirs", "owned/f", "setid"):
            (folder / "in" / name).write_text(name)
            os.chown(folder / "in" / name, 12, 34)
        (folder / "in/setid").chmod(0o4755)
        os.mkfifo(folder / "in/pipe")
        engine("create", "--network", "none", "--name", "box", "-v", "vol:/vol", "-v", "rov:/ro:ro", IMAGE, "true")
    yield folders
    for engine in both:
        engine("rm", "-f", "box")
        engine("volume", "rm", "vol", "rov")


def on_disk(folder: Path) -> dict[str, tuple[Any, ...]]:
    """Everything below a folder: kind and mode, owner, link or content."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        content = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else ""
        mode = 0 if path.is_symlink() else stat.S_IMODE(status.st_mode)
        kind = stat.S_IFMT(status.st_mode)
        found[str(path.relative_to(folder))] = (kind, mode, status.st_uid, status.st_gid, content)
    return found


def test_every_copy_is_dockers(both: Engines, places: tuple[Path, Path], tmp_path: Path) -> None:
    """Exit status, words, and all that is on both sides after each copy."""
    differences, needless = [], set(ARGUED)
    known: set[tuple[str, str]] = set()
    for line in COPIES.strip().splitlines():
        told = []
        for engine, folder in zip(both, places, strict=True):
            output = engine(*shlex.split(line.replace("HERE", str(folder))), check=False)
            code, text = said(output)
            told.append((code, text.replace(str(folder), "HERE")))
        trees = (
            [on_disk(folder) for folder in places],
            [tree(engine, ["export", "box"], tmp_path / "tree.tar") for engine in both],
        )
        different = {
            (where, path): (dockers.get(path), mine.get(path))
            for where, (mine, dockers) in zip(("HERE", "box"), trees, strict=True)
            for path in mine.keys() | dockers.keys()
            if mine.get(path) != dockers.get(path) and (where, path) not in known
        }
        known |= different.keys()
        if told[0] != told[1] or different:
            needless.discard(line)
            if line not in ARGUED or told[0][0] != told[1][0]:
                differences.append(f"$ {line}\n  docker: {told[1]}\n  veneer: {told[0]}")
                differences += [f"    {name}: docker {theirs}, veneer {mine}"
                                for name, (theirs, mine) in sorted(different.items())[:4]]  # fmt: skip
    assert not differences, "\n".join(differences)
    assert not needless, f"argued, but the same: {sorted(needless)}"


def test_archives_go_in_and_out_as_dockers(both: Engines, places: tuple[Path, Path], tmp_path: Path) -> None:
    trees = []
    for engine, folder in zip(both, places, strict=True):
        run("tar", "-C", folder / "in", "-cf", folder / "in.tar", ".")
        engine("cp", "-", "box:/t/d", stdin=(folder / "in.tar").read_bytes())
        assert engine("cp", "-", "box:/t/d/f", stdin=(folder / "in.tar").read_bytes(), check=False).code != 0
        names = []
        for path in ("/t/d", "/t/d/.", "/t/d/f", "/t/l", "/t/owned"):
            words, env = engine_command(engine, "cp", f"box:{path}", "-")
            with (tmp_path / "out.tar").open("wb") as out:
                shutil.copyfileobj(piped(words, env), out)
            with tarfile.open(tmp_path / "out.tar") as archive:
                names.append(sorted((member.name.rstrip("/"), member.type, member.uid, member.mode & 0o7777,
                                     member.linkname, member.size) for member in archive))  # fmt: skip
        trees.append((names, tree(engine, ["export", "box"], tmp_path / "tree.tar")))
    assert trees[0] == trees[1]


def engine_command(engine: Veneer | Docker, *words: str) -> tuple[list[str], dict[str, str] | None]:
    from tests.support.programs import VENEER

    if isinstance(engine, Docker):
        return engine.command(*words)
    return [str(VENEER), "--root", str(engine.root), *words], None


def piped(words: list[str], env: dict[str, str] | None) -> io.BytesIO:
    import subprocess

    return io.BytesIO(subprocess.run(words, env=env, stdout=subprocess.PIPE, check=True).stdout)


def test_sizes_are_dockers(written: Engines) -> None:
    for what in ("nothing", "a new tree", "another content", "a tree gone", "names that sort"):
        name = f"w{list(WRITES).index(what)}"
        mine, dockers = (engine("inspect", "-s", "-f", "{{.SizeRw}}", name).out for engine in written)
        assert mine == dockers, what

    def shown(engine: Veneer | Docker) -> str:
        return engine("ps", "-as", "--filter", "name=^/?w1$", "--format", "{{.Size}}").out

    assert shown(written[0]) == shown(written[1])
