"""Registries and what can be asked of one: resolve a name, fetch a manifest or a blob, send them.

Source: OCI distribution-spec v1.1 (end-1 to end-10); docker.io's habits as moby's.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from urllib.parse import urljoin

from veneer.config import Config
from veneer.distribution.auth import AuthenticationRequired, Credentials, repository_scope
from veneer.distribution.credentials import CredentialFile
from veneer.distribution.hosts import Endpoint, check_foreign_url, endpoints, mirror_endpoints, origin_of
from veneer.distribution.naming import naming
from veneer.distribution.retry import RETRY_STATUSES, Clock, Policy
from veneer.distribution.session import (
    AccessDenied,
    Effort,
    NotInRegistry,
    Session,
    TryAgain,
    read_refusal,
    refused,
)
from veneer.distribution.transport import CERTIFICATES, Response, Transport
from veneer.errors import Corrupt, VeneerError
from veneer.oci import strictjson
from veneer.oci.digest import BlobDigest, Digest, InvalidDigest
from veneer.oci.manifest import ACCEPT, Descriptor
from veneer.oci.reference import InvalidReference, Reference, is_tag

MAX_TAGS = 100_000
MAX_PAGES = 1000
CATALOG_SCOPE = "registry:catalog:*"
"""Source: distribution's docs, token scopes."""
_ACCEPT = {"Accept": ", ".join(ACCEPT)}


class WrongDigest(Corrupt):
    """A registry sent bytes that are not what their digest says."""


class BadTagList(Corrupt):
    """A registry's list of tags or of repositories that has something else in it, or no end."""


class Registry:
    """What one server holds.  Its methods may be called from several threads."""

    def __init__(self, session: Session, *, mirror: bool = False) -> None:
        self.session = session
        self.mirror = mirror

    @property
    def host(self) -> str:
        """The registry's name, as in image names."""
        return self.session.registry

    def ping(self) -> None:
        """Raise what stands in the way of talking to it."""
        self.session.connect()

    # -- reading ---------------------------------------------------------------------------------------------

    def resolve(self, reference: Reference) -> Descriptor:
        """What the name points at now, by HEAD; by GET where the registry's HEAD tells too little.

        Raises NotInRegistry or AccessDenied in docker's words.
        """
        with naming(reference):
            return self._resolved(reference, str(reference.digest or reference.tag))

    def _resolved(self, reference: Reference, target: str) -> Descriptor:
        try:
            with self.session.request(
                "HEAD", f"/v2/{reference.repository}/manifests/{target}", what=f"manifest for {reference.familiar}",
                scopes=(repository_scope(reference.repository, "pull"),), headers=_ACCEPT,
            ) as response:  # fmt: skip
                response.finish()
        except (NotInRegistry, AuthenticationRequired, AccessDenied):
            # A HEAD has no body to say why; the GET below has.
            return self._described(reference, target)
        length = response.headers.get("Content-Length", "")
        try:
            digest = BlobDigest(Digest.parse(response.headers.get("Docker-Content-Digest", "")))
        except InvalidDigest:
            digest = None
        if digest is None or not (length.isascii() and length.isdigit()):
            return self._described(reference, target)
        self._same(reference.digest, digest, f"{reference.familiar} is named by one digest and served as another")
        return Descriptor(response.headers.get("Content-Type", "").partition(";")[0].strip(), digest, int(length))

    def _described(self, reference: Reference, target: str) -> Descriptor:
        raw, media_type = self.manifest(reference.repository, target, reference)
        return Descriptor(media_type, BlobDigest(Digest.of(raw)), len(raw))

    def manifest(self, repository: str, target: str, reference: Reference | None = None) -> tuple[bytes, str]:
        """The manifest or index `target` (a tag or digest): its bytes, verified, and what the server calls them.

        A body that is not what its digest says is fetched once more, then WrongDigest names host and digest.
        """
        wanted = Digest.parse(target) if ":" in target else None
        name = reference.familiar if reference is not None else f"{repository}@{target}"
        for last in (False, True):
            with self._in_dockers_words(repository, name):
                got = self.session.read(
                    f"/v2/{repository}/manifests/{target}", what=f"manifest for {name}",
                    limit=strictjson.MAX_DOCUMENT, scopes=(repository_scope(repository, "pull"),), headers=_ACCEPT,
                )  # fmt: skip
            try:
                self._verify(got.raw, wanted, got.headers.get("Docker-Content-Digest", ""), f"manifest of {repository}")
            except WrongDigest:
                if last:
                    raise
            else:
                return got.raw, got.media_type
        raise AssertionError("the last round returns or raises")

    def _verify(self, raw: bytes, wanted: Digest | None, claimed: str, what: str) -> None:
        import hashlib

        expected = wanted
        if expected is None:
            try:
                expected = Digest.parse(claimed) if claimed else None
            except InvalidDigest:
                raise WrongDigest(f"{self.host}: {what}: Docker-Content-Digest is {claimed[:100]!r}") from None
        if expected is not None:
            found = Digest(f"{expected.algorithm}:{hashlib.new(expected.algorithm, raw).hexdigest()}")
            self._same(expected, found, f"{what}: wrong bytes")

    def _same(self, expected: Digest | None, found: Digest, what: str) -> None:
        if expected is not None and found != expected:
            raise WrongDigest(
                f"{self.host}: {what}: want {expected}, got {found}", hint="try again; if it stays, ask who runs it"
            )

    @contextlib.contextmanager
    def _in_dockers_words(self, repository: str, name: str) -> Iterator[None]:
        """What the registry says no with, as docker tells it."""
        try:
            yield
        except NotInRegistry as error:
            if "name unknown" in error.message:
                raise self._no_access(error, repository) from None
            said = error.message.removeprefix(f"{self.host}: manifest for {name}: ").removeprefix("manifest unknown: ")
            raise NotInRegistry(f"manifest for {name} not found: manifest unknown: {said}") from None
        except (AccessDenied, AuthenticationRequired) as error:
            raise self._no_access(error, repository) from None

    def _no_access(self, error: VeneerError, repository: str) -> VeneerError:
        name = Reference(self.host, repository).familiar_name
        return type(error)(
            f"pull access denied for {name}, repository does not exist or may require 'docker login': {error.message}",
            hint=error.hint or f"veneer login {self.host}",
        )

    def open_blob(self, repository: str, descriptor: Descriptor, offset: int = 0) -> Response:
        """One try at a blob, from byte `offset` on: status 200 (whole) or 206 (the part).

        Redirects are followed, without our token.  Raises TryAgain, ConnectionFailed, NotInRegistry, ...
        """
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        response = self.session.once(
            "GET", f"/v2/{repository}/blobs/{descriptor.digest}",
            scopes=(repository_scope(repository, "pull"),), headers=headers,
        )  # fmt: skip
        if response.status in (200, 206):
            return response
        with response:
            raise refused(self.host, f"blob {descriptor.digest} of {repository}", read_refusal(response))

    def blob(self, repository: str, descriptor: Descriptor, limit: int = strictjson.MAX_DOCUMENT) -> bytes:
        """A small blob (a config), whole and verified.  One second try where its bytes are wrong."""
        what = f"blob {descriptor.digest} of {repository}"
        if descriptor.size > limit:
            raise WrongDigest(f"{self.host}: {what}: {descriptor.size} bytes, more than the {limit} allowed")
        for last in (False, True):
            raw = self.session.read(
                f"/v2/{repository}/blobs/{descriptor.digest}", what=what, limit=descriptor.size,
                scopes=(repository_scope(repository, "pull"),),
            ).raw  # fmt: skip
            try:
                self._verify(raw, descriptor.digest, "", what)
            except WrongDigest:
                if last:
                    raise
            else:
                return raw
        raise AssertionError("the last round returns or raises")

    def has_blob(self, repository: str, digest: BlobDigest, *actions: str) -> bool:
        """Whether the repository holds the blob; `actions` are those the token is to grant besides "pull"."""
        with self.session.request(
            "HEAD", f"/v2/{repository}/blobs/{digest}", what=f"blob {digest} of {repository}", expect=(200, 404),
            scopes=(repository_scope(repository, "pull", *actions),),
        ) as response:  # fmt: skip
            found = response.status == 200
            response.finish()
            return found

    def tags(self, repository: str) -> list[str]:
        """Every tag of the repository, each once, in the registry's order.

        Raises BadTagList for what is none: no list of names, or one without end.
        """
        return self._names(f"/v2/{repository}/tags/list", "tags", f"tags of {repository}",
                           repository_scope(repository, "pull"), is_tag)  # fmt: skip

    def catalog(self) -> list[str]:
        """Every repository that the registry tells of, where it tells any.

        Raises BadTagList as `tags` does; AccessDenied, NotInRegistry and others where a registry has no such list.
        """
        return self._names("/v2/_catalog", "repositories", "repositories", CATALOG_SCOPE, _is_repository)

    def _names(self, path: str, key: str, what: str, scope: str, valid: Callable[[str], bool]) -> list[str]:
        """The names under `key` of a list that may have several pages."""
        names: dict[str, None] = {}
        pages = 0
        while path:
            page = self.session.read(path, what=what, limit=strictjson.MAX_DOCUMENT, scopes=(scope,))
            following = _next_link(page.headers.get("Link", ""))
            listed = strictjson.loads(page.raw, f"{self.host}: {what}").get(key) or []
            if not isinstance(listed, list) or not all(isinstance(name, str) and valid(name) for name in listed):
                raise BadTagList(f"{self.host}: {what}: what the registry lists are not {key}")
            before, pages = len(names), pages + 1
            names.update(dict.fromkeys(listed))
            path = urljoin(page.url, following) if following and listed else ""
            if (path and len(names) == before) or len(names) > MAX_TAGS or pages > MAX_PAGES:
                raise BadTagList(f"{self.host}: {what}: the registry's list does not end")
        return list(names)

    def login(self, credentials: Credentials) -> Credentials:
        """Try `credentials`; what to keep of them (an identity token, where the registry gives one).

        Raises AuthenticationRequired where the registry refuses them.
        """
        self.session.use(credentials)
        try:
            return self.session.login()
        except AuthenticationRequired as error:
            raise AuthenticationRequired(error.message, hint="check the user name and the password") from None


def _is_repository(name: str) -> bool:
    try:
        reference = Reference.parse(f"localhost/{name}")
    except InvalidReference:
        return False
    return reference.repository == name and reference.tag is None and reference.digest is None


def _next_link(header: str) -> str:
    """The target of `<URL>; rel="next"`.  Source: RFC 8288; OCI distribution spec, Listing Tags."""
    target, _, parameters = header.partition(";")
    if "next" in parameters and target.strip().startswith("<") and target.strip().endswith(">"):
        return target.strip()[1:-1]
    return ""


class Registries:
    """Every registry one operation talks to.  Use it in a `with`.

    `effort` says how stubborn to be and is told to stop; `certificates` is a folder like /etc/docker/certs.d.
    """

    def __init__(
        self,
        config: Config,
        *,
        clock: Clock | None = None,
        policy: Policy | None = None,
        certificates: Path = CERTIFICATES,
    ) -> None:
        self.config = config
        self.effort = Effort(clock or Clock(), policy or Policy())
        self.credentials = CredentialFile(config.docker_config)
        self._transport = Transport(frozenset(config.insecure_registries), certificates)
        self._known: dict[str, Registry] = {}
        self._lock = threading.Lock()

    def registry(self, host: str) -> Registry:
        """The registry itself, for pushing as well as pulling."""
        return self._get(host, host, endpoints(host, self.config.insecure_registries), mirror=False)

    def sources(self, host: str) -> list[Registry]:
        """Who may serve a pull from `host`: its mirrors, in the order configured, then itself."""
        found: list[Registry] = []
        for place in mirror_endpoints(host, self.config.mirrors, self.config.insecure_registries):
            key = f"{place.url} for {host}"
            found.append(self._get(key, origin_of(place.url).authority, (place,), mirror=True))
        return [*found, self.registry(host)]

    def _get(self, key: str, name: str, places: Sequence[Endpoint], *, mirror: bool) -> Registry:
        with self._lock:
            if key not in self._known:
                session = Session(name, places, self._transport, self.credentials.get, self.effort)
                self._known[key] = Registry(session, mirror=mirror)
            return self._known[key]

    def open_url(self, url: str, host: str, offset: int = 0) -> Response:
        """One try at what a foreign layer's `url` names, from byte `offset` on; nobody's credentials go there.

        `host` is the registry whose image names it: a public one may not send us into a private network.
        """
        check_foreign_url(url, host)
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        response = self._transport.send("GET", url, headers=headers)
        if response.status in (200, 206):
            return response
        with response:
            place = response.origin.authority
            if response.status in RETRY_STATUSES:
                raise TryAgain(f"{place} answers {response.status}", response.headers.get("Retry-After"))
            raise refused(place, f"layer {url.partition('?')[0][:200]}", read_refusal(response))

    def tags(self, reference: Reference) -> list[str]:
        """Every tag of the reference's repository."""
        with naming(reference):
            return self.registry(reference.registry).tags(reference.repository)

    def login(self, host: str, credentials: Credentials) -> str:
        """Check credentials with the registry and keep them; returns where they are kept."""
        kept = self.registry(host).login(credentials)
        return self.credentials.set(host, kept)

    def logout(self, host: str) -> bool:
        """Forget the credentials for a registry; False if there were none."""
        return self.credentials.erase(host)

    def stop(self) -> None:
        """Make every request under way fail soon, whoever waits for it."""
        self.effort.stop.set()
        self._transport.abort()

    def close(self) -> None:
        self._transport.close()

    def __enter__(self) -> Registries:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
