"""What a layer index of a million entries costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BEGIN = """
import resource, sys
from veneer.changeset.index import IndexBuilder, LayerIndex

builder, digest = IndexBuilder(), bytes(range(32))
"""
MANY_DIRECTORIES = """
for package in range(10_000):
    for part in range(10):
        folder = b"usr/lib/node_modules/package-%05d/lib/part%d" % (package, part)
        builder.add(folder, 1, 0o755, 0, 0, 0, 10**18, b"", b"", 0, (), False, False)
        for file in range(9):
            builder.add(folder + b"/file-%03d.js" % file, 0, 0o644, 0, 0, 99, 10**18, b"", digest, 0, (), False, False)
"""
ONE_DIRECTORY = """
for file in range(1_000_000):
    builder.add(b"spool/message-%d" % (file * 7919 % 1_000_000), 0, 0o644, 0, 0, 99, 10**18, b"", digest)
"""
END = """
with open(sys.argv[1], "wb") as out:
    builder.write(out)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.parametrize("add", [MANY_DIRECTORIES, ONE_DIRECTORY], ids=["many directories", "one directory"])
def test_a_million_entries_are_indexed_in_less_than_150_mb(tmp_path: Path, add: str) -> None:
    # The peak of a fork counts before exec, so a small process starts the one that is measured.
    starter = "import subprocess, sys; sys.exit(subprocess.run([sys.executable, *sys.argv[1:]]).returncode)"
    command = [sys.executable, "-c", starter, "-c", BEGIN + add + END, str(tmp_path / "index")]
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    assert int(found.stdout) < 150
    assert (tmp_path / "index").stat().st_size < 100_000_000
