"""Finds the conversation that the command line names: a built-in one, `module:function` or `file.py:function`.

The function may be left out where there is only one that fits. The folder of the file, or the current one, can be imported
from, as in `python file.py` and `python -m module`.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Callable
from difflib import get_close_matches
from types import ModuleType
from typing import Any, NoReturn

from prise import UsageError
from prise.cli.conversations import BUILT_IN


def is_built_in(name: str) -> bool:
    return name in BUILT_IN


def load(name: str) -> Callable[[Any], Any]:
    """The conversation of that name. Raises UsageError, which says what there is instead."""
    if name in BUILT_IN:
        return BUILT_IN[name]
    place, function = split(name)
    if not function and not is_file(place):
        _refuse_unknown(name)
    module = _import_file(place) if is_file(place) else _import_module(place)
    return _pick(module, place, function)


def split(name: str) -> tuple[str, str]:
    """The module or file, and the function; empty when it was left out."""
    place, _colon, function = name.rpartition(":")
    return (place, function) if place else (function, "")


def is_file(place: str) -> bool:
    return place.endswith(".py") or os.sep in place


def _refuse_unknown(name: str) -> NoReturn:
    known = ", ".join(BUILT_IN)
    near = get_close_matches(name, BUILT_IN, n=1)
    if near:
        raise UsageError(
            "there is no conversation {name}; did you mean {near}? There are {known}, or your own as "
            "module:function or file.py:function",
            name=name,
            near=near[0],
            known=known,
        )
    raise UsageError(
        "there is no conversation {name}; there are {known}, or your own as module:function or file.py:function",
        name=name,
        known=known,
    )


def _import_file(path: str) -> ModuleType:
    if not os.path.isfile(path):
        raise UsageError("there is no file {path}", path=path)
    sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
    name = os.path.splitext(os.path.basename(path))[0]
    if name in sys.modules or name in sys.stdlib_module_names:
        name = f"{name}_conversation"  # a file called time.py must not replace the module that others import
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError("{path} is not a Python file", path=path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # as import does: dataclasses and pickle look for it there
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        _refuse_broken(path, error)
    return module


def _import_module(name: str) -> ModuleType:
    sys.path.insert(0, os.getcwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise UsageError("there is no module {name}, neither here nor installed", name=name) from None
        _refuse_broken(name, error)
    except (TypeError, ValueError):  # "..x", "": not a name at all
        if not all(part.isidentifier() for part in name.split(".")):
            raise UsageError("{name} is not the name of a module", name=repr(name)) from None
        raise
    except Exception as error:
        _refuse_broken(name, error)


def _refuse_broken(place: str, error: Exception) -> NoReturn:
    """What is wrong in the user's own code, with the line of it that is to blame."""
    if isinstance(error, SyntaxError):
        where, line, what = error.filename, error.lineno, error.msg
    else:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
        where, line = (frames[-1].filename, frames[-1].lineno) if len(frames) > 1 else (place, None)
        what = str(error)
    raise UsageError(
        "{place} cannot be imported: {kind}: {what} ({file}, line {line})",
        place=place,
        kind=type(error).__name__,
        what=" ".join(str(what).split()),
        file=os.path.relpath(where) if where and os.path.isabs(where) else where,
        line=line or "?",
    ) from error


def _pick(module: ModuleType, place: str, function: str) -> Callable[[Any], Any]:
    fitting = [name for name, value in vars(module).items() if _fits(module, name, value)]
    if not function:
        if len(fitting) == 1:
            found: Callable[[Any], Any] = getattr(module, fitting[0])
            return found
        raise UsageError(
            "which function of {place}? Write {place}:FUNCTION; those that fit are: {known}",
            place=place,
            known=", ".join(fitting) or "-",
        )
    value: Any = module
    for part in function.split("."):
        value = getattr(value, part, None)
        if value is None:
            raise UsageError(
                "{place} has no function {name}; those that fit are: {known}",
                place=place,
                name=function,
                known=", ".join(fitting) or "-",
            )
    chosen: Callable[[Any], Any] = value  # what it is, `serve` will check
    return chosen


def _fits(module: ModuleType, name: str, value: Any) -> bool:
    """Whether this is a function of that very module which can be called with a connection."""
    if name.startswith("_") or not inspect.isfunction(value) or value.__module__ != module.__name__:
        return False
    try:
        inspect.signature(value).bind(None)
    except TypeError:
        return False
    return True
