"""The tags of a repository, those of one image together: here, or in its registry; and a registry's repositories."""

from __future__ import annotations

from collections.abc import Iterable

from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.engine.engine import Engine
    from veneer.oci.reference import Reference

MOST = 100
"""Tags of a registry that are asked after, unless more are wanted."""


class Tagged(Value):
    """One image and its tags, the longest first, `latest` last.

    `digest` is what they name, `id` the image's here ("" if it is not here), `created` Unix seconds (0: unknown).
    """

    __slots__ = ()
    digest: str
    tags: tuple[str, ...]
    id: str = ""
    created: float = 0.0


class Listed(Value):
    """The images of a repository, newest tags first, and how many tags nobody asked after."""

    __slots__ = ()
    images: tuple[Tagged, ...]
    left_off: int = 0


def version_key(tag: str) -> tuple[tuple[int, int, str], ...]:
    """For sorting tags as versions: 1.9 before 1.10."""
    import re

    parts = re.findall(r"\d+|\D+", tag)
    return tuple((1, int(part[:18]), part) if part.isdigit() else (0, 0, part) for part in parts)


def in_order(tags: Iterable[str]) -> tuple[str, ...]:
    """The tags of one image: the one that says most first."""
    return tuple(sorted(tags, key=lambda tag: (tag == "latest", -len(tag), tag)))


def here(engine: Engine, repository: Reference) -> Listed:
    """The tags of a repository in the store, the newest image first."""
    found = []
    for image in engine.store.images.list():
        tags = [tag.tag for tag in image.tags if tag.name == repository.name and tag.tag]
        if tags:
            found.append(Tagged(str(image.manifest), in_order(tags), str(image.id), image.created))
    return Listed(tuple(found))


def there(engine: Engine, repository: Reference, limit: int = MOST) -> Listed:
    """The tags of a repository in its registry, the highest versions first; one HEAD for each of at most `limit`
    (0: all).

    Raises NotInRegistry, AccessDenied, AuthenticationRequired, BadTagList, Unavailable.
    """
    from concurrent.futures import ThreadPoolExecutor

    from veneer.distribution.client import Registries
    from veneer.distribution.session import NotInRegistry
    from veneer.distribution.standing import standing

    with Registries(engine.config) as registries:
        registry = registries.registry(repository.registry)
        tags = sorted(registries.tags(repository), key=version_key, reverse=True)
        tags.sort(key=lambda tag: tag != "latest")
        asked = tags[:limit] if limit else tags

        def digest(tag: str) -> str:
            try:
                return str(standing(registry, repository.with_tag(tag)).digest)
            except NotInRegistry:
                return ""  # it went while we were asking

        groups: dict[str, list[str]] = {}
        with ThreadPoolExecutor(max(engine.config.max_downloads, 1), "tags") as pool:
            for tag, found in zip(asked, pool.map(digest, asked), strict=True):
                if found:
                    groups.setdefault(found, []).append(tag)
    images = tuple(Tagged(each, in_order(names)) for each, names in groups.items())
    return Listed(images, len(tags) - len(asked))


def catalog(engine: Engine, registry: str) -> list[Reference]:
    """The repositories that a registry (`host[:port]`) tells of, by name; many registries tell nobody.

    Raises InvalidReference, BadTagList, NotInRegistry, AccessDenied, AuthenticationRequired, Unavailable.
    """
    from veneer.distribution.client import Registries
    from veneer.oci.reference import InvalidReference, Reference

    host = Reference.parse(f"{registry}/any").registry
    if "/" in registry or not registry.endswith(host):
        raise InvalidReference(
            f"{registry!r} is no registry", hint="a host, and a port if it needs one: localhost:5000"
        )
    with Registries(engine.config) as registries:
        return [Reference(host, name) for name in sorted(registries.registry(host).catalog())]
