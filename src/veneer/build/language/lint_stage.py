"""The rules that follow a stage from step to step: variables, directories, ports, what is copied."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from veneer.build.language import instructions as i
from veneer.build.language.errors import did_you_mean
from veneer.build.language.expand import Expanded, expanded, expanded_document
from veneer.build.language.lint_file import word_of
from veneer.build.language.lint_report import Report
from veneer.build.language.ports import parts
from veneer.build.language.quoting import quoted

_SECRET = re.compile(
    r"(?:_|^)(?:apikey|auth|credentials?|key|password|pword|passwd|secret|token)(?:_|$)", re.IGNORECASE
)
_NO_SECRET = re.compile(r"(?:_|^)(?:public|file|version)(?:_|$)", re.IGNORECASE)
_REMOTE = ("http://", "https://", "git://", "ssh://", "git@")
_EVERYTHING = ("*", "**", "**/*")


class Ignored(Protocol):
    """What a .dockerignore says."""

    patterns: tuple[str, ...]
    takes_back: bool

    def excludes(self, path: str) -> bool: ...


class StageLinter:
    """One stage; what follows it as a base goes on from it."""

    def __init__(
        self, dockerfile: i.Dockerfile, report: Report, given: Mapping[str, str], scope: Mapping[str, str],
        ignored: Ignored | None, base: StageLinter | None, base_names: Iterable[str] | None,
    ) -> None:  # fmt: skip
        self._report, self._given, self._global = report, given, scope
        self._escape = dockerfile.directives.escape
        self._ignored = ignored
        self._env: dict[str, str] = {"PATH": "", **dict.fromkeys(base_names or (), "")}
        self._unknown = base_names is None
        self._declared: set[str] = set()
        self._workdir_set = self._has_shell = False
        if base:
            self._env, self._declared = dict(base._env), set(base._declared)
            self._workdir_set, self._has_shell = base._workdir_set, base._has_shell
            self._unknown = base._unknown

    def check(self, instruction: i.Instruction) -> None:
        """Look at the next instruction.  Raises Syntax for a word that cannot be read."""
        if isinstance(instruction, i.Arg):
            self._arg(instruction)
            return
        found = {written: self._look(instruction, written) for written in _expandable(instruction)}
        if isinstance(instruction, i.Copy):
            for document in instruction.heredocs:
                if document.expand:
                    self._undefined(instruction, expanded_document(document.content, self._env))
        if isinstance(instruction, i.Env):
            for name, value in instruction.pairs:
                self._secret("ENV", found[name].text, instruction)
                self._env[found[name].text] = found[value].text
        elif isinstance(instruction, i.Workdir):
            path = found[instruction.path].text
            if not self._workdir_set and not path.startswith("/"):
                self._report.add("WorkdirRelativePath", instruction, quoted(path))
            self._workdir_set = True
        elif isinstance(instruction, i.Shell):
            self._has_shell = True
        elif isinstance(instruction, i.Cmd | i.Entrypoint):
            if instruction.command.shell and not self._has_shell:
                self._report.add("JSONArgsRecommended", instruction, word_of(instruction))
        elif isinstance(instruction, i.Expose):
            for written in instruction.words:
                self._ports(instruction, found[written].words)
        elif isinstance(instruction, i.Copy) and not instruction.from_:
            self._ignored_files(instruction, [found[source].text for source in instruction.sources])

    def _look(self, instruction: i.Instruction, written: str) -> Expanded:
        found = expanded(written, self._env, self._escape)
        self._undefined(instruction, found)
        return found

    def _undefined(self, instruction: i.Instruction, found: Expanded) -> None:
        for name in sorted(found.missing - found.guarded - self._declared):
            meant = _meant(name, self._env) if self._report.may_suggest(self._env) else ""
            # A base that is not here may set anything; a name that is nearly a known one is still a mistake.
            if meant or not self._unknown:
                self._report.add("UndefinedVar", instruction, name, meant)

    def _arg(self, instruction: i.Arg) -> None:
        for name, default in instruction.pairs:
            self._secret("ARG", name, instruction)
            value = self._given.get(name)
            if value is None:
                value = self._global.get(name) if default is None else self._look(instruction, default).text
            if value is not None:
                self._env.setdefault(name, value)
            self._declared.add(name)

    def _secret(self, keyword: str, name: str, instruction: i.Instruction) -> None:
        if _SECRET.search(name) and not _NO_SECRET.search(name):
            self._report.add("SecretsUsedInArgOrEnv", instruction, keyword, name)

    def _ports(self, instruction: i.Expose, words: Iterable[str]) -> None:
        for word in words:
            address, host_port, container = parts(word)
            protocol = container.partition("/")[2]
            if protocol != protocol.lower():
                self._report.add("ExposeProtoCasing", instruction, word)
            if address or host_port:
                self._report.add("ExposeInvalidFormat", instruction, word)

    def _ignored_files(self, instruction: i.Copy, sources: Iterable[str]) -> None:
        ignored = self._ignored
        # What is taken back inside of an excluded directory cannot be foreseen without looking.
        if ignored is None or ignored.takes_back or not ignored.patterns:
            return
        verb = "Add" if isinstance(instruction, i.Add) else "Copy"
        for source in sources:
            if source.startswith(_REMOTE):
                continue
            path = posixpath.normpath(source)
            root = path.strip("/") in ("", ".")
            if any(each in _EVERYTHING for each in ignored.patterns) if root else ignored.excludes(path.lstrip("/")):
                self._report.add("CopyIgnoredFile", instruction, verb, path)


def _meant(name: str, known: Iterable[str]) -> str:
    return did_you_mean(name, known).replace("mean ", "mean $")


def _expandable(instruction: i.Instruction) -> Iterator[str]:
    """The words of an instruction that have their variables replaced."""
    if isinstance(instruction, i.Env | i.Label):
        for name, value in instruction.pairs:
            yield name
            yield value
    elif isinstance(instruction, i.Copy):
        yield from (*instruction.sources, instruction.destination, instruction.chown, instruction.chmod)
        yield from instruction.excludes
    elif isinstance(instruction, i.Run):
        yield from (field.partition("=")[2] for each in instruction.mounts if each.deferred
                    for field in each.text.split(","))  # fmt: skip
    elif isinstance(instruction, i.Expose):
        yield from instruction.words
    elif isinstance(instruction, i.Volume):
        yield from instruction.paths
    elif isinstance(instruction, i.User):
        yield instruction.user
    elif isinstance(instruction, i.Workdir):
        yield instruction.path
    elif isinstance(instruction, i.StopSignal):
        yield instruction.signal
