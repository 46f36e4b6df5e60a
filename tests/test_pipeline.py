"""One connection's way of the data: bytes, layers, framing, messages, and back, without any I/O."""

from __future__ import annotations

import pytest

from prise import FrameError, MessageTooLarge
from prise.core.pipeline import Pipeline
from prise.framing import framing_of
from prise.layers.base import Layer

LINES = framing_of("lines")


class Brackets(Layer):
    """What is inside of [ ] is for the inside. It is not ready before the first [, and says what it has seen."""

    ready = False

    def __init__(self, open: bytes = b"[", close: bytes = b"]") -> None:
        self.open, self.close = open, close
        self.news = b""

    def receive(self, data: bytes) -> bytes:
        if data[:1] == b"?":
            raise FrameError("? at byte {offset}", offset=0)
        if self.open in data and not self.ready:
            self.ready = True
            self.news = b"ready "
        return data.replace(self.open, b"").replace(self.close, b"")

    def send(self, data: bytes) -> bytes:
        return self.open + data + self.close

    def output(self) -> bytes:
        news, self.news = self.news, b""
        return news

    def end(self) -> bytes:
        return b"end of " + self.open


class Braces(Brackets):
    def __init__(self) -> None:
        super().__init__(b"{", b"}")


def test_without_layers_it_is_the_framing_itself() -> None:
    pipeline = Pipeline(LINES, 100)
    assert pipeline.feed == pipeline.decoder.feed
    assert pipeline.encode == LINES.encode
    assert pipeline.feed(b"a\nb\nc") == ["a", "b"]
    assert pipeline.decoder.pending == 1
    assert pipeline.encode("é") == b"\xc3\xa9\n"
    assert (pipeline.layered, pipeline.ready, pipeline.output(), pipeline.end_output(True)) == (False, True, b"", b"")


def test_the_limit_is_the_framings() -> None:
    pipeline = Pipeline(LINES, 3)
    assert pipeline.feed(b"abc\n") == ["abc"]
    with pytest.raises(MessageTooLarge):
        pipeline.feed(b"abcd\n")


def test_layers_are_passed_from_the_outside_in_and_back_out() -> None:
    pipeline = Pipeline(LINES, 100, [Brackets, Braces])
    assert pipeline.layered
    assert pipeline.feed(b"[{hello\n}]") == ["hello"]
    assert pipeline.wrap([pipeline.encode("hello"), pipeline.encode("again")]) == b"[{hello\nagain\n}]"


def test_every_connection_has_layers_of_its_own() -> None:
    one, other = Pipeline(LINES, 100, [Brackets]), Pipeline(LINES, 100, [Brackets])
    one.feed(b"[")
    assert (one.ready, other.ready) == (True, False)


def test_it_is_ready_when_all_layers_are() -> None:
    pipeline = Pipeline(LINES, 100, [Brackets, Braces])
    assert not pipeline.ready
    pipeline.feed(b"[")
    assert not pipeline.ready
    pipeline.feed(b"{")
    assert pipeline.ready


def test_what_an_inner_layer_says_passes_through_the_outer_ones() -> None:
    pipeline = Pipeline(LINES, 100, [Brackets, Braces])
    pipeline.feed(b"[{")
    assert pipeline.output() == b"[ready ]ready "
    assert pipeline.output() == b""
    assert pipeline.end_output(True) == b"[end of {]end of ["


def test_an_error_of_a_layer_is_the_connections() -> None:
    with pytest.raises(FrameError, match="at byte 0"):
        Pipeline(LINES, 100, [Brackets]).feed(b"?")


def test_batches_through_layers() -> None:
    pipeline = Pipeline(LINES, 100, [Brackets])
    messages = pipeline.feed(b"x\n" * 200)
    assert len(messages) == 64
    while pipeline.decoder.more:
        messages += pipeline.feed(b"")
    assert messages == ["x"] * 200


def test_what_is_encoded_can_be_shared_whatever_the_layers_are() -> None:
    assert Pipeline(LINES, 100).framing is Pipeline(LINES, 100, [Brackets]).framing is LINES
    assert Pipeline(LINES, 100, [Brackets]).encode("hello") == b"hello\n"
