"""What IMAP is made of, each by itself and without a socket: the parser, names, sets, searches, URLs, transfer encodings."""

from __future__ import annotations

import base64
import quopri
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prise import errors
from prise.protocols.imap import Message, Person, Search
from prise.protocols.imap.commands import _TEXT
from prise.protocols.imap.decoding import decoder_for
from prise.protocols.imap.message import read_date, read_envelope, read_message, read_structure, words_of
from prise.protocols.imap.names import Literal, decoded_name, encoded, flag_list, mailbox_name, moment, string
from prise.protocols.imap.parser import Continue, Data, Status, announced, parse
from prise.protocols.imap.place import Place, read_name, read_place
from prise.protocols.imap.session import IMAPTalk
from prise.protocols.imap.sets import read_numbers, read_set, uid_sets
from prise.protocols.steps import Items
from prise.protocols.talk import Options
from prise.protocols.target import Target

few = settings(max_examples=50, deadline=None)


# -- responses --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parts", "response"),
    [
        ([b"* OK hi there"], Status("*", "OK", "", "", "hi there")),
        ([b"A1 no [ALERT] full {3}"], Status("A1", "NO", "ALERT", "", "[ALERT] full {3}")),
        ([b"* OK [UIDNEXT 7] x"], Status("*", "OK", "UIDNEXT", "7", "[UIDNEXT 7] x")),
        ([b"A2 OK"], Status("A2", "OK", "", "", "")),
        ([b"+ go on"], Continue("go on")),
        ([b"+"], Continue("")),
        ([b"* 23 EXISTS"], Data("EXISTS", 23, [])),
        ([b"* SEARCH 1 2"], Data("SEARCH", 0, [b"1 2"])),
        ([b'* LIST (\\Noselect) "/" "a \\"b\\\\"'], Data("LIST", 0, [["\\Noselect"], b"/", b'a "b\\'])),
        ([b"* LIST () NIL {5}", b"INBOX", b""], Data("LIST", 0, [[], None, b"INBOX"])),
        ([b'* 1 FETCH (X ("NIL" NIL nil 12))'], Data("FETCH", 1, [["X", [b"NIL", None, None, "12"]]])),
        (
            [b"* 1 FETCH (BODY[HEADER.FIELDS (A B)]<0> {3}", b"a\r\n", b" FLAGS (\\Seen a[b) Y {0}", b"", b")"],
            Data("FETCH", 1, [["BODY[HEADER.FIELDS (A B)]<0>", b"a\r\n", "FLAGS", ["\\Seen", "a[b"], "Y", b""]]),
        ),
    ],
)
def test_responses(parts: list[bytes], response: Any) -> None:
    assert parse(parts) == response


def test_which_lines_announce_a_literal() -> None:
    assert announced(b"* LIST () NIL {5}", first=True) == 5
    assert announced(b"* 1 FETCH (BODY[] ~{5+}", first=True) == 5
    assert announced(b" X {7}", first=False) == 7
    assert parse([b"* 1 FETCH (BODY[] ~{2}", b"\0\1", b")"]) == Data("FETCH", 1, [["BODY[]", b"\0\1"]])
    for words in (b"* OK see {5}", b"A1 NO {5}", b"* 1 EXISTS", b"* LIST () NIL {x}", b"* LIST () NIL a{5}", b"+ {5}"):
        assert announced(words, first=True) is None


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=5))
@few
def test_whatever_comes_is_read_or_refused(parts: list[bytes]) -> None:
    for head in (b"", b"* ", b"* 1 FETCH (", b"* LIST () "):
        try:
            response = parse([head + parts[0], *parts[1:]])
            if isinstance(response, Data) and response.name == "FETCH":
                read_message(response.number, response.values)
        except errors.ProtocolError:
            pass


values = st.recursive(
    st.one_of(st.none(), st.binary(max_size=8), st.integers(0, 99).map(str), st.just("\\Seen")),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=20,
)


@given(st.lists(values, max_size=5), st.booleans())
@few
def test_values_come_back_as_they_were(sent: list[Any], literals: bool) -> None:
    """Any values, strings quoted where they can be, or all as literals."""
    parts = [b""]

    def write(value: Any) -> None:
        if isinstance(value, list):
            parts[-1] += b"("
            for at, inner in enumerate(value):
                parts[-1] += b" " if at else b""
                write(inner)
            parts[-1] += b")"
        elif isinstance(value, bytes) and (literals or b"\r" in value or b"\n" in value):
            parts[-1] += b"{%d}" % len(value)
            parts.extend((value, b""))
        elif isinstance(value, bytes):
            parts[-1] += b'"' + value.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
        else:
            parts[-1] += b"NIL" if value is None else value.encode()

    write(sent)
    parts[0] = b"* X " + parts[0]
    response = parse(parts)
    assert isinstance(response, Data)
    assert response.values == [sent]


def played(steps: Iterator[Any], chunks: Iterable[bytes]) -> tuple[list[Any], Any]:
    """Runs steps with these bytes as the server's; gives the items and the result."""
    coming = iter(chunks)
    items: list[Any] = []
    answer = None
    while True:
        try:
            step = steps.send(answer)  # type: ignore[attr-defined]
        except StopIteration as end:
            return items, end.value
        if isinstance(step, Items):
            items += step.values
        answer = next(coming, b"") if step is None else None


SAID = (
    b"* OK [UIDVALIDITY 7] x\r\n* 2 EXISTS\r\nA1 OK [READ-ONLY] done\r\n"
    b'* 1 FETCH (UID 4 FLAGS (\\Seen) BODY[] {9}\r\na\r\nA2 OK\r INTERNALDATE "01-Feb-2024 10:00:00 +0100")\r\n'
    b'* 1 FETCH (FLAGS ())\r\n* 2 FETCH (BODY[] "hi" UID 5)\r\nA2 OK done\r\n'
)


@pytest.mark.parametrize("size", [1, 2, 3, 7, len(SAID)])
def test_pieces_of_any_size_mean_the_same(size: int) -> None:
    talk = IMAPTalk(Target.parse("imap://u@example.org/INBOX"), Options())
    chunks = iter([SAID[at : at + size] for at in range(0, len(SAID), size)])
    _, flow = played(talk.messages.steps("1:*"), chunks)
    messages, _ = played(flow.steps, chunks)
    assert [(message.uid, message.data) for message in messages] == [(4, b"a\r\nA2 OK\r"), (5, b"hi")]
    assert messages[0].date == datetime(2024, 2, 1, 9, tzinfo=UTC)
    assert talk.mailbox is not None
    assert (talk.mailbox.exists, talk.mailbox.readonly, talk.mailbox.uidvalidity) == (2, True, 7)


@given(st.binary(max_size=200), st.integers(1, 50))
@few
def test_whatever_a_server_says_ends(said: bytes, size: int) -> None:
    for procedure, head in (("noop", b""), ("search", SAID[:66]), ("id", b"* ID ("), ("namespaces", b"* NAMESPACE ")):
        talk = IMAPTalk(Target.parse("imap://u@example.org/INBOX"), Options())
        data = head + said + b"\r\n"
        with pytest.raises(errors.PriseError):  # at the latest ConnectionLost
            played(getattr(talk, procedure).steps(), [data[at : at + size] for at in range(0, len(data), size)])


def values_of(line: bytes) -> Any:
    """The one list of a response."""
    response = parse([line])
    assert isinstance(response, Data)
    (values,) = response.values
    return values


# -- what FETCH tells -------------------------------------------------------------------------------------------------------


def test_an_envelope() -> None:
    line = b'* X ("Wed, 17 Jul 1996" "=?iso-8859-1?q?caf=E9?=\r\n bar" (("Terry" NIL "gray" "example.org")) NIL NIL '
    line += b'((NIL NIL "team" NIL)("=?x?q?y?=" NIL "a" "b.c")(NIL NIL NIL NIL)) NIL NIL NIL "<1@x>")'
    values = values_of(line)
    envelope = read_envelope(values)
    assert envelope.subject == "café bar"
    assert envelope.from_ == (Person("Terry", "gray@example.org"),)
    assert envelope.to == (Person("=?x?q?y?=", "a@b.c"),)  # a group has no address of its own
    assert (envelope.cc, envelope.in_reply_to, envelope.message_id) == ((), "", "<1@x>")


def test_parts_are_numbered_as_in_the_rfc() -> None:
    """RFC 9051 §6.4.5.1 has this example: mails and multiparts in each other."""
    text = b'("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 5 1)'
    blob = (
        b'("APPLICATION" "OCTET-STREAM" ("NAME*0" "a" "NAME*1" "b.bin") NIL NIL "BASE64" 4 NIL ("ATTACHMENT" NIL) NIL)'
    )
    envelope = b"(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)"
    inner = b"(" + text + blob + b' "MIXED")'
    mail = b'("MESSAGE" "RFC822" NIL NIL NIL "7BIT" 99 ' + envelope + inner + b" 9)"
    gif = b'("IMAGE" "GIF" NIL NIL NIL "BASE64" 4)'
    mail2 = (
        b'("MESSAGE" "RFC822" NIL NIL NIL "7BIT" 99 ' + envelope + b"(" + text + b"(" + text + text + b' "ALTERNATIVE")'
    )
    mail2 += b' "MIXED") 9)'
    last = b"(" + gif + mail2 + b' "MIXED")'
    values = values_of(b"* X (" + text + blob + mail + last + b' "MIXED" ("BOUNDARY" "b"))')
    parts = list(read_structure(values).walk())
    assert [part.number for part in parts] == [
        *("", "1", "2", "3", "3", "3.1", "3.2", "4", "4.1", "4.2", "4.2", "4.2.1", "4.2.2", "4.2.2.1", "4.2.2.2")
    ]
    assert (parts[2].filename, parts[2].disposition, parts[2].encoding) == ("ab.bin", "attachment", "base64")
    assert (parts[1].lines, parts[3].lines, parts[0].parameters) == (1, 9, {"boundary": "b"})


def test_dates() -> None:
    assert read_date(b" 1-Feb-2024 10:00:00 -0130") == datetime(2024, 2, 1, 11, 30, tzinfo=UTC)
    for wrong in (b"", b"1-Foo-2024 10:00:00 +0000", b"31-Feb-2024 10:00:00 +0000", b"01-Feb-2024 10:00:00 +9999"):
        assert read_date(wrong) is None
    when = datetime(2024, 2, 1, 10, tzinfo=timezone(timedelta(hours=-2)))
    assert moment(when) == '"01-Feb-2024 10:00:00 -0200"'
    assert read_date(moment(when).strip('"').encode()) == when


def test_an_entry_is_fit_for_a_terminal() -> None:
    values = values_of(b'* X (NIL "\x1b[2J\xff" NIL NIL NIL NIL NIL NIL NIL NIL)')
    entry = Message(7, 1, envelope=read_envelope(values)).entry()
    assert (entry.name, "\x1b" in entry.title) == ("7", False)


# -- what goes into commands ------------------------------------------------------------------------------------------------


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
@few
def test_names_of_mailboxes_come_back(name: str) -> None:
    for utf8 in (False, True):
        raw = encoded(name, utf8)
        assert decoded_name(raw, utf8) == name
        assert utf8 or raw.isascii()


def test_names_as_the_rfc_has_them() -> None:
    assert encoded("~peter/mail/台北/日本語") == b"~peter/mail/&U,BTFw-/&ZeVnLIqe-"
    assert encoded("Été & co") == b"&AMk-t&AOk- &- co"
    assert decoded_name(b"&Jjo-!") == "\N{WHITE SMILING FACE}!"
    assert decoded_name(b"&Jjo!") == "&Jjo!"  # what is wrong stays
    assert decoded_name("Été".encode()) == "Été"  # a server of the wild


@given(st.binary(max_size=40))
@few
def test_whatever_a_server_calls_a_mailbox_is_text(raw: bytes) -> None:
    assert isinstance(decoded_name(raw), str)


def test_strings() -> None:
    assert string('a "b\\') == b'"a \\"b\\\\"'
    assert string("é", utf8=True) == '"é"'.encode()
    for text in ("é", "a\r\nb", "x" * 2000):
        literal = string(text)
        assert isinstance(literal, Literal)
        assert (b"".join(literal.pieces), literal.size) == (text.encode(), len(text.encode()))
    for wrong in ("a\0", b"\0"):
        with pytest.raises(errors.UsageError):
            string(wrong)
    for name in ("a\nb", b"a\r", "\0", "\ud800"):
        with pytest.raises(errors.UsageError):
            mailbox_name(name)
    assert flag_list("\\Seen") == "(\\Seen)"
    for flag in ("", "a b", "a)", "é", "\\", "a\n", "*"):
        with pytest.raises(errors.UsageError):
            flag_list(flag)


@given(st.sets(st.integers(1, 3000), max_size=300))
@few
def test_sets_of_uids_come_back(uids: set[int]) -> None:
    assert [uid for text in uid_sets(uids) for uid in read_set(text)] == sorted(uids)


def test_sets_of_uids() -> None:
    assert list(uid_sets(7)) == ["7"]
    assert list(uid_sets([3, 1, 2, 2, 9])) == ["1:3,9"]
    assert list(uid_sets("5:*")) == ["5:*"]
    assert list(uid_sets([])) == []
    assert all(len(text) <= 4000 for text in uid_sets(range(1, 10_000, 2)))
    for wrong in (0, -1, 2**32, "", "1;2", "1:2:3", "a", [1, 0]):
        with pytest.raises(errors.UsageError):
            list(uid_sets(wrong))
    assert read_set("5:3,7") == [3, 4, 5, 7]
    assert read_numbers(b"1 2 (MODSEQ 5)") == [1, 2]


def words(search: Search) -> list[Any]:
    return [b"".join(word.pieces) if isinstance(word, Literal) else word for word in search.words]


def test_searches() -> None:
    assert words(Search.of()) == ["ALL"]
    assert words(Search(unseen=True, flagged=False)) == ["UNSEEN", "UNFLAGGED"]
    assert words(Search(since=date(2024, 2, 1), larger=10)) == ["SINCE", "1-Feb-2024", "LARGER", "10"]
    assert words(Search(header={"X-A": "b", "C": ""})) == ["HEADER", b'"X-A"', b'"b"', "HEADER", b'"C"', b'""']
    assert words(Search(keyword="$Junk") & Search(uid=[1, 2])) == ["KEYWORD", "$Junk", "UID", "1:2"]
    either = Search(from_="a") | ~Search(to="é")
    assert words(either) == ["OR", "(", "FROM", b'"a"', ")", "(", "NOT", "(", "TO", "é".encode(), ")", ")"]
    assert (either.ascii, Search(from_="a").ascii) == (False, True)
    assert words(Search.of('OR SUBJECT "a \\"b" (SEEN)', seen=True)) == ["OR", "SUBJECT", b'"a \\"b"', "(SEEN)", "SEEN"]
    assert words(Search(uid=[])) == ["NOT", "ALL"]
    for wrong in (
        {"since": "yesterday"},
        {"larger": -1},
        {"seen": 1},
        {"from_": 5},
        {"nonsense": True},
        {"header": "ab"},
        {"keyword": "a b"},
    ):
        with pytest.raises(errors.UsageError):
            Search(**wrong)


@pytest.mark.parametrize(
    ("place", "meaning"),
    [
        ("", Place()),
        ("INBOX", Place("INBOX")),
        ("a%20b/c/", Place("a b/c")),
        ("INBOX/;UID=7", Place("INBOX", uid=7)),
        ("INBOX;uidvalidity=9/;uid=7/;section=1.2;partial=3.4", Place("INBOX", 9, 7, "1.2", 3, 4)),
        ("INBOX/7", Place("INBOX", uid=7)),
        ("INBOX%2F7", Place("INBOX/7")),
        ("a;UIDVALIDITY=9/7", None),
        ("INBOX?SUBJECT%20x", Place("INBOX", search="SUBJECT x")),
        ("INBOX/;UID=0", None),
        ("INBOX/;SECTION=1", None),
        ("INBOX;NONSENSE=1", None),
        ("a%0Db", None),
    ],
)
def test_places_in_urls(place: str, meaning: Place | None) -> None:
    if meaning is None:
        with pytest.raises(errors.AddressError):
            read_place(place)
    else:
        assert read_place(place) == meaning


def test_what_get_takes() -> None:
    assert read_name(7) == read_name("7") == Place(uid=7)
    assert read_name("7/1.2") == Place(uid=7, section="1.2")
    assert read_name("7/HEADER") == Place(uid=7, section="HEADER")
    assert read_name("INBOX/;UID=7") == Place("INBOX", uid=7)


# -- transfer encodings -----------------------------------------------------------------------------------------------------


@given(st.binary(max_size=600), st.integers(1, 80))
@few
def test_parts_are_decoded_in_pieces_of_any_size(data: bytes, size: int) -> None:
    for encoding, sent in (
        ("base64", base64.encodebytes(data)),
        ("quoted-printable", quopri.encodestring(data)),
        ("8bit", data),
    ):
        sent = sent.replace(b"\n", b"\r\n") if encoding == "base64" else sent
        decoder = decoder_for(encoding)
        pieces = [decoder.decode(sent[at : at + size]) for at in range(0, len(sent), size)]
        assert b"".join(pieces) + decoder.end() == data


def test_what_is_encoded_wrongly_is_decoded_as_far_as_it_goes() -> None:
    assert decoder_for("BASE64").decode(b"aGVs\r\n!bG8=\r\n-- \r\na list") == b"hello"
    assert decoder_for("base64").end() == b""
    long = b"x" * 200_000 + b"=41" + b"y" * 200_000
    decoder = decoder_for("quoted-printable")
    pieces = [decoder.decode(long[at : at + 70_001]) for at in range(0, len(long), 70_001)]
    assert b"".join(pieces) + decoder.end() == b"x" * 200_000 + b"A" + b"y" * 200_000


def test_what_anybody_can_mail_takes_no_time() -> None:
    """Each of these once took seconds to minutes: regular expressions that look for an end again and again."""
    begun = time.process_time()
    assert words_of(b"=?a?q?x" * 20_000).startswith("=?a?q?x")
    assert isinstance(parse([b"* 1 FETCH (" + b"BODY[ " * 100_000 + b")"]), Data)
    assert announced(b"* 1 FETCH (" + b"BODY[ " * 100_000 + b"{5}", first=True) == 5
    assert _TEXT.search(b"* 1 FETCH (" + b"BODY[ " * 100_000 + b"x {5}") is None
    assert time.process_time() - begun < 2


def test_a_name_in_pieces_with_numbers_and_without() -> None:
    part = read_structure([b"TEXT", b"PLAIN", [b"name*", b"x", b"name*0", b"y"], None, None, b"7BIT", "1", "1"])
    assert part.filename is None


def test_names_of_items_in_any_letters() -> None:
    message = read_message(1, [["uid", "7", "Flags", ["\\Seen"], "body[header]", b"x"]])
    assert (message.uid, message.flags) == (7, frozenset({"\\Seen"}))
    assert message.sections == {"HEADER": b"x"}
