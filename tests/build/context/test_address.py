"""Which texts are git repositories, and what they mean: BuildKit's rules, and what no honest address holds."""

from __future__ import annotations

import pytest

from veneer.build.context.address import BadAddress, GitAddress, is_remote, parse_git

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("https://h.test/a/b.git", GitAddress("https://h.test/a/b.git")),
        ("http://h.test:8080/b.git#v1", GitAddress("http://h.test:8080/b.git", "v1")),
        ("https://h.test/b.git#main:docker/app", GitAddress("https://h.test/b.git", "main", subdir="docker/app")),
        ("https://h.test/b.git#:docker", GitAddress("https://h.test/b.git", subdir="docker")),
        ("https://h.test/b.git#feature/x:./a//b/", GitAddress("https://h.test/b.git", "feature/x", subdir="a/b")),
        ("https://h.test/b.git#na%C3%AFve", GitAddress("https://h.test/b.git", "naïve")),
        ("git://h.test/b", GitAddress("git://h.test/b")),
        ("ssh://git@h.test:2222/a/b", GitAddress("ssh://git@h.test:2222/a/b")),
        ("git@h.test:a/b.git#v1:d", GitAddress("git@h.test:a/b.git", "v1", subdir="d")),
        ("me@h.test:b?branch=x", GitAddress("me@h.test:b", "refs/heads/x")),
        ("github.com/a/b", GitAddress("https://github.com/a/b")),
        ("github.com/a/b#v2", GitAddress("https://github.com/a/b", "v2")),
        ("https://h.test/b.git?tag=v1&subdir=d", GitAddress("https://h.test/b.git", "refs/tags/v1", subdir="d")),
        ("https://h.test/b.git?ref=pull/42/head", GitAddress("https://h.test/b.git", "pull/42/head")),
        ("https://h.test/b.git?branch=m&commit=abc", GitAddress("https://h.test/b.git", "refs/heads/m", "abc")),
        (f"https://h.test/b.git?checksum={COMMIT}", GitAddress("https://h.test/b.git", COMMIT, COMMIT)),
        ("https://h.test/b.git?keep-git-dir", GitAddress("https://h.test/b.git", keep_git_dir=True)),
        ("https://h.test/b.git?keep-git-dir=0&submodules=false", GitAddress("https://h.test/b.git", submodules=False)),
        ("https://h.test/b.git?ref=x#x", GitAddress("https://h.test/b.git", "x")),
    ],
)  # fmt: skip
def test_an_address_means_what_it_means_to_buildkit(text: str, address: GitAddress) -> None:
    assert parse_git(text, context=True) == address
    assert is_remote(text)


@pytest.mark.parametrize(
    "text",
    [
        ".", "/srv/b.git", "./github.com/a/b", "../git@h:x", "b.git", "file:///srv/b.git", "ext::sh -c id", "h.test:b",
        "https://h.test/b.tar.gz", "https://h.test/b.git/", "ftp://h.test/b.git", "docker-image://x", "oci-layout://x",
    ],
)  # fmt: skip
def test_what_is_no_repositorys_address_is_none(text: str) -> None:
    assert parse_git(text, context=True) is None


def test_only_a_context_may_leave_https_out() -> None:
    assert parse_git("github.com/a/b") is None
    assert not is_remote("file:///srv/b.git")


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("https://h.test/b.git?tag=a&branch=b", "branch conflicts with tag"),
        ("https://h.test/b.git?tag=a#b", "ref conflicts"),
        ("https://h.test/b.git?subdir=a#:b", "subdir conflicts"),
        ("https://h.test/b.git?commit=ab&checksum=cd", "checksum conflicts"),
        ("https://h.test/b.git?ref=a&ref=b", "multiple values"),
        ("https://h.test/b.git?ref=", "no value"),
        ("https://h.test/b.git?mirror=1", "unexpected query 'mirror'"),
        ("https://h.test/b.git?submodules=maybe", "invalid submodules value"),
        ("https://h.test/b.git?checksum=xyz", "expected hex commit hash"),
        ("https://h.test/b.git?" + "&".join(f"a{number}=1" for number in range(99)), "cannot be read"),
        ("https://h.test/b.git#--upload-pack=touch", "no name of a branch"),
        ("https://h.test/b.git#-x", "no name of a branch"),
        ("https://h.test/b.git#a b", "no name of a branch"),
        ("https://h.test/b.git#a%0Ab", "no name of a branch"),
        ("https://h.test/b.git#a^{tree}", "no name of a branch"),
        ("https://h.test/b.git#a..b", "no name of a branch"),
        ("https://h.test/b.git#refs/*", "no name of a branch"),
        ("https://h.test/b.git#main:../x", "leads out"),
        ("https://h.test/b.git#main:a/../../x", "leads out"),
        ("ssh://-oProxyCommand=touch/b", "names no host"),
        ("git://-h/b", "names no host"),
        ("ssh://u@-h/b", "names no host"),
        ("https:///b.git", "names no host"),
        ("https://h.test/a b.git", "blanks"),
        ("git@h.test:a\nb", "blanks"),
    ],
)  # fmt: skip
def test_an_address_that_is_wrong_or_hostile_is_refused(text: str, fact: str) -> None:
    with pytest.raises(BadAddress, match=fact):
        parse_git(text, context=True)


def test_a_password_is_not_shown() -> None:
    address = parse_git("https://ada:lovelace@h.test/b.git")
    assert address is not None
    assert address.shown == "https://ada:xxxxx@h.test/b.git"


def test_a_checksum_given_beside_the_address_must_agree_with_it() -> None:
    address = GitAddress("https://h.test/b.git", "v1")
    assert address.pinned("abc").checksum == "abc"
    assert address.pinned("") is address
    assert GitAddress("https://h.test/b.git").pinned(COMMIT).is_commit
    with pytest.raises(BadAddress, match="checksum conflicts"):
        address.pinned("abc").pinned("abd")
