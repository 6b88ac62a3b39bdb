"""docker's events of the volumes that a container has mounted while it runs.

Source: moby volume/service/store.go, daemon/oci_linux.go (what a mount event tells).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def tell(job: Mapping[str, Any], *, mounted: bool) -> None:
    """Write down that the volumes of a job are mounted, or no more."""
    from veneer.store import events

    for point in job["document"].get("Mounts") or ():
        if point["Type"] != "volume":
            continue
        about = {"container": str(job["id"]), "driver": point["Driver"]}
        if mounted:
            writable = "true" if point["RW"] else "false"
            about |= {"destination": point["Destination"], "propagation": point["Propagation"], "read/write": writable}
        events.append(str(job["root"]), type="volume", action="mount" if mounted else "unmount", id=point["Name"],
                      attributes=about)  # fmt: skip
