"""Plans of hostile files: many stages, many of one name; the work grows with the file and no faster."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from veneer.build.failure import StageError
from veneer.build.language import instructions as i
from veneer.build.language.parser import parse
from veneer.build.stages import Named, Plan, find_stage, plan
from veneer.oci.platform import host


class Counted(tuple[i.Stage, ...]):
    """Stages that count how many of them were looked at in turn."""

    looked_at = 0

    def __iter__(self) -> Iterator[i.Stage]:
        for each in super().__iter__():
            Counted.looked_at += 1
            yield each

    def __getitem__(self, key: Any) -> Any:
        Counted.looked_at += len(range(*key.indices(len(self)))) if isinstance(key, slice) else 1
        return super().__getitem__(key)


def planned(text: str) -> tuple[Plan, int]:
    dockerfile = parse(text.encode())
    Counted.looked_at = 0
    dockerfile = dockerfile.replaced(stages=Counted(dockerfile.stages))
    return plan(dockerfile, target="", given={}, contexts={}, platform=host()), Counted.looked_at


MANY = 5_000
CHAIN = "FROM scratch AS s0\n" + "".join(f"FROM s{n} AS s{n + 1}\n" for n in range(MANY))
COPIES = "FROM scratch AS s0\n" + "".join(f"FROM scratch AS s{n + 1}\nCOPY --from=s{n} /a /b\n" for n in range(MANY))
STAR = "FROM scratch AS s\nENV a=b\nFROM scratch\n" + "COPY --from=s /a /b\n" * MANY
SAME = "FROM scratch AS s\n" + "FROM s AS s\n" * MANY
UNNEEDED = "FROM scratch\n" * MANY


@pytest.mark.parametrize(
    ("text", "needed"), [(CHAIN, MANY + 1), (COPIES, MANY + 1), (STAR, 2), (SAME, MANY + 1), (UNNEEDED, 1)]
)
def test_each_stage_is_looked_at_a_few_times(text: str, needed: int) -> None:
    made, looked_at = planned(text)
    assert len(made.stages) == needed
    assert looked_at <= 4 * (MANY + 2)


def test_of_several_stages_with_one_name_the_nearest_before_counts() -> None:
    text = "FROM scratch AS a\nFROM scratch AS a\nFROM a\nCOPY --from=a /x /x\nFROM scratch AS a\nFROM scratch AS b\n"
    made, _ = planned(text.replace("FROM scratch AS b\n", "FROM scratch AS b\nCOPY --from=2 /x /x\n"))
    assert [(each.index, each.base) for each in made.stages] == [(1, None), (2, 1), (4, None)]
    named = Named(made.dockerfile.stages)
    assert [find_stage(named, "a", before) for before in (1, 2, 3, 4)] == [0, 1, 1, 3]
    with pytest.raises(StageError, match="refers to current build stage"):
        find_stage(named, "a", 0)
    with pytest.raises(StageError, match="refers to a later build stage"):
        find_stage(named, "b", 1)


def test_a_stage_that_stands_on_its_own_name_stands_on_an_image() -> None:
    made, _ = planned("FROM busybox AS busybox\n")
    assert made.stages[0].base is None and made.stages[0].image == "busybox"
