"""Why a test that passes on ext4 does not on a union: each difference has its reason here, or `make posix` fails."""

from __future__ import annotations

import re
from typing import NamedTuple

from tests.drivers.posix.grounds import PROGRAM


class Argument(NamedTuple):
    """`tests` and `grounds` are regular expressions, of which every difference of this kind matches both."""

    title: str
    tests: str
    grounds: str
    why: str


ARGUMENTS: tuple[Argument, ...] = (
    Argument(
        "A removed file that is still open counts one name too many",
        r"create\+unlink",
        PROGRAM,
        "The program (Debian's 1.10) tells the number of links that it remembers. What is done with such a file works: "
        "the suite that unlinks every file while it is open passes otherwise.",
    ),
    Argument(
        "A new directory does not get its parent's default ACL",
        r"access and ACLs: (misc:(19|2|30|31)|setfacl-X:)",
        PROGRAM,
        "The program makes a directory in its working directory and moves it to its place, where nothing is inherited "
        "any more. No layer can hold an ACL, so no image depends on it.",
    ),
    Argument(
        "An attribute of a symbolic link is given to the file it points to",
        r"extended attributes: root/getfattr:",
        PROGRAM,
        "The program follows the link. Only root can give a link an attribute (`trusted.*`), and no layer can hold it.",
    ),
    Argument(
        "Python's shutil does not end",
        r"test_shutil",
        PROGRAM,
        "`lsetxattr` on a symbolic link is never answered and the mount hangs: likely the same fault, with a link into "
        "the mount itself. The tests after that one are missing. A plain user may not set such an attribute; his run "
        "passes.",
    ),
    Argument(
        "A new directory's change time is told twice, and differently",
        r"test_mkdir_exist_ok_with_parent",
        PROGRAM,
        "The time that the program tells when it has made a directory is some hundred microseconds before the one that "
        "it tells later.",
    ),
)


def argument(test: str, ground: str) -> Argument | None:
    """What is to be said of this difference; None: nothing yet."""
    for each in ARGUMENTS:
        if re.search(each.tests, test) and re.fullmatch(each.grounds, ground):
            return each
    return None
