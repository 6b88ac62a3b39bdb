"""How to answer a registry that asks who is there: decided without I/O.

`parse_challenges` reads WWW-Authenticate, `next_request` says what to send next, `read_token` reads the answer.
Sources: RFC 9110 section 11.6.1, RFC 6750, distribution docs/spec/auth/{token,oauth}.md.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlsplit

from veneer.distribution.hosts import Origin, is_loopback, is_private_address
from veneer.errors import Denied, Unauthorized, Unavailable
from veneer.oci import strictjson

MAX_HEADER = 8 << 10
MAX_TOKEN_ANSWER = 1 << 20
MAX_TOKEN = 64 << 10
DEFAULT_LIFETIME = 60
"""Seconds a token lives when its server does not say; the figure of the token specification."""
CLIENT_ID = "veneer"

_TOKEN_CHARS = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


class AuthenticationRequired(Unauthorized):
    """The registry wants credentials and there are none, or it refuses those there are."""


class UntrustedRealm(Denied):
    """A registry points at a token server that must not be asked."""


class BadTokenAnswer(Unavailable):
    """A token server's answer holds no usable token."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user name with a password, or an identity token (an OAuth2 refresh token).  Secrets stay out of `repr`."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)

    @property
    def basic(self) -> str:
        """The value of an Authorization header."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way in that a registry offers: the scheme in lower case and its parameters, names in lower case."""

    scheme: str
    parameters: dict[str, str]


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """Ask the token server: GET `url`, or POST `form` to it where `form` is not None."""

    url: str
    authorization: str = field(default="", repr=False)
    form: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class BasicHeader:
    """Send the request again with this Authorization header."""

    authorization: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Token:
    """What a token server gave: the bearer token, seconds it is good for, and maybe an identity token to keep."""

    value: str = field(repr=False)
    lifetime: float = DEFAULT_LIFETIME
    identity_token: str = field(default="", repr=False)

    @property
    def authorization(self) -> str:
        return "Bearer " + self.value


def repository_scope(repository: str, *actions: str) -> str:
    """The scope that grants `actions` ("pull", "push") on `repository`."""
    return f"repository:{repository}:{','.join(actions)}"


def parse_challenges(header: str) -> list[Challenge]:
    """Read WWW-Authenticate (several headers joined by commas), in the order sent; unknown schemes included.

    One pass, linear in the header's length; what makes no sense is skipped.  A header over 8 KiB yields nothing.
    """
    if len(header) > MAX_HEADER:
        return []
    found: list[Challenge] = []
    position, end = 0, len(header)
    while position < end:
        if header[position] not in _TOKEN_CHARS:
            position += 1
            continue
        word, position = _token(header, position)
        after = _skip_space(header, position)
        if after < end and header[after] == "=" and found:
            value, position = _value(header, _skip_space(header, after + 1))
            found[-1].parameters.setdefault(word.lower(), value)
        else:
            found.append(Challenge(word.lower(), {}))
    return found


def _token(text: str, position: int) -> tuple[str, int]:
    start = position
    while position < len(text) and text[position] in _TOKEN_CHARS:
        position += 1
    return text[start:position], position


def _skip_space(text: str, position: int) -> int:
    while position < len(text) and text[position] in " \t":
        position += 1
    return position


def _value(text: str, position: int) -> tuple[str, int]:
    if position >= len(text) or text[position] != '"':
        # Some registries leave a URL unquoted, which the grammar forbids.
        start = position
        while position < len(text) and text[position] not in ", \t":
            position += 1
        return text[start:position], position
    position += 1
    parts: list[str] = []
    while position < len(text) and text[position] != '"':
        if text[position] == "\\" and position + 1 < len(text):
            position += 1
        parts.append(text[position])
        position += 1
    return "".join(parts), position + 1


def next_request(
    challenges: Sequence[Challenge],
    credentials: Credentials | None,
    scopes: Sequence[str],
    origin: Origin,
    *,
    keep: bool = False,
) -> TokenRequest | BasicHeader:
    """What to send to get past `challenges` of the registry at `origin`.

    Bearer is taken before Basic.  `scopes` name what is wanted; the challenge's own scope counts where there are
    none.  `keep` asks for an identity token as well, as a login does.  Raises AuthenticationRequired where only
    credentials would help and there are none, UntrustedRealm where the token server must not be asked.
    """
    by_scheme = {challenge.scheme: challenge for challenge in reversed(challenges)}
    if bearer := by_scheme.get("bearer"):
        return _token_request(bearer, credentials, scopes, origin, keep=keep)
    if "basic" in by_scheme:
        if credentials is None or credentials.identity_token:
            raise AuthenticationRequired(
                f"{origin.authority}: no basic auth credentials", hint=f"veneer login {origin.authority}"
            )
        return BasicHeader(credentials.basic)
    offered = ", ".join(sorted(by_scheme))[:200] or "nothing readable"
    raise AuthenticationRequired(f"{origin.authority} asks for an authentication veneer does not know: {offered}")


def _token_request(
    bearer: Challenge, credentials: Credentials | None, scopes: Sequence[str], origin: Origin, *, keep: bool
) -> TokenRequest:
    realm = bearer.parameters.get("realm", "")
    check_realm(realm, origin)
    if not scopes and (theirs := bearer.parameters.get("scope")):
        scopes = theirs.split(" ")
    query: list[tuple[str, str]] = []
    if service := bearer.parameters.get("service"):
        query.append(("service", service))
    if credentials is not None and credentials.identity_token:
        query += [("client_id", CLIENT_ID), ("grant_type", "refresh_token")]
        query += [("refresh_token", credentials.identity_token), ("scope", " ".join(scopes))]
        return TokenRequest(realm, form=urlencode(query).encode())
    query += [("scope", scope) for scope in scopes]
    if credentials is not None:
        query.append(("account", credentials.username))
    if keep:
        query += [("client_id", CLIENT_ID), ("offline_token", "true")]
    joint = "&" if "?" in realm else "?"
    url = realm + joint + urlencode(query) if query else realm
    return TokenRequest(url, authorization=credentials.basic if credentials is not None else "")


def check_realm(realm: str, origin: Origin) -> None:
    """Raise UntrustedRealm unless the token server `realm` may be asked on behalf of the registry at `origin`.

    A realm is https; plain http only where the registry itself is plain http, on the same host or both on loopback
    addresses.  An address of a private, loopback or link-local network is refused unless it is the registry's own
    host: otherwise a registry could make us ask whatever listens next to us (CVE-2020-15157's family).
    """

    def refuse(reason: str) -> UntrustedRealm:
        return UntrustedRealm(f"{origin.authority} sends us to the token server {realm[:200]!r}: {reason}",
                              hint="credentials were not sent; ask who runs this registry")  # fmt: skip

    if not realm.isascii() or any(ord(char) <= 0x20 for char in realm):
        raise refuse("not a URL")
    try:
        parts = urlsplit(realm)
        host = parts.hostname or ""
        port = parts.port
    except ValueError:
        raise refuse("not a URL") from None
    if parts.scheme not in ("https", "http") or not host or port == 0:
        raise refuse("not an http or https URL")
    if parts.username is not None or parts.password is not None:
        raise refuse("it carries a user name of its own")
    if parts.fragment:
        raise refuse("it carries a fragment")
    both_here = is_loopback(host) and is_loopback(origin.host)
    if host == origin.host or both_here:
        if parts.scheme == "http" and origin.scheme != "http":
            raise refuse("plain http, although the registry itself speaks https")
        return
    if parts.scheme != "https":
        raise refuse("plain http on another host")
    if is_loopback(host) or is_private_address(host):
        raise refuse("an address of a private network")


def read_token(raw: bytes, server: str) -> Token:
    """Read a token server's answer; both `token` and `access_token` are understood.  Raises BadTokenAnswer."""
    if len(raw) > MAX_TOKEN_ANSWER:
        raise BadTokenAnswer(f"{server}: the token answer is larger than {MAX_TOKEN_ANSWER} bytes")
    try:
        document = strictjson.loads(raw, "token answer")
    except strictjson.InvalidDocument as error:
        raise BadTokenAnswer(f"{server}: {error.message}") from None
    value = document.get("token") or document.get("access_token")
    if not isinstance(value, str) or not _is_header_text(value):
        raise BadTokenAnswer(f"{server}: the answer holds no token")
    lifetime = document.get("expires_in")
    if not isinstance(lifetime, int | float) or isinstance(lifetime, bool) or not 0 < lifetime < 1e9:
        lifetime = DEFAULT_LIFETIME
    refresh = document.get("refresh_token")
    keep = refresh if isinstance(refresh, str) and len(refresh) <= MAX_TOKEN else ""
    # `issued_at` is left alone: it is their clock, and ours may be ten years off.
    return Token(value, float(lifetime), keep)


def _is_header_text(text: str) -> bool:
    return 0 < len(text) <= MAX_TOKEN and text.isascii() and all(0x21 <= ord(char) <= 0x7E for char in text)


class TokenCache:
    """Authorization headers by scope set, until they expire by the monotonic clock.

    Not locked: a dict's get and set are atomic, and two threads fetching the same token is harmless.
    """

    def __init__(self) -> None:
        self._known: dict[frozenset[str], tuple[str, float]] = {}

    def get(self, scopes: Sequence[str], now: float) -> str:
        """The header for exactly these scopes, or "" if there is none that is good for some seconds more."""
        authorization, until = self._known.get(frozenset(scopes), ("", 0.0))
        return authorization if now < until else ""

    def put(self, scopes: Sequence[str], authorization: str, now: float, lifetime: float) -> None:
        margin = min(10.0, lifetime / 4)
        self._known[frozenset(scopes)] = (authorization, now + lifetime - margin)

    def forget(self, scopes: Sequence[str]) -> None:
        self._known.pop(frozenset(scopes), None)
