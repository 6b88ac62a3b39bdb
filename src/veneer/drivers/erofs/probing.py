"""Whether metadata images can be mounted here: tried out, once a machine and data root."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from veneer.drivers import treecopy
from veneer.drivers.driver import Support
from veneer.drivers.mount import MountUnsupported
from veneer.drivers.userns import privileged
from veneer.errors import VeneerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.drivers.erofs.driver import Erofs


def probe(driver: Erofs) -> Support:
    """Mount an image with one file, look at the file, and change its mode through a union."""
    if not privileged():
        return Support(False, "EROFS images can be mounted by the machine's root alone")
    note = driver.root / ".probed"
    key = f"{os.uname().release} {os.stat(driver.root.parent).st_dev if driver.root.parent.exists() else 0}\n"
    with contextlib.suppress(OSError):
        if note.read_text() == key:
            return _found(driver)
    try:
        driver.root.mkdir(mode=0o710, parents=True, exist_ok=True)
        driver.objects.prepare()
        (driver.root / "stacks").mkdir(mode=0o710, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=driver.root, prefix=".probe-") as folder:
            reason = _tried(Path(folder))
    except MountUnsupported as error:
        return Support(False, f"{error.message} ({error.hint})" if error.hint else error.message)
    except OSError as error:
        return Support(False, f"{driver.root}: {(error.strerror or str(error)).lower()}")
    except VeneerError as error:
        return Support(False, f"an EROFS image cannot be mounted at {driver.root}: {error}")
    if reason:
        return Support(False, reason)
    with contextlib.suppress(OSError):  # to try it again costs milliseconds
        note.write_text(key)
    return _found(driver)


def _found(driver: Erofs) -> Support:
    sealed = "sealed by fs-verity" if driver.objects.seals else "not sealed, the kernel or the disk has no fs-verity"
    return Support(True, f"contents are shared ({sealed}), and one image describes a stack")


def _tried(folder: Path) -> str:
    from veneer.drivers.driver import new_snapshot_id
    from veneer.drivers.erofs.driver import Erofs
    from veneer.drivers.mount import mounted

    trial = Erofs(folder / "erofs")
    lower, upper = new_snapshot_id(), new_snapshot_id()
    try:
        (trial.create(lower, []) / "file").write_bytes(b"content")
        trial.commit(lower)
        trial.create(upper, [lower])
        target = folder / "target"
        target.mkdir()
        with mounted(trial.mounts(upper, [lower]), target):
            (target / "file").chmod(0o600)
            if (target / "file").read_bytes() != b"content":
                return "this kernel's overlay does not find the contents of files that only have metadata"
    finally:
        treecopy.delete_tree(folder / "erofs")
    return ""
