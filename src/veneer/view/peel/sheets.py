"""The style sheet, parsed once for each theme: Textual parses it at every change of the theme, a third of its cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import ClassVar

from textual.cache import LRUCache
from textual.css.model import RuleSet
from textual.css.styles import RulesMap
from textual.css.stylesheet import Stylesheet
from textual.dom import DOMNode

Parsed = LRUCache[tuple[object, ...], list[RuleSet]]
_MOST = 64
"""Widgets' sheets that stay parsed, as in Textual's own."""


class Sheet(Stylesheet):
    """A style sheet that stays parsed for all values its variables had."""

    def __init__(self, variables: dict[str, str]) -> None:
        super().__init__(variables=variables)
        self._by_variables: dict[frozenset[tuple[str, str]], Parsed] = {}
        self._keep(variables)

    def _keep(self, variables: Mapping[str, str]) -> None:
        self._parse_cache = self._by_variables.setdefault(frozenset(variables.items()), LRUCache(_MOST))

    def set_variables(self, variables: dict[str, str]) -> None:
        """Other values; what was parsed with these before is there yet."""
        self._parse_cache = LRUCache(_MOST)  # the one to be cleared
        super().set_variables(variables)
        self._keep(variables)

    def reparse(self) -> None:
        """Parse what is not; our sheets have no errors, so there is nothing to fall back to."""
        self.parse()

    # -- applying it to everything -----------------------------------------------------------------------------

    _to_all: ClassVar[bool] = False

    @classmethod
    @contextmanager
    def applied_to_all(cls) -> Iterator[None]:
        """While in here all widgets get other colours, and each is drawn anew for all of them, not for each, and not
        for those of all that it is in: of twenty widgets that is 500 times."""
        cls._to_all = True
        try:
            yield
        finally:
            cls._to_all = False

    @classmethod
    def replace_rules(cls, node: DOMNode, rules: RulesMap, animate: bool = False) -> None:
        """As Textual's."""
        styles = node.styles.base
        if not cls._to_all or styles.node is None:
            super().replace_rules(node, rules, animate)
            return
        known, styles.node = styles.node, None  # whom it would tell
        try:
            super().replace_rules(node, rules, animate)
        finally:
            styles.node = known
        node.refresh()

    # -- parsing it --------------------------------------------------------------------------------------------

    def ahead(self, variables: dict[str, str]) -> None:
        """Parse it with other values, before somebody wants them.  May be called in another thread."""
        values = frozenset(variables.items())
        if values not in self._by_variables:
            other = Stylesheet(variables=variables)
            other.source = dict(self.source)
            other.parse()
            self._by_variables.setdefault(values, other._parse_cache)
