"""The API of MicroBadger and of ImageLayers, for what was written for them: answered from this store, in their shapes.

What they had to do with accounts, webhooks and Docker Hub is not here.
Sources: microbadger database/interface.go, api/api.go; imagelayers api/registry.go, main.go.
"""

from __future__ import annotations

import json

from aiohttp import web

from veneer.errors import InvalidRequest, NotFound, VeneerError
from veneer.view.web import accounts, answers, words
from veneer.view.web.api import Asker, query_of
from veneer.view.web.images import ref_of, says

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from veneer.engine.looking.subject import Subject
    from veneer.oci.reference import Reference
    from veneer.store.images import Image
    from veneer.view.web.query import Query
    from veneer.view.web.subjects import Subjects
    from veneer.view.web.words import Json

MOST_ASKED = 40
"""Images in one question to /registry/analyze."""
PAGE = 100
LATEST = "latest"


class NotAnalysable(InvalidRequest):
    """A body of /registry/analyze that is not what ImageLayers sent."""


class NoSuchRepository(NotFound):
    """A repository without a tag here."""


def routes(asker: Asker) -> list[web.RouteDef]:
    subjects = asker.subjects

    def answered(made: Callable[[web.Request, Query], Any]) -> answers.Handled:
        async def handler(request: web.Request) -> web.StreamResponse:
            query = query_of(request)
            found = await asker.asked(lambda: answers.body(words.as_json(made(request, query)), answers.JSON))
            return answers.sent(request, found)

        return handler

    async def analyze(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        found = await asker.asked(lambda: answers.body(words.as_json(analysed(subjects, body)), answers.JSON))
        return answers.sent(request, found)

    def repository(request: web.Request) -> str:
        return request.match_info["name"]

    return [
        web.get("/healthcheck.txt", _healthy),
        web.get("/v1/images", answered(lambda request, query: image_names(subjects, query))),
        web.get("/v1/images/search/{term:.+}",
                answered(lambda request, query: found_names(subjects, request.match_info["term"]))),
        web.get("/v1/images/{name:.+}/version/{sha}",
                answered(lambda request, query: version_of(subjects, repository(request), request.match_info["sha"]))),
        web.get("/v1/images/{name:.+}", answered(lambda request, query: image_of(subjects, repository(request)))),
        web.post("/registry/analyze", analyze),
        web.get("/registry/status", answered(lambda request, query: {"status": "ok", "service": "veneer"})),
        web.get("/registry/search", answered(lambda request, query: searched(subjects, query.text("name")))),
        web.get("/registry/images/{name:.+}/tags",
                answered(lambda request, query: tags_of(subjects, repository(request)))),
    ]  # fmt: skip


async def _healthy(request: web.Request) -> web.StreamResponse:
    return answers.sent(request, answers.body(b"HEALTH OK", "text/plain"))


def _tagged(subjects: Subjects, name: str) -> list[tuple[Image, list[Reference]]]:
    """The images with a tag of a repository, newest first.  Raises NoSuchRepository, InvalidReference."""
    from veneer.oci.reference import Reference

    wanted = Reference.parse(name).name
    found = []
    for image in subjects.engine.images.list(all=False):
        named = [tag for tag in image.tags if tag.name == wanted]
        if named:
            found.append((image, named))
    if not found:
        raise NoSuchRepository(f"no image of {name} here", hint="veneer pull fetches it")
    return found


def meant(subjects: Subjects, name: str) -> str:
    """What a name means in an old address: itself, or without a tag and where none is called latest, the newest."""
    from veneer.oci.reference import InvalidReference, Reference

    try:
        if Reference.parse(name) != Reference.parse(name).tagged():
            tags = [tag for _, named in _tagged(subjects, name) for tag in named]
            if not any(tag.tag == LATEST for tag in tags):
                return tags[0].familiar
    except (NoSuchRepository, InvalidReference):
        pass  # an ID, or nothing that is here: whoever looks for it says so
    return name


# -- MicroBadger ----------------------------------------------------------------------------------------------


def image_of(subjects: Subjects, name: str) -> Json:
    """A repository, or one tag of it, as MicroBadger told of it."""
    from veneer.oci.reference import Reference

    reference = Reference.parse(name)
    found = _tagged(subjects, name)
    if reference.tag is not None:
        own = [(image, named) for image, named in found if any(tag.tag == reference.tag for tag in named)]
        if not own:
            raise NoSuchRepository(f"no image {name} here", hint="veneer pull fetches it")
    else:
        own = [each for each in found if any(tag.tag == LATEST for tag in each[1])] or found
    versions = [_version(subjects, image, named) for image, named in found]
    shown = next(each for each in versions if each["SHA"] == str(own[0][0].manifest))
    latest = max((tag.tag or "" for tag in own[0][1] if tag.tag != LATEST), key=len, default=LATEST)
    return {
        "LatestSHA": shown["SHA"], "UpdatedAt": words.moment(own[0][0].last_tagged or None), "Description": "",
        "LastUpdated": shown["Created"], "PullCount": 0, "StarCount": 0, "ImageName": reference.familiar_name,
        "ImageURL": f"/i/{reference.familiar_name}", "Id": shown["SHA"], "Author": shown["Author"],
        "LayerCount": shown["LayerCount"], "DownloadSize": shown["DownloadSize"], "Labels": shown["Labels"],
        "LatestVersion": latest, "Versions": versions,
    }  # fmt: skip


def version_of(subjects: Subjects, name: str, sha: str) -> Json:
    """One version by its digest: a manifest's, or an image's ID; with its tags in the repository, if any."""
    from veneer.oci.reference import Reference

    wanted = Reference.parse(name).name
    for image in subjects.engine.images.list(all=False):
        if sha in (str(image.manifest), image.manifest.hex, str(image.id), image.id.hex):
            return _version(subjects, image, [tag for tag in image.tags if tag.name == wanted] or list(image.tags))
    raise NoSuchRepository(f"no image {sha[:80]} here")


def _version(subjects: Subjects, image: Image, named: Sequence[Reference]) -> Json:
    from veneer.engine.looking.origins import labels as said
    from veneer.engine.looking.twins import twins

    with subjects.opened(str(image.id)) as looked, looked.lock:
        subject = looked.subject
        values = {label.key: label.value for label in reversed(said(subject))}
        base = subjects.engine.looking.stands_on(subject)
        layers, same = list(_layers(subject)), list(twins(subjects.engine, subject))
    where = accounts.links(values)
    licence = (where["licences"] or [{"id": "", "url": ""}])[0]
    return {
        "SHA": str(image.manifest), "Tags": [{"tag": tag.tag} for tag in named],
        "ImageName": named[0].familiar_name if named else "", "Author": image.author, "Labels": values,
        "LayerCount": len(image.config.diff_ids), "DownloadSize": subjects.pull_size(image)[0] or 0,
        "Created": words.moment(image.created or None), "Layers": layers,
        "Parents": [{"ImageName": base.name, "SHA": base.digest}] if base is not None else [],
        "Identical": [{"ImageName": ref_of(twin.image), "SHA": str(twin.image.manifest)} for twin in same],
        "MicrobadgerURL": f"/i/{named[0].familiar}" if named else f"/i/{image.id}",
        "License": {"Code": licence["id"], "URL": licence["url"]},
        "VersionControl": {"Type": "git" if where["source"] else "", "URL": where["source"],
                           "Commit": where["commit"]},
    }  # fmt: skip


def _layers(subject: Subject) -> Sequence[Json]:
    """A row for each instruction, also those that made no layer, base first."""
    found = []
    for origin in subject.origins:
        found += [{"BlobSum": "", "Command": row.shown, "DownloadSize": 0} for row in origin.before]
        blob = origin.blob
        found.append({"BlobSum": str(blob.digest) if blob else "", "Command": origin.shown,
                      "DownloadSize": blob.size if blob else 0})  # fmt: skip
    return [*found, *({"BlobSum": "", "Command": row.shown, "DownloadSize": 0} for row in subject.after)]


def image_names(subjects: Subjects, query: Query) -> Json:
    """The list of MicroBadger: recent images, or those with labels of label-schema."""
    kind = query.text("query") or "recent"
    images = subjects.engine.images.list(all=False)
    if kind == "labelschema":
        images = [image for image in images if any(key.startswith(accounts.LABEL_SCHEMA) for key in image.labels)]
    names = list(dict.fromkeys(tag.familiar_name for image in images for tag in image.tags))
    page = max(query.number("page", 1), 1)
    pages = max(-(-len(names) // PAGE), 1)
    shown = names[(page - 1) * PAGE : page * PAGE]
    return {"CurrentPage": page, "PageCount": pages, "ImageCount": len(names),
            "Images": [{"ImageName": name} for name in shown]}  # fmt: skip


def found_names(subjects: Subjects, term: str) -> list[Json]:
    return [{"ImageName": each["name"]} for each in searched(subjects, term)["results"]]


# -- ImageLayers ----------------------------------------------------------------------------------------------


def analysed(subjects: Subjects, body: bytes) -> list[Json]:
    """Each of the images asked for with its layers and a status of its own; the whole never fails for one of them.

    Raises NotAnalysable.
    """
    try:
        document = json.loads(body)
        wanted = [(str(each["name"]), str(each.get("tag") or LATEST)) for each in document["repos"]]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise NotAnalysable(
            "the body is not what ImageLayers sends", hint='{"repos": [{"name": .., "tag": ..}]}'
        ) from None
    if len(wanted) > MOST_ASKED:
        raise NotAnalysable(f"{len(wanted)} images: at most {MOST_ASKED} are looked at in one question")
    return [_analysed(subjects, name, tag) for name, tag in wanted]


def _analysed(subjects: Subjects, name: str, tag: str) -> Json:
    repository = {"name": name, "tag": tag, "size": 0, "count": 0}
    try:
        with subjects.opened(f"{name}:{tag}") as looked, looked.lock:
            layers = _stack(looked.subject)
    except VeneerError as error:
        return {"repo": repository, "layers": [], "status": error.http_status}
    repository |= {"size": sum(layer["Size"] for layer in layers), "count": len(layers)}
    return {"repo": repository, "layers": layers, "status": 200}


def _stack(subject: Subject) -> list[Json]:
    """The layers, newest first; an ID there named all that is below too, which is what a chain ID does."""
    found: list[Json] = []
    below = ""
    for origin, index in zip(subject.origins, subject.indexes, strict=True):
        own = str(origin.chain_id).partition(":")[2]
        made = origin.instruction
        found.append({"id": own, "parent": below, "created": words.moment(made.created if made else None),
                      "container_config": {"Cmd": [origin.shown]}, "Size": index.bytes_total})  # fmt: skip
        below = own
    return found[::-1]


def searched(subjects: Subjects, term: str) -> Json:
    wanted = term.lower().strip("/ ")
    images = [image for image in subjects.engine.images.list(all=False) if not wanted or says(image, wanted)]
    names = dict.fromkeys(tag.familiar_name for image in images for tag in image.tags)
    results = [{"name": name, "description": "", "is_official": "/" not in name, "is_automated": False,
                "star_count": 0} for name in list(names)[:10]]  # fmt: skip
    return {"query": term, "num_results": len(results), "results": results}


def tags_of(subjects: Subjects, name: str) -> Json:
    return {tag.tag or "": image.id.hex for image, named in _tagged(subjects, name) for tag in named}
