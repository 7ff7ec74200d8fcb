"""One SMTP or LMTP dialogue: aiosmtpd's protocol, answered synchronously from one buffer.

aiosmtpd pays for every connection with a walk over all its members (240 µs), for every MAIL and RCPT with the
standard library's header parser (110 µs), and for every line of DATA with an await. Here the members are not
walked, plain addresses are matched by an expression (anything else still goes to aiosmtpd's parser), commands
that came in one segment are answered in one, and DATA is taken by the buffer. STARTTLS is aiosmtpd's.

Only CR LF . CR LF ends a mail; every other spelling of it is content. Nothing here knows what becomes of a
mail: `House` does.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import secrets
from collections.abc import Callable
from datetime import datetime
from enum import Enum
from typing import Any, Protocol, cast

from aiosmtpd.smtp import SMTP

from channels.email.smtp_limits import SMALL, Envelope, Limits, Room

COMMAND_LIMIT = 4096  # bytes; RFC 5321 4.5.3.1.4 asks for 512 and more with extensions, Postfix takes 2048
PATH_LIMIT = 512  # bytes; longest address given to the slow parser, twice RFC 5321 4.5.3.1.3
OVERLONG_LIMIT = 65_536  # bytes without a line end, then the connection ends
UNREAD_LIMIT = 65_536  # bytes that wait while a mail is being stored, then reading pauses
ERROR_LIMIT = 50  # refused commands a connection may collect
JUNK_LIMIT = 200  # commands between two mails that bring no mail: NOOP, RSET, EHLO …
ROOM_STEP = 1 << 20  # bytes reserved at a time for a mail that did not tell its size
LINGER_S = 3.0  # how long a refused client may go on talking before it is cut off

# Addresses in the form nearly all have: <local@domain> of plain characters, then parameters.
_PATH = rb": *<((?:[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+@[A-Za-z0-9._-]+)?)>((?: [!-~]+)*) *"
MAIL_FROM = re.compile(rb"FROM" + _PATH, re.IGNORECASE)
RCPT_TO = re.compile(rb"TO" + _PATH, re.IGNORECASE)
ODD_CHARACTERS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029<>]")
END = b"\r\n.\r\n"

GO_AHEAD = b"354 End data with <CR><LF>.<CR><LF>\r\n"
OK = b"250 2.0.0 Ok\r\n"
SENDER_OK = b"250 2.1.0 Ok\r\n"
RECIPIENT_OK = b"250 2.1.5 Ok\r\n"
BYE = b"221 2.0.0 Bye\r\n"
TIMEOUT = b"421 4.4.2 Timeout, closing\r\n"
TOO_SLOW = b"421 4.4.2 Too slow, closing\r\n"
CLOSING = b"421 4.3.2 Shutting down\r\n"
BUSY = b"452 4.3.1 Too busy, try again later\r\n"
LATER = b"451 4.3.0 Try again later\r\n"
TOO_BIG = b"552 5.3.4 Message exceeds the size limit\r\n"
LONG_COMMAND = b"500 5.5.2 Line too long\r\n"
RELAYING = b"550 5.7.1 Relaying denied\r\n"
NEED_HELLO = b"503 5.5.1 Say hello first\r\n"


class House(Protocol):
    """What a session needs of its server."""

    limits: Limits
    lmtp: bool
    room: Room
    tls_context: Any
    greeting: bytes
    hello: bytes  # answer to HELO
    features: bytes  # answer to EHLO without TLS
    features_tls: bytes

    def admit(self, session: Session) -> bool: ...

    def left(self, session: Session) -> None: ...

    def takes(self, address: str) -> bool | None: ...

    def clock(self) -> datetime: ...

    def store(self, session: Session, envelope: Envelope) -> asyncio.Task[None]: ...

    def spawn(self, work: Any) -> asyncio.Task[None]: ...


class State(Enum):
    COMMAND = "waiting for a command"
    DATA = "taking a mail"
    ROOM = "waiting for memory"
    STORING = "waiting for the mail to be durable"
    TLS = "shaking hands"
    LINGER = "told to go"
    GONE = "gone"


class Session(SMTP):
    """One connection."""

    def __init__(self, house: House) -> None:
        # Not SMTP.__init__, whose walk over the members costs more than the whole mail.
        self.loop = asyncio.get_running_loop()
        self.house = house
        self.limits = house.limits
        self.tls_context = house.tls_context
        self.transport: Any = None
        self._tls_protocol: Any = None
        self._original_transport: Any = None
        self.state = State.COMMAND
        self.deadline = self.loop.time() + self.limits.command_timeout_s
        self.peer = self.peer_group = ""
        self.greeted = False
        self._helo = ""
        self._extended = False
        self._in = b""
        self._at = 0  # how much of _in has been taken
        self._out: list[bytes] = []
        self._overlong = 0
        self._errors = 0
        self._junk = 0
        self._ended = False  # the client will send no more
        self._paused = False
        self._blocked = False  # the client does not read its answers
        self._task: asyncio.Task[None] | None = None
        self._withdraw: Callable[[], None] | None = None
        self._held = 0  # bytes of the house's room
        self._mail_from: str | None = None
        self._rcpt_tos: list[str] = []
        self._reset()

    # the transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        if self._tls_protocol is not None:
            # What came before the handshake came from anybody (RFC 3207, 6).
            self._in, self._at = b"", 0
            self._helo = ""
            self._reset()
            return
        name = transport.get_extra_info("peername")
        self.peer, self.peer_group = _peer(name)
        if self.house.admit(self):
            self.greeted = True
            self.transport.write(self.house.greeting)
        else:
            self.transport.write(b"421 4.7.0 Too many connections, try again later\r\n")
            self.state = State.LINGER
            self.deadline = self.loop.time() + LINGER_S
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        state = self.state
        if state is State.COMMAND or state is State.DATA:
            self._in = self._in + data if self._in else data
            self._turn()
        elif state is not State.LINGER and state is not State.GONE:
            self._in += data
            if len(self._in) > UNREAD_LIMIT:
                self._pause()

    def eof_received(self) -> bool:
        self._ended = True
        if self.state in (State.STORING, State.ROOM) and self._tls_protocol is None:
            return True  # it still wants its answer
        self._drop_mail()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        if self.state is State.GONE:
            return
        self.state, self.transport = State.GONE, None
        if self._original_transport is not None:
            self._original_transport.close()
        if self._task is None:
            self._drop_mail()  # else the task has the mail: it came in whole and is stored all the same
        self._in = b""
        self.house.left(self)

    def pause_writing(self) -> None:
        self._blocked = True
        self._pause()

    def resume_writing(self) -> None:
        self._blocked = False
        self._resume()

    async def push(self, status: str | bytes) -> None:
        """Answer at once; aiosmtpd's own commands call this."""
        self._flush()
        raw = status.encode("ascii", "replace") if isinstance(status, str) else status
        self.transport.write(raw + b"\r\n")

    # the house's side

    def stored(self, answer: bytes) -> None:
        """Give the answer to the mail that was being stored and go on."""
        self._task = None
        self._free()
        copies = len(self._rcpt_tos) if self.house.lmtp else 1
        self._reset()
        self._junk = self._errors = 0
        if self.state is State.GONE:
            return
        self._out.append(answer * copies)
        self._await_command()
        self._go_on()

    def overdue(self, now: float) -> None:
        """Act when time is up. Called by the house every now and then."""
        if self.state is State.DATA and now < self.deadline:
            age = now - self._data_since - self._data_waited
            slow = self._received < self.limits.min_rate_bytes_s * (age - self.limits.rate_grace_s)
            if slow and age > self.limits.rate_grace_s:
                self._end(TOO_SLOW)
            return
        if now < self.deadline:
            return
        match self.state:
            case State.COMMAND | State.DATA:
                self._end(TIMEOUT)
            case State.ROOM:
                self._no_room()
            case State.STORING:
                if self._task is not None:
                    self._task.cancel()
                    self.deadline = now + self.limits.deliver_timeout_s
            case State.TLS | State.LINGER:
                self.cut()
            case State.GONE:
                pass

    def dismiss(self) -> None:
        """End politely what is not about to store a mail. The server is closing."""
        if self.state is State.TLS:
            self.cut()
        elif self.state in (State.COMMAND, State.DATA, State.ROOM):
            self.transport.write(CLOSING)
            self._close()

    def cut(self) -> None:
        """End at once."""
        transport = self._original_transport or self.transport
        if transport is not None:
            transport.abort()

    # commands

    def _turn(self) -> None:
        """Take what is in the buffer as far as it goes; answer it all in one write."""
        while not self._blocked:
            if self.state is State.COMMAND:
                if not self._take_command():
                    break
            elif self.state is not State.DATA or not self._take_data():
                break
        if self._at:
            self._in, self._at = self._in[self._at :], 0
        self._flush()

    def _take_command(self) -> bool:
        end = self._in.find(b"\n", self._at)
        if end < 0:
            waiting = len(self._in) - self._at
            if waiting > COMMAND_LIMIT:  # forget it, remember only how long it was
                self._overlong += waiting
                self._in, self._at = b"", 0
                if self._overlong > OVERLONG_LIMIT:
                    self._end(b"421 4.5.2 Line too long, closing\r\n")
            return False
        line = self._in[self._at : end]
        self._at = end + 1
        if self._overlong or len(line) > COMMAND_LIMIT:
            self._overlong = 0
            return self._answer(LONG_COMMAND)
        if line.endswith(b"\r"):
            line = line[:-1]
        self.deadline = self.loop.time() + self.limits.command_timeout_s
        verb, _, rest = line.partition(b" ")
        command = COMMANDS.get(verb.upper())
        if command is None:
            return self._unknown(verb.upper())
        if b"\r" in rest or b"\0" in rest:
            return self._answer(b"501 5.5.2 Stray control character\r\n")
        return self._answer(command(self, rest))

    def _answer(self, answer: bytes) -> bool:
        """Note an answer ("" when it comes later) and say whether to go on reading."""
        if answer:
            self._out.append(answer)
            if answer[0] == 53:  # "5": a client that is only ever refused has lost its way
                self._errors += 1
                if self._errors > ERROR_LIMIT:
                    self._end(b"421 4.7.0 Too many errors\r\n")
        return self.state is State.COMMAND or self.state is State.DATA

    def _unknown(self, verb: bytes) -> bool:
        if verb in (b"GET", b"POST", b"PUT", b"CONNECT", b"OPTIONS", b"HEAD") and not self._helo:
            # A web page can make a browser post to a port on this machine, commands in the body.
            self._end(b"421 4.7.0 This is not a web server\r\n")
            return False
        return self._answer(b"500 5.5.2 Command not recognised\r\n")

    def _hello(self, rest: bytes, extended: bool) -> bytes:
        name = "".join(c for c in rest.decode("utf-8", "replace") if c.isprintable()).strip()[:255]
        if not name:
            return b"501 5.5.4 Name yourself\r\n"
        self._helo, self._extended = name, extended
        self._reset()
        if self._junk_limit():
            return b""
        if not extended:
            return self.house.hello
        return self.house.features if self._tls_protocol is None else self.house.features_tls

    def _command_ehlo(self, rest: bytes) -> bytes:
        return b"500 5.5.1 This is LMTP\r\n" if self.house.lmtp else self._hello(rest, True)

    def _command_helo(self, rest: bytes) -> bytes:
        return b"500 5.5.1 This is LMTP\r\n" if self.house.lmtp else self._hello(rest, False)

    def _command_lhlo(self, rest: bytes) -> bytes:
        return self._hello(rest, True) if self.house.lmtp else b"500 5.5.1 This is not LMTP\r\n"

    def _command_mail(self, rest: bytes) -> bytes:
        if not self._helo:
            return NEED_HELLO
        if self._mail_from is not None:
            return b"503 5.5.1 Nested MAIL\r\n"
        found = MAIL_FROM.fullmatch(rest)
        if found is not None:
            address, options = found[1].decode("ascii"), found[2]
        else:
            slow = self._parse_path(rest, b"FROM:")
            if slow is None:
                return b"501 5.1.7 Syntax: MAIL FROM:<address>\r\n"
            address, options = slow
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
                return b"555 5.5.4 Parameter not recognised\r\n"
        if size > self.limits.max_size:
            return TOO_BIG
        self._mail_from, self._size, self._utf8 = address, size, utf8
        return SENDER_OK

    def _command_rcpt(self, rest: bytes) -> bytes:
        if self._mail_from is None:
            return b"503 5.5.1 Need MAIL first\r\n" if self._helo else NEED_HELLO
        found = RCPT_TO.fullmatch(rest)
        if found is not None:
            address, options = found[1].decode("ascii"), found[2]
        else:
            slow = self._parse_path(rest, b"TO:")
            if slow is None:
                return b"501 5.1.3 Syntax: RCPT TO:<address>\r\n"
            address, options = slow
        if not address:
            return b"501 5.1.3 Syntax: RCPT TO:<address>\r\n"
        if options.strip():
            return b"555 5.5.4 Parameter not recognised\r\n"
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
            address, options = self._getaddr(text)
        except Exception:  # the parser is not made for hostile text: IndexError, RecursionError …
            return None
        if not address or options is None or ODD_CHARACTERS.search(address):
            return None
        return address, options.encode()

    def _command_data(self, rest: bytes) -> bytes:
        if not self._rcpt_tos:
            return b"503 5.5.1 Need RCPT first\r\n" if self._helo else NEED_HELLO
        if rest.strip():
            return b"501 5.5.4 Syntax: DATA\r\n"
        want = max(self._size, SMALL)
        if self.house.room.take(want):
            self._held = want
            self._begin_data()
            return GO_AHEAD
        self._wait_for_room(want, self._begin_data_late)
        return b""

    def _command_rset(self, _: bytes) -> bytes:
        self._reset()
        return b"" if self._junk_limit() else OK

    def _command_noop(self, _: bytes) -> bytes:
        return b"" if self._junk_limit() else OK

    def _command_vrfy(self, rest: bytes) -> bytes:
        if not rest.strip():
            return b"501 5.5.4 Syntax: VRFY <address>\r\n"
        return b"" if self._junk_limit() else b"252 2.0.0 Send mail and see\r\n"

    def _command_help(self, _: bytes) -> bytes:
        return b"" if self._junk_limit() else b"214 2.0.0 See RFC 5321\r\n"

    def _command_absent(self, _: bytes) -> bytes:
        return b"502 5.5.1 Not implemented\r\n"

    def _command_quit(self, _: bytes) -> bytes:
        self._out.append(BYE)
        self._flush()
        self._close()
        return b""

    def _command_starttls(self, rest: bytes) -> bytes:
        if self.tls_context is None or self._tls_protocol is not None:
            return b"502 5.5.1 Not implemented\r\n"
        if rest.strip():
            return b"501 5.5.4 Syntax: STARTTLS\r\n"
        self.state = State.TLS
        self.deadline = self.loop.time() + self.limits.command_timeout_s
        self.house.spawn(self._shake_hands())
        return b""

    async def _shake_hands(self) -> None:
        try:
            await self.smtp_STARTTLS("")
        except Exception:  # aiosmtpd's TLSSetupException: a client that does not speak TLS, or not ours
            if self._original_transport is not None:
                self._original_transport.abort()
            self.connection_lost(None)  # the TLS layer tells nobody when it never came up
        else:
            if self.state is State.TLS:
                self._await_command()
                self._turn()

    # the mail

    def _begin_data(self) -> None:
        self.state = State.DATA
        self._data_since = self.loop.time()
        self.deadline = self._data_since + self.limits.data_deadline_s
        self._data_waited = 0.0
        self._carry = b"\r\n"  # as if the line before had ended: a lone dot may come first
        self._skip = 2
        self._content = b""
        self._received = 0
        self._refusal = b""

    def _begin_data_late(self) -> None:
        self._begin_data()
        self._out.append(GO_AHEAD)
        self._go_on()

    def _take_data(self) -> bool:
        if self._at:
            data, self._at = self._in[self._at :], 0
        else:
            data = self._in
        self._in = b""
        if not data:
            return False
        data = self._carry + data
        end = data.find(END)
        if end >= 0:
            part, self._in = data[: end + 2], data[end + 5 :]
        else:
            keep = _begun(data)
            part, self._carry = data[: len(data) - keep], data[len(data) - keep :]
        if part:
            part = part.replace(b"\r\n.", b"\r\n")
            if self._skip:
                part, self._skip = part[2:], 0
            self._keep(part)
        if end >= 0:
            self._finish()
            return self.state is State.COMMAND
        if self._received > 2 * self.limits.max_size:
            self._end(TOO_BIG)
        elif len(self._content) > self._held and not self._refusal:
            self._grow()
        return False

    def _keep(self, part: bytes) -> None:
        self._received += len(part)
        if self._refusal:
            return
        if self._received > self.limits.max_size:
            self._refuse(TOO_BIG)
        elif not self._content:
            self._content = part
        else:
            if type(self._content) is bytes:
                self._content = cast(bytes, bytearray(self._content))
            self._content += part

    def _refuse(self, answer: bytes) -> None:
        """Hear the mail out without keeping it: the answer is due after its end."""
        self._refusal, self._content = answer, b""
        self._free()

    def _grow(self) -> None:
        more = len(self._content) - self._held + ROOM_STEP
        if self.house.room.take(more):
            self._held += more
        else:
            self._wait_for_room(more, self._grown)

    def _grown(self) -> None:
        now = self.loop.time()
        waited = now - self._waiting_since
        self._data_waited += waited
        self.deadline = self._data_deadline + waited
        self.state = State.DATA
        self._go_on()

    def _wait_for_room(self, size: int, then: Callable[[], None]) -> None:
        self._waiting_since = self.loop.time()
        self._data_deadline = self.deadline
        self._in_data = then == self._grown
        self.state = State.ROOM
        self.deadline = self._waiting_since + self.limits.room_wait_s
        self._pause()

        def granted() -> None:
            self._withdraw = None
            self._held += size
            then()

        self._withdraw = self.house.room.wait(size, granted)

    def _no_room(self) -> None:
        if self._withdraw is not None:
            self._withdraw()
            self._withdraw = None
        if self._in_data:
            self._refuse(BUSY)
            self._grown()
            return
        self._reset()
        self._out.append(BUSY)
        self._await_command()
        self._go_on()

    def _finish(self) -> None:
        if self._refusal:
            answer = self._refusal * (len(self._rcpt_tos) if self.house.lmtp else 1)
            self._reset()
            self._await_command()
            self._answer(answer)
            return
        content, self._content = self._content, b""
        envelope = Envelope(
            mail_from=self._mail_from or "",
            rcpt_tos=tuple(self._rcpt_tos),
            content=content if type(content) is bytes else bytes(content),
            peer=self.peer,
            helo=self._helo,
            tls=self._tls_protocol is not None,
            smtputf8=self._utf8,
            received_at=self.house.clock(),
        )
        del content
        self.state = State.STORING
        self.deadline = self.loop.time() + self.limits.deliver_timeout_s
        self._task = self.house.store(self, envelope)

    # small things

    def _reset(self) -> None:
        """Forget the mail that was being put together."""
        self._mail_from = None
        self._rcpt_tos = []
        self._size = 0
        self._utf8 = False
        self._content = b""
        self._free()

    def _free(self) -> None:
        if self._held:
            held, self._held = self._held, 0
            self.house.room.free(held)

    def _drop_mail(self) -> None:
        if self._withdraw is not None:
            self._withdraw()
            self._withdraw = None
        self._reset()

    def _await_command(self) -> None:
        self.state = State.COMMAND
        self.deadline = self.loop.time() + self.limits.command_timeout_s

    def _go_on(self) -> None:
        """Continue after a wait: what came meanwhile is in the buffer."""
        self._resume()
        self._turn()
        if self._ended and self.state in (State.COMMAND, State.DATA):
            self._close()

    def _junk_limit(self) -> bool:
        self._junk += 1
        if self._junk > JUNK_LIMIT:
            self._end(b"421 4.7.0 Too much talk without a mail\r\n")
        return self._junk > JUNK_LIMIT

    def _flush(self) -> None:
        if self._out:
            out = self._out[0] if len(self._out) == 1 else b"".join(self._out)
            self._out.clear()
            if self.transport is not None:
                self.transport.write(out)

    def _end(self, answer: bytes) -> None:
        """Say a last word and let the client read it: closing over unread bytes would destroy it."""
        self._out.append(answer)
        self._flush()
        self._drop_mail()
        self._in, self._at = b"", 0
        self.state = State.LINGER
        self.deadline = self.loop.time() + LINGER_S
        self._resume()
        if self._tls_protocol is None and not self._ended:
            self.transport.write_eof()
        else:
            self.transport.close()

    def _close(self) -> None:
        self._drop_mail()
        self._in, self._at = b"", 0
        self.state = State.LINGER
        self.deadline = self.loop.time() + LINGER_S
        self.transport.close()

    def _pause(self) -> None:
        if not self._paused and self.transport is not None and not self.transport.is_closing():
            self._paused = True
            self.transport.pause_reading()

    def _resume(self) -> None:
        if self._paused and not self._blocked and self.transport is not None:
            self._paused = False
            if not self.transport.is_closing():
                self.transport.resume_reading()


COMMANDS: dict[bytes, Callable[[Session, bytes], bytes]] = {
    b"EHLO": Session._command_ehlo,
    b"HELO": Session._command_helo,
    b"LHLO": Session._command_lhlo,
    b"MAIL": Session._command_mail,
    b"RCPT": Session._command_rcpt,
    b"DATA": Session._command_data,
    b"RSET": Session._command_rset,
    b"NOOP": Session._command_noop,
    b"QUIT": Session._command_quit,
    b"VRFY": Session._command_vrfy,
    b"HELP": Session._command_help,
    b"STARTTLS": Session._command_starttls,
    b"EXPN": Session._command_absent,
    b"AUTH": Session._command_absent,
    b"BDAT": Session._command_absent,
    b"ETRN": Session._command_absent,
    b"TURN": Session._command_absent,
}


def _begun(data: bytes) -> int:
    """How many bytes at the end may be the beginning of the end of the mail."""
    for length in (4, 3, 2, 1):
        if data.endswith(END[:length]):
            return length
    return 0


def _peer(name: Any) -> tuple[str, str]:
    """The client's address, and the group it is counted in: an IPv6 customer has a whole /64."""
    if not isinstance(name, tuple):
        return "unix", ""
    host = str(name[0])
    if ":" not in host:
        return host, host
    address = ipaddress.IPv6Address(host.partition("%")[0])
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped), str(address.ipv4_mapped)
    return host, str(ipaddress.IPv6Network((address, 64), strict=False))


def short_id() -> bytes:
    return secrets.token_hex(4).encode()
