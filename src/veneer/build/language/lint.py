"""What is legal in a Dockerfile and still better written otherwise: `veneer build --check`.

Pure: the base images' variables and the context's ignore file are told by whoever knows them.
Source: moby/buildkit frontend/dockerfile/{linter,dockerfile2llb/validations.go}.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING

from veneer.build.language import instructions as i
from veneer.build.language.errors import DockerfileError, Syntax, did_you_mean
from veneer.build.language.expand import expanded
from veneer.build.language.lint_file import check_file
from veneer.build.language.lint_report import Finding, Options, Report, check_options
from veneer.build.language.lint_stage import StageLinter
from veneer.build.language.parser import located
from veneer.build.language.resolve import resolved_args
from veneer.oci.platform import InvalidPlatform, Platform, host
from veneer.oci.reference import InvalidReference, Reference

if TYPE_CHECKING:
    from veneer.build.language.lint_stage import Ignored

CHECK_ARGUMENT = "BUILDKIT_DOCKERFILE_CHECK"
"""The build argument that stands before the file's `# check=`."""
_TARGET_PLATFORM = "TARGETPLATFORM"

BaseNames = Callable[[str], Iterable[str] | None]
"""The names of the variables an image sets; None where the image is not known, and any may be set."""


def _unknown(image: str) -> None:
    return None


def check(
    dockerfile: i.Dockerfile,
    *,
    build_args: Mapping[str, str] | None = None,
    context_ignore: Ignored | None = None,
    base_names: BaseNames = _unknown,
    options: str | None = None,
    platform: Platform | None = None,
    stages: Collection[int] | None = None,
) -> list[Finding]:
    """Every finding, by line.  `options` (`skip=...;error=...`) stands before what the file itself says.

    `stages` are the numbers of those whose instructions count, each with the stages it stands on; None: all.

    Raises DockerfileError for what could not be built at all, and for options that are none.
    """
    given = dict(build_args or {})
    wanted = range(len(dockerfile.stages)) if stages is None else stages
    report = Report(dockerfile, wanted_options(dockerfile, given, options))
    check_file(dockerfile, report, wanted)
    linter = _Linter(dockerfile, report, given, platform or host())
    linter.bases()
    done: dict[str, StageLinter] = {}
    for stage in dockerfile.stages:
        if stage.index not in wanted:
            continue
        image = linter.resolved_image(stage)
        base = done.get(image.lower())
        names = () if base or image == "scratch" else base_names(image)
        one = StageLinter(dockerfile, report, given, linter.scope, context_ignore, base, names)
        for instruction in stage.instructions:
            try:
                one.check(instruction)
            except Syntax as error:
                raise _located(error, dockerfile, instruction) from None
        if stage.name:
            done[stage.name] = one
    return report.sorted()


def violation(findings: Iterable[Finding]) -> str:
    """The text of the error that `error=true` makes of findings."""
    rules = dict.fromkeys(finding.rule for finding in findings)
    return f"lint violation found for rules: {', '.join(rules)}"


def wanted_options(dockerfile: i.Dockerfile, given: Mapping[str, str], options: str | None = None) -> Options:
    """What counts of `options`, a build argument and the file's own `# check=`.  Raises DockerfileError."""
    written = options if options is not None else given.get(CHECK_ARGUMENT, dockerfile.directives.check)
    return check_options(written, dockerfile.name)


def _located(error: Syntax, dockerfile: i.Dockerfile, instruction: i.Instruction) -> DockerfileError:
    place = instruction.location
    return located(error, dockerfile.source, dockerfile.name, place.line, place.end_line)


class _Linter:
    """What is seen from before the first FROM."""

    def __init__(self, dockerfile: i.Dockerfile, report: Report, given: Mapping[str, str], platform: Platform) -> None:
        self.dockerfile, self.report = dockerfile, report
        self.escape = dockerfile.directives.escape
        self.builtin = _platform_names(platform, dockerfile.stages[-1].name)
        self.declared = {name for arg in dockerfile.global_args for name, _ in arg.pairs}
        self.scope = self._scope(given)

    def _scope(self, given: Mapping[str, str]) -> dict[str, str]:
        scope = dict(self.builtin)
        for arg in self.dockerfile.global_args:
            try:
                pairs = resolved_args(arg, scope, self.escape, given)
            except Syntax as error:
                raise _located(error, self.dockerfile, arg) from None
            for name, default in pairs:
                value = given.get(name, default)
                if value is not None:
                    scope[name] = value
        return scope

    def resolved_image(self, stage: i.Stage) -> str:
        try:
            return expanded(stage.base.image, self.scope, self.escape).text
        except Syntax as error:
            raise _located(error, self.dockerfile, stage.base) from None

    def bases(self) -> None:
        """Every FROM's own words."""
        defaults = self._scope({})
        for stage in self.dockerfile.stages:
            base = stage.base
            try:
                image = expanded(base.image, self.scope, self.escape)
                self._undeclared(base, image.missing)
                self._default_image(base, defaults)
                if base.platform:
                    platform = expanded(base.platform, self.scope, self.escape)
                    self._undeclared(base, platform.missing)
                    self._platform(stage, platform.used, platform.missing, platform.text)
            except Syntax as error:
                raise _located(error, self.dockerfile, base) from None

    def _undeclared(self, base: i.From, missing: Iterable[str]) -> None:
        for name in sorted(missing):
            if name in self.declared or name in self.scope:
                continue
            known = {*self.declared, *self.scope} if self.report.may_suggest(self.scope) else ()
            self.report.add("UndefinedArgInFrom", base, name, did_you_mean(name, sorted(known)))

    def _default_image(self, base: i.From, defaults: Mapping[str, str]) -> None:
        try:
            Reference.parse(expanded(base.image, defaults, self.escape).text)
        except InvalidReference:
            self.report.add("InvalidDefaultArgInFrom", base, base.image)

    def _platform(self, stage: i.Stage, used: frozenset[str], missing: frozenset[str], text: str) -> None:
        if used == {_TARGET_PLATFORM} and not missing and text == self.scope.get(_TARGET_PLATFORM):
            self.report.add("RedundantTargetPlatform", stage.base, stage.base.platform)
        if used:
            return
        try:
            platform = Platform.parse(text)
        except InvalidPlatform:
            return  # the build says so
        if platform.os not in stage.name and platform.architecture not in stage.name:
            self.report.add("FromPlatformFlagConstDisallowed", stage.base, text)


def _platform_names(target: Platform, stage: str) -> dict[str, str]:
    found = {"TARGETSTAGE": stage or "default"}
    for prefix, platform in (("BUILD", host()), ("TARGET", target)):
        found |= {
            f"{prefix}PLATFORM": str(platform), f"{prefix}OS": platform.os, f"{prefix}ARCH": platform.architecture,
            f"{prefix}VARIANT": platform.variant,
        }  # fmt: skip
    return found
