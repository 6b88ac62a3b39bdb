"""`veneer completion SHELL`, and the hidden `veneer __complete WORDS...` that its scripts ask."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from veneer.cli import tree
from veneer.cli.app import App, Failure
from veneer.cli.command import Command
from veneer.cli.flags import Parsed

_BASH = r"""# bash completion for veneer; load it with: source <(veneer completion bash)
_veneer() {
    local cur words cword
    if declare -F _get_comp_words_by_ref >/dev/null; then
        _get_comp_words_by_ref -n : cur words cword
    else
        cur=${COMP_WORDS[COMP_CWORD]} words=("${COMP_WORDS[@]}") cword=$COMP_CWORD
    fi
    local IFS=$'\n'
    COMPREPLY=($(veneer __complete "${words[@]:1:cword}" 2>/dev/null))
    if declare -F __ltrim_colon_completions >/dev/null; then __ltrim_colon_completions "$cur"; fi
}
complete -o default -F _veneer veneer
"""
_ZSH = r"""#compdef veneer
# zsh completion for veneer; load it with: source <(veneer completion zsh)
_veneer() {
    local -a found
    found=("${(@f)$(veneer __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ -n "${found[1]}" ]]; then compadd -- "${found[@]}"; else _files; fi
}
compdef _veneer veneer
"""
_FISH = r"""# fish completion for veneer; load it with: veneer completion fish | source
function __veneer_complete
    set -l words (commandline -opc) (commandline -ct)
    veneer __complete $words[2..-1] 2>/dev/null
end
complete -c veneer -a '(__veneer_complete)'
"""
SCRIPTS = {"bash": _BASH, "fish": _FISH, "zsh": _ZSH}
_TAKE_IMAGES = frozenset({
    "badge", "check", "create", "export", "history", "images", "inspect", "mount", "peel", "pull", "push", "report",
    "rmi", "run", "save", "serve", "tag", "watch",
})  # fmt: skip
_TAKE_CONTAINERS = frozenset({
    "attach", "commit", "cp", "diff", "exec", "export", "inspect", "kill", "logs", "mount", "pause", "port", "rename",
    "restart", "rm", "start", "stats", "stop", "top", "unpause", "update", "wait",
})  # fmt: skip
_TAKE_NOTHING = frozenset({"build", "catalog", "create", "import", "load", "ls", "prune"})
"""Of the commands of `image`, `volume` and `network`."""


def run_script(app: App, given: Parsed) -> None:
    shell = given.arguments[0]
    if shell not in SCRIPTS:
        raise Failure(f"no completion for {shell}: there is {', '.join(SCRIPTS)}")
    app.write(SCRIPTS[shell])


def candidates(app: App, words: Sequence[str]) -> Iterable[str]:
    """What may stand where the last of `words` is being typed."""
    from veneer.cli.main import GLOBALS, find_leaf

    current = words[-1] if words else ""
    before = [word for word in words[:-1] if not word.startswith("-")]
    group = tree.GROUPS.get(before[0]) if before else None
    leaf = find_leaf(before)
    if leaf is None:
        if current.startswith("-"):
            return [f"--{option.long}" for option in GLOBALS] + ["--help"]
        return group.leaves if group else [*tree.TOP, *tree.GROUPS] if not before else []
    if current.startswith("-"):
        from veneer.cli.main import load

        return [f"--{option.long}" for option in load(leaf).options if not option.hidden] + ["--help"]
    if leaf.attribute == "COMPLETION":
        return SCRIPTS
    return _names(app, before[0], before[1]) if group else _names(app, "", before[0])


def _names(app: App, group: str, command: str) -> Iterable[str]:
    """The names of what this command takes: images, containers, volumes, networks."""
    if command in _TAKE_NOTHING and group in ("image", "volume", "network"):
        return
    own = command in ("run", "create") if group == "container" else command in _TAKE_IMAGES
    if group == "image" or (group in ("", "container") and own):
        yield from (tag.familiar for image in app.engine.images.list() for tag in image.tags)
    if (group == "container" and not own and command not in ("ls", "prune")) or (
        group == "" and command in _TAKE_CONTAINERS
    ):
        yield from (container.name for container in app.engine.containers.list())
    if group == "volume":
        yield from (volume.name for volume in app.engine.volumes.list())
    if group == "network":
        yield from (network.name for network in app.engine.networks.list())


def run_complete(app: App, given: Parsed) -> None:
    current = given.arguments[-1] if given.arguments else ""
    for candidate in sorted(candidates(app, given.arguments)):
        if candidate.startswith(current):
            app.line(candidate)


COMPLETION = Command(
    run_script,
    "Print the completion script for a shell",
    "bash|fish|zsh",
    least=1,
    most=1,
    only_looks=True,
)
COMPLETE = Command(run_complete, "Words that may come next", "[WORD...]", most=None, raw=True, only_looks=True)
