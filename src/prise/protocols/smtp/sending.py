"""`SMTPTalk`: sends messages. Each is one transaction (RFC 5321 §3.3): MAIL, RCPT for each recipient, DATA or BDAT, the message.

Where the server has PIPELINING (RFC 2920) the commands go out in one write, and the answers are read afterwards: one round trip
for all recipients. DATA is among them; where it then turns out that nobody is to get the message, an empty one ends it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from email.message import Message
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from prise.errors import ConnectionLost, PriseError, Refused, TooSlow, Unsupported, UsageError
from prise.protocols.entry import Entry
from prise.protocols.reply import Reply, read_reply
from prise.protocols.session import content, procedure, streaming
from prise.protocols.smtp.delivery import Delivery, RecipientsRefused, Sent
from prise.protocols.smtp.dialog import Dialog
from prise.protocols.smtp.envelope import Addresses, Envelope, Notices, checked, envelope_of
from prise.protocols.smtp.outgoing import Outgoing, readable
from prise.protocols.source import Data
from prise.protocols.steps import Flow, Steps
from prise.protocols.talk import cleaned
from prise.protocols.target import decoded

GROUP = 100
"""Commands in one write. Their answers must fit into what the network holds while nobody reads them."""

NO_SUCH_ADDRESS = (550, 551, 553)
"""What VRFY is answered for an address that is not there (RFC 5321 §3.5.3); others are a no to the question."""

Progress = Callable[[int], object]
"""Told of so many further bytes of the message that were sent."""


class SMTPTalk(Dialog):
    """Options of `prise.open`: mechanism, the way to log in ("PLAIN", "CRAM-MD5"...); name, who we say we are (by default our
    address); chunking, True to send by BDAT wherever the server can, not only what is binary."""

    _unfinished = False  # a transaction was begun and came to nothing: the next one begins with RSET

    @procedure
    def send(
        self,
        message: Data | Message,
        sender: str | None = None,
        recipients: Addresses | None = None,
        *,
        notify: str | Iterable[str] | None = None,
        ret: Literal["full", "headers"] | None = None,
        envid: str | None = None,
        orcpt: Mapping[str, str] | None = None,
        progress: Progress | None = None,
    ) -> Steps[Delivery]:
        """Sends one message, and says for whom the server took it.

        message: bytes, text, a path, an open file, an iterable of bytes, or a message of `email`. Its Bcc headers are left out.
        sender, recipients: by default what the header says. sender "": nobody is told if it cannot be delivered.
        notify, ret, envid, orcpt: what the sender is to be told about the delivery (RFC 3461): "never", or some of "success",
        "failure", "delay"; "full" or "headers"; a word of ours; address -> the one meant at first.

        Raises RecipientsRefused when nobody was accepted, Refused when the message was not, or when it needs what the server
        does not offer (then nothing was sent). When the connection breaks behind the last byte, the error says that the message
        may have arrived: sent again, it may be there twice.
        """
        notices = Notices.wanted(notify, ret, envid, orcpt)
        outgoing = Outgoing(message, "8BITMIME" in self.extensions)
        envelope = envelope_of(outgoing.fields, sender, recipients, self._usual_sender())
        parameters = self._parameters(outgoing, envelope, notices)
        by_chunks = outgoing.binary or (bool(self.options.more.get("chunking")) and "CHUNKING" in self.extensions)
        if self._unfinished:
            yield from self._command("RSET")
        self._unfinished = True
        accepted, refused = yield from self._announce(envelope, parameters, notices, by_chunks)
        final = yield from (self._chunks if by_chunks else self._data)(outgoing, progress or (lambda count: None))
        self._unfinished = False
        return Delivery(envelope.sender, accepted, refused, str(final.code), cleaned(final.text.strip()))

    @procedure
    def send_folder(
        self,
        folder: str | PathLike[str],
        sender: str | None = None,
        recipients: Addresses | None = None,
        report: Callable[[Sent], object] | None = None,
    ) -> Steps[tuple[Sent, ...]]:
        """Sends every file *.eml of a folder, in the order of their names, and says of each what became of it. One that is
        refused, is no message or cannot be read does not stop the others; a connection that breaks does.

        report: called with each as soon as it is known.
        """
        if not Path(folder).is_dir():
            raise UsageError("there is no folder {path}", path=folder)
        everything: list[Sent] = []
        for path in sorted(Path(folder).glob("*.eml")):
            try:
                readable(path)
                sent = Sent(path, (yield from self.send.steps(path, sender, recipients)))
            except (Refused, UsageError) as error:
                sent = Sent(path, error=error)
            everything.append(sent)
            if report is not None:
                report(sent)
        return tuple(everything)

    @procedure
    def put(self, name: str | None, data: Data) -> Steps[Delivery]:
        """Sends a message to the addresses in `name`, with commas between; None: to those in the URL
        (smtp://host/ada@example.org,ben@example.org), or, where there are none, to those of its header.

        Raises RecipientsRefused when some were refused: the others get it all the same.
        """
        place = decoded(self.target.place) if name is None else name
        delivery = yield from self.send.steps(data, None, place or None)
        if delivery.refused:
            raise RecipientsRefused(
                "the message was taken for {count} others, but not for {address}: {code} {words}",
                refused=delivery.refused,
                accepted=delivery.accepted,
                count=len(delivery.accepted),
                peer=self.target,
            )
        return delivery

    @content
    def get(self, name: str | None = None) -> Steps[Flow[bytes]]:
        """SMTP cannot: raises Unsupported."""
        raise Unsupported("SMTP only sends: mail is fetched by pop3: or imap:")
        yield

    @streaming
    def list(self, name: str | None = None) -> Steps[Flow[Entry]]:
        """SMTP cannot: raises Unsupported."""
        raise Unsupported("SMTP only sends: a mailbox is listed by pop3: or imap:")
        yield

    @procedure
    def verify(self, address: str) -> Steps[str]:
        """What the server says of an address (VRFY); many say nothing of use. Raises NotFound, and Refused for a no to the
        question."""
        return cleaned((yield from self._command(f"VRFY {checked(address)}", missing=NO_SUCH_ADDRESS)).text)

    @procedure
    def help(self, topic: str = "") -> Steps[str]:
        """The server's help text."""
        return cleaned((yield from self._command(f"HELP {topic}".rstrip())).text)

    @procedure
    def noop(self) -> Steps[None]:
        """Shows the server that we are still here."""
        yield from self._command("NOOP")

    @procedure
    def reset(self) -> Steps[None]:
        """Has the server forget what was begun (RSET); `send` does so by itself."""
        yield from self._command("RSET")

    # -- before anything is sent ---------------------------------------------------------------------------------------

    def _usual_sender(self) -> str | None:
        user = self.options.credentials.user or self.target.user
        return user if user is not None and "@" in user else None

    def _parameters(self, outgoing: Outgoing, envelope: Envelope, notices: Notices) -> Sequence[str]:
        """What MAIL is to say besides the address. Raises Refused for what this server cannot take."""
        offered = self.extensions
        said = notices.for_sender()
        if "SIZE" in offered:
            most = offered["SIZE"][0] if offered["SIZE"] else ""
            if most.isdecimal() and 0 < int(most[:20]) < outgoing.size:
                raise self._cannot(
                    "the message has {size} bytes, and the server takes at most {limit}", size=outgoing.size, limit=most
                )
            said.append(f"SIZE={outgoing.size}")
        if outgoing.binary:
            if not {"BINARYMIME", "CHUNKING"} <= offered.keys():
                raise self._cannot("the message is binary, or has NUL in it, and the server takes text only")
            said.append("BODY=BINARYMIME")
        elif not outgoing.ascii:
            if "8BITMIME" not in offered:
                raise self._cannot(
                    "the message has other bytes than ASCII, and the server does not take those: encode it in base64"
                )
            said.append("BODY=8BITMIME")
        if envelope.international is not None and "SMTPUTF8" not in offered:
            raise self._cannot(
                "the server takes addresses in ASCII only, not {address} (it lacks SMTPUTF8)",
                address=envelope.international,
            )
        if "SMTPUTF8" in offered and (envelope.international is not None or outgoing.international):
            said.append("SMTPUTF8")
        if notices.any and "DSN" not in offered:
            raise self._cannot("the server tells nobody about deliveries (it lacks DSN)")
        return said

    def _cannot(self, reason: str, **details: Any) -> Refused:
        return Refused(reason, operation="MAIL", peer=self.target, **details)

    # -- the transaction -----------------------------------------------------------------------------------------------

    def _announce(
        self, envelope: Envelope, parameters: Sequence[str], notices: Notices, by_chunks: bool
    ) -> Steps[tuple[tuple[str, ...], dict[str, Refused]]]:
        """From MAIL to the answer to DATA: who was accepted, at least one, and who was refused."""
        commands = [" ".join([f"MAIL FROM:<{envelope.sender}>", *parameters])]
        commands += [
            " ".join([f"RCPT TO:<{address}>", *notices.for_recipient(address)]) for address in envelope.recipients
        ]
        if not by_chunks:
            commands.append("DATA")
        step = GROUP if "PIPELINING" in self.extensions else 1
        said: list[Reply] = []
        count = len(envelope.recipients)
        for start in range(0, len(commands), step):
            if start == count + 1 and not any(reply.kind == 2 for reply in said[1:]):
                break  # nobody is to get it, so there is no need to ask for DATA
            group = commands[start : start + step]
            yield from self._say_all(group)
            for command in group:
                said.append((yield from self._answer(command.partition(" ")[0])))
            if said[0].kind != 2:
                break
        replies = dict(zip(envelope.recipients, said[1:], strict=False))
        accepted = tuple(address for address, reply in replies.items() if reply.kind == 2)
        go_on = said[-1] if len(said) == count + 2 else None
        nobody = said[0].kind != 2 or not accepted
        if nobody and go_on is not None and go_on.kind == 3:
            yield from self.say(".")  # RFC 2920 §3.1
            yield from self._answer("DATA")
        if said[0].kind != 2:
            raise self._refusal(said[0], "MAIL")
        refused = {address: self._refusal(reply, "RCPT") for address, reply in replies.items() if reply.kind != 2}
        if nobody:
            raise RecipientsRefused(refused=refused, operation="RCPT", peer=self.target)
        if go_on is not None and go_on.kind != 3:
            raise self._refusal(go_on, "DATA")
        return accepted, refused

    def _data(self, outgoing: Outgoing, progress: Progress) -> Steps[Reply]:
        self._note_size(outgoing)
        pieces = outgoing.dotted()
        # What is short goes out in one write, dot and all.
        held = next(pieces)
        for piece in pieces:
            if len(held) + len(piece) > 64 * 1024:
                yield from self._send(held, progress)
                held = piece
            else:
                held += piece
        yield from self._send(held, progress)
        return (yield from self._final())

    def _chunks(self, outgoing: Outgoing, progress: Progress) -> Steps[Reply]:
        self._note_size(outgoing)
        for chunk, is_last in outgoing.chunks():
            yield from self.say(f"BDAT {len(chunk)}{' LAST' if is_last else ''}")
            yield from self._send(chunk, progress)
            if is_last:
                break
            reply = yield from self._answer("BDAT")
            if reply.kind != 2:
                raise self._refusal(reply, "BDAT")
        return (yield from self._final())

    def _note_size(self, outgoing: Outgoing) -> None:
        if self._tracing:
            self.trace(">", f"(the message, {outgoing.size} bytes)")

    def _send(self, data: bytes, progress: Progress) -> Steps[None]:
        try:
            yield data
        except ConnectionLost as lost:
            # Who hangs up in the middle of a message has often said why.
            try:
                reply = yield from read_reply(self)
            except PriseError:
                raise lost from None
            raise ConnectionLost(
                "the server broke off in the middle of the message: {code} {words}",
                operation="DATA",
                peer=self.target,
                code=reply.code,
                words=cleaned(reply.text),
            ) from None
        progress(len(data))

    def _final(self) -> Steps[Reply]:
        """Whether the server takes the message upon itself."""
        try:
            reply = yield from self._answer("DATA")
        except (ConnectionLost, TooSlow) as error:
            if "words" in error.details:  # it says outright that it did not
                raise
            raise type(error)(
                "the server has the whole message and did not say whether it took it: sent again, it may arrive twice",
                operation="DATA",
                peer=self.target,
            ) from error
        if reply.kind != 2:
            raise self._refusal(reply, "DATA")
        return reply
