"""The files in /etc that a container is given."""

from __future__ import annotations

from pathlib import Path

import pytest

from veneer.run.hostfiles import hosts, resolv_conf


def test_hosts_has_the_loopback_what_was_added_and_the_containers_name() -> None:
    lines = hosts([("db", "10.0.0.1"), ("six", "fd00::1")], "box").decode().splitlines()
    assert lines[0] == "127.0.0.1\tlocalhost"
    assert lines[-3:] == ["10.0.0.1\tdb", "fd00::1\tsix", "127.0.0.1\tbox"]


@pytest.mark.parametrize(("host", "resolved", "expected"), [
    ("search a\nnameserver 9.9.9.9\noptions ndots:2\n", "", "search a\nnameserver 9.9.9.9\noptions ndots:2\n"),
    ("nameserver 127.0.0.53\nnameserver 9.9.9.9\n", "", "nameserver 9.9.9.9\n"),
    ("nameserver 127.0.0.53\n", "search b\nnameserver 1.2.3.4\n", "search b\nnameserver 1.2.3.4\n"),
    ("search a\nnameserver ::1\n", "", "search a\nnameserver 10.0.2.3\n"),
    ("", "", "nameserver 10.0.2.3\n"),
])  # fmt: skip
def test_name_servers_on_the_hosts_loopback_are_not_asked(
    tmp_path: Path, host: str, resolved: str, expected: str
) -> None:
    (tmp_path / "host").write_text(host)
    if resolved:
        (tmp_path / "resolved").write_text(resolved)
    paths = (str(tmp_path / "host"), str(tmp_path / "resolved"))
    assert resolv_conf(paths, otherwise=("10.0.2.3",)).decode() == expected


def test_in_the_hosts_network_they_are(tmp_path: Path) -> None:
    (tmp_path / "host").write_text("nameserver 127.0.0.53\n")
    paths = (str(tmp_path / "host"), str(tmp_path / "none"))
    assert resolv_conf(paths, own_network=False) == b"nameserver 127.0.0.53\n"
