"""Where a tag stands, asked of a registry as cheaply as can be."""

from __future__ import annotations

import pytest

from tests.distribution.conftest import ConnectTo
from tests.support.registries import RealRegistry
from veneer.distribution.session import NotInRegistry, TryAgain
from veneer.distribution.standing import Standing, standing
from veneer.oci.reference import Reference
from veneer.testing.images import image
from veneer.testing.registry import Registry

ONE, OTHER = image({"a": b"1"}), image({"a": b"2"})


def test_a_real_registry_tells_news_only(connect: ConnectTo, registry: RealRegistry) -> None:
    name = registry.put("standing/app:1", ONE)
    registries, reference = connect(), Reference.parse(name)
    there = registries.registry(reference.registry)
    first = standing(there, reference)
    assert str(first.digest) == ONE.digest and first.etag
    assert standing(there, reference, first.etag) == Standing(None, first.etag)
    registry.put("standing/app:1", OTHER)
    assert str(standing(there, reference, first.etag).digest) == OTHER.digest
    with pytest.raises(NotInRegistry):
        standing(there, reference.with_tag("2"), first.etag)


def test_one_head_is_enough_and_a_get_where_it_tells_nothing(connect: ConnectTo) -> None:
    with Registry() as fake:
        fake.add("app:1", ONE)
        reference = Reference.parse(f"{fake.host}/app:1")
        there = connect().registry(reference.registry)
        assert str(standing(there, reference).digest) == ONE.digest
        assert [each.method for each in fake.requests("/manifests/")] == ["HEAD"]
        fake.fault("/manifests/", method="HEAD", headers={"Docker-Content-Digest": None})
        assert str(standing(there, reference).digest) == ONE.digest
        fake.fault("/manifests/", method="HEAD", status=404)
        assert str(standing(there, reference).digest) == ONE.digest
        assert [each.method for each in fake.requests("/manifests/")] == ["HEAD", "HEAD", "GET", "HEAD", "GET"]


@pytest.mark.parametrize(("header", "remaining", "window"), [
    ("76;w=21600", 76, 21600), ("0;w=60", 0, 60), ("5", 5, None), ("x;w=y", None, None), ("", None, None),
    ("9" * 40 + ";w=1", None, 1), ("-3;w=60", None, 60),
])  # fmt: skip
def test_limits_are_what_the_registry_says(
    connect: ConnectTo, header: str, remaining: int | None, window: int | None
) -> None:
    with Registry() as fake:
        fake.add("app:1", ONE)
        fake.fault("/manifests/", method="HEAD", headers={"RateLimit-Remaining": header})
        reference = Reference.parse(f"{fake.host}/app:1")
        found = standing(connect().registry(reference.registry), reference)
        assert (found.remaining, found.window) == (remaining, window)


def test_a_registry_that_has_enough_says_when(connect: ConnectTo) -> None:
    with Registry() as fake:
        fake.add("app:1", ONE)
        fake.fault("/manifests/", method="", status=429, times=-1, headers={"Retry-After": "3600"})
        reference = Reference.parse(f"{fake.host}/app:1")
        with pytest.raises(TryAgain) as caught:
            standing(connect().registry(reference.registry), reference)
        assert caught.value.retry_after == "3600"
