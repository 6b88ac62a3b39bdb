"""A Dockerfile found again from the history that another builder wrote builds, there, to the same configuration."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.compat.conftest import Veneer
from tests.support.flattened import read
from tests.support.peers import ContainersTool, Docker
from tests.support.programs import run

pytestmark = pytest.mark.compat

DOCKERFILE = r"""
ENV A="x y" B='$z' C=
LABEL "k e"="v 1" q="say \"hi\"" path="a\\b"
ARG D=1
RUN echo "$A"   "$D" > /made && \
    echo two
RUN ["/bin/echo", "a", "b"]
WORKDIR /w
WORKDIR sub dir
SHELL ["/bin/sh", "-ec"]
EXPOSE 80 53/udp
VOLUME ["/v", "/b c"]
ENTRYPOINT exec "$@"
CMD ["nginx", "-g", "daemon off;", "\"q\""]
HEALTHCHECK --interval=5s --timeout=90s --retries=3 CMD curl -f http://x || exit 1
USER 5:6
STOPSIGNAL SIGQUIT
ONBUILD RUN echo $A "b c"
"""
_OF_ONE_BUILD = ("Hostname", "Image", "ArgsEscaped")


def settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a configuration says, however its writer spells nothing."""
    return {key: value for key, value in config.items() if value and key not in _OF_ONE_BUILD}


def instructions(history: list[dict[str, Any]]) -> list[str]:
    return [row.get("created_by", "") for row in history]


def recovered(ours: Veneer, archive: Path, base: str) -> tuple[str, list[str], dict[str, Any]]:
    """The file, its arguments as words of a command line, and the saved image's config."""
    ours("load", "--input", archive)
    name = "compat/recovered:1" if base != "localhost/base" else "localhost/compat/recovered:1"
    text = ours("image", "dockerfile", "--base", base, name).out
    given = json.loads(ours("image", "dockerfile", "--base", base, "--format", "{{json .Args}}", name).out)
    words = [word for key, value in given.items() for word in ("--build-arg", f"{key}={value}")]
    return text, words, dict(read(archive).config)


@pytest.mark.parametrize("builder", ["classic", "BuildKit"])
def test_dockers_images(ours: Veneer, theirs: Docker, busybox: Path, tmp_path: Path, builder: str) -> None:
    theirs("import", busybox, "compat/base:1")
    base = tmp_path / "base.tar"
    theirs("save", "-o", base, "compat/base:1")
    ours("load", "--input", base)
    context = tmp_path / "context"
    context.mkdir()
    archive = tmp_path / "image.tar"

    def build(text: str, *words: str) -> None:
        (context / "Dockerfile").write_text(text)
        command, environment = theirs.command(
            "build", "--no-cache", "--network", "none", "-q", "-t", "compat/recovered:1", *words, context
        )
        run(*command, env={**environment, "DOCKER_BUILDKIT": "0" if builder == "classic" else "1"})
        theirs("save", "-o", archive, "compat/recovered:1")

    build("FROM compat/base:1" + DOCKERFILE, "--build-arg", "D=a  b")
    text, words, first = recovered(ours, archive, "compat/base:1")
    build(text, *words)
    _, _, second = recovered(ours, archive, "compat/base:1")
    assert settings(first["config"]) == settings(second["config"]), text
    assert instructions(first["history"]) == instructions(second["history"]), text


def test_buildahs_images(ours: Veneer, buildah: ContainersTool, busybox: Path, tmp_path: Path) -> None:
    context = tmp_path / "context"
    context.mkdir()
    (context / "busybox.tar").symlink_to(busybox)

    def build(text: str, name: str, *words: str) -> Path:
        (context / "Dockerfile").write_text(text)
        buildah(
            "bud", "--format", "docker", "--isolation", "chroot", "--layers", "--no-cache", "-t", name, *words, context
        )
        archive = tmp_path / f"{len(list(tmp_path.iterdir()))}.tar"
        buildah("push", name, f"docker-archive:{archive}:{name}")
        return archive

    (context / "rootfs").mkdir()
    run("tar", "-xf", busybox, "-C", context / "rootfs")
    ours("load", "--input", build("FROM scratch\nCOPY rootfs /\n", "localhost/base"))
    # Not this one: buildah 1.28 takes the list for an instruction where there is a build argument.
    file = "FROM localhost/base" + DOCKERFILE.replace('RUN ["/bin/echo", "a", "b"]\n', "")
    name = "localhost/compat/recovered:1"
    text, words, first = recovered(ours, build(file, name, "--build-arg", "D=a  b"), "localhost/base")
    _, _, second = recovered(ours, build(text, name, *words), "localhost/base")
    assert settings(first["config"]) == settings(second["config"]), text
