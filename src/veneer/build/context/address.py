"""What a source's text means: a git repository, a file behind HTTP, or something of this machine.

    https://HOST/PATH.git   http://...   git://...   ssh://...   USER@HOST:PATH   github.com/PATH (contexts only)
        #REF:SUBDIR         or   ?ref=|branch=|tag=&commit=|checksum=&subdir=&submodules=&keep-git-dir=

An HTTP address is a repository's only if its path ends in `.git`.  `file://` and all other schemes are no addresses:
what they name is looked for as a path.  Nothing is connected to here.
Source: moby/buildkit frontend/dockerfile/dfgitutil and util/gitutil; docker docs, build/concepts/context.md.
"""

from __future__ import annotations

import re

from veneer.errors import InvalidRequest
from veneer.values import Value

_GITHUB = "github.com/"
_SCHEME = re.compile(r"([A-Za-z0-9]+)://")
_SCHEMES = frozenset(("http", "https", "ssh", "git"))
_SCP = re.compile(r"([A-Za-z0-9_][A-Za-z0-9_-]*@[A-Za-z0-9.][A-Za-z0-9.-]*:[^?#]*)(?:\?([^#]*))?(?:#(.*))?", re.S)
_HEX = re.compile(r"[0-9a-f]+")
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_NO_REF = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|//|@\{|^[-/]|[/.]$|\.lock$")
"""What git-check-ref-format refuses; a name that begins with a dash would be an option of git's."""
_TRUE, _FALSE = (
    frozenset(("1", "t", "T", "TRUE", "true", "True")),
    frozenset(("0", "f", "F", "FALSE", "false", "False")),
)


class BadAddress(InvalidRequest):
    """An address of a git repository that means nothing, or more than one thing."""


class GitAddress(Value):
    """A place in a git repository.

    `remote` is what git is told, without what follows here; it may hold a password, `shown` does not.  `ref` is a
    branch, a tag, a full ref name or a commit's full hash; "" the default branch.  `checksum` is what the commit's or
    the tag's hash must begin with.  `subdir` is relative, in normal form.  `keep_git_dir` is whether `.git` stays.
    """

    remote: str
    ref: str = ""
    checksum: str = ""
    subdir: str = ""
    keep_git_dir: bool = False
    submodules: bool = True

    @property
    def shown(self) -> str:
        """The remote for people: without a password."""
        return re.sub(r"(?<=//)([^/@:]*):[^/@]*@", r"\1:xxxxx@", self.remote)

    @property
    def is_commit(self) -> bool:
        """Whether the ref is a commit's full hash, so that nobody need be asked what it is."""
        return _COMMIT.fullmatch(self.ref) is not None

    @property
    def is_ssh(self) -> bool:
        """Whether it is reached by ssh."""
        return not _SCHEME.match(self.remote) or self.remote.lower().startswith("ssh://")

    def pinned(self, checksum: str) -> GitAddress:
        """The same with `--checksum`.  Raises BadAddress where it has another already."""
        if not checksum:
            return self
        if not _HEX.fullmatch(checksum):
            raise BadAddress(f"invalid checksum {checksum} for Git URL, expected hex commit hash")
        if self.checksum and self.checksum != checksum:
            raise BadAddress(f"checksum conflicts: {self.checksum!r} vs {checksum!r}")
        return self.replaced(checksum=checksum, ref=self.ref or (checksum if _COMMIT.fullmatch(checksum) else ""))


def parse_git(text: str, *, context: bool = False) -> GitAddress | None:
    """The git repository that `text` names; None if it names none.

    `context`: whether it stands where a context does: only there may `https://` be left out before github.com.
    Raises BadAddress for one that names a repository and is wrong.
    """
    if text.startswith(("./", "../", "/")):
        return None
    if context and text.startswith(_GITHUB):
        text = "https://" + text
        remote, query, fragment = _split(text)
    elif scheme := _SCHEME.match(text):
        remote, query, fragment = _split(text)
        if scheme[1].lower() not in _SCHEMES:
            return None
        if scheme[1].lower().startswith("http") and not remote.endswith(".git"):
            return None
    elif scp := _SCP.fullmatch(text):
        remote, query, fragment = scp[1], scp[2] or "", scp[3] or ""
    else:
        return None
    _check_remote(remote)
    ref, _, subdir = fragment.partition(":")
    return _with_query(GitAddress(remote, ref, "", subdir), query)


def is_http(text: str) -> bool:
    """Whether `text` is an http(s) URL; as a source, parse_git goes first."""
    return text.startswith(("http://", "https://"))


def is_remote(text: str) -> bool:
    """Whether a context comes from elsewhere.  Raises BadAddress."""
    return parse_git(text, context=True) is not None or is_http(text)


def _split(text: str) -> tuple[str, str, str]:
    from urllib.parse import unquote

    rest, _, fragment = text.partition("#")
    remote, _, query = rest.partition("?")
    return remote, query, unquote(fragment)


def _check_remote(remote: str) -> None:
    if any(ord(character) <= 0x20 or ord(character) == 0x7F for character in remote):
        raise BadAddress(f"{remote[:200]!r}: not an address of a git repository: it has blanks in it")
    scheme = _SCHEME.match(remote)
    host = remote[scheme.end() :] if scheme else remote.partition("@")[2]
    if host.rpartition("@")[2][:1] in ("", "-", "/", ":") or host.startswith("-"):
        raise BadAddress(f"{remote[:200]!r}: not an address of a git repository: it names no host")


def _with_query(address: GitAddress, query: str) -> GitAddress:
    """The address with what its query says, checked as a whole."""
    from urllib.parse import parse_qs

    said: dict[str, str] = {}
    try:
        pairs = parse_qs(query, keep_blank_values=True, max_num_fields=32)
    except ValueError as error:
        raise BadAddress(f"{address.shown}: its query cannot be read: {error}") from None
    for key, values in pairs.items():
        if len(values) > 1:
            raise BadAddress(f"query {key!r} has multiple values")
        if not values[0] and key not in ("submodules", "keep-git-dir"):
            raise BadAddress(f"query {key!r} has no value")
        said[key] = values[0]
    ref, subdir = (
        _agreed("ref", address.ref, said.pop("ref", "")),
        _agreed("subdir", address.subdir, said.pop("subdir", "")),
    )
    tag, branch = said.pop("tag", ""), said.pop("branch", "")
    if tag and branch:
        raise BadAddress("branch conflicts with tag")
    if tag:
        ref = _agreed("ref", ref, "refs/tags/" + tag.removeprefix("refs/tags/"))
    if branch:
        ref = _agreed("ref", ref, "refs/heads/" + branch.removeprefix("refs/heads/"))
    checksum = _agreed("checksum", said.pop("commit", ""), said.pop("checksum", ""))
    keep = _flag("keep-git-dir", said.pop("keep-git-dir", "false"))
    submodules = _flag("submodules", said.pop("submodules", "true"))
    if said:
        known = "ref, branch, tag, commit, checksum, subdir, submodules, keep-git-dir"
        raise BadAddress(f"unexpected query {min(said)!r}", hint=f"there are {known}")
    if ref and _NO_REF.search(ref):
        raise BadAddress(f"{ref!r} is no name of a branch, a tag or a commit")
    parts = [part for part in subdir.split("/") if part not in ("", ".")]
    if ".." in parts or "\0" in subdir:
        raise BadAddress(f"{subdir!r} leads out of the repository")
    found = address.replaced(ref=ref, subdir="/".join(parts), keep_git_dir=keep, submodules=submodules)
    return found.pinned(checksum)


def _agreed(what: str, one: str, other: str) -> str:
    if one and other and one != other:
        raise BadAddress(f"{what} conflicts: {one!r} vs {other!r}")
    return one or other


def _flag(name: str, value: str) -> bool:
    """A truth value as Go reads it; a name without a value is one that holds."""
    if not value or value in _TRUE:
        return True
    if value not in _FALSE:
        raise BadAddress(f"invalid {name} value: {value!r}")
    return False
