"""Names for containers that were given none, and which names may be given.

Docker's form, a trait and a scientist; the lists are our own.
"""

from __future__ import annotations

import os
import re

from veneer.errors import InvalidRequest

_NAME = re.compile(r"/?[a-zA-Z0-9][a-zA-Z0-9_.-]+")
_TRAITS = (
    "able", "airy", "apt", "astute", "balmy", "bold", "brave", "breezy", "bright", "brisk", "calm", "candid", "careful",
    "cheery", "clear", "clever", "cosy", "crisp", "curious", "daring", "deft", "dreamy", "eager", "earnest", "fair",
    "fearless", "fleet", "fond", "frank", "gentle", "glad", "golden", "graceful", "hardy", "hearty", "honest", "humble",
    "jaunty", "jolly", "keen", "kind", "lively", "loyal", "lucid", "mellow", "merry", "mild", "modest", "neat",
    "nimble",
    "noble", "patient", "placid", "playful", "plucky", "polite", "proud", "quick", "quiet", "rapid", "ready", "serene",
    "sharp", "silent", "sincere", "smart", "snug", "sober", "spry", "steady", "sturdy", "sunny", "swift", "tender",
    "thorough", "tidy", "true", "upbeat", "valiant", "vivid", "warm", "wise", "witty", "zesty",
)  # fmt: skip
_PEOPLE = (
    "abel", "ampere", "archimedes", "avicenna", "bernoulli", "bohr", "boole", "brahe", "cantor", "cassini", "cauchy",
    "celsius", "chandrasekhar", "copernicus", "coulomb", "curie", "dalton", "darwin", "descartes", "dijkstra", "dirac",
    "eratosthenes", "erdos", "euclid", "euler", "faraday", "fermat", "fibonacci", "fourier", "franklin", "galileo",
    "galois", "gauss", "germain", "godel", "goodall", "hamilton", "hawking", "heisenberg", "herschel", "hertz",
    "hilbert", "hopper", "hubble", "huygens", "hypatia", "jacobi", "joule", "kelvin", "kepler", "knuth", "kovalevskaya",
    "lagrange", "lamarr", "laplace", "lavoisier", "leavitt", "leibniz", "linnaeus", "lovelace", "maxwell", "mayer",
    "mccarthy", "meitner", "mendel", "mendeleev", "newton", "noether", "ohm", "pascal", "pasteur", "pauli", "planck",
    "poincare", "ptolemy", "ramanujan", "riemann", "rutherford", "sagan", "shannon", "somerville", "tesla", "thales",
    "torricelli", "turing", "volta", "wiles", "wu", "yalow", "zeno",
)  # fmt: skip


class InvalidContainerName(InvalidRequest):
    """A name that no container can have."""


def random_name(attempt: int = 0) -> str:
    """A name; with a number at its end after a few that were taken."""
    number = int.from_bytes(os.urandom(8), "big")
    number, trait = divmod(number, len(_TRAITS))
    number, person = divmod(number, len(_PEOPLE))
    name = f"{_TRAITS[trait]}_{_PEOPLE[person]}"
    return f"{name}{number % 10 ** max(1, attempt - 5)}" if attempt > 5 else name


def checked_name(name: str) -> str:
    """A name as it is kept, without a leading slash.  Raises InvalidContainerName, in docker's words."""
    if not _NAME.fullmatch(name):
        raise InvalidContainerName(f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")
    return name.removeprefix("/")
