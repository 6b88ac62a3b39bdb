"""Instructions of a Dockerfile written so that reading them gives the very values again."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PLAIN = re.compile(r"[\w./:@%+,=~^-]+")
_HEREDOC = re.compile(r"<<-?\s*[\"'\w]")


def word(text: str) -> str:
    """A word of an instruction whose words are expanded; quoted where it has to be."""
    if _PLAIN.fullmatch(text):
        return text
    return '"' + re.sub(r'(["\\$])', r"\\\1", text) + '"'


def pair(name: str, value: str) -> str:
    """`name=value` for ENV, LABEL and ARG."""
    return f"{word(name)}={word(value) if value else ''}"


def exec_form(words: Sequence[str]) -> str:
    """`["a", "b"]`."""
    return json.dumps(list(words), ensure_ascii=False)


def expanded_list(words: Sequence[str]) -> str:
    """`["a", "b"]` of an instruction whose words are expanded, as VOLUME's are."""
    return exec_form([re.sub(r"([\\$\"'])", r"\\\1", each) for each in words])


def command(keyword: str, words: Sequence[str], shell: Sequence[str]) -> str:
    """CMD or ENTRYPOINT, in shell form where that reads as the same words."""
    if len(words) == len(shell) + 1 and tuple(words[:-1]) == tuple(shell) and _fits_a_line(words[-1]):
        return f"{keyword} {words[-1]}"
    return f"{keyword} {exec_form(words)}"


def run(text: str, flags: str = "") -> str:
    """RUN in shell form; as a here-document where the command has lines or marks of its own."""
    start = f"RUN {flags} " if flags else "RUN "
    if _fits_a_line(text) and not _HEREDOC.search(text):
        return start + text
    end = "EOF"
    while end in text.splitlines():
        end += "F"
    return f"{start}<<{end}\n{text}{'' if text.endswith(chr(10)) else chr(10)}{end}"


def _fits_a_line(text: str) -> bool:
    """Whether a shell form with that text is read as it stands."""
    return bool(
        text and text == text.strip() and "\n" not in text and not text.startswith(("[", "--")) and text[-1] != "\\"
    )


def healthcheck(check: Mapping[str, Any]) -> str:
    """HEALTHCHECK, of an image config's object."""
    from veneer.build.language.durations import go_duration

    test = [str(each) for each in check.get("Test") or ()]
    if test == ["NONE"]:
        return "HEALTHCHECK NONE"
    options = [
        f"--{flag}={go_duration(check[key])} "
        for flag, key in (("interval", "Interval"), ("timeout", "Timeout"), ("start-period", "StartPeriod"),
                          ("start-interval", "StartInterval"))
        if check.get(key)
    ]  # fmt: skip
    if check.get("Retries"):
        options.append(f"--retries={check['Retries']} ")
    if test[:1] == ["CMD-SHELL"] and len(test) == 2 and _fits_a_line(test[1]):
        return f"HEALTHCHECK {''.join(options)}CMD {test[1]}"
    return f"HEALTHCHECK {''.join(options)}CMD {exec_form(test[1:])}"
