"""The comparison of builds itself: what it reads out of an archive, and that it lets no difference pass."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support import build_cases, flattened
from tests.support.build_cases import Case, Difference, archive
from tests.support.build_compare import compare
from tests.support.builders import Built, Refused, Row

CASE = next(case for case in build_cases.cases() if case.fails is None and case.history is None and not case.differs)


def saved(folder: Path, *layers: Mapping[str, Mapping[str, Any]], **config: Any) -> flattened.Saved:
    """What is read of an archive with these layers."""
    files = {f"{number}.tar": archive(layer) for number, layer in enumerate(layers)}
    manifest = [{"Config": "config.json", "Layers": list(files)}]
    documents = {"config.json": {"config": config, "os": "linux"}, "manifest.json": manifest}
    files |= {name: json.dumps(document).encode() for name, document in documents.items()}
    target = folder / "image.tar"
    with tarfile.open(target, "w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return flattened.read(target)


BASE: dict[str, dict[str, Any]] = {
    "etc": {"directory": True},
    "etc/passwd": {"text": "root\n", "mode": 0o600},
    "etc/sub/deep": {"text": "deep\n"},
    "link": {"symlink": "etc"},
    "one": {"text": "linked\n"},
    "other": {"hardlink": "one"},
    "tool": {"text": "#!\n", "capability": True},
    "null": {"device": ["c", 1, 3]},
}


def test_layers_are_put_on_each_other_with_their_whiteouts(tmp_path: Path) -> None:
    change: dict[str, dict[str, Any]] = {
        "etc/.wh.passwd": {},
        "link": {"text": "now a file\n"},
        "one": {"directory": True},
        "one/x": {},
    }
    image = saved(tmp_path, BASE, change)
    assert sorted(image.tree) == ["etc", "etc/sub/deep", "link", "null", "one", "one/x", "other", "tool"]
    assert image.tree["link"].kind == "file"
    assert image.layers[1] == ("etc/.wh.passwd", "link", "one/", "one/x")
    opaque = saved(tmp_path, BASE, {"etc/.wh..wh..opq": {}, "etc/new": {}})
    assert [path for path in opaque.tree if path.startswith("etc")] == ["etc", "etc/new"]


def test_hard_links_share_an_inode_until_one_is_replaced(tmp_path: Path) -> None:
    assert flattened.linked_names(saved(tmp_path, BASE).tree) == {"one": ("one", "other"), "other": ("one", "other")}
    assert flattened.linked_names(saved(tmp_path, BASE, {"one": {"text": "linked\n"}}).tree) == {}


def test_attributes_are_read_as_they_are_in_the_tar(tmp_path: Path) -> None:
    tree = saved(tmp_path, BASE).tree
    assert tree["tool"].xattrs == {"security.capability": build_cases.CAP_NET_RAW.hex()}
    assert (tree["null"].kind, tree["null"].device) == ("character device", (1, 3))
    assert tree["etc/passwd"].mode == 0o600


class Fixed:
    """A builder whose result is known."""

    def __init__(self, name: str, result: Built | str) -> None:
        self.name = name
        self._result = result

    def build(self, case: Case, folder: Path, *, url: str = "") -> Built:
        if isinstance(self._result, str):
            raise Refused(self._result)
        return self._result


def built(folder: Path, *layers: Mapping[str, Mapping[str, Any]], rows: tuple[Row, ...] = (), **config: Any) -> Built:
    return Built(saved(folder, *layers, **config), rows, {"Config": config}, began=1_600_000_000)


def lines(folder: Path, one: Built | str, other: Built | str, case: Case = CASE) -> tuple[str, ...]:
    return compare(case, Fixed("docker", one), Fixed("veneer", other), folder).unargued


def test_equal_images_have_no_differences(tmp_path: Path) -> None:
    image = built(tmp_path, BASE, Cmd=["sh"], Env=None)
    assert lines(tmp_path, image, built(tmp_path, BASE, Cmd=["sh"], Hostname="another")) == ()


@pytest.mark.parametrize(
    ("path", "said", "word"),
    [
        ("etc/passwd", {"text": "toor\n", "mode": 0o600}, "sha256"),
        ("etc/passwd", {"text": "root\n", "mode": 0o644}, "mode 0o644"),
        ("etc/passwd", {"text": "root\n", "mode": 0o600, "owner": [0, 5]}, "gid 5"),
        ("etc/passwd", {"text": "root\n", "mode": 0o600, "mtime": 7}, "mtime 7"),
        ("link", {"symlink": "elsewhere"}, "link elsewhere"),
        ("null", {"device": ["c", 1, 5]}, "device (1, 5)"),
        ("null", {"fifo": True}, "type fifo"),
        ("tool", {"text": "#!\n"}, "xattrs {}"),
        ("other", {"text": "linked\n"}, "links ()"),
        ("new", {}, "docker has none"),
    ],
)
def test_every_attribute_that_differs_is_told(tmp_path: Path, path: str, said: dict[str, Any], word: str) -> None:
    found = lines(tmp_path, built(tmp_path, BASE), built(tmp_path, BASE | {path: said}))
    assert any(line.startswith(f"files: /{path}:") and word in line for line in found), found


def test_times_from_the_build_are_alike_and_older_ones_are_not(tmp_path: Path) -> None:
    def at(mtime: int) -> Built:
        return built(tmp_path, {"x": {"mtime": mtime}})

    assert lines(tmp_path, at(1_600_000_001), at(1_600_000_999)) == ()
    assert len(lines(tmp_path, at(1_600_000_001), at(1_500_000_000))) == 1


def test_config_history_and_layers_are_compared(tmp_path: Path) -> None:
    one = built(tmp_path, BASE, {"x": {}, "y": {}}, rows=(Row("RUN x", "", False, 5),), Env=["a=b"])
    other = built(tmp_path, BASE | {"x": {}}, {"y": {}}, rows=(Row("RUN x", "", False, 6),), Env=["a=c"])
    told = [line.partition(":")[0] for line in lines(tmp_path, one, other)]
    assert set(told) == {"config", "history", "layers"}


def test_an_argument_covers_its_difference_and_must_have_one(tmp_path: Path) -> None:
    one, other = built(tmp_path, BASE), built(tmp_path, BASE | {"new": {}})
    case = replace(CASE, differs=(Difference("files: /new", "for a test"), Difference("layers: 1", "for a test")))
    assert compare(case, Fixed("docker", one), Fixed("veneer", other), tmp_path).good
    verdict = compare(case, Fixed("docker", one), Fixed("veneer", one), tmp_path)
    assert verdict.idle == ("files: /new", "layers: 1")
    assert not verdict.good


def test_a_refusal_is_compared_by_its_words(tmp_path: Path) -> None:
    case = replace(CASE, fails="no such file", veneer_fails="x.txt")
    assert lines(tmp_path, "no such file: x", "x.txt is not there", case) == ()
    assert "did not say 'x.txt'" in lines(tmp_path, "no such file", "something else", case)[0]
    assert "veneer succeeded" in lines(tmp_path, "no such file", built(tmp_path, BASE), case)[0]
    assert "succeeded, where" in lines(tmp_path, built(tmp_path, BASE), built(tmp_path, BASE), case)[0]
    assert "docker refused: oh" in lines(tmp_path, "oh", built(tmp_path, BASE))[0]


def test_rows_a_case_writes_down_are_veneers_whatever_docker_shows(tmp_path: Path) -> None:
    digest = "0" * 64
    rows = (Row("layer 0", "", False, 1), Row(f"COPY file:{digest} in / ", "", False, 2), Row("ENV a=b", "", True, 0))
    one, other = built(tmp_path, BASE), built(tmp_path, BASE, rows=rows)
    case = replace(CASE, history=("layer: COPY file:SUM in / ", "empty: ENV a=b"))
    assert lines(tmp_path, one, other, case) == ()
    assert lines(tmp_path, one, other, replace(case, history=("empty: ENV a=b",)))[0].startswith("history: expected")
