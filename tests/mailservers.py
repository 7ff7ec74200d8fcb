"""Real Postfix and Dovecot in a directory of their own: nothing of the system's configuration is used or changed.

    async with MailServers(deliver_to={"support@desk.example": our_smtp_port}) as mail:
        mail.smtp_port, mail.imap_port                  # hand mail in, fetch it
        mail.maildir("li@customer.example")             # what arrived there

Needs root, since Postfix drops privileges; `missing()` says why it cannot run here.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from tempfile import mkdtemp
from typing import Self

from tests.fakes.smtp_client import CERT, KEY

UID = 5000  # of the mail files: no such user need exist
PASSWORD = "secret"
BOXES = ("customer.example", "box.example")  # domains whose mail goes to Dovecot


def missing() -> str:
    """Why these servers cannot run here; "" when they can."""
    absent = [
        name
        for name, path in {
            "postfix": "/usr/sbin/postfix",
            "dovecot-imapd": "/usr/lib/dovecot/imap",
            "dovecot-lmtpd": "/usr/lib/dovecot/lmtp",
        }.items()
        if not Path(path).exists()
    ]
    if absent:
        return f"not installed: {', '.join(absent)}"
    return "" if os.geteuid() == 0 else "Postfix and Dovecot are only started by root"


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class MailServers:
    """Postfix takes mail for the boxes (→ Dovecot by LMTP) and for the addresses of `deliver_to` (→ a port).
    A copy of mail to an address in `copies` goes to the box named there."""

    def __init__(self, *, deliver_to: Mapping[str, int], copies: Mapping[str, str] = {}) -> None:
        self.deliver_to, self.copies = deliver_to, copies
        self.root = Path(mkdtemp(prefix="wellheard-mail-"))
        self.smtp_port, self.imap_port, self.imaps_port, self._lmtp_port = (free_port() for _ in range(4))
        self._dovecot: subprocess.Popen[bytes] | None = None

    async def __aenter__(self) -> Self:
        try:
            await asyncio.to_thread(self._start)
        except BaseException:
            await asyncio.to_thread(self._stop)
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self._stop)

    @property
    def log(self) -> str:
        """What both servers said."""
        files = [self.root / "postfix.log", self.root / "dovecot.log"]
        return "\n".join(f.read_text("utf-8", "replace") for f in files if f.exists())

    def maildir(self, user: str) -> list[EmailMessage]:
        """All mail in a box, oldest first."""
        return [message_from_bytes(f.read_bytes(), policy=policy.default) for f in self._files(user)]

    def renumber(self, user: str) -> None:
        """Give a box another UIDVALIDITY, as a server restored from elsewhere has."""
        box = self.root / "mail" / user
        names = box / "dovecot-uidlist"
        head, _, rest = names.read_text().partition("\n")
        names.write_text(re.sub(r" V(\d+)", lambda m: f" V{int(m[1]) + 1000}", head) + "\n" + rest)
        for index in box.glob("dovecot.index*"):
            index.unlink()

    # what happens below

    def _files(self, user: str) -> list[Path]:
        box = self.root / "mail" / user
        found = [*box.glob("new/*"), *box.glob("cur/*")]
        return sorted(found, key=lambda f: (f.stat().st_mtime_ns, f.name))

    def _start(self) -> None:
        self.root.chmod(0o755)
        self._start_dovecot()
        self._start_postfix()
        for port in (self.smtp_port, self.imap_port, self._lmtp_port):
            self._listens(port)

    def _start_dovecot(self) -> None:
        mail = self.root / "mail"
        mail.mkdir()
        os.chown(mail, UID, UID)
        config = self.root / "dovecot.conf"
        config.write_text(
            f"""
base_dir = {self.root}/run
state_dir = {self.root}/state
log_path = {self.root}/dovecot.log
protocols = imap lmtp
listen = 127.0.0.1
mail_location = maildir:{mail}/%u
ssl = yes
ssl_cert = <{CERT}
ssl_key = <{KEY}
disable_plaintext_auth = no
recipient_delimiter = +
mail_max_userip_connections = 50
passdb {{
  driver = static
  args = password={PASSWORD}
}}
userdb {{
  driver = static
  args = uid={UID} gid={UID} home={mail}/%u allow_all_users=yes
}}
service imap-login {{
  inet_listener imap {{
    port = {self.imap_port}
  }}
  inet_listener imaps {{
    port = {self.imaps_port}
  }}
}}
service lmtp {{
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {self._lmtp_port}
  }}
}}
"""
        )
        self._dovecot = subprocess.Popen(
            ["/usr/sbin/dovecot", "-F", "-c", str(config)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def _start_postfix(self) -> None:
        etc, queue, data = self.root / "postfix", self.root / "queue", self.root / "data"
        for directory in (etc, queue, data):
            directory.mkdir()
        shutil.chown(data, "postfix")
        (etc / "transport").write_text(
            "".join(f"{a} smtp:[127.0.0.1]:{port}\n" for a, port in self.deliver_to.items())
        )
        (etc / "copies").write_text("".join(f"{a} {box}\n" for a, box in self.copies.items()))
        domains = {a.partition("@")[2] for a in self.deliver_to} | {"void.example"}
        (etc / "main.cf").write_text(
            f"""
compatibility_level = 3.6
queue_directory = {queue}
data_directory = {data}
maillog_file_prefixes = {self.root}
maillog_file = {self.root}/postfix.log
myhostname = mx.desk.example
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
smtp_host_lookup = native
smtp_dns_support_level = disabled
recipient_delimiter = +
relay_domains = {" ".join(sorted(domains))}
transport_maps = texthash:{etc}/transport
recipient_bcc_maps = texthash:{etc}/copies
virtual_mailbox_domains = {" ".join(BOXES)}
virtual_transport = lmtp:inet:127.0.0.1:{self._lmtp_port}
message_size_limit = 80000000
mailbox_size_limit = 0
virtual_mailbox_limit = 0
minimal_backoff_time = 2s
queue_run_delay = 2s
alias_maps =
alias_database =
biff = no
"""
        )
        (etc / "master.cf").write_text(
            f"""
127.0.0.1:{self.smtp_port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
virtual unix - n n - - virtual
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""
        )
        done = subprocess.run(
            ["/usr/sbin/postfix", "-c", str(etc), "start"], capture_output=True, text=True, timeout=60
        )
        if done.returncode:
            raise RuntimeError(f"postfix does not start: {done.stdout}{done.stderr}{self.log}")

    def _listens(self, port: int) -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return
            time.sleep(0.05)
        raise RuntimeError(f"nothing listens on port {port}: {self.log}")

    def _stop(self) -> None:
        etc = self.root / "postfix"
        if etc.exists():
            subprocess.run(["/usr/sbin/postfix", "-c", str(etc), "abort"], capture_output=True, timeout=60)
        if self._dovecot is not None:
            self._dovecot.terminate()
            self._dovecot.wait(20)
        shutil.rmtree(self.root, ignore_errors=True)


class CuttingProxy:
    """Passes TCP on to a port, and cuts a connection once so many bytes came back through it.

    `cuts` says after how many bytes the first, second … connection ends; later ones live.
    """

    def __init__(self, to: int, *cuts: int, listen: int = 0) -> None:
        self.to, self.cuts, self.port = to, list(cuts), listen
        self.made = self.ended = 0  # connections made, and cut
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.made += 1
        left = self.cuts.pop(0) if self.cuts else None
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.to)
        upward = asyncio.create_task(self._copy(reader, far_writer, None))
        try:
            if await self._copy(far_reader, writer, left):
                self.ended += 1
        finally:
            upward.cancel()
            await asyncio.gather(upward, return_exceptions=True)
            for one in (writer, far_writer):
                one.transport.abort()
            self._tasks.discard(task)

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, left: int | None
    ) -> bool:
        """True when it was cut."""
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                if left is not None:
                    data, left = data[:left], left - len(data)
                writer.write(data)
                await writer.drain()
                if left is not None and left <= 0:
                    return True
        return False
