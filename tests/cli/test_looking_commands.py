"""The commands that look into images: what they print, of images of the store, of archives and of registries."""

from __future__ import annotations

import io
import json
import os
import re
from pathlib import Path

import pytest

from tests.cli.conftest import Veneer
from tests.support.finished import row
from veneer.testing.images import Tree, directory, docker_archive, file, hardlink, image, oci_layout, symlink
from veneer.testing.registry import Registry

BASE: Tree = {"etc": directory(), "etc/motd": b"m" * 1000, "etc/os": b"o" * 50, "lib": symlink("usr/lib"),
              "usr/lib": directory(), "usr/lib/libc.so": b"c" * 3000}  # fmt: skip
MIDDLE: Tree = {"etc": directory(), "etc/motd": b"M" * 900, "root/.npmrc": b"token", "srv": directory(),
                "srv/app": b"a" * 2000, "srv/twin": hardlink("srv/app")}  # fmt: skip
TOP: Tree = {"etc/os": file(b"o" * 50, 0o600), "root/.wh..npmrc": b"", ".wh.srv": b""}
ROWS = [row("/bin/sh -c #(nop) ADD file:" + "b" * 64 + " in / "),
        row("COPY . / # buildkit", comment="buildkit.dockerfile.v0"),
        row('CMD ["sh"]', empty=True), row("RUN /bin/sh -c chmod 600 /etc/os; rm -r /srv # buildkit")]  # fmt: skip
CONFIG = {"Cmd": ["serve", "--port", "80"], "User": "1000", "ExposedPorts": {"80/tcp": {}}, "Env": ["MODE=fast"],
          "Labels": {"org.opencontainers.image.licenses": "MIT"}}  # fmt: skip
APP = image(BASE, MIDDLE, TOP, history=ROWS, config=CONFIG)
LOOKS = ("layers", "tree", "waste", "base", "labels", "explain")


def filled(veneer: Veneer) -> Veneer:
    """With demo/base:1 and demo/app:1, which has two layers more."""
    archive = docker_archive((image(BASE, history=ROWS[:1]), ["demo/base:1"]), (APP, ["demo/app:1"]))
    assert veneer("--durability", "none", "load", stdin=archive).code == 0
    return veneer


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Veneer:
    """A store that no test changes."""
    return filled(Veneer(tmp_path_factory.mktemp("looked") / "root"))


@pytest.fixture
def own(veneer: Veneer) -> Veneer:
    """The same for a test that changes it."""
    return filled(veneer)


def cells(text: str) -> list[list[str]]:
    """A table's rows as words."""
    return [line.split() for line in text.splitlines()]


def test_layers_tells_what_made_each_and_what_it_takes(app: Veneer) -> None:
    heading, first, second, third = app("image", "layers", "demo/app:1").text.splitlines()
    assert heading.split() == [
        "#",
        "CHAIN",
        "ID",
        "INSTRUCTION",
        "PULL",
        "STORED",
        "NET",
        "TOTAL",
        "WASTE",
        "MADE",
        "SHARED",
    ]
    assert first.split()[2:] == ["ADD", "…", "/", first.split()[5], "4.05kB", "4.05kB", "4.05kB", "0B", "demo/base:1"]
    assert second.split()[-5:] == ["2.9kB", "1.91kB", "5.96kB", "1kB", "-"]
    assert third.split()[-5:] == ["50B", "-2kB", "3.95kB", "2.06kB", "-"]
    rows = [json.loads(line) for line in app("image", "layers", "--format", "json", "demo/app:1").text.splitlines()]
    assert [(each["Added"], each["Modified"], each["Metadata"], each["Deleted"]) for each in rows] == [
        ("7", "0", "0", "0"), ("5", "1", "0", "0"), ("0", "0", "1", "4"),
    ]  # fmt: skip
    assert rows[2]["Before"] == 'CMD ["sh"]'
    assert [each["Net"] for each in rows] == ["4050", "1905", "-2005"], "bytes, for programs"
    quiet = app("image", "layers", "-q", "--no-trunc", "demo/app:1").text.split()
    assert len(quiet) == 3 and all(each.startswith("sha256:") for each in quiet)
    assert app("image", "layers", "--human=false", "--format", "{{.Net}}", "demo/app:1").text.split() == [
        "4050", "1905", "-2005",
    ]  # fmt: skip


def test_steps_above_the_last_layer_are_told(veneer: Veneer, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY keys /keys\nEXPOSE 80\nUSER 5\n")
    (tmp_path / "keys").mkdir()
    for number in range(20):
        (tmp_path / "keys" / f"{number:02}.key").write_text(str(number))
    assert veneer("build", "-q", "-t", "steps:1", str(tmp_path)).code == 0
    assert veneer("image", "layers", "steps:1").text.splitlines()[2:] == ["Then, without a layer: EXPOSE 80; USER 5"]
    assert veneer("image", "layers", "--format", "{{.After}}", "steps:1").text == "EXPOSE 80; USER 5\n"
    assert " more have names" in veneer("image", "explain", "steps:1").text
    assert "/keys/19.key have names" in veneer("image", "explain", "--no-trunc", "steps:1").text


def test_what_is_not_compressed_yet_is_told_as_a_bound(veneer: Veneer, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"d" * 100_000)
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY data /data\n")
    with Registry() as registry:
        name = f"{registry.host}/acme/app:1"
        assert veneer("build", "-q", "-t", name, str(tmp_path)).code == 0

        def told(*where: str) -> tuple[str, str]:
            shown = "{{.Pull}} {{.PullAtMost}}"
            pull, bound = veneer("image", "layers", *where, "--format", shown, name).text.split()
            return pull, bound

        def judged(*where: str) -> tuple[int, str]:
            answer = veneer("check", *where, "--rules", "/dev/null", "--rule", "max-pull=50kB", name)
            return answer.code, answer.text

        assert told() == ("≤103kB", "true")
        assert veneer("image", "layers", "--human=false", "--format", "{{.Pull}}", name).text.isascii()
        assert "at most 103kB to download (a push compresses" in veneer("image", "explain", name).text
        assert "at most 103kB to pull" in veneer("image", "cost", name).text
        assert json.loads(veneer("badge", "size", "--format", "json", name).text)["message"] == "≤103kB"
        code, text = judged()
        assert code == 1 and "at most 103kB" in text and "pull ≤103kB" in text
        assert "that is an upper bound" in text and "--remote" in text
        for format in ("markdown", "junit", "sarif", "github"):
            words = ("--rules", "/dev/null", "--rule", "max-pull=50kB", "--format", format)
            assert "that is an upper bound" in veneer("check", *words, name).text
        figures = json.loads(veneer("check", "--format", "json", name).text)["figures"]
        assert figures["pull_at_most"] is True

        assert veneer("push", "-q", name).code == 0
        for where in ((), ("--remote",)):
            pull, bound = told(*where)
            assert "≤" not in pull and bound == "false"
            code, text = judged(*where)
            assert code == 0 and "≤" not in text and "at most" not in text


def test_tree_shows_any_depth_and_any_range(app: Veneer) -> None:
    whole = app("image", "tree", "--depth", "1", "demo/app:1").text
    assert "srv" not in whole and "├── usr/" in whole and "lib -> usr/lib" in whole
    assert "srv/" in app("image", "tree", "--depth", "1", "--at", "2", "demo/app:1").text
    changes = cells(app("image", "tree", "--layer", "3", "--sort", "name", "demo/app:1").text)
    assert [(each[0], each[-1]) for each in changes[2:]] == [
        ("M", "etc/"), ("P", "os"), ("M", "root/"), ("D", ".npmrc"), ("D", "srv/"), ("D", "app"), ("D", "twin"),
    ]  # fmt: skip
    told = app("image", "tree", "--format", "json", "--since", "1", "demo/app:1", "/etc").text
    documents = [json.loads(line) for line in told.splitlines()]
    assert {each["Path"]: (each["State"], each["Fields"]) for each in documents} == {
        "/etc/motd": ("M", ["content"]), "/etc/os": ("P", ["mode"]),
    }  # fmt: skip
    assert app("image", "tree", "-q", "--limit", "1", "demo/app:1", "etc").text == "/etc/motd\n"
    assert "... 1 more" in app("image", "tree", "--limit", "1", "demo/app:1", "etc").text
    assert app("image", "tree", "demo/app:1", "/lib").text == app("image", "tree", "demo/app:1", "/usr/lib").text
    assert "/srv/app" in app("image", "tree", "-qa", "--depth", "0", "demo/app:1").text
    assert "/usr/lib/libc.so" in app("image", "tree", "-q", "--no-trunc", "--limit", "0", "demo/app:1").text
    table = app("image", "tree", "--format", "table {{.Path}}\\t{{.Size}}", "--depth", "1", "demo/app:1").text
    assert [each[0] for each in cells(table)][:2] == ["PATH", "/usr"]
    assert app("image", "tree", "--format", "{{.Nope}}", "demo/app:1").code == 1


def test_find_tells_a_files_history(app: Veneer) -> None:
    shown = cells(app("image", "find", "demo/app:1", "/srv/app").text)
    assert [(each[0], each[1], each[2]) for each in shown[1:3]] == [("2", "A", "2kB"), ("3", "D", "2kB")]
    assert "deleted with /srv" in app("image", "find", "demo/app:1", "srv/app").text
    os_ = cells(app("image", "find", "demo/app:1", "/etc/os").text)
    assert os_[2][1:6] == ["P", "50B", "0600", "0:0", "mode"]
    assert app("image", "find", "-q", "demo/app:1", "/etc/motd").text == "1\n2\n"
    assert json.loads(app("image", "find", "--format", "json", "demo/app:1", "/lib").text)["Link"] == "usr/lib"
    events = app("image", "find", "--format", "json", "demo/app:1", "/etc/motd").text.splitlines()
    assert json.loads(events[0])["Size"] == "1000", "for programs a size is bytes"
    found = cells(app("image", "find", "demo/app:1", "*.npmrc").text)
    assert found[1] == ["2A", "3D", "0B", "5B", "/root/.npmrc"]
    assert app("image", "find", "-q", "demo/app:1", "/usr/*").text == "/usr/lib\n/usr/lib/libc.so\n"


def test_find_says_where_a_path_leads_that_is_not_there(app: Veneer) -> None:
    answer = app("image", "find", "demo/app:1", "/lib/libc.so")
    assert (answer.code, answer.text) == (1, "")
    assert answer.err == "Error: /lib/libc.so is in no layer of demo/app:1\nhint: /lib is a symlink to usr/lib\n"
    assert "in no layer" in app("image", "find", "demo/app:1", "/nothing/*").err


def test_tree_says_why_there_is_nothing_at_a_path(app: Veneer) -> None:
    assert app("image", "tree", "demo/app:1", "/lib/x").err == (
        "Error: /lib/x is in no layer of demo/app:1\nhint: /lib is a symlink to usr/lib\n")  # fmt: skip
    assert app("image", "tree", "demo/app:1", "/nosuch").err == (
        "Error: /nosuch is in no layer of demo/app:1\n"
        f"hint: veneer --root {app.root} image find IMAGE '*NAME*' finds it wherever it is\n"
    )
    assert app("image", "tree", "--at", "1", "demo/app:1", "/srv").err == (
        "Error: /srv is in none of the lowest 1 layers of demo/app:1\n"
        f"hint: veneer --root {app.root} image find IMAGE PATH tells which layer brings it\n")  # fmt: skip


def test_waste_is_told_by_path_layer_and_cause(app: Veneer) -> None:
    summary, empty, heading, *rows = app("image", "waste", "demo/app:1").text.splitlines()
    assert summary == "demo/app:1: 7kB stored, 3.95kB visible, 3.06kB wasted, efficiency 56.4%"
    assert empty == "" and heading.split()[0] == "PATH"
    assert [each.split()[:6] for each in rows] == [
        ["/srv", "2kB", "1", "2", "3", "deleted"], ["/etc/motd", "1kB", "1", "1", "2", "overwritten"],
        ["/etc/os", "50B", "1", "1", "3", "rewritten"], ["/root/.npmrc", "5B", "1", "2", "3", "deleted"],
    ]  # fmt: skip
    by_layer = app("image", "waste", "--by", "layer", "--format", "{{.Key}} {{.Waste}} {{.HeldIn}}", "demo/app:1").text
    assert by_layer == "3 2.06kB 1,2\n2 1kB 1\n"
    by_cause = [json.loads(line) for line in
                app("image", "waste", "--by", "cause", "--format", "json", "demo/app:1").text.splitlines()]  # fmt: skip
    assert [each["Key"] for each in by_cause] == ["deleted", "overwritten", "rewritten"]
    assert all(each["Remedy"] for each in by_cause)
    squashed = json.loads(app("image", "waste", "--squash", "2-3", "--format", "json", "demo/app:1").text)
    assert squashed["StoredNow"] - squashed["Stored"] == squashed["Saved"] > 0
    assert app("image", "waste", "-q", "demo/app:1").text.splitlines()[0] == "/srv"
    assert app("image", "waste", "--limit", "1", "demo/app:1").text.endswith(
        "... 3 more, 1.05kB; --limit 0 shows all\n"
    )
    squashed = app("image", "waste", "--squash", "2-3", "demo/app:1").text
    assert squashed == "Layers 2 to 3 of demo/app:1 as one: 2kB less, 5kB stored instead of 7kB\n"
    assert "wasted" in app("image", "waste", "demo/base:1").text


def test_what_is_stored_under_several_paths_is_told(veneer: Veneer, tmp_path: Path) -> None:
    twice = image({"a": b"same" * 100, "b": b"same" * 100, "c": b"else" * 100}, {"d/a": b"same" * 100})
    archive = tmp_path / "twice.tar"
    archive.write_bytes(docker_archive((twice, ["twice:1"])))
    shown = veneer("image", "waste", "--by", "duplicate", "--archive", str(archive)).text.splitlines()
    assert shown[0] == "twice:1: 1 content under several paths, 800B beyond the first"
    assert shown[-1].split() == ["800B", "3", "400B", "1,2", "/a", "/b", "/d/a"]
    row = json.loads(veneer("image", "waste", "--by", "duplicate", "--format", "json", "--archive", str(archive)).text)
    assert row["Paths"] == "/a /b /d/a"


def test_waste_in_dives_figures_and_its_json(app: Veneer) -> None:
    dive = app("image", "waste", "--metric", "dive", "demo/app:1").text.splitlines()
    assert dive[1] == "wastedBytes: 2005 bytes (2kB)"
    export = json.loads(app("image", "waste", "--format", "dive-json", "demo/app:1").text)
    assert set(export) == {"layer", "image"}
    assert set(export["layer"][0]) == {"index", "id", "digestId", "sizeBytes", "command", "fileList"}
    assert set(export["layer"][0]["fileList"][0]) == {
        "path", "typeFlag", "linkName", "size", "fileMode", "uid", "gid", "isDir",
    }  # fmt: skip
    assert [each["sizeBytes"] for each in export["layer"]] == [4050, 2905, 50]
    found = export["image"]
    assert (found["sizeBytes"], found["inefficientBytes"]) == (7005, 2005)
    assert found["fileReference"][0] == {"count": 2, "sizeBytes": 1900, "file": "/etc/motd"}
    assert f"efficiency: {100 * found['efficiencyScore']:.4f} %" == dive[0]


def test_diff_tells_files_settings_and_rows(app: Veneer) -> None:
    answer = app("image", "diff", "demo/base:1", "demo/app:1")
    assert answer.code == 0
    files, settings, rows = answer.text.split("\n\n")
    assert [(each[0], each[-1]) for each in cells(files)[1:-1]] == [
        ("M", "/etc/motd"), ("P", "/etc/os"), ("A", "/root"),
    ]  # fmt: skip
    assert re.fullmatch(r"\d A, 1 M, 1 P: \S+ (more|less) to be seen", files.splitlines()[-1])
    assert "Labels.org.opencontainers.image.licenses" in settings and "RUN /bin/sh -c chmod" in rows
    assert app("image", "diff", "--exit-code", "demo/base:1", "demo/app:1").code == 1
    same = app("image", "diff", "--exit-code", "demo/app:1", "demo/app:1")
    assert (same.code, same.text) == (0, "demo/app:1 and demo/app:1: no difference\n")
    documents = [json.loads(line) for line in
                 app("image", "diff", "--format", "json", "demo/base:1", "demo/app:1").text.splitlines()]  # fmt: skip
    assert {each["Part"] for each in documents} == {"files", "config", "history"}
    assert app("image", "diff", "-q", "--part", "files", "demo/base:1", "demo/app:1").text.startswith("M /etc/motd\n")
    assert app("image", "diff", "--part", "nope", "demo/base:1", "demo/app:1").code == 1
    table = cells(app("image", "diff", "--format", "table {{.Part}}\\t{{.Op}}", "demo/base:1", "demo/app:1").text)
    assert table[0] == ["PART", "OP"] and table[1] == ["files", "M"] and ["history"] in [each[:1] for each in table]


def test_compare_and_shared_join_what_is_the_same(app: Veneer) -> None:
    shown = app("image", "compare", "demo/base:1", "demo/app:1").text
    assert "7kB" in shown and "saved" in shown
    rows = [json.loads(line) for line in
            app("image", "compare", "--format", "json", "demo/base:1", "demo/app:1").text.splitlines()]  # fmt: skip
    assert [(each["Images"], each["Names"], each["Size"]) for each in rows] == [
        ("AB", "demo/base:1, demo/app:1", "4050"), ("B", "demo/app:1", "2905"), ("B", "demo/app:1", "50"),
    ]  # fmt: skip
    assert (
        "11055 if nothing were shared, 7005 with"
        in app("image", "compare", "--human=false", "demo/base:1", "demo/app:1").text
    )
    assert len(app("image", "compare", "-q", "demo/base:1", "demo/app:1").text.split()) == 3
    tree = app("image", "shared").text.splitlines()
    assert tree[1].split()[1:] == ["4.06kB", "1", "2", "4.06kB"]
    assert "demo/base:1" in tree[2] and "demo/app:1" in tree[4]
    assert tree[-1].startswith("2 images: ")
    listed = [json.loads(line) for line in app("image", "shared", "--format", "json").text.splitlines()]
    assert [(each["Images"], each["Size"]) for each in listed] == [("2", "4057"), ("1", "2955")]


def test_base_and_labels(app: Veneer) -> None:
    assert cells(app("image", "base", "demo/app:1").text)[1] == [
        "demo/base:1", app("images", "-q", "demo/base:1").text.strip(), "1", "of", "3", "layers",
    ]  # fmt: skip
    assert app("image", "base", "-q", "demo/app:1").text == "demo/base:1\n"
    nothing = app("image", "base", "demo/base:1")
    assert nothing.code == 1 and nothing.err.startswith("Error: nothing tells what demo/base:1 was built on")
    assert cells(app("image", "labels", "demo/app:1").text)[1] == ["org.opencontainers.image.licenses", "MIT", "config"]
    assert "org.opencontainers.image.source\n" in app("image", "labels", "--missing", "demo/app:1").text


def test_explain_tells_it_in_words(app: Veneer) -> None:
    text = app("image", "explain", "demo/app:1").text
    for sentence in (
        "It stands on demo/base:1, with 1 layer of it",
        "It starts: serve --port 80",
        "It runs as user 1000.",
        "It listens on 80/tcp.",
        "2kB /srv: deleted, by layer 3",
        "/root/.npmrc has a name that secrets have; it is deleted or changed, and still stored in the image.",
        "It does not say: title",
    ):
        assert sentence in text
    assert app("image", "explain", "--format", "markdown", "demo/app:1").text.startswith(
        "## What it is\n- `demo/app:1` is"
    )
    titles = [json.loads(line)["Title"] for line in
              app("image", "explain", "--format", "json", "demo/app:1").text.splitlines()]  # fmt: skip
    assert titles[0] == "What it is" and len(titles) == 6
    told = app("image", "explain", "--format", "{{.Title}}: {{len .Lines}}", "demo/app:1").text.splitlines()
    assert told[0] == "What it is: 3" and len(told) == 6
    assert "chmod 600 /etc/os; rm -r /srv" in app("image", "explain", "--no-trunc", "demo/app:1").text


@pytest.mark.parametrize("command", LOOKS)
def test_archives_and_registries_are_looked_at_as_the_store_is(app: Veneer, tmp_path: Path, command: str) -> None:
    archive = tmp_path / "app.tar"
    archive.write_bytes(docker_archive((APP, ["demo/app:1"])))
    layout = oci_layout(tmp_path / "layout", ("demo/app:1", APP))
    stored = app("image", command, "--format", "json", "demo/app:1").text
    for words in (
        ["--archive", str(archive)],
        ["--archive", str(layout), "demo/app:1"],
        [f"archive:{archive}#demo/app:1"],
    ):
        answer = app("image", command, "--format", "json", *words)
        assert answer.code == 0, answer.err
        if command in ("tree", "waste", "labels"):
            assert answer.text == stored
    piped = app("image", command, "--archive", "-", stdin=archive.read_bytes())
    assert piped.code == 0
    with Registry() as registry:
        registry.add("demo/app:1", APP)
        name = f"{registry.host}/demo/app:1"
        for words in (["--remote", name], [f"remote:{name}"]):
            answer = app("--insecure-registry", registry.host, "image", command, *words)
            assert answer.code == 0, answer.err
    assert len(app("images", "-aq").text.split()) == 2, "nothing was stored"


@pytest.fixture
def web(own: Veneer, tmp_path: Path) -> Veneer:
    """A container of demo/app:1, called web, that has written."""
    from veneer.drivers.mount import mounted
    from veneer.engine.containers.creating import ContainerRequest
    from veneer.engine.engine import open_engine

    with open_engine(own.root) as engine:
        container = engine.containers.create(ContainerRequest("demo/app:1", name="web"))
        target = tmp_path / "tree"
        target.mkdir()
        with mounted(engine.store.containers.mounts(container), target):
            (target / "etc/os").unlink()
            (target / "etc/log").write_bytes(b"l" * 400)
    return own


@pytest.mark.usefixtures("root_only")
def test_what_a_container_wrote_is_one_more_layer_everywhere(web: Veneer) -> None:
    layers = cells(web("image", "layers", "--container", "web").text)
    assert len(layers) == 5 and layers[4][2:] == ["container", "web", "-", "400B", "350B", "4.3kB", "50B", "-"]
    assert layers[3][-1] == "demo/app:1"
    tree = cells(web("image", "tree", "--container", "web", "--layer", "4", "/etc").text)
    assert [(each[0], each[-1]) for each in tree[2:]] == [("A", "log"), ("D", "os")]
    assert cells(web("image", "find", "--container", "web", "/etc/os").text)[-1][:3] == ["4", "D", "50B"]
    assert web("image", "waste", "--container", "web").text.startswith("web: 7.41kB stored, 4.3kB visible")
    assert (
        json.loads(web("image", "waste", "--format", "dive-json", "--container", "web").text)["layer"][3]["index"] == 3
    )
    assert cells(web("image", "base", "--container", "web").text)[1][0] == "demo/app:1"
    assert "web is a container for" in web("image", "explain", "--container", "web").text
    assert "MIT" in web("image", "labels", "--container", "web").text
    changed = web("image", "diff", "--semantic", "--part", "files", "-q", "demo/app:1", "container:web").text
    assert changed == "A /etc/log\nD /etc/os\n"
    rows = [json.loads(line) for line in
            web("image", "compare", "--format", "json", "demo/app:1", "container:web").text.splitlines()]  # fmt: skip
    assert [each["Images"] for each in rows] == ["AB", "AB", "AB", "B"]
    assert web("badge", "layers", "--format", "json", "--container", "web").text.count('"4"') == 1
    checked = web("check", "--rules", "/dev/null", "--rule", "max-waste=10B", "--container", "web")
    assert checked.code == 1 and "50B" in checked.text, "what the image wasted is not the container's"
    assert web("check", "--base", "demo/base:1", "--rules", "/dev/null", "--container", "web").code == 0
    assert "container web" in web("report", "--container", "web").text
    assert web("image", "layers", "--container", "nosuch").err.startswith("Error: No such container: nosuch\n")
    assert "there can be no demo/app:1 beside it" in web("image", "layers", "--container", "web", "demo/app:1").err


def test_cost_tells_what_paths_and_layers_take(app: Veneer) -> None:
    whole = app("image", "cost", "--human=false", "demo/app:1").text.splitlines()
    assert [each.split()[:2] for each in whole[1:4]] == [["1", "4050"], ["2", "2905"], ["3", "50"]]
    assert whole[-1].startswith("demo/app:1: 7005 bytes stored")
    linked = app("image", "cost", "demo/app:1", "/lib").text
    assert linked == app("image", "cost", "demo/app:1", "/usr/lib").text and "Without /usr/lib: " in linked
    moved = docker_archive((image({"d/f": b"1" * 5000}, {"d": symlink("mnt"), "mnt/s": b"2"}), ["demo/moved:1"]))
    hidden = app("image", "cost", "--archive", "-", "/d", stdin=moved).text
    assert "Without /d: 5kB less stored" in hidden, "a link in a directory's place does not lead away from it"
    some = app("image", "cost", "demo/app:1", "/srv", "/etc/os").text.splitlines()
    assert some[-1].startswith("Without /srv and /etc/os: 2.1kB less stored, about ")
    had = app("image", "cost", "--have", "demo/base:1", "demo/app:1").text
    assert cells(had)[0][-2:] == ["HAVE", "INSTRUCTION"] and [each[4] for each in cells(had)[1:4]] == [
        "yes",
        "no",
        "no",
    ]
    assert "A host with 1 of these 3 layers pulls" in had
    assert "/nothing is in no layer of demo/app:1" in app("image", "cost", "demo/app:1", "/nothing").err


def test_tags_and_identical_images(own: Veneer) -> None:
    own("tag", "demo/app:1", "demo/app:1.2")
    other = docker_archive((image(BASE, MIDDLE, TOP, config={"Cmd": ["else"]}), ["demo/other:1"]))
    assert own("load", stdin=other).code == 0
    shown = cells(own("image", "tags", "demo/app").text)
    assert shown[0][:2] == ["TAGS", "DIGEST"] and shown[1][:2] == ["1.2,", "1"]
    assert own("image", "tags", "-q", "demo/app").text == "1.2\n"
    assert "no image here has a name in demo/nothing" in own("image", "tags", "demo/nothing").err
    assert [(each[0], each[2]) for each in cells(own("image", "identical", "demo/app:1").text)[1:]] == [
        ("demo/app:1.2", "image"), ("demo/other:1", "layers"),
    ]  # fmt: skip
    with Registry() as registry:
        for tag in ("1.9", "1.10"):
            registry.add(f"far/app:{tag}", APP)
        words = ["--insecure-registry", registry.host, "image", "tags", "--remote"]
        assert cells(own(*words, f"{registry.host}/far/app").text)[1][:2] == ["1.10,", "1.9"]
        assert "... 1 tags more" in own(*words, "--limit", "1", f"{registry.host}/far/app").text


def test_labels_lead_somewhere(veneer: Veneer, tmp_path: Path) -> None:
    said = {
        "source": "git@example.com:a/b.git",
        "revision": "0123abc",
        "licenses": "MIT OR Apache-2.0",
        "url": "javascript:x",
    }
    labels = {f"org.opencontainers.image.{key}": value for key, value in said.items()}
    archive = tmp_path / "said.tar"
    archive.write_bytes(docker_archive((image(BASE, config={"Labels": labels}), ["x:1"])))
    told = cells(veneer("image", "labels", "--links", "--archive", str(archive)).text)
    assert told == [
        ["source", "https://example.com/a/b.git"], ["commit_url", "https://example.com/a/b/commit/0123abc"],
        ["licence", "MIT", "https://spdx.org/licenses/MIT.html"],
        ["licence", "Apache-2.0", "https://spdx.org/licenses/Apache-2.0.html"],
    ]  # fmt: skip
    words = ["image", "labels", "--archive", str(archive), "--format"]
    first = veneer(*words, "json", "--links").text.splitlines()[0]
    assert json.loads(first) == {"Key": "source", "URL": "https://example.com/a/b.git"}
    assert veneer(*words, "{{.Key}}", "--missing").text.startswith("org.opencontainers.image.title\n")


def test_one_image_for_two_platforms_is_compared(veneer: Veneer) -> None:
    from veneer.testing.images import index

    one, other = image({"a": b"1"}), image({"a": b"22"}, platform="linux/arm64")
    with Registry() as registry:
        for each in (one, other):
            registry.add("far/app", each)
        listed = index(one, other)
        registry.add_manifest("far/app:1", listed.media_type, listed.raw)
        name = f"remote:{registry.host}/far/app:1"
        words = ["--insecure-registry", registry.host, "image", "diff", "--platform", "linux/amd64,linux/arm64", "-q"]
        assert veneer(*words, name, name).text == "M /a\n"


def test_dives_published_example_in_an_archive(veneer: Veneer, tmp_path: Path) -> None:
    """dive's own test of efficiency, as a saved image: half of it is waste, by dive's arithmetic a quarter."""
    published = image({"etc/nginx/nginx.conf": b"a" * 2000, "etc/nginx/public": b"b" * 3000},
                      {"etc/nginx/nginx.conf": b"c" * 5000, "etc/athing": b"d" * 10_000},
                      {"etc/.wh.nginx": b""})  # fmt: skip
    archive = tmp_path / "published.tar"
    archive.write_bytes(docker_archive((published, ["dive:1"])))
    words = ["image", "waste", "--archive", str(archive)]
    assert veneer(*words).text.startswith("dive:1: 20kB stored, 10kB visible, 10kB wasted, efficiency 50.0%\n")
    dive = veneer(*words, "--metric", "dive").text.splitlines()
    assert dive[:2] == ["efficiency: 75.0000 %", "wastedBytes: 7000 bytes (7kB)"]
    export = json.loads(veneer(*words, "--format", "dive-json").text)["image"]
    assert (export["sizeBytes"], export["inefficientBytes"], export["efficiencyScore"]) == (20_000, 7000, 0.75)


def test_a_remote_image_is_told_without_its_layers(app: Veneer) -> None:
    with Registry() as registry:
        registry.add("far/app:1", image({"far": b"f" * 9000}, MIDDLE))
        name = f"{registry.host}/far/app:1"
        heading, first, _ = app("image", "layers", "--remote", name).text.splitlines()
        assert heading.split() == ["#", "CHAIN", "ID", "INSTRUCTION", "PULL", "SHARED"] and first.split()[-1] == "-"
        assert not registry.requests("/blobs/sha256", "HEAD")
        asked = len(registry.requests("/blobs/"))
        assert "9kB" in app("image", "layers", "--remote", "--stored", name).text
        assert len(registry.requests("/blobs/")) > asked + 1


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (
            ["layers"],
            "veneer: 'veneer image layers' requires 1 argument\n\nUsage:  veneer image layers [OPTIONS] IMAGE",
        ),
        (["find", "demo/app:1"], "veneer: 'veneer image find' requires 2 arguments"),
        (["tree"], "veneer: 'veneer image tree' requires at least 1 argument"),
        (["diff", "demo/app:1"], "veneer: 'veneer image diff' requires 2 arguments"),
        (["layers", "nosuch:1"], "Error: No such image: nosuch:1"),
        (["layers", "--archive", "/no/such.tar"], "Error: open /no/such.tar: no such file or directory"),
        (
            ["layers", "--archive", "x", "--remote"],
            "Error: only one of --archive, --container and --remote can be used",
        ),
        (["waste", "--by", "day", "demo/app:1"], "Error: invalid --by 'day': one of layer, cause, path, duplicate"),
        (["waste", "--metric", "x", "demo/app:1"], "Error: invalid --metric 'x': veneer or dive"),
        (["waste", "--squash", "3-9", "demo/app:1"], "Error: invalid --squash '3-9': a range of layers is wanted"),
        (["tree", "--at", "9", "demo/app:1"], "Error: no range from layer 0 to layer 9: the image has 3 layers"),
        (["tree", "--layer", "2", "--at", "3", "demo/app:1"], "Error: --layer cannot be used together with --at"),
        (["tree", "--sort", "x", "demo/app:1"], "Error: invalid --sort 'x'"),
        (["tree", "--show", "Z", "demo/app:1"], "Error: invalid --show 'Z'"),
        (["tree", "demo/app:1", "/etc/os"], "Error: /etc/os is no directory of this image"),
        (["explain", "--format", "html", "demo/app:1"], "Error: invalid --format 'html'"),
    ],
)
def test_a_refusal_names_the_thing(app: Veneer, words: list[str], complaint: str) -> None:
    answer = app("image", *words)
    assert answer.code == 1 and not answer.text
    assert answer.err.startswith(complaint)


def test_a_value_that_is_no_number_is_a_matter_of_usage(app: Veneer) -> None:
    answer = app("image", "tree", "--at", "x", "demo/app:1")
    assert answer.code == 125 and answer.err == (
        'invalid argument "x" for "--at" flag: a number is wanted\n\n'
        "Usage:  veneer image tree [OPTIONS] IMAGE [PATH]\n\nRun 'veneer image tree --help' for more information\n"
    )


NAMES = ("new\nline", "\x1b[2Jclear", "\x9b2J", "\x7f", "\u202egnp.exe", "\udcff\udcfe", "tab\there")


def test_hostile_names_cannot_move_the_cursor_and_are_found_as_they_are_shown(veneer: Veneer, tmp_path: Path) -> None:
    hostile = image({f"d/{name}": b"1" * 10 for name in NAMES}, {"d/.wh..wh..opq": b""},
                    history=[row("RUN \x1b[31mred\nforged row")])  # fmt: skip
    archive = tmp_path / "hostile.tar"
    archive.write_bytes(docker_archive((hostile, ["demo/hostile:1"])))
    assert veneer("load", "-i", str(archive)).code == 0
    for words in (["tree", "-a", "--depth", "0"], ["waste"], ["layers"], ["explain"], ["find"]):
        more = ["d/*"] if words == ["find"] else []
        for format in ([], ["--format", "json"]):
            answer = veneer("image", *words, *format, "demo/hostile:1", *more, terminal=True)
            out = answer.out.decode("utf-8", "surrogateescape")
            assert not {"\x1b", "\x9b", "\x7f", "\u202e", "\udcff", "\t"} & set(out), words
            assert not format or [json.loads(line) for line in out.splitlines()]
    lines = veneer("image", "find", "-q", "demo/hostile:1", "d/*").out.decode().splitlines()
    assert len(lines) == len(NAMES)
    for line in lines:
        assert "2" in veneer("image", "find", "-q", "demo/hostile:1", line).text, line
    for name in NAMES:
        assert veneer("image", "find", "-q", "demo/hostile:1", f"d/{name}").code == 0
    assert os.fsencode("d/\udcff\udcfe") == b"d/\xff\xfe"


def test_many_images_on_one_base_are_one_tree(veneer: Veneer) -> None:
    archives = [(image(BASE, {f"own{number}": b"1"}), [f"many/app:{number}"]) for number in range(20)]
    assert veneer("load", stdin=io.BytesIO(docker_archive(*archives)).getvalue()).code == 0
    lines = veneer("image", "shared").text.splitlines()
    assert lines[1].split()[2:4] == ["1", "20"]
    assert lines[-1].startswith("20 images: ")


def test_a_hard_link_whose_first_name_is_written_again_is_told_of(veneer: Veneer, tmp_path: Path) -> None:
    perl = b"p" * 1000
    tree: Tree = {"bin": directory(), "bin/a": file(perl, 0o755), "bin/b": hardlink("bin/a")}
    archive = tmp_path / "perl.tar"
    archive.write_bytes(docker_archive((image(tree, {"bin/a": file(perl, 0o700)}), ["demo/perl:1"])))
    at = "--archive", str(archive)
    answer = veneer("image", "find", *at, "/bin/a")
    found = answer.text
    assert answer.code == 0, answer
    assert "Layer 2 breaks the hard link with /bin/b, which keeps the old file: 1kB more are stored" in found
    assert "/bin/a of layer 1 is a hard link: one file with /bin/b" in found
    names = veneer("image", "find", *at, "--format", "{{.Names}}|{{.Broke}}", "/bin/a").text.splitlines()
    assert names == ["/bin/b|", "|/bin/b"]
    assert cells(veneer("image", "find", *at, "*/[ab]").text)[1:] == [
        ["1A", "2P", "1kB", "0B", "/bin/a"], ["1A", "1kB", "0B", "/bin/b"],
    ]  # fmt: skip
    rows = veneer("image", "tree", *at, "--sort", "name", "--format", "{{.Size}} {{.Layers}}", "/bin").text.splitlines()
    assert rows == ["1000 [2]", "1000 [1]"]
    assert "1kB" in veneer("image", "waste", *at, "--by", "duplicate").text
    cost = veneer("image", "cost", *at, "/bin/a").text
    assert "Without /bin/a: 1kB less stored" in cost and "Another 1kB would stay: hard links of it are /bin/b" in cost
    assert "breaks its hard link with /bin/b" in veneer("image", "explain", *at).text


def test_show_shows_paths_in_these_states_and_what_leads_there(veneer: Veneer, tmp_path: Path) -> None:
    base: Tree = {"a/keep": b"k", "a/gone": b"g", "b/mod": b"m", "c/d/deep": b"d", "was": directory(), "was/in": b"i",
                  "same/x": b"x", "empty": directory()}  # fmt: skip
    top: Tree = {"a/.wh.gone": b"", "b/mod": b"n", "c/new": b"n", "c/d/.wh.deep": b"", "was": b"now a file"}
    archive = tmp_path / "states.tar"
    archive.write_bytes(docker_archive((image(base, top), ["demo/states:1"])))

    def shown(show: str, *more: str) -> list[str]:
        options = ("--archive", str(archive), "-q", "--sort", "name", "--depth", "0", "--show", show, *more)
        return veneer("image", "tree", *options).text.split()

    assert shown("D", "--layer", "2") == ["/a", "/a/gone", "/c", "/c/d", "/c/d/deep"]
    assert shown("M", "--layer", "2") == ["/b", "/b/mod"]
    assert shown("O", "--layer", "2") == ["/was"]
    assert shown("A", "--layer", "2") == ["/c", "/c/new"]
    assert shown("P", "--layer", "2") == []
    assert "/same/x" not in shown("AMPDO", "--layer", "2")
    assert shown("U", "--since", "1") == ["/a", "/a/keep", "/b", "/c", "/c/d", "/empty", "/same", "/same/x"]
    assert shown("D", "--since", "0") == shown("D", "--layer", "2"), "it came and went"
    assert shown("M", "--since", "0") == []
