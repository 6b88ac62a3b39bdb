"""RUN: what it depends on, what it sees, and the layer it leaves.

Source: moby builder/dockerfile/dispatchers.go dispatchRun; moby/buildkit dockerfile2llb convert_runmount.go,
convert_secrets.go, convert_ssh.go.
"""

from __future__ import annotations

from veneer.build import classic
from veneer.build import state as s
from veneer.build.cache import facts_of
from veneer.build.language import instructions as i

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.build.stage import StageRun

SCRIPTS = "/dev/pipes"
"""Where a here-document that is a program is put, as with BuildKit."""


class NotAllowed(s.InvalidStep):
    """A RUN that wants a privilege the build was not given."""


def command_words(run: s.RunConfig, instruction: i.Run) -> tuple[str, ...]:
    """What is executed."""
    shell = run.shell or classic.DEFAULT_SHELL
    if (script := instruction.script) is not None:
        return (*shell, f"{SCRIPTS}/{script.name}")
    if instruction.command.shell:
        return (*shell, instruction.shell_text)
    return instruction.command.words


def run(stage: StageRun, instruction: i.Run) -> bool:
    """Do a RUN; whether the cache had it."""
    _check(stage, instruction)
    state = stage.state
    words = command_words(state.run, instruction)
    visible, shown = state.scope.visible(state.run.env), state.scope.shown(state.run.env)
    prefix = (f"|{len(shown)}", *sorted(f"{name}={value}" for name, value in shown.items())) if visible else ()
    command = (*instruction.flags, *prefix, *words)
    if stage.looks_up:
        more = {"args": shown, "mounts": _mounted(stage, instruction)}
        if instruction.script is not None:
            more["script"] = instruction.script.content
        facts = facts_of("RUN", state.run, (*instruction.flags, *words), stage.platform, more)
        if stage.found(facts):
            return True
    else:
        facts = None
        stage.found(None)
    if stage.session.request.dry_run:
        return False
    if facts is None:
        more = {"args": shown, "mounts": _mounted(stage, instruction)}
        if instruction.script is not None:
            more["script"] = instruction.script.content
        facts = facts_of("RUN", state.run, (*instruction.flags, *words), stage.platform, more)
    layer = _carry_out(stage, instruction, words, visible)
    stage.make(command, facts, layer)
    return False
