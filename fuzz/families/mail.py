"""Servers of mail, as clients hear them: POP3, SMTP, IMAP (prise/protocols)."""

from __future__ import annotations

from typing import Any

from fuzz.server import converse, talk
from fuzz.target import Given, must, seed, target
from prise.errors import ProtocolError
from prise.protocols.credentials import Login
from prise.protocols.header import decoded_words, file_name
from prise.protocols.imap.message import read_message
from prise.protocols.imap.names import decoded_name
from prise.protocols.imap.parser import Data, announced, parse
from prise.protocols.imap.session import IMAPTalk
from prise.protocols.pop3 import POP3Talk
from prise.protocols.sasl import MECHANISMS, Answers
from prise.protocols.smtp.sending import SMTPTalk

POP3_BEGIN = (
    b"+OK <1.2@here> hello\r\n+OK\r\nSASL PLAIN CRAM-MD5 LOGIN\r\nUIDL\r\n.\r\n+ PDEuMkBoZXJlPg==\r\n+OK in\r\n"
)
POP3_TALKS = (
    lambda t: [t.stat.steps(), t.list.steps()],
    lambda t: [t.get.steps(1), t.top.steps(2, 5)],
    lambda t: [t.new.steps(["a"]), t.delete.steps("uid-1"), t.get.steps("b")],
)


@target(
    seed(POP3_BEGIN + b"+OK 2 300\r\n+OK\r\n1 100\r\n2 200\r\n.\r\n+OK\r\n1 a\r\n2 b\r\n.\r\n+OK bye\r\n", 0, 0x33),
    seed(b"+OK hi\r\n-ERR no CAPA\r\n+OK\r\n+OK\r\n+OK 1 9\r\n+OK\r\na\r\n..b\r\n.\r\n+OK\r\nh\r\n.\r\n+OK\r\n", 1,
        0x21),
    seed(b"+OK\r\n+OK\r\n.\r\n+OK\r\n-ERR [AUTH] no\r\n", 2),
    seed(POP3_BEGIN + b"+OK\r\n1 uid-1\r\n.\r\n+OK\r\n", 2, 0x44),
    words=(b"+OK ", b"-ERR ", b"\r\n.\r\n", b"\r\n..", b"SASL ", b"STLS", b"[IN-USE]", b"+ "),
)  # fmt: skip
def pop3(given: Given) -> None:
    converse(given, lambda: talk(POP3Talk, "pop3://here/?tls=never"), given.among(POP3_TALKS))


SMTP_BEGIN = (
    b"220 here\r\n250-here\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-8BITMIME\r\n250-AUTH PLAIN LOGIN "
    b"CRAM-MD5\r\n250 DSN\r\n"
)
MESSAGE = b"From: a@b.example\r\nTo: c@d.example, e@f.example\r\nSubject: x\r\n\r\n.dot\r\n"
SMTP_TALKS = (
    lambda t: [t.send.steps(MESSAGE, notify="failure", ret="headers")],
    lambda t: [
        t.verify.steps("c@d.example"),
        t.help.steps(),
        t.reset.steps(),
        t.send.steps(MESSAGE),
        t.send.steps(MESSAGE),
    ],
    lambda t: [t.send.steps(MESSAGE.replace(b"x", "é".encode()))],
)


@target(
    seed(SMTP_BEGIN + b"334 PDEuMkBoZXJlPg==\r\n235 in\r\n250 ok\r\n250 ok\r\n550-no\r\n550 such\r\n354 go\r\n250 "
                      b"2.0.0 taken\r\n221 x\r\n"),
    seed(b"220 here\r\n500 what\r\n250 here\r\n252 maybe\r\n214-a\r\n214 b\r\n250 ok\r\n250 ok\r\n250\r\n251 f\r\n"
         b"354\r\n250 x\r\n", 1, 0x52),
    seed(b"220-here\r\n220 b\r\n250-here\r\n250-CHUNKING\r\n250-BINARYMIME\r\n250-SMTPUTF8\r\n250 LIMITS "
         b"RCPTMAX=1\r\n250\r\n250\r\n250\r\n", 2),
    words=(b"250-", b"250 ", b"354 ", b"334 ", b"235 ", b"421 ", b"550 5.1.1 ", b"AUTH ", b"CHUNKING", b"SMTPUTF8",
        b"SIZE 9"),
)  # fmt: skip
def smtp(given: Given) -> None:
    options = {"chunking": True} if given.choice & 128 else {}
    converse(given, lambda: talk(SMTPTalk, "smtp://here/?tls=never", **options), given.among(SMTP_TALKS))


IMAP_BEGIN = (
    b"* PREAUTH [CAPABILITY IMAP4REV1 UIDPLUS MOVE LITERAL+ NAMESPACE ID IDLE UNSELECT LIST-STATUS BINARY SORT] hi\r\n"
)
IMAP_IN = (
    b"* 2 EXISTS\r\n* FLAGS (\\Seen)\r\n* OK [UIDVALIDITY 7] x\r\n* OK [PERMANENTFLAGS (\\Seen \\*)] y\r\nA1 "
    b"OK [READ-ONLY] in\r\n"
)
ENVELOPE = (
    b'ENVELOPE ("Sat, 21 Nov 2026 10:00:00 +0000" "=?utf-8?q?x=C3=A9?=" (("A" NIL "a" "b.example")) NIL NIL '
    b'NIL NIL NIL "<1@x>" "<2@x>")'
)
STRUCTURE = (
    b'BODYSTRUCTURE (("TEXT" "PLAIN" ("CHARSET" "utf-8") NIL NIL "7BIT" 5 1 NIL NIL NIL)("APPLICATION" "PDF" '
    b'("NAME" "x.pdf")'
    b' NIL NIL "BASE64" 90 NIL ("ATTACHMENT" ("FILENAME*" "utf-8\'\'%c3%a9.pdf")) NIL) "MIXED" ("BOUNDARY" "b"))'
)
IMAP_TALKS = (
    lambda t: [t.list.steps("INBOX"), t.get.steps("5")],
    lambda t: [t.mailboxes.steps(), t.status.steps("INBOX"), t.namespaces.steps(), t.id.steps()],
    lambda t: [
        t.examine.steps("INBOX"),
        t.fetch.steps("1:*", ("BODYSTRUCTURE", "ENVELOPE")),
        t.search.steps(unseen=True),
    ],
    lambda t: [t.select.steps("INBOX"), t.messages.steps("1:*"), t.part.steps(5, "2"), t.copy.steps("5", "x")],
    lambda t: [t.list.steps("x"), t.put.steps("x", b"a: b\r\n\r\n"), t.idle.steps(0.1), t.expunge.steps("5")],
)


@target(
    seed(IMAP_BEGIN + IMAP_IN + b'* 1 FETCH (UID 5 RFC822.SIZE 9 FLAGS (\\Seen) INTERNALDATE "21-Nov-2026 10:00:00 '
                                b'+0000" ' + ENVELOPE
         + b")\r\nA2 OK x\r\n* 1 FETCH (UID 5 BODY[] {5}\r\nhello)\r\nA3 OK x\r\n* BYE\r\nA4 OK\r\n"),
    seed(IMAP_BEGIN + b'* LIST (\\HasChildren \\Sent) "/" "a&AOk-"\r\n* STATUS "a&AOk-" (MESSAGES 1 UNSEEN 0 '
                      b'UIDNEXT 3 UIDVALIDITY 7)\r\nA1 OK\r\n'
         b'* STATUS INBOX (MESSAGES 1 SIZE 99)\r\nA2 OK\r\n* NAMESPACE (("" "/")) NIL (("#x" NIL))\r\nA3 OK\r\n* ID '
         b'("name" "x")\r\nA4 OK\r\n', 1, 0x71),
    seed(IMAP_BEGIN + IMAP_IN + b"* 1 FETCH (UID 5 " + STRUCTURE + b" " + ENVELOPE
        + b")\r\nA2 OK\r\n* SEARCH 5 6\r\nA3 OK\r\n", 2, 0x19),
    seed(IMAP_BEGIN + IMAP_IN + b"* 1 FETCH (UID 5 BODY[] {3}\r\nabc FLAGS ())\r\nA2 OK\r\n* 1 FETCH (UID 5 "
        + STRUCTURE + b")\r\nA3 OK\r\n"
         b"* 1 FETCH (UID 5 BINARY[2] ~{3}\r\nabc)\r\nA4 OK\r\nA5 OK [COPYUID 7 5 9] done\r\n", 3),
    seed(IMAP_BEGIN + b'A1 NO [NONEXISTENT] x\r\n* LIST (\\Noselect) "/" x\r\nA2 OK\r\nA3 OK\r\n+ go\r\nA4 OK '
                      b'[APPENDUID 7 9]\r\n+ idling\r\n* 3 EXISTS\r\n', 4, 0x62),
    seed(b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN AUTH=CRAM-MD5 SASL-IR] hi\r\n+ PDEuMkBoZXJlPg==\r\nA1 OK [ALERT] "
         b"in\r\n* CAPABILITY IMAP4rev1\r\nA2 OK\r\n"),
    words=(b"* ", b"A1 OK ", b"A2 OK\r\n", b"A3 NO [", b"+ ", b"{3}\r\n", b"~{3}\r\n", b" FETCH (", b"UID ",
        b"BODY[]", b"BODY[1]<0>", b"NIL", b"\\Seen", b"EXISTS",
           b"EXPUNGE", b"* BYE ", b"ENVELOPE (", b"BODYSTRUCTURE (", b"* LIST (", b"* STATUS ", b"* SEARCH ",
           b"[COPYUID ", b"[UIDNEXT ", b"&AOk-"),
)  # fmt: skip
def imap(given: Given) -> None:
    begin = given.among(IMAP_TALKS)
    idles = begin is IMAP_TALKS[-1]  # for a time, so it depends on the time what it hears
    converse(given, lambda: talk(IMAPTalk, "imap://user@here/INBOX?tls=never"), begin, alike=not idles)


@target(
    seed(b"* 1 FETCH (UID 5 " + STRUCTURE + b" " + ENVELOPE + b" FLAGS (\\Seen) MODSEQ (12))"),
    seed(b"* 1 FETCH (BODY[HEADER.FIELDS (FROM)] {12}\r\nFrom: a@b\r\n\r\n X-GM-LABELS (a {1}\r\nb) PREVIEW NIL)"),
    seed(b'* LIST (\\Marked) "/" "a\\"b&ZeVnLIqe-"'), seed(b"* OK [UIDNEXT 5] x"),
    seed(b"* 1 FETCH (" + b"(" * 99 + b")" * 100),
    words=(b"(", b")", b'"', b'\\"', b"{1}\r\n", b"NIL", b"ENVELOPE (", b"BODYSTRUCTURE (", b"INTERNALDATE ",
        b'"21-Nov-2026 10:00:00 +0000"', b"&-", b"&AOk-",
           b"BODY[1.MIME]", b"<0>", b"FLAGS", b"RFC822.SIZE 4294967295", b"MESSAGE\" \"RFC822", b"FILENAME*0*",
           b"utf-8''%e9", b"=?utf-8?b?4pyT?=", b"=?utf-7?q?+2AA-?="),
    raises=(ProtocolError,),
)  # fmt: skip
def imap_responses(given: Given) -> None:
    """One response, cut into its parts as the session does, and what it says of a message."""
    parts: list[bytes] = []
    rest = given.data
    while True:
        line, newline, rest = rest.partition(b"\r\n")
        size = announced(line, first=not parts) if newline else None
        parts.append(line)
        if size is None:
            break
        parts.append(rest[:size])
        rest = rest[size:]
    response: Any = parse(parts)
    if isinstance(response, Data):
        message = read_message(response.number, response.values)
        message.entry()
        for name in response.values:
            decoded_name(name if isinstance(name, bytes) else b"", bool(given.choice & 1))


@target(
    seed(b"=?utf-8?q?caf=C3=A9?= and =?iso-8859-1?b?6Q==?="), seed(b"=?utf-7?q?+2AA-?="),
    seed(b"../../etc/passwd", 1),
    seed(b"PDEuMkBoZXJlPg==\nPDEuMkBoZXJlPg==", 2), seed(b"Zm9v\n\nAA==", 12),
    words=(b"=?", b"?=", b"?q?", b"?b?", b"utf-8", b"utf-7", b"unknown-8bit", b"idna", b"punycode", b"*en?"),
    raises=(ProtocolError,),
)  # fmt: skip
def mail_texts(given: Given) -> None:
    """Encoded words, names of files, and the challenges of a login: what others have written."""
    text = given.data.decode(errors="surrogateescape")
    if given.choice < 2:
        decoded_words(text).encode(errors="surrogateescape")
        name = file_name(text)
        must(0 < len(name) <= 100 and "/" not in name and name not in (".", ".."), "an unsafe name:", name)
        return
    answers = Answers(MECHANISMS[given.choice % len(MECHANISMS)], Login("user", "pass"), "here")
    answers.initial(given.cut)
    for challenge in text.split("\n"):
        answers.to(challenge).encode("ascii")
