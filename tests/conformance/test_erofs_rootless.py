"""erofs in a plain user's namespace: none of the suite's sentences can be asked there, and it says why."""

from __future__ import annotations

from pathlib import Path

from tests.support.plain_user import plain_user

_PROBE = """
from pathlib import Path
from veneer.drivers import userns
from veneer.drivers.erofs.driver import Erofs
assert userns.enter().kind == userns.RANGES
support = Erofs(Path("/mnt/erofs")).probe()
print(support.usable, support.reason)
"""


class TestErofsRootless:
    def test_its_probe_says_in_words_what_it_found(self, tmp_path: Path) -> None:
        with plain_user(tmp_path, further_ids=True) as user:
            said = user.python(_PROBE).out
        assert said == "False EROFS images can be mounted by the machine's root alone\n"
