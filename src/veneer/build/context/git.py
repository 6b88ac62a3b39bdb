"""Git repositories as sources: which commit an address means now, and its files.

The files are those of the commit and of its submodules, without links followed, without `.git` unless it is to stay,
with git's two modes under umask 022, and with the commit's time: the same commit is the same tree, whenever and
wherever it is fetched (BuildKit leaves the time of the checkout).
Source: moby/buildkit source/git/source.go.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from veneer.build.context.failures import BadContext, SourceNotFound, shown
from veneer.build.context.git_program import Git, GitFailed
from veneer.changeset.safepath import DIRECTORY
from veneer.errors import Corrupt, NotFound
from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.build.context.access import Access
    from veneer.build.context.address import GitAddress

_HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_FETCH = ("fetch", "--progress", "--no-tags", "--no-recurse-submodules", "--force", "--update-head-ok")
_EVERYTHING = ("+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*")
MAX_SECONDS = (1 << 33) - 1
"""What a tar header can say; a commit may claim any time."""
_NO_SHALLOW = re.compile(r"--depth|shallow")
_NO_COMMIT = re.compile(r"not our ref|unadvertised object|Unable to find")


class NoSuchRef(NotFound):
    """A branch, tag or commit that the repository does not have."""


class WrongCommit(Corrupt):
    """A ref that stands for another commit than the checksum says."""


class Checkout(Value):
    """A repository's files: `path` is the directory the address means, `commit` its full hash."""

    path: Path
    commit: str


class _Ref(Value):
    """`name` is a full ref name, "" for a bare commit; `tag` is the hash of an annotated tag's own object."""

    commit: str
    name: str = ""
    tag: str = ""


def resolve_commit(address: GitAddress, access: Access) -> str:
    """The full hash of the commit that an address means now; nothing is fetched, nobody asked about a full hash.

    Raises NoSuchRef, WrongCommit, and GitMissing, GitFailed, GitUnauthorized.
    """
    return _resolve(address, access).commit


def fetch_git(
    address: GitAddress, scratch: Path, access: Access, *, keep_git_dir: bool = False, commit: str = ""
) -> Checkout:
    """The files of an address, in a new directory of `scratch`, an existing one that is the caller's alone.

    `commit`: what resolve_commit said, so that exactly this is fetched even if the ref has moved since.
    `keep_git_dir` (or the address's own): `.git` stays, unless a subdirectory is meant.
    Raises as resolve_commit, and SourceNotFound, BadContext for a subdirectory that is none.
    """
    ref = _resolve(address, access)
    if commit and ref.commit != commit:
        ref = _Ref(commit)
    tree = scratch / f"git-{os.urandom(4).hex()}"
    tree.mkdir(0o755)
    tree.chmod(0o755)
    git = Git(address, access)
    git.run("init", "--quiet", "--template=", f"--object-format={'sha256' if len(ref.commit) == 64 else 'sha1'}",
            "--", str(tree))  # fmt: skip
    # Submodules with relative addresses begin from here.
    git.run("config", "--", "remote.origin.url", git.remote, cwd=tree)
    time_ns = _fetch(git, ref, tree)
    git.run("checkout", "--progress", "--force", "--detach", ref.commit, cwd=tree)
    if address.submodules and (tree / ".gitmodules").is_file() and not (tree / ".gitmodules").is_symlink():
        _submodules(git, tree)
    keep = (keep_git_dir or address.keep_git_dir) and not address.subdir
    if keep:
        _settle_git_dir(git, tree)
    _finish(tree, time_ns, keep=keep)
    return Checkout(_subdirectory(tree, address), ref.commit)


def _resolve(address: GitAddress, access: Access) -> _Ref:
    found = _Ref(address.ref) if address.is_commit else _asked(address, Git(address, access))
    if not (found.commit.startswith(address.checksum) or (found.tag and found.tag.startswith(address.checksum))):
        also = f" or {found.tag}" if found.tag else ""
        raise WrongCommit(f"{address.shown}: expected checksum to match {address.checksum}, got {found.commit}{also}",
                          hint="the branch or tag was moved; if that is right, give the new commit")  # fmt: skip
    return found


def _asked(address: GitAddress, git: Git) -> _Ref:
    """What the remote says a ref is: by its full name, else a branch, else a tag, as BuildKit looks for it."""
    ref = address.ref or "HEAD"
    patterns = [ref] if ref == "HEAD" else [ref, ref + "^{}"]
    hashes: dict[str, str] = {}
    symbolic = ""
    for line in git.run("ls-remote", "--symref", "--", git.remote, *patterns).splitlines():
        value, _, name = line.partition("\t")
        if value.startswith("ref: ") and name == "HEAD":
            symbolic = value.removeprefix("ref: ")
        elif _HASH.fullmatch(value):
            hashes.setdefault(name, value)
    names = ["HEAD"] if ref == "HEAD" else [ref] if ref.startswith("refs/") else [
        f"refs/{ref}", f"refs/heads/{ref}", f"refs/tags/{ref}"]  # fmt: skip
    for name in names:
        if name in hashes:
            peeled = hashes.get(name + "^{}", "")
            known = symbolic if name == "HEAD" and _is_plain(symbolic) else name
            return _Ref(peeled or hashes[name], known, hashes[name] if peeled else "")
    what = f"ref {address.ref}" if address.ref else "commit yet"
    hint = "a commit is named by its full hash" if re.fullmatch(r"[0-9a-f]{7,39}", address.ref) else ""
    raise NoSuchRef(f"{address.shown}: repository does not contain {what}", hint=hint)


def _is_plain(name: str) -> bool:
    """Whether a remote's word for its default branch may be used as a name."""
    return re.fullmatch(r"refs/heads/[A-Za-z0-9._/+-]+", name) is not None and ".." not in name


def _fetch(git: Git, ref: _Ref, tree: Path) -> int:
    """Have the commit in the new repository, and nothing else if the remote can do that; the commit's time."""
    if ref.name.startswith("refs/"):
        _fetch_one(git, f"+{ref.name}:{ref.name}", tree)
        if (time_ns := _time_ns(git, ref.commit, tree)) is not None:
            return time_ns  # else the ref was moved since it was asked about
    try:
        _fetch_one(git, ref.commit, tree)
    except GitFailed as error:
        if not _NO_COMMIT.search(error.message):
            raise
        git.run(*_FETCH, "--", git.remote, *_EVERYTHING, cwd=tree)
    time_ns = _time_ns(git, ref.commit, tree)
    if time_ns is None:
        raise NoSuchRef(f"{git.shown}: repository does not contain commit {ref.commit}")
    return time_ns


def _fetch_one(git: Git, spec: str, tree: Path) -> None:
    """Without its history, where the remote can leave it out."""
    try:
        git.run(*_FETCH, "--depth=1", "--", git.remote, spec, cwd=tree)
    except GitFailed as error:
        if not _NO_SHALLOW.search(error.message):
            raise
        git.run(*_FETCH, "--", git.remote, spec, cwd=tree)


def _time_ns(git: Git, commit: str, tree: Path) -> int | None:
    """When the commit was made; None if it is not in the repository."""
    try:
        seconds = int(git.run("show", "--no-patch", "--format=%ct", commit + "^{commit}", cwd=tree).split()[-1])
    except GitFailed:
        return None
    return min(seconds, MAX_SECONDS) * 10**9


def _submodules(git: Git, tree: Path) -> None:
    words = ("submodule", "update", "--init", "--recursive", "--progress")
    try:
        git.run(*words, "--depth=1", cwd=tree)
    except GitFailed as error:
        if not _NO_SHALLOW.search(error.message):
            raise
        git.run(*words, cwd=tree)


def _settle_git_dir(git: Git, tree: Path) -> None:
    """Take out of `.git` what depends on this machine and moment."""
    (tree / ".git" / "FETCH_HEAD").unlink(missing_ok=True)
    git.run("reflog", "expire", "--all", "--expire=now", cwd=tree)
    # An index made anew has no inode numbers and times of the files in it; git looks at them when it first needs to.
    (tree / ".git" / "index").unlink()
    git.run("read-tree", "HEAD", cwd=tree)


def _finish(tree: Path, time_ns: int, *, keep: bool) -> None:
    """Without `.git` (a file where a submodule is), everything at the commit's time.  No link is followed."""
    import shutil

    for path, directories, files, fd in os.fwalk(tree, topdown=False, follow_symlinks=False):
        for name in (*directories, *files):
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if name == ".git" and not keep:
                if stat.S_ISDIR(status.st_mode):
                    shutil.rmtree(os.path.join(path, name))
                else:
                    os.unlink(name, dir_fd=fd)
                continue
            os.utime(name, ns=(time_ns, time_ns), dir_fd=fd, follow_symlinks=False)
    os.utime(tree, ns=(time_ns, time_ns))


def _subdirectory(tree: Path, address: GitAddress) -> Path:
    """The directory that is meant, links followed inside the repository only."""
    from veneer.build.context.scan import Tree

    if not address.subdir:
        return tree
    fd = os.open(tree, DIRECTORY)
    try:
        found = Tree(fd, f"{address.shown}").resolve(os.fsencode(address.subdir))
    finally:
        os.close(fd)
    if found is None:
        raise SourceNotFound(f"{address.subdir}: no such directory in {address.shown}")
    if not stat.S_ISDIR(found[1].st_mode):
        raise BadContext(f"{shown(os.fsencode(address.subdir))}: not a directory in {address.shown}")
    return tree / os.fsdecode(found[0])
