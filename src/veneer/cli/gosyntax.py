"""Go template texts, parsed: what `--format` takes, as a tree of nodes.

The grammar and the wording of errors are Go's.  Source: go/src/text/template/parse (parse.go, node.go).
`define`, `block` and `template` are left out: a command line has one template.
"""

from __future__ import annotations

from collections.abc import Container

from veneer.cli.golexer import KEYWORDS, Lexer, TemplateSyntaxError, Token, number, quoted, unquote
from veneer.values import Value

_MAX_DEPTH = 64
"""Parentheses and blocks within each other: more than anybody writes, less than Python's stack holds."""


class Node(Value):
    """A place in the template: `position` counts characters from its start, `source` is how Go prints it."""

    position: int
    source: str


class Literal(Node):
    value: object


class Nil(Node):
    pass


class Dot(Node):
    pass


class Name(Node):
    """A function's name."""

    name: str


class Fields(Node):
    """`.A.B`, `$x.A` or `(...).A`: `base` is None for the dot, a variable's name, or a pipeline."""

    base: str | Pipe | None
    names: tuple[str, ...]


class Command(Node):
    words: list[Node]


class Pipe(Node):
    commands: list[Command]
    variables: tuple[str, ...] = ()
    declares: bool = False


class Text(Node):
    text: str


class Action(Node):
    pipe: Pipe


class Jump(Node):
    """`break` or `continue`, as `source` says."""


class Branch(Node):
    """`if`, `range` or `with`, as `keyword` says."""

    keyword: str
    pipe: Pipe
    body: list[Node]
    otherwise: list[Node]


class _Parser:
    def __init__(self, text: str, functions: Container[str]) -> None:
        self.lexer = Lexer(text)
        self.functions = functions
        self.tokens = self.lexer.run()
        self.at = 0
        self.variables = ["$"]
        self.loops = 0
        self.depth = 0

    def fail(self, message: str, position: int) -> TemplateSyntaxError:
        return self.lexer.fail(position, message)

    def unexpected(self, token: Token, where: str) -> TemplateSyntaxError:
        return self.fail(f"unexpected {token} in {where}", token.position)

    def deeper(self, position: int) -> None:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise self.fail("max expression depth exceeded", position)

    def next(self, *, space: bool = False) -> Token:
        while True:
            token = self.tokens[min(self.at, len(self.tokens) - 1)]
            self.at += 1
            if space or token.kind != "space":
                return token

    def peek(self, *, space: bool = False) -> Token:
        at = self.at
        token = self.next(space=space)
        self.at = at
        return token

    def items(self, until: tuple[str, ...]) -> tuple[list[Node], Token]:
        """Nodes up to one of the keywords of `until` (or the end of the text, if there are none)."""
        nodes: list[Node] = []
        while True:
            token = self.next(space=True)
            if token.kind == "eof":
                if until:
                    raise self.fail("unexpected EOF", token.position)
                return nodes, token
            if token.kind == "text":
                nodes.append(Text(token.position, "", token.text))
                continue
            word = self.peek()
            if word.kind == "word" and word.text in ("end", "else"):
                if word.text not in until and until:
                    raise self.fail(f"expected end; found {{{{{word.text}}}}}", word.position)
                if word.text not in until:
                    raise self.fail(f"unexpected {{{{{word.text}}}}}", word.position)
                self.next()
                return nodes, word
            nodes.append(self.action(word))

    def action(self, word: Token) -> Node:
        if word.kind == "word" and word.text in ("if", "range", "with"):
            self.next()
            return self.branch(word)
        if word.kind == "word" and word.text in ("break", "continue"):
            self.next()
            closing = self.next()
            if closing.kind != "close":
                raise self.unexpected(closing, f"{{{{{word.text}}}}}")
            if not self.loops:
                raise self.fail(f"{{{{{word.text}}}}} outside {{{{range}}}}", word.position)
            return Jump(word.position, word.text)
        return Action(word.position, "", self.pipeline("command", "close"))

    def branch(self, word: Token) -> Branch:
        scope = len(self.variables)
        self.deeper(word.position)
        pipe = self.pipeline(word.text, "close")
        self.loops += word.text == "range"
        body, stop = self.items(("end", "else"))
        self.loops -= word.text == "range"
        otherwise: list[Node] = []
        if stop.text == "else":
            chained = self.peek()
            if chained.kind == "word" and chained.text == word.text and word.text in ("if", "with"):
                self.next()
                otherwise = [self.branch(chained)]
                del self.variables[scope:]
                self.depth -= 1
                return Branch(word.position, word.text, word.text, pipe, body, otherwise)
            self.expect_close(self.next(), "else")
            otherwise, stop = self.items(("end",))
        self.expect_close(self.next(), "end")
        self.depth -= 1
        del self.variables[scope:]
        return Branch(word.position, word.text, word.text, pipe, body, otherwise)

    def expect_close(self, token: Token, where: str) -> None:
        if token.kind != "close":
            raise self.unexpected(token, where)

    def declaration(self, where: str) -> tuple[tuple[str, ...], bool]:
        """`$x :=`, `$x =` or, for range, `$i, $x :=`; nothing consumed where there is none."""
        start = self.at
        names: list[str] = []
        while self.peek().kind == "variable":
            names.append(self.next().text)
            follow = self.next()
            if follow.kind in ("declare", "assign"):
                if follow.kind == "declare":
                    self.variables += names
                else:
                    for name in names:
                        self.known(name, follow.position)
                return tuple(names), follow.kind == "declare"
            if follow.kind == "comma" and where == "range" and len(names) < 2:
                continue
            if follow.kind == "comma":
                raise self.fail(f"too many declarations in {where}", follow.position)
            break
        self.at = start
        return (), False

    def known(self, variable: str, position: int) -> None:
        if variable not in self.variables:
            raise self.fail(f"undefined variable {quoted(variable)}", position)

    def pipeline(self, where: str, end: str) -> Pipe:
        start = self.peek()
        names, declares = self.declaration(where)
        commands: list[Command] = []
        while True:
            token = self.peek()
            if token.kind == end:
                self.next()
                if not commands:
                    raise self.fail(f"missing value for {where}", token.position)
                break
            if token.kind in ("bool", "char", "dot", "field", "word", "number", "string", "variable", "left"):
                commands.append(self.command())
                continue
            raise self.unexpected(self.next(), where)
        for command in commands[1:]:
            first = command.words[0]
            if isinstance(first, (Literal, Dot, Nil)):
                stage = commands.index(command) + 1
                raise self.fail(f"non executable command in pipeline stage {stage}", first.position)
        source = " | ".join(command.source for command in commands)
        if names:
            source = f"{', '.join(names)} {':=' if declares else '='} {source}"
        return Pipe(start.position, source, commands, names, declares)

    def command(self) -> Command:
        start = self.peek().position
        words: list[Node] = []
        while True:
            self.peek()
            while self.peek(space=True).kind == "space":
                self.next(space=True)
            operand = self.operand()
            if operand is not None:
                words.append(operand)
            token = self.next(space=True)
            if token.kind == "space":
                continue
            if token.kind in ("right", "close"):
                self.at -= 1
            elif token.kind != "pipe":
                raise self.unexpected(token, "operand")
            break
        if not words:
            raise self.fail("empty command", start)
        return Command(start, " ".join(word.source for word in words), words)

    def operand(self) -> Node | None:
        node = self.term()
        if node is None or self.peek(space=True).kind != "field":
            return node
        chain = self.peek(space=True)
        names: list[str] = []
        while self.peek(space=True).kind == "field":
            names.append(self.next(space=True).text[1:])
        if isinstance(node, Fields):
            base, names = node.base, [*node.names, *names]
        elif isinstance(node, Pipe):
            base = node
        else:
            raise self.fail(f"unexpected . after term {quoted(node.source)}", chain.position)
        return Fields(chain.position, _chain_source(base, names), base, tuple(names))

    def term(self) -> Node | None:
        token = self.next(space=True)
        kind, text, position = token.kind, token.text, token.position
        if kind == "word":
            if text == "nil":
                return Nil(position, "nil")
            if text in KEYWORDS or text not in self.functions:
                if text in KEYWORDS:
                    raise self.unexpected(token, "operand")
                raise self.fail(f"function {quoted(text)} not defined", position)
            return Name(position, text, text)
        if kind == "dot":
            return Dot(position, ".")
        if kind == "variable":
            self.known(text, position)
            return Fields(position, text, text, ())
        if kind == "field":
            return Fields(position, text, None, (text[1:],))
        if kind == "bool":
            return Literal(position, text, text == "true")
        if kind == "number":
            return Literal(position, text, number(text))
        if kind in ("string", "char"):
            try:
                value = unquote(text)
            except (ValueError, IndexError):
                raise self.fail("invalid syntax", position) from None
            return Literal(position, text, value if kind == "string" else ord(value))
        if kind == "left":
            self.deeper(position)
            pipe = self.pipeline("parenthesized pipeline", "right")
            self.depth -= 1
            return Pipe(position, f"({pipe.source})", pipe.commands, pipe.variables, pipe.declares)
        self.at -= 1
        return None


def _chain_source(base: str | Pipe | None, names: list[str]) -> str:
    head = base.source if isinstance(base, Pipe) else base or ""
    return head + "".join("." + name for name in names)


def parse(text: str, functions: Container[str]) -> list[Node]:
    """The nodes of a template that may call `functions`.  Raises TemplateSyntaxError in Go's words."""
    nodes, _ = _Parser(text, functions).items(())
    return nodes
