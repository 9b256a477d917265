"""What a PromQL expression reads: the names of its series, and the labels that it asks for."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""
    (?P<string>"(?:[^"\\]|\\.)*")
    | (?P<range>\[[^\]]*\])
    | (?P<number>\d[\w.]*)
    | (?P<name>[a-zA-Z_$][\w:$]*)
    | (?P<mark>=~|!~|!=|[-+*/%^<>=(){},])
    | (?P<space>\s+)
    """,
    re.VERBOSE,
)
_GROUPING = {"by", "without", "on", "ignoring", "group_left", "group_right"}
_OPERATORS = {"and", "or", "unless", "bool", "offset"}


@dataclass(frozen=True)
class Selector:
    """One selected series, and the matchers on it: label, operator, value."""

    name: str
    matchers: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True)
class Reading:
    """The series that an expression selects, and the labels that it groups or joins by."""

    selectors: tuple[Selector, ...]
    grouping: frozenset[str]


def read(expression: str) -> Reading:
    """Return what an expression reads.

    Raises:
        ValueError: a part of it is not understood, so that nothing is passed over.
    """
    tokens = list(_tokens(expression))
    selectors: list[Selector] = []
    grouping: set[str] = set()
    at = 0
    while at < len(tokens):
        kind, text = tokens[at]
        following = tokens[at + 1][1] if at + 1 < len(tokens) else ""
        at += 1
        if kind != "name" or text in _OPERATORS:
            continue
        if text in _GROUPING:
            if following == "(":
                end = tokens.index(("mark", ")"), at)
                grouping.update(label for each, label in tokens[at:end] if each == "name")
                at = end + 1
        elif following == "{":
            end = tokens.index(("mark", "}"), at)
            selectors.append(Selector(text, _matchers(tokens[at + 1 : end])))
            at = end + 1
        elif following != "(" and following not in _GROUPING:
            selectors.append(Selector(text))
    return Reading(tuple(selectors), frozenset(grouping))


def _tokens(expression: str) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(expression):
        found = _TOKEN.match(expression, at)
        if found is None:
            msg = f"not understood: {expression[at : at + 20]!r} in {expression!r}"
            raise ValueError(msg)
        at = found.end()
        if found.lastgroup != "space":
            yield str(found.lastgroup), found.group()


def _matchers(tokens: list[tuple[str, str]]) -> tuple[tuple[str, str, str], ...]:
    texts = [text for _, text in tokens if text != ","]
    return tuple(
        (label, operator, value.strip('"'))
        for label, operator, value in zip(texts[::3], texts[1::3], texts[2::3], strict=True)
    )
