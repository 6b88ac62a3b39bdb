"""One server for the tests of a module that only look: a base, an application on it, another one, and a hostile one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.finished import loaded, row
from tests.support.served import Client, served
from veneer.config import Config
from veneer.engine.engine import Engine
from veneer.testing.images import Tree, directory, file, hardlink, symlink

BASE: Tree = {
    "etc": directory(), "etc/os": b"1" * 1000, "usr": directory(), "usr/lib": directory(), "usr/lib/a": b"x" * 50_000,
    "usr/lib/b": hardlink("usr/lib/a"),
}  # fmt: skip
APP: Tree = {
    "app": directory(), "app/gone.txt": b"hi\n" * 100, "app/read.me": "grüße\n".encode(),
    "etc/os": file(b"1" * 1000, 0o600), "app/link": symlink("/etc/passwd"), "app/data.bin": b"\0" * 10,
}  # fmt: skip
LAST: Tree = {"app/.wh.gone.txt": b"", "caf\udce9": b"latin"}
EVIL_NAMES = (
    "<img src=x onerror=alert(1)>", 'quote"\'>', "line\nfeed", "esc\x1b[31m", "rtl\u202etxt.exe", "bad\udcff\udcfe",
    "percent%2e%2e%2f", "back\\slash", "&amp;", "nul" + "x" * 200,
)  # fmt: skip
EVIL_LABELS = {
    "x": "</script><img src=x onerror=alert(1)>", "org.opencontainers.image.source": "javascript:alert(1)",
}  # fmt: skip
LABELS = {
    "org.opencontainers.image.source": "git@github.com:o/r.git", "org.opencontainers.image.revision": "0123abcd",
    "org.opencontainers.image.licenses": "MIT OR Apache-2.0", "org.opencontainers.image.base.name": "os:1",
}  # fmt: skip


def fill(engine: Engine) -> None:
    """The images of these tests."""
    loaded(engine, "os:1", BASE)
    loaded(engine, "example.com:5000/team/app:1", BASE, APP, LAST, config={"Labels": LABELS, "Cmd": ["sh"]}, history=[
        row("/bin/sh -c #(nop) ADD file:" + "a" * 64 + " in / "), row('/bin/sh -c #(nop)  CMD ["sh"]', empty=True),
        row("COPY . /app # buildkit", comment="buildkit.dockerfile.v0"), row("RUN rm <b>"),
    ])  # fmt: skip
    loaded(engine, "other:2", BASE, {"b": b"2" * 10})
    loaded(engine, "elsewhere:1", {"first": b"1"}, APP)
    loaded(engine, "evil:1", {f"d/{name}": b"x" * 100 for name in EVIL_NAMES}, config={"Labels": EVIL_LABELS})


APP_REF = "example.com:5000%2Fteam%2Fapp:1"


@pytest.fixture(scope="module")
def site_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("site")
    with Engine(Config(root=folder / "root", docker_config=folder / "config.json", durability="none")) as engine:
        fill(engine)
        yield engine


@pytest.fixture(scope="module")
def site(site_engine: Engine) -> Iterator[Client]:
    with served(site_engine) as client:
        yield client
