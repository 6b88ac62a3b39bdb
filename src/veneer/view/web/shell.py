"""The pages as they come, before any script runs: what is asked for as plain tables, for whoever has no script."""

from __future__ import annotations

from urllib.parse import quote, urlencode

from veneer.view.amounts import size
from veneer.view.web.markup import Html, element, joined, link, table, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from veneer.view.web.words import Json

NAME = "veneer"


def page(kind: str, title: str, *content: Any, ref: str = "") -> bytes:
    """A whole page; `kind` tells the script what to draw in its place."""
    navigation = element("nav", link("/", "images"), " ", link("/compare", "compare"), aria_label="Pages")
    main = element("main", *content, id="app", data_page=kind, data_ref=ref or None)
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{text(title)} · {NAME}</title>"
        '<meta name="color-scheme" content="light dark"><link rel="icon" href="/static/icon.svg" type="image/svg+xml">'
        '<link rel="stylesheet" href="/static/app.css"><script src="/static/app.js" defer></script>'
    )
    header = element("header", link("/", NAME), navigation, id="top")
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body>\n{header}\n{main}\n</body></html>\n'.encode(
        "utf-8", "backslashreplace"
    )


def image_url(ref: str) -> str:
    return f"/i/{quote(ref, safe=':@')}"


def layer_url(diff_id: str) -> str:
    return f"/l/{quote(diff_id, safe=':')}"


def history_url(ref: str, path: str) -> str:
    return "/history?" + urlencode({"image": ref, "path": path}, errors="backslashreplace")


def bytes_(number: int | None) -> str:
    """A size for people; "-" where nobody knows it."""
    if number is None:
        return "-"
    return ("-" if number < 0 else "") + size(abs(number))


def pull(document: Json) -> str:
    """What is to download of an image or a layer, marked where that is but the most it can be."""
    return ("≤" if document["blob_size_at_most"] else "") + bytes_(document["blob_size"])


def facts(pairs: Sequence[tuple[str, Any]]) -> Html:
    return element("dl", *(joined([element("dt", name), element("dd", value)]) for name, value in pairs))


def images(documents: Sequence[Json]) -> bytes:
    rows = [
        [link(image_url(each["ref"]), each["ref"]), ", ".join(each["tags"]), each["platform"], each["created"],
         bytes_(each["stored"]), pull(each), each["layers"]]
        for each in documents
    ]  # fmt: skip
    head = ["Image", "Tags", "Platform", "Created", "#Stored", "#To pull", "#Layers"]
    found = table("Images of this store", head, rows) if rows else element("p", "There are no images here yet.")
    return page("images", "Images", element("h1", "Images"), found)


def image(document: Json) -> bytes:
    ref = document["ref"]
    told = [
        ("visible", bytes_(document["visible"])), ("stored", bytes_(document["stored"])),
        ("wasted", bytes_(document["wasted"])), ("efficiency", f"{100 * document['efficiency']:.1f}%"),
        ("to pull", pull(document)), ("platform", document["platform"]),
        ("created", document["created"] or "-"), ("base", _base(document["base"])),
        ("tags", ", ".join(document["tags"]) or "-"), ("ID", element("code", document["id"])),
    ]  # fmt: skip
    return page("image", ref, element("h1", ref), facts(told), layers(document["layers"]), ref=ref)


def _base(base: Json | None) -> Any:
    if base is None:
        return "-"
    return link(image_url(base["here"]), base["ref"]) if base["here"] else base["ref"]


def layers(documents: Sequence[Json]) -> Html:
    rows = []
    for each in documents:
        before = [element("div", row["shown"], class_="dim") for row in each["empty_before"]]
        counts = "/".join(str(each["n"][letter]) for letter in "AMPDO")
        content = link(layer_url(each["diff_id"]), element("code", each["diff_id"][7:19])) if each["diff_id"] else ""
        rows.append([each["index"], joined([*before, element("code", each["instruction"])]), content,
                     pull(each), bytes_(each["stored"]), bytes_(each["net"]),
                     bytes_(each["cumulative"]), bytes_(each["waste_made"]), counts])  # fmt: skip
    head = ["#Layer", "Instruction", "Content", "#To pull", "#Stored", "#Net", "#Total", "#Waste made", "#A/M/P/D/O"]
    return table("Layers, base first", head, rows)


def comparison(document: Json, nodes: Sequence[Json]) -> bytes:
    """`document` as /compare gives it, `nodes` the layers of all the images, base first."""
    several = document["images"]
    sums = [("if nothing were shared", bytes_(document["unshared"])), ("each layer once", bytes_(document["unique"])),
            ("saved by sharing", bytes_(document["saved"])), ("unique layers", document["unique_layers"]),
            ("largest", bytes_(document["largest"]))]  # fmt: skip
    rows = []
    for node in nodes:
        who = ", ".join(several[number]["ref"] for number in node["images"])
        also = ", ".join(several[number]["ref"] for number in node["also"]) or "-"
        rows.append([node["index"], element("code", node["instruction"]), bytes_(node["stored"]), who, also])
    columns = [[link(image_url(each["ref"]), each["ref"]), bytes_(each["stored"]), pull(each), len(each["layers"])]
               for each in several]  # fmt: skip
    wrong = [element("p", f"{each['ref']}: {each['error']}", class_="error") for each in document["errors"]]
    return page(
        "compare", "Compare", element("h1", "Compare"), *wrong, facts(sums),
        table("Images", ["Image", "#Stored", "#To pull", "#Layers"], columns),
        table("Layers, each once", ["#Layer", "Instruction", "#Stored", "In", "Same content elsewhere in"], rows),
        ref=",".join(each["ref"] for each in several),
    )  # fmt: skip


def choice() -> bytes:
    """The comparison of nothing yet."""
    form = Html('<form action="/compare" method="get"><label>Images, with commas between them '
                '<input name="images" required></label> <button>Compare</button></form>')  # fmt: skip
    return page("compare", "Compare", element("h1", "Compare"), form)


def history(document: Json, ref: str) -> bytes:
    rows = [
        [each["layer"], each["op"], bytes_(each["size"]), each["mode"], f"{each['uid']}:{each['gid']}",
         ", ".join(each["fields_changed"]) or each["cause"] or "-", element("code", each["instruction"])]
        for each in document["events"]
    ]  # fmt: skip
    verdict = document["verdict"]
    told = f"{bytes_(verdict['stored'])} stored, {bytes_(verdict['visible'])} visible"
    head = ["#Layer", "Op", "#Size", "Mode", "Owner", "Changed", "Instruction"]
    return page("history", document["path"], element("h1", document["path"]),
                element("p", "in ", link(image_url(ref), ref), ": ", told), table("What layers did to it", head, rows),
                ref=ref)  # fmt: skip


def diff(document: Json) -> bytes:
    rows = []
    for each in document["files"]:
        where = history_url(document["b"] if each["after"] else document["a"], each["path"])
        rows.append([each["op"], link(where, each["path"]), bytes_(each["size_before"]), bytes_(each["size_after"]),
                     ", ".join(each["changed"])])  # fmt: skip
    settings = [[each["key"], each["before"], each["after"]] for each in document["settings"]]
    left = document["total"] - len(rows)
    return page(
        "diff", f"{document['a']} and {document['b']}", element("h1", f"{document['a']} → {document['b']}"),
        table("Files", ["Op", "Path", "#Before", "#After", "Changed"], rows),
        element("p", f"... {left} more") if left else "",
        table("Settings", ["Key", "Before", "After"], settings), ref=f"{document['a']},{document['b']}",
    )  # fmt: skip


def layer(document: Json) -> bytes:
    rows = [[link(image_url(each["ref"]), each["ref"]), each["layer"], element("code", each["chain_id"][7:19])]
            for each in document["images"]]  # fmt: skip
    told = [("stored", bytes_(document["stored"])), ("entries", document["entries"])]
    told += [("blob", f"{each['digest']} {bytes_(each['size'])}") for each in document["blobs"]]
    return page("layer", document["diff_id"][:19], element("h1", "Layer ", element("code", document["diff_id"])),
                facts(told), table("Images with this content", ["Image", "#As layer", "Chain ID"], rows),
                ref=document["diff_id"])  # fmt: skip


def failure(status: int, message: str, hint: str) -> bytes:
    return page("error", f"{status}", element("h1", "Not shown"), element("p", message, class_="error"),
                element("p", hint) if hint else "")  # fmt: skip
