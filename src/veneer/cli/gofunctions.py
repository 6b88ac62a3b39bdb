"""What a Go template may call: Go's builtins and docker's own functions, and how Go prints a value.

Sources: go/src/text/template/funcs.go, go/src/fmt/print.go, docker/cli templates/templates.go.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_VERB = re.compile(r"%(?P<flags>[-+# 0]*)(?P<width>\d+|\*)?(?:\.(?P<precision>\d+))?(?P<verb>.)", re.DOTALL)


class CallFailed(Exception):
    """A function cannot do it; the text is what Go says after `error calling NAME: `."""


class GoMap(dict[str, "Any"]):
    """A Go map of strings: unlike a struct's field, a key that is not there is no error but the zero value."""


class NilMap(Mapping[str, "Any"]):
    """Go's nil map: empty to templates, null to JSON."""

    def __getitem__(self, key: str) -> Any:
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


class NilSlice(Sequence["Any"]):
    """Go's nil slice: empty to templates, null to JSON."""

    def __getitem__(self, position: Any) -> Any:
        raise IndexError(position)

    def __len__(self) -> int:
        return 0


SLICES = (list, tuple, NilSlice)
"""The types that templates take for a slice."""


class Unit(dict[str, "Any"]):
    """Go's struct{}: what the values of a set are."""


class Function(Value):
    """A callable, the Go types it takes ("any" for interface{}), and whether more of the last may follow."""

    call: Callable[..., Any]
    takes: tuple[str, ...]
    variadic: bool = False

    @property
    def at_least(self) -> int:
        return len(self.takes) - self.variadic


def show(value: object) -> str:
    """`value` as Go's %v prints it."""
    if isinstance(value, str):
        return str(value)
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, Unit):
        return "{}"
    if isinstance(value, Mapping):
        return "map[" + " ".join(f"{key}:{show(item)}" for key, item in sorted(value.items())) + "]"
    if isinstance(value, SLICES):
        return "[" + " ".join(map(show, value)) + "]"
    return str(value)


def _float(value: float) -> str:
    # Go's %v is the shortest form with an exponent below 1e-4 and from 1e21 on.
    if value != value or value in (float("inf"), float("-inf")):
        return "NaN" if value != value else "+Inf" if value > 0 else "-Inf"
    if value == int(value) and abs(value) < 1e21:
        return str(int(value))
    return repr(value)


_ESCAPED = {code: f"\\u{code:04x}" for code in (*range(0x7F, 0xA0), 0x2028, 0x2029, *range(0x202A, 0x202F),
                                                *range(0x2066, 0x206A))}  # fmt: skip
"""What Go's encoder writes as \\uNNNN, and what else would reach a terminal as a command or turn a line around."""


def to_json(value: object) -> str:
    """`value` as Go's json encoder writes it, compact, without HTML escapes; but any control character is escaped."""
    import json

    if isinstance(value, (NilMap, NilSlice)):
        return "null"
    if isinstance(value, Mapping) and not isinstance(value, dict):
        # A row marshals itself: keys in order, and with the HTML escapes that the encoder around it leaves out.
        row = to_json({key: value[key] for key in sorted(value)})
        return row.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=_null)
    return text if text.isascii() and "\x7f" not in text else text.translate(_ESCAPED)


def _null(value: object) -> None:
    """What json.dumps does not know is a nil."""
    if not isinstance(value, (NilMap, NilSlice)):
        raise TypeError(f"no JSON for {type(value).__name__}")


def _printf(pattern: str, *arguments: Any) -> str:
    rest = list(arguments)

    def one(match: re.Match[str]) -> str:
        verb = match["verb"]
        if verb == "%":
            return "%"
        flags, width = match["flags"], match["width"] or ""
        if width == "*":
            width = str(rest.pop(0)) if rest else ""
        if not rest:
            return f"%!{verb}(MISSING)"
        value = rest.pop(0)
        precision = "." + match["precision"] if match["precision"] is not None else ""
        return _verb(verb, value, flags, width, precision)

    text = _VERB.sub(one, pattern)
    if rest:
        text += "%!(EXTRA " + ", ".join(f"{_type(value)}={show(value)}" for value in rest) + ")"
    return text


def _verb(verb: str, value: Any, flags: str, width: str, precision: str) -> str:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if verb in "sv" or (verb == "t" and isinstance(value, bool)):
        if verb == "s" and number:
            return f"%!s({_type(value)}={show(value)})"
        return f"%{flags.replace('+', '').replace('#', '')}{width}{precision}s" % show(value)
    if verb == "q" and isinstance(value, str):
        return f"%{flags}{width}s" % to_json(value)
    if verb == "T":
        return _type(value)
    if verb in "xX" and isinstance(value, str):
        digits = value.encode().hex()
        return digits.upper() if verb == "X" else digits
    if verb in "dxXo" and isinstance(value, int) and number:
        return f"%{flags}{width}{precision}{verb}" % value
    if verb == "b" and isinstance(value, int) and number:
        return f"{value:b}"
    if verb == "c" and isinstance(value, int) and number:
        return chr(value)
    if verb in "feEgG" and isinstance(value, float):
        return f"%{flags}{width}{precision}{verb}" % value
    return f"%!{verb}({_type(value)}={show(value)})"


def _type(value: object) -> str:
    return {str: "string", bool: "bool", int: "int", float: "float64"}.get(type(value), type(value).__name__)


def _print(*arguments: Any) -> str:
    # Go's Print puts a space between two operands when neither is a string.
    out: list[str] = []
    for position, value in enumerate(arguments):
        if position and not isinstance(value, str) and not isinstance(arguments[position - 1], str):
            out.append(" ")
        out.append(show(value))
    return "".join(out)


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int"
    if isinstance(value, float):
        return "float"
    if isinstance(value, str):
        return "string"
    if value is None:
        return "nil"
    raise CallFailed(f"non-comparable type {show(value)}: {_type(value)}")


def _equal(first: Any, *others: Any) -> bool:
    if not others:
        raise CallFailed("missing argument for comparison")
    for other in others:
        one, two = _kind(first), _kind(other)
        if one != two and "nil" not in (one, two):
            raise CallFailed("incompatible types for comparison")
        if one == two and first == other:
            return True
    return False


def _less(first: Any, second: Any) -> bool:
    one, two = _kind(first), _kind(second)
    if one in ("bool", "nil"):
        raise CallFailed("invalid type for comparison")
    if one != two:
        raise CallFailed("incompatible types for comparison")
    return bool(first < second)


def _length(value: Any) -> int:
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, (Mapping, *SLICES)):
        return len(value)
    raise CallFailed("len of nil pointer" if value is None else f"len of type {_type(value)}")


def _position(key: Any, limit: int) -> int:
    if not isinstance(key, int) or isinstance(key, bool):
        raise CallFailed("cannot index slice/array with nil" if key is None else
                         f"cannot index slice/array with type {_type(key)}")  # fmt: skip
    if not 0 <= key < limit:
        raise CallFailed(f"index out of range: {key}")
    return key


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, Mapping):
            if not isinstance(key, str):
                raise CallFailed(f"value has type {_type(key)}; should be string")
            value = value.get(key, "" if isinstance(value, (GoMap, NilMap)) else None)
        elif isinstance(value, SLICES):
            value = value[_position(key, len(value))]
        elif isinstance(value, str):
            data = value.encode()
            value = data[_position(key, len(data))]
        else:
            raise CallFailed("index of untyped nil" if value is None else f"can't index item of type {_type(value)}")
    return value


def _slice(value: Any, *bounds: Any) -> Any:
    if not isinstance(value, (str, *SLICES)):
        raise CallFailed("slice of untyped nil" if value is None else f"can't slice item of type {_type(value)}")
    data: Any = value.encode() if isinstance(value, str) else value
    if len(bounds) > 2:
        raise CallFailed(f"too many slice indexes: {len(bounds)}")
    start, stop = [_position(bound, len(data) + 1) for bound in bounds] + [0, len(data)][len(bounds) :]
    if start > stop:
        raise CallFailed(f"invalid slice index: {start} > {stop}")
    part = data[start:stop]
    return part.decode(errors="replace") if isinstance(part, bytes) else part


def _title(text: str) -> str:
    # Go's strings.Title: upper-cases letters that follow a non-letter, and lowers nothing.
    return re.sub(r"(?<!\w)[^\W\d_]", lambda match: match[0].upper(), text)


def _pad(text: str, before: int, after: int) -> str:
    return " " * before + text + " " * after if text else text


def _truncate(text: str, length: int) -> str:
    return text.encode()[:length].decode(errors="replace")


def _split(text: str, separator: str) -> list[str]:
    return text.split(separator) if separator else list(text)


def _html(*arguments: Any) -> str:
    import html

    text = _print(*arguments)
    return html.escape(text).replace("&quot;", "&#34;").replace("&#x27;", "&#39;")


def _urlquery(*arguments: Any) -> str:
    from urllib.parse import quote_plus

    return quote_plus(_print(*arguments))


_ANY = ("any",)
_TWO = ("any", "any")
_STRING = ("string",)

FUNCTIONS: Mapping[str, Function] = {
    "and": Function(lambda *values: values, _ANY, True),  # decided by the interpreter, which stops early
    "or": Function(lambda *values: values, _ANY, True),
    "not": Function(lambda value: not value, _ANY),
    "len": Function(_length, _ANY),
    "index": Function(_index, _TWO, True),
    "slice": Function(_slice, _TWO, True),
    "print": Function(_print, _ANY, True),
    "printf": Function(_printf, ("string", "any"), True),
    "println": Function(lambda *values: " ".join(map(show, values)) + "\n", _ANY, True),
    "html": Function(_html, _ANY, True),
    "urlquery": Function(_urlquery, _ANY, True),
    "eq": Function(_equal, _TWO, True),
    "ne": Function(lambda one, two: not _equal(one, two), _TWO),
    "lt": Function(_less, _TWO),
    "le": Function(lambda one, two: _less(one, two) or _equal(one, two), _TWO),
    "gt": Function(lambda one, two: not _less(one, two) and not _equal(one, two), _TWO),
    "ge": Function(lambda one, two: not _less(one, two), _TWO),
    "json": Function(to_json, _ANY),
    "split": Function(_split, ("string", "string")),
    "join": Function(lambda items, separator: separator.join(items), ("[]string", "string")),
    "title": Function(_title, _STRING),
    "lower": Function(str.lower, _STRING),
    "upper": Function(str.upper, _STRING),
    "pad": Function(_pad, ("string", "int", "int")),
    "truncate": Function(_truncate, ("string", "int")),
}

HEADING_FUNCTIONS: Mapping[str, Function] = dict(FUNCTIONS) | {
    name: Function(lambda value, *_: value, ("any",) * len(FUNCTIONS[name].takes))
    for name in ("json", "split", "join", "title", "lower", "upper", "truncate")
}
"""What a table's heading is made with: the same template, filled with headings, which stay as they are."""
