"""Whose an image's files are, as dpkg, apk, pip and npm wrote it down: from the store and from streams alike."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from veneer.analysis.view import NotThere
from veneer.engine.engine import Engine
from veneer.engine.looking import contents
from veneer.engine.looking.packages import Package, declared, files_of, packages
from veneer.engine.looking.subject import Subject
from veneer.testing.images import Tree, directory, docker_archive, hardlink, image, oci_archive, symlink
from veneer.testing.registry import Registry

STATUS = b"""Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.36-9
Description: shared libraries
 in several lines
 .
 Package: not-me

Package: gone
Status: deinstall ok config-files
Version: 1

Package: bash
Status: install ok installed
Version: 5.2
"""
SITE = "usr/lib/python3/dist-packages"
BASE: Tree = {
    "lib": symlink("usr/lib"), "usr/lib": directory(),
    "usr/lib/libc.so.6": b"c" * 3000, "bin/bash": b"b" * 1000, "bin/rbash": hardlink("bin/bash"),
    "var/lib/dpkg/status": STATUS,
    "var/lib/dpkg/info/libc6:amd64.list": b"/.\n/lib\n/lib/libc.so.6\n/usr/share/doc/libc6/copyright\n",
    "var/lib/dpkg/info/bash.list": b"/.\n/bin\n/bin/bash\n/bin/rbash\n",
    "var/lib/dpkg/info/gone.list": b"/.\n/etc/own\n",
    "etc/own": b"o" * 7,
}  # fmt: skip
MIDDLE: Tree = {
    "usr/lib/apk/db/installed": b"C:Q1x=\nP:musl\nV:1.2.5-r0\nF:etc\nR:musl.conf\nF:\nR:top\n\nP:empty\nV:1\n",
    "etc/musl.conf": b"m" * 60, "top": b"t" * 5,
    f"{SITE}/six-1.16.0.dist-info/RECORD":
        b'six.py,sha256=x,9\n"od,d.py",,\n../../../../bin/six,,\nsix-1.16.0.dist-info/RECORD,,\n',
    f"{SITE}/six.py": b"6" * 90, f"{SITE}/od,d.py": b"d" * 10, "bin/six": b"#!",
    f"{SITE}/old-0.1-py3.11.egg-info/installed-files.txt": b"../old.py\n",
    f"{SITE}/old.py": b"o" * 30,
}  # fmt: skip
TOP: Tree = {
    "srv/node_modules/@a/b/package.json": b'{"name": "@a/b", "version": "2.0.1"}',
    "srv/node_modules/@a/b/x": b"x" * 400,
    "srv/node_modules/@a/b/node_modules/c/package.json": b'{"version":"9"}',
    "srv/node_modules/@a/b/node_modules/c/deep/y": b"y" * 50,
    "srv/node_modules/.bin/b": b"bin", "usr/lib/libc.so.6": b"C" * 3100,
    "var/lib/dpkg/status.d/tzdata": b"Package: tzdata\nVersion: 2024a\n",
    "var/lib/dpkg/status.d/tzdata.md5sums": b"d41d8cd98f00b204e9800998ecf8427e  ./usr/share/zone\n",
    "usr/share/zone": b"z" * 20,
}  # fmt: skip
APP = image(BASE, MIDDLE, TOP)


def facts(found: list[Package]) -> dict[str, tuple[str, str, int, int, tuple[int, ...]]]:
    return {each.name: (each.kind, each.version, each.files, each.bytes, each.layers) for each in found}


EXPECTED = {
    "libc6": ("deb", "2.36-9", 2, 3100, (0, 2)),
    "bash": ("deb", "5.2", 2, 1000, (0,)),
    "tzdata": ("deb", "2024a", 1, 20, (2,)),
    "musl": ("apk", "1.2.5-r0", 2, 65, (1,)),
    "six": ("pip", "1.16.0", 4, 90 + 10 + 2 + len(MIDDLE[f"{SITE}/six-1.16.0.dist-info/RECORD"]), (1,)),  # type: ignore[arg-type]
    "old": ("pip", "0.1", 1, 30, (1,)),
    "@a/b": ("npm", "2.0.1", 2, 400 + 36, (2,)),
    "c": ("npm", "9", 2, 50 + 15, (2,)),
}  # fmt: skip


def check(subject: Subject) -> None:
    found = packages(subject)
    told = facts(found)
    nobody = told.pop("")
    assert told == EXPECTED
    assert sum(each.bytes for each in found) == subject.account.visible and nobody[0] == ""
    owned = [file.path for each in found for file in files_of(subject, each.name)]
    assert len(owned) == len(set(owned)) == sum(each.files for each in found), "every path is somebody's once"
    assert b"etc/own" in {file.path for file in files_of(subject, "")}, "it was uninstalled"


def test_files_have_their_packages_wherever_the_image_is(engine: Engine) -> None:
    for archive in (docker_archive((APP, ["x:1"])), oci_archive(("x:1", APP))):
        with engine.looking.open(archive=io.BytesIO(archive)) as subject:
            check(subject)
    with Registry() as registry:
        registry.add("x:1", APP)
        with engine.looking.open(f"{registry.host}/x:1", remote=True) as subject:
            check(subject)
    engine.images.load(io.BytesIO(docker_archive((APP, ["x:1"]))))
    with engine.looking.open("x:1") as subject:
        check(subject)
        beneath = facts(packages(subject, b"usr/lib"))
        assert set(beneath) == {"libc6", "six", "old", ""} and beneath["six"][2] == 3
        assert set(facts(packages(subject, b"bin/six"))) == {"six"}
        assert [file.path for file in files_of(subject, "deb:bash")] == [b"bin/bash", b"bin/rbash"]
        assert [*files_of(subject, "pip:bash"), *files_of(subject, "bash", b"usr")] == []
        with pytest.raises(NotThere, match="/nothing is not to be seen in x:1"):
            packages(subject, b"nothing")


def test_databases_may_be_nonsense_or_far_too_large(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = image({
        "var/lib/dpkg/status": b"\xff\n:\nPackage\nPackage: \n\n\nPackage: ok\x1b\nversion:1\n",
        "var/lib/dpkg/info/ok\x1b.list": b"/../../etc/passwd\n\n//\n/loop/x\n", "loop": symlink("loop"),
        "lib/apk/db/installed": b"\n\nP:\nR:x\n\nP:a\nF:../..\nR:b", "x/RECORD": b"a",
        "x/y.dist-info/RECORD": b'"\0,\n,,\n',
        "node_modules/z/package.json": b"not json", "etc/passwd": b"root",
    })  # fmt: skip
    archive = tmp_path / "odd.tar"
    archive.write_bytes(docker_archive((odd, ["x:1"])))
    with engine.looking.open(archive=archive) as subject:
        named = {(each.kind, each.name, each.version) for each in declared(subject)}
        assert named == {("deb", "ok\x1b", "1"), ("apk", "a", ""), ("pip", "y", ""), ("npm", "z", "")}
        assert [file.path for file in files_of(subject, "ok\x1b")] == [b"etc/passwd"]
    monkeypatch.setattr(contents, "MOST_READ", 10)
    with (
        engine.looking.open(archive=archive) as subject,
        pytest.raises(contents.TooMuchContent, match="bytes, more than"),
    ):
        packages(subject)


def test_a_name_that_is_gone_leaves_its_bytes_to_the_next(engine: Engine) -> None:
    linked = image({"a": b"12345", "b": hardlink("a"), "c": hardlink("a")}, {".wh.a": b""})
    with engine.looking.open(archive=io.BytesIO(docker_archive((linked, ["x:1"])))) as subject:
        assert [(file.path, file.bytes) for file in files_of(subject, "")] == [(b"b", 5), (b"c", 0)]
        assert subject.account.visible == 5


def test_an_image_without_any_has_files_of_nobody(engine: Engine) -> None:
    with engine.looking.open(archive=io.BytesIO(docker_archive((image({"a": b"12"}), ["x:1"])))) as subject:
        assert facts(packages(subject)) == {"": ("", "", 1, 2, (0,))}
    with engine.looking.open(archive=io.BytesIO(docker_archive((image(), ["x:1"])))) as subject:
        assert packages(subject) == []
