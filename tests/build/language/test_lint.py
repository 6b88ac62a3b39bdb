"""Each rule of the linter speaks where BuildKit's does, in its words, and is silent elsewhere.

The cases follow what moby/buildkit's own linter reports: names, texts and lines.
"""

from __future__ import annotations

import pytest

from veneer.build.context.ignore import Ignore
from veneer.build.language import lint
from veneer.build.language.errors import DockerfileError
from veneer.build.language.lint_report import MAX_SUGGESTED, check_options
from veneer.build.language.lint_rules import RULES
from veneer.build.language.parser import parse
from veneer.oci.platform import host

Found = list[tuple[str, str, int]]


def found(text: str, args: dict[str, str] | None = None, ignore: str = "", names: tuple[str, ...] | None = ()) -> Found:
    findings = lint.check(
        parse(text.encode()), build_args=args, context_ignore=Ignore.parse(ignore.encode()) if ignore else None,
        base_names=lambda image: names,
    )  # fmt: skip
    return [(each.rule, each.message, each.line) for each in findings]


FIRES = [
    ("FROM scratch AS BadName\n", "StageNameCasing", "Stage name 'BadName' should be lowercase", 1),
    ("FROM scratch as a\n", "FromAsCasing", "'as' and 'FROM' keywords' casing do not match", 1),
    ("from scratch AS a\n", "FromAsCasing", "'AS' and 'from' keywords' casing do not match", 1),
    ("FROM scratch\nCOPY a \\\n\n.\nCOPY a \\\n.\n", "NoEmptyContinuation", "Empty continuation line", 3),
    ("FROM scratch\ncopy a /b\nCOPY a /c\n", "ConsistentInstructionCasing",
     "Command 'copy' should match the case of the command majority (uppercase)", 2),
    ("from scratch\nCOPY a /b\ncopy a /c\n", "ConsistentInstructionCasing",
     "Command 'COPY' should match the case of the command majority (lowercase)", 2),
    ("From scratch\nFROM scratch\n", "ConsistentInstructionCasing",
     "Command 'From' should match the case of the command majority (uppercase)", 1),
    ("frOM scratch\nfrom scratch\n", "ConsistentInstructionCasing",
     "Command 'frOM' should match the case of the command majority (lowercase)", 1),
    ("FROM scratch AS b\nFROM scratch AS b\n", "DuplicateStageName",
     'Duplicate stage name "b", stage names should be unique', 2),
    ("FROM scratch AS scratch\n", "ReservedStageName",
     'Stage name should not use the same name as reserved stage "scratch"', 1),
    ("FROM scratch AS context\n", "ReservedStageName",
     'Stage name should not use the same name as reserved stage "context"', 1),
    ("FROM scratch\nCMD a\n", "JSONArgsRecommended",
     "JSON arguments recommended for CMD to prevent unintended behavior related to OS signals", 2),
    ("FROM scratch\nENTRYPOINT a\n", "JSONArgsRecommended",
     "JSON arguments recommended for ENTRYPOINT to prevent unintended behavior related to OS signals", 2),
    ("FROM scratch\nMAINTAINER me\n", "MaintainerDeprecated",
     "Maintainer instruction is deprecated in favor of using label", 2),
    ("FROM --platform=$BULIDPLATFORM scratch\n", "UndefinedArgInFrom",
     "FROM argument 'BULIDPLATFORM' is not declared (did you mean BUILDPLATFORM?)", 1),
    ("ARG MY_ARCH=amd64\nFROM busybox:${MYARCH}x\n", "UndefinedArgInFrom",
     "FROM argument 'MYARCH' is not declared (did you mean MY_ARCH?)", 2),
    ("ARG tag=a\nFROM busybox:${tag}${version}\n", "UndefinedArgInFrom", "FROM argument 'version' is not declared", 2),
    ("FROM scratch\nWORKDIR app/\n", "WorkdirRelativePath",
     'Relative workdir "app/" can have unexpected results if the base image changes', 2),
    ("FROM alpine\nCOPY $foo .\nARG foo=bar\nRUN echo $foo\n", "UndefinedVar",
     "Usage of undefined variable '$foo'", 2),
    ("FROM alpine\nARG DIR_ASSETS=a DIR_CONFIG=b\nCOPY $DIR_ASSET .\n", "UndefinedVar",
     "Usage of undefined variable '$DIR_ASSET' (did you mean $DIR_ASSETS?)", 3),
    ("FROM alpine\nENV PATH=$PAHT:/b\n", "UndefinedVar",
     "Usage of undefined variable '$PAHT' (did you mean $PATH?)", 2),
    ("FROM scratch\nCOPY <<E /x\n$y\nE\n", "UndefinedVar", "Usage of undefined variable '$y'", 2),
    ("FROM scratch\nRUN --mount=type=cache,target=/$y true\n", "UndefinedVar",
     "Usage of undefined variable '$y'", 2),
    ('FROM scratch\nCMD ["a"]\nCMD ["b"]\n', "MultipleInstructionsDisallowed",
     "Multiple CMD instructions should not be used in the same stage because only the last one will be used", 2),
    ('FROM scratch\nENTRYPOINT ["a"]\nENV a=b\nENTRYPOINT ["b"]\n', "MultipleInstructionsDisallowed",
     "Multiple ENTRYPOINT instructions should not be used in the same stage because only the last one will be used", 2),
    ("FROM scratch\nHEALTHCHECK CMD a\nHEALTHCHECK NONE\n", "MultipleInstructionsDisallowed",
     "Multiple HEALTHCHECK instructions should not be used in the same stage because only the last one will be used",
     2),
    ("FROM scratch\nENV a b\n", "LegacyKeyValueFormat",
     '"ENV key=value" should be used instead of legacy "ENV key value" format', 2),
    ("FROM scratch\nLABEL a b\n", "LegacyKeyValueFormat",
     '"LABEL key=value" should be used instead of legacy "LABEL key value" format', 2),
    ("FROM --platform=${TARGETPLATFORM} scratch\n", "RedundantTargetPlatform",
     "Setting platform to predefined ${TARGETPLATFORM} in FROM is redundant as this is the default behavior", 1),
    ("FROM --platform=linux/s390x scratch\n", "FromPlatformFlagConstDisallowed",
     'FROM --platform flag should not use constant value "linux/s390x"', 1),
    ("FROM scratch\nEXPOSE 80/TcP\n", "ExposeProtoCasing",
     "Defined protocol '80/TcP' in EXPOSE instruction should be lowercase", 2),
    ("FROM scratch\nEXPOSE 80:81\n", "ExposeInvalidFormat",
     "EXPOSE instruction should not define an IP address or host-port mapping, found '80:81'", 2),
    ("ARG V\nFROM busybox:$V\n", "InvalidDefaultArgInFrom",
     "Default value for ARG busybox:$V results in empty or invalid base image name", 2),
    ("FROM scratch\nARG SECRET_PASSPHRASE\n", "SecretsUsedInArgOrEnv",
     'Do not use ARG or ENV instructions for sensitive data (ARG "SECRET_PASSPHRASE")', 2),
    *((f"FROM scratch\nENV {name}=x\n", "SecretsUsedInArgOrEnv",
       f'Do not use ARG or ENV instructions for sensitive data (ENV "{name}")', 2)
      for name in ("SUPER_Secret", "password", "apikey", "git_key", "auth", "my_token", "credentials")),
    ("# check=experimental=InvalidDefinitionDescription\nFROM scratch\n# a bad comment\nARG v=1\n",
     "InvalidDefinitionDescription", "Comment for ARG should follow the format: `# v <description>`", 4),
    ("# check=experimental=InvalidDefinitionDescription\n# BasE is it\nFROM scratch AS base\n",
     "InvalidDefinitionDescription", "Comment for FROM should follow the format: `# base <description>`", 3),
    ("# check=experimental=InvalidDefinitionDescription\nFROM scratch\n# a bad comment\nARG v=1 w=2\n",
     "InvalidDefinitionDescription", "Comment for ARG should follow the format: `# <arg_key> <description>`", 4),
]  # fmt: skip

SILENT = {
    "StageNameCasing": ["FROM scratch AS name\n"],
    "FromAsCasing": ["FROM scratch AS a\nfrom scratch as b\n", "FROM scratch\n"],
    "NoEmptyContinuation": ["FROM scratch\nCOPY a \\\n# comment\n.\n"],
    "ConsistentInstructionCasing": ["from scratch\ncopy a /b\n", "FROM scratch\nRUN <<'E'\nenv\nE\n"],
    "DuplicateStageName": ["FROM scratch AS a\nFROM scratch AS b\nFROM a\nFROM a\n"],
    "ReservedStageName": ["FROM scratch\nFROM scratch AS a\n"],
    "JSONArgsRecommended": [
        'FROM scratch\nCMD ["a"]\n', 'FROM scratch\nSHELL ["a"]\nCMD b\nENTRYPOINT c\n',
        'FROM scratch AS base\nSHELL ["a"]\nFROM base\nCMD b\n',
    ],
    "MaintainerDeprecated": ['FROM scratch\nLABEL org.opencontainers.image.authors="me"\n'],
    "UndefinedArgInFrom": [
        "ARG base=scratch\nFROM $base\n", "FROM --platform=$BUILDPLATFORM scratch\n", "ARG X\nFROM scratch$X\n",
        "ARG X\nFROM scra${X:-tch}\n",
    ],
    "UndefinedVar": [
        "FROM scratch\nARG foo\nCOPY a$foo .\n", "FROM alpine AS b\nARG foo=x\nFROM b\nCOPY $foo .\n",
        "FROM alpine\nRUN echo $HOME\nCMD $x\n", "FROM alpine\nENV a=${b:-c} d=${e+f}\n", "FROM alpine\nENV a=$PATH\n",
        "FROM alpine\nENV a=1\nENV b=$a\n", "FROM alpine\nCOPY <<'E' /x\n$y\nE\n",
    ],
    "WorkdirRelativePath": [
        "FROM scratch AS a\nWORKDIR /app\nFROM a\nWORKDIR sub\n", "FROM a\nWORKDIR /b\nWORKDIR c\n",
    ],
    "MultipleInstructionsDisallowed": ['FROM scratch AS a\nCMD ["a"]\nFROM a\nCMD ["b"]\n'],
    "LegacyKeyValueFormat": ["FROM scratch\nENV a=b\nLABEL a=b\n"],
    "RedundantTargetPlatform": ["FROM --platform=$BUILDPLATFORM scratch\n", "FROM scratch\n"],
    "FromPlatformFlagConstDisallowed": [
        "FROM --platform=linux/amd64 scratch AS my_amd64_stage\n", "FROM --platform=linux/amd64 scratch AS linux\n",
        "FROM --platform=$BUILDPLATFORM scratch\n",
    ],
    "SecretsUsedInArgOrEnv": ["FROM scratch\nENV PUBLIC_KEY= sunflower=1\nARG public_token key_file keyboard\n"],
    "InvalidDefaultArgInFrom": [
        'ARG V="latest"\nFROM busybox:$V\n', "ARG V\nFROM busybox:stable$V\n", "ARG V=\nFROM busybox:${V:-latest}\n",
    ],
    "ExposeProtoCasing": ["FROM scratch\nEXPOSE 80/tcp 53/udp 90\n"],
    "ExposeInvalidFormat": ["FROM scratch\nEXPOSE 80 8000-8010/udp\n"],
    "InvalidDefinitionDescription": [
        "# check=experimental=all\n# foo is it\nARG foo=bar\n\n# base is it\nFROM scratch AS base\n",
        "# check=experimental=all\nFROM scratch\n# a bad comment\n\n# baz is it\nARG foo=baz bar=qux baz=quux\n",
        "# check=experimental=all\nFROM scratch\n# a bad comment\n#\nARG bit=bat\n# for a COPY\nCOPY a .\n",
        "FROM scratch\n# a bad comment\nARG a\n",
    ],
    "CopyIgnoredFile": ["FROM scratch\nCOPY a .\n"],
}  # fmt: skip


@pytest.mark.parametrize(("text", "rule", "message", "line"), FIRES, ids=lambda value: str(value)[:30])
def test_a_rule_speaks(text: str, rule: str, message: str, line: int) -> None:
    assert (rule, message, line) in found(text)


@pytest.mark.parametrize(("rule", "text"), [(rule, text) for rule, texts in SILENT.items() for text in texts])
def test_a_rule_is_silent(rule: str, text: str) -> None:
    assert rule not in [each[0] for each in found(text)]


def test_every_rule_has_its_cases() -> None:
    assert set(SILENT) == set(RULES)
    assert {case[1] for case in FIRES} | {"CopyIgnoredFile"} == set(RULES)


def test_a_good_file_has_no_findings() -> None:
    assert not found('# syntax=docker/dockerfile:1\nARG V=1\nFROM alpine:$V AS build\nWORKDIR /a\nARG X\nRUN echo $X\n'
                     'FROM scratch\nCOPY --from=build /a /a\nCMD ["/a"]\n')  # fmt: skip


def test_a_rule_has_a_page() -> None:
    assert RULES["JSONArgsRecommended"].url == "https://docs.docker.com/go/dockerfile/rule/json-args-recommended/"


# ---- what stands in an ignore file


def test_a_file_that_is_ignored_cannot_be_copied() -> None:
    text = "# check=experimental=CopyIgnoredFile\nFROM scratch\nCOPY Dockerfile .\nADD Dockerfile /w\nCOPY b .\n"
    assert found(text, ignore="Dockerfile\n") == [
        ("CopyIgnoredFile", 'Attempting to Copy file "Dockerfile" that is excluded by .dockerignore', 3),
        ("CopyIgnoredFile", 'Attempting to Add file "Dockerfile" that is excluded by .dockerignore', 4),
    ]
    assert not found(text, ignore="other\n")
    assert not found(text.partition("\n")[2], ignore="Dockerfile\n")


def test_what_comes_from_elsewhere_is_not_ignored() -> None:
    head = "# check=experimental=all\nFROM scratch AS a\n"
    assert not found(head + "FROM a\nCOPY --from=a /b /c\n", ignore="b\n")
    assert not found(head + "ADD https://a/b /c\n", ignore="b\n")
    assert not found(head + "COPY . /c\n", ignore="b\n")
    assert found(head + "COPY . /c\n", ignore="*\n")
    assert not found(head + "COPY b /c\n", ignore="*\n!b\n")


# ---- what is known from outside


def test_the_variables_of_a_base_are_known() -> None:
    text = "FROM alpine\nENV a=$LANG\n"
    assert found(text) == [("UndefinedVar", "Usage of undefined variable '$LANG'", 2)]
    assert not found(text, names=("LANG",))


def test_of_a_base_that_is_not_known_only_misspelt_variables_are_told() -> None:
    text = "FROM alpine AS a\nFROM a\nENV a=$LANG\nENV b=$PAHT\n"
    assert found(text, names=None) == [("UndefinedVar", "Usage of undefined variable '$PAHT' (did you mean $PATH?)", 4)]


def test_only_the_stages_that_are_asked_for_have_their_instructions_looked_at() -> None:
    dockerfile = parse(b"FROM scratch as a\nCMD x\nENV a b\nFROM scratch AS b\nCMD y\n")
    assert [(each.rule, each.line) for each in lint.check(dockerfile, stages=(1,))] == [
        ("FromAsCasing", 1), ("JSONArgsRecommended", 5),
    ]  # fmt: skip


def test_arguments_that_are_given_count() -> None:
    assert not found("ARG V=1\nFROM busybox:$V\n", {"V": "2"})
    assert [each[0] for each in found("ARG V\nFROM busybox:$V\n", {"V": "1"})] == ["InvalidDefaultArgInFrom"]


# ---- options


TWO = "FROM scratch as base\ncopy Dockerfile .\n"


@pytest.mark.parametrize(
    ("options", "rules"),
    [
        ("", ["FromAsCasing", "ConsistentInstructionCasing"]),
        ("skip=all", []),
        ("skip=ConsistentInstructionCasing,FromAsCasing", []),
        ("skip=ConsistentInstructionCasing", ["FromAsCasing"]),
        ("skip= ConsistentInstructionCasing ; error=true", ["FromAsCasing"]),
    ],
)
def test_rules_are_skipped_by_name(options: str, rules: list[str]) -> None:
    assert [each[0] for each in found(f"# check={options}\n{TWO}" if options else TWO)] == rules


def test_a_build_argument_stands_before_the_file() -> None:
    text = f"# check=skip=all\n{TWO}"
    given = {lint.CHECK_ARGUMENT: "skip=ConsistentInstructionCasing;error=true"}
    assert [each[0] for each in found(text, given)] == ["FromAsCasing"]
    assert not found(f"# check=error=true\n{TWO}", {lint.CHECK_ARGUMENT: "skip=all"})


def test_a_comment_before_an_instruction_skips_there_alone() -> None:
    text = "FROM scratch\n# check=skip=JSONArgsRecommended\nCMD a\nENTRYPOINT b\n"
    assert [each[2] for each in found(text)] == [4]


def test_an_experimental_rule_runs_where_all_are_skipped_but_it_is_asked_for() -> None:
    text = "# check=skip=all;experimental=CopyIgnoredFile\nFROM scratch as x\nCOPY b .\n"
    assert [each[0] for each in found(text, ignore="b\n")] == ["CopyIgnoredFile"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("skip", 'invalid check option "skip"'),
        ("skpi=all", 'invalid check option "skpi" (did you mean skip?)'),
        ("error=maybe", 'failed to parse check option "error=maybe"'),
        ("skip=JSONArgRecommended", 'no such check "JSONArgRecommended" (did you mean JSONArgsRecommended?)'),
    ],
)
def test_options_that_are_none_are_refused(text: str, reason: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        check_options(text)
    assert caught.value.reason.startswith(reason)


def test_a_rule_of_a_newer_docker_is_no_mistake() -> None:
    assert check_options("skip=SomethingQuiteNew").skip == {"SomethingQuiteNew"}


def test_findings_may_be_an_error() -> None:
    dockerfile = parse(f"# check=error=true\n{TWO}".encode())
    assert lint.wanted_options(dockerfile, {}).error
    text = lint.violation(lint.check(dockerfile))
    assert text == "lint violation found for rules: FromAsCasing, ConsistentInstructionCasing"


def test_what_cannot_be_built_is_an_error_with_its_place() -> None:
    with pytest.raises(DockerfileError) as caught:
        found("FROM scratch\nENV a=1\nENV b=${c:?needed}\n")
    assert caught.value.line == 3 and "c: needed" in caught.value.message


def test_the_redundant_platform_is_this_ones() -> None:
    text = "FROM --platform=$TARGETPLATFORM scratch\n"
    other = f"linux/{'arm64' if host().architecture != 'arm64' else 'amd64'}"
    assert [each[0] for each in found(text)] == ["RedundantTargetPlatform"]
    assert not found(text.replace("$TARGETPLATFORM", "$TARGETPLATFORM/v8"), {"TARGETPLATFORM": other})


def test_a_hundred_thousand_lines_are_looked_at() -> None:
    text = "FROM scratch\n" + "ENV aa=1\n" * 10_000 + "ENV aa=$bb\n" * 2_000 + "# c\n" * 90_000 + "ARG d\n"
    assert len(found(text)) == 2_000


def test_a_file_of_a_thousand_variables_gets_no_suggestions() -> None:
    many = "".join(f"ENV name{n}=$nam{n}\n" for n in range(5_000))
    messages = [each[1] for each in found("FROM scratch\n" + many)]
    assert len(messages) == 5_000 and sum("did you mean" in each for each in messages) <= MAX_SUGGESTED
