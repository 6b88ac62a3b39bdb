"""Private keys for `--ssh`: an agent of the build's own holds them, and nobody gets to see them.

A step, or git, is given an agent's socket, never a key.  The agent is ssh-agent, and ends when this process does,
however that ends: a shell waits for the end of a pipe, and ends it.  It is reached through a descriptor of the
folder its socket is in, since a socket's path may have 107 bytes only.
Source: moby/buildkit session/sshforward/sshprovider; ssh-agent(1), ssh-add(1), unix(7).
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence

from veneer.changeset.safepath import DIRECTORY
from veneer.errors import CommandMissing, InvalidRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

MAX_KEY = 100_000
"""Bytes; ssh itself takes no more."""
_PATIENCE = 20.0
_HOLD = 'echo && cat; kill "$SSH_AGENT_PID"'


class SSHMissing(CommandMissing):
    """There is no ssh-agent here, and a key given by file cannot be used without it."""


class BadKey(InvalidRequest):
    """A file given by --ssh that is no private key, or one that wants a passphrase."""


def checked(pairs: Sequence[tuple[str, str]]) -> None:
    """Refuse what `agents` could not use.  `pairs` as in BuildRequest.  Raises BadKey."""
    seen: dict[str, bool] = {}
    for name, path in pairs:
        is_agent = _is_socket(path)
        if seen.get(name, is_agent) != is_agent or (name in seen and is_agent):
            raise BadKey(f"--ssh {name}: either the socket of one agent or keys", hint="give them different ids")
        seen[name] = is_agent
        if not is_agent:
            _content(name, path)


@contextlib.contextmanager
def agents(pairs: Sequence[tuple[str, str]], scratch: Callable[[], Path]) -> Iterator[tuple[tuple[str, str], ...]]:
    """An agent's socket for each ID, where keys were given too; `scratch` gives the name of a folder to make.

    Raises BadKey, SSHMissing.
    """
    keys: dict[str, list[str]] = {}
    for name, path in pairs:
        if not _is_socket(path):
            keys.setdefault(name, []).append(path)
    if not keys:
        yield tuple(pairs)
        return
    with contextlib.ExitStack() as stack:
        folder = scratch()
        folder.mkdir(0o700)
        fd = os.open(folder, DIRECTORY)
        stack.callback(os.close, fd)
        sockets = dict(pair for pair in pairs if pair[0] not in keys)
        for number, (name, paths) in enumerate(keys.items()):
            here = f"/proc/{os.getpid()}/fd/{fd}/{number}"
            stack.enter_context(_agent(fd, number))
            for path in paths:
                _add(here, name, path)
            sockets[name] = here
        yield tuple(sockets.items())


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False


def _content(name: str, path: str) -> bytes:
    try:
        with open(os.path.expanduser(path), "rb") as file:
            content = file.read(MAX_KEY + 1)
    except OSError as error:
        raise BadKey(f"--ssh {name}: {path}: {(error.strerror or '').lower()}",
                     hint="give the socket of an agent, or the file of a private key") from None  # fmt: skip
    if b"PRIVATE KEY-----" not in content or len(content) > MAX_KEY:
        raise BadKey(f"--ssh {name}: {path} is no private key, and no agent's socket")
    return content


def _program(name: str) -> tuple[str, dict[str, str]]:
    import shutil

    from veneer.config import environment

    path = environment().get("PATH", os.defpath)
    found = shutil.which(name, path=path)
    if found is None:
        raise SSHMissing(f"{name} is not installed, and --ssh has a key", hint="install it: apt install openssh-client")
    return found, {"PATH": path, "LC_ALL": "C"}


@contextlib.contextmanager
def _agent(folder: int, number: int) -> Iterator[None]:
    """An agent without keys, at the name `number` in the folder."""
    import subprocess

    program, environment = _program("ssh-agent")
    command = [program, "-a", f"/proc/self/fd/{folder}/{number}", "/bin/sh", "-c", _HOLD]
    process = subprocess.Popen(
        command, env=environment, cwd="/", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        pass_fds=[folder], start_new_session=True,
    )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None
    try:
        if not process.stdout.readline():
            raise SSHMissing(f"ssh-agent did not start (exit status {process.wait(_PATIENCE)})")
        yield
    finally:
        process.stdin.close()  # which ends the shell, and that the agent
        process.wait()
        process.stdout.close()
        with contextlib.suppress(FileNotFoundError):  # it was told to end, and may not have removed it yet
            os.unlink(str(number), dir_fd=folder)


def _add(agent: str, name: str, path: str) -> None:
    """Give an agent a key; ssh-add reads it from a pipe, since it would refuse a file that others may read."""
    import subprocess

    program, environment = _program("ssh-add")
    environment |= {"SSH_AUTH_SOCK": agent, "SSH_ASKPASS_REQUIRE": "never"}
    done = subprocess.run(
        [program, "-q", "-"], input=_content(name, path), env=environment, cwd="/", capture_output=True,
        timeout=_PATIENCE, start_new_session=True, check=False,
    )  # fmt: skip
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        why = "it wants a passphrase" if "passphrase" in said else said or f"exit status {done.returncode}"
        raise BadKey(f"--ssh {name}: {path} cannot be used: {why}",
                     hint="give it to an agent with ssh-add, and --ssh the agent's socket")  # fmt: skip
