"""The driver suite's sentences on what is known of a file beside its content."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from veneer.testing.driver_bench import CAPABILITY, Bench, DriverFixtures, append, facts, one_of_everything, write


class AttributeSuite(DriverFixtures):
    """Everything a file system can say of a file is the same on top as it was below."""

    def test_one_of_everything_looks_the_same_through_the_union(self, bench: Bench, tmp_path: Path) -> None:
        (tmp_path / "plain").mkdir()
        one_of_everything(tmp_path / "plain")
        expected = facts(tmp_path / "plain")
        stack = bench.layers(one_of_everything, lambda root: write(root, "extra", ""))
        seen = bench.facts(stack)
        del seen[b"extra"]
        for root in (seen, expected):
            del root[b""]  # its time is that of its last entry
        assert seen == expected

    def test_changing_the_mode_keeps_content_owner_attributes_and_times(self, bench: Bench) -> None:
        base = bench.layer(one_of_everything)
        before = bench.facts(base)
        after = bench.facts(bench.layer(lambda root: (root / "file").chmod(0o400), base))
        assert after[b"file"] == ("-r--------", *before[b"file"][1:])

    def test_adding_to_a_directory_keeps_its_mode_owner_and_attributes(self, bench: Bench) -> None:
        base = bench.layer(one_of_everything)
        before = bench.facts(base)
        after = bench.facts(bench.layer(lambda root: write(root, "sticky/new", ""), base))
        assert after[b"sticky"][:5] == before[b"sticky"][:5]
        assert after[b"sticky"][0] == "drwxrwxrwt"
        assert after[b"sticky"][7] == before[b"sticky"][7]

    def test_times_are_kept_to_the_nanosecond(self, bench: Bench) -> None:
        base = bench.layer(one_of_everything)
        top = bench.layer(lambda root: os.chown(root / "file", 3, 3), base)
        assert bench.facts(top)[b"file"][5] == 1_600_000_000_123_456_789

    def test_capabilities_survive_a_change_of_another_attribute(self, bench: Bench) -> None:
        base = bench.layer(one_of_everything)
        top = bench.layer(lambda root: os.setxattr(root / "capable", "user.more", b"1"), base)
        assert (("security.capability", CAPABILITY) in bench.facts(top)[b"capable"][7]) is True  # type: ignore[operator]

    def test_a_listing_has_the_numbers_of_the_files_and_all_are_on_one_device(self, bench: Bench) -> None:
        base = bench.layer(lambda root: write(root, "d/below", ""))
        with bench.writing(base) as (_, root):
            write(root, "d/sub/new", "")
            (root / "d" / "below").chmod(0o600)
            devices = set()
            for folder in (root, root / "d", root / "d" / "sub"):
                with os.scandir(folder) as entries:
                    for entry in entries:
                        status = os.lstat(entry.path)
                        assert entry.inode() == status.st_ino, entry.path
                        devices.add(status.st_dev)
            assert len(devices) == 1

    def test_hard_links_of_one_layer_share_their_file(self, bench: Bench) -> None:
        stack = bench.layers(one_of_everything, lambda root: write(root, "extra", ""))
        assert bench.facts(stack)[b"linked"][8] == (b"d/linked3", b"linked", b"linked2")

    def test_a_hard_link_to_a_file_from_below_shares_it(self, bench: Bench) -> None:
        base = bench.layer(lambda root: write(root, "f", "x"))
        top = bench.layer(lambda root: os.link(root / "f", root / "g"), base)
        seen = bench.facts(top)
        assert seen[b"f"][8] == seen[b"g"][8] == (b"f", b"g")
        assert seen[b"g"][6] == b"x"

    def test_changing_one_name_of_a_hard_linked_file_changes_that_name(self, bench: Bench) -> None:
        """The other name may stay as it was: without an index the kernel's overlay copies up one name only."""
        base = bench.layer(one_of_everything)
        top = bench.layer(lambda root: append(root, "linked", "+"), base)
        seen = bench.facts(top)
        assert seen[b"linked"][6] == b"once+"
        assert seen[b"linked2"][6] in (b"once", b"once+")
        assert bench.facts(base)[b"linked"][6] == b"once"

    @pytest.mark.parametrize("name", [b"\xff\xfe\x80", b"x" * 255, b"new\nline", b"back\\slash", b"a:b,c", b" "])
    def test_odd_names_can_be_added_changed_and_deleted(self, bench: Bench, name: bytes) -> None:
        def at(root: Path) -> Path:
            return Path(os.fsdecode(os.fsencode(root) + b"/" + name))

        stack = bench.layers(
            lambda root: at(root).write_text("1"),
            lambda root: at(root).write_text("2"),
            lambda root: at(root).unlink(),
            lambda root: at(root).mkdir(),
        )
        seen = [bench.facts(stack[depth:]).get(name, ("gone",))[0] for depth in range(4)]
        assert seen == ["drwxr-xr-x", "gone", "-rw-r--r--", "-rw-r--r--"]

    def test_a_name_that_looks_like_a_whiteout_is_refused_or_kept_and_hides_nothing(self, bench: Bench) -> None:
        base = bench.layer(lambda root: write(root, "f", ""))
        with bench.writing(base) as (stack, root):
            try:
                (root / ".wh.f").touch()
            except OSError:
                return
        assert sorted(bench.facts(stack)) == [b"", b".wh.f", b"f"]
