"""One SMTP or LMTP dialogue: aiosmtpd's protocol, answered synchronously from one buffer.

aiosmtpd pays for every connection with a walk over all its members (240 µs), for every MAIL and RCPT with the
standard library's header parser (110 µs), and for every line of DATA with an await. Here the members are not
walked, plain addresses are matched by an expression (anything else still goes to aiosmtpd's parser), commands
that came in one segment are answered in one, and DATA is taken by the buffer. STARTTLS is aiosmtpd's.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from channels.email.smtp_limits import SMALL, Envelope
from channels.email.smtp_wire import COMMAND_LIMIT, TOO_BIG, House, State, Wire

PATH_LIMIT = 512  # bytes; longest address given to the slow parser, twice RFC 5321 4.5.3.1.3
ERROR_LIMIT = 50  # refused commands between two mails
JUNK_LIMIT = 200  # commands between two mails that bring no mail: NOOP, RSET, EHLO …

# Addresses in the form nearly all have: <local@domain> of plain characters, then parameters.
_PATH = rb": *<((?:[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+@[A-Za-z0-9._-]+)?)>((?: [!-~]+)*) *"
MAIL_FROM = re.compile(rb"FROM" + _PATH, re.IGNORECASE)
RCPT_TO = re.compile(rb"TO" + _PATH, re.IGNORECASE)
ODD_CHARACTERS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029<>]")
WEB_VERBS = frozenset((b"GET", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"CONNECT"))

OK = b"250 2.0.0 Ok\r\n"
SENDER_OK = b"250 2.1.0 Ok\r\n"
RECIPIENT_OK = b"250 2.1.5 Ok\r\n"
LATER = b"451 4.3.0 Try again later\r\n"
RELAYING = b"550 5.7.1 Relaying denied\r\n"
NEED_HELLO = b"503 5.5.1 Say hello first\r\n"
ABSENT = b"502 5.5.1 Not implemented\r\n"
BAD_SENDER = b"501 5.1.7 Syntax: MAIL FROM:<address>\r\n"
BAD_RECIPIENT = b"501 5.1.3 Syntax: RCPT TO:<address>\r\n"
UNKNOWN_PARAMETER = b"555 5.5.4 Parameter not recognised\r\n"


class Session(Wire):
    """What a client may say and what it hears."""

    def __init__(self, house: House) -> None:
        super().__init__(house)
        self._helo = ""
        self._extended = False
        self._mail_from: str | None = None
        self._rcpt_tos: list[str] = []
        self._size = 0
        self._utf8 = False
        self._errors = 0
        self._junk = 0

    def take_line(self, line: bytes) -> bool:
        if len(line) > COMMAND_LIMIT:
            return self._answer(b"500 5.5.2 Line too long\r\n")
        if line.endswith(b"\r"):
            line = line[:-1]
        verb, _, rest = line.partition(b" ")
        verb = verb.upper()
        command = COMMANDS.get(verb)
        if command is None:
            if verb in WEB_VERBS and not self._helo:
                # A web page can make a browser post to a port of this machine, commands in the body.
                self.end(b"421 4.7.0 This is not a web server\r\n")
                return False
            return self._answer(b"500 5.5.2 Command not recognised\r\n")
        if b"\r" in rest or b"\0" in rest:
            return self._answer(b"501 5.5.2 Stray control character\r\n")
        return self._answer(command(self, rest))

    def forget(self) -> None:
        self._mail_from, self._rcpt_tos = None, []
        self._size, self._utf8 = 0, False
        self._mail = None
        self.free_room()

    def wrap(self, content: bytes) -> Envelope:
        return Envelope(
            mail_from=self._mail_from or "",
            rcpt_tos=tuple(self._rcpt_tos),
            content=content,
            peer=self.peer,
            helo=self._helo,
            tls=self._tls_protocol is not None,
            smtputf8=self._utf8,
            received_at=self.house.clock(),
        )

    def answers(self) -> int:
        return len(self._rcpt_tos) if self.house.lmtp else 1

    def stored(self, answer: bytes) -> None:
        self._errors = self._junk = 0
        super().stored(answer)

    def _answer(self, answer: bytes) -> bool:
        """Note an answer (b"" when it comes later) and say whether to go on reading."""
        if answer:
            self._out.append(answer)
            if answer.startswith(b"5"):  # who is only ever refused has lost the way, or searches for one
                self._errors += 1
                if self._errors > ERROR_LIMIT:
                    self.end(b"421 4.7.0 Too many errors\r\n")
        return self.state is State.COMMAND or self.state is State.DATA

    def _idle(self, answer: bytes) -> bytes:
        """Answer what brings no mail, but not for ever."""
        self._junk += 1
        if self._junk <= JUNK_LIMIT:
            return answer
        self.end(b"421 4.7.0 Too much talk without a mail\r\n")
        return b""

    def _hello(self, rest: bytes, extended: bool) -> bytes:
        name = "".join(c for c in rest.decode("utf-8", "replace") if c.isprintable()).strip()[:255]
        if not name:
            return b"501 5.5.4 Name yourself\r\n"
        self._helo, self._extended = name, extended
        self.forget()
        if not extended:
            return self._idle(self.house.hello)
        return self._idle(self.house.features if self._tls_protocol is None else self.house.features_tls)

    def _ehlo(self, rest: bytes) -> bytes:
        return b"500 5.5.1 This is LMTP\r\n" if self.house.lmtp else self._hello(rest, True)

    def _helo_(self, rest: bytes) -> bytes:
        return b"500 5.5.1 This is LMTP\r\n" if self.house.lmtp else self._hello(rest, False)

    def _lhlo(self, rest: bytes) -> bytes:
        return self._hello(rest, True) if self.house.lmtp else b"500 5.5.1 This is not LMTP\r\n"

    def _mail_(self, rest: bytes) -> bytes:
        if not self._helo:
            return NEED_HELLO
        if self._mail_from is not None:
            return b"503 5.5.1 Nested MAIL\r\n"
        found = MAIL_FROM.fullmatch(rest)
        if found is not None:
            address, options = found[1].decode("ascii"), found[2]
        elif (slow := self._parse_path(rest, b"FROM:")) is not None:
            address, options = slow
        else:
            return BAD_SENDER
        size, utf8 = 0, False
        for option in options.upper().split():
            name, _, value = option.partition(b"=")
            if not self._extended:
                return b"501 5.5.4 No parameters without EHLO\r\n"
            if name == b"SIZE" and value.isdigit() and len(value) <= 20:
                size = int(value)
            elif option == b"SMTPUTF8":
                utf8 = True
            elif option not in (b"BODY=7BIT", b"BODY=8BITMIME"):
                return UNKNOWN_PARAMETER
        if size > self.limits.max_size:
            return TOO_BIG
        self._mail_from, self._size, self._utf8 = address, size, utf8
        return SENDER_OK

    def _rcpt(self, rest: bytes) -> bytes:
        if self._mail_from is None:
            return b"503 5.5.1 Need MAIL first\r\n" if self._helo else NEED_HELLO
        found = RCPT_TO.fullmatch(rest)
        if found is not None:
            address, options = found[1].decode("ascii"), found[2]
        elif (slow := self._parse_path(rest, b"TO:")) is not None:
            address, options = slow
        else:
            return BAD_RECIPIENT
        if not address:
            return BAD_RECIPIENT
        if options.strip():
            return UNKNOWN_PARAMETER
        ours = self.house.takes(address)
        if not ours:
            return LATER if ours is None else RELAYING
        if len(self._rcpt_tos) >= self.limits.max_recipients:
            return b"452 4.5.3 Too many recipients\r\n"
        self._rcpt_tos.append(address)
        return RECIPIENT_OK

    def _parse_path(self, rest: bytes, keyword: bytes) -> tuple[str, bytes] | None:
        """Let aiosmtpd read what the expression did not match: quoted names, routes, literals, UTF-8."""
        if rest[: len(keyword)].upper() != keyword or len(rest) > PATH_LIMIT:
            return None
        try:
            text = rest[len(keyword) :].decode("utf-8").strip()
            if text.startswith("<") and ">" not in text:
                return None
            address, options = self._getaddr(text)
        except Exception:  # the parser is not made for hostile text: IndexError, RecursionError …
            return None
        if not address or options is None or ODD_CHARACTERS.search(address):
            return None
        return address, options.encode()

    def _data(self, rest: bytes) -> bytes:
        if not self._rcpt_tos:
            return b"503 5.5.1 Need RCPT first\r\n" if self._helo else NEED_HELLO
        if rest.strip():
            return b"501 5.5.4 Syntax: DATA\r\n"
        self.begin_data(max(self._size, SMALL))
        return b""

    def _rset(self, _: bytes) -> bytes:
        self.forget()
        return self._idle(OK)

    def _noop(self, _: bytes) -> bytes:
        return self._idle(OK)

    def _vrfy(self, rest: bytes) -> bytes:
        if not rest.strip():
            return b"501 5.5.4 Syntax: VRFY <address>\r\n"
        return self._idle(b"252 2.0.0 Send mail and see\r\n")

    def _help(self, _: bytes) -> bytes:
        return self._idle(b"214 2.0.0 See RFC 5321\r\n")

    def _absent(self, _: bytes) -> bytes:
        return ABSENT

    def _quit(self, _: bytes) -> bytes:
        self._out.append(b"221 2.0.0 Bye\r\n")
        self.flush()
        self.close()
        return b""

    def _starttls(self, rest: bytes) -> bytes:
        if self.tls_context is None or self._tls_protocol is not None:
            return ABSENT
        if rest.strip():
            return b"501 5.5.4 Syntax: STARTTLS\r\n"
        self.state = State.TLS
        self.house.spawn(self._shake_hands())
        return b""

    async def _shake_hands(self) -> None:
        self._helo = ""
        try:
            await self.smtp_STARTTLS("")
        except Exception:  # aiosmtpd's TLSSetupException, or a connection that is gone already
            self.cut()
            self.connection_lost(None)  # the TLS layer tells nobody when it never came up
        else:
            if self.state is State.TLS:
                self.await_command()
                self.turn()


COMMANDS: dict[bytes, Callable[[Session, bytes], bytes]] = {
    b"EHLO": Session._ehlo,
    b"HELO": Session._helo_,
    b"LHLO": Session._lhlo,
    b"MAIL": Session._mail_,
    b"RCPT": Session._rcpt,
    b"DATA": Session._data,
    b"RSET": Session._rset,
    b"NOOP": Session._noop,
    b"QUIT": Session._quit,
    b"VRFY": Session._vrfy,
    b"HELP": Session._help,
    b"STARTTLS": Session._starttls,
    b"EXPN": Session._absent,
    b"AUTH": Session._absent,
    b"BDAT": Session._absent,
    b"ETRN": Session._absent,
    b"TURN": Session._absent,
}
