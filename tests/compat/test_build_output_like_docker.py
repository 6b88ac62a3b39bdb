"""What a build prints, and what its image shows afterwards, is classic docker's: lines, keys, sentences of errors."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.compat.conftest import Veneer, first_line
from tests.support.peers import Docker
from tests.support.programs import Output

pytestmark = pytest.mark.compat

BASE = "compat/output:base"
EVERYTHING = r"""FROM compat/output:base
MAINTAINER someone <someone@example.com>
LABEL a=1 "b c"=2
ENV X=1 Y="two words"
ENV OLD style value
ARG WHO=me
ARG EMPTY
WORKDIR /srv
WORKDIR sub
COPY hello.txt .
COPY hello.txt second.txt /srv/more/
ADD . /all/
RUN echo "to out $WHO"; usleep 200000; echo to err >&2
RUN ["/bin/sh", "-c", "echo exec $X"]
RUN cat /srv/sub/hello.txt && \
    # between
    echo continued	tab
SHELL ["/bin/sh", "-ec"]
RUN true
EXPOSE 443/udp 80
EXPOSE 9000-9002
VOLUME /data /other
VOLUME ["/json"]
USER 1000:1000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --retries=2 CMD true
ONBUILD RUN echo later
ONBUILD COPY . /x
ENTRYPOINT ["sh"]
CMD echo cmd
RUN printf 'no newline'
"""
BROKEN = {
    "a command that fails": "RUN exit 3",
    "an owner the image does not have": "COPY --chown=nobodyhere hello.txt /",
    "a group the image does not have": "COPY --chown=0:nobodyhere hello.txt /",
    "several files to a file": "COPY hello.txt second.txt /x",
    "a port that is none": "EXPOSE x",
    "a signal that is none": "STOPSIGNAL XYZZYX",
    "a user the image does not have": "USER nobodyhere\nRUN true",
    "a file where a directory should be": "RUN touch /f\nWORKDIR /f",
    "an unknown instruction": "FROBNICATE x",
    "no argument": "MAINTAINER",
    "one argument of two": "ENV a",
    "a stage in a trigger": "ONBUILD FROM x",
    "a shell that is no list": "SHELL sh",
    "a stage that is this one": "COPY --from=0 /a /b",
}


@pytest.fixture
def context(ours: Veneer, theirs: Docker, busybox: Path, tmp_path: Path) -> Iterator[Path]:
    """A context that both can build, for both have the base."""
    for engine in (ours, theirs):
        engine("import", "--change", 'CMD ["sh"]', busybox, BASE)
    folder = tmp_path / "context"
    folder.mkdir()
    (folder / "hello.txt").write_text("hello\n")
    (folder / "second.txt").write_text("second\n")
    yield folder
    theirs("container", "prune", "--force")


def build(engine: Veneer | Docker, context: Path, *words: str, check: bool = True) -> Output:
    progress = ("--progress", "plain") if isinstance(engine, Veneer) else ()
    return engine("build", *progress, "--network", "none", *words, context, check=check)


def lines(text: str) -> list[str]:
    """A build's lines without IDs, colours, and what only a daemon with containers has to say."""
    text = re.sub(r"\x1b\[\d+m", "", text).replace("no newlineRemoving", "no newline\nRemoving")
    text = re.sub(r"\n \d+ warnings? found .*", "", text, flags=re.DOTALL)  # the linter, which classic does not have
    text = re.sub(r"\b(sha256:)?([0-9a-f]{64}|[0-9a-f]{12})\b", "ID", text)
    dockers = (" ---> Running in", "Removing intermediate container", "Sending build context")
    return [line for line in text.splitlines() if line and not line.startswith(dockers)]


def test_a_build_of_every_instruction_prints_dockers_lines(ours: Veneer, theirs: Docker, context: Path) -> None:
    (context / "Dockerfile").write_text(EVERYTHING)
    words = ("--label", "z=1", "--label", "y=2", "--tag", "compat/output:1", "--tag", "compat/output:2")
    for again in ("built", "cached"):
        mine, dockers = (lines(build(engine, context, *words).out) for engine in (ours, theirs))
        assert mine == dockers, again
    assert mine.count(" ---> Using cache") == EVERYTHING.count("\n") - 1
    quiet = [lines(build(engine, context, "--quiet").out) for engine in (ours, theirs)]
    assert quiet == [["ID"], ["ID"]]


def test_a_built_image_has_dockers_rows_and_keys(ours: Veneer, theirs: Docker, context: Path) -> None:
    (context / "Dockerfile").write_text(EVERYTHING)
    for engine in (ours, theirs):
        build(engine, context, "--tag", "compat/output:1")
    row = "{{.CreatedBy}}|{{.Size}}|{{.Comment}}"
    words = ("history", "--no-trunc", "--human=false", "--format", row, "compat/output:1")
    assert ours(*words).out == theirs(*words).out
    mine, dockers = (json.loads(engine("image", "inspect", "compat/output:1").out)[0] for engine in (ours, theirs))
    assert keys(mine) == keys(dockers)
    assert shape(mine) == shape(dockers)


def keys(document: Mapping[str, Any], above: str = "") -> list[str]:
    """Every key with those above it, in order."""
    found = []
    for key, value in document.items():
        found.append(above + key)
        if isinstance(value, dict):
            found += keys(value, f"{above}{key}.")
    return found


def shape(document: Mapping[str, Any]) -> dict[str, str]:
    return {key: type(value).__name__ for key, value in document.items()}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_a_build_that_fails_says_dockers_sentence(ours: Veneer, theirs: Docker, context: Path, text: str) -> None:
    (context / "Dockerfile").write_text(f"FROM {BASE}\n{text}\n")
    mine, dockers = (build(engine, context, check=False) for engine in (ours, theirs))
    assert mine.code != 0 and dockers.code != 0
    assert sentence(mine) == sentence(dockers)


def sentence(output: Output) -> str:
    """What went wrong, without where: today's docker says "on line", and everything may begin with a capital."""
    line = re.sub(r"^failed to parse \S+: ", "", first_line(output.err))
    line = re.sub(r"^dockerfile parse error (on )?line \d+: ", "", line, flags=re.IGNORECASE)
    return line[:1].lower() + line[1:]
