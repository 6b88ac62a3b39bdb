"""The rules that look at a file's words alone: casing, names, old forms, comments."""

from __future__ import annotations

from collections.abc import Collection

from veneer.build.language import instructions as i
from veneer.build.language.lint_report import CHECK, Report
from veneer.build.language.words import plain_words

_RESERVED = ("context", "scratch")
_ONCE = (i.Cmd, i.Entrypoint, i.Healthcheck)


def check_file(dockerfile: i.Dockerfile, report: Report, stages: Collection[int]) -> None:
    """Look at all of a file; at the instructions of the `stages` with these numbers alone."""
    for warning in dockerfile.warnings:
        if warning.rule == "NoEmptyContinuation":
            report.add_line(warning.rule, warning.line, warning.line)
    for arg in dockerfile.global_args:
        _description(report, arg, "ARG", [name for name, _ in arg.pairs])
    _casing(dockerfile, report)
    seen: set[str] = set()
    for stage in dockerfile.stages:
        _stage_name(report, stage, seen)
        if stage.index in stages:
            _instructions(report, stage)


def word_of(instruction: i.Instruction) -> str:
    """An instruction's word as it is written."""
    return instruction.text[: len(instruction.keyword)]


def _stage_name(report: Report, stage: i.Stage, seen: set[str]) -> None:
    base = stage.base
    if not base.alias:
        return
    if base.alias != stage.name:
        report.add("StageNameCasing", base, base.alias)
    keyword, as_ = word_of(base), plain_words(base.text)[-2]
    wanted = {keyword.lower(): as_.lower(), keyword.upper(): as_.upper()}.get(keyword, as_)
    if as_ != wanted:
        report.add("FromAsCasing", base, as_, keyword)
    if stage.name in _RESERVED:
        report.add("ReservedStageName", base, stage.name)
    if stage.name in seen:
        report.add("DuplicateStageName", base, stage.name)
    seen.add(stage.name)
    _description(report, base, "FROM", [stage.name])


def _casing(dockerfile: i.Dockerfile, report: Report) -> None:
    written = [each for stage in dockerfile.stages for each in (stage.base, *stage.instructions)]
    words = [word_of(each) for each in written]
    lower = sum(word.islower() for word in words)
    upper = sum(word.isupper() for word in words)
    wanted = "lowercase" if lower > upper else "uppercase"
    for instruction, word in zip(written, words, strict=True):
        if word != (word.lower() if lower > upper else word.upper()):
            report.add("ConsistentInstructionCasing", instruction, word, wanted)


def _instructions(report: Report, stage: i.Stage) -> None:
    last: dict[type, i.Instruction] = {}
    for instruction in stage.instructions:
        if isinstance(instruction, i.Maintainer):
            report.add("MaintainerDeprecated", instruction)
        elif isinstance(instruction, i.Env | i.Label) and instruction.legacy:
            report.add("LegacyKeyValueFormat", instruction, word_of(instruction))
        elif isinstance(instruction, i.Arg):
            _description(report, instruction, "ARG", [name for name, _ in instruction.pairs])
        elif isinstance(instruction, _ONCE):
            # The one that does not count is the one to look at.
            if before := last.get(type(instruction)):
                report.add("MultipleInstructionsDisallowed", before, word_of(instruction))
            last[type(instruction)] = instruction


def _description(report: Report, instruction: i.Instruction, keyword: str, names: list[str]) -> None:
    if not report.options.wants("InvalidDefinitionDescription"):
        return
    comments = [each for each in report.comments(instruction.location) if not CHECK.fullmatch(each)]
    if comments and comments[-1].split(" ", 1)[0] not in names:
        shown = names[0] if len(names) == 1 else "<arg_key>"
        report.add("InvalidDefinitionDescription", instruction, keyword, shown)
