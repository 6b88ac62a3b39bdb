"""Small frozen values."""

from __future__ import annotations

import copy
import pickle

import pytest

from veneer.values import Value


class Point(Value):
    __slots__ = ()
    x: int
    y: int = 7


class Named(Point):
    __slots__ = ()
    name: str = "it"

    def total(self) -> int:
        return self.x + self.y


class Nothing(Value):
    __slots__ = ()


def test_a_value_is_its_fields() -> None:
    assert Point(1) == Point(1, 7) == Point(x=1, y=7) != Point(1, 8)
    assert Point(1) < Point(2)
    assert hash(Point(1)) == hash(Point(1, 7))
    assert (Point(1).x, Point(1).y) == (1, 7)
    assert repr(Named(1, name="a")) == "Named(x=1, y=7, name='a')"
    assert Nothing() == Nothing()


def test_a_subclass_has_the_fields_of_the_class_and_its_own() -> None:
    assert Named(1, 2, "b").total() == 3
    assert Named(1).replaced(name="c") == Named(1, 7, "c")
    match Named(1, 2, "d"):
        case Named(x, y, name):
            assert (x, y, name) == (1, 2, "d")


def test_the_many_are_as_the_few() -> None:
    made = [Named(number, name=str(number)) for number in range(30)]
    assert [(each.x, each.y, each.name) for each in made] == [(number, 7, str(number)) for number in range(30)]


def test_it_travels() -> None:
    for made in (Point(1), Named(2, name="e"), Nothing()):
        for found in (pickle.loads(pickle.dumps(made)), copy.copy(made), copy.deepcopy(made)):
            assert found == made
            assert type(found) is type(made)


@pytest.mark.parametrize("times", [1, 30])
@pytest.mark.parametrize(
    ("given", "named", "why"),
    [
        ((), {}, "missing 1 required positional argument: 'x'"), ((), {"x": 1, "z": 2}, "unexpected keyword"),
        ((1,), {"x": 1}, "multiple values for argument 'x'"), ((1, 2, 3), {}, "positional arguments"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(times: int, given: tuple[int, ...], named: dict[str, int], why: str) -> None:
    for _ in range(times):
        with pytest.raises(TypeError, match=why):
            Point(*given, **named)
    with pytest.raises(TypeError, match="z"):
        Point(1).replaced(z=2)  # type: ignore[call-arg, unused-ignore]
    with pytest.raises(AttributeError):
        Point(1).x = 2  # type: ignore[misc]


def test_a_field_without_a_default_behind_one_that_has_is_refused() -> None:
    with pytest.raises(TypeError, match="size has no default"):

        class Wrong(Value):
            __slots__ = ()
            name: str = ""
            size: int  # type: ignore[misc]
