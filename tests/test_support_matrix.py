"""The tables of docs/support.md and docs/transports.md say what the code does."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import Any

import pytest

import prise
from prise import transports
from prise.address import SCHEMES
from prise.core.conversation import DEFAULT_MODEL, MODELS, Spelling, model_for
from prise.handover import Channel, HandoverError
from prise.testing.conformance import TRAITS
from prise.transports import TRANSPORTS
from tls_support import client_tls, localhost

DOCS = Path(__file__).parent.parent / "docs"
CERTIFICATE = f"cert={localhost().cert},key={localhost().key}"


def table(page: str, first: str) -> dict[str, dict[str, str]]:
    """The table of a page whose head begins with this cell: row -> column -> cell. Footnotes and backticks are left away."""
    lines = iter((DOCS / page).read_text(encoding="utf-8").splitlines())
    head = next(line for line in lines if line.startswith(f"| {first} |"))
    columns = cells(head)[1:]
    next(lines)
    found = {}
    for line in lines:
        if not line.startswith("|"):
            break
        name, *values = cells(line)
        found[name] = dict(zip(columns, values, strict=True))
    return found


def cells(line: str) -> list[str]:
    return [re.sub("[¹²³⁴⁵`]", "", cell).strip() for cell in line.strip("|").split("|")]


MATRIX = table("support.md", "transport")


def test_spellings_and_models() -> None:
    rows = table("support.md", "spelling")
    assert rows.keys() == DEFAULT_MODEL.keys()
    spelling: Spelling
    for spelling in ("function", "generator", "coroutine"):
        assert tuple(rows[spelling]) == MODELS
        for model, said in rows[spelling].items():
            assert (said == "default") == (DEFAULT_MODEL[spelling] == model)
            if said == "no":
                with pytest.raises(prise.SpellingError):
                    model_for(spelling, model)
            else:
                assert model_for(spelling, model) == model


def test_every_transport_has_its_row() -> None:
    assert {name.partition(",")[0] for name in MATRIX} == TRANSPORTS.keys() == SCHEMES.keys()


def test_every_transport_is_in_the_table_of_what_cannot_be() -> None:
    page = (DOCS / "transports.md").read_text(encoding="utf-8")
    head, rows = page.index("| | serve | connect |"), []
    for line in page[head:].splitlines()[2:]:
        if not line.startswith("|"):
            break
        rows.append(line)
    named = {name for line in rows for name in re.findall("`([^`]+)`", line.split("|")[1])}
    assert named == MATRIX.keys()
    columns = dict(enumerate(("half-close", "ends", "greets", "reliable", "large"), start=4))
    for line in rows:
        for name in re.findall("`([^`]+)`", line.split("|")[1]):
            traits = TRAITS.get(name.replace(",type=", "-"))
            if traits is not None:  # the others are not in the suite: they serve one conversation, or none
                said = {trait for column, trait in columns.items() if line.split("|")[column].strip() == "yes"}
                assert said == traits & set(columns.values()), name


@pytest.mark.parametrize("name", [name for name, row in MATRIX.items() if row["serve"] == "no"])
def test_what_cannot_be_served_is_refused(name: str) -> None:
    with pytest.raises(prise.UsageError):
        transports.bind(SCHEMES[name].example)


@pytest.mark.parametrize("name", [name for name, row in MATRIX.items() if row["connect"] == "no"])
def test_what_cannot_be_connected_to_is_refused(name: str) -> None:
    with pytest.raises(prise.UsageError):
        transports.dial(SCHEMES[name].example)


@pytest.mark.parametrize("name", [name for name, traits in TRAITS.items() if name not in ("vsock", "wss")])
def test_which_connections_change_hands(name: str, tmp_path: Path) -> None:
    name = name.replace("unix-", "unix,type=")
    address = {"tcp": "127.0.0.1:0", "tls": f"tls,{CERTIFICATE}:127.0.0.1:0", "mem": "mem:support"}.get(name)
    address = address or (f"{name}:{tmp_path}/socket" if name.startswith("unix") else f"{name}:127.0.0.1:0")
    given: list[Any] = []
    done = threading.Event()

    def give(connection: prise.Connection) -> None:
        connection.receive()
        ours, theirs = Channel.pair()
        with ours, theirs:
            taker = threading.Thread(target=lambda: given.append(theirs.receive(5.0)))
            taker.start()
            try:
                connection.hand_over(ours)
            except HandoverError:
                ours.close()
            taker.join()
        done.set()

    with prise.listen(give, address) as server:
        with prise.connect(server.address, tls=client_tls() if name == "tls" else None) as client:
            client.send("take me")
            assert done.wait(10)
    (received,) = given
    assert ("no" if received is None else "yes") == MATRIX[name]["hands over a live connection"]
    if received is not None:
        received.close()


def test_what_has_a_size_of_its_own() -> None:
    for name, traits in TRAITS.items():
        said = MATRIX[name.replace("unix-", "unix,type=")]["size of a message"]
        assert (said == "any") == ("large" in traits), name
