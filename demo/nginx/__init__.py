"""The context that the demo builds: nginx's Dockerfile, a root file system, and the packages it installs."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from tests.support.programs import ProgramFailed, run

DOCKERFILE = Path(__file__).with_name("Dockerfile")
PAGE = "<h1>Welcome to nginx, built by veneer</h1>\n"


def make_context(folder: Path, rootfs: Path) -> None:
    """Fill a new folder: Dockerfile, rootfs.tar, and packages/ with a page to serve."""
    (folder / "packages").mkdir(parents=True)
    shutil.copy(DOCKERFILE, folder / "Dockerfile")
    shutil.copy(rootfs, folder / "rootfs.tar")
    (folder / "packages" / "page.html").write_text(PAGE)


def add_packages(folder: Path) -> None:
    """Put Debian's nginx into a context, as tars; where no mirror can be reached, the page alone is installed."""
    with tempfile.TemporaryDirectory() as downloads:
        fetch = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", "nginx", "nginx-common"]
        try:
            run("env", "-C", downloads, *fetch)
        except ProgramFailed as error:
            print(f"no nginx packages to be had ({str(error).splitlines()[-1]}); installing a page alone")
        for package in sorted(Path(downloads).glob("*.deb")):
            name = package.name.partition("_")[0]
            target = folder / "packages" / f"{name}.tar"
            run("bash", "-c", 'dpkg-deb --fsys-tarfile "$0" >"$1"', package, target)
