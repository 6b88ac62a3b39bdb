"""What an image stands on, what it says of itself, who shares its layers, how two differ, what one should know."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest

from tests.support.finished import loaded, row
from veneer.engine.engine import Engine
from veneer.engine.looking import differences
from veneer.engine.looking.findings import Concern, findings
from veneer.engine.looking.origins import Label, labels, missing_labels
from veneer.store.accounting import disk_usage
from veneer.testing.images import Tree, directory, docker_archive, file, hardlink, image, oci_archive

BASE: Tree = {"etc": directory(), "etc/os": b"1" * 100}
MORE: Tree = {"usr": directory(), "usr/lib": b"2" * 50}
TOP: Tree = {"app": b"3" * 10}


def test_the_base_is_the_image_with_most_of_the_lowest_layers(engine: Engine) -> None:
    loaded(engine, "os:1", BASE)
    loaded(engine, "python:3", BASE, MORE)
    loaded(engine, "app:1", BASE, MORE, TOP)
    archive = io.BytesIO(docker_archive((image(BASE, MORE, {"other": b"4"}), ["other:1"])))
    with engine.looking.open("app:1") as subject:
        base = engine.looking.stands_on(subject)
        assert base is not None and (base.name, base.how, base.layers) == ("python:3", "layers", 2)
    with engine.looking.open(archive=archive) as subject:
        base = engine.looking.stands_on(subject)
        assert base is not None and (base.name, base.layers) == ("python:3", 2)
    with engine.looking.open("os:1") as subject:
        assert engine.looking.stands_on(subject) is None


def test_an_image_of_the_same_layers_is_a_base_only_if_rows_were_put_on_its_own(engine: Engine) -> None:
    below, above = [row("ADD os")], [row("ADD os"), row("ENV A=b", empty=True)]
    loaded(engine, "os:1", BASE, history=below)
    loaded(engine, "env:1", BASE, history=above, config={"Env": ["A=b"]})
    with engine.looking.open("os:1") as subject:
        assert engine.looking.stands_on(subject) is None
    with engine.looking.open("env:1") as subject:
        base = engine.looking.stands_on(subject)
        assert base is not None and base.name == "os:1"
    archive = io.BytesIO(docker_archive((image(BASE, history=below, config={"User": "x"}), ["other:1"])))
    with engine.looking.open(archive=archive) as subject:
        assert engine.looking.stands_on(subject) is None


def test_a_base_that_is_only_named_is_told_too(engine: Engine) -> None:
    named = {"Labels": {"org.opencontainers.image.base.name": "docker.io/library/debian:12"}}
    loaded(engine, "app:1", BASE, config=named)
    with engine.looking.open("app:1") as subject:
        base = engine.looking.stands_on(subject)
        assert base is not None
        assert (base.name, base.how, base.image, base.layers) == ("docker.io/library/debian:12", "label", None, 0)


def test_labels_come_with_their_source_and_what_is_missing(engine: Engine) -> None:
    config = {"Labels": {"org.label-schema.vcs-url": "https://x", "org.opencontainers.image.title": "App"}}
    loaded(engine, "app:1", BASE, config=config)
    with engine.looking.open("app:1") as subject:
        found = labels(subject)
    assert found == [
        Label("org.label-schema.vcs-url", "https://x", "config"),
        Label("org.opencontainers.image.title", "App", "config"),
    ]
    missing = missing_labels(found)
    assert "title" not in missing and "source" not in missing and "licenses" in missing


def test_who_shares_a_layer_is_named(engine: Engine) -> None:
    loaded(engine, "os:1", BASE)
    loaded(engine, "one:1", BASE, MORE, TOP)
    loaded(engine, "two:1", BASE, MORE, {"two": b"2"})
    with engine.looking.open("one:1") as subject:
        assert [each.shown for each in engine.looking.shared_with(subject)] == ["os:1 +1", "1 image", "-"]


def test_shared_sizes_add_up_to_the_disk(engine: Engine) -> None:
    loaded(engine, "os:1", BASE)
    loaded(engine, "one:1", BASE, MORE, TOP)
    loaded(engine, "two:1", BASE, MORE, {"two": b"2"})
    loaded(engine, "elsewhere:1", {"x": b"1"}, TOP)
    shared = engine.looking.shared()
    usage = disk_usage(engine.store)
    assert shared.totals.disk == usage.layers - usage.hidden
    assert shared.totals.unshared == sum(each.size for each in usage.images)
    assert shared.totals.saved == shared.totals.unshared - shared.totals.disk
    assert sum(tree.users for tree in shared.trees) == 4
    assert len(engine.looking.shared(["one:1"]).stacks) == 1


def test_settings_and_rows_that_differ_are_told_one_by_one(engine: Engine) -> None:
    first = {"Env": ["A=1", "B=2"], "Cmd": ["sh"], "Labels": {"l": "1"}, "Tty": False}
    second = {"Env": ["A=1", "B=3", "C=4"], "Cmd": ["bash"], "Labels": {"l": "1"}}
    loaded(engine, "one:1", BASE, config=first, history=[row("ADD base"), row("CMD sh", empty=True)])
    loaded(engine, "two:1", BASE, config=second, history=[row("ADD base"), row("ENV C=4", empty=True)],
           created="2024-05-05T00:00:00Z")  # fmt: skip
    with engine.looking.open("one:1") as one, engine.looking.open("two:1") as two:
        assert list(differences.files(one, two)) == []
        found = {each.key: (each.before, each.after) for each in differences.settings(one, two, semantic=True)}
        assert found == {"Cmd": ('["sh"]', '["bash"]'), "Env.B": ("2", "3"), "Env.C": ("", "4")}
        assert "created" in {each.key for each in differences.settings(one, two)}
        (change,) = differences.history(one, two)
        assert (change.number, change.before, change.after) == (2, "CMD sh", "ENV C=4")


def test_rows_with_other_times_differ_only_strictly(engine: Engine) -> None:
    loaded(engine, "one:1", BASE, history=[row("ADD base")])
    loaded(engine, "two:1", BASE, history=[row("ADD base", created="2025-01-01T00:00:00Z")])
    with engine.looking.open("one:1") as one, engine.looking.open("two:1") as two:
        assert len(differences.history(one, two)) == 1
        assert differences.history(one, two, semantic=True) == []


@pytest.mark.parametrize("looked_up", [0, 1000])
def test_findings_name_file_and_layer(engine: Engine, monkeypatch: pytest.MonkeyPatch, looked_up: int) -> None:
    monkeypatch.setattr("veneer.engine.looking.findings._MOST_LOOKED_UP", looked_up)
    loaded(
        engine, "app:1",
        {"bin/su": file(b"s", 0o4755), "bin/wall": file(b"w", 0o2755), "srv/open": file(b"o", 0o666),
         "tmp": directory(0o1777), "var/open": directory(0o777), "root/.ssh/id_rsa": b"key", "app/.env": b"A=1",
         "etc/ssl/certs/ca.pem": b"public", "src/.git": directory(), "bin/old": file(b"s", 0o4755)},
        {"root/.ssh/.wh.id_rsa": b"", "bin/.wh.old": b""},
    )  # fmt: skip
    with engine.looking.open("app:1") as subject:
        found = [(each.concern, each.path.decode(), each.layer) for each in findings(subject)]
    assert found == [
        (Concern.SETUID, "bin/su", 0), (Concern.SETGID, "bin/wall", 0), (Concern.WORLD_WRITABLE, "srv/open", 0),
        (Concern.WORLD_WRITABLE, "var/open", 0), (Concern.SECRET, "app/.env", 0),
        (Concern.STORED_SECRET, "root/.ssh/id_rsa", 0), (Concern.REPOSITORY, "src/.git", 0),
    ]  # fmt: skip


def test_names_that_secrets_have(engine: Engine) -> None:
    secret = ["srv/server.key", "etc/ssl/private/k.key", "etc/ssh/ssh_host_rsa_key", "terraform.tfstate", ".htpasswd",
              "root/.vault-token", "app/service-account.json", "app/.env.production"]  # fmt: skip
    public = ["etc/ssh/ssh_host_rsa_key.pub", "usr/share/keyrings/a.key", "app/.env.example", "app/.env.sample",
              "app/.env.template", "etc/ssl/certs/a.pem", "etc/apk/keys/a.key", "app/keys"]  # fmt: skip
    loaded(engine, "app:1", {path: path.encode() for path in secret + public})
    with engine.looking.open("app:1") as subject:
        assert [each.path.decode() for each in findings(subject)] == sorted(secret)


def test_every_secret_that_a_later_layer_hides_is_told(engine: Engine) -> None:
    loaded(
        engine, "app:1",
        {".env": b"KEY=secret", "copied/.env": b"same", "root/.npmrc": hardlink("notes"), "notes": b"token"},
        {".env": b"KEY=another secret"},
        {".env": b"KEY=", "copied/.env": b"same", "root/.wh..npmrc": b""},
    )  # fmt: skip
    with engine.looking.open("app:1") as subject:
        found = [(each.concern, each.path, each.layer, each.bytes, each.detail) for each in findings(subject)]
    assert found == [
        (Concern.SECRET, b".env", 2, 4, ""), (Concern.SECRET, b"copied/.env", 2, 4, ""),
        (Concern.STORED_SECRET, b".env", 0, 10, "hidden by layer 2"),
        (Concern.STORED_SECRET, b".env", 1, 18, "hidden by layer 3"),
        (Concern.STORED_SECRET, b"root/.npmrc", 0, 5, "hidden by layer 3"),
    ]  # fmt: skip


def test_annotations_of_a_layout_are_labels_too(engine: Engine) -> None:
    made = image(BASE)
    annotated = made.manifest.build(
        made.manifest.media_type, made.manifest.config, made.manifest.layers, {"org.opencontainers.image.url": "u"}
    )
    archive = io.BytesIO(oci_archive(("x:1", replace(made, manifest=annotated))))
    with engine.looking.open(archive=archive) as subject:
        assert labels(subject) == [Label("org.opencontainers.image.url", "u", "manifest")]
