"""From a request to a container: the image's configuration and the user's made one, checked, and written down.

Sources: moby daemon/create.go, daemon/commit.go (merge), runconfig; docker/cli opts.
"""

from __future__ import annotations

from veneer.engine.containers import defaults, mounts
from veneer.engine.containers.checking import check as check
from veneer.engine.containers.checking import check_joined
from veneer.engine.containers.checking import warnings as warnings
from veneer.engine.containers.naming import checked_name, random_name
from veneer.engine.containers.spelling import InvalidContainer as InvalidContainer
from veneer.engine.network_plan import refuse_contradictions
from veneer.errors import NotFound, VeneerError
from veneer.store.containers import NameInUse, new_id
from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from veneer.engine.engine import Engine
    from veneer.progress import Progress
    from veneer.store.containers import Container
    from veneer.store.image import Image

PULL = ("missing", "always", "never")
_NAMES_TRIED = 20


class ContainerRequest(Value):
    """What is asked for, in docker's shapes: `config`, `host_config` and `networking` are those of ContainerCreate.

    Keys left out have docker's defaults.  `name` "": a random one.  `pull` is one of PULL, `platform` "os/arch" or "".
    `run_as`: the id it gets, which whoever makes and starts it in one holds: see leftovers.being_run.
    """

    image: str
    config: Mapping[str, Any] = {}
    host_config: Mapping[str, Any] = {}
    networking: Mapping[str, Any] = {}
    name: str = ""
    pull: str = "missing"
    platform: str = ""
    run_as: str = ""


def create(engine: Engine, request: ContainerRequest, progress: Progress | None = None) -> Container:
    """Make a container; nothing runs yet.

    Raises NoSuchImage, InvalidContainer, InvalidContainerName, NameInUse, InvalidMount, NoSuchSource.
    """
    if request.name:
        request = request.replaced(name=checked_name(request.name))
    image = found_image(engine, request, progress)
    store = engine.store
    container_id = request.run_as or new_id()
    config = merged(defaults.config() | dict(request.config) | {"Image": request.image}, image.config.run)
    host = defaults.host_config() | {key: value for key, value in request.host_config.items() if value is not None}
    check(config, host)
    check_joined(request.config, host)
    settle(config, host, container_id)
    _name_joined(engine, host)
    others = {
        text.partition(":")[0]: store.containers.get(text.partition(":")[0]).document["Mounts"]
        for text in host.get("VolumesFrom") or ()
    }
    points = mounts.resolved(host, config.get("Volumes") or (), others)
    document = {
        "Config": config, "HostConfig": host, "NetworkingConfig": _networking(engine, host, request.networking),
        "Mounts": points,
    }  # fmt: skip
    return _written_down(engine, request, image, container_id, document)


def _written_down(
    engine: Engine, request: ContainerRequest, image: Image, container_id: str, document: dict[str, Any]
) -> Container:
    """The container of a document that is whole: its row, its volumes, and what the image has at their places."""
    store, points = engine.store, document["Mounts"]
    refuse_contradictions(document, hostname=bool(request.config.get("Hostname")))
    if mounts.to_fill(points):
        document[mounts.UNFILLED] = True
    if request.run_as:
        from veneer.engine.containers.leftovers import OF_RUN

        document[OF_RUN] = True
    with store.lease("create") as lease:
        nameless = mounts.make(store, points)
        if image.top:
            with store.catalog.transaction(durable=False) as transaction:
                lease.hold_layer(transaction, image.top)

        def make(chosen: str) -> Container:
            return store.containers.create(
                lease, id=container_id, name=chosen, image=image.id, image_name=request.image, top=image.top,
                document=document, nameless=nameless,
                volumes=[point["Name"] for point in points if point["Type"] == "volume"],
            )  # fmt: skip

        made = make(request.name) if request.name else _under_a_random_name(make)
        try:
            if mounts.UNFILLED in document:
                from veneer.engine.containers.filling import fill_volumes

                with store.locked(f"container-{made.id}"):
                    made = fill_volumes(store, made)
        except BaseException:
            store.containers.remove(made.id, volumes=True)
            raise
    for volume in nameless:
        from veneer.engine.volumes import tell

        tell(store, "create", volume)
    return made


def found_image(engine: Engine, request: ContainerRequest, progress: Progress | None) -> Image:
    """The image, pulled as the request says.  Raises NoSuchImage, and what a pull raises."""
    from veneer.progress import silent

    if request.pull not in PULL:
        raise InvalidContainer(
            f'invalid pull option: \'{request.pull}\': must be one of "always", "missing" or "never"'
        )
    if request.pull == "always":
        engine.images.pull(request.image, platform=request.platform or None, progress=progress or silent)
        return engine.images.get(request.image)
    other = ""
    try:
        found = engine.images.get(request.image)
        if not request.platform or _is_for(found, request.platform):
            return found
        other = (f"image with reference {request.image} was found but does not match the specified platform: "
                 f"wanted {request.platform}, actual: {found.platform}")  # fmt: skip
        raise NotFound(other)
    except NotFound:
        if request.pull == "never":
            raise
    try:
        engine.images.pull(request.image, platform=request.platform or None, progress=progress or silent)
    except VeneerError as error:
        if other:
            error.message = f"{other}, and no other could be pulled: {error.message}"
        raise
    return engine.images.get(request.image)


def _is_for(image: Image, platform: str) -> bool:
    from veneer.oci.platform import Platform

    return Platform.parse(platform).suitability(image.platform) is not None


def merged(config: dict[str, Any], image: Mapping[str, Any]) -> dict[str, Any]:
    """A Config with what it leaves to the image taken from there.  Raises InvalidContainer."""
    for key in ("User", "WorkingDir", "StopSignal"):
        if not config.get(key) and image.get(key):
            config[key] = image[key]
    for key in ("ExposedPorts", "Volumes"):
        if image.get(key):
            config[key] = dict(image[key]) | dict(config.get(key) or {})
    if image.get("Labels"):
        config["Labels"] = dict(image["Labels"]) | dict(config.get("Labels") or {})
    if image.get("Env"):
        own = list(config.get("Env") or ())
        named = {pair.partition("=")[0] for pair in own}
        config["Env"] = own + [pair for pair in image["Env"] if pair.partition("=")[0] not in named]
    if not config.get("Entrypoint"):
        if not config.get("Cmd"):
            config["Cmd"] = list(image["Cmd"]) if image.get("Cmd") else config.get("Cmd")
        if config.get("Entrypoint") is None:
            config["Entrypoint"] = image.get("Entrypoint")
    if config.get("Entrypoint") == [""]:
        config["Entrypoint"] = None
    if not config.get("Entrypoint") and not config.get("Cmd"):
        raise InvalidContainer("No command specified", hint="the image names none: give one behind the image's name")
    _merge_health(config, image)
    if image.get("Shell") and not config.get("Shell"):
        config["Shell"] = image["Shell"]
    return config


def _merge_health(config: dict[str, Any], image: Mapping[str, Any]) -> None:
    theirs, own = image.get("Healthcheck"), config.get("Healthcheck")
    if own is None and theirs:
        config["Healthcheck"] = dict(theirs)
    elif own is not None and theirs:
        if not own.get("Test"):
            own["Test"] = theirs.get("Test")
        for key in ("Interval", "Timeout", "StartPeriod", "StartInterval", "Retries"):
            if not own.get(key) and theirs.get(key):
                own[key] = theirs[key]
    if config.get("Healthcheck") is None:
        config.pop("Healthcheck", None)


def settle(config: dict[str, Any], host: dict[str, Any], container_id: str) -> None:
    """Write down what docker decides when a container is made: host name, swap, modes."""
    mode = host.get("NetworkMode") or "default"
    if not config.get("Hostname"):
        if mode == "host":
            import os

            config["Hostname"] = os.uname().nodename
        else:
            config["Hostname"] = container_id[:12]
    if host.get("Memory") and not host.get("MemorySwap"):
        host["MemorySwap"] = 2 * host["Memory"]
    if host.get("Privileged"):
        host["MaskedPaths"] = host["ReadonlyPaths"] = None
    if host.get("Privileged") or host.get("IpcMode") == "host" or host.get("PidMode") == "host":
        host["SecurityOpt"] = [*(host.get("SecurityOpt") or ()), "label=disable"]
    for name in ("IpcMode", "CgroupnsMode"):
        host[name] = host.get(name) or "private"


def _name_joined(engine: Engine, host: dict[str, Any]) -> None:
    """Containers whose namespaces are shared, by their ids: names may be others' by the start.  Raises NotFound."""
    for key in ("IpcMode", "PidMode", "NetworkMode"):
        word, colon, other = (host.get(key) or "").partition(":")
        if word == "container" and colon:
            found = engine.store.containers.find(other) if key == "NetworkMode" else engine.store.containers.get(other)
            host[key] = f"container:{found.id if found is not None else other}"


def _networking(engine: Engine, host: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The endpoints: those asked for, or the one of the network mode."""
    endpoints = {name: dict(settings or {}) for name, settings in (given.get("EndpointsConfig") or {}).items()}
    mode = host.get("NetworkMode") or "default"
    if not endpoints and not mode.startswith("container:"):
        endpoints = {"bridge" if mode == "default" else mode: {}}
    return {"EndpointsConfig": endpoints}


def _under_a_random_name(make: Callable[[str], Container]) -> Container:
    for attempt in range(_NAMES_TRIED):
        try:
            return make(random_name(attempt))
        except NameInUse:
            if attempt == _NAMES_TRIED - 1:
                raise
    raise AssertionError("unreachable")
