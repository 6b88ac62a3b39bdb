"""From a request to a container: the image's configuration and the user's made one, checked, and written down.

Sources: moby daemon/create.go, daemon/commit.go (merge), runconfig; docker/cli opts.
"""

from __future__ import annotations

from veneer.engine.containers import defaults, mounts
from veneer.engine.containers.naming import checked_name, random_name
from veneer.engine.containers.spelling import InvalidContainer as InvalidContainer
from veneer.engine.network_plan import refuse_contradictions
from veneer.errors import NotFound
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
_MIN_MEMORY = 6 << 20
_NAMES_TRIED = 20


class ContainerRequest(Value):
    """What is asked for, in docker's shapes: `config`, `host_config` and `networking` are those of ContainerCreate.

    Keys left out have docker's defaults.  `name` "": a random one.  `pull` is one of PULL, `platform` "os/arch" or "".
    """

    image: str
    config: Mapping[str, Any] = {}
    host_config: Mapping[str, Any] = {}
    networking: Mapping[str, Any] = {}
    name: str = ""
    pull: str = "missing"
    platform: str = ""


def create(engine: Engine, request: ContainerRequest, progress: Progress | None = None) -> Container:
    """Make a container; nothing runs yet.

    Raises NoSuchImage, InvalidContainer, InvalidContainerName, NameInUse, InvalidMount, NoSuchSource.
    """
    name = checked_name(request.name) if request.name else ""
    image = found_image(engine, request, progress)
    store = engine.store
    container_id = new_id()
    config = merged(defaults.config() | dict(request.config) | {"Image": request.image}, image.config.run)
    host = defaults.host_config() | {key: value for key, value in request.host_config.items() if value is not None}
    check(config, host)
    settle(config, host, container_id)
    others = {
        text.partition(":")[0]: store.containers.get(text.partition(":")[0]).document["Mounts"]
        for text in host.get("VolumesFrom") or ()
    }
    points = mounts.resolved(store, host, config.get("Volumes") or (), others)
    networking = _networking(engine, host, request.networking)
    document = {"Config": config, "HostConfig": host, "NetworkingConfig": networking, "Mounts": points}
    refuse_contradictions(document, hostname=bool(request.config.get("Hostname")))
    with store.lease("create") as lease:
        if image.top:
            with store.catalog.transaction(durable=False) as transaction:
                lease.hold_layer(transaction, image.top)

        def make(chosen: str) -> Container:
            return store.containers.create(
                lease, id=container_id, name=chosen, image=image.id, image_name=request.image, top=image.top,
                document=document,
            )  # fmt: skip

        made = make(name) if name else _under_a_random_name(make)
    store.volumes.use(made.id, [point["Name"] for point in points if point["Type"] == "volume"])
    try:
        mounts.fill_volumes(store, made)
    except BaseException:
        store.containers.remove(made.id)
        raise
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
    try:
        return engine.images.get(request.image)
    except NotFound:
        if request.pull == "never":
            raise
        engine.images.pull(request.image, platform=request.platform or None, progress=progress or silent)
        return engine.images.get(request.image)


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


def check(config: Mapping[str, Any], host: Mapping[str, Any]) -> None:
    """Raise InvalidContainer for what contradicts itself or can never be, in docker's words."""
    for pair in config.get("Env") or ():
        if not pair.partition("=")[0]:
            raise InvalidContainer(f"invalid environment variable: {pair}")
        if "\0" in pair:
            raise InvalidContainer("invalid environment variable: it has a NUL byte in it")
    directory = config.get("WorkingDir") or ""
    if directory and not directory.startswith("/"):
        raise InvalidContainer(f"the working directory '{directory}' is invalid, it needs to be an absolute path")
    _check_resources(host)
    policy = host.get("RestartPolicy") or {}
    name, count = policy.get("Name") or "no", policy.get("MaximumRetryCount") or 0
    if name not in ("no", "always", "on-failure", "unless-stopped"):
        raise InvalidContainer(f"invalid restart policy '{name}'")
    if name != "on-failure" and count:
        raise InvalidContainer(f"maximum retry count cannot be used with restart policy '{name}'")
    if count < 0:
        raise InvalidContainer("maximum retry count cannot be negative")
    if host.get("AutoRemove") and name != "no":
        raise InvalidContainer("can't create 'AutoRemove' container with restart policy")
    log = (host.get("LogConfig") or {}).get("Type") or "json-file"
    if log not in ("json-file", "none"):
        raise InvalidContainer(f"error looking up logging plugin {log}: plugin \"{log}\" not found",
                               hint="veneer has json-file and none")  # fmt: skip
    for text in host.get("SecurityOpt") or ():
        option = text.partition("=")[0].partition(":")[0]
        if option not in ("seccomp", "no-new-privileges", "apparmor", "label"):
            raise InvalidContainer(f'invalid --security-opt 2: "{text}"')
    _check_health(config.get("Healthcheck") or {})


def _check_resources(host: Mapping[str, Any]) -> None:
    memory, swap = host.get("Memory") or 0, host.get("MemorySwap") or 0
    if memory and memory < _MIN_MEMORY:
        raise InvalidContainer("Minimum memory limit allowed is 6MB")
    if memory and swap > 0 and swap < memory:
        raise InvalidContainer("Minimum memoryswap limit should be larger than memory limit, see usage")
    if not memory and swap > 0:
        raise InvalidContainer("You should always set the Memory limit when using Memoryswap limit, see usage")
    swappiness = host.get("MemorySwappiness")
    if swappiness is not None and not -1 <= swappiness <= 100:
        raise InvalidContainer(f"Invalid value: {swappiness}, valid memory swappiness range is 0-100")
    reservation = host.get("MemoryReservation") or 0
    if memory and reservation and memory < reservation:
        raise InvalidContainer("Minimum memory limit can not be less than memory reservation limit, see usage")
    cpus = host.get("NanoCpus") or 0
    if cpus and (host.get("CpuPeriod") or host.get("CpuQuota")):
        which = "CPU Period" if host.get("CpuPeriod") else "CPU Quota"
        raise InvalidContainer(f"Conflicting options: Nano CPUs and {which} cannot both be set.")
    import os

    available = len(os.sched_getaffinity(0))
    if cpus < 0 or cpus > available * 1_000_000_000:
        raise InvalidContainer(
            f"Range of CPUs is from 0.01 to {available}.00, as there are only {available} CPUs available"
        )
    period = host.get("CpuPeriod") or 0
    if period and not 1000 <= period <= 1_000_000:
        raise InvalidContainer("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")
    quota = host.get("CpuQuota") or 0
    if 0 < quota < 1000:
        raise InvalidContainer("CPU cfs quota can not be less than 1ms (i.e. 1000)")
    weight = host.get("BlkioWeight") or 0
    if weight and not 10 <= weight <= 1000:
        raise InvalidContainer("Range of blkio weight is from 10 to 1000")
    score = host.get("OomScoreAdj") or 0
    if not -1000 <= score <= 1000:
        raise InvalidContainer(f"Invalid value {score}, range for oom score adj is [-1000, 1000]")
    if (host.get("ShmSize") or 0) < 0:
        raise InvalidContainer("SHM size can not be less than 0")


def _check_health(health: Mapping[str, Any]) -> None:
    for key, least in (("Interval", 1_000_000), ("Timeout", 1_000_000), ("StartPeriod", 1_000_000)):
        value = health.get(key) or 0
        if value and value < least:
            raise InvalidContainer(f"{key} in Healthcheck cannot be less than 1ms")
    if (health.get("Retries") or 0) < 0:
        raise InvalidContainer("Retries in Healthcheck cannot be negative")


def settle(config: dict[str, Any], host: dict[str, Any], container_id: str) -> None:
    """Write down what docker decides when a container is made: host name, swap, modes."""
    mode = host.get("NetworkMode") or "default"
    if not config.get("Hostname") and not mode.startswith("container:"):
        if mode == "host" or host.get("UTSMode") == "host":
            import os

            config["Hostname"] = os.uname().nodename
        else:
            config["Hostname"] = container_id[:12]
    if host.get("Memory") and not host.get("MemorySwap"):
        host["MemorySwap"] = 2 * host["Memory"]
    if host.get("Privileged"):
        host["MaskedPaths"] = host["ReadonlyPaths"] = None
        host["SecurityOpt"] = [*(host.get("SecurityOpt") or ()), "label=disable"]
    for name in ("IpcMode", "CgroupnsMode"):
        host[name] = host.get(name) or "private"


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
