"""Image names: parsed, normalised and shortened as Docker does.

Grammar and normalisation: distribution/reference (`nginx` is `docker.io/library/nginx`).  Hand-written and
linear in the length of the text, because names come from strangers.
"""

from __future__ import annotations

from veneer.errors import InvalidRequest
from veneer.oci.digest import Digest, InvalidDigest
from veneer.values import Value

DEFAULT_REGISTRY = "docker.io"
DEFAULT_TAG = "latest"
MAX_NAME = 255
MAX_TAG = 128

_LOWER_ALNUM = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
_ALNUM = _LOWER_ALNUM | frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_HEX = frozenset("0123456789abcdefABCDEF")


class InvalidReference(InvalidRequest):
    """A text that is no image name."""


def _is_path_component(text: str) -> bool:
    """alphanumeric runs, joined by one of `.`, `_`, `__` or any number of `-`."""
    if not text or text[0] not in _LOWER_ALNUM or text[-1] not in _LOWER_ALNUM:
        return False
    separator = ""
    for char in text:
        if char in _LOWER_ALNUM:
            if separator not in ("", ".", "_", "__") and separator.strip("-"):
                return False
            separator = ""
        elif char in "._-":
            separator += char
        else:
            return False
    return True


def _is_registry(text: str) -> bool:
    """A host name or bracketed IPv6 address, with an optional port."""
    if text.startswith("["):
        address, closing, rest = text[1:].partition("]")
        if not closing or not address or not _HEX.union(":").issuperset(address):
            return False
        return rest == "" or (rest[0] == ":" and rest[1:].isascii() and rest[1:].isdigit())
    host, colon, port = text.partition(":")
    if colon and not (port.isascii() and port.isdigit()):
        return False
    return all(
        label and label[0] in _ALNUM and label[-1] in _ALNUM and _ALNUM.union("-").issuperset(label)
        for label in host.split(".")
    )


def is_tag(text: str) -> bool:
    """Whether `text` may stand after the colon of an image name."""
    word = _ALNUM.union("_")
    return 0 < len(text) <= MAX_TAG and text[0] in word and word.union(".-").issuperset(text)


def _split_registry(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    # A first component is a host only if it looks like one; upper case cannot be a path, so it is a host too.
    if not slash or not ("." in first or ":" in first or first == "localhost" or first != first.lower()):
        registry, path = DEFAULT_REGISTRY, name
    else:
        registry, path = first, rest
    if registry == "index.docker.io":
        registry = DEFAULT_REGISTRY
    if registry == DEFAULT_REGISTRY and "/" not in path:
        path = "library/" + path
    return registry, path


class Reference(Value):
    """A full image name; `tag` and `digest` are None where the text had none.

    `registry` keeps its case and port (`docker.io` by default), `repository` is the path below it.
    """

    __slots__ = ()
    registry: str
    repository: str
    tag: str | None = None
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read a name the way docker does.  Raises InvalidReference, naming the text and what is wrong."""

        def wrong(reason: str) -> InvalidReference:
            return InvalidReference(f"invalid reference format: {reason}: {text[:300]!r}")

        if not text:
            raise InvalidReference("invalid reference format: the name is empty")
        if len(text) > MAX_NAME + MAX_TAG + 256:
            raise wrong("the name is too long")
        if len(text) == 64 and frozenset("0123456789abcdef").issuperset(text):
            raise wrong("cannot specify 64-byte hexadecimal strings as a repository name")
        rest, at, digest_text = text.partition("@")
        digest = None
        if at:
            try:
                digest = Digest.parse(digest_text)
            except InvalidDigest:
                raise wrong("the part after @ is no digest") from None
        tag = None
        colon = rest.rfind(":")
        if colon > rest.rfind("/") and not (rest.startswith("[") and "/" not in rest):
            rest, tag = rest[:colon], rest[colon + 1 :]
            if not is_tag(tag):
                raise wrong(f"{tag[:140]!r} is no tag (letters, digits, _ . -, at most {MAX_TAG})")
        registry, repository = _split_registry(rest)
        if repository != repository.lower():
            raise wrong("repository name must be lowercase")
        if not _is_registry(registry):
            raise wrong(f"{registry!r} is no registry host")
        if not all(_is_path_component(part) for part in repository.split("/")):
            raise wrong("repository name must be words of a-z and 0-9 joined by . _ __ or -")
        if len(registry) + 1 + len(repository) > MAX_NAME:
            raise wrong(f"repository name must not be more than {MAX_NAME} characters")
        return cls(registry, repository, tag, digest)

    @property
    def name(self) -> str:
        """`registry/repository`, in full."""
        return f"{self.registry}/{self.repository}"

    @property
    def familiar_name(self) -> str:
        """The name as people write it: without `docker.io/` and `library/`."""
        if self.registry != DEFAULT_REGISTRY:
            return self.name
        path = self.repository.removeprefix("library/")
        return path if "/" not in path else self.repository

    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    @property
    def familiar(self) -> str:
        """The whole reference as people write it, e.g. `nginx:1.25`."""
        return self.familiar_name + self._suffix()

    def __str__(self) -> str:
        return self.name + self._suffix()

    def tagged(self) -> Reference:
        """The same with `latest` where neither tag nor digest is given."""
        return self if self.tag or self.digest else self.replaced(tag=DEFAULT_TAG)

    def with_tag(self, tag: str | None) -> Reference:
        """The same repository under `tag`, without a digest."""
        return self.replaced(tag=tag, digest=None)

    def with_digest(self, digest: Digest) -> Reference:
        """The same repository by `digest`, without a tag: what docker calls a repo digest."""
        return self.replaced(tag=None, digest=digest)
