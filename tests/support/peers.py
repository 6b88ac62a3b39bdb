"""Real dockerd, containerd, podman and buildah, each private to a folder, to stand beside.

Their own settings, stores and sockets on this machine are never touched.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path

from tests.support import leaks
from tests.support.programs import Background, Output, run


class PeerDidNotStart(RuntimeError):
    """The peer ended or did not answer in time; the message ends with its log."""


def _unmount_below(folder: Path) -> None:
    for target in sorted(leaks.mounts_below(folder), reverse=True):
        leaks.detach(target)


class Docker:
    """A dockerd with its data in `folder`.  Call it like the docker command.

    Without a network, unless it is asked to make one: then begin it on a host of its own (tests.support.private_host).
    """

    def __init__(self, folder: Path, *, storage_driver: str = "overlay2", network: bool = False) -> None:
        self.root = folder / "docker"
        self.root.mkdir(parents=True)
        # Paths of sockets end after 107 bytes, so they lie in a folder with a short name.
        self._short = Path(tempfile.mkdtemp(prefix="veneer-dockerd-"))
        self.socket = self._short / "docker.sock"
        settings = self._short / "daemon.json"
        settings.write_text("{}")
        self._env = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
        self._env |= {"DOCKER_HOST": f"unix://{self.socket}", "DOCKER_BUILDKIT": "0", "TZ": "UTC",
                      "DOCKER_CONFIG": str(self._short / "client")}  # fmt: skip
        self._daemon = Background(
            ["dockerd", "--data-root", self.root, "--exec-root", self._short / "exec", "--pidfile", self._short / "pid",
             "--config-file", settings, "--host", f"unix://{self.socket}",
             *([] if network else ["--bridge", "none", "--iptables=false", "--ip6tables=false"]),
             "--storage-driver", storage_driver],
            self._short / "log",
        )  # fmt: skip
        # Debian's client is as old as its engine; another `docker` on PATH may be much newer.
        self.client = shutil.which("docker", path="/usr/bin") or "docker"
        deadline = time.monotonic() + 60
        while not self.socket.exists() or self("version", check=False).code != 0:
            if not self._daemon.running or time.monotonic() > deadline:
                log = self._daemon.said()[-3000:]
                self.stop()
                raise PeerDidNotStart(f"dockerd: {log}")
            time.sleep(0.1)

    @property
    def pid(self) -> int:
        return self._daemon.pid

    def __call__(self, *words: str | Path, stdin: bytes | None = None, check: bool = True) -> Output:
        return run(self.client, *words, stdin=stdin, env=self._env, check=check)

    def command(self, *words: str | Path) -> tuple[list[str], dict[str, str]]:
        """The command line and environment of a client call, for whoever runs it himself."""
        return [self.client, *map(str, words)], self._env

    def image_id(self, name: str) -> str:
        return self("image", "inspect", "--format", "{{.Id}}", name).out.strip()

    def stop(self) -> None:
        self._daemon.stop()
        _unmount_below(self._short)
        _unmount_below(self.root)
        shutil.rmtree(self._short)


class Containerd:
    """A containerd with its data in `folder`.  Call it like `ctr -n NAMESPACE`: the namespace is the first word."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "containerd"
        self.root.mkdir(parents=True)
        self._short = Path(tempfile.mkdtemp(prefix="veneer-containerd-"))
        self.socket = self._short / "sock"
        settings = self._short / "config.toml"
        # Kubernetes' part looks for networks of containers, and takes a second for it.
        settings.write_text('version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n')
        self._daemon = Background(
            ["containerd", "--config", settings, "--root", self.root, "--state", self._short / "state",
             "--address", self.socket],
            self._short / "log",
        )  # fmt: skip
        deadline = time.monotonic() + 60
        while not self.socket.exists() or run("ctr", "--address", self.socket, "version", check=False).code != 0:
            if not self._daemon.running or time.monotonic() > deadline:
                log = self._daemon.said()[-3000:]
                self.stop()
                raise PeerDidNotStart(f"containerd: {log}")
            time.sleep(0.02)

    def __call__(self, namespace: str, *words: str | Path, check: bool = True) -> Output:
        return run("ctr", "--address", self.socket, "--namespace", namespace, *words, check=check)

    def stop(self) -> None:
        """Idempotent."""
        self._daemon.stop()
        _unmount_below(self._short)
        _unmount_below(self.root)
        shutil.rmtree(self._short, ignore_errors=True)


class ContainersTool:
    """podman or buildah on a store of its own in `folder`.  Call it like the command."""

    def __init__(self, program: str, folder: Path) -> None:
        self.program = program
        self.folder = folder / program
        self.folder.mkdir(parents=True)
        # The run root may have 50 characters at most, because of the sockets in it.
        self._short = Path(tempfile.mkdtemp(prefix=f"veneer-{program}-"))
        self._global = ["--root", f"{self.folder}/root", "--runroot", f"{self._short}/run"]
        self._global += ["--storage-driver", "overlay"]
        if program == "podman":
            self._global += ["--tmpdir", f"{self._short}/tmp", "--cgroup-manager", "cgroupfs"]
            self._global += ["--events-backend", "file"]
        self._env = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ} | {"TZ": "UTC"}

    def __call__(self, *words: str | Path, stdin: bytes | None = None, check: bool = True) -> Output:
        return run(self.program, *self._global, *words, stdin=stdin, env=self._env, check=check)

    def command(self, *words: str | Path) -> tuple[list[str], dict[str, str]]:
        """The command line and environment of a call, for whoever runs it himself."""
        return [self.program, *self._global, *map(str, words)], self._env

    def stop(self) -> None:
        """Undo the mounts it leaves (containers/storage mounts its store on itself)."""
        _unmount_below(self.folder)
        _unmount_below(self._short)
        shutil.rmtree(self._short)


def skopeo(*words: str | Path) -> Output:
    """skopeo without a signature policy, the loopback registry spoken to over plain HTTP."""
    return run("skopeo", "--insecure-policy", *words)
