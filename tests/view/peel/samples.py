"""The images that the tests of `veneer peel` look at."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile

from tests.support.finished import loaded, row
from veneer.engine.engine import Engine
from veneer.testing.images import Tree, directory, file, hardlink, symlink

MB = 1_000_000


def tar_of(*names: str) -> bytes:
    """A compressed tar with files of these names, which are their contents too."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = len(name)
            archive.addfile(member, io.BytesIO(name.encode()))
    return gzip.compress(out.getvalue(), mtime=0)


def zip_of(*names: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in names:
            archive.writestr(zipfile.ZipInfo(name), name)
    return out.getvalue()


GREETING = "".join(f"line {number}\n" for number in range(1, 201))
BASE: Tree = {
    "etc": directory(), "etc/motd": b"welcome\n", "etc/passwd": b"root:x:0:0\n", "etc/alt": symlink("/etc/motd"),
    "usr": directory(), "usr/lib": directory(), "usr/lib/libbig.so": bytes(3 * MB), "usr/lib/libsmall.so": b"l" * 4000,
    "usr/lib/same.so": hardlink("usr/lib/libsmall.so"), "usr/share": directory(), "usr/share/thing": b"a file",
    "var": directory(), "var/lists": directory(), "var/lists/one": b"1" * 60_000, "var/lists/two": b"2" * 40_000,
}  # fmt: skip
INSTALLED: Tree = {
    "etc/motd": b"welcome, all of you\n", "opt": directory(), "opt/tool": file(b"#!/bin/sh\necho tool\n", 0o755),
    "opt/greeting.txt": GREETING.encode(), "usr/lib/libsmall.so": file(b"l" * 4000, 0o600),
}  # fmt: skip
TIDIED: Tree = {
    "var/.wh.lists": b"", "usr/.wh.share": b"", "usr/share": directory(), "usr/share/.wh..wh..opq": b"",
    "etc/.wh.alt": b"", "etc/alt": directory(), "etc/alt/inner": b"was a link",
}  # fmt: skip
APP: Tree = {
    "opt/greeting.txt": GREETING.replace("line 100\n", "line one hundred\n").encode(),
    "opt/bundle.tar.gz": tar_of("one.txt", "folder/two.txt"), "opt/bundle.zip": zip_of("inside.txt"),
    "opt/data.bin": bytes(range(256)), "opt/empty": b"",
}  # fmt: skip
SHOP_LABELS = {
    "org.opencontainers.image.title": "Shop", "org.opencontainers.image.source": "https://example.com/shop.git",
}  # fmt: skip
BUILDKIT = "buildkit.dockerfile.v0"
SHOP_HISTORY = [
    row("/bin/sh -c #(nop) ADD file:" + "a" * 64 + " in / "), row("ENV LANG=C", empty=True),
    row("ENV PATH=/bin", empty=True), row("LABEL maintainer=nobody", empty=True),
    row("RUN /bin/sh -c install tool && echo GREETING > /opt/greeting.txt # buildkit", comment=BUILDKIT),
    row("RUN /bin/sh -c rm -r /var/lists /usr/share # buildkit", comment=BUILDKIT),
    row("COPY . /opt # buildkit", comment=BUILDKIT), row("EXPOSE map[80/tcp:{}]", empty=True),
    row('CMD ["/opt/tool"]', empty=True),
]  # fmt: skip
SHOP_CONFIG = {
    "Labels": SHOP_LABELS, "Cmd": ["/opt/tool"], "Env": ["LANG=C", "PATH=/bin"], "User": "1000",
    "ExposedPorts": {"80/tcp": {}},
}  # fmt: skip
EVIL_NAMES = (
    "<script>alert(1)</script>", "[bold red]loud[/]", "[/]", "[@click=app.quit]press me[/]", "line\nfeed", "tab\tstop",
    "esc\x1b[2J\x1b[31m", "\x1b]0;title\x07", "rtl\u202etxt.exe", "\u2066isolate", "bad\udcff\udcfe", "back\\slash",
    "a\\x41", "zero\u200bwidth", "z" + "\u0301" * 40, "\u0301first", "wide漢字" * 20, "\U0001f469\u200d\U0001f680",
    "n" * 255, " ", "-rf", "*", "~", "%s%n", "$(reboot)", "\u2028separator", "\x7f", "\x9b31m", "\ufeffmark",
    "\ue000private",
    "אבג", "ﷺ", "e\u20dd", "\u115f\u1160filler", "\u00adsoft", "\U000e0041tag", "…",
)  # fmt: skip
"""Names that nobody means well with: markup, control characters, escapes, marks without end, no UTF-8."""
EVIL_LABELS = {
    "x": "</script>\x1b[31m", "[bold]key[/]": "line\nfeed" + "\u0301" * 50, "long": "word" * 500, "רטל": "\u202eabc",
}  # fmt: skip


def fill(engine: Engine) -> None:
    """The store of these tests."""
    loaded(engine, "base:1", BASE)
    loaded(engine, "shop:1", BASE, INSTALLED, TIDIED, APP, config=SHOP_CONFIG, history=SHOP_HISTORY)
    loaded(engine, "shop:2", BASE, INSTALLED, {"opt/greeting.txt": b"short\n"})
    loaded(engine, "clean:1", {"only": b"1"})
    loaded(engine, "void:1")
    evil: Tree = {f"d/{name}": f"{number}\x1b[31m\n".encode() for number, name in enumerate(EVIL_NAMES)}
    loaded(
        engine, "evil:1", evil, {f"d/{EVIL_NAMES[0].replace('/', '')}": b"2", **dict(list(evil.items())[1:9])},
        {"d/.wh." + EVIL_NAMES[4]: b""}, config={"Labels": EVIL_LABELS, "Cmd": ["\x1b[2J", "[b]x"]},
        history=[row("RUN \x1b[2J [bold]x[/] " + "y" * 400), row("COPY line\nfeed \u202e /"), row("RUN [/]")],
    )  # fmt: skip
