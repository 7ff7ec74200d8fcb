"""The connection under an SMTP dialogue: buffers, waiting and the clock; what is said is in smtp_protocol."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable, Coroutine
from datetime import datetime
from enum import Enum
from typing import Any, Protocol

from aiosmtpd.smtp import SMTP

from channels.email.smtp_data import Incoming
from channels.email.smtp_limits import ROOM_STEP, Envelope, Limits, Room

COMMAND_LIMIT = 4096  # bytes; RFC 5321 4.5.3.1.4 asks for 512 and more with extensions, Postfix takes 2048
OVERLONG_LIMIT = 65_536  # bytes without a line end, then the connection ends
UNREAD_LIMIT = 65_536  # bytes that wait while a mail is being stored, then reading pauses
LINGER_S = 3.0  # how long a refused client may go on talking before it is cut off

GO_AHEAD = b"354 End data with <CR><LF>.<CR><LF>\r\n"
TIMEOUT = b"421 4.4.2 Timeout, closing\r\n"
TOO_SLOW = b"421 4.4.2 Too slow, closing\r\n"
TOO_LONG = b"421 4.5.2 Line too long, closing\r\n"
TOO_MANY = b"421 4.7.0 Too many connections, try again later\r\n"
CLOSING = b"421 4.3.2 Shutting down\r\n"
BUSY = b"452 4.3.1 Too busy, try again later\r\n"
TOO_BIG = b"552 5.3.4 Message exceeds the size limit\r\n"


class State(Enum):
    """What a connection waits for."""

    COMMAND = "a command"
    DATA = "more of a mail"
    ROOM = "memory"
    STORING = "the mail to be durable"
    TLS = "the handshake"
    LINGER = "the client to go"
    GONE = "nothing"


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

    def admit(self, wire: Wire) -> bool: ...

    def left(self, wire: Wire) -> None: ...

    def takes(self, address: str) -> bool | None: ...

    def clock(self) -> datetime: ...

    def store(self, wire: Wire, envelope: Envelope) -> asyncio.Task[None]: ...

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]: ...


class Wire(SMTP):
    """One connection. Its subclass takes the commands and makes the envelope."""

    def __init__(self, house: House) -> None:
        # Not SMTP.__init__, whose walk over all members costs more than a whole mail.
        self.loop = asyncio.get_running_loop()
        self.house = house
        self.limits = house.limits
        self.tls_context = house.tls_context
        self.transport: Any = None
        self._tls_protocol: Any = None  # these two belong to aiosmtpd's STARTTLS
        self._original_transport: Any = None
        self.state = State.COMMAND
        self.deadline = self.loop.time() + self.limits.command_timeout_s
        self.peer = self.peer_group = ""
        self._in = b""
        self._at = 0  # how much of _in has been taken
        self._out: list[bytes] = []
        self._overlong = 0
        self._ended = False  # the client will send no more
        self._paused = False
        self._blocked = False  # the client does not read its answers
        self._task: asyncio.Task[None] | None = None
        self._mail: Incoming | None = None
        self._refusal = b""  # what to say after a mail that is heard out but not kept
        self._held = 0  # bytes of the house's room
        self._withdraw: Callable[[], None] | None = None

    # for the subclass

    def take_line(self, line: bytes) -> bool:
        """Act on a command. Return whether to go on reading."""
        raise NotImplementedError

    def forget(self) -> None:
        """Forget the mail that was being put together."""
        raise NotImplementedError

    def wrap(self, content: bytes) -> Envelope:
        """Put the envelope round a mail that is complete."""
        raise NotImplementedError

    def answers(self) -> int:
        """How many answers the end of a mail gets."""
        raise NotImplementedError

    # the transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        if self._tls_protocol is not None:
            # What came before the handshake came from anybody (RFC 3207, 6).
            self._in, self._at = b"", 0
            self.forget()
            return
        self.peer, self.peer_group = _peer(transport.get_extra_info("peername"))
        if self.house.admit(self):
            self.transport.write(self.house.greeting)
        else:
            self.transport.write(TOO_MANY)
            self.close()

    def data_received(self, data: bytes) -> None:
        state = self.state
        if state is State.COMMAND or state is State.DATA:
            self._in = self._in + data if self._in else data
            self.turn()
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
            self._drop_mail()  # else the mail came in whole, and is stored although nobody hears of it
        self._in = b""
        self.house.left(self)

    def pause_writing(self) -> None:
        self._blocked = True
        self._pause()

    def resume_writing(self) -> None:
        self._blocked = False
        self.go_on()

    async def push(self, status: str | bytes) -> None:
        """Answer at once; aiosmtpd's STARTTLS calls this."""
        self.flush()
        raw = status.encode("ascii", "replace") if isinstance(status, str) else status
        self.transport.write(raw + b"\r\n")

    # the house's side

    def stored(self, answer: bytes) -> None:
        """Answer the mail that was being stored and go on."""
        self._task = None
        copies = self.answers()
        self.forget()
        if self.state is not State.GONE:
            self._out.append(answer * copies)
            self.await_command()
            self.go_on()

    def overdue(self, now: float) -> None:
        """Act when time is up. The house calls this now and then."""
        if now < self.deadline:
            if self.state is State.DATA and self._mail is not None:
                late = now - self._data_since - self.limits.rate_grace_s
                if late > 0 and self._mail.received < late * self.limits.min_rate_bytes_s:
                    self.end(TOO_SLOW)
            return
        match self.state:
            case State.COMMAND | State.DATA:
                self.end(TIMEOUT)
            case State.ROOM:
                self._no_room()
            case State.STORING:
                self.deadline = now + self.limits.deliver_timeout_s
                if self._task is not None:
                    self._task.cancel()
            case State.TLS | State.LINGER:
                self.cut()
            case State.GONE:
                pass

    def dismiss(self) -> None:
        """End what is not about to store a mail: the server is closing."""
        if self.state is State.TLS:
            self.cut()
        elif self.state in (State.COMMAND, State.DATA, State.ROOM):
            self.transport.write(CLOSING)
            self.close()

    def cut(self) -> None:
        """End at once."""
        transport = self._original_transport or self.transport
        if transport is not None:
            transport.abort()

    # reading

    def turn(self) -> None:
        """Take what is in the buffer as far as it goes; answer it all in one write."""
        while not self._blocked:
            if self.state is State.COMMAND:
                if not self._take_command():
                    break
            elif self.state is not State.DATA or not self._take_data():
                break
        if self._at:
            self._in, self._at = self._in[self._at :], 0
        self.flush()

    def _take_command(self) -> bool:
        end = self._in.find(b"\n", self._at)
        if end < 0:
            waiting = len(self._in) - self._at
            if waiting > COMMAND_LIMIT:  # forget it, remember only how long it was
                self._overlong += waiting
                self._in, self._at = b"", 0
                if self._overlong > OVERLONG_LIMIT:
                    self.end(TOO_LONG)
            return False
        line = self._in[self._at : end]
        self._at = end + 1
        if self._overlong:
            self._overlong, line = 0, b" " * (COMMAND_LIMIT + 1)
        self.deadline = self.loop.time() + self.limits.command_timeout_s
        return self.take_line(line)

    def _take_data(self) -> bool:
        mail = self._mail
        data = self._in[self._at :] if self._at else self._in
        self._in, self._at = b"", 0
        if mail is None or not data:
            return False
        rest = mail.feed(data)
        if mail.too_big and not self._refusal:
            self._refuse(TOO_BIG)
        if rest is not None:
            self._in = rest
            return self._finish(mail)
        if mail.received > 2 * self.limits.max_size:
            self.end(TOO_BIG)
        elif mail.held > self._held:
            self._more_room(mail.held - self._held + ROOM_STEP)
        return False

    def _finish(self, mail: Incoming) -> bool:
        if self._refusal:
            self._out.append(self._refusal * self.answers())
            self.forget()
            self.await_command()
            return True
        self.state = State.STORING
        self.deadline = self.loop.time() + self.limits.deliver_timeout_s
        self._task = self.house.store(self, self.wrap(mail.take()))
        return False

    def _refuse(self, answer: bytes) -> None:
        """Hear the mail out without keeping it: the answer is due after its end."""
        self._refusal = answer
        if self._mail is not None:
            self._mail.drop()
        self.free_room()

    # memory

    def begin_data(self, size: int) -> None:
        """Ask for a mail of about this size as soon as there is room for it."""
        if self.house.room.take(self, size):
            self._held = size
            self._go_ahead()
        else:
            self._wait_for_room(size, self._go_ahead_late)

    def _go_ahead(self) -> None:
        self._mail, self._refusal = Incoming(self.limits.max_size), b""
        self.state = State.DATA
        self._data_since = self.loop.time()
        self.deadline = self._data_since + self.limits.data_deadline_s
        self._out.append(GO_AHEAD)

    def _go_ahead_late(self) -> None:
        self._go_ahead()
        self.go_on()

    def _more_room(self, size: int) -> None:
        if self.house.room.take(self, size):
            self._held += size
            return
        deadline, since = self.deadline, self.loop.time()

        def resume() -> None:
            waited = self.loop.time() - since  # it was us who were slow
            self._data_since += waited
            self.deadline = deadline + waited
            self.state = State.DATA
            self.go_on()

        self._wait_for_room(size, resume)

    def _wait_for_room(self, size: int, then: Callable[[], None]) -> None:
        self.state = State.ROOM
        self.deadline = self.loop.time() + self.limits.room_wait_s
        self._resume_mail = then
        self._pause()

        def granted() -> None:
            self._withdraw = None
            self._held += size
            then()

        self._withdraw = self.house.room.wait(self, size, granted)

    def _no_room(self) -> None:
        if self._withdraw is not None:
            self._withdraw()
            self._withdraw = None
        if self._mail is not None:
            self._refuse(BUSY)
            self._resume_mail()
            return
        self.forget()
        self._out.append(BUSY)
        self.await_command()
        self.go_on()

    def free_room(self) -> None:
        if self._held:
            held, self._held = self._held, 0
            self.house.room.free(self, held)

    def _drop_mail(self) -> None:
        if self._withdraw is not None:
            self._withdraw()
            self._withdraw = None
        self.forget()

    # writing and ending

    def await_command(self) -> None:
        self.state = State.COMMAND
        self.deadline = self.loop.time() + self.limits.command_timeout_s

    def go_on(self) -> None:
        """Continue after a wait: what came meanwhile is in the buffer."""
        self._resume()
        self.turn()
        if self._ended and self.state in (State.COMMAND, State.DATA):
            self.close()

    def flush(self) -> None:
        if self._out:
            out = self._out[0] if len(self._out) == 1 else b"".join(self._out)
            self._out.clear()
            if self.transport is not None:
                self.transport.write(out)

    def end(self, answer: bytes) -> None:
        """Say a last word and let the client read it: closing over unread bytes would destroy it."""
        self._out.append(answer)
        self.flush()
        if self._tls_protocol is not None or self._ended:
            self.close()
            return
        self._linger()
        self.transport.write_eof()

    def close(self) -> None:
        self._linger()
        self.transport.close()

    def _linger(self) -> None:
        self._drop_mail()
        self._in, self._at = b"", 0
        self.state = State.LINGER
        self.deadline = self.loop.time() + min(LINGER_S, self.limits.command_timeout_s)
        self._resume()

    def _pause(self) -> None:
        if not self._paused and self.transport is not None and not self.transport.is_closing():
            self._paused = True
            self.transport.pause_reading()

    def _resume(self) -> None:
        if self._paused and not self._blocked and self.transport is not None:
            self._paused = False
            if not self.transport.is_closing():
                self.transport.resume_reading()


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
