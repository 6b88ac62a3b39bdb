"""Running `git` on what strangers wrote: no prompt, no hook, no configuration but ours, no protocol but four.

Everything git is told beside its arguments goes through the environment, so that no secret is in a command line.  It
runs in a process group of its own, which is killed when nothing has come from it for a while, when the caller's
progress raises, and (where setpriv is there) by the kernel when this process dies.
Source: git(1) Environment Variables, git-config(1); moby/buildkit util/gitutil/git_cli.go.
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
import shlex
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from veneer.errors import CommandMissing, Unauthorized, Unavailable
from veneer.progress import Report

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess

    from veneer.build.context.access import Access
    from veneer.build.context.address import GitAddress

IDLE = 300.0
"""Seconds without a word from git after which it counts as stuck."""
_MAX_ANSWER = 64 << 20
_TAIL = 8192
_PASSED = (
    "PATH",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "all_proxy",
)
_SETTINGS = {
    "core.hooksPath": "/dev/null", "core.fsmonitor": "false", "core.autocrlf": "false", "core.symlinks": "true",
    "core.logAllRefUpdates": "false", "gc.auto": "0", "maintenance.auto": "false", "advice.detachedHead": "false",
    "fetch.recurseSubmodules": "false", "init.defaultBranch": "main", "http.lowSpeedLimit": "1",
    "http.lowSpeedTime": "60",
}  # fmt: skip
_SSH = (
    "ssh", "-F", "/dev/null", "-o", "BatchMode=yes", "-o", "ConnectTimeout=15", "-o", "ServerAliveInterval=15",
    "-o", "ServerAliveCountMax=4", "-o", "IdentityFile=none", "-o", "StrictHostKeyChecking=accept-new",
    "-o", "UserKnownHostsFile=/dev/null ~/.ssh/known_hosts",
)  # fmt: skip
"""The agent's keys and no others.  A host the user knows must have the key it had; of a new one nothing is noted."""
_GITHUB = ("https://github.com/", "https://www.github.com/")


class GitMissing(CommandMissing):
    """There is no git here, and a git address cannot be read without it."""


class GitFailed(Unavailable):
    """git could not do what was asked; the message has git's own words."""


class GitUnauthorized(Unauthorized):
    """The repository wants to know who is asking."""


class Git:
    """git, told how to reach one remote.  A failure has git's own words, without secrets."""

    def __init__(self, address: GitAddress, access: Access) -> None:
        from veneer.config import environment

        self._address = address
        self.shown = address.shown
        self._access = access
        self._status = "fetching"
        self._environment = _environment(environment())
        self.remote, credentials = _without_credentials(address.remote)
        settings = dict(_SETTINGS)
        if authorization := _authorization(address, access) or credentials:
            settings[f"http.{_scope(self.remote)}.extraHeader"] = "Authorization: " + authorization
        self._secrets = [authorization] if authorization else []
        self._environment |= _configured(settings)
        if address.is_ssh and not access.agent:
            raise GitUnauthorized(
                f"{address.shown} is reached by ssh, and the build has no ssh key",
                hint="forward an ssh agent with --ssh default, or use the https address",
            )
        if access.agent:
            self._environment["SSH_AUTH_SOCK"] = access.agent

    def run(self, *arguments: str, cwd: Path | None = None) -> str:
        """What a git command prints.  Raises GitFailed, GitUnauthorized, GitMissing, and what progress raises."""
        with self._started(arguments, cwd) as process:
            answer, said = self._watched(process)
        if process.returncode:
            raise self._failure(process.returncode, said)
        return answer.decode("utf-8", "surrogateescape")

    @contextlib.contextmanager
    def _started(self, arguments: tuple[str, ...], cwd: Path | None) -> Iterator[subprocess.Popen[bytes]]:
        import shutil
        import subprocess

        program = shutil.which("git", path=self._environment["PATH"])
        if program is None:
            raise GitMissing(f"git is not installed, and {self.shown} is a git repository",
                             hint="install it: apt install git")  # fmt: skip
        binder = shutil.which("setpriv", path=self._environment["PATH"])
        command = [binder, "--pdeathsig", "KILL", "--", program] if binder else [program]
        process = subprocess.Popen(
            [*command, *arguments], cwd=cwd or "/", env=self._environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, process_group=0, umask=0o022,
        )  # fmt: skip
        try:
            yield process
        finally:
            # Its helpers too: one that went on writing would race with the removal of the scratch folder.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            for pipe in (process.stdout, process.stderr):
                assert pipe is not None
                pipe.close()

    def _watched(self, process: subprocess.Popen[bytes]) -> tuple[bytes, str]:
        """What the process prints on its two streams, until both end and it does."""
        import selectors

        assert process.stdout is not None and process.stderr is not None
        answer, said = bytearray(), b""
        heard = time.monotonic()
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            selector.register(process.stderr, selectors.EVENT_READ)
            while selector.get_map():
                for key, _ in selector.select(1.0):
                    data = os.read(key.fd, 65536)
                    heard = time.monotonic()
                    if not data:
                        selector.unregister(key.fileobj)
                    elif key.fileobj is process.stdout:
                        answer += data
                    else:
                        said = (said + data)[-_TAIL:]
                if len(answer) > _MAX_ANSWER:
                    raise GitFailed(f"{self.shown}: git gave more than {_MAX_ANSWER} bytes of answer")
                if time.monotonic() - heard > IDLE:
                    raise GitFailed(f"{self.shown}: nothing came from git for {IDLE:.0f} s")
                text = re.split(rb"[\r\n]+", said.strip())[-1].decode(errors="replace")
                # A command that is silent goes on with what the one before it said: that is no news.
                self._status = self._clean(text) or self._status
                self._access.progress(Report(self.shown, self._status))
        process.wait()
        return bytes(answer), said.decode("utf-8", "replace")

    def _clean(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "xxxxx")
        return text

    def _failure(self, status: int, said: str) -> GitFailed | GitUnauthorized:
        lines = [line.strip() for line in re.split(r"[\r\n]+", self._clean(said)) if line.strip()]
        spoken = [line for line in lines if line.startswith(("fatal:", "error:", "remote:", "ERROR"))] or lines[-2:]
        words = "; ".join(spoken[-4:]) or f"git ended with status {status}"
        message = f"failed to fetch remote {self.shown}: {words}"
        if re.search(
            r"could not read (Username|Password)|Authentication failed|HTTP 40[13]|Permission denied \(", said
        ):
            hint = "see that the agent of --ssh default has the key" if self._address.is_ssh else (
                "give a token with --secret id=GIT_AUTH_TOKEN,env=NAME, if the repository is there at all")  # fmt: skip
            return GitUnauthorized(message, hint=hint)
        return GitFailed(message)


def _environment(outside: Mapping[str, str]) -> dict[str, str]:
    found = {name: outside[name] for name in _PASSED if name in outside}
    found.setdefault("PATH", "/usr/local/bin:/usr/bin:/bin")
    return found | {
        "LC_ALL": "C", "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_ATTR_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0", "GIT_ALLOW_PROTOCOL": "http:https:git:ssh",
        "GIT_SSH_COMMAND": shlex.join(_SSH),
    }  # fmt: skip


def _configured(settings: Mapping[str, str]) -> dict[str, str]:
    found = {"GIT_CONFIG_COUNT": str(len(settings))}
    for number, (key, value) in enumerate(settings.items()):
        found |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return found


def _without_credentials(remote: str) -> tuple[str, str]:
    """An http(s) remote without its user and password, and those as an Authorization header's value."""
    from urllib.parse import unquote

    found = re.fullmatch(r"(https?://)([^/@]*)@(.*)", remote, re.S | re.I)
    if found is None:
        return remote, ""
    user, _, password = found[2].partition(":")
    return found[1] + found[3], _basic(unquote(user), unquote(password))


def _basic(user: str, password: str) -> str:
    return "basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _authorization(address: GitAddress, access: Access) -> str:
    """The header's value that the build's secrets give, the host's own going first; "" if there is none."""
    host = re.sub(r"^[a-z]+://([^/@]*@)?", "", address.remote.lower()).partition("/")[0]
    if not address.remote.lower().startswith("http"):
        return ""
    for suffix in (f".{host}", ""):
        if (header := access.secret("GIT_AUTH_HEADER" + suffix)) is not None:
            return _text(header)
        if (token := access.secret("GIT_AUTH_TOKEN" + suffix)) is not None:
            return _basic("x-access-token", _text(token))
    return ""


def _text(secret: bytes) -> str:
    text = secret.decode("utf-8", "replace").strip()
    if any(character < " " for character in text):
        raise GitUnauthorized("the secret for git has more than one line", hint="give the bare token or header value")
    return text


def _scope(remote: str) -> str:
    """Which URLs may have the secret: the remote's; at the one forge where a token is good for all, all of it."""
    return next((forge for forge in _GITHUB if remote.startswith(forge)), remote)
