"""Brings the translations up to date: `make locale`, or `python scripts/catalogue.py`.

It reads the source for texts that are shown to people, merges them into `src/prise/locale/fr/LC_MESSAGES/prise.po`
(what is translated stays), compiles the `.mo` beside it, and names what is not translated yet. Write the French into
the .po by hand, then run it again. Exit code 1 as long as something is missing.

What is found:
- `_("...")` and `translate("...")`, `translate_plural("one", "many", n)`; `N_("...")`, and what the chat house tells (`Notice`);
- the reason (first argument, or its default) and `operation=` of every error of `prise.errors`, whose classes are read there;
- what click says by itself: it asks gettext, and the command points gettext to this catalogue.
Each may be a choice, `_("this" if it else "that")`, an entry of a table, or a variable that the same file assigns constants
to. Any other expression (an f-string, above all) cannot be found, nor translated; as the reason of an error it is named too.
"""

from __future__ import annotations

import ast
import re
import string
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

from babel.messages.catalog import Catalog, Message
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "prise"
PO = SOURCE / "locale" / "fr" / "LC_MESSAGES" / "prise.po"
MO = PO.with_suffix(".mo")

SINGLE = {"_", "N_", "translate", "gettext", "Notice", "inform", "Denied", "HttpError"}
PLURAL = {"translate_plural", "ngettext"}

NEVER = datetime(2000, 1, 1, tzinfo=UTC)
"""The date of everything, so that the files change only when a text does."""

Key = str | tuple[str, str]
"""What a text is filed under: the text, or its singular and plural."""


def error_classes() -> set[str]:
    """The names of all classes in errors.py."""
    tree = ast.parse((SOURCE / "errors.py").read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.ClassDef)}


class Source:
    """One file: what its expressions may be as text, following variables inside the file (by name alone, scopes apart)."""

    def __init__(self, code: str) -> None:
        tree = ast.parse(code)
        nodes = list(ast.walk(tree))
        self.calls = sorted((n for n in nodes if isinstance(n, ast.Call)), key=lambda n: (n.lineno, n.col_offset))
        self._values: dict[str, list[ast.expr]] = {}
        for node in nodes:
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    self._assign(target, node.value)
            elif isinstance(node, ast.AnnAssign) and node.value:
                self._assign(node.target, node.value)
        for node in nodes:
            if isinstance(node, ast.For):
                for row in self._rows(node.iter):
                    self._assign(node.target, row)
        functions = {node.name: node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
        for call in self.calls:
            if function := functions.get(called(call)):
                self._pass(call, function)

    def _pass(self, call: ast.Call, function: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        """A call of a function of this file gives values to its parameters."""
        names = [parameter.arg for parameter in (*function.args.posonlyargs, *function.args.args)]
        if names[:1] == ["self"]:
            del names[0]
        for name, value in (*zip(names, call.args, strict=False), *((k.arg, k.value) for k in call.keywords if k.arg)):
            self._values.setdefault(name, []).append(value)

    def _assign(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Name):
            self._values.setdefault(target.id, []).append(value)
        elif isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
            for one, its in zip(target.elts, value.elts, strict=True):
                self._assign(one, its)

    def _rows(self, node: ast.expr) -> Iterator[ast.expr]:
        """What a loop goes through: the elements of a tuple or list written in this file."""
        if isinstance(node, ast.Tuple | ast.List):
            yield from node.elts
        elif isinstance(node, ast.Name):
            for value in self._values.get(node.id, []):
                if isinstance(value, ast.Tuple | ast.List):
                    yield from value.elts

    def constants(self, node: ast.expr, followed: frozenset[str] = frozenset()) -> Iterator[str]:
        """The texts that an expression may be. followed: the variables on the way here, against going in circles."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.IfExp):
            yield from self.constants(node.body, followed)
            yield from self.constants(node.orelse, followed)
        elif isinstance(node, ast.BoolOp):
            for value in node.values:
                yield from self.constants(value, followed)
        elif isinstance(node, ast.Subscript):  # of a table: any of its texts
            yield from self.constants(node.value, followed)
        elif isinstance(node, ast.Dict | ast.Tuple):
            for value in node.values if isinstance(node, ast.Dict) else node.elts:
                yield from self.constants(value, followed)
        elif isinstance(node, ast.Name) and node.id not in followed:
            for value in self._values.get(node.id, []):
                yield from self.constants(value, followed | {node.id})


def called(call: ast.Call) -> str:
    """The name of the function, without its module or object."""
    return call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")


def texts(code: str, errors: set[str]) -> Iterator[Key]:
    """The texts to translate in one source file. errors: names of the classes whose reason and operation count."""
    source = Source(code)
    for call in source.calls:
        name = called(call)
        if name in PLURAL and len(call.args) >= 2:
            yield from zip(source.constants(call.args[0]), source.constants(call.args[1]), strict=True)
        elif (name in SINGLE or name in errors) and call.args:
            yield from filter(speaks, source.constants(call.args[0]))
        if name in errors:
            for keyword in call.keywords:
                if keyword.arg == "operation":
                    # In capitals it is the protocol's own word, which stays as it is.
                    yield from (text for text in source.constants(keyword.value) if not text.isupper())


def speaks(text: str) -> bool:
    """Whether there is anything to translate: not so in "{error}"."""
    return bool(re.search(r"\w", re.sub(r"\{[^}]*\}", "", text)))


def extract() -> list[tuple[Key, str]]:
    """Every text to translate, once, in a stable order, with where it comes from: a module of prise, or "click"."""
    import click

    found: dict[Key, str] = {}
    errors = error_classes()
    for reason in default_reasons():
        found[reason] = "errors.py"
    for path in sorted(SOURCE.rglob("*.py")):
        for key in texts(path.read_text(encoding="utf-8"), errors):
            found.setdefault(key, path.relative_to(SOURCE).as_posix())
    for path in sorted(Path(click.__file__).parent.glob("*.py")):
        for key in texts(path.read_text(encoding="utf-8"), set()):
            found.setdefault(key, "click")
    found.pop("", None)
    return list(found.items())


def default_reasons() -> list[str]:
    """The texts of the errors that have one of their own, for when none is given."""
    tree = ast.parse((SOURCE / "errors.py").read_text(encoding="utf-8"))
    starts = [node.args for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == "__init__"]
    defaults = [one for arguments in starts for one in arguments.defaults if isinstance(one, ast.Constant)]
    return [one.value for one in defaults if isinstance(one.value, str) and speaks(one.value)]


def unseen() -> list[str]:
    """Where an error has a reason that cannot be found: "file:line"."""
    errors = error_classes()
    places = []
    for path in sorted(SOURCE.rglob("*.py")):
        source = Source(path.read_text(encoding="utf-8"))
        for call in source.calls:
            if called(call) in errors and call.args and not any(source.constants(call.args[0])):
                places.append(f"{path.relative_to(ROOT)}:{call.lineno}")
    return places


def empty_catalogue() -> Catalog:
    return Catalog(
        locale="fr",
        domain="prise",
        header_comment="# French translations for prise.\n# See `make locale`.",
        last_translator="the prise authors",
        language_team="French",
        creation_date=NEVER,
        revision_date=NEVER,
        fuzzy=False,
    )


def read() -> Catalog:
    """The catalogue as it stands in the .po."""
    if not PO.exists():
        return empty_catalogue()
    with PO.open("rb") as file:
        catalogue = read_po(file, locale="fr", domain="prise")
    catalogue.creation_date = catalogue.revision_date = NEVER
    return catalogue


def merge(old: Catalog) -> tuple[Catalog, list[Message]]:
    """The catalogue of the source as it is, with the translations of `old`; and what is translated but unused."""
    new = empty_catalogue()
    for key, origin in extract():
        known = old.get(key)
        translation = known.string if known and not known.fuzzy else ""
        new.add(key, translation, auto_comments=[origin])
    gone = [message for message in old if message.id and message.string and message.id not in new]
    return new, gone


def missing(catalogue: Catalog) -> list[Message]:
    """The texts without a translation."""
    return [m for m in catalogue if m.id and not all([m.string] if isinstance(m.string, str) else m.string or [""])]


def placeholders(text: str) -> set[str]:
    """The details that a template wants: {"name"} for "{name!r}", and the old style "%(name)s" as click has it once."""
    fields = {re.split(r"[.\[]", name)[0] for _, name, _, _ in string.Formatter().parse(text) if name is not None}
    return fields | set(re.findall(r"%\((\w+)\)", text))


def to_po(catalogue: Catalog) -> bytes:
    buffer = BytesIO()
    write_po(buffer, catalogue, width=120, omit_header=False, sort_output=False)
    noise = (
        b'"POT-Creation-Date',
        b'"PO-Revision-Date',
        b'"Generated-By',
        b'"Report-Msgid-Bugs-To',
        b'"Project-Id-Version',
    )
    return b"".join(line for line in buffer.getvalue().splitlines(keepends=True) if not line.startswith(noise))


def to_mo(catalogue: Catalog) -> bytes:
    buffer = BytesIO()
    write_mo(buffer, catalogue)
    return buffer.getvalue()


def main() -> int:
    catalogue, gone = merge(read())
    PO.parent.mkdir(parents=True, exist_ok=True)
    PO.write_bytes(to_po(catalogue))
    MO.write_bytes(to_mo(catalogue))
    for message in gone:
        print(f"dropped, no longer in the source: {message.id!r} = {message.string!r}")
    left = missing(catalogue)
    print(f"{PO.relative_to(ROOT)}: {len(catalogue)} texts, {len(left)} not translated yet")
    for message in left:
        print(f"  {message.id!r}  ({', '.join(message.auto_comments)})")
    hidden = unseen()
    for place in hidden:
        print(f"{place}: the reason of this error is no constant, so it cannot be translated")
    return 1 if left or hidden else 0


if __name__ == "__main__":
    sys.exit(main())
