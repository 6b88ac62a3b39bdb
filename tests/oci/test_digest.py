"""Digests parse strictly and chain IDs are those of the specification."""

from __future__ import annotations

import hashlib

import pytest

from veneer.oci.digest import DiffID, Digest, InvalidDigest, chain_ids

GOOD = "sha256:" + "ab" * 32


def test_a_digest_knows_its_parts() -> None:
    digest = Digest.parse(GOOD)
    assert (digest.algorithm, digest.hex, digest.short) == ("sha256", "ab" * 32, "abababababab")
    assert digest == GOOD


def test_sha512_is_a_digest_too() -> None:
    assert Digest.parse("sha512:" + "0" * 128).algorithm == "sha512"


@pytest.mark.parametrize(
    "text",
    [
        "", "sha256:", "sha256:" + "AB" * 32, "sha256:" + "a" * 63, "sha256:" + "a" * 65, "md5:" + "a" * 32,
        "sha256:../../../../etc/passwd", "sha256:" + "g" * 64, "sha256:" + "a" * 63 + "\n", "SHA256:" + "a" * 64,
        "a" * 64, "sha256::" + "a" * 63, "sha512:" + "a" * 64, "x" * 1_000_000, None, 7, b"sha256:" + b"a" * 64,
    ],
)  # fmt: skip
def test_what_is_no_digest_is_refused(text: object) -> None:
    with pytest.raises(InvalidDigest) as caught:
        Digest.parse(text)
    assert len(caught.value.message) < 400


def test_chain_ids_hash_parent_and_diff_id_with_one_space() -> None:
    a, b, c = (DiffID(Digest.of(text)) for text in (b"a", b"b", b"c"))
    ab = "sha256:" + hashlib.sha256(f"{a} {b}".encode()).hexdigest()
    abc = "sha256:" + hashlib.sha256(f"{ab} {c}".encode()).hexdigest()
    assert chain_ids([a, b, c]) == [a, ab, abc]
    assert chain_ids([]) == []


def test_the_same_diff_id_twice_gives_two_chain_ids() -> None:
    a = DiffID(Digest.of(b"a"))
    assert len(set(chain_ids([a, a, a]))) == 3
