"""--chmod in numbers and letters."""

from __future__ import annotations

import stat

import pytest

from veneer.build.copying.modes import change

FILE, PROGRAM, FOLDER = stat.S_IFREG | 0o644, stat.S_IFREG | 0o750, stat.S_IFDIR | 0o755


@pytest.mark.parametrize(
    ("text", "before", "after"),
    [
        ("600", FILE, 0o600), ("4755", FOLDER, 0o4755), ("0", FILE, 0),
        ("u=rwx,go=rX", FILE, 0o744), ("u=rwx,go=rX", FOLDER, 0o755), ("u=rwx,go=rX", PROGRAM, 0o755),
        ("a+x", FILE, 0o755), ("+x", FILE, 0o755), ("go-r,u+s", FILE, 0o4600), ("g=u", FILE, 0o664),
        ("o=", FILE, 0o640), ("+t", FOLDER, 0o1755), ("g+s", FOLDER, 0o2755), ("u=rw", stat.S_IFREG | 0o4755, 0o655),
        ("u+w-x", PROGRAM, 0o650), ("a=rX", FOLDER, 0o555),
    ],
)  # fmt: skip
def test_a_mode_becomes(text: str, before: int, after: int) -> None:
    assert oct(change(text)(before)) == oct(after)
