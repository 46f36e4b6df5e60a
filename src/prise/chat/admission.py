"""Who is let into the house, and under which name: tokens, passphrases of registered nicknames, bans, the house's password."""

from __future__ import annotations

import hmac
import json
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass

from prise import UsageError
from prise.chat import bans, cleaning, identity
from prise.chat.errors import Denied
from prise.chat.events import Event, Renamed
from prise.chat.pace import USUAL, Rate
from prise.chat.people import People
from prise.chat.person import Person
from prise.chat.store.base import Store
from prise.chat.talk import Talk

MOST_ACCOUNTS = 10_000
"""Registered nicknames."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a house is kept. name: what it is called. password: what everybody needs to come in; operator_password: what makes an
    operator (`/op`). rate: how fast each client may speak; None: any. keep_time: seconds, keep_messages: of each
    room; None: for ever, all.
    """

    name: str = "prise"
    password: str = ""
    operator_password: str = ""
    rate: Rate | None = USUAL
    keep_time: float | None = None
    keep_messages: int | None = None


class Admission(ABC):
    """The half of the house that knows people.

    people: everybody. facts: what the store has kept under keys. counts: visitors, and the most at a time.
    """

    def __init__(self, store: Store, options: Options) -> None:
        self.options = options
        self.store = store
        self.talk = Talk(store)
        self.people = People()
        self.facts: dict[str, str] = {}
        self.counts: dict[str, int] = {"messages": 0, "visitors": 0, "most": 0}

    @abstractmethod
    def changed(self, person: Person, event: Event) -> None:
        """Something about a person has changed that others see."""

    async def enter(
        self,
        name: str,
        *,
        token: str = "",
        passphrase: str = "",
        password: str = "",
        host: str = "",
        operator: bool = False,
    ) -> Person:
        """Lets somebody in, or back in; they have no session yet (`attach`), and are in no room. Raises Denied."""
        if not self.talk.open:
            raise Denied("the house is closed", code="full")
        if not operator:
            self.refuse_password(password)
        known = identity.identity_of(self.facts["secret"], token) if token else None
        if known is not None and (person := self.people.find_id(known)) is not None:
            return self._back(person)
        try:
            name = cleaning.name(name)
        except UsageError as error:
            raise Denied(error.reason, code="name", **error.details) from None
        account = self._account(name)
        if account is not None and account["id"] != known:
            if not passphrase or not await identity.verified(passphrase, account["hash"]):
                raise Denied("the nickname {name} is registered; its passphrase?", code="passphrase", name=name)
            known = account["id"]
            if (person := self.people.find_id(known)) is not None:
                return self._back(person)
        ban = bans.standing(self.facts, name=name, id=known or "", host=host)
        if ban is not None and not operator:
            raise Denied("you are banned{until}", code="banned", until=bans.until(ban))
        self.people.refuse_if_taken(name)
        person = Person(known or identity.new_id(), name, registered=account is not None, operator=operator)
        self.people.add(person)
        self.counts["visitors"] += 1
        self.counts["most"] = max(self.counts["most"], len(self.people))
        return person

    def _back(self, person: Person) -> Person:
        person.visits += 1
        return person

    def refuse_password(self, password: str) -> None:
        """Raises Denied when the house has a password and this is not it."""
        if self.options.password and not same(password, self.options.password):
            raise Denied("this house asks for its password", code="password")

    def token(self, person: Person) -> str:
        """What makes a client this person again."""
        return identity.token(self.facts["secret"], person.id)

    def person_of(self, token: str) -> Person | None:
        """Who is here and has this token."""
        known = identity.identity_of(self.facts["secret"], token)
        return self.people.find_id(known) if known is not None else None

    # -- names -----------------------------------------------------------------------------------------------------------

    def _account(self, name: str) -> dict[str, str] | None:
        text = self.facts.get(f"account:{cleaning.key(name)}")
        return json.loads(text) if text else None

    async def register(self, person: Person, passphrase: str) -> None:
        """Keeps the person's name for them. Raises UsageError when it is registered already."""
        if sum(key.startswith("account:") for key in self.facts) >= MOST_ACCOUNTS:
            raise UsageError("{most} nicknames are registered already", most=MOST_ACCOUNTS)
        kept = {"id": person.id, "name": person.name, "hash": await identity.hashed(passphrase)}
        mine = self._account(person.name)
        try:
            new = mine is None or mine["id"] != person.id
            await self.store.put(f"account:{person.key}", json.dumps(kept, ensure_ascii=False), new=new)
        except UsageError:
            raise UsageError("the nickname {name} is registered already", name=person.name) from None
        person.registered = True

    async def rename(self, person: Person, typed: str, passphrase: str = "") -> None:
        """Gives a person another name. Raises UsageError when it cannot be had."""
        new = cleaning.name(typed)
        account = self._account(new)
        mine = account is None or account["id"] == person.id
        if (
            account is not None
            and not mine
            and not (passphrase and await identity.verified(passphrase, account["hash"]))
        ):
            raise UsageError("the nickname {name} is registered; write /nick {name} PASSPHRASE", name=new)
        self.give_name(person, new, registered=account is not None)

    def give_name(self, person: Person, new: str, registered: bool = False) -> None:
        """Renames, if nobody else has the name. Raises UsageError."""
        old = person.name
        if new == old or not person.present:
            return
        self.people.rename(person, new)
        person.registered = registered
        self.changed(person, Renamed(time.time(), old, new, person.id))


def same(one: str, other: str) -> bool:
    """Compared in a time that tells nothing."""
    return hmac.compare_digest(one.encode(errors="replace"), other.encode(errors="replace"))
