"""prise speaks the user's language: the choice of it, and a catalogue that is whole and true to the source."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from prise import locale
from prise.errors import AddressError, ConnectError, NotFound

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "catalogue.py"


@pytest.fixture(autouse=True)
def _english_again() -> Iterator[None]:
    yield
    locale.choose("en")


@pytest.fixture(scope="module")
def catalogue() -> Any:
    """scripts/catalogue.py, which `make locale` runs."""
    spec = importlib.util.spec_from_file_location("catalogue", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def forms(text: str | tuple[str, ...]) -> tuple[str, ...]:
    return (text,) if isinstance(text, str) else tuple(text)


# The choice


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({}, "en"),
        ({"LANG": "fr_FR.UTF-8"}, "fr"),
        ({"LANG": "fr"}, "fr"),
        ({"LANG": "fr_CA@euro"}, "fr"),
        ({"LANG": "en_GB.UTF-8"}, "en"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LANG": "frr_DE.UTF-8"}, "en"),  # North Frisian, not French
        ({"LANG": "fr_FR.UTF-8", "LC_MESSAGES": "en_US.UTF-8"}, "en"),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "fr_FR.UTF-8"}, "fr"),
        ({"LC_MESSAGES": "fr_FR.UTF-8", "LC_ALL": "en_US.UTF-8"}, "en"),
        ({"LANG": "fr_FR.UTF-8", "LC_ALL": ""}, "fr"),  # empty is the same as unset
        ({"LANG": "en_US.UTF-8", "LANGUAGE": "fr"}, "fr"),
        ({"LANG": "en_US.UTF-8", "LANGUAGE": "de:fr:en"}, "fr"),  # the first that we speak
        ({"LANG": "fr_FR.UTF-8", "LANGUAGE": "en:fr"}, "en"),
        ({"LANG": "fr_FR.UTF-8", "LANGUAGE": "de"}, "fr"),
        ({"LANG": "fr_FR.UTF-8", "LC_ALL": "C", "LANGUAGE": "fr"}, "en"),  # as scripts ask for English
    ],
)
def test_without_a_name_the_environment_chooses(monkeypatch, environment, language):
    for name in ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    locale.choose(None)
    assert locale.language() == language


@pytest.mark.parametrize(
    ("name", "language"),
    [("fr", "fr"), ("FR-ch", "fr"), ("fr_BE.UTF-8", "fr"), ("en", "en"), ("pt_BR", "en"), ("", "en")],
)
def test_a_name_chooses(name, language):
    locale.choose(name)
    assert locale.language() == language


def test_english_is_the_template_itself():
    assert locale.translate("the port is missing; example: {example}") == "the port is missing; example: {example}"


def test_french_is_the_translation():
    locale.choose("fr")
    assert locale._("the port is missing; example: {example}") == "il manque le port\u00a0; exemple\u00a0: {example}"


def test_a_text_without_translation_stays_as_it_is():
    locale.choose("fr")
    assert locale.translate("no such text {anywhere}") == "no such text {anywhere}"
    assert locale.translate("") == ""


def test_plurals_follow_each_language():
    one, many = "Got unexpected extra argument ({args})", "Got unexpected extra arguments ({args})"
    assert [locale.translate_plural(one, many, number) for number in (0, 1, 2)] == [many, one, many]
    locale.choose("fr")
    singular, plural = "Argument en trop ({args})", "Arguments en trop ({args})"
    assert [locale.translate_plural(one, many, number) for number in (0, 1, 2)] == [singular, singular, plural]


def test_an_error_says_the_same_in_french():
    error = AddressError("the option {option} is given twice", option="mode")
    locale.choose("fr")
    assert error.sentence(locale.translate) == "l’option mode est donnée deux fois"
    assert str(error) == "the option mode is given twice"


def test_what_a_server_said_is_introduced_in_french_and_the_protocols_own_word_stays():
    locale.choose("fr")
    error = NotFound(operation="LIST", peer="ftp://h/x", code="550", words="no such file")
    assert error.sentence(locale.translate) == "LIST ftp://h/x: le serveur a dit\u00a0: 550 no such file"


def test_words_from_outside_are_no_template():
    locale.choose("fr")
    assert ConnectError("{peer} said {}").sentence(locale.translate) == "{peer} said {}"


def test_english_does_not_load_gettext(bare_environment):
    code = "import sys; from prise import locale; locale.choose('en'); print('gettext' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=bare_environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


@pytest.mark.parametrize(
    ("language", "usage", "help_text"), [("fr", "Usage\u00a0:", "Afficher"), ("en", "Usage:", "Show")]
)
def test_click_speaks_the_chosen_language_too(bare_environment, language, usage, help_text):
    pytest.importorskip("click")
    code = f"""if True:
        from prise import locale
        locale.choose({language!r})
        locale.speak_everywhere()
        import click
        click.command()(lambda: None).main(["--help"])
    """
    environment = bare_environment | {"LANG": "fr_FR.UTF-8", "LC_ALL": "C.UTF-8", "PYTHONUTF8": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, encoding="utf-8", check=True
    )
    assert done.stdout.startswith(usage)
    assert help_text in done.stdout


# The catalogue


def test_every_text_of_the_source_is_translated(catalogue):
    known = catalogue.read()
    merged, unused = catalogue.merge(known)
    assert [message.id for message in catalogue.missing(merged)] == [], "run `make locale` and translate these"
    assert [message.id for message in unused] == [], "run `make locale`: these are no longer in the source"


def test_every_reason_of_an_error_can_be_found(catalogue):
    assert catalogue.unseen() == []


def test_translations_want_the_same_details(catalogue):
    for message in catalogue.read():
        if message.id and message.string:
            wanted = set().union(*map(catalogue.placeholders, forms(message.id)))
            for text in forms(message.string):
                if isinstance(message.id, str):
                    assert catalogue.placeholders(text) == wanted, message.id
                else:  # "one message" needs no number
                    assert catalogue.placeholders(text) <= wanted, message.id


def test_the_compiled_catalogue_is_in_step(catalogue):
    assert catalogue.MO.read_bytes() == catalogue.to_mo(catalogue.read()), "run `make locale`"


def test_the_written_catalogue_is_as_make_locale_writes_it(catalogue):
    """So that running it again changes nothing, and no path or date of a machine is in it."""
    text = catalogue.PO.read_bytes()
    assert text == catalogue.to_po(catalogue.merge(catalogue.read())[0])
    assert b"#: " not in text
    assert b"#, fuzzy" not in text
    assert b"-Date" not in text


def test_what_is_found_in_the_source(catalogue):
    code = """if True:
        print(_("plain"), locale.translate("named"), translate_plural("one", "many", n))
        raise FrameError("the reason "
            "in two parts", operation="receive", transport="tcp")
        raise errors.FrameError("this" if it else "that")
        raise ValueError("not shown to people")
        raise FrameError("{error}")
        print(_(f"cannot {be} found"), _(variable))
    """
    assert list(catalogue.texts(code, {"FrameError"})) == [
        "plain",
        "named",
        ("one", "many"),
        "the reason in two parts",
        "receive",
        "this",
        "that",
    ]


def test_reasons_kept_in_variables_are_found(catalogue):
    code = """
NO_ANSWER = "by a constant"

def chosen():
    if it:
        reason = "by assignment"
    else:
        reason, cure = "in a row", "not a reason"
    reason = reason if it else NO_ANSWER
    return FrameError(reason)

def looped():
    rows = ((1, "first row"), (2, "second row"))
    for limit, why in rows:
        raise FrameError(why)

class Link:
    def receive(self):
        raise self._lost("through a helper", "receive")

    def _lost(self, cause, operation):
        return FrameError(cause, operation=operation)
"""
    assert set(catalogue.texts(code, {"FrameError"})) == {
        "by assignment",
        "by a constant",
        "in a row",
        "first row",
        "second row",
        "through a helper",
        "receive",
    }
