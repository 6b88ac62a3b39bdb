"""Ask a real docker what tests/cli/test_golden.py expects; run by hand when a scenario changes.

    DOCKER_HOST=unix:///path/of/a/private/dockerd.sock python tests/cli/collect_goldens.py

Removes every image of that dockerd.  Writes tests/cli/golden/*.tar.gz (what scenarios load) and scenarios.json (each
command with what docker answered).  Only commands that need no network and no container are asked.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).parent / "golden"
DOCKERFILE = """FROM gold/base:1
COPY greeting /srv/
LABEL maintainer="Veneer Maintainers"
ENV A=1 B="two words"
LABEL note="宽宽宽宽宽宽宽宽宽宽宽宽宽宽宽宽宽宽宽宽宽宽宽宽宽宽"
EXPOSE 80
STOPSIGNAL SIGQUIT
CMD ["nginx", "-g", "daemon off;"]
"""


def docker(*words: str, stdin: bytes = b"", check: bool = True) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["docker", *words], input=stdin, capture_output=True, check=check,
                          env={**os.environ, "DOCKER_BUILDKIT": "0"})  # fmt: skip


def wipe() -> None:
    # BuildKit's cache holds on to layers, and counts in df.
    subprocess.run(["/usr/bin/docker", "builder", "prune", "-af"], check=True, capture_output=True)
    for _ in range(5):
        names = docker("images", "-q", "--no-trunc").stdout.decode().split()
        if not names:
            return
        docker("rmi", "-f", *dict.fromkeys(names), check=False)


def layer(**files: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            info.mtime = 1_600_000_000
            tar.addfile(info, io.BytesIO(content.encode()))
    return out.getvalue()


def archive(name: str, layers: list[bytes], history: list[dict[str, Any]] | None, **config: Any) -> bytes:
    """A `docker save` archive of one image, made by hand."""
    document: dict[str, Any] = {"architecture": "amd64", "os": "linux", "config": {}, **config}
    document["rootfs"] = {"type": "layers", "diff_ids": ["sha256:" + sha256(data).hexdigest() for data in layers]}
    if history is not None:
        document["history"] = history
    raw = json.dumps(document).encode()
    members = {f"{sha256(raw).hexdigest()}.json": raw}
    members |= {f"{n}/layer.tar": data for n, data in enumerate(layers)}
    manifest = [
        {"Config": next(iter(members)), "RepoTags": [name], "Layers": [f"{n}/layer.tar" for n in range(len(layers))]}
    ]
    members["manifest.json"] = json.dumps(manifest).encode()
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for path, data in members.items():
            info = tarfile.TarInfo(path)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def store(name: str, data: bytes) -> None:
    (GOLDEN / f"{name}.tar.gz").write_bytes(gzip.compress(data, mtime=0))


def make_archives() -> None:
    wipe()
    base = layer(**{"etc/hostname": "gold\n", "srv/empty": ""})
    docker("import", "-", "gold/base:1", stdin=base)
    with tempfile.TemporaryDirectory() as context:
        Path(context, "greeting").write_text("hello\n")
        Path(context, "Dockerfile").write_text(DOCKERFILE)
        docker("build", "-t", "gold/app:1", context)
    ids = docker("history", "-q", "--no-trunc", "gold/app:1").stdout.decode().split()
    store("app", docker("save", "gold/app:1").stdout)
    store("chain", docker("save", "gold/app:1", "gold/base:1", *ids[1:-1]).stdout)
    with tempfile.TemporaryDirectory() as context:
        Path(context, "greeting").write_text("hello\n")
        Path(context, "Dockerfile").write_text(DOCKERFILE)
        # The engine's own BuildKit is reached by the client of its package.
        subprocess.run(["/usr/bin/docker", "build", "-q", "-t", "gold/kit:1", context], check=True, capture_output=True,
                       env={**os.environ, "DOCKER_BUILDKIT": "1"})  # fmt: skip
    store("kit", docker("save", "gold/kit:1").stdout)
    three = [layer(a="1\n"), layer(b="22\n"), layer(c="333\n")]
    when = "2021-05-06T07:08:09.123456789Z"
    store("nohistory", archive("odd/none:1", three, None, created=when))
    store("onerow", archive("odd/one:1", three, [{"created_by": "only"}], created=when))
    rows: list[dict[str, Any]] = [
        {"created": when, "created_by": "/bin/sh -c echo one\ttab  two spaces && echo the end of a rather long line"},
        {"created": "1970-01-01T00:00:00Z", "created_by": "bazel build ...", "comment": "placeholder date"},
        {"created": when, "created_by": 'CMD ["<&>"]', "empty_layer": True, "author": "A. Nobody"},
        {"created": when, "created_by": "宽" * 30, "comment": "wide"},
    ]
    store("rows", archive("odd/rows:1", three, rows, created=when, author="A. Nobody"))
    store("toomany", archive("odd/many:1", three, [{"created_by": str(n)} for n in range(5)], created=when))
    wipe()


LISTS = [
    ["images"], ["image", "ls"], ["images", "-a"], ["images", "-q"], ["images", "-aq"], ["images", "--no-trunc"],
    ["images", "-q", "--no-trunc"], ["images", "--digests"], ["images", "--format", "json"],
    ["images", "--format", "{{json .}}"],
    ["images", "--format", "table {{.ID}}\\t{{.Repository}}:{{.Tag}}\\t{{.Size}}"],
    ["images", "--format", "table {{upper .Repository}}\\t{{truncate .ID 4}}\\t{{json .Tag}}"],
    ["images", "--format", "{{.Repository}} {{.Tag}} {{.ID}} {{.CreatedAt}} {{.Size}} {{.VirtualSize}}"],
    ["images", "--format", "{{.Nosuch}}"], ["images", "--format", "{{"], ["images", "--format", "table"],
    ["images", "gold/app"], ["images", "gold/app:1"], ["images", "gold/*"], ["images", "nosuch"],
    ["images", "-f", "dangling=true"], ["images", "-f", "label=maintainer"], ["images", "-f", "reference=gold/b*:1"],
    ["images", "-f", "before=gold/app:1"], ["images", "-f", "nosuch=1"], ["images", "-f", "dangling=maybe"],
    ["images", "--nosuch"], ["images", "a", "b"], ["images", "-aq=false"], ["images", "--all=x"], ["images", "-f"],
    ["images", "-f", "x"],
]  # fmt: skip
HISTORIES = [
    ["history", "gold/app:1"], ["image", "history", "gold/app:1"], ["history", "--no-trunc", "gold/app:1"],
    ["history", "-q", "gold/app:1"], ["history", "-q", "--no-trunc", "gold/app:1"],
    ["history", "--human=false", "gold/app:1"], ["history", "-H=0", "gold/app:1"],
    ["history", "--format", "json", "gold/app:1"], ["history", "--no-trunc", "--format", "json", "gold/app:1"],
    ["history", "--format", "{{.ID}} {{.CreatedBy}} {{.CreatedAt}} {{.Size}}", "gold/app:1"],
    ["history", "--format", "table {{.ID}}\\t{{.Size}}\\t{{.CreatedSince}}", "gold/app:1"],
    ["history", "--human=false", "--format", "table {{.CreatedSince}}\\t{{.Size}}", "gold/app:1"],
    ["history", "nosuch"], ["history"], ["history", "a", "b"], ["history", "--limit", "1", "gold/app:1"],
]  # fmt: skip
INSPECTS = [
    ["inspect", "-f", "{{.Id}} {{.RepoTags}} {{.Parent}}", "gold/app:1", "gold/base:1"],
    ["inspect", "--type", "image", "-f", "{{json .Config.Cmd}} {{.Config.ExposedPorts}}", "gold/app:1"],
    ["image", "inspect", "-f", "{{json .RootFS}} {{.Size}} {{.Os}}/{{.Architecture}}", "gold/app:1"],
    ["image", "inspect", "-f", "{{range .Config.Env}}{{.}};{{end}}{{index .Config.Labels \"note\"}}", "gold/app:1"],
    ["image", "inspect", "-f", "{{json .ContainerConfig.Cmd}} {{.Comment}}|{{.Author}}", "gold/app:1"],
    ["image", "inspect", "nosuch"], ["inspect", "nosuch"], ["inspect", "-f", "{{.Id}}", "nosuch", "gold/app:1"],
    ["inspect"], ["inspect", "-f", "{{", "gold/app:1"], ["inspect", "-f", "{{.Nosuch}}", "gold/app:1"],
]  # fmt: skip
CHANGES = [
    ["tag", "gold/app:1", "gold/app:2"], ["tag", "gold/app:1", "other"], ["tag", "nosuch", "x"], ["tag", "gold/app:1"],
    ["tag", "gold/app:1", "UPPER"], ["images"], ["rmi", "gold/app:2", "nosuch", "other"], ["rmi", "nosuch"],
    ["rmi", "-f", "nosuch"], ["rmi"], ["rmi", "gold/base:1"], ["images", "-a"], ["history", "gold/app:1"],
    ["tag", "gold/app:1", "gold/app:3"], ["tag", "gold/app:1", "gold/another:1"],
    ["rmi", "{id:gold/app:1}"], ["rmi", "{parent:gold/app:1}"], ["rmi", "-f", "{parent:gold/app:1}"],
    ["image", "prune", "-f"], ["image", "prune", "-f", "--filter", "until=2001-01-01T00:00:00Z"],
    ["image", "prune", "-f", "--filter", "nosuch=1"], ["rmi", "gold/another:1"], ["rmi", "--no-prune", "gold/app:1"],
    ["image", "rm", "gold/app:3"], ["images", "-a"], ["load", "-i", "{data}/chain.tar.gz"],
    ["rmi", "-f", "{id:gold/app:1}"], ["images", "-aq"], ["image", "prune", "-af"], ["images", "-aq"],
    ["image", "prune", "-af"],
]  # fmt: skip
FILES = [
    ["load", "-i", "{data}/nosuch.tar"], ["save"], ["save", "nosuch"], ["load", "-i", "{data}/toomany.tar.gz"],
    ["import"], ["system", "df"], ["system", "df", "--format", "json"],
    ["system", "df", "--format", "{{.Type}} {{.Size}}"],
    ["nosuch"], ["image", "nosuch"], ["pull", "UPPER"], ["pull"], ["push"], ["pull", "-a", "x:1"], ["--nosuch"],
    ["login", "-u", "x", "-p", "y", "--password-stdin", "127.0.0.1:1"], ["login", "--password-stdin", "127.0.0.1:1"],
    ["login", "127.0.0.1:1"], ["version", "x"], ["push", "-a", "x:1"],
]  # fmt: skip
SCENARIOS: dict[str, list[list[str]]] = {
    "an empty store": [["images"], ["images", "-q"], ["images", "--format", "json"], ["image", "prune", "-f"],
                       ["image", "prune", "-af"], ["system", "df"], *FILES],
    "an image with its chain of intermediates": [
        ["load", "-i", "{data}/chain.tar.gz"], *LISTS, *HISTORIES, *INSPECTS, ["system", "df"], *CHANGES,
    ],
    "an image that was loaded alone": [
        ["load", "-i", "{data}/app.tar.gz"], ["load", "-q", "-i", "{data}/app.tar.gz"], ["images", "-a"], *HISTORIES,
        ["inspect", "-f", "{{.Parent}}|{{json .Metadata}}", "gold/app:1"],
        ["inspect", "-f", "{{.Metadata.LastTagTime}}", "gold/app:1"], ["rmi", "gold/app:1"], ["images", "-a"],
    ],
    "an image that BuildKit built": [
        ["load", "-i", "{data}/kit.tar.gz"], ["images", "-a"], ["history", "gold/kit:1"],
        ["history", "--no-trunc", "gold/kit:1"], ["history", "--format", "json", "gold/kit:1"],
        ["inspect", "-f", "{{.Comment}} {{.Parent}}|{{.Config.ArgsEscaped}}|{{.ContainerConfig.Cmd}}", "gold/kit:1"],
        ["tag", "gold/kit:1", "gold/kit:2"], ["history", "-q", "gold/kit:2"], ["rmi", "gold/kit:1", "gold/kit:2"],
    ],
    "odd configs": [
        *[["load", "-i", f"{{data}}/{name}.tar.gz"] for name in ("nohistory", "onerow", "rows")], ["images"],
        ["history", "odd/none:1"], ["history", "odd/one:1"], ["history", "odd/one:1", "--format", "json"],
        ["history", "odd/rows:1"], ["history", "odd/rows:1", "--no-trunc"],
        ["history", "odd/rows:1", "--format", "json"],
        ["history", "odd/rows:1", "--human=false"], ["history", "--format", "{{.CreatedBy}}", "odd/rows:1"],
        ["inspect", "-f", "{{.Created}} {{.Comment}} {{.Author}}", "odd/rows:1", "odd/one:1", "odd/none:1"],
        ["system", "df"], ["rmi", "odd/rows:1", "odd/one:1"], ["images", "-aq"], ["image", "prune", "-af"],
    ],
}  # fmt: skip


def filled(words: list[str]) -> list[str]:
    """The words with {data} and the IDs of images put in."""
    out = []
    for word in words:
        word = word.replace("{data}", str(GOLDEN))
        if word.startswith("{id:"):
            word = docker("inspect", "-f", "{{.Id}}", word[4:-1]).stdout.decode().strip()
        elif word.startswith("{parent:"):
            word = docker("inspect", "-f", "{{.Parent}}", word[8:-1]).stdout.decode().strip()
        out.append(word)
    return out


def ask(scenario: list[list[str]]) -> list[dict[str, Any]]:
    wipe()
    steps = []
    for words in scenario:
        filled_in, now = filled(words), time.time()
        done = docker(*filled_in, check=False)
        hidden = str(GOLDEN).encode()
        steps.append({
            "words": words, "now": now, "code": done.returncode, "out": done.stdout.replace(hidden, b"{data}").decode(),
            "err": done.stderr.replace(hidden, b"{data}").decode(),
        })  # fmt: skip
    return steps


def main() -> None:
    if "--archives" in sys.argv:
        make_archives()
    version = (
        docker("version", "--format", "client {{.Client.Version}}, engine {{.Server.Version}}").stdout.decode().strip()
    )
    found = {"docker": version, "scenarios": {name: ask(steps) for name, steps in SCENARIOS.items()}}
    (GOLDEN / "scenarios.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    wipe()


if __name__ == "__main__":
    main()
