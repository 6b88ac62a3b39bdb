"""Images, their layers and what is told beside their files, as JSON."""

from __future__ import annotations

import gzip
import io
from urllib.parse import quote

import pytest

from tests.support.finished import loaded
from tests.support.served import Client, served, unpacked
from tests.view.web.conftest import APP_REF, BASE
from veneer.engine.engine import Engine
from veneer.oci.manifest import OCI_INDEX
from veneer.testing.images import file, image, index, oci_archive
from veneer.testing.registry import Registry
from veneer.view.web.accounts import commit_address, licences_of, web_address


def test_the_list_has_every_image_and_finds_them_by_name_id_and_label(site: Client) -> None:
    everything = site.ask("/images")
    assert {each["ref"] for each in everything} == {
        "os:1", "example.com:5000/team/app:1", "other:2", "elsewhere:1", "evil:1"}  # fmt: skip
    app = next(each for each in everything if "team/app" in each["ref"])
    assert (app["layers"], app["platform"], app["tags"]) == (3, "linux/amd64", [app["ref"]])
    assert [each["ref"] for each in site.ask("/images?q=TEAM")] == [app["ref"]]
    assert [each["ref"] for each in site.ask(f"/images?q={app['id'][7:17]}")] == [app["ref"]]
    assert [each["ref"] for each in site.ask("/images?q=apache-2.0")] == [app["ref"]]
    assert site.ask("/images?limit=1&after=1") == everything[1:2]


def test_an_image_is_told_with_its_layers_base_first(site: Client, site_engine: Engine) -> None:
    app = site.ask(f"/images/{APP_REF}")
    with site_engine.looking.open("example.com:5000/team/app:1") as subject:
        account = subject.account
    assert (app["stored"], app["visible"], app["wasted"]) == (account.stored, account.visible, account.wasted)
    assert [layer["index"] for layer in app["layers"]] == [1, 2, 3]
    assert [layer["instr"]["keyword"] for layer in app["layers"]] == ["ADD", "COPY", "RUN"]
    assert [row["keyword"] for row in app["layers"][1]["empty_before"]] == ["CMD"]
    assert app["layers"][0]["same_chain"] == {"base": "os:1", "others": 1}
    assert app["layers"][1]["same_diff"] == ["elsewhere:1"]
    assert app["layers"][1]["n"] == {"A": 5, "M": 0, "P": 1, "D": 0, "O": 0}
    assert app["base"]["ref"] == "os:1" and app["base"]["layers"] == 1
    assert [row["empty_layer"] for row in app["history"]] == [False, True, False, False]
    assert sum(layer["blob_size"] for layer in app["layers"]) == app["blob_size"]


def test_layers_that_are_not_compressed_yet_are_told_as_a_bound(engine: Engine) -> None:
    loaded(engine, "plain:1", {"a": b"1" * 9000})  # docker's archives have bare tars
    engine.images.load(io.BytesIO(oci_archive(("packed:1", image({"a": b"1" * 5000})))))
    with served(engine) as client:
        assert {each["ref"]: each["blob_size_at_most"] for each in client.ask("/images")} == {
            "packed:1": False, "plain:1": True}  # fmt: skip
        plain = client.ask("/images/plain:1")
        assert plain["blob_size_at_most"] and plain["layers"][0]["blob_size_at_most"]
        assert client.ask("/images/plain:1/tags")["groups"][0]["blob_size_at_most"]
        assert not client.ask("/images/packed:1")["layers"][0]["blob_size_at_most"]
        compared = client.ask("/compare?images=plain:1,packed:1")
        assert [each["blob_size_at_most"] for each in compared["images"]] == [True, False]
        assert sorted(node["blob_size_at_most"] for node in compared["trie"]) == [False, True]
        assert "≤" in client.page("/i/plain:1") and "≤" not in client.page("/i/packed:1")


def test_an_image_is_found_by_every_name_it_has(site: Client) -> None:
    whole = site.ask(f"/images/{APP_REF}")
    for ref in (whole["id"], whole["id"][7:20], whole["id"].replace(":", "%3A")):
        assert site.ask(f"/images/{ref}")["id"] == whole["id"]
    assert site.ask("/images/os", 404)["error"] == "No such image: os:latest"
    assert site.ask("/images/UPPER", 400)["error"].startswith("invalid reference format")
    assert "platform" not in site.ask(f"/images/{APP_REF}?platform=linux/amd64").get("error", "")
    assert site.ask(f"/images/{APP_REF}?platform=linux/s390x", 404)["hint"].startswith("veneer pull --platform")


def test_an_image_is_told_for_each_platform_that_is_here(engine: Engine) -> None:
    one, other = image({"amd": b"1"}), image({"arm": b"22"}, platform="linux/arm64")
    with Registry() as registry, served(engine) as client:
        for each in (one, other):
            registry.add("team/app", each)
        registry.add_manifest("team/app:1", OCI_INDEX, index(one, other).raw)
        name = f"{registry.host}/team/app:1"
        app = f"/images/{quote(name, safe='')}"
        engine.images.pull(name, platform="linux/amd64")
        assert "does not have it for linux/arm64" in client.ask(f"{app}?platform=linux/arm64", 404)["error"]
        assert client.ask(app)["platforms_here"] == ["linux/amd64"]
        engine.images.pull(name, platform="linux/arm64")
        for platform, file_name in (("linux/amd64", "amd"), ("linux/arm64", "arm")):
            told = client.ask(f"{app}?platform={platform}")
            assert (told["platform"], told["platforms"]) == (platform, ["linux/amd64", "linux/arm64"])
            assert told["platforms_here"] == told["platforms"]
            assert client.ask(f"{app}/tree?platform={platform}")["entries"][0]["name"] == file_name
            both = client.ask(f"{app}{quote('@' + platform, safe='')}")
            assert (both["platform"], both["id"], both["platforms"]) == (platform, told["id"], told["platforms"])
        compared = client.ask(f"/compare?images={name}@linux/amd64,{name}@linux/arm64")["images"]
        assert [each["platform"] for each in compared] == ["linux/amd64", "linux/arm64"]


def test_waste_is_told_by_path_layer_and_cause(site: Client) -> None:
    rows = {row["key"]: row for row in site.ask(f"/images/{APP_REF}/waste")["rows"]}
    assert rows["/app/gone.txt"]["bytes"] == 300
    assert (rows["/app/gone.txt"]["held_in"], rows["/app/gone.txt"]["made_by"]) == ([2], [3])
    assert rows["/etc/os"]["causes"] == ["rewritten"] and "--chown" in rows["/etc/os"]["remedy"]
    by_layer = site.ask(f"/images/{APP_REF}/waste?by=layer")
    assert {row["key"]: row["bytes"] for row in by_layer["rows"]} == {2: 1000, 3: 300}
    by_cause = site.ask(f"/images/{APP_REF}/waste?by=cause&limit=1")
    assert [row["key"] for row in by_cause["rows"]] == ["rewritten"] and by_cause["next"] == "1"
    assert [row["key"] for row in site.ask(f"/images/{APP_REF}/waste?by=cause&limit=1&after=1")["rows"]] == ["deleted"]


def test_what_one_should_know_is_told(engine: Engine) -> None:
    loaded(engine, "app:1", {"bin/su": file(b"s", 0o4755), "root/.npmrc": b"token"}, {"root/.wh..npmrc": b""})
    with served(engine) as client:
        found = client.ask("/images/app:1/findings?limit=1")
        assert (found["total"], found["next"]) == (2, "1")
        rows = found["rows"] + client.ask("/images/app:1/findings?after=1")["rows"]
        assert [(row["concern"], row["path"], row["layer"]) for row in rows] == [
            ("setuid", "/bin/su", 1), ("stored-secret", "/root/.npmrc", 1)]  # fmt: skip


def test_labels_lead_somewhere(site: Client) -> None:
    found = site.ask(f"/images/{APP_REF}/labels")
    assert found["links"]["source"] == "https://github.com/o/r.git"
    assert found["links"]["commit_url"] == "https://github.com/o/r/commit/0123abcd"
    assert [each["id"] for each in found["links"]["licences"]] == ["MIT", "Apache-2.0"]
    for text, names in (
        ("(GPL-2.0-only WITH Classpath-exception-2.0) or MIT", ["GPL-2.0-only", "Classpath-exception-2.0", "MIT"]),
        ("Apache-2.0, MIT, MIT", ["Apache-2.0", "MIT"]), ("LicenseRef-ours", []), ("MIT OR", []), ("OR", []), ("", []),
        ('"><script>alert(1)</script>', []), ("see the file LICENSE", []), ("(MIT", []),
    ):  # fmt: skip
        assert licences_of(text) == names, text
    assert "title" in found["missing"] and "source" not in found["missing"]
    assert {each["source"] for each in found["labels"]} == {"config"}


@pytest.mark.parametrize("given, address", [
    ("https://github.com/a/b", "https://github.com/a/b"), ("git@gitlab.com:a/b.git", "https://gitlab.com/a/b.git"),
    ("ssh://git@host.org/a/b", "https://host.org/a/b"), ("git://host/a", "https://host/a"),
    ("javascript:alert(1)", ""), ("data:text/html,x", ""), ("//evil", ""), ("http://[", ""), ("https://", ""),
    ("https://a/\nb", ""), ("", ""), ("file:///etc/passwd", ""),
])  # fmt: skip
def test_only_addresses_that_a_browser_may_follow_are_links(given: str, address: str) -> None:
    assert web_address(given) == address


def test_commits_are_linked_as_their_forge_has_it() -> None:
    assert commit_address("https://gitlab.com/a/b.git", "abcd1234") == "https://gitlab.com/a/b/-/commit/abcd1234"
    assert commit_address("https://bitbucket.org/a/b", "abcd1234") == "https://bitbucket.org/a/b/commits/abcd1234"
    assert commit_address("https://x.org/a", "../../<x>") == "" == commit_address("", "abcd1234")


def test_tags_of_one_image_stand_together(engine: Engine) -> None:
    loaded(engine, "app:1.0", BASE, {"a": b"1"})
    engine.images.tag("app:1.0", "app:1")
    loaded(engine, "app:2.0", BASE, {"a": b"2"})
    loaded(engine, "twin:1", BASE, {"a": b"2"}, config={"Env": ["A=1"]})
    with served(engine) as client:
        groups = client.ask("/images/app:2.0/tags")["groups"]
        assert sorted((group["tags"], group["current"]) for group in groups) == [(["1", "1.0"], False), (["2.0"], True)]
        assert client.ask("/images/app:2.0/labels")["identical"][0]["ref"] == "twin:1"
        versions = client.send("/v1/images/app").json["Versions"]
        same = {version["Tags"][0]["tag"]: [each["ImageName"] for each in version["Identical"]] for version in versions}
        assert same["2.0"] == ["twin:1"] and sorted(same.values()) == [[], ["twin:1"]]


def test_the_dockerfile_is_told(site: Client) -> None:
    found = site.ask(f"/images/{APP_REF}/dockerfile")
    assert found["base"] == "os:1" and found["text"].splitlines()[-1] and "RUN rm <b>" in found["text"]


def test_what_ifs(site: Client) -> None:
    app = site.ask(f"/images/{APP_REF}")
    squashed = site.ask(f"/images/{APP_REF}/whatif?squash=1-3")
    assert squashed["stored"] == app["visible"] and squashed["saved"] == app["wasted"]
    assert site.ask(f"/images/{APP_REF}/whatif?without=/app/gone.txt")["saved"] == 300
    having = site.ask(f"/images/{APP_REF}/whatif?have=os:1")
    assert having["pull_now"] - having["pull"] == app["layers"][0]["blob_size"]
    for wrong in ("squash=3-1", "squash=0-1", "squash=1-4", "squash=x", "squash=1-99999999999", ""):
        assert site.ask(f"/images/{APP_REF}/whatif?{wrong}", 400)["error"]
    assert site.ask(f"/images/{APP_REF}/whatif?without=/nowhere", 404)["error"]


def test_a_layer_tells_all_images_that_have_its_content(site: Client) -> None:
    diff_id = site.ask(f"/images/{APP_REF}")["layers"][1]["diff_id"]
    found = site.ask(f"/layers/{diff_id}/images")
    assert [(each["ref"], each["layer"]) for each in found["images"]] == [
        ("elsewhere:1", 2), ("example.com:5000/team/app:1", 2)]  # fmt: skip
    assert found["stored"] > 0 and found["blobs"][0]["size"] > 0
    assert site.ask("/layers/sha256:" + "0" * 64 + "/images", 404)["error"].startswith("No such layer")
    assert site.ask("/layers/nonsense/images", 400)["error"]


def test_search_finds_images_layers_and_files(site: Client) -> None:
    diff_id = site.ask(f"/images/{APP_REF}")["layers"][1]["diff_id"]
    assert {layer["diff_id"] for layer in site.ask(f"/search?q={diff_id[7:17]}")["layers"]} == {diff_id}
    found = site.ask(f"/search?q=*.me&image={APP_REF}")
    assert [each["path"] for each in found["files"]] == ["/app/read.me"]
    gone = site.ask(f"/search?q=gone&image={APP_REF}")["files"]
    assert [(each["path"], each["there"]) for each in gone] == [("/app/gone.txt", False)]
    assert {each["ref"] for each in site.ask("/search?q=read.me")["files"]} == {
        "example.com:5000/team/app:1", "elsewhere:1"}  # fmt: skip
    assert site.ask("/search?q=")["files"] == []
    assert site.ask("/search?q=x&image=nope", 404)["error"]


def test_what_a_browser_has_already_is_not_sent_again(site: Client) -> None:
    for target in (f"/api/v1/images/{APP_REF}", f"/api/v1/images/{APP_REF}/tree", "/api/v1/images", "/"):
        first = site.send(target)
        again = site.send(target, headers={"If-None-Match": f'"other", W/{first.headers["etag"]}'})
        assert (again.status, again.body) == (304, b""), target
        assert again.headers["etag"] == first.headers["etag"]
        assert site.send(target, headers={"If-None-Match": '"other"'}).status == 200


def test_the_tag_of_an_answer_differs_with_the_question(site: Client) -> None:
    tags = {site.send(f"/api/v1/images/{ref}/tree{query}").headers["etag"]
            for ref in (APP_REF, "os:1") for query in ("", "?at=1", "?sort=name")}  # fmt: skip
    assert len(tags) == 6


def test_large_answers_are_compressed_for_whoever_can_read_that(site: Client) -> None:
    target = f"/api/v1/images/{APP_REF}"
    plain = site.send(target)
    packed = site.send(target, headers={"Accept-Encoding": "br, gzip;q=0.5"})
    assert unpacked(packed) == plain.body and len(packed.body) < len(plain.body)
    assert gzip.decompress(packed.body) == plain.body
    assert "content-encoding" not in site.send(target, headers={"Accept-Encoding": "gzip;q=0"}).headers
    assert site.send(target, "HEAD").body == b""


def test_a_moved_tag_is_seen_at_once(engine: Engine) -> None:
    loaded(engine, "app:1", BASE)
    with served(engine) as client:
        before = client.ask("/images/app:1")
        loaded(engine, "app:1", BASE, {"new": b"1"})
        after = client.ask("/images/app:1")
        assert (len(before["layers"]), len(after["layers"])) == (1, 2)
        assert client.ask(f"/images/{before['id']}")["tags"] == []
        engine.images.remove("app:1")
        assert client.ask("/images/app:1", 404)["error"]


def test_large_images_make_room_for_each_other(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    from veneer.view.web import subjects

    monkeypatch.setattr(subjects, "MOST_ENTRIES", 15)
    for number in range(4):
        loaded(engine, f"app:{number}", BASE, {"n": b"%d" % number})
    found = subjects.Subjects(engine)
    for number, still_open in ((0, 1), (1, 2), (2, 2), (3, 2)):
        with found.opened(f"app:{number}") as looked:
            assert len(looked.view().level()) == 3 and looked.weight == 7
        assert len(found._open) == still_open
    monkeypatch.setattr(subjects, "MOST_ENTRIES", 1)
    with found.opened("app:0") as looked:
        assert looked.view().level()
    assert len(found._open) == 1
    found.close()


def test_an_image_that_is_gone_is_closed(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    from veneer.view.web import subjects

    monkeypatch.setattr(subjects, "CONTAINER_SECONDS", 0.0)
    for number in range(2):
        loaded(engine, f"app:{number}", BASE, {"n": b"%d" % number})
    found = subjects.Subjects(engine)
    with found.opened("app:0") as looked:
        assert looked.view().level()
        engine.images.remove("app:0")
        with found.opened("app:1"):
            assert looked not in found._open.values()
        assert looked.view().level() and found._replaced == [looked], "somebody looks at it still"
    assert found._replaced == [] and len(found._open) == 1
    with found.opened("app:1") as one, found.opened("app:1") as again:
        assert one is again, "it is as it was"
    found.close()


def test_more_images_than_are_kept_open_can_be_looked_at(engine: Engine) -> None:
    from veneer.view.web.subjects import Subjects

    for number in range(4):
        loaded(engine, f"app:{number}", BASE, {"n": b"%d" % number})
    subjects = Subjects(engine, most=2)
    for _ in range(2):
        for number in range(4):
            with subjects.opened(f"app:{number}") as looked:
                assert len(looked.view().level()) == 3
    assert len(subjects._open) == 2
    with subjects.opened("app:0") as one, subjects.opened("app:1") as two, subjects.opened("app:2") as three:
        assert [len(each.view().level()) for each in (one, two, three)] == [3, 3, 3]
    subjects.close()
