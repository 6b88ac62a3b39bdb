"""Docker's config.json: who we are at which registry, read and written as docker does.

Secrets live in the file (`auths`) or with a credential helper (`credHelpers`, `credsStore`).  Whatever else the file
holds stays as it is.  Source: docker/cli cli/config/configfile/file.go, cli/config/credentials/*.go,
docker/docker-credential-helpers.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from pathlib import Path
from typing import Any

from veneer.distribution.auth import Credentials
from veneer.errors import InvalidRequest, Unavailable
from veneer.oci import strictjson
from veneer.oci.reference import DEFAULT_REGISTRY

DOCKER_HUB_KEY = "https://index.docker.io/v1/"
HELPER_TIMEOUT = 60
"""Seconds a credential helper may take; some of them ask the user."""
_TOKEN_USER = "<token>"
"""What helpers call the user of an identity token."""
_HELPER_NAME = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")
_NOT_THERE = "credentials not found in native keychain"


class BadCredentialFile(InvalidRequest):
    """A config.json that cannot be read as one."""


class BadCredentialHelper(InvalidRequest):
    """A credential helper's name that could name any program."""


class CredentialHelperFailed(Unavailable):
    """A credential helper that is missing or did not do what it was asked."""


def key_of(registry: str) -> str:
    """The name docker files a registry under: the host, except for Docker Hub."""
    return DOCKER_HUB_KEY if registry in (DEFAULT_REGISTRY, "index.docker.io") else registry


def _host_of_key(key: str) -> str:
    """The host of a key, which old versions of docker wrote as a URL."""
    return key.removeprefix("https://").removeprefix("http://").partition("/")[0]


class CredentialFile:
    """The config.json at `path`; it need not be there.  Read anew at each call, for other programs write it too."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def get(self, registry: str) -> Credentials | None:
        """Who we are at `registry`; None if nobody logged in.

        Raises BadCredentialFile, BadCredentialHelper or CredentialHelperFailed; no message holds a secret.
        """
        document = self._read()
        key = key_of(registry)
        if helper := self._helper(document, key):
            return _ask_helper(helper, key)
        return self._from_file(document, key)

    def set(self, registry: str, credentials: Credentials) -> str:
        """Keep credentials; returns where: the helper's program or the file's path."""
        document = self._read()
        key = key_of(registry)
        auths = self._auths(document)
        if helper := self._helper(document, key):
            secret = credentials.identity_token or credentials.password
            user = _TOKEN_USER if credentials.identity_token else credentials.username
            _run_helper(helper, "store", json.dumps({"ServerURL": key, "Username": user, "Secret": secret}))
            auths[key] = {}
            self._write(document, auths)
            return _program(helper)
        entry = {"auth": base64.b64encode(f"{credentials.username}:{credentials.password}".encode()).decode()}
        if credentials.identity_token:
            entry = {"auth": base64.b64encode(f"{credentials.username}:".encode()).decode(),
                     "identitytoken": credentials.identity_token}  # fmt: skip
        auths[key] = entry
        self._write(document, auths)
        return str(self.path)

    def erase(self, registry: str) -> bool:
        """Forget `registry`; False if nothing was kept for it."""
        document = self._read()
        key = key_of(registry)
        auths = self._auths(document)
        doomed = [known for known in auths if known == key or _host_of_key(known) == _host_of_key(key)]
        if helper := self._helper(document, key):
            known = bool(doomed) or _ask_helper(helper, key) is not None
            if known:
                _run_helper(helper, "erase", key)
        else:
            known = bool(doomed)
        for name in doomed:
            del auths[name]
        if doomed:
            self._write(document, auths)
        return known

    def _from_file(self, document: dict[str, Any], key: str) -> Credentials | None:
        auths = self._auths(document)
        entry = auths.get(key)
        if entry is None:
            host = _host_of_key(key)
            entry = next((value for name, value in auths.items() if _host_of_key(name) == host), None)
        if not isinstance(entry, dict):
            return None
        username, password = _text(entry, "username"), _text(entry, "password")
        if encoded := _text(entry, "auth"):
            try:
                username, colon, password = base64.b64decode(encoded, validate=True).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError):
                colon = ""
            if not colon:
                raise BadCredentialFile(f"{self.path}: the auth of {key} is not base64 of user:password",
                                        hint=f"veneer logout {_host_of_key(key)}, then veneer login")  # fmt: skip
            password = password.strip("\x00")
        token = _text(entry, "identitytoken")
        if not username and not token:
            return None
        return Credentials(username, password, token)

    def _helper(self, document: dict[str, Any], key: str) -> str:
        helpers = document.get("credHelpers")
        name = ""
        if isinstance(helpers, dict):
            name = _text(helpers, key) or _text(helpers, _host_of_key(key))
            if not name and key == DOCKER_HUB_KEY:
                name = _text(helpers, DEFAULT_REGISTRY)
        name = name or _text(document, "credsStore")
        # The name becomes part of a program's name, and the file may come from a stranger's repository.
        if name and not _HELPER_NAME.issuperset(name):
            raise BadCredentialHelper(f"{self.path}: {name[:80]!r} is no credential helper's name (a-z, 0-9, -)")
        return name

    def _auths(self, document: dict[str, Any]) -> dict[str, Any]:
        auths = document.get("auths")
        if auths is not None and not isinstance(auths, dict):
            raise BadCredentialFile(f"{self.path}: auths must be an object")
        return auths or {}

    def _read(self) -> dict[str, Any]:
        try:
            raw = self.path.read_bytes()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise BadCredentialFile(f"{self.path}: {error.strerror}") from None
        try:
            return strictjson.loads(raw or b"{}", str(self.path))
        except strictjson.InvalidDocument as error:
            raise BadCredentialFile(error.message) from None

    def _write(self, document: dict[str, Any], auths: dict[str, Any]) -> None:
        if auths or "auths" in document:
            document["auths"] = auths
        # Written through a symlink, as docker does: people keep the file among their dotfiles.
        target = Path(os.path.realpath(self.path))
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        scratch = target.with_name(f".{target.name}.{os.urandom(6).hex()}")
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(json.dumps(document, indent="\t", ensure_ascii=False))
                file.flush()
                os.fsync(file.fileno())
            scratch.replace(target)
        except BaseException:
            scratch.unlink(missing_ok=True)
            raise


def _text(document: dict[str, Any], key: str) -> str:
    value = document.get(key)
    return value if isinstance(value, str) else ""


def _program(helper: str) -> str:
    return f"docker-credential-{helper}"


def _ask_helper(helper: str, key: str) -> Credentials | None:
    answer = _run_helper(helper, "get", key)
    if answer is None:
        return None
    try:
        document = strictjson.loads(answer.encode(), _program(helper))
    except strictjson.InvalidDocument:
        # The answer may hold the secret, so not even its error may quote it.
        raise CredentialHelperFailed(f"{_program(helper)} get: the answer is not a JSON object") from None
    username, secret = _text(document, "Username"), _text(document, "Secret")
    if not secret:
        return None
    return Credentials(identity_token=secret) if username == _TOKEN_USER else Credentials(username, secret)


def _run_helper(helper: str, action: str, stdin: str) -> str | None:
    """Run a helper; its stdout, or None where it says that it knows nothing.  Raises CredentialHelperFailed."""
    import subprocess

    program = _program(helper)
    try:
        done = subprocess.run([program, action], input=stdin, capture_output=True, text=True, timeout=HELPER_TIMEOUT)
    except FileNotFoundError:
        raise CredentialHelperFailed(f"credential helper {program} is not on PATH",
                                     hint="install it, or take it out of docker's config.json") from None  # fmt: skip
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError) as error:
        raise CredentialHelperFailed(f"{program} {action}: {type(error).__name__}") from None
    if done.returncode == 0:
        return done.stdout
    said = done.stdout.strip() or done.stderr.strip()
    if action == "get" and _NOT_THERE in said.lower():
        return None
    # `store` was given the secret and may say it back; `get` and `erase` know only names.
    reason = "" if action == "store" else ": " + said[:200]
    raise CredentialHelperFailed(f"{program} {action} ended with status {done.returncode}{reason}")
