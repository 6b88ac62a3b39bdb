"""A small shop's images, as found on a developer's machine: bases, what is built on them, what went wrong.

Sizes are in kilobytes for tests and in megabytes for pictures (`scale`); contents are noise, half of it compressible.
"""

from __future__ import annotations

import io
import random
from collections.abc import Mapping

from veneer.engine.engine import Engine
from veneer.oci.image import HistoryEntry
from veneer.testing.images import (
    Member,
    SampleImage,
    SampleLayer,
    directory,
    file,
    hardlink,
    image,
    layer_tar,
    oci_archive,
    symlink,
)

Sizes = Mapping[str, int]
_LIB = "usr/lib/x86_64-linux-gnu"
_SOURCE = "https://github.com/example/shop"


def noise(size: int, seed: str) -> bytes:
    """Bytes that compress to about half."""
    made = random.Random(seed).randbytes(min(size // 2, 1 << 20)) or b"\0"
    times = size // 2 // len(made) + 1
    return (made * times)[: size // 2] + bytes(size - size // 2)


class Kit:
    """Layers by what is in them; sizes as given times `scale` bytes."""

    def __init__(self, scale: int) -> None:
        self.scale = scale

    def layer(
        self,
        sizes: Sizes,
        *,
        mode: int = 0o644,
        owner: int = 0,
        more: Mapping[str, Member | bytes] | None = None,
        version: str = "1",
    ) -> SampleLayer:
        """A layer of files by path; directories above them are added."""
        tree: dict[str, Member | bytes] = {}
        for path, size in sizes.items():
            _above(tree, path, owner)
            bits = 0o755 if "/bin/" in path else mode
            tree[path] = file(noise(size * self.scale, path + version), bits).owned(owner, owner)
        for path, member in (more or {}).items():
            _above(tree, path, owner)
            tree[path] = member
        return SampleLayer(layer_tar(tree), "zstd")


def _above(tree: dict[str, Member | bytes], path: str, owner: int) -> None:
    parts = path.split("/")[:-1]
    for depth in range(1, len(parts) + 1):
        tree.setdefault("/".join(parts[:depth]), directory().owned(owner, owner))


BASE: Sizes = {
    f"{_LIB}/libc.so.6": 1920, f"{_LIB}/libcrypto.so.3": 4700, f"{_LIB}/libstdc++.so.6.0.30": 2200,
    f"{_LIB}/libsystemd.so.0.35.0": 900, f"{_LIB}/libgnutls.so.30.34.3": 2100, f"{_LIB}/libapt-pkg.so.6.0.0": 2000,
    f"{_LIB}/libunistring.so.2.2.0": 1900, f"{_LIB}/perl-base/List/Util.pm": 300, f"{_LIB}/perl-base/unicore.dat": 1400,
    "usr/bin/perl": 3700, "usr/bin/bash": 1270, "usr/bin/apt": 18, "usr/bin/dpkg": 310, "usr/bin/tar": 530,
    "usr/bin/openssl": 980, "usr/sbin/usermod": 140, "usr/sbin/ldconfig": 1100,
    "usr/share/i18n/locales/all": 5200, "usr/share/locale/de/LC_MESSAGES/coreutils.mo": 330,
    "usr/share/locale/fr/LC_MESSAGES/coreutils.mo": 340, "usr/share/doc/apt/copyright": 12,
    "usr/share/doc/perl/changelog.gz": 700, "usr/share/zoneinfo/tzdata.bin": 3300, "usr/share/perl5/Debconf.pm": 1200,
    "var/lib/dpkg/status": 680, "var/lib/dpkg/info/all.list": 2600, "var/cache/debconf/templates.dat": 900,
    "etc/ssl/openssl.cnf": 12, "etc/passwd": 1, "etc/debian_version": 1,
}  # fmt: skip
APT: Sizes = {
    "usr/share/ca-certificates/mozilla/all.crt": 420, "etc/ssl/certs/ca-certificates.crt": 220,
    f"{_LIB}/libsqlite3.so.0.8.6": 1400, f"{_LIB}/libreadline.so.8.2": 340,
    "var/lib/apt/lists/deb.debian.org_main_Packages": 8400, "var/lib/dpkg/status": 720,
}  # fmt: skip
PYTHON: Sizes = {
    "usr/local/lib/libpython3.13.so.1.0": 18400, "usr/local/bin/python3.13": 20, "usr/local/bin/pip": 1,
    "usr/local/lib/python3.13/encodings/all.pyc": 900, "usr/local/lib/python3.13/asyncio/all.pyc": 1100,
    "usr/local/lib/python3.13/lib-dynload/_ssl.so": 1300, "usr/local/lib/python3.13/ensurepip/pip.whl": 1800,
    "usr/local/lib/python3.13/site-packages/pip/all.pyc": 8600, "usr/local/lib/python3.13/idlelib/all.pyc": 2400,
    "usr/local/lib/python3.13/pydoc_data/topics.py": 740,
}  # fmt: skip
NODE: Sizes = {
    "usr/local/bin/node": 61000, "usr/local/include/node/v8.h": 2600, "usr/local/lib/node_modules/npm/all.js": 9400,
    "usr/local/lib/node_modules/corepack/dist/lib.js": 1300, "usr/local/share/doc/node/gdbinit": 15,
    "usr/local/share/man/man1/node.1": 40,
}  # fmt: skip
PACKAGES: Sizes = {
    "usr/local/lib/python3.13/site-packages/numpy/_core.so": 21000,
    "usr/local/lib/python3.13/site-packages/numpy/tests/data.npz": 5200,
    "usr/local/lib/python3.13/site-packages/sqlalchemy/all.pyc": 6300,
    "usr/local/lib/python3.13/site-packages/fastapi/all.py": 1900,
    "usr/local/lib/python3.13/site-packages/pydantic_core/_pydantic_core.so": 4700,
    "root/.cache/pip/http/wheels.bin": 14200,
}  # fmt: skip
APP: Sizes = {
    "app/shop/models.py": 210, "app/shop/api.py": 160,
    "app/shop/static/catalogue.db": 9800, "app/shop/static/logo.png": 480,
    "app/tests/recordings.json": 5400, "app/.env": 1,
}  # fmt: skip


def _row(text: str, *, empty: bool = False, day: int = 1) -> HistoryEntry:
    return HistoryEntry(f"2026-10-{day:02d}T09:30:00Z", text, comment="buildkit.dockerfile.v0", empty_layer=empty)


_ADD = _row("# debian.sh --arch 'amd64' out/ 'bookworm' '@1759104000'")
_CA = _row(
    "RUN /bin/sh -c apt-get update && apt-get install -y "
    "--no-install-recommends ca-certificates libsqlite3-0 # buildkit"
)
_PYTHON = _row(
    "RUN /bin/sh -c set -eux; wget -O python.tar.xz "
    "https://www.python.org/ftp/python/3.13.1; make -j install # buildkit"
)
_LINKS = _row(
    "RUN /bin/sh -c set -eux; for src in idle3 pip3 pydoc3 python3; do ln -svT $src /usr/local/bin/; done # buildkit"
)
_NODE = _row(
    "RUN /bin/sh -c set -ex && curl -fsSLO "
    "https://nodejs.org/dist/v22.11.0/node-linux-x64.tar.xz && tar -xJf node.tar.xz # buildkit"
)
_WORKDIR = _row("WORKDIR /app", empty=True, day=12)


def images(scale: int) -> list[tuple[str, SampleImage]]:
    """The shop's images by name."""
    kit = Kit(scale)
    base = kit.layer(BASE)
    apt = kit.layer(APT)
    python = kit.layer(PYTHON)
    links = kit.layer(
        {}, more={f"usr/local/bin/{name}": symlink(f"{name}3.13") for name in ("python3", "python", "idle3")}
    )
    node = kit.layer(NODE)
    packages = kit.layer(PACKAGES)
    app = kit.layer(APP)
    owned = kit.layer({path: size for path, size in APP.items() if "test" not in path}, owner=1000)
    gone = kit.layer(
        {}, more={"root/.cache/.wh.pip": b"", "var/lib/apt/.wh.lists": b"", "app/.wh..env": b"", "app/.wh.tests": b""}
    )
    entry = kit.layer({"usr/local/bin/entrypoint.sh": 4})
    settings = {"Cmd": ["python3"], "Env": ["PATH=/usr/local/bin:/usr/bin:/bin", "PYTHON_VERSION=3.13.1"]}
    python_rows = [
        _ADD,
        _row('CMD ["bash"]', empty=True),
        _CA,
        _row("ENV PYTHON_VERSION=3.13.1", empty=True),
        _PYTHON,
        _LINKS,
        _row('CMD ["python3"]', empty=True),
    ]
    api_rows = [*python_rows, _WORKDIR, _row("RUN /bin/sh -c pip install -r requirements.txt # buildkit", day=12)]
    last = [
        _row("COPY entrypoint.sh /usr/local/bin/entrypoint.sh # buildkit", day=12),
        _row("USER 1000", empty=True, day=12),
            _row("ENTRYPOINT [\"entrypoint.sh\"]", empty=True, day=12)]  # fmt: skip
    labels = {
        "org.opencontainers.image.title": "shop api", "org.opencontainers.image.source": _SOURCE,
        "org.opencontainers.image.revision": "8f3c2a1d9be04c7f55e6",
        "org.opencontainers.image.licenses": "BSD-3-Clause",
        "org.opencontainers.image.version": "2.4", "org.opencontainers.image.vendor": "Example Shop",
    }  # fmt: skip
    run = {"Cmd": ["serve"], "Entrypoint": ["entrypoint.sh"], "User": "1000", "WorkingDir": "/app", "Labels": labels}
    api = [
        _row("COPY . /app # buildkit", day=12), _row("RUN /bin/sh -c chown -R 1000:1000 /app # buildkit", day=12),
        _row("RUN /bin/sh -c rm -rf /root/.cache/pip /var/lib/apt/lists /app/.env /app/tests # buildkit", day=12),
    ]  # fmt: skip
    web_rows = [
        _ADD,
        _CA,
        _NODE,
        _row("RUN /bin/sh -c npm ci --omit=dev # buildkit", day=14),
        _row("COPY dist /srv # buildkit", day=14),
    ]
    modules = kit.layer(
        {
            "srv/node_modules/next/dist/all.js": 16800,
            "srv/node_modules/sharp/vendor/lib.so": 7900,
            "srv/node_modules/react/index.js": 310,
        }
    )
    dist = kit.layer({"srv/dist/app.js": 2100, "srv/dist/pictures/hero.png": 3600})
    old = kit.layer(APP, version="0")

    def made(
        layers: list[SampleLayer], rows: list[HistoryEntry], config: Mapping[str, object], day: int
    ) -> SampleImage:
        return image(*layers, history=rows, config=dict(config), created=f"2026-10-{day:02d}T09:31:00Z")

    return [
        ("debian:12-slim", made([base], [_ADD], {"Cmd": ["bash"]}, 1)),
        ("python:3.13-slim", made([base, apt, python, links], python_rows, settings, 2)),
        ("node:22-slim", made([base, apt, node], [_ADD, _CA, _NODE], {"Cmd": ["node"]}, 2)),
        (
            "shop/api:2.4",
            made([base, apt, python, links, packages, app, owned, gone, entry], [*api_rows, *api, *last], run, 12),
        ),
        (
            "shop/api:2.3",
            made([base, apt, python, links, packages, old, entry], [*api_rows, api[0], *last], run | {"Labels": {}}, 5),
        ),
        (
            "shop/worker:2.4",
            made(
                [base, apt, python, links, packages, dist],
                [*api_rows, _row("COPY dist /srv # buildkit", day=13)],
                settings,
                13,
            ),
        ),
        ("shop/web:2.4", made([base, apt, node, modules, dist, entry], [*web_rows, *last], {"Cmd": ["server.js"]}, 14)),
    ]


def fill(engine: Engine, scale: int = 1) -> None:
    """Put the shop's images into a store."""
    for name, one in images(scale):
        engine.images.load(io.BytesIO(oci_archive((name, one))))
    engine.images.tag("shop/api:2.4", "shop/api:latest")


EVIL_NAMES = {
    "<script>pwned=1</script>": "<script>pwned=1<",
    "<img src=x onerror=pwned=1>": "<img src=x onerror=pwned=1>",
    '"><svg onload=pwned=1>': '"><svg onload=pwned=1>',
    "${pwned=1}{{pwned=1}}": "${pwned=1}{{pwned=1}}",
    "javascript:pwned=1": "javascript:pwned=1",
    "line\nfeed": "line\\nfeed",
    "esc\x1b[31m": "esc\\x1b[31m",
    "\u202etxt.exe": "\\u{202e}txt.exe",
    "zero\u200bwidth": "zero\\u{200b}width",
    "bad\udcff\udcfe": "bad\\xff\\xfe",
    "?q=1&at=2#x": "?q=1&at=2#x",
    "percent%2e%2e%2f": "percent%2e%2e%2f",
    "back\\slash": "back\\slash",
    "\u05d0\u05d1\u05d2 (1)": "\u05d0\u05d1\u05d2 (1)",
    "z" + "\u0337\u0322\u0334" * 40: "z\u0337",
    "m" * 250: "m" * 250,
}
"""Names of files, and how (the beginning of) each has to be seen."""
_EVIL = "</script><script>pwned=1</script><img src=x onerror=pwned=1>\"'\u202e\x1b]0;x\x07\n"
DEEP = "deep/" + "/".join(["d" * 210] * 19)
"""A path of 4,000 bytes."""


def fill_hostile(engine: Engine) -> None:
    """An image whose every text wants to be something else."""
    names: dict[str, Member | bytes] = {"d": directory(), "etc": directory(), "etc/motd": b"one\ntwo\nthree\n"}
    for number, name in enumerate(EVIL_NAMES):
        names[f"d/{name.replace('/', chr(0x2215))}"] = noise(200 + number, str(number))
    names |= {
        "h": directory(),
        "h/first": noise(4000, "h"),
        "h/second": hardlink("h/first"),
        "h/third": hardlink("h/first"),
    }
    names |= {"etc/<script>pwned=1.key": b"-", "etc/su\u202e": file(b"s", 0o4755), "etc/open": file(b"o", 0o666)}
    _above(names, DEEP, 0)
    names[DEEP] = b"here"
    names |= {"many": directory()} | {f"many/{number:04}": b"" for number in range(500)}
    names["d/link"] = symlink(_EVIL)
    again: dict[str, Member | bytes] = {"etc/motd": f"one\n2 {_EVIL}\nthree\n".encode(), "h/.wh.first": b""}
    rows = [
        HistoryEntry("2026-10-20T00:00:00Z", f"RUN echo {_EVIL}{'x' * 3000}", author=_EVIL, comment=_EVIL),
        HistoryEntry("2026-10-20T00:00:00Z", f"ENV A={_EVIL}", empty_layer=True),
        HistoryEntry("not a time", f"COPY {_EVIL} /etc/"),
    ]
    labels = {
        "x": _EVIL, _EVIL: "y", "long" * 60: "y" * 3000, "org.opencontainers.image.source": "javascript:pwned=1",
        "org.opencontainers.image.title": _EVIL, "org.opencontainers.image.licenses": _EVIL,
        "org.opencontainers.image.url": "https://example.com/" + _EVIL,
    }  # fmt: skip
    config: dict[str, object] = {"Cmd": [_EVIL], "Labels": labels, "User": _EVIL, "WorkingDir": "/" + "w" * 900}
    made = image(names, again, history=rows, config=config)
    engine.images.load(io.BytesIO(oci_archive(("evil:1", made))))
