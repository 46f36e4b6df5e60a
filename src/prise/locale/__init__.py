"""The language in which prise speaks to people: English, or French by standard gettext catalogues.

The English templates are the keys; `<language>/LC_MESSAGES/prise.mo` holds what they become. The library itself always
speaks English (so do its errors, in logs and in `str(error)`); a program that talks to a person chooses once:

    locale.choose(None)                      # by LANGUAGE, LC_ALL, LC_MESSAGES, LANG, as gettext does
    print(_("waiting for a peer on {address}").format(address=address))
    print(error.sentence(locale.translate))

Templates are constant and filled *after* the translation, so that `make locale` finds them in the source and words that
came from the outside are never taken for a template. English costs nothing: gettext is imported for French alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gettext import NullTranslations

__all__ = [
    "LANGUAGES",
    "N_",
    "_",
    "choose",
    "language",
    "speak_everywhere",
    "translate",
    "translate_plural",
    "translator",
]

DOMAIN = "prise"
LANGUAGES = ("en", "fr")

_folder = os.path.dirname(__file__)
_language = "en"
_catalogue: NullTranslations | None = None


def choose(language: str | None) -> None:
    """Chooses the language of everything that is translated from now on, in the whole process.

    language: a name such as "fr", "fr_CA.UTF-8" or "fr-CH"; French is spoken for those, English for all others.
    None takes the user's own, from the environment.
    """
    global _catalogue, _language
    _language = _from_environment() if language is None else (_known(language) or "en")
    if _language == "en":
        _catalogue = None
        return
    import gettext

    _catalogue = gettext.translation(DOMAIN, _folder, [_language])


def language() -> str:
    """The language in use: "en" or "fr"."""
    return _language


def translate(template: str) -> str:
    """The template in the language in use; the template itself where there is no translation."""
    # The empty key of a catalogue is its header.
    return _catalogue.gettext(template) if _catalogue is not None and template else template


_ = translate


def N_(template: str) -> str:
    """Marks a text that is translated later, by whoever shows it; returns it as it is."""
    return template


@cache
def translator(language: str) -> Callable[[str], str]:
    """`translate` for one reader: into this language, whatever the process speaks. For servers whose clients speak several.

    language: as for `choose`; what is not known is English.
    """
    known = _known(language) or "en"
    if known == "en":
        return str
    import gettext

    catalogue = gettext.translation(DOMAIN, _folder, [known])
    return lambda template: catalogue.gettext(template) if template else template


def translate_plural(one: str, many: str, number: int) -> str:
    """The template for this number of things: `one` for a single thing, `many` otherwise, by the language's own rule
    (in French nothing is single: "0 personne")."""
    if _catalogue is not None:
        return _catalogue.ngettext(one, many, number)
    return one if number == 1 else many


def speak_everywhere() -> None:
    """Makes libraries that ask gettext themselves (click: "Usage:", "Missing argument") and child processes speak the
    language in use too. It changes the process (environment, gettext's default domain), so it is for the command alone.
    """
    import gettext

    os.environ["LANGUAGE"] = _language
    gettext.bindtextdomain(DOMAIN, _folder)
    gettext.textdomain(DOMAIN)


def _from_environment() -> str:
    """The first of the user's languages that we speak (GNU gettext manual, "The LANGUAGE variable")."""
    for name in _preferences():
        if known := _known(name):
            return known
    return "en"


def _preferences() -> Iterator[str]:
    locale = next((value for name in ("LC_ALL", "LC_MESSAGES", "LANG") if (value := os.environ.get(name))), "")
    # `LC_ALL=C command` is how scripts ask for the untranslated output, whatever LANGUAGE says.
    if locale not in ("C", "POSIX"):
        yield from filter(None, os.environ.get("LANGUAGE", "").split(":"))
    yield locale


def _known(name: str) -> str | None:
    """The language of a locale's name, when it is one of ours: "fr" for "fr_FR.UTF-8", None for "de_DE"."""
    code = name.lower().replace("-", "_").partition(".")[0].partition("@")[0].partition("_")[0]
    if code in ("c", "posix"):
        return "en"
    return code if code in LANGUAGES else None
