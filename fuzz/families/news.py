"""Servers of news, files, menus and terminals, as clients hear them: NNTP, FTP, Gopher, telnet (prise/protocols)."""

from __future__ import annotations

import re
import zlib
from datetime import UTC, datetime

from fuzz.server import LINK, converse, talk
from fuzz.target import LONGEST, Given, alike, must, seed, target
from prise.errors import FrameError, MessageTooLarge, ProtocolError
from prise.protocols.ftp import FTPTalk
from prise.protocols.ftp.listing import Lines, read_entries, read_facts, read_line
from prise.protocols.gopher.session import GopherTalk
from prise.protocols.nntp import yenc
from prise.protocols.nntp.compression import Deflate, InflatingReader
from prise.protocols.nntp.verbs import NNTPTalk
from prise.protocols.steps import Steps
from prise.protocols.telnet.session import TelnetTalk
from prise.protocols.telnet.terminal import Terminal

NOW = datetime(2026, 11, 21, tzinfo=UTC)

NNTP_BEGIN = b"200 here\r\n101 can\r\nVERSION 2\r\nREADER\r\nPOST\r\nOVER MSGID\r\nHDR\r\nLIST ACTIVE\r\n.\r\n"
NNTP_TALKS = (
    lambda t: [t.list.steps("comp.*"), t.groups.steps(), t.counts.steps(), t.times.steps(), t.date.steps()],
    lambda t: [t.group.steps("a.b"), t.list.steps("a.b", 5), t.over.steps((1, 5)), t.hdr.steps("Subject", "1-5")],
    lambda t: [t.get.steps("a.b/5"), t.stat.steps("<1@x>"), t.next.steps(), t.articles.steps([1, 2]), t.body.steps(3)],
    lambda t: [
        t.file.steps([1, 2]),
        t.post.steps(b"From: a@b\r\nNewsgroups: a.b\r\nSubject: x\r\n\r\n.\r\n"),
        t.numbers.steps("a.b"),
        t.help.steps(),
    ],
    lambda t: [t.descriptions.steps(), t.moderators.steps(), t.overview_format.steps(), t.new_news.steps("*", NOW)],
)
YENC = b"=ybegin line=128 size=3 name=a.txt\r\n\x8b\x8c\x8d\r\n=yend size=3 crc32=352441c2\r\n"


@target(
    seed(NNTP_BEGIN + b"215 list\r\na.b 5 1 y\r\n.\r\n215 d\r\na.b\tabout\r\n.\r\n215\r\na.b 5 1 y\r\n.\r\n215\r\n"
                      b"a.b 5 1 5 y\r\n.\r\n"
         b"215\r\na.b 1700000000 ada@x\r\n.\r\n111 20261121100000\r\n205 bye\r\n", 0, 0x33),
    seed(NNTP_BEGIN + b"211 5 1 5 a.b\r\n211 5 1 5 a.b\r\n224 ok\r\n1\t=?utf-8?q?x?=\tada <a@b>\tSat, 21 Nov 2026 "
                      b"10:00:00 +0000\t<1@x>\t<0@x>\t99\t3\tXref: h a.b:1\r\n.\r\n"
         b"224\r\n.\r\n225\r\n1 hello\r\n.\r\n", 1, 0x52),
    seed(NNTP_BEGIN + b"211 5 1 5 a.b\r\n220 5 <5@x>\r\nSubject: x\r\n\r\n..dot\r\n.\r\n223 0 <1@x>\r\n421 no\r\n"
                      b"220 1 <1@x>\r\na: b\r\n\r\n.\r\n430\r\n222 3 <3@x>\r\n.\r\n", 2, 0x15),
    seed(NNTP_BEGIN + b"222 1 <1@x>\r\n" + YENC
        + b".\r\n430 no\r\n340 send\r\n240 <9@x>\r\n211 3 1 3 a.b\r\n1\r\n2\r\n.\r\n100 h\r\nx\r\n.\r\n", 3, 0x26),
    seed(b"201 no posting\r\n500 what\r\n502 no\r\n", 4),
    seed(b"200 a\r\n480 who\r\n480 x\r\n381 more\r\n281 in\r\n101\r\nREADER\r\n.\r\n215\r\nx y\r\n.\r\n", 4),
    seed(b"211 5 1 5 a.b\r\n224 ok\r\n1\tx\ty\t\t\t\t\t\r\n.\r\n", 131, 0x21), seed(b"\2\0\0\0\xff\xff", 193),
    words=(b"\r\n.\r\n", b"200 ", b"211 5 1 5 a.b\r\n", b"215 ", b"224 ", b"220 1 <1@x>\r\n",
        b"=ybegin line=128 size=", b"=ypart begin=1 end=", b"=yend size=", b" pcrc32=",
           b"480 ", b"281 ", b"383 ", b"SASL PLAIN", b"\r\n..", b"COMPRESS DEFLATE"),
)  # fmt: skip
def nntp(given: Given) -> None:
    """choice: from 128 on all is compressed (by us, so that the fuzzer need not); from 192 on it is the fuzzer's that is."""
    kind, data = NNTPTalk, given.data
    if given.choice >= 128:
        kind = Compressed
        data = data if given.choice >= 192 else packed(data)
    converse(
        Given(data, given.choice, given.cut),
        lambda: talk(kind, "nntp://here/a.b?tls=never"),
        given.among(NNTP_TALKS),
        # The length is that of what was not packed; and zlib gives nothing of what stands before a fault.
        alike=len(given.data) <= LONGEST and given.choice < 192,
    )


class Compressed(NNTPTalk):
    """A talk from the agreement to compress on."""

    def hello(self) -> Steps[None]:
        self.capabilities = {"READER": [], "OVER": [], "HDR": []}
        self._deflate, self.reader, self.compressed = Deflate(), InflatingReader(), True
        return
        yield


def packed(data: bytes) -> bytes:
    """As a server that compresses sends it."""
    compress = zlib.compressobj(wbits=-15)
    return compress.compress(data) + compress.flush(zlib.Z_SYNC_FLUSH)


@target(
    seed(b"Subject: x\r\n\r\n" + YENC, 0, 0x44),
    seed(b"=ybegin part=1 total=1 line=128 size=3 name=a\r\n=ypart begin=1 end=3\r\n\x8b\x8c=\xcd\r\n=yend size=3 "
         b"pcrc32=1\r\n"),
    words=(b"=ybegin ", b"=ypart ", b"=yend ", b"size=3", b"line=128 ", b" name=", b"part=1 ", b"total=2",
        b"begin=1 ", b"end=3", b"crc32=", b"=}", b"=\r\n"),
)  # fmt: skip
def yenc_files(given: Given) -> None:
    def read(pieces: list[bytes]) -> tuple[bytes, str | None]:
        decoder = yenc.Decoder()
        data = b"".join(map(decoder.feed, pieces))
        decoder.finish()
        return data, decoder.name

    whole = alike(given, read, FrameError)
    if isinstance(whole, tuple):
        must(len(whole[0]) <= len(given.data) and "/" not in str(whole[1]), "more comes out than went in:", whole)


FTP_BEGIN = (
    b"220 here\r\n331 pw\r\n230 in\r\n211-can\r\n MLST type*;size*;modify*;\r\n REST STREAM\r\n SIZE\r\n "
    b"MDTM\r\n211 end\r\n200 I\r\n"
)
UNIX = (
    b"total 1\r\ndrwxr-xr-x 2 ada users 4096 Nov 21 10:00 a\r\n-rw-r--r-- 1 0 0 12 Jan  1  2020 b c\r\n"
    b"lrwxrwxrwx 1 a b 3 Feb 29 12:00 l -> a\r\n"
)
DOS = b"11-21-26  10:00AM       <DIR>          a\r\n11-21-2026  10:00PM  1,234 b.txt\r\n"
MLSD = b"type=cdir;; .\r\ntype=file;size=3;modify=20261121100000.5;UNIX.mode=0644; a\r\ntype=OS.unix=slink:/x; b\r\n"
FTP_TALKS = (
    lambda t: [t.list.steps()], lambda t: [t.get.steps("a")], lambda t: [t.get.steps("a", 3)],
    lambda t: [t.put.steps("a", b"hello")],
    lambda t: [t.pwd.steps(), t.cwd.steps("a"), t.size.steps("b"), t.modified.steps("b"), t.stat.steps("c"),
        t.exists.steps("d")],
    lambda t: [t.make_folder.steps("a/b", parents=True), t.rename.steps("a", "b"), t.remove.steps("b"),
        t.site.steps("HELP")],
)  # fmt: skip


@target(
    seed(FTP_BEGIN + b'257 "/" here\r\n229 ok (|||5000|)\r\n150 go\r\n226 done\r\n221 bye\r\n' + LINK + MLSD, 0,
        0x63),
    seed(b"220 here\r\n230 in\r\n500 no\r\n200 I\r\n500 no\r\n227 ok (127,0,0,1,19,136)\r\n150\r\n226\r\n" + LINK
        + UNIX, 0, 0x31),
    seed(FTP_BEGIN + b"213 5\r\n229 (|||5000|)\r\n150 go\r\n226 done\r\n" + LINK + b"hello", 1, 0x12),
    seed(FTP_BEGIN + b"229 (|||5|)\r\n350\r\n150\r\n226\r\n" + LINK + b"lo", 2),
    seed(FTP_BEGIN + b"229 (|||5|)\r\n150\r\n226\r\n" + LINK, 3),
    seed(FTP_BEGIN + b'257 "/a ""b"" c"\r\n250\r\n213 5\r\n213 20261121100000\r\n250-x\r\n type=dir; c\r\n250 y\r\n'
                     b'550 no\r\n', 4),
    seed(FTP_BEGIN + b"257\r\n550 exists\r\n350\r\n250\r\n250\r\n214-a\r\nb\r\n214 c\r\n421 bye\r\n", 5),
    words=(LINK, b"150 ", b"226 ", b"229 x (|||5000|)", b"227 (127,0,0,1,1,1)", b"257 \"", b"213 ", b"211-", b"211 ",
        b"421 ", b"550 ", b"350 ", b"type=file;", b"modify=2026", b"\xff\xf2"),
)  # fmt: skip
def ftp(given: Given) -> None:
    active = bool(given.choice & 128)
    # What the server says while data comes, and behind it, is looked at when it comes.
    converse(
        given, lambda: talk(FTPTalk, "ftp://user@here/?tls=never", active=active), given.among(FTP_TALKS), alike=False
    )


@target(
    seed(UNIX, 0, 0x33), seed(DOS, 0, 0x71), seed(MLSD, 1, 0x22),
    seed(b"type=file;size=99999999999999999999;modify=99999999999999; x", 1),
    words=(b"-rw-r--r-- 1 a b ", b"drwxrwxr-x", b" Feb 29 00:00 ", b" -> ", b"<DIR>", b"AM", b"2026-11-21 10:00 ",
        b"type=", b"size=", b"modify=", b"OS.unix=slink:", b"; "),
    raises=(MessageTooLarge,),
)  # fmt: skip
def ftp_listings(given: Given) -> None:
    def lines(pieces: list[bytes]) -> list[str]:
        cut = Lines()
        return [line for piece in pieces for line in cut.feed(piece)] + cut.end()

    found = lines([given.data])
    must(found == lines(list(given.pieces())), "lines depend on how bytes arrive:", found)
    if given.choice & 1:
        for entry in read_entries(found):
            must(bool(entry.name) and (entry.size is None or entry.size >= 0), "no entry:", entry)
        return
    for line in found:
        read_facts(line)
        seen = read_line(line, NOW)
        must(
            seen is None or ((seen.size is None or seen.size >= 0) and seen.name not in (".", "..")), "no entry:", seen
        )


MENU = (
    b"iHello\tx\tnull\t0\r\n1About\t/about\there\t70\r\n0T\t/t.txt\telsewhere\t7070\t+\r\n"
    b"hWeb\tURL:http://x/\th\t1\r\n.\r\n"
)
GOPHER_TALKS = (
    ("gopher://here/", lambda t: [t.list.steps(), t.list.steps("1/a"), t.search.steps("7/s", "a b")]),
    ("gopher://here/0/a.txt", lambda t: [t.get.steps(), t.get.steps("9/b")]),
    ("gopher://here/1/a%09%09+", lambda t: [t.list.steps(), t.attributes.steps("1/a"),
        t.all_attributes.steps("1/b")]), ("gopher://here/0/a%09%09+", lambda t: [t.get.steps()]),
)  # fmt: skip


@target(
    seed(MENU + LINK + b"3not found\t\terror.host\t1\r\n" + LINK + MENU, 0, 0x71),
    seed(b"hello\r\n..x\r\n.\r\n" + LINK + b"\0\1", 1, 0x12), seed(b"3' /a' does not exist!\t\te\t1\r\n", 1),
    seed(b"+-1\r\n" + MENU + LINK + b"+-2\r\n+INFO: 1a\t/a\th\t70\r\n+ADMIN:\r\n Admin: Ada\r\n+VIEWS:\r\n "
                                    b"text/plain: <1k>\r\n" + LINK + b"--1\r\n1 Ada <a@b>\r\nno\r\n", 2),
    seed(b"+5\r\nhello", 3, 0x11), seed(b"+-1\r\nhello\r\n.\r\n", 131),
    words=(LINK, b"\t", b"\r\n.\r\n", b"+-1\r\n", b"+-2\r\n", b"--1\r\n", b"+INFO: ", b"URL:", b"null.host", b"3"),
)  # fmt: skip
def gopher(given: Given) -> None:
    url, begin = given.among(GOPHER_TALKS)
    # Whether an answer is an error is decided by its first read: the pieces count.
    converse(given, lambda: talk(GopherTalk, url, dots=bool(given.choice & 128)), begin, alike=False)


TELNET_TALKS = (
    lambda t: [t.get.steps()], lambda t: [t.expect.steps(["login:", re.compile(r"[$>] ?\Z")]),
        t.read_until.steps("x")], lambda t: [t.log_in.steps(), t.receive.steps(1.0)],
)  # fmt: skip
ENCODINGS = ("utf-8", "latin-1", "cp437", "shift-jis", "utf-16")


@target(
    seed("\xff\xfd\x18\xff\xfb\x01héllo\r\0\r\n".encode("latin-1"), 0, 0x11),
    seed(b"\xff\xfb\3\xff\xfb\1login: \xff\xf9Password: \r\nyou@here$ ", 2, 0x53),
    seed(b"\xff\xfa\x18\1\xff\xf0\xff\xfd\x1f\xff\xfa\x27\1\0USER\3X\xff\xf0\xff\xfd\x27a$ x", 1, 0x21),
    words=(b"\xff\xfa", b"\xff\xf0", b"\xff\xfd\x18", b"\xff\xfd\x1f", b"\xff\xfd\x27", b"\xff\xfb\x01", b"\xff\xfe",
        b"\xff\xff", b"login: ", b"Password: ", b"$ ", b"Login incorrect", b"\x18\1"),
)  # fmt: skip
def telnet(given: Given) -> None:
    encoding = ENCODINGS[given.choice >> 4 & 7 if given.choice >> 4 & 7 < len(ENCODINGS) else 0]
    converse(
        given,
        lambda: talk(TelnetTalk, "telnet://here/?tls=never", encoding=encoding),
        given.among(TELNET_TALKS),
        alike=False,
    )

    def heard(pieces: list[bytes]) -> tuple[bytes, bytes]:
        terminal = Terminal(user="ada")
        text = b"".join(map(terminal.receive, pieces))
        return text, terminal.output()

    alike(given, heard, ProtocolError)
