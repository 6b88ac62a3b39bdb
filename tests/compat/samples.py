"""The images both engines are shown, chosen for what engines disagree about."""

from __future__ import annotations

from veneer.oci.image import HistoryEntry
from veneer.testing.images import CREATED, SampleImage, Tree, directory, file, hardlink, image, symlink

BASE: Tree = {
    "bin": directory(),
    "bin/tool": file(b"#!" * 4000, 0o4755),
    "bin/alias": symlink("tool"),
    "etc": directory(),
    "etc/hostname": b"base\n",
    "etc/second": hardlink("etc/hostname"),
    "tmp": directory(0o1777),
}
CHANGE: Tree = {"etc": directory(), "etc/.wh.hostname": b"", "etc/motd": b"hello\n"}
LINKS: Tree = {"var": directory(), "var/out": symlink("/dev/stdout"), "var/err": symlink("/dev/stderr")}
WHITEOUTS: Tree = {"bin": directory(), "bin/.wh.alias": b""}

NOP = "/bin/sh -c #(nop) "


def row(created_by: str, *, empty: bool = False, created: str = CREATED, comment: str = "") -> HistoryEntry:
    return HistoryEntry(created=created, created_by=created_by, comment=comment, empty_layer=empty)


def nginx_like() -> SampleImage:
    """Ten rows, three layers, like the image everybody looks at first."""
    return image(
        BASE, CHANGE, LINKS,
        style="docker",
        history=[
            row(f"{NOP} ADD file:5d68d27cc15a80653c93d3a0b262a28112d47a46326ff5fc2dfbf7fa3b9a0ce8 in / "),
            row(f'{NOP} CMD ["bash"]', empty=True),
            row(f"{NOP} LABEL maintainer=NGINX Docker Maintainers", empty=True),
            row(f"{NOP} ENV NGINX_VERSION=1.15.6-1~stretch", empty=True),
            row(f"{NOP} ENV NJS_VERSION=1.15.6.0.2.5-1~stretch", empty=True),
            row("/bin/sh -c set -x \t&& apt-get update \t&& apt-get install -y gnupg1"),
            row("/bin/sh -c ln -sf /dev/stdout /var/out\t&& ln -sf /dev/stderr /var/err"),
            row(f"{NOP} EXPOSE 80", empty=True),
            row(f"{NOP} STOPSIGNAL [SIGTERM]", empty=True),
            row(f'{NOP} CMD ["nginx" "-g" "daemon off;"]', empty=True, comment="the last one"),
        ],
        config={"Cmd": ["nginx", "-g", "daemon off;"], "Env": ["NGINX_VERSION=1.15.6-1~stretch"],
                "ExposedPorts": {"80/tcp": {}}, "Labels": {"maintainer": "NGINX <Docker> & Maintainers"}},
    )  # fmt: skip


ODD: dict[str, SampleImage] = {
    "ten rows, three layers": nginx_like(),
    "no history at all": image(BASE, CHANGE, LINKS, style="docker", history=()),
    "one row for three layers": image(BASE, CHANGE, LINKS, style="docker", history=[row("only")]),
    "whiteouts only": image(BASE, WHITEOUTS, style="docker"),
    "wide characters": image(BASE, style="docker", history=[row("RUN echo " + "漢字" * 30)]),
    "a row of 44, one of 45, one of 46 columns": image(
        BASE, CHANGE, LINKS, style="docker", history=[row("x" * 44), row("y" * 45), row("z" * 46)]
    ),
    "markup and quotes in a row": image(BASE, style="docker", history=[row('RUN echo "<&>" \'a\' \\ | cat')]),
    "rows with comments": image(BASE, CHANGE, style="docker",
                                history=[row("", comment="Imported from -"), row("sh", comment="by hand")]),
    "same layer twice": image(BASE, CHANGE, CHANGE, style="docker"),
}  # fmt: skip
"""What it shows -> the image.  Every row is old enough for its age to be the same in both outputs."""

UNDATED: dict[str, SampleImage] = {
    "rows without a date": image(BASE, style="docker", created="", history=[row("undated", created="")]),
    "rows of the epoch": image(BASE, style="docker", created="1970-01-01T00:00:00Z",
                               history=[row("epoch", created="1970-01-01T00:00:00Z")]),
}  # fmt: skip
"""Dates no image was made at; what is printed for them changed between client 20.10 and 28."""
