"""Whatever staff do in whatever order: no word of a note reaches a customer, and every public reply reaches
exactly the recipient that was shown. The real decisions on a real SQLite file; only platforms are left out."""

from __future__ import annotations

import importlib
import itertools
import shutil
import tempfile
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule
from sqlalchemy import select
from sqlalchemy.engine import make_url

from bot import relay, routing
from bot.access import member
from bot.config import parse
from bot.delivery import Delivery
from bot.i18n import UserError
from bot.office import Office, Turn
from bot.service import card, merging
from channels.base import Setup
from channels.conversation import Address, Author, Inbound, Kind, Op
from channels.rich import to_text
from crm_store import conversations, merges, outbox, people, schema, tickets
from crm_store.db import sqlite_engine
from tests.stores import sqlite_url

CONFIG = """
[desk]
name = "Example Ltd"
secret = "secret"
[channels.telegram]
kind = "telegram"
token = "1:a"
staff_channel = "-100"
reply_mode = "explicit"
[channels.slack]
kind = "slack"
bot_token = "xoxb-1"
signing_secret = "s"
staff_channel = "C0STAFF"
[channels.support]
kind = "email"
address = "support@desk.example"
smtp_listen = "127.0.0.1:0"
smtp_send = "smtp://127.0.0.1:25"
[channels.web]
kind = "web"
staff_channel = "staff"
"""
CUSTOMERS = {
    "telegram": ("telegram", "7001", "Li Wei"),
    "mail": ("support", "ann@customer.example", "Ann"),
    "slack": ("slack", "D0BOB", "Bob"),
    "web": ("web", "v:" + "0" * 32, "Eve"),
}
ROOMS = {"slack": "C0STAFF", "telegram": "-100", "web": "staff"}
AGENTS = {
    "Tom": {"slack": "T0:U0TOM", "telegram": "9001", "web": "s:" + "1" * 32},
    "Mei": {"slack": "T0:U0MEI", "telegram": "9002", "web": "s:" + "2" * 32},
}
AS_REPLY = {
    "slack": ("{}", "!reply {}", "FORM {}"),
    "web": ("{}", "/reply {}", "FORM {}"),
    "telegram": ("> {}", "/reply {}"),
}
AS_NOTE = {
    "slack": ("// {}", "note: {}", "备注：{}", "!note {}", "ask @Mei about {}", "SHARED {}", "FORM // {}"),
    "web": ("// {}", "/note {}", "注：{}", "FORM note: {}"),
    "telegram": ("{}", "// {}", "/note {}", "MENTION {}"),
}


@dataclass
class FarSide:
    """What stands on a platform, and everything that ever stood there."""

    shown: dict[str, tuple[str, str]] = field(default_factory=dict)  # event id: room, text
    ever: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Said:
    """What an agent wrote in a thread: where, as whom, and whether somebody changed it since."""

    side: str
    agent: str
    event_id: str
    ticket: str
    token: str
    touched: bool = False


class Desk(RuleBasedStateMachine):
    said = Bundle("said")

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="wellheard-notes-"))
        self.engine = sqlite_engine(make_url(sqlite_url(self.directory)))
        self.config = parse(CONFIG, path=self.directory / "wellheard.toml", environ={})
        self.now = datetime(2026, 3, 2, 10, tzinfo=UTC)
        caps = {}
        for name, table in self.config.channels.items():
            built = importlib.import_module(f"channels.{table.kind}").build(
                Setup(name, table.model_dump(), b"s")
            )
            caps[name] = built.caps
        self.office = Office(self.config, caps, b"secret")
        self.delivery = Delivery(None, self.office, {}, clock=lambda: self.now)  # type: ignore[arg-type]
        self.far: dict[str, FarSide] = defaultdict(FarSide)
        self.count = itertools.count(1)
        self.notes: set[str] = set()
        self.replies: list[Said] = []
        self.lost: set[int] = set()  # messages whose delivery failed
        self.numbers: dict[str, int] = {}
        self.merges: list[int] = []  # that can be undone
        self.merged = 0

    def teardown(self) -> None:
        try:
            self.the_rest_is_delivered()
        finally:
            self.engine.dispose()
            shutil.rmtree(self.directory, ignore_errors=True)

    # --- the world -------------------------------------------------------------------------------------

    def turn(self, do: Any) -> Any:
        with self.engine.connect() as connection, connection.begin():
            return do(Turn(connection, self.office, self.now))

    def arrives(self, inbound: Inbound) -> None:
        self.turn(lambda turn: routing.take(turn, inbound, None))

    def token(self) -> str:
        return f"tok{next(self.count):04d}x"

    def event(self, room: str) -> str:
        return f"{room}:{next(self.count)}"

    @initialize()
    def everybody_is_there(self) -> None:
        def enrol(turn: Turn) -> None:
            for name, ids in AGENTS.items():
                people.add(turn.tx, self.now, name, "manager" if name == "Mei" else "agent", "en")
                for side, user in ids.items():
                    code = people.new_code(turn.tx, self.now, people.by_name(turn.tx, name).id)
                    people.redeem(turn.tx, self.now, code, side, user, name)

        self.turn(enrol)
        for who in CUSTOMERS:
            self.customer_writes(who, "My parcel is broken")
        self.everything_goes_out()

    def customer_writes(self, who: str, text: str, **more: Any) -> None:
        channel, room, name = CUSTOMERS[who]
        event = f"m{next(self.count)}@x" if channel == "support" else f"{room}:{next(self.count)}"
        author = Author(room if channel != "slack" else "T0:U0BOB", name)
        how: dict[str, Any] = {"private": channel != "support", **more}
        if channel == "support":
            how["thread_hints"] = ("ref:first@x",)
            event = "first@x" if who not in self.numbers else event
        self.arrives(Inbound(Address(channel, room), event, author, text, self.now, **how))
        self.numbers[who] = self.turn(lambda turn: self.ticket_of(turn, who).number)

    def ticket_of(self, turn: Turn, who: str) -> Any:
        channel, room, _ = CUSTOMERS[who]
        return tickets.latest(turn.tx, conversations.at_address(turn.tx, channel, room, "").id)

    def thread(self, side: str, who: str) -> str:
        """The thread of a customer's ticket on a staff side; "" while its card is not there."""

        def look(turn: Turn) -> str:
            row = tickets.thread_of(turn.tx, self.ticket_of(turn, who).id, side, ROOMS[side])
            return str(row.thread_id) if row is not None else ""

        return str(self.turn(look))

    def agent(self, name: str, side: str, *, may_command: bool = True) -> Author:
        return Author(AGENTS[name][side], name, may_command=may_command)

    # --- what staff do ---------------------------------------------------------------------------------

    @rule(
        target=said,
        who=st.sampled_from(sorted(CUSTOMERS)),
        name=st.sampled_from(sorted(AGENTS)),
        how=st.sampled_from([(side, text) for side, texts in AS_REPLY.items() for text in texts]),
        twice=st.booleans(),
    )
    def an_agent_replies(self, who: str, name: str, how: tuple[str, str], twice: bool) -> Any:
        side, spelling = how
        thread = self.thread(side, who)
        if not thread:
            return multiple()
        one = Said(side, name, self.event(ROOMS[side]), who, self.token())
        shown = self.turn(lambda turn: self.shown_recipients(turn, who))
        for _ in range(2 if twice else 1):
            self.arrives(self.written(one, thread, spelling.format(one.token)))
        self.replies.append(one)
        self.turn(lambda turn: self.goes_where_it_was_shown(turn, who, one.token, shown))
        return one

    @rule(
        target=said,
        who=st.sampled_from(sorted(CUSTOMERS)),
        name=st.sampled_from(sorted(AGENTS)),
        how=st.sampled_from([(side, text) for side, texts in AS_NOTE.items() for text in texts]),
    )
    def an_agent_notes(self, who: str, name: str, how: tuple[str, str]) -> Any:
        side, spelling = how
        thread = self.thread(side, who)
        if not thread:
            return multiple()
        one = Said(side, name, self.event(ROOMS[side]), who, self.token())
        self.notes.add(one.token)
        self.arrives(self.written(one, thread, spelling.format(one.token)))
        return one

    def written(self, one: Said, thread: str, text: str) -> Inbound:
        where = Address(one.side, ROOMS[one.side], thread)
        how: dict[str, Any] = {}
        kind, text = Kind.MESSAGE, text
        head, _, rest = text.partition(" ")
        if head == "FORM":
            number = self.numbers[one.ticket]
            kind, text = Kind.ACTION, ""
            how = {"action": f"ticket:{number}:send", "values": {"text": rest}, "dedupe": one.event_id}
            one.touched = True  # a form's text stands in no message of its own: nobody can edit it
        elif head == "SHARED":
            text = f"> {rest}"
            how = {"full_text": text}
        elif head == "MENTION":
            text, how = rest, {"mentions": (AGENTS["Mei"][one.side],)}
        return Inbound(where, one.event_id, self.agent(one.agent, one.side), text, self.now, kind, **how)

    @rule(one=said, name=st.sampled_from(sorted(AGENTS)), form=st.integers(0, 9), public=st.booleans())
    def somebody_edits(self, one: Said, name: str, form: int, public: bool) -> None:
        thread = self.thread(one.side, one.ticket)
        known = (AS_REPLY if public else AS_NOTE)[one.side]
        spellings = [s for s in known if not s.startswith(("FORM", "SHARED", "MENTION"))]
        token = self.token()
        was_note = one.token in self.notes
        if name != one.agent or was_note or not public:
            self.notes.add(token)  # nobody but the author may change it, and a note stays one
        one.touched = True
        text = spellings[form % len(spellings)].format(token)
        where = Address(one.side, ROOMS[one.side], thread)
        author = self.agent(name, one.side, may_command=False)
        edit = f"{one.event_id}:edit:{next(self.count)}"
        self.arrives(Inbound(where, edit, author, text, self.now, Kind.EDIT, target_id=one.event_id))

    @rule(one=said)
    def somebody_deletes(self, one: Said) -> None:
        one.touched = True
        where = Address(one.side, ROOMS[one.side], self.thread(one.side, one.ticket))
        author = self.agent(one.agent, one.side, may_command=False)
        event = f"{one.event_id}:deleted:{next(self.count)}"
        self.arrives(Inbound(where, event, author, "", self.now, Kind.DELETE, target_id=one.event_id))

    @rule(
        who=st.sampled_from(sorted(CUSTOMERS)),
        side=st.sampled_from(sorted(ROOMS)),
        name=st.sampled_from(sorted(AGENTS)),
        command=st.sampled_from(
            ["ticket close", "ticket reopen", "ticket take", "ticket assign Mei", "undo"]
        ),
    )
    def an_agent_commands(self, who: str, side: str, name: str, command: str) -> None:
        thread = self.thread(side, who)
        if not thread:
            return
        if command == "undo":
            for one in self.replies:
                if one.ticket == who and one.agent == name:
                    one.touched = True
        where, sign = Address(side, ROOMS[side], thread), "!" if side == "slack" else "/"
        self.arrives(
            Inbound(where, self.event(ROOMS[side]), self.agent(name, side), sign + command, self.now)
        )

    @rule(
        who=st.sampled_from(sorted(CUSTOMERS)),
        side=st.sampled_from(sorted(ROOMS)),
        what=st.sampled_from(["take", "close", "reopen"]),
    )
    def an_agent_presses(self, who: str, side: str, what: str) -> None:
        where = Address(side, ROOMS[side], self.thread(side, who))
        event = f"press:{next(self.count)}"
        action = f"ticket:{self.numbers[who]}:{what}"
        self.arrives(Inbound(where, event, self.agent("Tom", side), "", self.now, Kind.ACTION, action=action))

    @rule(who=st.sampled_from(sorted(CUSTOMERS)), side=st.sampled_from(sorted(ROOMS)), inside=st.booleans())
    def a_stranger_or_the_room_talks(self, who: str, side: str, inside: bool) -> None:
        """Somebody unknown in a thread, or colleagues outside of one: nothing for a customer either way."""
        token = self.token()
        self.notes.add(token)
        author = (
            Author("T0:U0STRANGER" if side == "slack" else "6666", "Nobody")
            if inside
            else self.agent("Tom", side)
        )
        where = Address(side, ROOMS[side], self.thread(side, who) if inside else "")
        self.arrives(Inbound(where, self.event(ROOMS[side]), author, f"psst {token}", self.now))

    @rule(who=st.sampled_from(sorted(CUSTOMERS)), cc=st.booleans())
    def a_customer_writes(self, who: str, cc: bool) -> None:
        more: dict[str, Any] = {}
        if who == "mail" and cc:
            more["participants"] = (Author(f"cc{next(self.count)}@customer.example", "Copy"),)
        self.customer_writes(who, f"and another thing {next(self.count)}", **more)

    # --- who a customer is -----------------------------------------------------------------------------

    @rule(one=st.sampled_from(sorted(CUSTOMERS)), other=st.sampled_from(sorted(CUSTOMERS)))
    def two_customers_are_merged(self, one: str, other: str) -> None:
        def merge(turn: Turn) -> None:
            keep, drop = self.contact_of(turn, one), self.contact_of(turn, other)
            if keep != drop:
                self.merges.append(merging.merge(turn, self.mei(turn), keep, drop))
                self.merged += 1

        self.turn(lambda turn: self.leaves_what_is_written(turn, merge))

    @rule(which=st.integers(0, 9))
    def a_merge_is_undone(self, which: int) -> None:
        if not self.merges:
            return
        number = self.merges[which % len(self.merges)]

        def undo(turn: Turn) -> None:
            try:
                merging.undo(turn, self.mei(turn), number)
            except (UserError, merges.Refused):
                return  # it is inside another one, which must be undone first
            self.merges.remove(number)

        self.turn(lambda turn: self.leaves_what_is_written(turn, undo))

    def leaves_what_is_written(self, turn: Turn, do: Any) -> None:
        """A merge never changes where a written reply goes, nor what it says, nor who was told of it."""
        o, m = schema.outbox, schema.message
        rows = (
            select(o.c.id, o.c.channel, o.c.room_id, o.c.thread_id, o.c.state, o.c.body, o.c.options)
            .where(o.c.purpose.in_(["reply", "answer", "notice", "change"]))
            .order_by(o.c.id)
        )
        said = select(m.c.id, m.c.kind, m.c.text, m.c.recipients).order_by(m.c.id)
        before = [turn.tx.execute(query).all() for query in (rows, said)]
        do(turn)
        assert [turn.tx.execute(query).all() for query in (rows, said)] == before

    def contact_of(self, turn: Turn, who: str) -> int:
        channel, room, _ = CUSTOMERS[who]
        return int(conversations.at_address(turn.tx, channel, room, "").contact_id)

    def mei(self, turn: Turn) -> Any:
        return member(people.by_name(turn.tx, "Mei"))

    # --- what becomes of it ----------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([1, 4, 6, 60, 86_400 * 8]))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(outcome=st.sampled_from(["sent", "sent", "sent", "dead", "unknown"]), most=st.integers(1, 6))
    def some_goes_out(self, outcome: str, most: int) -> None:
        self.turn(lambda turn: self.deliver(turn, outcome, most))

    @rule()
    def everything_goes_out(self) -> None:
        while self.turn(lambda turn: self.deliver(turn, "sent", 50)):
            pass

    def deliver(self, turn: Turn, outcome: str, most: int) -> int:
        rows = outbox.claim(turn.tx, self.now, limit=most, lease_s=60)
        for row in rows:
            message = self.delivery._outbound(turn.tx, row)
            customer = row.purpose in ("reply", "answer", "notice", "change")
            if row.op in ("edit", "delete", "mark") and not message.target_id:
                outbox.settle(
                    turn.tx, row, "dead" if customer else "withdrawn", self.now, error="nothing to change"
                )
                if customer:
                    relay.undelivered(turn, row, "dead", "nothing to change", gone=False)
                continue
            if outcome != "sent" and row.purpose == "reply":
                if outcome == "unknown":  # it took effect, and nobody heard of it
                    self.takes_effect(message)
                outbox.settle(turn.tx, row, outcome, self.now, error="no")
                relay.undelivered(turn, row, outcome, "no", gone=False)
                self.lost.add(row.message_id or 0)
                continue
            event = self.takes_effect(message)
            outbox.settle(turn.tx, row, "sent", self.now, event_id=event)
            relay.delivered(turn, row, event, event if message.opens_thread else message.address.thread_id)
        return len(rows)

    def takes_effect(self, message: Any) -> str:
        far = self.far[message.address.channel]
        room, text = message.private_to or message.address.room_id, to_text(message.reply)
        match message.op:
            case Op.SEND | Op.FORM:
                event = f"{room}:{next(self.count)}"
                far.shown[event] = (room, text)
                far.ever.append((room, text))
                for copy in message.cc:
                    far.ever.append((copy.user_id, text))
                return event
            case Op.EDIT if message.target_id in far.shown:
                far.shown[message.target_id] = (room, text)
                far.ever.append((room, text))
            case Op.DELETE:
                far.shown.pop(message.target_id, None)
        return str(message.target_id)

    # --- what must hold --------------------------------------------------------------------------------

    def shown_recipients(self, turn: Turn, who: str) -> str:
        channel, room, _ = CUSTOMERS[who]
        conversation = conversations.at_address(turn.tx, channel, room, "")
        return to_text(card.build(turn, self.ticket_of(turn, who))) + card.recipients(turn, conversation)

    def goes_where_it_was_shown(self, turn: Turn, who: str, token: str, shown: str) -> None:
        channel, room, name = CUSTOMERS[who]
        o = schema.outbox
        rows = [r for r in turn.tx.execute(select(o).where(o.c.purpose == "reply")) if token in r.body]
        assert len(rows) == 1, f"{len(rows)} rows carry one reply"
        (row,) = rows
        assert (row.channel, row.room_id) == (channel, room)
        assert name in shown or self.merged  # then it is the name of who they are by now
        assert (room if channel == "support" else channel) in shown
        for address, _ in row.options["cc"]:
            assert address in shown

    @invariant()
    def no_word_of_a_note_is_with_a_customer(self) -> None:
        staff = set(ROOMS.values()) | {user for ids in AGENTS.values() for user in ids.values()}
        staff |= {"T0:U0STRANGER", "6666"}
        for far in self.far.values():
            for room, text in far.ever:
                if room not in staff:
                    leaked = [n for n in self.notes if n in text]
                    assert not leaked, f"{leaked} reached {room}"

    @invariant()
    def nobody_reads_anothers_reply(self) -> None:
        homes = {one.token: CUSTOMERS[one.ticket][:2] for one in self.replies}
        for channel, far in self.far.items():
            for room, text in far.ever:
                for token, (own, home) in homes.items():
                    if token in text and (channel, room) != (own, home) and room not in ROOMS.values():
                        assert room.endswith("@customer.example"), f"{token} reached {room}"
                        assert own == "support", f"{token} reached {room}"

    def the_rest_is_delivered(self) -> None:
        self.now += timedelta(days=1)
        self.everything_goes_out()
        rows = self.turn(lambda turn: list(turn.tx.execute(select(schema.message))))
        for one in self.replies:
            channel, room, _ = CUSTOMERS[one.ticket]
            there = [t for r, t in self.far[channel].shown.values() if r == room and one.token in t]
            of = [m for m in rows if m.kind == "out" and one.token in m.text]
            if one.touched:
                assert len(there) <= 1
            elif of and of[0].id not in self.lost:
                assert len(there) == 1, f"{one.token} stands {len(there)} times"
        for m in rows:
            if m.kind == "note":
                assert not any(m.text and m.text in t for f in self.far.values() for r, t in f.shown.values()
                               if (r in {c[1] for c in CUSTOMERS.values()}))  # fmt: skip
            elif m.kind == "out" and m.author_kind == "staff" and m.id not in self.lost:
                channel, room = m.channel, m.recipients[0]
                there = [t for r, t in self.far[channel].shown.values() if r == room and m.text in t]
                assert len(there) == (0 if m.deleted_at else 1), f"{m.text!r} stands {len(there)} times"


TestNotesNeverLeak = Desk.TestCase
TestNotesNeverLeak.settings = settings(
    max_examples=30, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
