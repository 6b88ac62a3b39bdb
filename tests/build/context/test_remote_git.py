"""Git repositories as sources, by real git over loopback: what comes of an address, and what must not."""

from __future__ import annotations

import base64
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.gits import MOMENT, Repository, daemon, dumb_http, git, pretended_ssh, smart_http
from tests.support.programs import needs
from tests.support.web import Answer, Asked, Web, serving
from veneer.build.context.access import Access
from veneer.build.context.address import GitAddress, parse_git
from veneer.build.context.failures import BadContext, SourceNotFound
from veneer.build.context.git import Checkout, NoSuchRef, WrongCommit, fetch_git, resolve_commit
from veneer.build.context.git_program import GitFailed, GitMissing, GitUnauthorized
from veneer.build.request import SecretSource
from veneer.config import Config
from veneer.progress import Cancelled, Report

needs("git")


@pytest.fixture
def web() -> Iterator[Web]:
    with serving() as server:
        yield server


@pytest.fixture
def served(tmp_path: Path) -> Path:
    folder = tmp_path / "served"
    folder.mkdir()
    return folder


@pytest.fixture
def repository(served: Path) -> Repository:
    return Repository(served / "b.git")


@pytest.fixture
def smart(web: Web, served: Path) -> str:
    return smart_http(web, served)


@pytest.fixture
def access(config: Config) -> Access:
    return Access(config)


def address_of(text: str) -> GitAddress:
    found = parse_git(text)
    assert found is not None, text
    return found


def fetched(tmp_path: Path, access: Access, text: str, *, keep_git_dir: bool = False, commit: str = "") -> Checkout:
    scratch = tmp_path / "scratch"
    scratch.mkdir(exist_ok=True)
    return fetch_git(address_of(text), scratch, access, keep_git_dir=keep_git_dir, commit=commit)


def names(path: Path) -> list[str]:
    return sorted(os.listdir(path))


def test_every_way_of_naming_a_commit_gives_its_files(
    tmp_path: Path, access: Access, repository: Repository, smart: str
) -> None:
    first = repository.commit(a_txt="1")
    git(repository.work, "tag", "-a", "v1", "-m", "annotated")
    git(repository.work, "tag", "light")
    git(repository.work, "update-ref", "refs/pull/7/head", "HEAD")
    second = repository.commit(a_txt="2")
    git(repository.work, "branch", "other", first)
    for suffix, commit in {
        "": second, "#main": second, "?branch=main": second, "#refs/heads/main": second, f"#{second}": second,
        "#v1": first, "?tag=v1": first, "#light": first, "#other": first, "?ref=pull/7/head": first, f"#{first}": first,
    }.items():  # fmt: skip
        text = f"{smart}/b.git{suffix}"
        assert resolve_commit(address_of(text), access) == commit, suffix
        if suffix not in ("", "#v1", "?ref=pull/7/head", f"#{first}"):
            continue
        checkout = fetched(tmp_path, access, text)
        assert checkout.commit == commit, suffix
        assert names(checkout.path) == ["a.txt"]
        assert (checkout.path / "a.txt").read_text() == ("1" if commit == first else "2"), suffix


def test_a_branch_goes_before_a_tag_of_its_name(
    tmp_path: Path, access: Access, repository: Repository, smart: str
) -> None:
    first = repository.commit(a_txt="1")
    git(repository.work, "branch", "same")
    repository.commit(a_txt="2")
    git(repository.work, "tag", "same")
    assert resolve_commit(address_of(f"{smart}/b.git#same"), access) == first
    assert fetched(tmp_path, access, f"{smart}/b.git#same").commit == first


def test_nobody_is_asked_what_a_full_hash_is(access: Access, web: Web) -> None:
    assert resolve_commit(address_of(f"{web.url}/b.git#{'a' * 40}"), access) == "a" * 40
    assert web.asked == []


def test_only_the_commit_is_fetched_not_its_history(
    tmp_path: Path, access: Access, repository: Repository, smart: str
) -> None:
    first = repository.commit(a_txt="1")
    repository.commit(a_txt="2")
    checkout = fetched(tmp_path, access, f"{smart}/b.git", keep_git_dir=True)
    assert git(checkout.path, "rev-list", "--count", "HEAD") == "1"
    checkout = fetched(tmp_path, access, f"{smart}/b.git#{first}", keep_git_dir=True)
    assert git(checkout.path, "rev-list", "--count", "--all", "HEAD") == "1"


def test_servers_that_cannot_give_less_or_single_commits_give_all(
    tmp_path: Path, access: Access, repository: Repository, web: Web, served: Path
) -> None:
    first = repository.commit(a_txt="1")
    second = repository.commit(a_txt="2")
    dumb = dumb_http(web, served)
    assert fetched(tmp_path, access, f"{dumb}/b.git").commit == second
    assert fetched(tmp_path, access, f"{dumb}/b.git#{first}").commit == first
    with pytest.raises(NoSuchRef, match="does not contain commit"):
        fetched(tmp_path, access, f"{dumb}/b.git#{'f' * 40}")


def test_the_git_protocol(tmp_path: Path, access: Access, repository: Repository, served: Path) -> None:
    commit = repository.commit(a_txt="1", d__b="2")
    with daemon(served) as url:
        checkout = fetched(tmp_path, access, f"{url}/b.git#main:d")
    assert checkout.commit == commit
    assert names(checkout.path) == ["b"]


def test_a_ref_that_is_moved_after_it_was_looked_up_does_not_change_what_comes(
    tmp_path: Path, access: Access, repository: Repository, smart: str
) -> None:
    repository.commit(a_txt="1")
    resolved = resolve_commit(address_of(f"{smart}/b.git"), access)
    repository.commit(a_txt="2")
    checkout = fetched(tmp_path, access, f"{smart}/b.git", commit=resolved)
    assert checkout.commit == resolved
    assert (checkout.path / "a.txt").read_text() == "1"


def test_what_is_not_there_is_said_plainly(tmp_path: Path, access: Access, repository: Repository, smart: str) -> None:
    with pytest.raises(NoSuchRef, match="does not contain commit yet"):
        resolve_commit(address_of(f"{smart}/b.git"), access)
    commit = repository.commit(a_txt="1")
    with pytest.raises(NoSuchRef, match="does not contain ref nope"):
        fetched(tmp_path, access, f"{smart}/b.git#nope")
    with pytest.raises(NoSuchRef) as short:
        resolve_commit(address_of(f"{smart}/b.git#{commit[:8]}"), access)
    assert short.value.hint == "a commit is named by its full hash"
    with pytest.raises(NoSuchRef, match="does not contain commit eeee"):
        fetched(tmp_path, access, f"{smart}/b.git#{'e' * 40}")
    with pytest.raises(GitFailed, match="not found"):
        resolve_commit(address_of(f"{smart}/other.git"), access)
    with pytest.raises(SourceNotFound, match="no such directory"):
        fetched(tmp_path, access, f"{smart}/b.git#:nope")
    with pytest.raises(BadContext, match="not a directory"):
        fetched(tmp_path, access, f"{smart}/b.git#:a.txt")


def test_a_checksum_is_held_against_the_commit_and_the_tag(
    tmp_path: Path, access: Access, repository: Repository, smart: str
) -> None:
    commit = repository.commit(a_txt="1")
    git(repository.work, "tag", "-a", "v1", "-m", "annotated")
    tag = git(repository.work, "rev-parse", "v1")
    for checksum in (commit, commit[:7], tag, tag[:7]):
        assert resolve_commit(address_of(f"{smart}/b.git?tag=v1&checksum={checksum}"), access) == commit
    with pytest.raises(WrongCommit, match=f"expected checksum to match abcabc, got {commit} or {tag}"):
        fetched(tmp_path, access, f"{smart}/b.git?tag=v1&checksum=abcabc")
    with pytest.raises(WrongCommit):
        resolve_commit(address_of(f"{smart}/b.git#{'a' * 40}").pinned("b" * 40), access)


def test_the_same_commit_is_the_same_tree_whenever_it_is_fetched(
    tmp_path: Path, access: Access, repository: Repository, smart: str
) -> None:
    (repository.work / "run").write_text("#!/bin/sh\n")
    (repository.work / "run").chmod(0o777)
    (repository.work / "link").symlink_to("run")
    repository.commit(d__e__f="1")
    before = os.umask(0o077)
    try:
        path = fetched(tmp_path, access, f"{smart}/b.git").path
    finally:
        os.umask(before)
    found = {
        str(each.relative_to(path)): (stat.filemode(each.lstat().st_mode), each.lstat().st_mtime)
        for each in [path, *path.rglob("*")]
    }  # fmt: skip
    assert found == {
        ".": ("drwxr-xr-x", MOMENT), "d": ("drwxr-xr-x", MOMENT), "d/e": ("drwxr-xr-x", MOMENT),
        "d/e/f": ("-rw-r--r--", MOMENT), "link": ("lrwxrwxrwx", MOMENT), "run": ("-rwxr-xr-x", MOMENT),
    }  # fmt: skip


def test_git_dir_stays_only_when_it_is_asked_for(
    tmp_path: Path, access: Access, repository: Repository, smart: str
) -> None:
    commit = repository.commit(a_txt="1", d__b="2")
    assert ".git" not in names(fetched(tmp_path, access, f"{smart}/b.git").path)
    assert names(fetched(tmp_path, access, f"{smart}/b.git?keep-git-dir=1&subdir=d").path) == ["b"]
    kept = [fetched(tmp_path, access, f"{smart}/b.git?keep-git-dir").path]
    kept.append(
        fetched(tmp_path, access, f"{smart.replace('http://', 'http://ada:pw@')}/b.git", keep_git_dir=True).path
    )
    for path in kept:
        assert git(path, "rev-parse", "HEAD", "refs/heads/main").split() == [commit, commit]
        assert git(path, "config", "remote.origin.url") == f"{smart}/b.git"
        assert git(path, "fsck", "--strict") == ""
        assert not (path / ".git" / "FETCH_HEAD").exists()
        assert not (path / ".git" / "logs").exists()
        assert not (path / ".git" / "hooks").exists()
    indexes = {(path / ".git" / "index").read_bytes() for path in kept}
    assert len(indexes) == 1, "the index depends on the checkout"
    assert git(kept[0], "status", "--porcelain") == ""


def test_links_lead_nowhere_but_into_the_repository(
    tmp_path: Path, access: Access, repository: Repository, smart: str
) -> None:
    (repository.work / "in").symlink_to("/d")
    (repository.work / "out").symlink_to("/etc")
    (repository.work / "up").symlink_to("../../../../../../etc")
    (repository.work / "loop").symlink_to("loop")
    repository.commit(d__b="2")
    assert names(fetched(tmp_path, access, f"{smart}/b.git#:in").path) == ["b"]
    for name in ("out", "up"):
        with pytest.raises(SourceNotFound):
            fetched(tmp_path, access, f"{smart}/b.git#:{name}")
    with pytest.raises(BadContext.__mro__[1], match="too many levels"):
        fetched(tmp_path, access, f"{smart}/b.git#:loop")


def _with_entry(repository: Repository, mode: str, name: str, content: str) -> str:
    """A commit whose tree has an entry that git itself would not make."""
    blob = git(repository.work, "hash-object", "-w", "--stdin", input=content)
    tree = git(repository.work, "mktree", "--missing", input=f"{mode} blob {blob}\t{name}\n")
    commit = git(repository.work, "commit-tree", tree, "-m", "odd")
    git(repository.work, "update-ref", "refs/heads/odd", commit)
    return commit


@pytest.mark.parametrize(("mode", "name"), [("120000", ".git"), ("100644", ".GIT"), ("100644", "..")])
def test_a_tree_with_a_git_dir_of_its_own_is_not_checked_out(
    tmp_path: Path, access: Access, repository: Repository, smart: str, mode: str, name: str
) -> None:
    repository.commit(a_txt="1")
    _with_entry(repository, mode, name, "/etc")
    with pytest.raises(GitFailed):
        fetched(tmp_path, access, f"{smart}/b.git#odd")


def test_no_filter_hook_or_setting_of_anybodys_runs(
    tmp_path: Path, access: Access, repository: Repository, smart: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.commit(a_txt="1", _gitattributes="* filter=evil\n")
    home = tmp_path / "home"
    (home / "hooks").mkdir(parents=True)
    evil = home / "hooks" / "post-checkout"
    evil.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    evil.chmod(0o755)
    (home / ".gitconfig").write_text(
        f'[core]\n\thooksPath = {home}/hooks\n[filter "evil"]\n\tsmudge = {evil}\n[credential]\n\thelper = "!{evil}"\n'
    )
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_PARAMETERS", f"'core.hooksPath={home}/hooks'")
    monkeypatch.setenv("GIT_ASKPASS", str(evil))
    monkeypatch.setenv("GIT_SSH_COMMAND", str(evil))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    assert names(fetched(tmp_path, access, f"{smart}/b.git").path) == [".gitattributes", "a.txt"]
    assert not (tmp_path / "ran").exists()


def _with_submodule(repository: Repository, url: str, commit: str, name: str = "sub", path: str = "lib") -> str:
    """A commit with a submodule as `.gitmodules` words it, whether or not git would."""
    git(repository.work, "update-index", "--add", "--cacheinfo", f"160000,{commit},{path}")
    (repository.work / ".gitmodules").write_text(f'[submodule "{name}"]\n\tpath = {path}\n\turl = {url}\n')
    git(repository.work, "add", ".gitmodules")
    git(repository.work, "commit", "--quiet", "-m", "submodule")
    return git(repository.work, "rev-parse", "HEAD")


def test_submodules_come_along_also_by_relative_addresses_and_nested(
    tmp_path: Path, access: Access, served: Path, repository: Repository, smart: str
) -> None:
    inner, outer = Repository(served / "inner.git"), Repository(served / "outer.git")
    deepest = inner.commit(deep="1")
    inner.commit(deep="2")
    middle = _with_submodule(outer, "../inner.git", deepest, path="in")
    repository.commit(a_txt="1")
    _with_submodule(repository, f"{smart}/outer.git", middle)
    path = fetched(tmp_path, access, f"{smart}/b.git").path
    assert (path / "lib" / "in" / "deep").read_text() == "1"
    assert [str(each) for each in path.rglob(".git")] == []
    assert (path / "lib" / "in" / "deep").stat().st_mtime == MOMENT
    without = fetched(tmp_path, access, f"{smart}/b.git?submodules=false").path
    assert names(without / "lib") == []
    kept = fetched(tmp_path, access, f"{smart}/b.git", keep_git_dir=True).path
    assert git(kept / "lib" / "in", "rev-parse", "HEAD") == deepest
    assert git(kept, "status", "--porcelain") == ""


@pytest.mark.parametrize(
    ("url", "more"),
    [
        ("{secret}", {}), ("file://{secret}", {}), ("--upload-pack=touch {ran}", {}), ("ext::sh -c 'touch {ran}'", {}),
        ("ssh://-oProxyCommand=touch {ran}/x", {}), ("{smart}/b.git", {"name": "../../hooks"}),
        ("{smart}/b.git", {"path": "-lib"}),
    ],
)  # fmt: skip
def test_a_submodule_that_plays_with_its_address_name_or_path_gets_nothing(
    tmp_path: Path, access: Access, served: Path, repository: Repository, smart: str, url: str, more: dict[str, str]
) -> None:
    secret = Repository(tmp_path / "secret" / "s.git")
    commit = secret.commit(secret="mine")
    url = url.format(secret=secret.path, ran=tmp_path / "ran", smart=smart)
    repository.commit(a_txt="1")
    _with_submodule(repository, url, commit, **more)
    try:
        checkout = fetched(tmp_path, access, f"{smart}/b.git")
    except GitFailed:
        found = list((tmp_path / "scratch").rglob("secret"))
    else:
        found = list(checkout.path.rglob("secret"))
    assert found == []
    assert not (tmp_path / "ran").exists()


def _guarded(web: Web, expected: str) -> list[str]:
    """Have the server ask for a login; the Authorization headers that came, in order."""
    seen: list[str] = []
    inner = web.pages["/smart/"]
    assert callable(inner)

    def page(asked: Asked) -> Answer:
        seen.append(asked.headers.get("Authorization", ""))
        if seen[-1] != expected:
            return Answer(b"who?", 401, {"WWW-Authenticate": 'Basic realm="git"'})
        return inner(asked)

    web.pages["/smart/"] = page
    return seen


def _basic(login: str) -> str:
    return "basic " + base64.b64encode(login.encode()).decode()


@pytest.mark.parametrize(
    ("secrets", "expected"),
    [
        ({"GIT_AUTH_TOKEN": b"t0ken\n"}, _basic("x-access-token:t0ken")),
        ({"GIT_AUTH_HEADER": b"bearer abc"}, "bearer abc"),
        (
            {"GIT_AUTH_TOKEN.{host}": b"own", "GIT_AUTH_TOKEN": b"any", "GIT_AUTH_HEADER": b"x"},
            _basic("x-access-token:own"),
        ),
    ],
)
def test_secrets_with_buildkits_names_open_a_repository(
    access: Access, repository: Repository, web: Web, smart: str, secrets: dict[str, bytes], expected: str
) -> None:
    commit = repository.commit(a_txt="1")
    _guarded(web, expected)
    host = smart.split("/")[2]
    sources = tuple(SecretSource(name.format(host=host), value) for name, value in secrets.items())
    assert resolve_commit(address_of(f"{smart}/b.git"), access.replaced(secrets=sources)) == commit


def test_a_repository_that_wants_a_login_never_asks_and_no_password_is_told(
    tmp_path: Path, access: Access, repository: Repository, web: Web, smart: str
) -> None:
    repository.commit(a_txt="1")
    seen = _guarded(web, "nothing is right")
    with pytest.raises(GitUnauthorized) as refused:
        resolve_commit(address_of(f"{smart.replace('http://', 'http://ada:lovelace@')}/b.git"), access)
    assert "GIT_AUTH_TOKEN" in refused.value.hint
    assert "lovelace" not in refused.value.message
    assert _basic("ada:lovelace") in seen
    assert _basic("ada:lovelace").removeprefix("basic ") not in refused.value.message
    with pytest.raises(GitUnauthorized, match="more than one line"):
        two = (SecretSource("GIT_AUTH_TOKEN", b"a\nX-Evil: 1"),)
        resolve_commit(address_of(f"{smart}/b.git"), access.replaced(secrets=two))


def test_ssh_has_the_agent_it_was_given_and_no_key_beside(
    tmp_path: Path, access: Access, repository: Repository, served: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = repository.commit(a_txt="1")
    with pytest.raises(GitUnauthorized) as refused:
        resolve_commit(address_of("git@h.test:b.git"), access)
    assert "--ssh default" in refused.value.hint
    notes = pretended_ssh(tmp_path / "bin", served)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    allowed = access.replaced(ssh=(("default", "/run/agent"),))
    for text in ("git@h.test:b.git", f"ssh://git@h.test:2222{served}/b.git"):
        assert resolve_commit(address_of(text), allowed) == commit
    said = notes.read_text().splitlines()
    assert "agent /run/agent" in said
    for option in ("BatchMode=yes", "IdentityFile=none", "StrictHostKeyChecking=accept-new"):
        assert option in said


def test_the_callers_word_to_stop_ends_git(
    tmp_path: Path, access: Access, repository: Repository, web: Web, smart: str
) -> None:
    repository.commit(a_txt="1")

    def stop(report: Report) -> None:
        raise Cancelled("enough")

    with pytest.raises(Cancelled):
        fetched(tmp_path, access.replaced(progress=stop), f"{smart}/b.git")


def test_that_something_is_fetched_is_told_once(
    tmp_path: Path, access: Access, repository: Repository, smart: str
) -> None:
    repository.commit(a="a")
    told: list[str] = []

    def hear(report: Report) -> None:
        told.extend([report.status] if report.status not in told[-1:] else [])  # as it is printed

    fetched(tmp_path, access.replaced(progress=hear), f"{smart}/b.git")
    assert told.count("fetching") == 1


def test_without_git_the_package_is_named(access: Access, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GitMissing) as missing:
        resolve_commit(address_of("https://h.test/b.git"), access)
    assert missing.value.hint == "install it: apt install git"


def test_a_server_that_answers_without_end_or_with_nonsense_is_left(
    access: Access, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("veneer.build.context.git_program._MAX_ANSWER", 1 << 16)
    line = f"{'a' * 40}\trefs/heads/main\n".encode()
    web.pages["/b.git/info/refs"] = Answer(line * 5000)
    web.pages["/b.git/HEAD"] = Answer(b"ref: refs/heads/main\n")
    with pytest.raises((GitFailed, NoSuchRef)):
        resolve_commit(address_of(f"{web.url}/b.git#main"), access)
    web.pages["/b.git/info/refs"] = Answer(b"\0\xff<html>" * 100)
    with pytest.raises((GitFailed, NoSuchRef)):
        resolve_commit(address_of(f"{web.url}/b.git#main"), access)


def test_a_remote_that_is_silent_for_too_long_is_left(
    access: Access, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    monkeypatch.setattr("veneer.build.context.git_program.IDLE", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(GitFailed, match="nothing came from git"):
        resolve_commit(address_of(f"git://127.0.0.1:{silent.getsockname()[1]}/b"), access)
