"""Which of telnet's options are on, by the "Q method" of RFC 1143: no two sides can answer each other for ever. No I/O.

There are two sets of options, ours and theirs, and the rules of both are the same: `Options`. Each option is in one of six
states; what the other side says, or what we wish, leads to another, and perhaps to a word of ours.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import Enum, auto

BINARY, ECHO, SGA, TTYPE, NAWS, LINEMODE, NEW_ENVIRON = 0, 1, 3, 24, 31, 34, 39
"""Numbers of options, from IANA's registry."""


class State(Enum):
    """NO and YES are agreed on. WANT...: we have asked and wait; ..._NOT: and have changed our mind since."""

    NO = auto()
    YES = auto()
    WANT_NO = auto()
    WANT_NO_NOT = auto()
    WANT_YES = auto()
    WANT_YES_NOT = auto()


_S = State

# What the other side says -> (the new state, what we say to that: None is nothing).
_HEARD_YES = {
    _S.YES: (_S.YES, None),
    _S.WANT_NO: (_S.NO, None),  # an error of the other side's, as in the next line
    _S.WANT_NO_NOT: (_S.YES, None),
    _S.WANT_YES: (_S.YES, None),
    _S.WANT_YES_NOT: (_S.WANT_NO, False),
}  # NO: see `heard`
_HEARD_NO = {
    _S.NO: (_S.NO, None),
    _S.YES: (_S.NO, False),
    _S.WANT_NO: (_S.NO, None),
    _S.WANT_NO_NOT: (_S.WANT_YES, True),
    _S.WANT_YES: (_S.NO, None),
    _S.WANT_YES_NOT: (_S.NO, None),
}
# What we wish -> the same.
_WISH_YES = {
    _S.NO: (_S.WANT_YES, True),
    _S.WANT_NO: (_S.WANT_NO_NOT, None),
    _S.WANT_YES_NOT: (_S.WANT_YES, None),
}
_WISH_NO = {
    _S.YES: (_S.WANT_NO, False),
    _S.WANT_NO_NOT: (_S.WANT_NO, None),
    _S.WANT_YES: (_S.WANT_YES_NOT, None),
}  # in the states that are not here it is so already, or on its way


class Options:
    """The options of one side. agreed: those that may be on; all others are refused."""

    def __init__(self, agreed: Collection[int]) -> None:
        self._agreed = frozenset(agreed)
        self._states: dict[int, State] = {}  # an option is one byte, so there are 256 at most

    def __contains__(self, option: int) -> bool:
        """Whether it is on."""
        return self._state(option) is State.YES

    def heard(self, option: int, yes: bool) -> bool | None:
        """The other side has said WILL or DO (yes), or WONT or DONT. Returns what to answer; None: nothing."""
        state = self._state(option)
        if yes and state is State.NO:
            agreed = option in self._agreed
            return self._go(option, (State.YES if agreed else State.NO, agreed))
        return self._go(option, (_HEARD_YES if yes else _HEARD_NO)[state])

    def wish(self, option: int, yes: bool) -> bool | None:
        """We want it on, or off. Returns what to say; None: nothing."""
        state = self._state(option)
        return self._go(option, (_WISH_YES if yes else _WISH_NO).get(state, (state, None)))

    def _state(self, option: int) -> State:
        return self._states.get(option, State.NO)

    def _go(self, option: int, to: tuple[State, bool | None]) -> bool | None:
        self._states[option], say = to
        return say
