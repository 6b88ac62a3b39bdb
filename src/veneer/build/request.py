"""What somebody wants built: every choice of `veneer build` as one frozen value."""

from __future__ import annotations

from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

    from veneer.build.language.instructions import Dockerfile


class SecretSource(Value):
    """`--secret id=ID,src=FILE` or `env=NAME`: the bytes themselves, read by whoever made the request."""

    __slots__ = ()
    id: str
    content: bytes


class OutputSpec(Value):
    """`-o type=...,dest=...`: `type` is local, tar, oci, docker, registry or image; `options` its other words."""

    __slots__ = ()
    type: str
    dest: str = ""
    options: tuple[tuple[str, str], ...] = ()


class CacheSpec(Value):
    """`--cache-from` or `--cache-to`: `type` is registry, local (an OCI layout directory), inline or image."""

    __slots__ = ()
    type: str
    options: tuple[tuple[str, str], ...] = ()


class BuildRequest(Value):
    """`context` is a directory, a URL or git address, or a tar stream; None: no context at all (`-` as Dockerfile).

    `dockerfile` is a path (inside the context unless absolute), the text itself as bytes, or what was read already; ""
    means Dockerfile.
    `contexts` are `--build-context` pairs; `args`, `labels`, `annotations` keep their order; `target` "" is the last
    stage; `platforms` () is this machine's.  `network` is default, none or host.  `source_date_epoch`, Unix seconds,
    None: now.  `no_cache_filter` names stages whose steps must be done anew.  `add_hosts` are (name, address), `ssh`
    (id, path of an agent's socket or of a private key; several keys may have one id).  `compression` is gzip, zstd,
    uncompressed or "" (what there is, else gzip).
    `memory` to `cgroup_parent` are docker's limits of a RUN, 0 or "" for none: bytes; processors (`cpus`); a weight
    (`cpu_shares`); microseconds; lists as in `0-3,5`; `ulimits` as in `nofile=1024:2048`.  `shm_size` 0 is 64 MB.
    `dry_run` looks steps up and does none; `verify` does all of them twice and compares; `check` has the command line
    lint instead (in Python: `engine.builds.check`).
    """

    context: Path | str | BinaryIO | None = None
    dockerfile: Path | str | bytes | Dockerfile = ""
    contexts: tuple[tuple[str, str], ...] = ()
    tags: tuple[str, ...] = ()
    target: str = ""
    platforms: tuple[str, ...] = ()
    args: tuple[tuple[str, str], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()
    no_cache: bool = False
    no_cache_filter: tuple[str, ...] = ()
    cache_from: tuple[CacheSpec, ...] = ()
    cache_to: tuple[CacheSpec, ...] = ()
    pull: bool = False
    outputs: tuple[OutputSpec, ...] = ()
    squash: bool = False
    compression: str = ""
    network: str = "default"
    add_hosts: tuple[tuple[str, str], ...] = ()
    secrets: tuple[SecretSource, ...] = ()
    ssh: tuple[tuple[str, str], ...] = ()
    allow: tuple[str, ...] = ()
    shm_size: int = 0
    ulimits: tuple[str, ...] = ()
    memory: int = 0
    memory_swap: int = 0
    cpus: float = 0.0
    cpu_shares: int = 0
    cpu_period: int = 0
    cpu_quota: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    cgroup_parent: str = ""
    source_date_epoch: int | None = None
    rewrite_timestamp: bool = False
    dry_run: bool = False
    verify: bool = False
    check: bool = False
