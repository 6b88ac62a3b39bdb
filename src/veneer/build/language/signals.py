"""STOPSIGNAL's names on Linux.  Source: moby/sys signal."""

from __future__ import annotations

from veneer.build.language.errors import Syntax, did_you_mean

_WORDS = """ABRT ALRM BUS CHLD CLD CONT FPE HUP ILL INT IO IOT KILL PIPE POLL PROF PWR QUIT SEGV STKFLT STOP SYS TERM
TRAP TSTP TTIN TTOU URG USR1 USR2 VTALRM WINCH XCPU XFSZ RTMIN RTMAX"""
_NAMES = frozenset((*_WORDS.split(), *(f"RTMIN+{n}" for n in range(1, 16)), *(f"RTMAX-{n}" for n in range(1, 15))))


def check_signal(text: str) -> None:
    """Raise Syntax for what is neither a signal's name (SIG or not, any case) nor a number."""
    name = text.upper().removeprefix("SIG")
    if name in _NAMES:
        return
    digits = text[1:] if text[:1] in ("+", "-") else text
    if digits.isascii() and digits.isdigit() and digits.strip("0") and len(digits) < 10:
        return
    prefix = "" if name == text.upper() else "SIG"
    near = did_you_mean(text, (prefix + each for each in sorted(_NAMES)))
    raise Syntax(f"invalid signal: {text}{near}", hint="as in SIGTERM or 15", at=text)
