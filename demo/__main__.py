"""Build a Debian image like nginx's from its Dockerfile, look at its ten rows, push it, pull it elsewhere, look again.

Everything happens in one temporary folder and on the loopback interface; nothing is left behind.
"""

from __future__ import annotations

import shlex
import shutil
import sys
import tempfile
import time
from pathlib import Path

from demo.nginx import add_packages, make_context
from tests.support.programs import VENEER, ProgramFailed, run
from tests.support.registries import RealRegistry

SCRIPTS = Path(__file__).parents[1] / "scripts"


def say(text: str) -> None:
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n== {text}", flush=True)


def show(root: Path, *words: str | Path) -> str:
    """Print a veneer command as one would type it, run it on the store at `root`, print what it says."""
    typed = [str(word).removeprefix(f"{root.parent}/") for word in words]
    print(f"$ veneer --root {root.name} {shlex.join(typed)}", flush=True)
    text = run(VENEER, "--root", root, *words).out
    print(text, end="", flush=True)
    return text


def root_file_system(work: Path) -> Path:
    """Debian's essential packages as a tar; where no Debian mirror can be reached, static busybox."""
    debian = work / "debian.tar"
    try:
        run(SCRIPTS / "rootfs.sh", "debian", debian)
        return debian
    except ProgramFailed as error:
        print(f"no Debian root file system to be had ({str(error).splitlines()[-1]}); taking busybox instead")
    busybox = work / "busybox.tar"
    run(SCRIPTS / "rootfs.sh", "busybox", busybox)
    return busybox


def parents(root: Path, name: str) -> None:
    """Walk from an image to its parents, by `image inspect` alone."""
    image = name
    while image:
        image = show(root, "image", "inspect", "--format", "{{.Parent}}", image).strip()


def main() -> None:
    started = time.monotonic()
    work = Path(tempfile.mkdtemp(prefix="veneer-demo-"))
    registry = None
    try:
        registry = RealRegistry.start(work / "registry")
        name = f"{registry.host}/demo/nginx:latest"
        here, elsewhere, context = work / "here", work / "elsewhere", work / "context"

        say("A context: a Dockerfile of ten instructions, Debian's root file system, nginx's packages.")
        rootfs = root_file_system(work)
        make_context(context, rootfs)
        add_packages(context)
        print((context / "Dockerfile").read_text(), end="")

        say("Built: every step makes an image of its own.")
        show(here, "build", "--progress", "plain", "--network", "none", "--tag", name, context)

        say("Its history here, where it was made: ten rows, and every one has an ID.")
        show(here, "image", "history", name)

        say("`images` shows what has a name; `images --all` also the images in between.")
        show(here, "images")
        show(here, "images", "--all")

        say("Each knows the one it was made on:")
        parents(here, name)

        say("Built again, all of it comes from the cache.")
        again = show(here, "build", "--progress", "plain", "--network", "none", "--tag", name, context)
        if again.count("Using cache") != 10:
            raise ProgramFailed("the second build did not take all ten steps from the cache")

        say("One byte of one file changed: --dry-run says what would be done again, and --explain why.")
        with (context / "packages" / "page.html").open("a") as page:
            page.write("\n")
        show(here, "build", "--dry-run", "--explain", "--progress", "plain", "--network", "none", context)

        say(f"Out to a registry ({registry.host}), and from there into a second, empty store.")
        show(here, "push", "--quiet", name)
        show(elsewhere, "pull", "--quiet", name)

        say("Its history there: the same ten rows.  Parents do not travel, so all but the top row say <missing>:")
        print("the steps are known and so are their layers, but the images in between were never sent.")
        show(elsewhere, "image", "history", name)

        say("The layers are the same ones: three digests (diff IDs), equal in both stores.")
        layers = ("image", "inspect", "--format", "{{range .RootFS.Layers}}{{println .}}{{end}}", name)
        same = show(here, *layers) == show(elsewhere, *layers)
        if not same:
            raise ProgramFailed("the two stores disagree about the layers")

        say("And what docker does not tell: the layer behind each row, <missing> or not.")
        show(elsewhere, "image", "history", "--layers", name)
    finally:
        if registry is not None:
            registry.stop()
        shutil.rmtree(work)
    say(f"Done in {time.monotonic() - started:.0f} seconds; registry stopped, {work} removed.")


if __name__ == "__main__":
    main()
