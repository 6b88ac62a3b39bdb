"""Talking to one registry server: which of its URLs answers, who we are there, and trying again.

A session finds out with `GET /v2/` whether the server speaks https or (where allowed) http and what it wants to know
about us; tokens are then fetched per scope set and kept until they expire.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urljoin

from veneer.distribution.auth import (
    MAX_TOKEN_ANSWER,
    AuthenticationRequired,
    BasicHeader,
    Challenge,
    Credentials,
    Token,
    TokenCache,
    next_request,
    parse_challenges,
    read_token,
)  # fmt: skip
from veneer.distribution.hosts import Endpoint, Origin, origin_of
from veneer.distribution.retry import RETRY_STATUSES, Attempts, Clock, Notice, Policy, check, no_notice
from veneer.distribution.transport import (
    READ_TIMEOUT,
    BadRedirect,
    ConnectionFailed,
    Response,
    TLSRefused,
    Transport,
    Unreachable,
)  # fmt: skip
from veneer.errors import Denied, NotFound, Unavailable, VeneerError
from veneer.oci import strictjson

MAX_AUTH_ROUNDS = 2
MAX_REFUSAL = 64 << 10
T = TypeVar("T")
BodyFactory = Callable[[], Iterable[bytes]]
"""Gives the body anew, for it may have to be sent more than once."""


class NotARegistry(Unavailable):
    """A server that does not know the registry API."""


class AccessDenied(Denied):
    """The registry knows who asks, and says no."""


class NotInRegistry(NotFound):
    """The registry has no such repository, manifest or blob."""


class RegistryRefused(Unavailable):
    """The registry does not take what was asked or sent."""


class TryAgain(Unavailable):
    """The registry cannot answer now.  `retry_after` is its Retry-After header, if it sent one."""

    def __init__(self, message: str, retry_after: str | None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a registry said instead of doing it: the HTTP status and its error codes, if it named any."""

    status: int
    codes: frozenset[str]
    text: str
    missing: tuple[str, ...] = ()
    """Digests of blobs it says it lacks."""


@dataclass(frozen=True, slots=True)
class Document:
    """A small answer, whole: its bytes, its headers, and the URL it came from."""

    raw: bytes
    headers: Mapping[str, str]
    url: str

    @property
    def media_type(self) -> str:
        return self.headers.get("Content-Type", "").partition(";")[0].strip()


@dataclass
class Effort:
    """How one operation (a pull, a push) goes about its requests; shared by all its threads."""

    clock: Clock = field(default_factory=Clock)
    policy: Policy = field(default_factory=Policy)
    stop: threading.Event = field(default_factory=threading.Event)
    notice: Notice = no_notice

    def attempts(self) -> Attempts:
        return Attempts(self.clock, self.stop, self.policy, lambda seconds, reason: self.notice(seconds, reason))


class Session:
    """Requests to one registry server; safe to use from several threads.

    `registry` is the host as in image names, `candidates` where it may be served, `who` looks credentials up.
    """

    def __init__(
        self,
        registry: str,
        candidates: Sequence[Endpoint],
        transport: Transport,
        who: Callable[[str], Credentials | None],
        effort: Effort,
    ) -> None:
        self.registry = registry
        self.effort = effort
        self._candidates, self._transport, self._who = tuple(candidates), transport, who
        self._lock = threading.RLock()
        self._endpoint: Endpoint | None = None
        self._challenges: list[Challenge] = []
        self._credentials: Credentials | None = None
        self._tokens = TokenCache()
        self._basic = ""

    # -- the server ------------------------------------------------------------------------------------------

    def connect(self) -> Endpoint:
        """The URL that answers.  Raises Unreachable, ConnectionFailed, TLSRefused, TryAgain or NotARegistry."""
        with self._lock:
            if self._endpoint is None:
                self._endpoint = self._find()
            return self._endpoint

    @property
    def origin(self) -> Origin:
        return origin_of(self.connect().url)

    def use(self, credentials: Credentials) -> None:
        """Be `credentials` from now on, whatever the credential file says."""
        with self._lock:
            self._credentials, self._who = credentials, lambda _: credentials
            self._tokens, self._basic = TokenCache(), ""

    def _find(self) -> Endpoint:
        failure: VeneerError | None = None
        for endpoint in self._candidates:
            try:
                self._challenges = self._ping(endpoint)
                return endpoint
            except (ConnectionFailed, TLSRefused, NotARegistry) as error:
                if failure is None or _told_by(error) > _told_by(failure):
                    failure = error
        raise failure or NotARegistry(f"{self.registry}: no place to ask")

    def _ping(self, endpoint: Endpoint) -> list[Challenge]:
        attempts = self.effort.attempts()
        while True:
            check(self.effort.stop)
            try:
                with self._transport.send("GET", endpoint.url + "/v2/") as response:
                    if response.status in RETRY_STATUSES:
                        raise _try_again(self.registry, response)
                    return self._greeting(response)
            except (TryAgain, ConnectionFailed) as error:
                check(self.effort.stop)
                if isinstance(error, Unreachable) or (
                    isinstance(error, ConnectionFailed) and len(self._candidates) > 1
                ):
                    raise
                if isinstance(error, ConnectionFailed) and error.is_silence and attempts.failures:
                    raise  # half a minute of nothing, twice: it will not speak
                attempts.failed(error, getattr(error, "retry_after", None))

    def _greeting(self, response: Response) -> list[Challenge]:
        if response.status == 401:
            return parse_challenges(response.headers.get("WWW-Authenticate", ""))
        known = "Docker-Distribution-Api-Version" in response.headers
        if response.status in (200, 403) or known:
            return []
        if response.status == 400 and response.origin.scheme == "http":
            raise ConnectionFailed(f"{self.registry}: takes no plain HTTP")
        raise NotARegistry(f"{self.registry}: GET /v2/ answers {response.status}: this is no registry")

    # -- who we are ------------------------------------------------------------------------------------------

    def _authorization(self, scopes: Sequence[str]) -> str:
        with self._lock:
            if not self._challenges:
                return ""
            if self._basic:
                return self._basic
            if known := self._tokens.get(scopes, self.effort.clock.monotonic()):
                return known
            if self._credentials is None:
                self._credentials = self._who(self.registry)
            answer = next_request(self._challenges, self._credentials, scopes, self.origin)
            if isinstance(answer, BasicHeader):
                self._basic = answer.authorization
                return self._basic
            token = self.fetch_token(scopes)
            self._tokens.put(scopes, token.authorization, self.effort.clock.monotonic(), token.lifetime)
            return token.authorization

    def fetch_token(self, scopes: Sequence[str], *, keep: bool = False) -> Token:
        """Ask the token server.  Raises AuthenticationRequired where it refuses us, TryAgain, UntrustedRealm."""
        request = next_request(self._challenges, self._credentials, scopes, self.origin, keep=keep)
        assert not isinstance(request, BasicHeader), "only a bearer challenge has a token server"
        server = origin_of(request.url).authority
        headers = {"Accept": "application/json"}
        if request.form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        method = "GET" if request.form is None else "POST"
        with self._transport.send(
            method, request.url, headers=headers, authorization=request.authorization, body=request.form
        ) as response:
            if response.status in RETRY_STATUSES:
                raise _try_again(server, response)
            if response.status != 200:
                said = read_refusal(response).text
                raise AuthenticationRequired(
                    f"{self.registry}: unauthorized: token server {server} answers {response.status}: {said}",
                    hint=f"veneer login {self.registry}",
                )
            return read_token(response.read_all(MAX_TOKEN_ANSWER, "token answer"), server)

    def login(self) -> Credentials:
        """Try the credentials in use; what to keep of them.  Raises AuthenticationRequired where they are refused."""
        self.connect()
        credentials = self._credentials or Credentials()
        if any(challenge.scheme == "bearer" for challenge in self._challenges):
            token = self.fetch_token((), keep=True)
            self._tokens.put((), token.authorization, self.effort.clock.monotonic(), token.lifetime)
            if token.identity_token:
                credentials = Credentials(credentials.username, identity_token=token.identity_token)
        with self.request("GET", "/v2/", what="login") as response:
            response.finish()
        return credentials

    # -- requests --------------------------------------------------------------------------------------------

    def once(
        self,
        method: str,
        path: str,
        *,
        scopes: Sequence[str] = (),
        headers: Mapping[str, str] | None = None,
        body: BodyFactory | None = None,
        timeout: float = READ_TIMEOUT,
    ) -> Response:
        """One try: send, log in where asked to (two rounds at most), send again.

        `path` is relative to the server or a full URL; our token goes to no other origin.  Any status comes back,
        except those that mean "later": they raise TryAgain.
        """
        endpoint = self.connect()
        # A path of ours stands below the endpoint, which may have a path itself; a Location is resolved as a URL.
        url = endpoint.url + path if path.startswith("/v2/") else urljoin(endpoint.url + "/", path)
        if self.origin.scheme == "https" and not url.startswith("https:"):
            raise BadRedirect(f"{self.registry} sends us from https to {url.partition('?')[0][:200]!r}")
        ours = self._same_origin(url)
        for round_ in range(MAX_AUTH_ROUNDS + 1):
            authorization = self._authorization(scopes) if ours else ""
            response = self._transport.send(
                method, url, headers=headers, authorization=authorization,
                body=body() if body is not None else (b"" if method in ("POST", "PUT", "PATCH") else None),
                timeout=timeout,
            )  # fmt: skip
            if response.status in RETRY_STATUSES:
                with response:
                    raise _try_again(self.registry, response)
            again = response.status == 401 and ours and round_ < MAX_AUTH_ROUNDS
            if not (again and self._same_origin(response.url)) or (self._basic and authorization == self._basic):
                return response
            challenges = parse_challenges(response.headers.get("WWW-Authenticate", ""))
            if not challenges:
                return response
            response.finish()
            with self._lock:
                self._challenges = challenges
                self._tokens.forget(scopes)
        raise AssertionError("the last round returns")

    def _same_origin(self, url: str) -> bool:
        try:
            return origin_of(url) == self.origin
        except ValueError:
            return False

    def request(
        self,
        method: str,
        path: str,
        *,
        what: str,
        expect: Collection[int] = (200,),
        scopes: Sequence[str] = (),
        headers: Mapping[str, str] | None = None,
        body: BodyFactory | None = None,
        timeout: float = READ_TIMEOUT,
    ) -> Response:
        """Send until it is answered, with waits between the tries.

        Raises the error of the last try, or what `refused` makes of a status that is not in `expect`; `what` names
        the thing in errors.
        """
        response = self._persist(
            lambda: self.once(method, path, scopes=scopes, headers=headers, body=body, timeout=timeout)
        )
        if response.status in expect:
            return response
        with response:
            raise refused(self.registry, what, read_refusal(response))

    def read(
        self, path: str, *, what: str, limit: int, scopes: Sequence[str] = (), headers: Mapping[str, str] | None = None
    ) -> Document:
        """GET something small, whole; a body that breaks is asked for again.  Raises as `request`, AnswerTooLarge."""

        def once() -> Document:
            with self.once("GET", path, scopes=scopes, headers=headers) as response:
                if response.status != 200:
                    raise refused(self.registry, what, read_refusal(response))
                return Document(response.read_all(limit, what), response.headers, response.url)

        return self._persist(once)

    def _persist(self, action: Callable[[], T]) -> T:
        """Do it until it does not fail for a reason that passes."""
        attempts = self.effort.attempts()
        while True:
            check(self.effort.stop)
            try:
                return action()
            except (ConnectionFailed, TryAgain) as error:
                check(self.effort.stop)
                if self._endpoint is None:
                    raise  # connecting has tries of its own
                attempts.failed(error, getattr(error, "retry_after", None))


def _told_by(failure: VeneerError) -> int:
    """How much a failure says about the server: the one that got furthest most, "connection refused" least."""
    kinds = (Unreachable, ConnectionFailed, TLSRefused)
    return next((rank for rank, kind in enumerate(kinds) if isinstance(failure, kind)), len(kinds))


def read_refusal(response: Response) -> Refusal:
    """Why a registry said no.  Source: OCI distribution spec, Error Codes."""
    try:
        raw = response.read_all(MAX_REFUSAL, "error answer")
        errors: Any = strictjson.loads(raw, "error answer").get("errors")
    except VeneerError:
        errors = None
    codes: list[str] = []
    texts: list[str] = []
    missing: list[str] = []
    for error in errors if isinstance(errors, list) else []:
        if not isinstance(error, dict):
            continue
        code, message, detail = str(error.get("code") or ""), str(error.get("message") or ""), error.get("detail")
        codes.append(code.upper())
        texts.append(": ".join(filter(None, (code.lower().replace("_", " "), message)))[:300])
        if isinstance(detail, dict) and isinstance(detail.get("digest"), str):
            missing.append(detail["digest"])
    text = "; ".join(texts[:5]) or f"HTTP status {response.status}"
    # A stranger's words stand in our messages: nothing in them moves a cursor.
    text = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
    return Refusal(response.status, frozenset(codes), text, tuple(missing))


def refused(registry: str, what: str, refusal: Refusal) -> VeneerError:
    """The error for a request about `what` that `registry` answered with `refusal`."""
    message = f"{registry}: {what}: {refusal.text}"
    if refusal.status == 401:
        return AuthenticationRequired(message, hint=f"veneer login {registry}")
    if refusal.status == 403:
        return AccessDenied(message, hint=f"log in as somebody who may: veneer login {registry}")
    if refusal.status == 404:
        return NotInRegistry(message)
    return RegistryRefused(f"{message} (HTTP {refusal.status})")


def _try_again(server: str, response: Response) -> TryAgain:
    retry_after = response.headers.get("Retry-After")
    return TryAgain(f"{server} answers {response.status}: {read_refusal(response).text}", retry_after)
