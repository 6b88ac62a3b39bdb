"""The options of `run` and `create`, as docker has them."""

from __future__ import annotations

from veneer.cli.flags import Option
from veneer.engine.containers import spelling
from veneer.errors import InvalidRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def _checked(parse: Callable[[str], object]) -> Callable[[str], object]:
    def check(text: str) -> None:
        try:
            parse(text)
        except InvalidRequest as error:
            raise ValueError(error.message) from None

    return check


_KINDS: dict[str, Callable[[str], object]] = {
    "int": spelling.whole, "uint16": spelling.weight, "bytes": spelling.size_bytes, "decimal": spelling.nano_cpus,
    "duration": spelling.duration, "ulimit": spelling.ulimit, "mount": spelling.mount,
}  # fmt: skip
"""What a value must be, by the word that the help shows for it."""
_NAMED: dict[str, Callable[[str], object]] = {
    "add-host": spelling.extra_host, "attach": spelling.stream, "device-cgroup-rule": spelling.device_rule,
    "dns": spelling.address, "dns-search": spelling.domain, "env": spelling.env, "label": spelling.label,
    "memory-swap": spelling.swap_bytes, "sysctl": spelling.sysctl, "device-read-bps": spelling.throttle,
    "device-write-bps": spelling.throttle, "device-read-iops": spelling.throttle,
    "device-write-iops": spelling.throttle,
}  # fmt: skip


def _option(names: str, kind: str, text: str, *, many: bool = False) -> Option:
    parse = _NAMED.get(names.rpartition(",")[2]) or _KINDS.get(kind)
    return Option(names, kind, text, many=many, check=_checked(parse) if parse else None)


_LISTS = (
    ("add-host", "list", "Add a custom host-to-IP mapping (host:ip)"),
    ("annotation", "map", "Add an annotation to the container (passed through to the OCI runtime)"),
    ("a,attach", "list", "Attach to STDIN, STDOUT or STDERR"),
    ("cap-add", "list", "Add Linux capabilities"),
    ("cap-drop", "list", "Drop Linux capabilities"),
    ("device", "list", "Add a host device to the container"),
    ("device-cgroup-rule", "list", "Add a rule to the cgroup allowed devices list"),
    ("device-read-bps", "list", "Limit read rate (bytes per second) from a device"),
    ("device-read-iops", "list", "Limit read rate (IO per second) from a device"),
    ("device-write-bps", "list", "Limit write rate (bytes per second) to a device"),
    ("device-write-iops", "list", "Limit write rate (IO per second) to a device"),
    ("dns", "list", "Set custom DNS servers"),
    ("dns-option", "list", "Set DNS options"),
    ("dns-search", "list", "Set custom DNS search domains"),
    ("e,env", "list", "Set environment variables"),
    ("env-file", "list", "Read in a file of environment variables"),
    ("expose", "list", "Expose a port or a range of ports"),
    ("group-add", "list", "Add additional groups to join"),
    ("l,label", "list", "Set meta data on a container"),
    ("label-file", "list", "Read in a line delimited file of labels"),
    ("link", "list", "Add link to another container"),
    ("link-local-ip", "list", "Container IPv4/IPv6 link-local addresses"),
    ("log-opt", "list", "Log driver options"),
    ("mount", "mount", "Attach a filesystem mount to the container"),
    ("network", "network", "Connect a container to a network"),
    ("network-alias", "list", "Add network-scoped alias for the container"),
    ("p,publish", "list", "Publish a container's port(s) to the host"),
    ("security-opt", "list", "Security Options"),
    ("storage-opt", "list", "Storage driver options for the container"),
    ("sysctl", "map", "Sysctl options"),
    ("tmpfs", "list", "Mount a tmpfs directory"),
    ("ulimit", "ulimit", "Ulimit options"),
    ("v,volume", "list", "Bind mount a volume"),
    ("volumes-from", "list", "Mount volumes from the specified container(s)"),
)
_SINGLES = (
    ("blkio-weight", "uint16", "Block IO (relative weight), between 10 and 1000, or 0 to disable"),
    ("cgroup-parent", "string", "Optional parent cgroup for the container"),
    ("cgroupns", "string", "Cgroup namespace to use (host|private)"),
    ("cidfile", "string", "Write the container ID to the file"),
    ("cpu-period", "int", "Limit CPU CFS (Completely Fair Scheduler) period"),
    ("cpu-quota", "int", "Limit CPU CFS (Completely Fair Scheduler) quota"),
    ("cpu-rt-period", "int", "Limit CPU real-time period in microseconds"),
    ("cpu-rt-runtime", "int", "Limit CPU real-time runtime in microseconds"),
    ("c,cpu-shares", "int", "CPU shares (relative weight)"),
    ("cpus", "decimal", "Number of CPUs"),
    ("cpuset-cpus", "string", "CPUs in which to allow execution (0-3, 0,1)"),
    ("cpuset-mems", "string", "MEMs in which to allow execution (0-3, 0,1)"),
    ("domainname", "string", "Container NIS domain name"),
    ("entrypoint", "string", "Overwrite the default ENTRYPOINT of the image"),
    ("health-cmd", "string", "Command to run to check health"),
    ("health-interval", "duration", "Time between running the check (ms|s|m|h)"),
    ("health-retries", "int", "Consecutive failures needed to report unhealthy"),
    (
        "health-start-period",
        "duration",
        "Start period for the container to initialize before starting health-retries countdown (ms|s|m|h)",
    ),
    ("health-timeout", "duration", "Maximum time to allow one check to run (ms|s|m|h)"),
    ("h,hostname", "string", "Container host name"),
    ("ip", "string", "IPv4 address (e.g., 172.30.100.104)"),
    ("ip6", "string", "IPv6 address (e.g., 2001:db8::33)"),
    ("ipc", "string", "IPC mode to use"),
    ("isolation", "string", "Container isolation technology"),
    ("kernel-memory", "bytes", "Kernel memory limit"),
    ("log-driver", "string", "Logging driver for the container"),
    ("mac-address", "string", "Container MAC address (e.g., 92:d0:c6:0a:29:33)"),
    ("m,memory", "bytes", "Memory limit"),
    ("memory-reservation", "bytes", "Memory soft limit"),
    ("memory-swap", "bytes", "Swap limit equal to memory plus swap: '-1' to enable unlimited swap"),
    ("memory-swappiness", "int", "Tune container memory swappiness (0 to 100)"),
    ("name", "string", "Assign a name to the container"),
    ("oom-score-adj", "int", "Tune host's OOM preferences (-1000 to 1000)"),
    ("pid", "string", "PID namespace to use"),
    ("pids-limit", "int", "Tune container pids limit (set -1 for unlimited)"),
    ("platform", "string", "Set platform if an image is there for several"),
    ("runtime", "string", "Runtime to use for this container (crun|runc)"),
    ("shm-size", "bytes", "Size of /dev/shm"),
    ("stop-signal", "string", "Signal to stop a container"),
    ("stop-timeout", "int", "Timeout (in seconds) to stop a container"),
    ("u,user", "string", "Username or UID (format: <name|uid>[:<group|gid>])"),
    ("userns", "string", "User namespace to use"),
    ("uts", "string", "UTS namespace to use"),
    ("volume-driver", "string", "Optional volume driver for the container"),
    ("w,workdir", "string", "Working directory inside the container"),
)
_FLAGS = (
    ("init", "Run an init inside the container that forwards signals and reaps processes"),
    ("i,interactive", "Keep STDIN open even if not attached"),
    ("no-healthcheck", "Disable any container-specified HEALTHCHECK"),
    ("oom-kill-disable", "Disable OOM Killer"),
    ("privileged", "Give extended privileges to this container"),
    ("P,publish-all", "Publish all exposed ports to random ports"),
    ("q,quiet", "Suppress the pull output"),
    ("read-only", "Mount the container's root filesystem as read only"),
    ("rm", "Automatically remove the container when it exits"),
    ("t,tty", "Allocate a pseudo-TTY"),
)
OPTIONS = (
    *(_option(names, kind, text, many=True) for names, kind, text in _LISTS),
    *(_option(names, kind, text) for names, kind, text in _SINGLES),
    Option("restart", "string", "Restart policy to apply when a container exits", default="no", shown_default='"no"'),
    *(Option(names, "bool", text) for names, text in _FLAGS),
    Option("gpus", "gpu-request", "GPU devices to add to the container ('all' to pass all GPUs)", hidden=True),
    Option("net", "network", "Connect a container to a network", many=True, hidden=True),
    Option("net-alias", "list", "Add network-scoped alias for the container", many=True, hidden=True),
    Option("dns-opt", "list", "Set DNS options", many=True, hidden=True),
    Option("disable-content-trust", "bool", "Skip image verification", default=True, hidden=True),
)
PULL = Option("pull", "string", 'Pull image before running ("always"|"missing"|"never")', default="missing",
              shown_default='"missing"')  # fmt: skip
RUN_OPTIONS = (
    *OPTIONS,
    PULL,
    Option("d,detach", "bool", "Run container in background and print container ID"),
    Option("detach-keys", "string", "Override the key sequence for detaching a container"),
    Option("sig-proxy", "bool", "Proxy received signals to the process", default=True, shown_default="true"),
)
CREATE_OPTIONS = (*OPTIONS, PULL)
