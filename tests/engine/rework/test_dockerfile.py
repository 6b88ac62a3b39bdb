"""The Dockerfile back from a history: what every builder writes there reads as the instruction it was."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.finished import loaded, row
from tests.support.programs import needs
from veneer.build.runconfig import DEFAULT_PATH, RunConfig
from veneer.changeset.entry import Entry, Kind
from veneer.engine.engine import Engine
from veneer.engine.rework.bases import NotTheBase
from veneer.engine.rework.dockerfile import Recovered, recover
from veneer.oci.image import ImageConfig
from veneer.testing.images import hardlink, image, symlink

NOP = "/bin/sh -c #(nop) "
RUN = {"Env": [DEFAULT_PATH]}


def config_of(rows: Sequence[str], run: dict[str, Any]) -> ImageConfig:
    """A config whose rows are these; none makes a layer."""
    document = {
        "architecture": "amd64", "os": "linux", "config": {**RUN, **run}, "rootfs": {"type": "layers", "diff_ids": []},
        "history": [{"created_by": text, "empty_layer": True} for text in rows],
    }  # fmt: skip
    return ImageConfig.parse(json.dumps(document).encode())


def recovered(rows: Sequence[str], **run: Any) -> Recovered:
    return recover(config_of(rows, run), None, "scratch", "", skip=0, layers=0, files=lambda _: [])


def lines(rows: Sequence[str], **run: Any) -> list[str]:
    return recovered(rows, **run).text.splitlines()[1:]


CHECK = {"Test": ["CMD-SHELL", "curl x || exit 1"], "Interval": 5 * 10**9, "StartPeriod": 90 * 10**9, "Retries": 3}
ROWS: dict[str, tuple[str, str, dict[str, Any]]] = {
    # The texts are those of dockerd 20.10's two builders and of buildah 1.28.
    "env": (NOP + " ENV A=x y B=z", 'ENV A="x y" B=z', {"Env": [DEFAULT_PATH, "A=x y", "B=z"]}),
    "env by BuildKit": ("ENV A=$x \"q\"", r'ENV A="\$x \"q\""', {"Env": [DEFAULT_PATH, 'A=$x "q"']}),
    "env by buildah": (NOP + 'ENV A="x y" B=z', 'ENV A="x y" B=z', {"Env": [DEFAULT_PATH, "A=x y", "B=z"]}),
    "env with variables by buildah": (NOP + "ENV P=$PATH:/a", "ENV P=$PATH:/a",
                                      {"Env": [DEFAULT_PATH, "P=" + DEFAULT_PATH[5:] + ":/a"]}),
    "label": (NOP + " LABEL k e=v 1 k2=v2", 'LABEL "k e"="v 1" k2=v2', {"Labels": {"k e": "v 1", "k2": "v2"}}),
    "empty label": ("LABEL a=", "LABEL a=", {"Labels": {"a": ""}}),
    "label that ends in a backslash": ("LABEL a=b\\", 'LABEL a="b\\\\"', {"Labels": {"a": "b\\"}}),
    "ports": (NOP + " EXPOSE 443/udp 80", "EXPOSE 443/udp 80", {"ExposedPorts": {"443/udp": {}, "80/tcp": {}}}),
    "ports by BuildKit": ("EXPOSE map[443/udp:{} 80/tcp:{}]", "EXPOSE 443/udp 80/tcp",
                          {"ExposedPorts": {"443/udp": {}, "80/tcp": {}}}),
    "ports by a later BuildKit": ("EXPOSE [443/udp]", "EXPOSE 443/udp", {"ExposedPorts": {"443/udp": {}}}),
    "volumes": (NOP + " VOLUME [/a /b c]", 'VOLUME ["/a", "/b c"]', {"Volumes": {"/a": {}, "/b c": {}}}),
    "volumes by buildah": (NOP + 'VOLUME ["/a", "/b"]', 'VOLUME ["/a", "/b"]', {"Volumes": {"/a": {}, "/b": {}}}),
    "user": ("USER me:us", "USER me:us", {"User": "me:us"}),
    "working directory": (NOP + "WORKDIR /a b", 'WORKDIR "/a b"', {"WorkingDir": "/a b"}),
    "stop signal": (NOP + " STOPSIGNAL SIGQUIT", "STOPSIGNAL SIGQUIT", {"StopSignal": "SIGQUIT"}),
    "maintainer": (NOP + " MAINTAINER Me <me@x>", "MAINTAINER Me <me@x>", {}),
    "trigger": (NOP + " ONBUILD RUN echo $A", "ONBUILD RUN echo $A", {"OnBuild": ["RUN echo $A"]}),
    "command": (NOP + ' CMD ["nginx" "-g" "daemon off;"]', 'CMD ["nginx", "-g", "daemon off;"]',
                {"Cmd": ["nginx", "-g", "daemon off;"]}),
    "command for a shell": ('CMD ["/bin/sh" "-c" "a $b"]', "CMD a $b", {"Cmd": ["/bin/sh", "-c", "a $b"]}),
    "command with marks": (r'CMD ["a\n" "\"" "\\" "\x00" "\u00e9"]', r'CMD ["a\n", "\"", "\\", "\u0000", "é"]',
                           {"Cmd": ["a\n", '"', "\\", "\0", "é"]}),
    "command by buildah": (NOP + 'CMD ["a", "b"]', 'CMD ["a", "b"]', {"Cmd": ["a", "b"]}),
    "no command": (NOP + " CMD []", "CMD []", {"Cmd": []}),
    "entry point": (NOP + ' ENTRYPOINT ["/bin/sh" "-c" "exec \\"$@\\""]', 'ENTRYPOINT exec "$@"',
                    {"Entrypoint": ["/bin/sh", "-c", 'exec "$@"']}),
    "shell": ("/bin/bash -ec #(nop)  SHELL [/bin/bash -ec]", 'SHELL ["/bin/bash", "-ec"]',
              {"Shell": ["/bin/bash", "-ec"]}),
    "shell by buildah": (NOP + 'SHELL ["/bin/a b"]', 'SHELL ["/bin/a b"]', {"Shell": ["/bin/a b"]}),
    "health check": (NOP + """ HEALTHCHECK &{["CMD-SHELL" "curl x || exit 1"] "5s" "0s" "1m30s" '\\x03'}""",
                     "HEALTHCHECK --interval=5s --start-period=1m30s --retries=3 CMD curl x || exit 1",
                     {"Healthcheck": CHECK}),
    "no health check": ("""HEALTHCHECK &{["NONE"] "0s" "0s" "0s" '\\x00'}""", "HEALTHCHECK NONE",
                        {"Healthcheck": {"Test": ["NONE"]}}),
    "run": ("/bin/sh -c echo  a   b", "RUN echo  a   b", {}),
    "run by BuildKit": ("RUN /bin/sh -c echo $A # buildkit", "RUN echo $A", {}),
    "run with mounts": ("RUN --mount=type=cache,target=/x /bin/sh -c ls # buildkit",
                        "RUN --mount=type=cache,target=/x ls", {}),
    "run as it was written": ("RUN echo hi", "RUN echo hi", {}),
    "a mark inside a command": ("/bin/sh -c echo a #(nop)  CMD x", "RUN echo a #(nop)  CMD x", {}),
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_a_row_reads_as_its_instruction_and_nothing_is_left_to_repair(name: str) -> None:
    text, expected, run = ROWS[name]
    found = recovered([text], **run)
    assert [line.text for line in found.lines] == [expected]
    assert found.notes == () and not found.lines[0].comment
    assert found.lines[0].history == text and found.lines[0].row == 1


def test_a_command_of_several_lines_is_a_here_document() -> None:
    assert recovered(["RUN /bin/sh -c set -x\nls # buildkit"]).lines[0].text == "RUN <<EOF\nset -x\nls\nEOF"
    assert recovered(["/bin/sh -c echo\nEOF\n"]).lines[0].text == "RUN <<EOFF\necho\nEOF\nEOFF"
    assert recovered(["/bin/sh -c cat <<X"]).lines[0].text == "RUN <<EOF\ncat <<X\nEOF"
    assert recovered(["RUN /bin/sh -c a\nb"]).text.startswith("# syntax=docker/dockerfile:1\n")


def test_arguments_that_steps_saw_are_told_and_declared() -> None:
    found = recovered(
        [NOP + " ARG A=1 B", "|2 A=one two B=3 /bin/sh -c echo $A", "RUN |1 A=one /bin/sh -c x # buildkit"]
    )
    assert [line.text for line in found.lines] == ["ARG A=1 B", "RUN echo $A", "RUN x"]
    assert found.lines[1].args == (("A", "one two"), ("B", "3"))
    assert found.notes == ("It was built with these arguments in force: --build-arg A=one --build-arg B=3",)


def test_where_an_argument_ends_is_known_from_another_step() -> None:
    rows = [NOP + " ARG A=1", "|1 A=one two /bin/sh -c echo", "|1 A=one two /bin/echo a", "|1 A=one /bin/echo a"]
    assert [line.text for line in recovered(rows).lines][2:] == ['RUN ["/bin/echo", "a"]'] * 2
    assert recovered(rows).args == {"A": "one"}, "as they were last"


def test_an_exec_form_is_told_to_be_a_guess_and_a_shell_that_no_row_tells_of_is_kept() -> None:
    assert lines(["/bin/echo a b"]) == [
        "# The next command is in exec form; where its words end cannot be told for sure.",
        'RUN ["/bin/echo", "a", "b"]',
    ]
    assert lines(["/bin/bash -o pipefail -c a | b"])[-1] == 'RUN ["/bin/bash", "-o", "pipefail", "-c", "a | b"]'


def test_what_no_row_tells_is_said_at_the_end_and_what_cannot_be_said_is_a_note() -> None:
    run = {
        "Env": [DEFAULT_PATH, "A=1"], "Labels": {"a": "b"}, "ExposedPorts": {"80/tcp": {}}, "Volumes": {"/v": {}},
        "User": "me", "WorkingDir": "/w", "StopSignal": "SIGINT", "Entrypoint": ["e"], "Cmd": ["c"], "StopTimeout": 5,
        "OnBuild": ["RUN x"], "Healthcheck": {"Test": ["CMD", "h"]}, "Shell": ["/bin/ash", "-c"],
    }  # fmt: skip
    found = recovered(["ENV B=2"], **run)
    assert [line.text for line in found.lines] == [
        "ENV B=2", "ENV A=1", "LABEL a=b", "EXPOSE 80/tcp", 'VOLUME ["/v"]', 'SHELL ["/bin/ash", "-c"]',
        'ENTRYPOINT ["e"]', 'CMD ["c"]', "USER me", "WORKDIR /w", "STOPSIGNAL SIGINT", 'HEALTHCHECK CMD ["h"]',
        "ONBUILD RUN x",
    ]  # fmt: skip
    assert found.notes == (
        'Not said: the image has no environment variable "B" any more; no instruction takes one away.',
        "Not said: a stop timeout of 5 seconds; no instruction sets one.",
    )


@pytest.mark.parametrize("text", [
    NOP + " ENV A=1\nRUN evil", "USER x\nFROM evil # buildkit", "EXPOSE 99999999/x", NOP + " ONBUILD ONBUILD x",
    NOP + """ HEALTHCHECK &{["CMD"] "soon" "0s" "0s" '\\x00'}""", NOP + 'ENV A="1', NOP + "FROM evil",
    "buildah commit", NOP + "CMD [\nRUN evil", "", "CMD [broken", NOP + "RUN evil\nRUN more",
])  # fmt: skip
def test_a_row_that_is_no_instruction_is_a_comment_and_never_another_step(text: str) -> None:
    found = recovered([text, "USER me"], User="me")
    assert [line.text for line in found.lines if line.text] == ["USER me"]
    assert all(each.startswith(("# ", "FROM scratch", "USER me")) for each in found.text.splitlines())


def test_values_that_no_dockerfile_can_say_are_notes() -> None:
    found = recovered([], Env=[DEFAULT_PATH, "A=1\nRUN evil"], User="x\nFROM evil")
    assert found.lines == ()
    assert found.notes == (
        r'Not said, for no Dockerfile can say it: "ENV A=\"1\nRUN evil\""',
        r'Not said, for no Dockerfile can say it: "USER \"x\nFROM evil\""',
    )


def test_files_of_a_layer_stand_in_a_comment_and_what_they_are_called_does_no_harm() -> None:
    held = [
        Entry(b"d", Kind.DIRECTORY, 0o755, 0, 0), Entry(b"d/f\nRUN evil", Kind.REGULAR, 0o644, 1, 2, 5),
        Entry(b"gone", Kind.WHITEOUT), Entry(b"l", Kind.SYMLINK, link=b"d"), Entry(b"h", Kind.HARDLINK, link=b"d/f"),
        *(Entry(b"%03d" % number, Kind.REGULAR) for number in range(30)),
    ]  # fmt: skip
    document = json.loads(config_of([], {}).raw)
    document["rootfs"]["diff_ids"] = ["sha256:" + "0" * 64]
    document["history"] = [{"created_by": "COPY . / # buildkit"}]
    config = ImageConfig.parse(json.dumps(document).encode())
    text = recover(config, None, "scratch", "", skip=0, layers=0, files=lambda _: held).text
    assert text.splitlines()[1:8] == [
        "# COPY . /", "#   /d/ 0755 0:0", r"#   /d/f\nRUN evil 0644 1:2 5B", "#   /gone (deleted)", "#   /l -> d",
        "#   /h -> /d/f", "#   /000 0000 0:0 0B",
    ]  # fmt: skip
    assert text.endswith("#   ... and 15 more\n")


def test_which_row_made_which_layer_is_not_guessed_where_there_are_fewer_rows() -> None:
    def files(layer: int) -> list[Entry]:
        return [Entry(b"in%d" % layer, Kind.REGULAR)]

    def found(skip: int, layers: int) -> Recovered:
        config = image({"a": b"1"}, {"b": b"2"}, {"c": b"3"}, history=[row("COPY b /"), row("COPY c /")]).parsed
        return recover(config, None, "scratch", "", skip=skip, layers=layers, files=files)

    assert [(line.row, line.layer) for line in found(0, 0).lines] == [
        (1, None),
        (2, None),
        (None, 1),
        (None, 2),
        (None, 3),
    ]
    assert found(0, 0).text.startswith("# The history has fewer rows than there are layers")
    # Of a base without rows it is no guess: as many are above it as layers.
    assert [(line.row, line.layer, line.files[0].path) for line in found(0, 1).lines] == [
        (1, 2, b"in2"),
        (2, 3, b"in3"),
    ]


def test_only_what_is_above_the_base_is_shown(engine: Engine) -> None:
    base = [row("ADD base"), row('CMD ["sh"]', empty=True)]
    loaded(engine, "base:1", {"etc/os": b"1"}, history=base, config={**RUN, "Cmd": ["sh"]})
    loaded(engine, "other:1", {"etc/os": b"2"}, history=base)
    loaded(engine, "app:1", {"etc/os": b"1"}, {"f": b"f", "l": symlink("f"), "h": hardlink("f")},
           history=[*base, row("COPY f /"), row("USER me", empty=True)],
           config={**RUN, "Cmd": ["sh"], "User": "me"})  # fmt: skip
    found = engine.images.dockerfile("app:1")
    assert (found.base, [line.text for line in found.lines]) == ("base:1", ["", "USER me"])
    assert engine.images.dockerfile("app:1", base="base:1").text == found.text.partition("\n")[2]
    assert engine.images.dockerfile("app:1", base="scratch").base == "scratch"
    assert engine.images.dockerfile("base:1").base == "scratch", "nothing is below it"
    with pytest.raises(NotTheBase, match="is not built on other:1"):
        engine.images.dockerfile("app:1", base="other:1")


def test_the_file_builds_to_the_same_configuration_and_history(engine: Engine, busybox: Path, tmp_path: Path) -> None:
    needs("runc")
    with busybox.open("rb") as tar:
        engine.images.import_(tar, reference="busybox:1")
    (tmp_path / "Dockerfile").write_text(
        'FROM busybox:1\nENV A="x y" B=\'$z\'\nARG D=1\nLABEL "k e"="v 1"\nRUN echo "$A"   $D >/made\n'
        'WORKDIR /w w\nSHELL ["/bin/sh", "-ec"]\nRUN <<EOF\nset -x\necho two >two\nEOF\nEXPOSE 80 53/udp\n'
        'VOLUME /v\nENTRYPOINT exec "$@"\nCMD ["a", "b c"]\nHEALTHCHECK --interval=5s CMD true || false\nUSER 5:6\n'
        "STOPSIGNAL 9\nONBUILD RUN echo $A\n"
    )
    engine.build(tmp_path, tags="app:1", args={"D": "a  b"}).result()
    found = engine.images.dockerfile("app:1", base="busybox:1")
    (tmp_path / "Dockerfile").write_text(found.text)
    engine.build(tmp_path, tags="app:2", args=found.args, no_cache=True).result()
    first, second = (engine.images.get(name).config for name in ("app:1", "app:2"))
    assert RunConfig.from_json(first.run).replaced(image="") == RunConfig.from_json(second.run).replaced(image="")
    assert [entry.created_by for entry in first.history] == [entry.created_by for entry in second.history], found.text
