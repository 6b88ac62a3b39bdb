"""Commands of ours as the user is to type or paste them: with the global options that this call was given.

Who raises an error names the command alone; what else it needs to mean the same thing, the command line knows.
"""

from __future__ import annotations

from veneer.cli import tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_OPTIONS = {
    "config_file": "--config-file",
    "durability": "--durability",
    "insecure_registries": "--insecure-registry",
    "root": "--root",
    "storage_driver": "--storage-driver",
}


def spelled(text: str, settings: Mapping[str, Any]) -> str:
    """`text` for people, each `veneer COMMAND` in it with the global options that set `settings`."""
    options = _options(settings)
    if not options or "veneer " not in text:
        return text
    import re

    def with_options(found: re.Match[str]) -> str:
        name = found[1]
        is_command = name in tree.TOP or name in tree.GROUPS or name in tree.HIDDEN
        return f"veneer {options}{name}" if is_command else found[0]

    return re.sub(r"\bveneer ([a-z][a-z-]*)", with_options, text)


def _options(settings: Mapping[str, Any]) -> str:
    if not settings:
        return ""
    import shlex

    words = []
    for key, option in _OPTIONS.items():
        value = settings.get(key)
        for each in value if isinstance(value, list) else [value]:
            if each:
                words += [option, shlex.quote(str(each))]
    return "".join(f"{word} " for word in words)
