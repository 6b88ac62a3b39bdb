"""`veneer build`'s options turned into a BuildRequest: docker's spellings and docker's words for what is wrong.

Sources: docker/buildx util/buildflags, docker/cli opts, docker/go-units (RAMInBytes).
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from veneer.build.language.instructions import NETWORKS
from veneer.build.request import BuildRequest, CacheSpec, OutputSpec, SecretSource
from veneer.cli.app import Failure
from veneer.cli.flags import FlagError, Parsed
from veneer.oci.reference import InvalidReference, Reference

OUTPUTS = ("local", "tar", "oci", "docker", "registry", "image")
CACHES = ("registry", "local", "inline", "image")
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kmgtp]?)(i?b?)", re.IGNORECASE)
_SET = re.compile(r"\d+(?:-\d+)?(?:,\d+(?:-\d+)?)*", re.ASCII)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}


def words(text: str, option: str) -> dict[str, str]:
    """`type=local,dest=out` as pairs; a word without `=` has the value "".  Commas inside double quotes are no ends."""
    try:
        fields = next(csv.reader([text], strict=True), [])
    except csv.Error as error:
        raise Failure(f"invalid value {text!r} for --{option}: {error}") from None
    pairs: dict[str, str] = {}
    for field in fields:
        name, _, value = field.partition("=")
        pairs[name.strip().lower()] = value
    return pairs


def size_bytes(text: str, option: str) -> int:
    """`64m`, `1g`, `512` in bytes, as docker counts memory (powers of 1024)."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise Failure(f"invalid size {text!r} for --{option}: a number, and k, m or g behind it")
    return int(float(found[1]) * 1024 ** _POWERS[found[2].lower()])


def output_spec(text: str) -> OutputSpec:
    """`-o out`, `-o -`, `-o type=tar,dest=out.tar`."""
    if "=" not in text and "," not in text:
        return OutputSpec("tar", "-") if text == "-" else OutputSpec("local", text)
    pairs = words(text, "output")
    kind = pairs.pop("type", "")
    if kind not in OUTPUTS:
        raise Failure(f"unknown output type {kind!r} in --output {text!r}: there are {', '.join(OUTPUTS)}")
    dest = pairs.pop("dest", "")
    if kind in ("local",) and dest in ("", "-"):
        raise Failure(f"--output {text!r}: type=local needs dest=DIRECTORY")
    return OutputSpec(kind, dest or ("-" if kind == "tar" else ""), tuple(pairs.items()))


def cache_spec(text: str, option: str) -> CacheSpec:
    """`user/app:cache`, `type=registry,ref=user/app:cache`, `type=local,src=dir`, `type=inline`."""
    if "=" not in text:
        return CacheSpec("registry", (("ref", text),))
    pairs = words(text, option)
    kind = pairs.pop("type", "")
    if kind not in CACHES:
        raise Failure(f"unknown cache type {kind!r} in --{option} {text!r}: there are {', '.join(CACHES)}")
    return CacheSpec(kind, tuple(pairs.items()))


def secret(text: str, environment: Mapping[str, str]) -> SecretSource:
    """`id=ID,src=FILE`, `id=ID,env=NAME`, `id=NAME` (the variable of that name, else the file)."""
    pairs = words(text, "secret")
    known = {"type", "id", "src", "source", "env"}
    if unknown := set(pairs) - known:
        raise Failure(f"unexpected key {sorted(unknown)[0]!r} in --secret {text!r}")
    name = pairs.get("id", "")
    file, variable = pairs.get("src") or pairs.get("source", ""), pairs.get("env", "")
    kind = pairs.get("type", "")
    if kind not in ("", "file", "env"):
        raise Failure(f"unsupported secret type {kind!r}: there are file and env")
    if not name:
        raise Failure(f"--secret {text!r} needs an id")
    if kind == "env" and not variable:
        variable, file = file or name, ""
    if not file and not variable:
        file, variable = ("", name) if name in environment and kind != "file" else (name, "")
    if variable:
        if variable not in environment:
            raise Failure(f"--secret {text!r}: environment variable {variable} is not set")
        return SecretSource(name, environment[variable].encode("utf-8", "surrogateescape"))
    try:
        return SecretSource(name, Path(file).expanduser().read_bytes())
    except OSError as error:
        raise Failure(f"--secret {text!r}: cannot read {file}: {(error.strerror or '').lower()}") from None


def ssh(texts: Iterable[str], environment: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """`default`, `id=SOCKET` or `id=KEY,KEY` as (id, path of an agent's socket or of a private key)."""
    found = []
    for text in texts:
        name, _, paths = text.partition("=")
        paths = paths or environment.get("SSH_AUTH_SOCK", "")
        if not paths:
            raise Failure(f"invalid empty ssh agent socket for --ssh {text}: make sure SSH_AUTH_SOCK is set")
        found += [(name, path) for path in paths.split(",")]
    return tuple(found)


def _pair(text: str, option: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise Failure(f"invalid value {text!r} for --{option}: want NAME=VALUE")
    return name, value


def _build_args(texts: Iterable[str], environment: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Later ones win; `NAME` alone takes its value from the environment, and is no argument if it has none there."""
    given: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name:
            raise Failure(f"invalid build argument {text!r}: want NAME=VALUE or NAME")
        if equals:
            given[name] = value
        elif name in environment:
            given[name] = environment[name]
    return tuple(given.items())


def _hosts(texts: Iterable[str]) -> tuple[tuple[str, str], ...]:
    import ipaddress

    hosts = []
    for text in texts:
        name, _, address = text.partition("=" if "=" in text else ":")
        try:
            ipaddress.ip_address(address.strip("[]"))
        except ValueError:
            raise _invalid(text, "--add-host", "bad format, want HOST:IP") from None
        hosts.append((name, address.strip("[]")))
    return tuple(hosts)


def _epoch(given: Parsed, environment: Mapping[str, str], args: tuple[tuple[str, str], ...]) -> int | None:
    text = given.text("source_date_epoch") or dict(args).get("SOURCE_DATE_EPOCH") or environment.get(
        "SOURCE_DATE_EPOCH", ""
    )  # fmt: skip
    if not text:
        return None
    if not text.isdigit():
        raise Failure(f"invalid SOURCE_DATE_EPOCH: {text!r} is not a number of seconds")
    return int(text)


def _labels(texts: Iterable[str]) -> tuple[tuple[str, str], ...]:
    pairs = {}
    for text in texts:
        name, _, value = text.partition("=")
        if not name:
            raise Failure(f"invalid label {text!r}: it has no name")
        pairs[name] = value
    return tuple(pairs.items())


def _outputs(given: Parsed) -> tuple[OutputSpec, ...]:
    outputs = [output_spec(text) for text in given.texts("output")]
    if given.flag("push"):
        outputs.append(OutputSpec("registry"))
    if sum(spec.dest == "-" for spec in outputs) > 1:
        raise Failure("only one --output can go to standard output")
    return tuple(outputs)


def _tags(texts: Iterable[str]) -> tuple[str, ...]:
    for text in texts:
        try:
            reference = Reference.parse(text)
        except InvalidReference as error:
            raise _invalid(text, "-t, --tag", error.message) from None
        if reference.digest is not None:
            raise _invalid(text, "-t, --tag", "refusing to create a tag with a digest")
    return tuple(dict.fromkeys(texts))


def _invalid(text: str, option: str, why: str) -> FlagError:
    return FlagError(f'invalid argument "{text}" for "{option}" flag: {why}')


def _resources(given: Parsed) -> dict[str, int | float | str]:
    """What the RUN instructions may use at most."""

    def size(option: str) -> int:
        text = given.text(option.replace("-", "_"))
        return size_bytes(text, option) if text else 0

    def number(option: str) -> int:
        text = given.text(option.replace("-", "_"))
        if text and not (text.isascii() and text.isdigit() and len(text) < 10):
            raise Failure(f"invalid value {text!r} for --{option}: want a number")
        return int(text or 0)

    def processors(option: str) -> str:
        text = given.text(option.replace("-", "_"))
        if text and not _SET.fullmatch(text):
            raise Failure(f"invalid value {text!r} for --{option}: want a list such as 0-3 or 0,1")
        return text

    cpus = given.text("cpus")
    if cpus and not re.fullmatch(r"\d+(\.\d+)?", cpus):
        raise Failure(f"invalid value {cpus!r} for --cpus: want a number such as 1.5")
    found: dict[str, int | float | str] = {
        "shm_size": size("shm-size"), "memory": size("memory"), "cpus": float(cpus or 0),
        "memory_swap": -1 if given.text("memory_swap") == "-1" else size("memory-swap"),
        "cpu_shares": number("cpu-shares"), "cpu_period": number("cpu-period"), "cpu_quota": number("cpu-quota"),
        "cpuset_cpus": processors("cpuset-cpus"), "cpuset_mems": processors("cpuset-mems"),
    }  # fmt: skip
    if found["memory_swap"] and not found["memory"]:
        raise Failure("--memory-swap needs --memory: it is memory and swap together")
    if 0 < int(found["memory_swap"]) < int(found["memory"]):
        raise Failure("--memory-swap is memory and swap together, so that it cannot be less than --memory")
    if cpus and (found["cpu_period"] or found["cpu_quota"]):
        raise Failure("--cpus stands for --cpu-period and --cpu-quota; give the one or the others")
    return found


def request(given: Parsed, context: object, dockerfile: str | bytes, environment: Mapping[str, str]) -> BuildRequest:
    """What the command line asks for.  Raises Failure."""
    network = given.text("network") or "default"
    if network not in NETWORKS:
        raise Failure(f"network mode {network!r} is not one of {', '.join(NETWORKS)}")
    args = _build_args(given.texts("build_arg"), environment)
    platforms = [part.strip() for text in given.texts("platform") for part in text.split(",") if part.strip()]
    return BuildRequest(
        context=context,  # type: ignore[arg-type]
        dockerfile=dockerfile,
        contexts=tuple(_pair(text, "build-context") for text in given.texts("build_context")),
        tags=_tags(given.texts("tag")),
        target=given.text("target"),
        platforms=tuple(dict.fromkeys(platforms)),
        args=args,
        labels=_labels(given.texts("label")),
        annotations=tuple(_pair(text, "annotation") for text in given.texts("annotation")),
        no_cache=given.flag("no_cache"),
        no_cache_filter=tuple(name for text in given.texts("no_cache_filter") for name in text.split(",") if name),
        cache_from=tuple(cache_spec(text, "cache-from") for text in given.texts("cache_from")),
        cache_to=tuple(cache_spec(text, "cache-to") for text in given.texts("cache_to")),
        pull=given.flag("pull"),
        outputs=_outputs(given),
        squash=given.flag("squash"),
        compression=given.text("compression"),
        network=network,
        add_hosts=_hosts(given.texts("add_host")),
        secrets=tuple(secret(text, environment) for text in given.texts("secret")),
        ssh=ssh(given.texts("ssh"), environment),
        allow=tuple(given.texts("allow")),
        ulimits=tuple(given.texts("ulimit")),
        cgroup_parent=given.text("cgroup_parent"),
        source_date_epoch=_epoch(given, environment, args),
        rewrite_timestamp=given.flag("rewrite_timestamp"),
        dry_run=given.flag("dry_run"),
        verify=given.flag("verify"),
        check=given.flag("check"),
    ).replaced(**_resources(given))
