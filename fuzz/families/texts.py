"""Texts that come from elsewhere: addresses, URLs, messages of mail and news, pages in HTML, figures of a server."""

from __future__ import annotations

import os
import re

from fuzz.target import LONGEST, Given, must, seed, target
from prise.address import Address
from prise.errors import AddressError, UsageError
from prise.framing.names import framing_of
from prise.observe.scrape import Sample
from prise.protocols.gopher.menu import place_of
from prise.protocols.imap.place import read_name, read_place
from prise.protocols.nntp.data import Place
from prise.protocols.target import Target, decoded
from prise.reader import mail
from prise.reader.markup import text_of
from prise.reader.rows import fitted, letter_rows, shown, text_rows, wrapped


@target(
    *(seed(text) for text in (b"localhost:50000", b"*:80", b"[::1%eth0]:80", b"unix,mode=600:/run/x",
        b"tls,ca=ca.pem,pin=" + b"a" * 64 + b":h:443", b"ws://h/chat?x", b"udp,group=239.1.2.3:*:5",
                              b"exec:cat -n", b"fd:3", b"vsock:host:1024", b"serial,speed=9600:/dev/tty", b"unix:@x",
                              b"tcp,proxy-from=10.0.0.0/8+[::1]:h:1")),
    words=(b"tcp:", b"unix:", b"tls,", b"ws://", b"udp,", b"exec:", b"vsock:", b"systemd:", b"[::1]", b"%eth0",
        b",family=AF_INET6", b",mode=", b"=[", b"]", b"*:", b"proxy-from=", b"self-signed"),
    raises=(AddressError,),
)  # fmt: skip
def addresses(given: Given) -> None:
    if len(given.data) > LONGEST:
        return  # nobody has bounded what a caller may ask for, and the error quotes it
    address = Address.parse(given.data.decode(errors="surrogateescape"))
    must(Address.parse(str(address)) == address, "does not come back:", address, str(address))


@target(
    *(seed(text, number) for number, text in enumerate((
        b"imap://ada;AUTH=*@h/INBOX;UIDVALIDITY=7/;UID=5/;SECTION=1.2/;PARTIAL=0.9", b"nntps://h/comp.lang.python/5",
        b"gopher://h/7/s%09words%09+", b"ftp://u:p@h/a%20b;type=i?tls=never",
                                                       b"news:<1@x>", b"http://[::1%25eth0]:80/?a#b",
                                                       b"smtp://h/ada@x,b@y", b"lines | json"))),
    words=(b"imap://", b"gopher://", b"ftp://", b";UID=", b";SECTION=", b";PARTIAL=", b"%0d%0a", b"%00",
        b"?tls=required", b"@", b"delimited:\\x00", b"prefixed:4,little | msgpack", b"fixed:"),
    raises=(AddressError, UsageError),
)  # fmt: skip
def urls(given: Given) -> None:
    """URLs, with what each protocol makes of their places; names of framings."""
    text = given.data.decode(errors="surrogateescape")
    if given.choice & 128:
        framing_of(text)
        return
    os.environ["NNTPSERVER"] = "news.example.org"
    wanted = Target.parse(text)
    must(not re.search("[\r\n\0]", wanted.host + (wanted.user or "")), "a command of its own:", wanted)
    if (
        wanted.password
        and len(wanted.password) > 8
        and wanted.password not in f"{wanted.user}{wanted.host}{wanted.place}{wanted.scheme}"
    ):
        must(wanted.password not in str(wanted), "a password is shown:", wanted)
    if wanted.protocol == "imap":
        read_place(wanted.place)
        read_name(wanted.place)
    elif wanted.protocol == "gopher":
        must(not re.search(b"[\r\n\0]", place_of(wanted).request), "a request of its own:", wanted)
    else:
        Place.read(decoded(wanted.place, "surrogateescape"))


LETTER = (
    b"From: =?utf-8?q?Ada?= <a@b.example>\r\nSubject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; "
    b"boundary=b\r\n\r\n--b\r\nContent-Type: text/html; charset=iso-8859-1\r\n\r\n<p>caf\xe9</p>\r\n"
    b"--b\r\nContent-Type: application/pdf; name*=utf-8''%c3%a9.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    b"AAAA\r\n--b--\r\n"
)


@target(
    seed(LETTER), seed(b"no header at all"), seed(LETTER.replace(b"multipart/mixed", b"multipart/alternative")),
    seed(b"Content-Type: message/rfc822\r\n\r\n" + LETTER),
    words=(b"Content-Type: ", b"multipart/mixed; boundary=b", b"--b\r\n", b"--b--", b"text/html; charset=utf-7",
        b"message/rfc822", b"base64", b"quoted-printable", b"filename*0*=", b"=?utf-8?b?", b"?=", b"x-uuencode",
        b"message/delivery-status"),
)  # fmt: skip
def letters(given: Given) -> None:
    """A message for a person, up to the rows of a screen: it never raises, and moves nobody's cursor."""
    letter = mail.read(given.data)
    rows = [*letter_rows(letter, full=bool(given.choice & 1)), *text_rows(letter.text)]
    for row in wrapped(rows, 10 + given.cut):
        must(
            not re.search(
                "[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]", row.text if hasattr(row, "text") else str(row[0])
            ),
            "a control character:",
            row,
        )
    for attachment in letter.attachments:
        shown(attachment.name).encode()
        fitted(attachment.name, given.cut)


@target(
    seed(b'<p>one <b>two</b><br>three<ul><li>a<li><a href="http://x/">b</a></ul><pre>x\n '
         b'y</pre><blockquote>q</blockquote>&amp;&#233;<img alt="i">'),
         seed(b"a < b <!-- c --> <script>x</script> <title>t"),
    words=(b"<!--", b"-->", b"<script>", b"</script>", b"<pre>", b"</pre>", b"<blockquote>", b"<ol>", b"<li>",
        b'<a href="', b"&#x110000;", b"&#xd800;", b"&amp;", b"<br>", b"<", b">"),
)  # fmt: skip
def markup(given: Given) -> None:
    text_of(given.data.decode("latin-1")).encode(errors="strict")


FIGURES = (
    b'# TYPE prise_connections gauge\nprise_connections 3\nprise_process_cpu_seconds_total{process="worker '
    b'1"} 1.5\nprise_info{version="1",model="select\\n"} 1\nx NaN\n'
)


@target(
    seed(FIGURES), words=(b"prise_info{", b'version="', b'"} 1', b"\\n", b"\\\\", b"prise_process_", b"_total",
        b" 1e999", b" NaN", b" +Inf"),
)  # fmt: skip
def figures(given: Given) -> None:
    """What `prise top` reads from a server."""
    sample = Sample(given.data.decode(errors="replace"), 1.0)
    for name, labelled in sample.values.items():
        sample.count(name)
        for labels, value in labelled.items():
            must(value - value == 0, "no number:", value)
            for label, _ in labels:
                sample.by(label, name)
    sample.since(Sample(FIGURES.decode(), 0.5))
    must(isinstance(sample.info, dict) and isinstance(sample.processes, list), "nothing")
