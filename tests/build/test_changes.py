"""`--change` takes the instructions that change a run configuration, and says what is wrong with others."""

from __future__ import annotations

from typing import Any

import pytest

from veneer.build.changes import InvalidInstruction, apply_changes, instructions


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (['CMD ["nginx", "-g"]'], {"Cmd": ["nginx", "-g"]}),
        (["CMD echo $HOME"], {"Cmd": ["/bin/sh", "-c", "echo $HOME"]}),
        (['CMD ["x" , y]'], {"Cmd": ["/bin/sh", "-c", '["x" , y]']}),
        (["cmd a", 'ENTRYPOINT ["b"]'], {"Cmd": ["/bin/sh", "-c", "a"], "Entrypoint": ["b"]}),
        (['ENV A=1 B="x y"', "ENV A=2"], {"Env": ["A=2", "B=x y"]}),
        (["ENV A the  rest"], {"Env": ["A=the  rest"]}),
        (
            ["EXPOSE 80 53/udp 8000-8001"],
            {"ExposedPorts": {"80/tcp": {}, "53/udp": {}, "8000/tcp": {}, "8001/tcp": {}}},
        ),
        (["LABEL a=b 'c d'=e\\ f"], {"Labels": {"a": "b", "c d": "e f"}}),
        (['VOLUME ["/a", "/b c"]'], {"Volumes": {"/a": {}, "/b c": {}}}),
        (["VOLUME /a /b"], {"Volumes": {"/a": {}, "/b": {}}}),
        (["USER 5:6", "STOPSIGNAL SIGQUIT"], {"User": "5:6", "StopSignal": "SIGQUIT"}),
        (["WORKDIR /a", "WORKDIR b/../c"], {"WorkingDir": "/a/c"}),
        (["ONBUILD RUN a", "ONBUILD COPY . ."], {"OnBuild": ["RUN a", "COPY . ."]}),
        (["HEALTHCHECK NONE"], {"Healthcheck": {"Test": ["NONE"]}}),
        (
            ["HEALTHCHECK --interval=1m30s --retries=3 CMD curl x"],
            {"Healthcheck": {"Test": ["CMD-SHELL", "curl x"], "Interval": 90 * 10**9, "Retries": 3}},
        ),
        (['HEALTHCHECK CMD ["a", "b"]'], {"Healthcheck": {"Test": ["CMD", "a", "b"]}}),
        (["USER a\nWORKDIR /x"], {"User": "a", "WorkingDir": "/x"}),
        ([], {}),
    ],
)
def test_each_instruction_does_what_it_does_in_a_dockerfile(changes: list[str], expected: dict[str, Any]) -> None:
    assert apply_changes({}, changes) == expected


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("RUN rm -rf /", "run is not a valid change command"),
        ("FROM scratch", "from is not a valid change command"),
        ("ENV", "requires at least one argument"),
        ("ENV A", "must have two arguments"),
        ("ENV A=1 B", 'can\'t find = in "B"'),
        ("LABEL a='b", "looking for matching single-quote"),
        ("EXPOSE 70000", "invalid containerPort: 70000"),
        ("EXPOSE http", "invalid containerPort: http"),
        ("USER", "exactly one argument"),
        ("ONBUILD ONBUILD RUN x", "Chaining ONBUILD"),
        ("ONBUILD FROM x", "isn't allowed as an ONBUILD trigger"),
        ("HEALTHCHECK", "at least one argument"),
        ("HEALTHCHECK --interval=soon CMD x", 'invalid duration "soon"'),
        ("HEALTHCHECK --color=red CMD x", "--color"),
        ("HEALTHCHECK curl", 'Unknown type "CURL" in HEALTHCHECK'),
    ],
)
def test_what_cannot_be_given_is_refused_with_its_reason(change: str, reason: str) -> None:
    with pytest.raises(InvalidInstruction, match=reason):
        apply_changes({}, [change])


def test_what_was_there_before_stays() -> None:
    run = {"Env": ["A=1"], "User": "u"}
    assert apply_changes(run, ["ENV B=2"]) == {"Env": ["A=1", "B=2"], "User": "u"}
    assert run == {"Env": ["A=1"], "User": "u"}


def test_the_list_of_instructions_is_dockers() -> None:
    assert " ".join(instructions()) == (
        "CMD ENTRYPOINT ENV EXPOSE HEALTHCHECK LABEL ONBUILD STOPSIGNAL USER VOLUME WORKDIR"
    )
