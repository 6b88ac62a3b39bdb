"""The linter's rules: names, texts and pages are BuildKit's.  Source: moby/buildkit frontend/dockerfile/linter."""

from __future__ import annotations

from veneer.values import Value

_PAGES = "https://docs.docker.com/go/dockerfile/rule/"


class Rule(Value):
    """`message` is a format string; an `experimental` rule only runs where it is asked for by name."""

    name: str
    page: str
    description: str
    message: str
    experimental: bool = False

    @property
    def url(self) -> str:
        return f"{_PAGES}{self.page}/"


_ALL = (
    Rule("StageNameCasing", "stage-name-casing", "Stage names should be lowercase",
         "Stage name '{}' should be lowercase"),
    Rule("FromAsCasing", "from-as-casing", "The 'as' keyword should match the case of the 'from' keyword",
         "'{}' and '{}' keywords' casing do not match"),
    Rule("NoEmptyContinuation", "no-empty-continuation",
         "Empty continuation lines will become errors in a future release", "Empty continuation line"),
    Rule("ConsistentInstructionCasing", "consistent-instruction-casing",
         "All commands within the Dockerfile should use the same casing (either upper or lower)",
         "Command '{}' should match the case of the command majority ({})"),
    Rule("DuplicateStageName", "duplicate-stage-name", "Stage names should be unique",
         'Duplicate stage name "{}", stage names should be unique'),
    Rule("ReservedStageName", "reserved-stage-name", "Reserved words should not be used as stage names",
         'Stage name should not use the same name as reserved stage "{}"'),
    Rule("JSONArgsRecommended", "json-args-recommended",
         "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS signals",
         "JSON arguments recommended for {} to prevent unintended behavior related to OS signals"),
    Rule("MaintainerDeprecated", "maintainer-deprecated",
         "The MAINTAINER instruction is deprecated, use a label instead to define an image author",
         "Maintainer instruction is deprecated in favor of using label"),
    Rule("UndefinedArgInFrom", "undefined-arg-in-from", "FROM command must use declared ARGs",
         "FROM argument '{}' is not declared{}"),
    Rule("UndefinedVar", "undefined-var", "Variables should be defined before their use",
         "Usage of undefined variable '${}'{}"),
    Rule("WorkdirRelativePath", "workdir-relative-path",
         "Relative workdir without an absolute workdir declared within the build can have unexpected results if the "
         "base image changes", "Relative workdir {} can have unexpected results if the base image changes"),
    Rule("MultipleInstructionsDisallowed", "multiple-instructions-disallowed",
         "Multiple instructions of the same type should not be used in the same stage",
         "Multiple {} instructions should not be used in the same stage because only the last one will be used"),
    Rule("LegacyKeyValueFormat", "legacy-key-value-format",
         "Legacy key/value format with whitespace separator should not be used",
         '"{0} key=value" should be used instead of legacy "{0} key value" format'),
    Rule("RedundantTargetPlatform", "redundant-target-platform",
         "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior",
         "Setting platform to predefined {} in FROM is redundant as this is the default behavior"),
    Rule("FromPlatformFlagConstDisallowed", "from-platform-flag-const-disallowed",
         "FROM --platform flag should not use a constant value",
         'FROM --platform flag should not use constant value "{}"'),
    Rule("SecretsUsedInArgOrEnv", "secrets-used-in-arg-or-env",
         "Sensitive data should not be used in the ARG or ENV commands",
         'Do not use ARG or ENV instructions for sensitive data ({} "{}")'),
    Rule("InvalidDefaultArgInFrom", "invalid-default-arg-in-from",
         "Default value for global ARG results in an empty or invalid base image name",
         "Default value for ARG {} results in empty or invalid base image name"),
    Rule("ExposeProtoCasing", "expose-proto-casing", "Protocol in EXPOSE instruction should be lowercase",
         "Defined protocol '{}' in EXPOSE instruction should be lowercase"),
    Rule("ExposeInvalidFormat", "expose-invalid-format",
         "IP address and host-port mapping should not be used in EXPOSE instruction. This will become an error in a "
         "future release",
         "EXPOSE instruction should not define an IP address or host-port mapping, found '{}'"),
    Rule("CopyIgnoredFile", "copy-ignored-file", "Attempting to Copy file that is excluded by .dockerignore",
         'Attempting to {} file "{}" that is excluded by .dockerignore', True),
    Rule("InvalidDefinitionDescription", "invalid-definition-description",
         "Comment for build stage or argument should follow the format: `# <arg/stage name> <description>`. If this is "
         "not intended to be a description comment, add an empty line or comment between the instruction and the "
         "comment.", "Comment for {} should follow the format: `# {} <description>`", True),
)  # fmt: skip
RULES = {rule.name: rule for rule in _ALL}
