"""What of a request could never be done, told before anything is: an option is carried out, or it is refused here."""

from __future__ import annotations

from pathlib import Path

from veneer.build import outputs
from veneer.build.annotations import parse as parse_annotations
from veneer.build.context.address import is_remote
from veneer.build.language.instructions import NETWORKS
from veneer.errors import InvalidRequest
from veneer.oci.platform import Platform, host
from veneer.oci.reference import Reference
from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.build.annotations import Annotation
    from veneer.build.request import BuildRequest, CacheSpec

ENTITLEMENTS = ("network.host", "security.insecure")
COMPRESSIONS = ("", "gzip", "zstd", "uncompressed")
_FROM = {"registry": {"ref"}, "image": {"ref"}, "local": {"src", "dest", "tag", "digest"}, "inline": {"ref"}}
_TO = {
    "registry": {"ref", "mode", "compression", "ignore-error"},
    "local": {"dest", "mode", "compression", "ignore-error"},
    "inline": set[str](),
}
_SAID_ANYWAY = {"image-manifest": "true", "oci-mediatypes": "true"}
"""What buildx lets one choose and veneer always does."""


class BadRequest(InvalidRequest):
    """An option of a build that has no meaning, or not beside the others."""


class Wanted(Value):
    """A request that was looked through.

    `names` are the tags and what outputs call the image, in order and each once; `compression` is the one for
    everything that is written ("" is what there is, or gzip).
    """

    platforms: tuple[Platform, ...]
    tags: tuple[Reference, ...]
    names: tuple[Reference, ...]
    annotations: tuple[Annotation, ...]
    compression: str


def looked_through(request: BuildRequest) -> Wanted:
    """Refuse what cannot be.

    Raises BadRequest, BadOutput, BadAnnotation, BadKey, BadLimit, InvalidReference, InvalidPlatform.
    """
    platforms = tuple(dict.fromkeys(Platform.parse(text) for text in request.platforms)) or (host(),)
    tags = tuple(dict.fromkeys(_tag(name) for name in request.tags))
    named = [_tag(name) for spec in request.outputs for name in outputs.names_of(spec)]
    outputs.check(request.outputs, request.tags, len(platforms))
    _check_caches(request)
    for word in request.allow:
        if word not in ENTITLEMENTS:
            raise BadRequest(f"unknown entitlement {word!r}", hint=f"--allow takes {' and '.join(ENTITLEMENTS)}")
    if request.network not in NETWORKS:
        raise BadRequest(f"unknown network {request.network!r}", hint=f"one of {', '.join(NETWORKS)}")
    _check_contexts(request)
    if request.ulimits:
        from veneer.build.running.container import ulimit

        for text in request.ulimits:
            ulimit(text)
    if request.ssh:
        from veneer.build import keys

        keys.checked(request.ssh)
    if request.rewrite_timestamp and request.source_date_epoch is None:
        raise BadRequest("files can be set to SOURCE_DATE_EPOCH only where there is one",
                         hint="give --source-date-epoch, or set SOURCE_DATE_EPOCH")  # fmt: skip
    if request.check:
        raise BadRequest("a check builds nothing", hint="engine.builds.check, or veneer build --check, does it")
    if request.verify and request.dry_run:
        raise BadRequest("--verify builds twice, and --dry-run not at all", hint="choose one of them")
    wanted = parse_annotations(request.annotations, len(platforms))
    if (wanted or len(platforms) > 1) and not (tags or named) and any(
        spec.type in ("oci", "docker") for spec in request.outputs
    ):  # fmt: skip
        raise BadRequest("annotations and indexes are what a name stands for, and there is none",
                         hint="give one with -t")  # fmt: skip
    return Wanted(platforms, tags, tuple(dict.fromkeys((*tags, *named))), wanted, _compression(request))


def _check_contexts(request: BuildRequest) -> None:
    for name, place in request.contexts:
        if "://" not in place and not is_remote(place) and not Path(place).is_dir():
            why = "not a directory" if Path(place).exists() else "no such directory"
            raise BadRequest(f"context {name!r}: path {place!r}: {why}",
                             hint="give a directory, a URL, docker-image://NAME or oci-layout://PATH")  # fmt: skip


def _tag(name: str) -> Reference:
    reference = Reference.parse(name)
    if reference.digest is not None:
        raise BadRequest(f"{name}: an image that is yet to be built cannot be named by a digest",
                         hint="give a name and a tag: -t name:tag")  # fmt: skip
    return reference.tagged()


def _compression(request: BuildRequest) -> str:
    said = [dict(spec.options).get("compression", "") for spec in request.outputs]
    found = sorted({each for each in (request.compression, *said) if each})
    if len(found) > 1:
        raise BadRequest(f"layers cannot be compressed as {' and as '.join(found)} at once", hint="choose one")
    kind = found[0] if found else ""
    if kind not in COMPRESSIONS:
        raise BadRequest(f"unknown compression {kind!r}", hint=f"one of {', '.join(COMPRESSIONS[1:])}")
    if kind == "uncompressed" and any(outputs.pushes(spec) for spec in request.outputs):
        raise BadRequest("registries are sent compressed layers", hint="uncompressed is for type=oci and type=docker")
    return kind


def _check_caches(request: BuildRequest) -> None:
    for option, specs, known in (("cache-from", request.cache_from, _FROM), ("cache-to", request.cache_to, _TO)):
        for spec in specs:
            _check_cache(option, spec, known)


def _check_cache(option: str, spec: CacheSpec, known: dict[str, set[str]]) -> None:
    if spec.type not in known:
        raise BadRequest(f"--{option} type={spec.type}: there is no such cache", hint=f"one of {', '.join(known)}")
    for name, value in spec.options:
        if name not in known[spec.type] and _SAID_ANYWAY.get(name) != value.lower():
            raise BadRequest(f"--{option} type={spec.type}: {name}={value} is not supported",
                             hint=f"it takes {', '.join(sorted(known[spec.type])) or 'nothing'}")  # fmt: skip
    options = dict(spec.options)
    if options.get("mode", "min") not in ("min", "max"):
        raise BadRequest(f"--{option} mode={options['mode']}: there are min and max")
    if options.get("compression", "") not in COMPRESSIONS[:3]:
        raise BadRequest(f"--{option} compression={options['compression']}: there are gzip and zstd")
    if option == "cache-to" and spec.type != "inline":
        place = "ref" if spec.type == "registry" else "dest"
        if not options.get(place):
            raise BadRequest(f"--cache-to type={spec.type} needs {place}=...")
        if place == "ref":
            Reference.parse(options["ref"])
