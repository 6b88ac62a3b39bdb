"""Names normalise and shorten as Docker's do."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veneer.errors import VeneerError
from veneer.oci.reference import InvalidReference, Reference

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "full", "familiar"),
    [
        ("nginx", "docker.io/library/nginx", "nginx"),
        ("nginx:1.25", "docker.io/library/nginx:1.25", "nginx:1.25"),
        ("library/nginx", "docker.io/library/nginx", "nginx"),
        ("docker.io/nginx", "docker.io/library/nginx", "nginx"),
        ("index.docker.io/nginx", "docker.io/library/nginx", "nginx"),
        ("docker.io/library/nginx", "docker.io/library/nginx", "nginx"),
        ("team/app", "docker.io/team/app", "team/app"),
        ("library/team/app", "docker.io/library/team/app", "library/team/app"),
        ("localhost/app", "localhost/app", "localhost/app"),
        ("localhost:5000/app:V1", "localhost:5000/app:V1", "localhost:5000/app:V1"),
        ("127.0.0.1:5000/a/b/c", "127.0.0.1:5000/a/b/c", "127.0.0.1:5000/a/b/c"),
        ("[::1]:5000/app:x", "[::1]:5000/app:x", "[::1]:5000/app:x"),
        ("Example.COM/app", "Example.COM/app", "Example.COM/app"),
        ("UPPER/app", "UPPER/app", "UPPER/app"),
        ("quay.io/a/b@" + DIGEST, "quay.io/a/b@" + DIGEST, "quay.io/a/b@" + DIGEST),
        ("a/b:t@" + DIGEST, "docker.io/a/b:t@" + DIGEST, "a/b:t@" + DIGEST),
        ("a__b/c-d--e.f_g", "docker.io/a__b/c-d--e.f_g", "a__b/c-d--e.f_g"),
        ("sha256:abc", "docker.io/library/sha256:abc", "sha256:abc"),
    ],
)
def test_names_normalise_as_docker_does(text: str, full: str, familiar: str) -> None:
    reference = Reference.parse(text)
    assert (str(reference), reference.familiar) == (full, familiar)
    assert Reference.parse(str(reference)) == Reference.parse(familiar) == reference


@pytest.mark.parametrize(
    "text",
    [
        "", "Nginx", "nginx:", "nginx:-x", "nginx@sha256:short", ":tag", "/nginx", "nginx/", "a//b", "a..b", "-a", "a-",
        "a___b", "a._b", "a b", "nginx:" + "t" * 129, "x" * 256, "../../etc", "host:port/app", "a/B:1", "a\n", "aé",
        "a@" + DIGEST.upper(), "[::1/app", "[zz]/app", "ex_ample.com:1/a", "0" * 64, "h.com:5000/", "a:b:c",
        "@" + DIGEST,
    ],
)  # fmt: skip
def test_what_is_no_name_is_refused_with_its_reason(text: str) -> None:
    with pytest.raises(InvalidReference, match=r"^invalid reference format"):
        Reference.parse(text)


def test_upper_case_is_named_as_the_reason() -> None:
    with pytest.raises(InvalidReference, match="repository name must be lowercase"):
        Reference.parse("Nginx")


def test_latest_stands_in_only_where_nothing_is_given() -> None:
    assert Reference.parse("a").tagged().familiar == "a:latest"
    assert Reference.parse("a:1").tagged().familiar == "a:1"
    assert Reference.parse("a@" + DIGEST).tagged().tag is None


def test_a_megabyte_of_name_is_refused_at_once() -> None:
    for text in ("a" * 1_000_000, "a." * 500_000, "/" * 1_000_000, "a@" * 500_000, "[" * 1_000_000):
        started = time.process_time()
        with pytest.raises(InvalidReference):
            Reference.parse(text)
        assert time.process_time() - started < 1


@given(st.text(alphabet="abAB01._-:/@[] sha256", max_size=60))
def test_any_text_is_a_name_that_reads_back_or_an_error(text: str) -> None:
    try:
        reference = Reference.parse(text)
    except VeneerError:
        return
    assert Reference.parse(str(reference)) == reference
    assert Reference.parse(reference.familiar) == reference
