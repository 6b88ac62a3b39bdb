"""Go template texts, cut into tokens.

The tokens and the wording of errors are Go's.  Source: go/src/text/template/parse/lex.go.
"""

from __future__ import annotations

import re

from veneer.values import Value

KEYWORDS = frozenset({"break", "continue", "else", "end", "if", "range", "with", "nil"})
_TRIMMED = " \t\r\n"
_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]+)|(?P<declare>:=)|(?P<assign>=)|(?P<pipe>\|)|(?P<string>"(?:\\[^\n]|[^"\\\n])*"|`[^`]*`)
    |(?P<char>'(?:\\[^\n]|[^'\\\n])+')|(?P<number>[+-]?(?:\d|\.\d)[\w.]*(?:(?<=[eEpP])[+-]\d+)?)
    |(?P<variable>\$\w*)|(?P<field>\.\w+)|(?P<dot>\.)|(?P<word>[^\W\d]\w*)|(?P<left>\()|(?P<right>\))|(?P<comma>,)
    |(?P<mark>[!-~])""",
    re.VERBOSE,
)
_OPENING = {"`": "unterminated raw quoted string", '"': "unterminated quoted string",
            "'": "unterminated character constant", ":": "expected :="}  # fmt: skip
_AFTER_WORD = frozenset(" \t\r\n.,|:)(=")
_SIMPLE_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v",
                   "\\": "\\", '"': '"', "'": "'"}  # fmt: skip


class TemplateSyntaxError(Exception):
    """A template Go would not parse; the text is Go's: `template: :1: unclosed action`."""


def quoted(text: str) -> str:
    """`text` as Go's %q writes it."""
    import json

    return json.dumps(text, ensure_ascii=False)


class Token(Value):
    kind: str
    text: str
    position: int

    def __str__(self) -> str:
        if self.kind == "eof":
            return "EOF"
        if self.kind == "word" and self.text in KEYWORDS:
            return f"<{self.text}>"
        if self.kind == "dot":
            return "<.>"
        return quoted(self.text[:10]) + "..." if len(self.text) > 10 else quoted(self.text)


class Lexer:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[Token] = []

    def fail(self, position: int, message: str) -> TemplateSyntaxError:
        return TemplateSyntaxError(f"template: :{1 + self.text.count(chr(10), 0, position)}: {message}")

    def run(self) -> list[Token]:
        position = 0
        trim = False
        while True:
            start = self.text.find("{{", position)
            piece = self.text[position:] if start < 0 else self.text[position:start]
            lead = position
            if trim:
                stripped = piece.lstrip(_TRIMMED)
                lead += len(piece) - len(stripped)
                piece = stripped
            opens_trimmed = start >= 0 and self.text[start + 2 : start + 3] == "-" and (
                self.text[start + 3 : start + 4] in tuple(_TRIMMED))  # fmt: skip
            if opens_trimmed:
                piece = piece.rstrip(_TRIMMED)
            if piece:
                self.tokens.append(Token("text", piece, lead))
            if start < 0:
                self.tokens.append(Token("eof", "", len(self.text)))
                return self.tokens
            inside = start + (4 if opens_trimmed else 2)
            position, trim = self.comment(inside) if self.text.startswith("/*", inside) else self.action(start, inside)

    def comment(self, inside: int) -> tuple[int, bool]:
        end = self.text.find("*/", inside)
        if end < 0:
            raise self.fail(inside, "unclosed comment")
        end += 2
        if self.text.startswith("}}", end):
            return end + 2, False
        if self.text[end : end + 1] in tuple(_TRIMMED) and self.text.startswith("-}}", end + 1):
            return end + 4, True
        raise self.fail(end, "comment ends before closing delimiter")

    def action(self, start: int, position: int) -> tuple[int, bool]:
        text = self.text
        depth = 0
        self.tokens.append(Token("open", "{{", start))
        while True:
            trims = text[position : position + 1] in tuple(_TRIMMED) and text.startswith("-}}", position + 1)
            if trims or text.startswith("}}", position):
                if depth:
                    raise self.fail(position, "unclosed left paren")
                self.tokens.append(Token("close", "}}", position))
                return position + (4 if trims else 2), trims
            if position >= len(text):
                raise self.fail(start, "unclosed action")
            token = self.token(position)
            depth += (token.kind == "left") - (token.kind == "right")
            if depth < 0:
                raise self.fail(position, "unexpected right paren")
            self.tokens.append(token)
            position += len(token.text)

    def token(self, position: int) -> Token:
        text = self.text
        match = _TOKEN.match(text, position)
        if match is None or (match.lastgroup == "mark" and match.group() in _OPENING):
            raise self.fail(position, self.bad(position))
        kind, value = str(match.lastgroup), match.group()
        if kind == "space" and text.startswith("-}}", match.end()):
            # The space before a trim marker belongs to the marker.
            value = value[:-1] or value
        if kind in ("word", "field", "variable"):
            after = text[match.end() : match.end() + 1]
            if after and after not in _AFTER_WORD and not text.startswith("}}", match.end()):
                raise self.fail(position, f"bad character {_code_point(after)}")
        if kind == "number":
            try:
                number(value)
            except ValueError:
                raise self.fail(position, f"bad number syntax: {quoted(value)}") from None
        if kind == "word" and value in ("true", "false"):
            kind = "bool"
        return Token(kind, value, position)

    def bad(self, position: int) -> str:
        char = self.text[position]
        return _OPENING.get(char) or f"unrecognized character in action: {_code_point(char)}"


def _code_point(char: str) -> str:
    return f"U+{ord(char):04X}" + (f" '{char}'" if char.isprintable() else "")


def number(text: str) -> int | float:
    try:
        return int(text, 0)
    except ValueError:
        if text.lstrip("+-").isdigit():
            return int(text, 8)  # Go still reads 0755 as octal
        return float.fromhex(text) if "x" in text.lower() else float(text)


def unquote(text: str) -> str:
    if text[0] == "`":
        return text[1:-1]
    out: list[str] = []
    body = text[1:-1]
    position = 0
    while position < len(body):
        char = body[position]
        position += 1
        if char != "\\":
            out.append(char)
            continue
        char = body[position]
        width = {"x": 2, "u": 4, "U": 8}.get(char, 0)
        if char in _SIMPLE_ESCAPES:
            out.append(_SIMPLE_ESCAPES[char])
            position += 1
        elif width:
            out.append(chr(int(body[position + 1 : position + 1 + width], 16)))
            position += 1 + width
        else:
            out.append(chr(int(body[position : position + 3], 8)))
            position += 3
    return "".join(out)
