"""The story's commands, one scene after the other, each with what has to be true of its output."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support.programs import VENEER, run

HERE = Path(__file__).parent
SCRIPTS = HERE.parents[1] / "scripts"
PACKAGE = "postgresql"
BASE = "debian-postgresql"
IMAGE = "demo/postgres"
PATIENCE_SECONDS = 120.0


class Untrue(AssertionError):
    """The story did not go as it is told."""


class Scene:
    """Commands and what they said, under a name by which the page asks for them."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lines: list[str] = []

    def __str__(self) -> str:
        return "\n".join(self.lines)


class Story:
    """Everything that happens, on a new store below `work`; `scenes` are what happened so far."""

    def __init__(self, work: Path, base: Path) -> None:
        self.root = work / "store"
        self.context = work / "postgres"
        self.base = base
        self.scenes: list[Scene] = []
        shutil.copytree(HERE, self.context, ignore=shutil.ignore_patterns("*.py", "__pycache__"))

    # ---- telling

    @contextlib.contextmanager
    def scene(self, name: str) -> Iterator[None]:
        self.scenes.append(Scene(name))
        yield

    def veneer(self, *words: str, shown: bool = True) -> str:
        """A command of veneer's: what it prints on standard output."""
        text = run(
            VENEER, "--root", self.root, *(str(self.context) if word == "postgres" else word for word in words)
        ).out
        if shown:
            told = text.replace(str(self.root), "/var/lib/veneer")
            self.scenes[-1].lines += [f"$ veneer {shlex.join(words)}", *(line.rstrip() for line in told.splitlines())]
        return text

    def psql(self, container: str, password: str, sql: str, *, shown: bool = True) -> tuple[int, str]:
        """Ask the database over its published port, as anybody on this host would; the exit status and the answer."""
        host, _, port = self.veneer("port", container, "5432", shown=False).strip().rpartition(":")
        done = subprocess.run(
            ["psql", "--no-psqlrc", "--tuples-only", "--no-align", f"host={host} port={port} user=postgres", "-c", sql],
            capture_output=True, text=True, check=False, env={"PGPASSWORD": password, "PATH": "/usr/bin:/bin"},
        )  # fmt: skip
        # The port is another one each time, and nothing hangs on it.
        answer = re.sub(r"port \d+", "port PORT", (done.stdout + done.stderr).strip())
        if shown:
            where = f'"host={host} port=PORT user=postgres"'
            self.scenes[-1].lines += [
                f'$ PGPASSWORD={password} psql -tA {where} -c "{sql}"',
                *answer.splitlines(),
            ]
        return done.returncode, answer

    def ready(self, container: str, password: str) -> None:
        """Wait until the database answers.  Raises Untrue with its log when it does not."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.psql(container, password, "select 1", shown=False)[0] != 0:
            if time.monotonic() > deadline:
                raise Untrue(f"{container} does not answer: {self.veneer('logs', container, shown=False)}")
            time.sleep(0.2)

    def layers(self, container: str) -> list[str]:
        """The image layers a container stands on, by their IDs; the read-write one is not among them."""
        text = self.veneer("container", "layers", "--format", "json", container, shown=False)
        rows = [json.loads(line) for line in text.splitlines()]
        return [row["ID"] for row in rows if row["Kind"] == "image"]

    # ---- what happens

    def tell(self) -> None:
        """All of it, in order.  Raises Untrue."""
        try:
            self.one_image()
            self.two_containers()
            self.one_stack()
            self.space()
            self.a_third()
            self.kept()
        finally:
            names = self.veneer("ps", "-aq", shown=False).split()
            if names:
                self.veneer("rm", "-f", *names, shown=False)

    def one_image(self) -> None:
        with self.scene("image"):
            run(VENEER, "--root", self.root, "import", self.base, BASE)
            self.veneer("build", "--quiet", "--network", "none", "--tag", IMAGE, "postgres")
            self.veneer("history", "--format", "table {{.ID}}\t{{.CreatedBy}}\t{{.Size}}", IMAGE)

    def two_containers(self) -> None:
        with self.scene("passwords"):
            for name, password in (("db-a", "alpha"), ("db-b", "beta")):
                self.veneer("run", "--detach", "--name", name, "--env", f"POSTGRES_PASSWORD={password}",
                            "--publish", "127.0.0.1::5432", IMAGE)  # fmt: skip
            self.ready("db-a", "alpha")
            self.ready("db-b", "beta")
            for name, password, other in (("db-a", "alpha", "beta"), ("db-b", "beta", "alpha")):
                status, answer = self.psql(name, password, "select 'welcome'")
                _must(status == 0 and answer == "welcome", f"{name} refused its own password: {answer}")
                status, answer = self.psql(name, other, "select 'welcome'")
                _must(status != 0 and "password authentication failed" in answer, f"{name} took a strange password")

    def one_stack(self) -> None:
        with self.scene("stack"):
            self.veneer("container", "layers", "db-a")
            self.veneer("container", "layers", "db-b")
        _must(self.layers("db-a") == self.layers("db-b") != [], "a and b stand on different layers")

    def space(self) -> None:
        with self.scene("space"):
            self.psql("db-a", "alpha", "create table diary (day date, entry text)")
            self.psql(
                "db-a",
                "alpha",
                "insert into diary select current_date, repeat('x', 100) from generate_series(1, 50000)",
            )
            self.veneer("ps", "--size", "--format", "table {{.Names}}\t{{.Image}}\t{{.Size}}")
            self.veneer("system", "df", "--verbose")
        sizes = dict(line.split(" ", 1) for line in self.veneer(
            "ps", "--size", "--format", "{{.Names}} {{.Size}}", shown=False).splitlines())  # fmt: skip
        image = int(self.veneer("image", "inspect", "--format", "{{.Size}}", IMAGE, shown=False))
        for name in ("db-a", "db-b"):
            own = int(self.veneer("inspect", "--size", "--format", "{{.SizeRw}}", name, shown=False))
            _must(0 < own < image / 2, f"{name} takes {own} bytes of its own, the image {image}: {sizes}")

    def a_third(self) -> None:
        with self.scene("third"):
            since = {name: self.since(name, password) for name, password in (("db-a", "alpha"), ("db-b", "beta"))}
            settings = self.context / "settings.conf"
            settings.write_text(settings.read_text().replace("max_connections = 20", "max_connections = 40"))
            self.scenes[-1].lines.append(
                "$ sed -i 's/max_connections = 20/max_connections = 40/' postgres/settings.conf"
            )
            self.veneer("build", "--quiet", "--network", "none", "--tag", f"{IMAGE}:c", "postgres")
            self.veneer("run", "--detach", "--name", "db-c", "--env", "POSTGRES_PASSWORD=gamma",
                        "--publish", "127.0.0.1::5432", f"{IMAGE}:c")  # fmt: skip
            self.ready("db-c", "gamma")
            for name, password, expected in (("db-a", "alpha", "20"), ("db-b", "beta", "20"), ("db-c", "gamma", "40")):
                _, answer = self.psql(name, password, "show max_connections")
                _must(answer == expected, f"{name} has {answer} connections, not {expected}")
            self.veneer("container", "layers", "db-c")
        now = {name: self.since(name, password) for name, password in (("db-a", "alpha"), ("db-b", "beta"))}
        _must(since == now, f"a or b was disturbed: {since} became {now}")
        mine, theirs = self.layers("db-c"), self.layers("db-a")
        _must(mine[0] == theirs[0] and mine[1] != theirs[1], "c should differ from a in the layer of the settings")

    def since(self, name: str, password: str) -> str:
        """Since when the database has been up, by its own word."""
        return self.psql(name, password, "select pg_postmaster_start_time()", shown=False)[1]

    def kept(self) -> None:
        with self.scene("commit"):
            changed = self.veneer("diff", "db-a", shown=False).splitlines()
            _must("A /var/lib/postgresql/data/PG_VERSION" in changed, "diff does not show a's data")
            self.scenes[-1].lines += ["$ veneer diff db-a | grep -v /base/ | head -12",
                                      *[line for line in changed if "/base/" not in line][:12]]  # fmt: skip
            self.psql("db-a", "alpha", "checkpoint")
            self.veneer("commit", "--message", "a diary of 50,000 entries", "db-a", f"{IMAGE}:diary")
            self.veneer(
                "history", "--format", "table {{.ID}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}", f"{IMAGE}:diary"
            )
            self.veneer("run", "--detach", "--name", "db-d", "--publish", "127.0.0.1::5432", f"{IMAGE}:diary")
            self.ready("db-d", "alpha")
            _, answer = self.psql("db-d", "alpha", "select count(*) from diary")
            _must(answer == "50000", f"the committed image has {answer} entries, not 50000")


def _must(true: bool, otherwise: str) -> None:
    if not true:
        raise Untrue(otherwise)
