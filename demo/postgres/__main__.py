"""Tell the story; with a page's path its output goes into that page."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from demo.postgres.pages import write
from demo.postgres.story import PACKAGE, SCRIPTS, Story
from tests.support.programs import run


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="veneer-postgres-") as folder:
        work = Path(folder)
        base = work / "debian-postgresql.tar"
        run(SCRIPTS / "rootfs.sh", "debian", base, PACKAGE)
        story = Story(work, base)
        story.tell()
        for scene in story.scenes:
            print(f"\n== {scene.name}\n{scene}")
        if len(sys.argv) > 1:
            write(Path(sys.argv[1]), story.scenes)


if __name__ == "__main__":
    main()
