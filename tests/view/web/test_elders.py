"""What programs written for MicroBadger and ImageLayers get."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.finished import loaded
from tests.support.served import Client, served
from veneer.engine.engine import Engine

NAME = "example.com:5000/team/app"


def analyse(site: Client, body: object) -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return site.send("/registry/analyze", "POST", body=data).json


def test_imagelayers_gets_layers_and_a_status_for_each_image(site: Client) -> None:
    found = analyse(site, {"repos": [{"name": NAME, "tag": "1"}, {"name": "os"}, {"name": "os", "tag": "1"}]})
    assert [each["status"] for each in found] == [200, 404, 200]
    app, _, base = found
    assert app["repo"] == {"name": NAME, "tag": "1", "size": sum(x["Size"] for x in app["layers"]), "count": 3}
    assert app["layers"][-1]["id"] == base["layers"][0]["id"] and app["layers"][-1]["parent"] == ""
    assert [layer["parent"] for layer in app["layers"]][:-1] == [layer["id"] for layer in app["layers"]][1:]
    assert app["layers"][1]["container_config"]["Cmd"] == ["COPY . /app"]


@pytest.mark.parametrize("body", [b"", b"x", b"[]", b'{"repos": [1]}', b'{"repos": 7}', b"[" * 60_000, b"\xff",
                                  json.dumps({"repos": [{"name": "a"}] * 41}).encode()])  # fmt: skip
def test_what_imagelayers_never_sent_is_refused(site: Client, body: bytes) -> None:
    assert "error" in analyse(site, body)


def test_imagelayers_searches_and_lists_tags(site: Client) -> None:
    assert [each["name"] for each in site.send("/registry/search?name=team").json["results"]] == [NAME]
    assert list(site.send(f"/registry/images/{NAME}/tags").json) == ["1"]
    assert site.send("/registry/images/none/tags").status == 404
    assert site.send("/registry/status").json["status"] == "ok"


def test_microbadger_tells_of_a_repository_and_its_versions(site: Client) -> None:
    found = site.send(f"/v1/images/{NAME}").json
    assert (found["ImageName"], found["LayerCount"], found["LatestVersion"]) == (NAME, 3, "1")
    (version,) = found["Versions"]
    assert version["Tags"] == [{"tag": "1"}] and version["SHA"] == found["LatestSHA"]
    assert version["License"] == {"Code": "MIT", "URL": "https://spdx.org/licenses/MIT.html"}
    assert version["VersionControl"]["Commit"] == "0123abcd"
    assert [layer["Command"] for layer in version["Layers"]] == ["ADD … /", 'CMD ["sh"]', "COPY . /app", "RUN rm <b>"]
    assert version["Parents"][0]["ImageName"] == "os:1"
    assert site.send(f"/v1/images/{NAME}/version/{version['SHA']}").json["SHA"] == version["SHA"]
    assert site.send(f"/v1/images/{NAME}:1").json["LatestSHA"] == found["LatestSHA"]
    assert site.send(f"/v1/images/{NAME}:9").status == 404 and site.send("/v1/images/none").status == 404


def test_microbadger_lists_and_searches(site: Client) -> None:
    found = site.send("/v1/images?query=recent").json
    assert found["ImageCount"] == 5 and {"ImageName": "os"} in found["Images"]
    assert site.send("/v1/images?query=labelschema").json["Images"] == []
    assert site.send("/v1/images/search/team/app").json == [{"ImageName": NAME}]
    assert site.send("/healthcheck.txt").text == "HEALTH OK"


def test_badges_stand_at_microbadgers_addresses(site: Client) -> None:
    got = site.send(f"/badges/image/{NAME}:1.svg")
    assert got.status == 200 and got.headers["content-type"] == "image/svg+xml" and b"3 layers" in got.body
    assert (
        got.headers["cross-origin-resource-policy"] == "cross-origin" and got.headers["cache-control"] == "max-age=300"
    )
    assert site.send(f"/badges/image/{NAME}:1.svg", headers={"If-None-Match": got.headers["etag"]}).status == 304
    assert site.ask(f"/badges/layers/{NAME}:1.json") == {
        "schemaVersion": 1, "label": "layers", "message": "3", "color": "blue"}  # fmt: skip
    missing = site.send("/badges/size/none.svg")
    assert missing.status == 404 and b"not found" in missing.body
    assert site.send("/badges/size/none.svg?soft=1").status == 200 and site.send("/badges/size/BAD.svg").status == 404
    for wrong in ("/badges/nonsense/os:1.svg", "/badges/size/os:1.svg?style=x", "/badges/size/os:1.svg?color=url(x)"):
        assert site.send(wrong).status == 400
    assert site.send("/badges/size/os:1.png").status == 404
    assert "layers" in site.ask("/badges")["kinds"]
    hostile = site.send("/badges/size/os:1.svg?label=%3Cscript%3E%22%27")
    assert b"<script>" not in hostile.body


def test_a_repository_without_latest_stands_for_its_newest_tag(engine: Engine) -> None:
    loaded(engine, "team/old:1", {"a": b"1"})
    loaded(engine, "team/app:1", {"a": b"2"})
    engine.images.tag("team/app:1", "elsewhere/app:1")
    with served(engine) as client:
        assert client.send("/images/team/app").headers["location"] == "/i/team%2Fapp:1"
        assert client.send("/images/team/none").headers["location"] == "/i/team%2Fnone"
        assert client.ask("/badges/layers/team/app.json")["message"] == "1"
        manifest = engine.images.get("team/app:1").manifest
        version = client.send(f"/v1/images/elsewhere/app/version/{manifest}").json
        assert (version["ImageName"], version["Tags"]) == ("elsewhere/app", [{"tag": "1"}])
