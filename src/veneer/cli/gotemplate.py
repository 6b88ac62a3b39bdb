"""Go templates, executed: `--format '{{.Repository}}:{{.Tag}}'` as docker's users write it.

Values are Python's: dict is Go's map (ranged over in key order), list and tuple its slice, None its nil; a `Record`
is a struct whose fields are computed when asked for.  Functions are Go's builtins and docker's (json, split, join,
title, lower, upper, pad, truncate).  Source: go/src/text/template (exec.go, funcs.go), docker/cli templates.go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from veneer.cli import gosyntax
from veneer.cli.gofunctions import FUNCTIONS, SLICES, CallFailed, Function, GoMap, NilMap, show
from veneer.cli.golexer import TemplateSyntaxError, quoted
from veneer.cli.gosyntax import Action, Branch, Command, Dot, Fields, Jump, Literal, Name, Nil, Node, Pipe, Text
from veneer.errors import InvalidRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class TemplateError(InvalidRequest):
    """A template that does not parse or does not fit the data.  The text is Go's."""


class Record(Mapping[str, "Any"]):
    """A row as templates see it: named fields, each computed when it is asked for.

    `what` names the kind of row in errors, and `fields` maps each name to a function of no arguments.  `methods` are
    called with one text in templates (`{{.Label "a"}}`) and stand in no JSON.
    """

    def __init__(
        self,
        what: str,
        fields: Mapping[str, Callable[[], Any]],
        methods: Mapping[str, Callable[[str], str]] | None = None,
    ) -> None:
        self.what = what
        self.methods = methods or {}
        self._fields = fields

    def __getitem__(self, name: str) -> Any:
        return self._fields[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)


class Method:
    """A method of a row, still without its argument."""

    def __init__(self, name: str, call: Callable[[str], str]) -> None:
        self.name = name
        self.call = call


class Struct(dict[str, "Any"]):
    """A Go struct that came as JSON: `absent` are the fields its JSON leaves out when they are empty."""

    def __init__(self, document: Mapping[str, Any], absent: Mapping[str, Any]) -> None:
        super().__init__(document)
        self.absent = absent


class _Break(Exception):
    pass


class _Continue(Exception):
    pass


class Template:
    """A parsed template; `execute(value)` gives the text."""

    def __init__(self, text: str, *, functions: Mapping[str, Function] = FUNCTIONS) -> None:
        """Parse `text`.  Raises TemplateError."""
        self.text = text
        self.functions = functions
        try:
            self.nodes = gosyntax.parse(text, functions)
        except TemplateSyntaxError as error:
            raise TemplateError(f"template parsing error: {error}") from None

    def execute(self, value: object) -> str:
        """The template filled in with `value` as its dot.  Raises TemplateError."""
        run = _Run(self)
        run.variables.append(("$", value))
        run.walk(self.nodes, value)
        return "".join(run.out)


def _true(value: object) -> bool:
    return bool(value) if not isinstance(value, Record) else True


class _Run:
    def __init__(self, template: Template) -> None:
        self.template = template
        self.out: list[str] = []
        self.variables: list[tuple[str, Any]] = []

    def fail(self, node: Node, message: str) -> TemplateError:
        before = self.template.text[: node.position]
        line, column = 1 + before.count("\n"), len(before.encode()) - len(before[: before.rfind("\n") + 1].encode())
        return TemplateError(
            f'template parsing error: template: :{line}:{column}: executing "" at <{node.source}>: {message}'
        )

    def walk(self, nodes: Sequence[Node], dot: Any) -> None:
        for node in nodes:
            if isinstance(node, Text):
                self.out.append(node.text)
            elif isinstance(node, Action):
                value = self.pipe(node.pipe, dot)
                if not node.pipe.variables:
                    self.out.append("<no value>" if value is None else show(value))
            elif isinstance(node, Jump):
                raise _Break if node.source == "break" else _Continue
            elif isinstance(node, Branch):
                mark = len(self.variables)
                if node.keyword == "range":
                    self.range(node, dot)
                else:
                    value = self.pipe(node.pipe, dot)
                    inner = value if node.keyword == "with" else dot
                    self.walk(node.body if _true(value) else node.otherwise, inner if _true(value) else dot)
                del self.variables[mark:]

    def range(self, node: Branch, dot: Any) -> None:
        value = self.pipe(node.pipe, dot, declare=False)
        pairs: list[tuple[Any, Any]]
        if isinstance(value, Mapping):
            pairs = sorted(value.items())
        elif isinstance(value, SLICES):
            pairs = list(enumerate(value))
        elif isinstance(value, int) and not isinstance(value, bool):
            pairs = [(n, n) for n in range(value)]
        elif value is None:
            pairs = []
        else:
            raise self.fail(node.pipe, f"range can't iterate over {show(value)}")
        mark = len(self.variables)
        for key, item in pairs:
            if len(node.pipe.variables) == 2:
                self.bind(node.pipe, node.pipe.variables[0], key)
            if node.pipe.variables:
                self.bind(node.pipe, node.pipe.variables[-1], item)
            try:
                self.walk(node.body, item)
            except _Continue:
                pass
            except _Break:
                break
            finally:
                del self.variables[mark:]
        if not pairs:
            self.walk(node.otherwise, dot)

    def bind(self, pipe: Pipe, name: str, value: Any) -> None:
        if pipe.declares:
            self.variables.append((name, value))
            return
        for n in range(len(self.variables) - 1, -1, -1):
            if self.variables[n][0] == name:
                self.variables[n] = (name, value)
                return

    def lookup(self, name: str) -> Any:
        return next(value for known, value in reversed(self.variables) if known == name)

    def pipe(self, pipe: Pipe, dot: Any, *, declare: bool = True) -> Any:
        value: Any = None
        for position, command in enumerate(pipe.commands):
            value = self.command(command, dot, (value,) if position else ())
        if declare:
            for name in pipe.variables:
                self.bind(pipe, name, value)
        return value

    def command(self, command: Command, dot: Any, final: tuple[Any, ...]) -> Any:
        first = command.words[0]
        if isinstance(first, Name):
            return self.call(command, first, dot, final)
        if len(command.words) > 1 or final:
            if isinstance(first, Fields):
                found = self.value(first, dot)
                if isinstance(found, Method):
                    return self.method(command, found, [self.value(word, dot) for word in command.words[1:]] + [*final])
                raise self.fail(first, f"{first.names[-1] if first.names else first.source} is not a method but has "
                                       "arguments")  # fmt: skip
            raise self.fail(first, f"can't give argument to non-function {first.source}")
        if isinstance(first, Nil):
            raise self.fail(first, "nil is not a command")
        found = self.value(first, dot)
        return self.method(command, found, []) if isinstance(found, Method) else found

    def method(self, command: Command, method: Method, arguments: Sequence[Any]) -> str:
        if len(arguments) != 1:
            raise self.fail(command, f"wrong number of args for {method.name}: want 1 got {len(arguments)}")
        if not isinstance(arguments[0], str):
            raise self.fail(command, f"wrong type for value; expected string; got {_go_type(arguments[0])}")
        return method.call(arguments[0])

    def value(self, node: Node, dot: Any) -> Any:
        if isinstance(node, Literal):
            return node.value
        if isinstance(node, Dot):
            return dot
        if isinstance(node, Nil):
            return None
        if isinstance(node, Pipe):
            return self.pipe(node, dot)
        if isinstance(node, Name):
            return self.call(Command(node.position, node.source, [node]), node, dot, ())
        if not isinstance(node, Fields):
            raise self.fail(node, f"can't handle {node.source}")
        if node.base is None:
            value = dot
        elif isinstance(node.base, str):
            value = self.lookup(node.base)
        else:
            value = self.pipe(node.base, dot)
        for name in node.names:
            value = self.field(node, dot, value, name)
        return value

    def field(self, node: Fields, dot: Any, value: Any, name: str) -> Any:
        if isinstance(value, Record):
            if name in value._fields:
                return value[name]
            if name in value.methods:
                return Method(name, value.methods[name])
            raise self.fail(node, f"can't evaluate field {name} in type {value.what}")
        if isinstance(value, Mapping):
            if name in value:
                return value[name]
            if isinstance(value, Struct) and name in value.absent:
                return value.absent[name]
            if isinstance(value, (GoMap, NilMap)):
                return None
            raise self.fail(node, f'map has no entry for key "{name}"')
        if value is None:
            raise self.fail(node, f"nil data; no entry for key {quoted(name)}")
        inside = "string" if isinstance(dot, Record) else "interface {}"
        raise self.fail(node, f"can't evaluate field {name} in type {inside}")

    def call(self, command: Command, name: Name, dot: Any, final: tuple[Any, ...]) -> Any:
        function = self.template.functions[name.name]
        given = len(command.words) - 1 + len(final)
        if name.name in ("and", "or"):
            return self.shortcut(command, name, dot, final)
        if given < function.at_least or (given > len(function.takes) and not function.variadic):
            want = f"at least {function.at_least}" if function.variadic else str(len(function.takes))
            raise self.fail(name, f"wrong number of args for {name.name}: want {want} got {given}")
        arguments = [self.value(word, dot) for word in command.words[1:]] + list(final)
        for position, (argument, wanted) in enumerate(zip(arguments, function.takes, strict=False)):
            if not _fits(argument, wanted):
                literal = command.words[position + 1] if position + 1 < len(command.words) else None
                if isinstance(literal, Literal):
                    raise self.fail(literal, f"expected {wanted}; found {literal.source}")
                at = literal or command
                raise self.fail(at, f"wrong type for value; expected {wanted}; got {_go_type(argument)}")
        try:
            return function.call(*arguments)
        except CallFailed as error:
            raise self.fail(command, f"error calling {name.name}: {error}") from None

    def shortcut(self, command: Command, name: Name, dot: Any, final: tuple[Any, ...]) -> Any:
        """and, or: the first argument that decides, the rest unevaluated."""
        if len(command.words) == 1 and not final:
            raise self.fail(name, f"wrong number of args for {name.name}: want at least 1 got 0")
        value: Any = None
        for word in command.words[1:]:
            value = self.value(word, dot)
            if _true(value) == (name.name == "or"):
                return value
        return final[0] if final else value


def _go_type(value: object) -> str:
    if isinstance(value, Record):
        return value.what
    names = {str: "string", bool: "bool", int: "int", float: "float64", dict: "map[string]interface {}",
             list: "[]interface {}", tuple: "[]interface {}", type(None): "nil"}  # fmt: skip
    return names.get(type(value), type(value).__name__)


def _fits(value: object, wanted: str) -> bool:
    if wanted == "string":
        return isinstance(value, str)
    if wanted == "int":
        return isinstance(value, int) and not isinstance(value, bool)
    if wanted == "[]string":
        return isinstance(value, SLICES) and all(isinstance(item, str) for item in value)
    return True
