"""The parts that all protocols are made of, without a socket: a procedure is stepped, and fed by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import prise
from prise.protocols.reader import Reader
from prise.protocols.reply import read_reply
from prise.protocols.talk import Options, Talk
from prise.protocols.target import Target


def feed(steps, pieces):
    """Runs a procedure that receives these pieces, then the end of the input; returns its result."""
    rest = iter([*pieces, b""])
    answer = None
    while True:
        try:
            steps.send(answer)
        except StopIteration as end:
            return end.value
        answer = next(rest)


def bytewise(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def dotted(reader: Reader):
    """A whole dotted text."""
    found = b""
    while (text := (yield from reader.dotted())) is not None:
        found += text
    return found


def stuffed(text: bytes) -> bytes:
    """As a server sends it (RFC 3977 §3.1.1): the text ends with a line end."""
    return (b"\r\n" + text).replace(b"\r\n.", b"\r\n..")[2:] + b".\r\n"


def test_lines_end_in_crlf_or_lf() -> None:
    reader = Reader()
    assert feed(reader.line(), [b"+OK\r\nnext\nrest"]) == b"+OK"
    assert feed(reader.line(), []) == b"next"
    assert reader.pending == 4


def test_a_line_in_single_bytes() -> None:
    assert feed(Reader().line(), bytewise(b"+OK hello\r\n")) == b"+OK hello"


def test_an_endless_line_is_refused_within_its_bound() -> None:
    reader = Reader()
    with pytest.raises(prise.MessageTooLarge, match="more than 100 bytes"):
        feed(reader.line(100), [b"x" * 60, b"x" * 60])


def test_the_end_of_the_input_in_a_line_is_a_loss() -> None:
    with pytest.raises(prise.ConnectionLost):
        feed(Reader().line(), [b"+O"])


def test_counted_bytes_leave_what_follows() -> None:
    reader = Reader()
    assert feed(reader.exactly(5), [b"12", b"345next"]) == b"12345"
    assert reader.pending == 4


@given(st.binary(max_size=80), st.integers(1, 9))
def test_a_dotted_text_comes_out_as_it_went_in(text: bytes, size: int) -> None:
    text = text.replace(b"\r", b".\r\n").replace(b"\n", b"\r\n.") + b"\r\n"
    wire = stuffed(text) + b"+OK"
    assert feed(dotted(Reader()), [wire[at : at + size] for at in range(0, len(wire), size)]) == text


def test_an_empty_dotted_text() -> None:
    reader = Reader()
    assert feed(dotted(reader), bytewise(b".\r\n")) == b""


def test_what_follows_the_dot_belongs_to_the_next_answer() -> None:
    reader = Reader()
    assert feed(dotted(reader), [b"a\r\n.\r\n+OK next\r\n"]) == b"a\r\n"
    assert feed(reader.line(), []) == b"+OK next"


@pytest.mark.parametrize("text", [b".x\r\n.\r\n", b"a\r\n.b\r\n.\r\n", b"a\r\n.\rb\r\n.\r\n", b"a\r\n.\n.\r\n"])
def test_a_dot_that_was_not_doubled_is_an_error(text: bytes) -> None:
    for pieces in ([text], bytewise(text)):
        with pytest.raises(prise.ProtocolError, match="not doubled"):
            feed(dotted(Reader()), pieces)


@given(
    st.lists(st.binary(max_size=20).map(lambda b: b.replace(b"\r", b"").replace(b"\n", b"")), max_size=20),
    st.integers(1, 9),
)
def test_dotted_lines(lines: list[bytes], size: int) -> None:
    wire = stuffed(b"".join(line + b"\r\n" for line in lines))

    def collect(reader: Reader):
        found = []
        while (some := (yield from reader.dotted_lines())) is not None:
            assert some, "a call without a line would make its caller spin"
            found += some
        return found

    assert feed(collect(Reader()), [wire[at : at + size] for at in range(0, len(wire), size)]) == lines


# -- Answers that begin with three digits ------------------------------------------------------------------------------


def replied(wire: bytes, several: bool = True, size: int = 1):
    talk = Talk(Target.parse("smtp://h"), Options())
    return feed(read_reply(talk, several), [wire[at : at + size] for at in range(0, len(wire), size)])


def test_an_answer_of_one_line_or_several() -> None:
    assert replied(b"250 fine\r\n") == (250, ("fine",))
    assert replied(b"250\r\n") == (250, ("",))
    assert replied(b"250-one\r\n250-two\r\n250 three\r\n") == (250, ("one", "two", "three"))
    assert replied(b"211-Features:\r\n MLST\r\n2500\r\n211 End\r\n") == (211, ("Features:", " MLST", "2500", "End"))
    assert replied(b"211-one\r\n", several=False) == (211, ("one",))


@pytest.mark.parametrize("line", [b"", b"25 fine", b"2500 fine", b"250fine", b"650 fine", b" 250 fine", b"\xff"])
def test_what_is_no_answer(line: bytes) -> None:
    with pytest.raises(prise.ProtocolError, match="three digits"):
        replied(line + b"\r\n")


def test_an_answer_has_a_bound() -> None:
    with pytest.raises(prise.ProtocolError, match="1000 lines"):
        replied(b"250-\r\n" * 1001, size=65536)
    with pytest.raises(prise.MessageTooLarge, match="bytes"):
        replied((b"250-" + b"x" * 60_000 + b"\r\n") * 6, size=65536)


@given(st.binary(max_size=60))
def test_any_bytes_are_an_answer_or_an_error(data: bytes) -> None:
    try:
        assert 100 <= replied(data).code < 600
    except prise.PriseError:
        pass
