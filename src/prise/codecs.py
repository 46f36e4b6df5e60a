"""What a framed message means: text, JSON, MessagePack, or a type of the user's own.

    Lines() | json()              Prefixed(4) | msgpack(type=Order)              Chunks() | text("latin-1")

A codec turns the bytes of one message into a value and back; `framing | codec` joins the two (see `prise.framing.coded`).
Text goes over raw chunks too, as one stream; the other codecs need boundaries.
"""

from __future__ import annotations

import codecs
import importlib
import json as _json
import re
from dataclasses import dataclass
from typing import Any, NoReturn

from prise.errors import FrameError, MissingExtra, UsageError
from prise.framing.base import Codec, Decoder, Framing
from prise.framing.coded import Coded, Decode, StreamedTextDecoder, bad_text

__all__ = ["Coded", "json", "msgpack", "text"]


# -- text -------------------------------------------------------------------------------------------------------------


def text(encoding: str = "utf-8", errors: str = "strict") -> Text:
    """Messages are str. encoding, errors: as for `bytes.decode`. Raises UsageError for an unknown one."""
    return Text(encoding, errors)


@dataclass(frozen=True)
class Text:
    encoding: str = "utf-8"
    errors: str = "strict"

    def __post_init__(self) -> None:
        try:
            "".encode(self.encoding)  # also refuses codecs that are not text encodings (base64)
            object.__setattr__(self, "encoding", codecs.lookup(self.encoding).name)  # utf8, UTF-8: one name for each
        except (LookupError, ValueError, TypeError):
            raise UsageError("unknown text encoding {encoding!r}", encoding=self.encoding) from None
        try:
            codecs.lookup_error(self.errors)
        except (LookupError, ValueError, TypeError):
            raise UsageError("unknown error handler {errors!r} for text", errors=self.errors) from None

    def check(self, framing: Framing) -> None:
        if _ends_at_bytes(framing) and "a\n".encode(self.encoding) != b"a\n":
            raise UsageError(
                "text in {encoding} holds the bytes of a newline in other characters; use prefixed:4 | text:{encoding}",
                encoding=self.encoding,
            )

    def decoder(self, framing: Framing) -> Decode:
        encoding, errors = self.encoding, self.errors

        def decode(message: bytes) -> str:
            try:
                return message.decode(encoding, errors)
            except UnicodeError as error:
                raise bad_text(error, getattr(error, "start", 0), encoding) from None

        return decode

    def streamed(self, inner: Decoder) -> Decoder:
        """The decoder of a framing without boundaries: the state of a cut character is carried from chunk to chunk."""
        return StreamedTextDecoder(inner, self.encoding, self.errors)

    def encode(self, value: Any, /) -> bytes:
        if not isinstance(value, str):
            raise UsageError("a message must be text (str), not {kind}", kind=type(value).__name__)
        try:
            return value.encode(self.encoding, self.errors)
        except UnicodeError as error:
            raise UsageError(
                "{character!r} cannot be written in {encoding}",
                character=value[getattr(error, "start", 0) :][:1],
                encoding=self.encoding,
            ) from None


# -- JSON and MessagePack ---------------------------------------------------------------------------------------------


def json(type: Any = None) -> Codec:
    """Messages are JSON values (RFC 8259, UTF-8), written on one line. NaN and infinities, which it lacks, are refused.

    type: decode into this type (a dataclass, TypedDict, `msgspec.Struct`, `list[int]`…) and refuse what does not fit;
    needs the extra `typed` (MissingExtra otherwise). What is sent may be of another type: answers often are.
    It is written by msgspec's rules: NaN becomes null.
    """
    return Json() if type is None else Typed("json", type)


def msgpack(type: Any = None) -> Codec:
    """Messages are MessagePack values; needs the extra `msgpack` (else MissingExtra). Keys of maps are str or bytes.

    type: as for `json`; needs the extra `typed` alone.
    """
    return Msgpack() if type is None else Typed("msgpack", type)


def _finite(number: str) -> float:
    value = float(number)
    if value - value != 0:
        raise ValueError
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError


# ensure_ascii off: shorter, and readable on the wire; control characters, so newlines too, are escaped all the same.
_json_encode = _json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_json_encode_ascii = _json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode
# 1e999 would become infinity, which could be received but not sent on.
_json_decode = _json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite).decode


@dataclass(frozen=True)
class Json:
    def check(self, framing: Framing) -> None:
        _need_boundaries(framing, "JSON")

    def decoder(self, framing: Framing) -> Decode:
        return _decode_json

    def encode(self, value: Any, /) -> bytes:
        try:
            try:
                return _json_encode(value).encode()
            except UnicodeEncodeError:  # half of a surrogate pair: JSON can write it, as an escape
                return _json_encode_ascii(value).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise _cannot_carry("JSON", value, error) from None


def _decode_json(message: bytes) -> Any:
    decoded = ""
    try:
        decoded = message.decode()
        return _json_decode(decoded)
    except UnicodeDecodeError as error:
        raise bad_text(error, error.start) from None
    except _json.JSONDecodeError as error:
        raise FrameError(
            "not valid JSON at byte {offset}: {problem}", offset=len(decoded[: error.pos].encode()), problem=error.msg
        ) from None
    except ValueError:
        raise FrameError("the JSON message at byte {offset} holds a number out of range", offset=0) from None
    except RecursionError:
        raise _too_deep() from None


class Msgpack:
    """Built by `msgpack()`. Integer keys are refused, both ways: a peer could choose them so that they all collide."""

    def __init__(self) -> None:
        self._package = _extra("msgpack", "msgpack")

    def __repr__(self) -> str:
        return "Msgpack()"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Msgpack)

    def __hash__(self) -> int:
        return hash(Msgpack)

    def check(self, framing: Framing) -> None:
        _need_boundaries(framing, "MessagePack")
        _refuse_binary(framing, "MessagePack")

    def decoder(self, framing: Framing) -> Decode:
        unpack = self._package.unpackb
        extra_data = self._package.ExtraData

        def decode(message: bytes) -> Any:
            try:
                return unpack(message)
            except extra_data as error:
                raise FrameError(
                    "the MessagePack value ends before its message does, at byte {offset}",
                    offset=len(message) - len(error.extra),
                ) from None
            except (self._package.UnpackException, ValueError, TypeError, OverflowError, MemoryError) as error:
                raise FrameError(
                    "not a valid MessagePack message at byte {offset}: {problem}", offset=0, problem=_problem(error)
                ) from None
            except RecursionError:  # from the package's version in pure Python
                raise _too_deep() from None

        return decode

    def encode(self, value: Any, /) -> bytes:
        try:
            _check_keys(value)
            packed: bytes = self._package.packb(value)
            return packed
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise _cannot_carry("MessagePack", value, error) from None


def _check_keys(value: Any) -> None:
    if isinstance(value, dict):
        for key, member in value.items():
            if not isinstance(key, (str, bytes)):
                raise TypeError(f"the key {key!r} is neither str nor bytes")
            _check_keys(member)
    elif isinstance(value, (list, tuple)):
        for member in value:
            _check_keys(member)


class Typed:
    """JSON or MessagePack of one type, by msgspec. Built by `json(type=…)` and `msgpack(type=…)`."""

    def __init__(self, form: str, type: Any) -> None:
        self._form = form
        self._name = {"json": "JSON", "msgpack": "MessagePack"}[form]
        self._type = type
        package = _extra("msgspec", "typed")
        module = importlib.import_module(f"msgspec.{form}")
        self._bad = (package.DecodeError, ValueError, OverflowError)
        try:
            self._decode = module.Decoder(type).decode
        except (TypeError, NameError) as error:
            raise UsageError(
                "messages cannot be of the type {type!r}: {problem}", type=type, problem=_problem(error)
            ) from None
        self._encode = module.Encoder().encode

    def __repr__(self) -> str:
        return f"{self._form}(type={self._type!r})"

    def check(self, framing: Framing) -> None:
        _need_boundaries(framing, self._name)
        if self._form == "msgpack":
            _refuse_binary(framing, self._name)

    def decoder(self, framing: Framing) -> Decode:
        decode_value, bad, name = self._decode, self._bad, self._name

        def decode(message: bytes) -> Any:
            try:
                return decode_value(message)
            except RecursionError:
                raise _too_deep() from None
            except bad as error:
                problem = _problem(error)
                place = re.search(r"\(byte (\d+)\)", problem)
                raise FrameError(
                    "not a valid {form} message at byte {offset}: {problem}",
                    form=name,
                    offset=int(place[1]) if place else 0,
                    problem=problem,
                ) from None

        return decode

    def encode(self, value: Any, /) -> bytes:
        try:
            encoded: bytes = self._encode(value)
            return encoded
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise _cannot_carry(self._name, value, error) from None


def _extra(package: str, extra: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError:
        raise MissingExtra(
            "the package {package} is not installed; get it with: pip install 'prise[{extra}]'",
            package=package,
            extra=extra,
        ) from None


def _problem(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _cannot_carry(form: str, value: Any, error: BaseException) -> UsageError:
    return UsageError(
        "{form} cannot carry this {kind}: {problem}", form=form, kind=type(value).__name__, problem=_problem(error)
    )


def _too_deep() -> FrameError:
    return FrameError("the message at byte {offset} is nested too deeply", offset=0)


def _ends_at_bytes(framing: Framing) -> bool:
    from prise.framing.delimited import Delimited
    from prise.framing.lines import Lines

    return isinstance(framing, (Lines, Delimited))


def _need_boundaries(framing: Framing, form: str) -> None:
    if framing.streaming:
        raise UsageError(
            "{form} needs a framing with boundaries, such as prefixed:4, not {framing!r}", form=form, framing=framing
        )


def _refuse_binary(framing: Framing, form: str) -> None:
    if _ends_at_bytes(framing):
        raise UsageError(
            "{form} is binary and may hold what ends a message in {framing!r}; use prefixed:4",
            form=form,
            framing=framing,
        )
