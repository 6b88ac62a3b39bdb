"""What is told of an image beside its files: waste, labels and where they lead, tags, its Dockerfile, what-ifs."""

from __future__ import annotations

import re
from urllib.parse import quote, urlsplit

from veneer.view.texts import path_text, remedy
from veneer.view.web import words
from veneer.view.web.images import ref_of
from veneer.view.web.query import BadQuery, page_of
from veneer.view.web.trees import found_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from veneer.analysis.waste import Waste
    from veneer.engine.looking.findings import Finding
    from veneer.engine.looking.origins import Label
    from veneer.engine.looking.subject import Subject
    from veneer.store.images import Image
    from veneer.view.web.query import Query
    from veneer.view.web.subjects import Looked, Subjects
    from veneer.view.web.words import Json

OCI, LABEL_SCHEMA = "org.opencontainers.image.", "org.label-schema."
_OLD = {"source": "vcs-url", "revision": "vcs-ref", "licenses": "license", "title": "name", "documentation": "usage"}
_LINKED = ("title", "description", "version", "vendor", "url", "documentation", "source", "revision", "licenses")
_LICENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*")
_SCP = re.compile(r"(?:ssh://)?(?:[\w.-]+@)([\w.-]+)[:/]([\w./~-]+)")
_NO_LICENCE = frozenset({"AND", "OR", "WITH"})
_OWN_LICENCE = ("LicenseRef-", "DocumentRef-", "NONE", "NOASSERTION")
"""What SPDX has no page of."""
_COMMIT_PATHS = {"gitlab": "/-/commit/", "bitbucket": "/commits/"}
"""How forges that do not have /commit/ spell it, by a word of their host."""


def waste(looked: Looked, query: Query) -> Json:
    """What is stored and not to be seen, by path, layer or cause, the most bytes first.  Raises BadQuery."""
    by = query.choice("by", ("path", "layer", "cause"))
    return ledger(looked.subject, by, page_of(query.text("after")), query.limit())


def ledger(subject: Subject, by: str, first: int, limit: int) -> Json:
    """A page of it, `limit` rows from `first` on."""
    from veneer.analysis.waste import by_cause, by_maker, by_path

    account = subject.account
    rows = {"path": by_path, "layer": by_maker, "cause": by_cause}[by](account.losses)
    shown = rows[first : first + limit]
    following = first + len(shown)
    return {
        "by": by, "total": account.wasted, "stored": account.stored, "rows": [_waste(row) for row in shown],
        "next": str(following) if following < len(rows) else None,
    }  # fmt: skip


def _waste(row: Waste) -> Json:
    from veneer.analysis.copies import Cause

    if isinstance(row.key, bytes):
        named = words.path_document(row.key)
        named["key"] = named.pop("path")
    else:
        named = {"key": row.key.shown if isinstance(row.key, Cause) else row.key + 1}
    return named | {
        "bytes": row.bytes, "files": row.files, "held_in": words.numbers(row.holders),
        "made_by": words.numbers(row.makers), "causes": [cause.shown for cause in row.causes],
        # Of a layer with many causes each of its paths tells its own.
        "remedy": "; ".join(remedy((cause,)) for cause in row.causes) if isinstance(row.key, bytes)
        else remedy(row.causes),
    }  # fmt: skip


def noteworthy(looked: Looked, query: Query) -> Json:
    """What somebody who looks at the image should be told, a page of it.  Raises BadQuery."""
    from veneer.engine.looking.findings import findings

    found = looked.kept("findings", lambda: findings(looked.subject), 5)
    return findings_document(found, page_of(query.text("after")), query.limit())


def findings_document(found: Sequence[Finding], first: int, limit: int) -> Json:
    """The same, `limit` of them from `first` on."""
    shown = found[first : first + limit]
    following = first + len(shown)
    rows = [
        words.path_document(each.path)
        | {"concern": each.concern.value, "layer": each.layer + 1, "bytes": each.bytes, "detail": each.detail}
        for each in shown
    ]
    return {"total": len(found), "rows": rows, "next": str(following) if following < len(found) else None}


# -- labels ---------------------------------------------------------------------------------------------------


def labels(subjects: Subjects, looked: Looked) -> Json:
    """Labels and annotations, where they lead, which are missing, and images of the same layers."""
    from veneer.engine.looking.origins import labels as said

    return labels_document(said(looked.subject)) | {"identical": _identical(subjects, looked)}


def labels_document(found: Sequence[Label]) -> Json:
    """The same without other images."""
    from veneer.engine.looking.origins import missing_labels

    values: dict[str, str] = {}
    for label in found:
        values.setdefault(label.key, label.value)
    return {
        "labels": [{"key": label.key, "value": label.value, "source": label.source} for label in found],
        "missing": missing_labels(found), "links": links(values),
    }  # fmt: skip


def links(values: Mapping[str, str]) -> Json:
    """What labels say of a few known things; of addresses only those that a browser may follow."""
    told = {key: values.get(OCI + key) or values.get(LABEL_SCHEMA + _OLD.get(key, key), "") for key in _LINKED}
    source, revision = web_address(told["source"]), told.pop("revision")
    licences = licences_of(told.pop("licenses"))
    return told | {
        "source": source, "commit": revision, "commit_url": commit_address(source, revision),
        "url": web_address(told["url"]), "documentation": web_address(told["documentation"]),
        "licences": [{"id": each, "url": f"https://spdx.org/licenses/{quote(each)}.html"} for each in licences],
    }  # fmt: skip


def licences_of(text: str) -> list[str]:
    """The licences that an SPDX expression names (or a list with commas), each once; none of a text that is neither."""
    if text.count("(") != text.count(")"):
        return []
    words = text.replace("(", " ").replace(")", " ").replace(",", " AND ").split()
    names, joints = words[::2], words[1::2]
    if len(names) == len(joints) or not all(map(_LICENCE.fullmatch, names)):
        return []
    joined = all(each.upper() in _NO_LICENCE for each in joints) and not any(n.upper() in _NO_LICENCE for n in names)
    return [name for name in dict.fromkeys(names) if not name.startswith(_OWN_LICENCE)] if joined else []


def web_address(text: str) -> str:
    """An address as a browser follows it (git's own spellings become https); "" for anything else."""
    text = text.strip()
    scp = _SCP.fullmatch(text)
    if scp:
        text = f"https://{scp[1]}/{scp[2].lstrip('/')}"
    elif text.startswith("git://"):
        text = "https" + text.removeprefix("git")
    try:
        parts = urlsplit(text)
        known = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return ""
    return text if known and text.isprintable() and " " not in text else ""


def commit_address(source: str, revision: str) -> str:
    """Where a forge shows a commit of `source`; "" without both."""
    if not source or not re.fullmatch(r"[0-9A-Za-z._/-]{4,100}", revision):
        return ""
    host = urlsplit(source).hostname or ""
    path = next((path for word, path in _COMMIT_PATHS.items() if word in host), "/commit/")
    return source.partition("#")[0].rstrip("/").removesuffix(".git") + path + quote(revision)


def _identical(subjects: Subjects, looked: Looked) -> list[Json]:
    """Other images of the same layers, with another configuration."""
    from veneer.engine.looking.twins import twins

    found = twins(subjects.engine, looked.subject)
    return [{"ref": ref_of(twin.image), "id": str(twin.image.id), "how": twin.how} for twin in found]


def tags(subjects: Subjects, looked: Looked) -> Json:
    """The tags of the image's repositories that are here, those of one image together, newest first."""
    own = looked.image
    repositories = {tag.name: tag.familiar_name for tag in own.references} if own is not None else {}
    groups = []
    for image in subjects.engine.images.list(all=False) if repositories else ():
        for name, familiar in repositories.items():
            named = [tag.tag for tag in image.tags if tag.name == name]
            if named:
                groups.append(_group(subjects, image, familiar, named, current=own is not None and image.id == own.id))
    return {"groups": sorted(groups, key=lambda group: (group["repository"], group["created"]), reverse=True)}


def _group(subjects: Subjects, image: Image, repository: str, named: list[str | None], *, current: bool) -> Json:
    pull, at_most = subjects.pull_size(image)
    return {
        "repository": repository, "id": str(image.id), "digest": str(image.manifest),
        "tags": sorted(filter(None, named)), "created": words.moment(image.created or None),
        "platform": str(image.platform), "stored": image.size, "blob_size": pull, "blob_size_at_most": at_most,
        "layers": len(image.config.diff_ids), "current": current,
    }  # fmt: skip


# -- the Dockerfile, what-ifs ----------------------------------------------------------------------------------


def dockerfile(subjects: Subjects, looked: Looked) -> Json:
    """The Dockerfile again."""
    found = subjects.engine.looking.dockerfile(looked.subject)
    return {
        "text": found.text, "base": found.base, "found": found.found, "notes": list(found.notes),
        "lines": [{"keyword": line.keyword, "text": line.text, "comment": list(line.comment), "row": line.row,
                   "layer": line.layer} for line in found.lines],
    }  # fmt: skip


def what_if(subjects: Subjects, looked: Looked, query: Query) -> Json:
    """What would be: with layers squashed, without a path, on a host that has another image.  Raises BadQuery."""
    if "squash" in query:
        return _squashed(looked, query.text("squash"))
    if "without" in query:
        return _without(looked, query)
    if "have" in query:
        return _having(subjects, looked, query.text("have"))
    raise BadQuery("what if what?", hint="give squash=FIRST-LAST, without=/path or have=IMAGE")


def _squashed(looked: Looked, wanted: str) -> Json:
    from veneer.analysis.waste import saved_by_squashing

    account = looked.subject.account
    layers = len(account.layers)
    found = re.fullmatch(r"([0-9]{1,6})-([0-9]{1,6})", wanted)
    if found is None or not 1 <= int(found[1]) <= int(found[2]) <= layers:
        raise BadQuery(f"squash={wanted[:40]}: a range of layers is wanted, as 2-{max(layers, 2)}")
    first, last = int(found[1]), int(found[2])
    saved = saved_by_squashing(account.losses, first - 1, last - 1)
    return {"squash": [first, last], "saved": saved, "stored": account.stored - saved, "stored_now": account.stored}


def _without(looked: Looked, query: Query) -> Json:
    from veneer.analysis.cost import cost
    from veneer.analysis.view import NotThere

    subject = looked.subject
    path = found_path(subject.table, query.path("without"))
    blobs = [origin.blob.size if origin.blob else None for origin in subject.origins]
    costs = cost(subject.table, blobs, (path,))
    if not costs:
        raise NotThere(f"{path_text(path)} is in no layer of {subject.name}")
    stored, saved = subject.account.stored, sum(each.stored for each in costs)
    pull = [each.pull for each in costs]
    return {"without": path_text(path), "saved": saved, "stored": stored - saved, "stored_now": stored,
            "pull_saved": None if None in pull else sum(filter(None, pull))}  # fmt: skip


def _having(subjects: Subjects, looked: Looked, name: str) -> Json:
    with subjects.opened(name) as other:
        had = set(other.subject.config.diff_ids)
    pull, now = looked.subject.to_pull(had), looked.subject.to_pull()
    return {"have": name, "pull": pull, "pull_now": now}
