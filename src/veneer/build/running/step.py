"""RUN: what it depends on, what it sees, and the layer it leaves.

Source: moby builder/dockerfile/dispatchers.go dispatchRun; moby/buildkit dockerfile2llb convert_runmount.go,
convert_secrets.go, convert_ssh.go, executor/oci/spec.go.
"""

from __future__ import annotations

from veneer.build import classic
from veneer.build.caching.cache import facts_of
from veneer.build.failure import CommandFailed
from veneer.build.language import instructions as i
from veneer.build.running import mounts
from veneer.build.steps import drafted, measured
from veneer.drivers import userns
from veneer.errors import Denied
from veneer.store.durability import disk_hint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from veneer.build.runconfig import RunConfig
    from veneer.build.stage import StageRun

SCRIPTS = "/dev/pipes"
"""Where a here-document that is a program is put, as with BuildKit."""


class NotAllowed(Denied):
    """A RUN that wants a privilege the build was not given."""


def command_words(run: RunConfig, instruction: i.Run) -> tuple[str, ...]:
    """What is executed."""
    shell = run.shell or classic.DEFAULT_SHELL
    if (script := instruction.script) is not None:
        return (*shell, f"{SCRIPTS}/{script.name}")
    if instruction.command.shell:
        return (*shell, instruction.shell_text)
    return instruction.command.words


def run(stage: StageRun, instruction: i.Run) -> bool:
    """Do a RUN; whether the cache had it.

    Raises NotAllowed, CommandFailed, and what making its container raises.
    """
    check_allowed(instruction, stage.session.request.allow)
    state = stage.state
    words = command_words(state.run, instruction)
    visible, shown = state.scope.visible(state.run.env), state.scope.shown(state.run.env)
    prefix = (f"|{len(shown)}", *sorted(f"{name}={value}" for name, value in shown.items())) if visible else ()
    command = (*instruction.flags, *prefix, *words)
    facts = _facts(stage, instruction, words, shown) if stage.looks_up else None
    if stage.found(facts, command=command):
        return True
    if stage.session.request.dry_run:
        return False
    if facts is None:
        facts = _facts(stage, instruction, words, shown)
    from veneer.build.running import container  # what a build from the cache need not load

    with drafted(stage) as draft:
        status = container.run(stage, instruction, draft, words, visible)
        if status:
            raise CommandFailed(words, status, hint=disk_hint(stage.store.root) or _ids_hint())
        layer = measured(stage, draft)
    stage.make(command, facts, layer)
    return False


def _ids_hint() -> str:
    """What a command may have stumbled over where there is but one id to give to files."""
    found = userns.standing()
    if found.kind != userns.ONE:
        return ""
    return f"if it was about owners: files can have no other owner here ({found.reason})"


def check_allowed(instruction: i.Run, allowed: Sequence[str]) -> None:
    """Raise NotAllowed for what needs an entitlement that `--allow` did not give."""
    for wanted, name in (
        (instruction.network == "host", "network.host"), (instruction.security == "insecure", "security.insecure"),
    ):  # fmt: skip
        if wanted and name not in allowed:
            raise NotAllowed(f"{name} is not allowed", hint=f"if the Dockerfile can be trusted: --allow {name}")


def _facts(stage: StageRun, instruction: i.Run, words: Sequence[str], shown: Mapping[str, str]) -> dict[str, Any]:
    more: dict[str, Any] = {"args": shown, **mounts.facts(stage, instruction)}
    if instruction.script is not None:
        more["script"] = instruction.script.content
    return facts_of("RUN", stage.state.run, (*instruction.flags, *words), stage.platform, more)
