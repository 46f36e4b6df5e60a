"""A griffe extension (mkdocs.yml): how our docstrings look in the reference, and what types the protocols' procedures have.

A docstring is prose, with sentences that begin with "name: " for parameters and attributes. These become a list. A procedure of a
protocol is a generator of steps in the source; to its users it is a method that returns what the steps end with.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

NAMED = re.compile(r"(?:^|(?<=[.;)] ))(?P<names>[a-z]\w*\*?(?:, [a-z]\w*\*?)*): (?=\S)")
RAISES = re.compile(r"(?<=[.)] )(?=Raises? [A-Z`])")
ITEM = re.compile(r"\s*(?:[-*]|\d+\.) ")


class Docstrings(griffe.Extension):
    """Works on everything, once it is loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.functions: list[griffe.Function] = []

    def on_function_instance(self, *, func: griffe.Function, **_more: Any) -> None:
        self.functions.append(func)

    def on_package(self, *, pkg: griffe.Module, **_more: Any) -> None:
        for function in self.functions:  # a function of a package hides a module of that name, as in Python
            if function.parent is not None and isinstance(function.parent.members.get(function.name), griffe.Module):
                function.parent.members[function.name] = function
        for each in everything(pkg):
            if each.docstring is not None:
                each.docstring.value = as_markdown(each.docstring.value, names_of(each))
            if isinstance(each, griffe.Function):
                each.returns = ending(each.returns)


def ending(returns: Any) -> Any:
    """What the caller of a procedure gets."""
    if not isinstance(returns, griffe.ExprSubscript) or str(returns.left) != "Steps":
        return returns
    inner = returns.slice
    if isinstance(inner, griffe.ExprSubscript) and str(inner.left) == "Flow":
        return "Content" if str(inner.slice) == "bytes" else f"Stream[{inner.slice}]"
    return inner


def everything(top: griffe.Object) -> list[griffe.Object]:
    """All that is defined here, not what is only imported."""
    found = [top]
    for member in top.members.values():
        if isinstance(member, griffe.Object):
            found += everything(member)
    return found


def names_of(each: griffe.Object) -> set[str]:
    """What a docstring here may speak of by name."""
    names = set(each.members)
    init = each if isinstance(each, griffe.Function) else each.members.get("__init__")
    if isinstance(init, griffe.Function):
        names |= {parameter.name.lstrip("*") for parameter in init.parameters}
    return names


def as_markdown(text: str, names: set[str]) -> str:
    """The docstring with a list in the place of "name: meaning" sentences."""
    return "\n\n".join(paragraph(part, names) for part in text.split("\n\n"))


def paragraph(text: str, names: set[str]) -> str:
    lines = text.splitlines()
    if any(line.startswith("  ") or ITEM.match(line) for line in lines):
        return text  # a program, a table or a list: as it is
    joined = " ".join(line.strip() for line in lines)
    starts = [found for found in NAMED.finditer(joined) if known(found["names"].split(", "), names)]
    if not starts:
        return text
    parts = [joined[: starts[0].start()].strip()] if joined[: starts[0].start()].strip() else []
    items, after = [], ""
    for found, end in zip(starts, [*(each.start() for each in starts[1:]), len(joined)], strict=True):
        meaning = joined[found.end() : end].strip()
        if end == len(joined):
            meaning, *rest = RAISES.split(meaning, maxsplit=1)
            after = "".join(rest)
        named = ", ".join(f"`{name}`" for name in found["names"].split(", "))
        items.append(f"- {named}: {meaning.strip()}")
    return "\n\n".join([*parts, "\n".join(items), *([after] if after else [])])


def known(written: list[str], names: set[str]) -> bool:
    """Whether one of them is meant by name: `error`, or several at once as in `messages_*`."""
    return any(
        name in names or (name.endswith("*") and any(each.startswith(name[:-1]) for each in names)) for name in written
    )
