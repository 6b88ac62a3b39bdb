"""Git repositories made for a test and served over loopback: smart and dumb HTTP, `git://`, and a pretended ssh."""

from __future__ import annotations

import contextlib
import os
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.programs import needs
from tests.support.web import Answer, Asked, Web

MOMENT = 1_500_000_000
"""When everything was committed."""
_AUTHOR = {
    "GIT_AUTHOR_NAME": "Ada", "GIT_AUTHOR_EMAIL": "ada@example.com", "GIT_AUTHOR_DATE": f"{MOMENT} +0000",
    "GIT_COMMITTER_NAME": "Ada", "GIT_COMMITTER_EMAIL": "ada@example.com", "GIT_COMMITTER_DATE": f"{MOMENT} +0000",
    "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C",
}  # fmt: skip


def git(where: Path, *arguments: str, **more: Any) -> str:
    """What a git command prints."""
    needs("git")
    settings = ("-c", "init.defaultBranch=main", "-c", "protocol.file.allow=always", "-c", "gc.auto=0")
    done = subprocess.run(
        ["git", *settings, *arguments], cwd=where, env=os.environ | _AUTHOR, capture_output=True, text=True, **more
    )
    assert done.returncode == 0, done.stderr
    return str(done.stdout).strip()


class Repository:
    """A repository whose git directory `path` is in the served folder, with a work tree beside that folder's."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        self._work = path.parent.with_name(f"{path.parent.name}-{path.name}-work")
        self._work.mkdir(parents=True)
        path.parent.mkdir(exist_ok=True)
        git(self._work, "init", "--quiet", "--template=", f"--separate-git-dir={path}")

    @property
    def work(self) -> Path:
        """The work tree commits are made in."""
        return self._work

    def commit(self, message: str = "a commit", **files: str) -> str:
        """Write files (`__` in a name is a slash, `_` a dot) and commit everything; the commit's hash."""
        for name, text in files.items():
            path = self._work / name.replace("__", "/").replace("_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        git(self._work, "add", "--all")
        git(self._work, "commit", "--quiet", "--allow-empty", "-m", message)
        return git(self._work, "rev-parse", "HEAD")


def smart_http(web: Web, folder: Path) -> str:
    """Serve the repositories in `folder` by git's own http-backend; the URL they are below."""

    def page(asked: Asked) -> Answer:
        path, _, query = asked.path.partition("?")
        environment = os.environ | {
            "GIT_PROJECT_ROOT": str(folder), "GIT_HTTP_EXPORT_ALL": "1", "REQUEST_METHOD": asked.method,
            "PATH_INFO": path.removeprefix("/smart"), "QUERY_STRING": query, "REMOTE_ADDR": "127.0.0.1",
            "CONTENT_TYPE": asked.headers.get("Content-Type", ""), "CONTENT_LENGTH": str(len(asked.body)),
            "HTTP_CONTENT_ENCODING": asked.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": asked.headers.get("Git-Protocol", ""), "GIT_CONFIG_GLOBAL": "/dev/null",
        }  # fmt: skip
        done = subprocess.run(["git", "http-backend"], input=asked.body, env=environment, capture_output=True)
        head, _, body = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
        status = int(headers.pop("Status", "200").split()[0])
        return Answer(body, status, headers)

    web.pages["/smart/"] = page
    return f"{web.url}/smart"


def dumb_http(web: Web, folder: Path) -> str:
    """Serve the repositories in `folder`, as they are now, as plain files; the URL they are below."""
    for repository in folder.glob("*.git"):
        git(repository, f"--git-dir={repository}", "update-server-info")

    def page(asked: Asked) -> Answer:
        file = folder / asked.path.partition("?")[0].removeprefix("/dumb/")
        return Answer(file.read_bytes()) if file.is_file() else Answer(status=404)

    web.pages["/dumb/"] = page
    return f"{web.url}/dumb"


@contextlib.contextmanager
def daemon(folder: Path) -> Iterator[str]:
    """Serve the repositories in `folder` by git's own daemon; the `git://` URL they are below."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            command = ["git", "daemon", "--inetd", "--export-all", f"--base-path={folder}", str(folder)]
            subprocess.run(command, stdin=self.request, stdout=self.request, stderr=subprocess.DEVNULL)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"git://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def pretended_ssh(folder: Path, repositories: Path) -> Path:
    """A folder for PATH with an `ssh` that notes its arguments and serves `repositories` itself; the notes' file."""
    folder.mkdir()
    notes = folder / "notes"
    script = folder / "ssh"
    script.write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$@" "agent $SSH_AUTH_SOCK" >> {notes}\n'
        f'for last; do :; done\ncd {repositories} && exec sh -c "$last"\n'
    )
    script.chmod(0o755)
    return notes
