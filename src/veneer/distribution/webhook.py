"""A message POSTed to a URL that somebody chose, without letting it be sent where he must not reach.

The host's addresses are looked up once for each try, all of them are checked, and the connection goes to the very
address that was checked: a name that means a public address when it is asked about and 127.0.0.1 when it is connected
to gains nothing.  Redirects are not followed, proxies are not used, and nothing of the answer but its status is read.
Source: RFC 6890 and the IANA registries behind `ipaddress` for what is public; RFC 2104 for the signature.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import socket
import threading
from collections.abc import Callable, Mapping, Sequence

from veneer.distribution.hosts import Origin, origin_of
from veneer.distribution.retry import RETRY_STATUSES, Attempts, Clock, Policy
from veneer.distribution.transport import explain
from veneer.errors import Denied, InvalidRequest, Unavailable, VeneerError
from veneer.values import Value

POLICY = Policy(tries=5, first_wait=1.0, longest_wait=60.0, waits_in_all=180.0)
CONNECT_SECONDS, READ_SECONDS = 10.0, 15.0
SIGNATURE, TIMESTAMP = "X-Veneer-Signature-256", "X-Veneer-Timestamp"
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Sequence[str]]
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_UNICAST = ipaddress.IPv6Network("2000::/3")
"""All that IANA hands out of IPv6 for hosts of the open network."""


class BadWebhook(InvalidRequest):
    """A text that is no URL to send a message to."""


class UnsafeTarget(Denied):
    """A URL whose host is, or may be, inside this network."""


class WebhookFailed(Unavailable):
    """Nobody took the message; the message of the error has the status."""


class _Later(WebhookFailed):
    """A failure that may be over soon; `retry_after` is the header, if there was one."""

    def __init__(self, message: str, retry_after: str | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Webhook(Value):
    """Where messages go.  `secret` signs them (b"": not at all); `private`: hosts of this network may be it."""

    __slots__ = ()
    url: str
    secret: bytes = b""
    private: bool = False


def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host, by the system's resolver."""
    return list(dict.fromkeys(str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))


def checked(url: str) -> Origin:
    """The origin of a webhook's URL.  Raises BadWebhook."""
    from urllib.parse import urlsplit

    try:
        if not url.isascii() or any(char <= " " or char == "\x7f" for char in url):
            raise ValueError
        origin = origin_of(url)
    except ValueError:
        raise BadWebhook(f"{shown(url)}: not an http or https URL") from None
    if "@" in urlsplit(url).netloc:
        raise BadWebhook(f"{shown(url)}: a URL with a user in it", hint="messages are signed by --secret-file instead")
    return origin


def is_public(address: Address) -> bool:
    """Whether an address is one host's on the open network, whatever it is wrapped in."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address.teredo:
            return False
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
        if address not in _UNICAST:
            return False  # site-local, IPv4-compatible, translated in this network: `is_global` does not know them all
    return address.is_global and not address.is_multicast


def _address(origin: Origin, hook: Webhook, resolver: Resolve) -> str:
    """The address to connect to.  Raises UnsafeTarget, WebhookFailed."""
    try:
        found = [ipaddress.ip_address(each.partition("%")[0]) for each in resolver(origin.host, origin.port)]
    except (OSError, UnicodeError):
        raise _Later(f"{origin.authority}: no such host") from None
    if not found:
        raise _Later(f"{origin.authority}: no such host")
    for each in found:
        if each.is_multicast or each.is_unspecified or not (hook.private or is_public(each)):
            raise UnsafeTarget(
                f"{origin.authority} is {each}, which is no address of the open network: nothing is sent there",
                hint="--allow-private, if that host is meant",
            )
    return str(found[0])


def signature(secret: bytes, timestamp: str, body: bytes) -> str:
    """`sha256=HEX`: the HMAC of the timestamp, a dot and the body."""
    return "sha256=" + hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def post(
    hook: Webhook,
    body: bytes,
    headers: Mapping[str, str],
    *,
    clock: Clock | None = None,
    stop: threading.Event | None = None,
    policy: Policy = POLICY,
    resolver: Resolve = resolve,
) -> int:
    """Send the JSON `body`; the status of the answer, 200 to 299.

    Tried again, a few times with growing waits, where the host cannot be reached or says "later"; each time its address
    is looked up and checked anew.  Raises BadWebhook, UnsafeTarget, WebhookFailed, TLSRefused, Cancelled.
    """
    clock = clock or Clock()
    origin = checked(hook.url)
    attempts = Attempts(clock, stop or threading.Event(), policy)
    while True:
        try:
            return _once(hook, origin, body, headers, clock, resolver)
        except _Later as error:
            attempts.failed(WebhookFailed(error.message), error.retry_after)


def _once(
    hook: Webhook, origin: Origin, body: bytes, headers: Mapping[str, str], clock: Clock, resolver: Resolve
) -> int:
    import ssl

    import urllib3

    address = _address(origin, hook, resolver)
    timestamp = str(int(clock.time()))
    sent = {"Content-Type": "application/json", "User-Agent": "veneer", "Host": origin.authority, **headers}
    if hook.secret:
        sent |= {TIMESTAMP: timestamp, SIGNATURE: signature(hook.secret, timestamp, body)}
    host = f"[{address}]" if ":" in address else address
    if origin.scheme == "http":
        pool = urllib3.HTTPConnectionPool(host, origin.port)
    else:
        pool = urllib3.HTTPSConnectionPool(
            host, origin.port, ssl_context=ssl.create_default_context(), server_hostname=origin.host
        )
    try:
        answer = pool.urlopen(
            "POST", _target(hook.url), body=body, headers=sent, retries=False, redirect=False,
            timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS),
            preload_content=False, assert_same_host=False,
        )  # fmt: skip
        answer.close()
    except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        raise _failed(error, hook.url) from None
    finally:
        pool.close()
    if 200 <= answer.status < 300:
        return int(answer.status)
    said = f"{shown(hook.url)} answers {answer.status}"
    if answer.status in RETRY_STATUSES:
        raise _Later(said, answer.headers.get("Retry-After"))
    raise WebhookFailed(f"{said}: redirects are not followed" if 300 <= answer.status < 400 else said)


def _failed(error: Exception, url: str) -> VeneerError:
    from veneer.distribution.transport import ConnectionFailed

    told = explain(error, url)
    return _Later(told.message) if isinstance(told, ConnectionFailed) else told


def _target(url: str) -> str:
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def shown(url: str) -> str:
    """A webhook's URL for people: only its host, for path and query are often the password."""
    try:
        return origin_of(url).authority
    except ValueError:
        return repr(url[:60])
