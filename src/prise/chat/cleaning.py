"""What people type, made harmless: nothing that one person sends may act on another one's terminal, or pass for
somebody else.

Tabs, accents, emoji (with their joiners) and scripts that run from right to left stay as they are.
"""

from __future__ import annotations

import re
import unicodedata

from prise import UsageError

LONGEST_NAME = 24
"""Characters."""

# Controls but tab (C0, DEL, C1, where some terminals see escape sequences), line and paragraph separators, lone surrogates,
# and the marks that turn the direction of what follows (UAX #9).
_HARMFUL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]+")
_KEYS = re.compile("[\b\x7f\x15\x03]")
_BLANK = "\u115f\u1160\u2800\u3164\uffa0"  # letters and symbols that look like nothing


def line(typed: str) -> str:
    """A line as it was meant, without what could harm.

    Terminals that send each key at once leave the editing to us: backspace and DEL take back a character, ^U and ^C all.
    """
    if typed.isprintable():  # the usual case: neither keys nor anything invisible
        return typed
    if _KEYS.search(typed):
        kept: list[str] = []
        for character in typed:
            if character in "\x15\x03":
                kept.clear()
            elif character not in "\b\x7f":
                kept.append(character)
            elif kept:
                kept.pop()
        typed = "".join(kept)
    return _HARMFUL.sub("", typed)


def visible(typed: str) -> str:
    """What can be seen of a line, and one way to write each character (NFKC: "ﬁ" is "fi")."""
    return "".join(
        character
        for character in unicodedata.normalize("NFKC", line(typed))
        if unicodedata.category(character) not in ("Cf", "Cc", "Cs", "Co", "Cn") and character not in _BLANK
    ).strip()


def name(typed: str) -> str:
    """A nickname from what was typed. Raises UsageError, with the reason, for what cannot be one.

    Nothing invisible is left in it.
    """
    seen = visible(typed)
    if not any(unicodedata.category(character)[0] in "LNS" for character in seen):
        raise UsageError("a nickname has letters or digits")
    if len(seen) > LONGEST_NAME:
        raise UsageError("a nickname has at most {most} characters", most=LONGEST_NAME)
    if any(character.isspace() for character in seen):
        raise UsageError("a nickname has no spaces")
    if seen[0] in "/*" or "<" in seen or ">" in seen:
        raise UsageError("a nickname has none of < and >, and begins with neither / nor *")
    if is_end(seen):
        raise UsageError("{name} ends the conversation; it cannot be a nickname", name=seen)
    return seen


def key(name: str) -> str:
    """What two names have in common that are the same but for upper and lower case."""
    return unicodedata.normalize("NFKC", name).casefold()


def look(name: str) -> str:
    """What two names have in common that look the same, or nearly: one of them is enough in a house.

    Letters of other scripts that look like Latin ones count as those (a few dozen of Unicode's confusables, UTS 39),
    and so do the capital I, 1, l and 0, O.
    """
    return unicodedata.normalize("NFKC", name).translate(_LOOKS).casefold().translate(_LOOKS)


_LOOKS = str.maketrans(
    # Cyrillic, Greek, Armenian, Cherokee capitals and small letters, then the Latin that they look like.
    "АВЕЅІЈКМНОРСТУХҮаеоѕіјрсухһԁԛԝӏҽΑΒΕΖΗΙΚΜΝΟΡΤΥΧαινορτυχօսոհցյզɑɡɩıІI1|0",
    "ABESLJKMHOPCTYXYaeosijpcyxhdqwleABEZHLKMNOPTYXaivoptuxounhgjqagiiLlllo",
)


def is_end(text: str) -> bool:
    """Whether this line ends the conversation: FIN, in any case."""
    return text.strip().casefold() == "fin"
