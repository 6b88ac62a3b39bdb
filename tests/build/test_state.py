"""What each instruction makes of a configuration, and the text it leaves in history: docker's classic words."""

from __future__ import annotations

import pytest

from veneer.build import state as s
from veneer.build.language.parser import parse
from veneer.build.language.resolve import resolve
from veneer.build.runconfig import DEFAULT_PATH, RunConfig
from veneer.errors import InvalidRequest


def state(**run: object) -> s.BuildState:
    return s.BuildState(RunConfig(**run), s.Scope({}, {}))  # type: ignore[arg-type]


def applied(start: s.BuildState, *lines: str) -> tuple[s.BuildState, list[str]]:
    """The state after instructions, and each one's history text."""
    texts = []
    for instruction in parse(("FROM x\n" + "\n".join(lines)).encode(), "Dockerfile").stages[0].instructions:
        resolved = resolve(instruction, start.names, start.escape)
        start, text = s.workdir(start, resolved) if resolved.keyword == "WORKDIR" else s.apply(start, resolved)  # type: ignore[arg-type]
        texts.append(text)
    return start, texts


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ('CMD ["nginx", "-g"]', 'CMD ["nginx" "-g"]'),
        ("CMD echo hi", 'CMD ["/bin/sh" "-c" "echo hi"]'),
        ('ENTRYPOINT ["a\\"b"]', 'ENTRYPOINT ["a\\"b"]'),
        ("ENV A=x\\ y B=z", "ENV A=x y B=z"),
        ("ENV A one  two", "ENV A=one  two"),
        ('LABEL k="e=v 1" k2=v2', "LABEL k=e=v 1 k2=v2"),
        ("ARG D1=1 D2", "ARG D1=1 D2"),
        ("EXPOSE 443/udp 80", "EXPOSE 443/udp 80"),
        ('VOLUME ["/a", "/b"]', "VOLUME [/a /b]"),
        ("USER me:us", "USER me:us"),
        ("STOPSIGNAL SIGTERM", "STOPSIGNAL SIGTERM"),
        ('SHELL ["/bin/ash", "-e"]', "SHELL [/bin/ash -e]"),
        ("HEALTHCHECK NONE", 'HEALTHCHECK &{["NONE"] "0s" "0s" "0s" \'\\x00\'}'),
        ("ONBUILD RUN make  it", "ONBUILD RUN make  it"),
        ("WORKDIR /a/../b/", "WORKDIR /a/../b/"),
        ("MAINTAINER Me <me@x>", "MAINTAINER Me <me@x>"),
    ],
)
def test_the_history_text_is_dockers(line: str, text: str) -> None:
    assert applied(state(), line)[1] == [text]


def test_all_pairs_of_one_env_see_the_values_from_before_it() -> None:
    made, _ = applied(state(), "ENV a=1", "ENV a=2 b=$a", "ENV c=$a")
    assert made.run.env == ("a=2", "b=1", "c=2")


def test_a_variable_is_replaced_in_its_place() -> None:
    assert applied(state(env=("A=1", "B=2")), "ENV A=3")[0].run.env == ("A=3", "B=2")


def test_env_hides_an_argument_of_its_name() -> None:
    start = s.BuildState(RunConfig(), s.Scope({"A": "given"}, {}))
    made, _ = applied(start, "ARG A=default", "ENV A=env")
    assert made.names["A"] == "env"
    assert made.scope.visible(made.run.env) == {}


def test_an_argument_has_the_value_given_then_its_default_then_the_one_before_the_first_from() -> None:
    scope = s.Scope({"GIVEN": "g"}, {"META": "m", "BOTH": "m"})
    made, _ = applied(
        s.BuildState(RunConfig(), scope), "ARG GIVEN=d", "ARG DEFAULT=d", "ARG META", "ARG BOTH=d", "ARG NO"
    )
    assert made.names == {"GIVEN": "g", "DEFAULT": "d", "META": "m", "BOTH": "d"}


def test_proxies_are_seen_undeclared_and_shown_only_declared() -> None:
    start = s.BuildState(RunConfig(), s.Scope({"http_proxy": "p", "other": "o"}, {}))
    assert start.scope.visible(()) == {"http_proxy": "p"}
    assert start.scope.shown(()) == {}
    assert applied(start, "ARG http_proxy")[0].scope.shown(()) == {"http_proxy": "p"}


def test_an_inherited_command_goes_with_a_new_entry_point_and_one_of_this_stage_stays() -> None:
    inherited = state(cmd=("old",))
    assert applied(inherited, 'ENTRYPOINT ["e"]')[0].run.cmd is None
    assert applied(inherited, 'CMD ["new"]', 'ENTRYPOINT ["e"]')[0].run.cmd == ("new",)


def test_the_shell_stands_before_every_shell_form_after_it() -> None:
    made, texts = applied(state(), 'SHELL ["/bin/ash", "-ec"]', "CMD run")
    assert made.run.cmd == ("/bin/ash", "-ec", "run")
    assert texts[1] == 'CMD ["/bin/ash" "-ec" "run"]'


def test_a_relative_working_directory_goes_on_from_where_it_was() -> None:
    made, texts = applied(state(), "ENV d=deep", "WORKDIR /w", "WORKDIR rel", "WORKDIR $d/..")
    assert made.run.working_dir == "/w/rel"
    assert texts[1:] == ["WORKDIR /w", "WORKDIR /w/rel", "WORKDIR /w/rel"]
    assert applied(state(), "WORKDIR here")[0].run.working_dir == "/here"


def test_ports_and_volumes_add_up() -> None:
    made, _ = applied(state(ports=("1/tcp",), volumes=("/v",)), "EXPOSE 80 53/udp", "VOLUME /w", "EXPOSE 7000-7001")
    assert made.run.ports == ("1/tcp", "53/udp", "7000/tcp", "7001/tcp", "80/tcp")
    assert made.run.volumes == ("/v", "/w")


def test_the_last_healthcheck_counts() -> None:
    made, _ = applied(state(), "HEALTHCHECK --interval=5s --retries=3 CMD curl x", "HEALTHCHECK NONE")
    assert made.run.healthcheck == {"Test": ["NONE"]}


@pytest.mark.parametrize(
    "line", ["STOPSIGNAL SIGNOTHING", "WORKDIR $nothing", "ENV =1", 'VOLUME [""]', "EXPOSE 1:2:3:4"]
)
def test_what_cannot_be_carried_out_is_refused(line: str) -> None:
    with pytest.raises(InvalidRequest):
        applied(state(), line)


def test_a_default_path_is_added_only_where_there_is_none() -> None:
    assert RunConfig().with_default_path().env == (DEFAULT_PATH,)
    assert RunConfig(env=("PATH=/x",)).with_default_path().env == ("PATH=/x",)


def test_a_config_is_read_and_written_without_loss() -> None:
    full = RunConfig(
        user="u", ports=("80/tcp",), env=("A=1",), cmd=("c",), healthcheck={"Test": ["NONE"]}, args_escaped=True,
        image="sha256:x", volumes=("/v",), working_dir="/w", entrypoint=(), onbuild=("RUN x",), labels=(("a", "b"),),
        stop_signal="9", stop_timeout=3, shell=("/bin/ash",),
    )  # fmt: skip
    assert RunConfig.from_json(full.to_json()) == full
    assert RunConfig.from_json(RunConfig().to_json()) == RunConfig()
    assert RunConfig.from_json({"Env": 7, "Labels": [], "User": None, "Cmd": "sh"}) == RunConfig(cmd=("sh",))


def test_variables_keep_their_places_however_many_they_are() -> None:
    present = ("a=1", "b=2", "a=3")  # docker changes the first of two
    assert s.merged_env(present, (("a", "9"), ("c", "1"), ("c", "2"))) == ("a=9", "b=2", "a=3", "c=2")
    many = [(f"n{number}", "x") for number in range(100_000)]
    assert s.merged_env(present, many)[3:] == tuple(f"{name}=x" for name, _ in many)
