"""How several nodes write to each other through NATS: where the servers are, the names of things there, messages as JSON.

    prise-chat                      the stream with all that is said; its sequence is the number that people see
    prise-chat.log.ROOM             the subjects in it: one for each room, private log and for orders ("!")
    KV_prise-chat                   the bucket of facts
    prise-chat.people               who is where, never stored (`natspresence`)

"prise-chat" may be another word, so that several houses can share one NATS. Names of rooms are encoded: a subject allows less.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

from prise import UsageError
from prise.chat.events import Message

PORT = 4222
DAY = 86_400.0
KEEP_DAYS = 30.0

NAME = "prise-chat"
EXAMPLE = "nats://host:4222"


@dataclass(frozen=True, slots=True)
class Backplane:
    """Where the NATS servers are and how the stream is made; from `nats://user:password@host:port,host:port?option=value`.

    The scheme `tls` asks for TLS (with `ca=FILE`, signed by that; otherwise by whom this system trusts). Options: stream=NAME,
    credentials=FILE, and for a stream that is not there yet: replicas=N (1), keep=DAYS (30), messages=N (as many as come).
    """

    servers: tuple[str, ...]
    secure: bool = False
    user: str | None = None
    password: str | None = None
    credentials: str = ""
    ca: str = ""
    name: str = NAME
    replicas: int = 1
    keep_time: float = KEEP_DAYS * DAY
    keep_messages: int = -1

    @classmethod
    def parse(cls, text: str) -> Backplane:
        """Raises UsageError; it never shows the password."""
        scheme, _, _ = text.partition("://")
        try:
            parts = urlsplit(text)
            options = dict(parse_qsl(parts.query, strict_parsing=True)) if parts.query else {}
            user, password, hosts = _userinfo(parts.netloc)
            if scheme not in ("nats", "tls") or parts.path.strip("/") or parts.fragment:
                raise ValueError
            backplane = cls(
                tuple(_server(scheme, host) for host in hosts.split(",")),
                secure=scheme == "tls",
                user=user,
                password=password,
                credentials=options.pop("credentials", ""),
                ca=options.pop("ca", ""),
                name=options.pop("stream", NAME),
                replicas=int(options.pop("replicas", "1")),
                keep_time=float(options.pop("keep", KEEP_DAYS)) * DAY,
                keep_messages=int(options.pop("messages", "-1")),
            )
            if options or not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", backplane.name):
                raise ValueError
            if backplane.replicas not in range(1, 6) or not 60 <= backplane.keep_time < 1e8 * DAY:
                raise ValueError
        except ValueError:
            raise UsageError(
                "not a backplane; write for example {example}, or {more}",
                example=EXAMPLE,
                more="tls://user:password@host1,host2?replicas=3&keep=30",
            ) from None
        return backplane

    def __str__(self) -> str:
        """For people: without the password."""
        return ",".join(server.partition("://")[2] for server in self.servers)

    @property
    def log(self) -> str:
        return f"{self.name}.log."

    @property
    def people(self) -> str:
        return f"{self.name}.people"

    @property
    def facts(self) -> str:
        """The subjects of the bucket (ADR-8 of NATS)."""
        return f"$KV.{self.name}."


def _userinfo(netloc: str) -> tuple[str | None, str | None, str]:
    who, at, hosts = netloc.rpartition("@")
    user, colon, password = who.partition(":")
    return (unquote(user) if at else None), (unquote(password) if colon else None), hosts


def _server(scheme: str, host: str) -> str:
    parts = urlsplit(f"{scheme}://{host}")
    if not parts.hostname:
        raise ValueError
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{scheme}://{name}:{parts.port or PORT}"


def token(name: str) -> str:
    """A name as one token of a subject: letters, digits, "-" and "_" as they are, of all others the bytes in hexadecimal."""
    return "".join(
        each if each.isascii() and (each.isalnum() or each in "-_") else "".join(f"={byte:02X}" for byte in _utf8(each))
        for each in name
    )


def name_of(text: str) -> str:
    """What `token` was given. Raises ValueError."""
    return unquote(text.replace("=", "%"), errors="strict")


def _utf8(text: str) -> bytes:
    return text.encode(errors="surrogatepass")


def message_id(message: Message) -> str:
    """What JetStream knows it by (Nats-Msg-Id): the same for each sending of it, another one for any other message."""
    if not message.reference:
        return secrets.token_hex(16)
    return hashlib.blake2b(_utf8(message.reference), digest_size=16).hexdigest()


LATEST = 1e12
"""Seconds since 1970 that a message may say: what is beyond is no time, and a number of 400 digits no float."""

_FIELDS = ("room", "at", "author", "by", "text", "kind", "to", "reference", "details")
_encode = json.JSONEncoder(separators=(",", ":")).encode


def packed(message: Message, id: str) -> bytes:
    """The message for the stream; its number is where it is there."""
    fields = {field: value for field in _FIELDS if (value := getattr(message, field)) not in ("", None)}
    return _encode({"id": id, **fields}).encode()


def unpacked(data: bytes, number: int) -> tuple[str, Message]:
    """The id of a message in the stream, and the message. Raises ValueError for what no node of ours has written."""
    try:
        fields = json.loads(data)
        sound = storable(json.dumps(fields, ensure_ascii=False))
    except RecursionError:
        raise ValueError from None
    if not isinstance(fields, dict) or not sound:
        raise ValueError
    id = fields.pop("id", None)
    at, details = fields.pop("at", None), fields.pop("details", None)
    texts = {field: fields.get(field, "") for field in _FIELDS if field not in ("at", "details")}
    texts["kind"] = texts["kind"] or "say"
    if not isinstance(id, str) or not isinstance(at, int | float) or not isinstance(details, dict | None):
        raise ValueError
    if not abs(at) < LATEST or not texts["room"] or not all(isinstance(value, str) for value in texts.values()):
        raise ValueError
    return id, Message(**texts, at=float(at), details=details, number=number)


def storable(text: str) -> bool:
    """SQLite takes UTF-8 alone, and one message that it refuses would stop all behind it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
