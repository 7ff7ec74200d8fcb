"""Access: what each role may do, of whose rows, and what is masked. Authority comes from an enrolled identity,
never from a room.

One table says which command a role may use: the roles of the command's record, and what the configuration adds
or takes away. Buttons, forms, reactions and the API go by the command that does the same thing (`BY_COMMAND`), so
that nobody can press what they may not type.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from bot.i18n import UserError, say
from bot.registry import everything
from bot.roles import MASKED, ROLES
from channels.conversation import Author
from crm_store import audit, people, scope
from crm_store.scope import Scope

if TYPE_CHECKING:
    from bot.config import RoleSettings
    from bot.office import Turn
    from channels.rich import Reply

BY_COMMAND = {  # what is done without typing a command, and the command that does the same
    "profile": "customer",
    "profile edit": "set",
    "profile set": "set",
    "send_to_customer": "reply",
    "open_ticket": "ticket",
    "ticket reply": "reply",
    "ticket send": "reply",
    "ticket note": "note",
    "ticket noted": "note",
    "ticket macro": "macro",
    "ticket use": "macro",
    "api customers:read": "customer",
    "api conversations:read": "customer",
    "api orders:read": "customer",
    "api events:read": "customer",
    "api tickets:read": "tickets",
    "api articles:read": "help",
    "api deals:read": "deal",
    "api customers:write": "set",
    "api orders:write": "set",
    "api events:write": "set",
    "api articles:write": "macro",
    "api tickets:write": "ticket",
    "api messages:write": "reply",
    "api deals:write": "deal",
}


@dataclass(frozen=True, slots=True)
class Member:
    """A staff member who is acting, and as whom the audit log knows them."""

    id: int
    name: str
    role: str
    language: str | None

    @property
    def actor(self) -> str:
        return f"staff:{self.id}"


def member(row: Any, language: str | None = None) -> Member:
    """A staff row as who acts; `language` is the platform's idea, for those who chose none."""
    return Member(row.id, row.name, row.role, row.language or language)


def recognise(tx: Connection, space: str, author: Author) -> Member | None:
    """The enrolled staff member who wrote this; None for everybody else and whatever carries no authority
    (forwarded, edited, by a bot, from another team)."""
    if author.is_bot or not author.may_command:
        return None
    row = people.by_identity(tx, space, author.user_id)
    return member(row, author.language) if row is not None else None


class Access:
    """The table: who may use which command, whose rows they see, and what is masked for them."""

    def __init__(self, roles: Mapping[str, RoleSettings]) -> None:
        self._roles = roles

    def may(self, who: Member, what: str) -> bool:
        """Whether somebody may use a command, or do what `BY_COMMAND` names; "ticket close" is /ticket."""
        name = BY_COMMAND.get(what) or what.partition(" ")[0]
        found = everything().get(name)
        return found is not None and self.allows(who.role, found.name, found.roles)

    def allows(self, role: str, command: str, by_default: frozenset[str]) -> bool:
        may = self.like(role) in by_default
        for rule in self._rules(role):
            may = command not in rule.deny and (may or command in rule.allow)
        return may

    def rows(self, role: str) -> str:
        """own, team or all; own for a role that is not there any more."""
        said = [rule.rows for rule in self._rules(role) if rule.rows is not None]
        return said[-1] if said else "all" if self.like(role) in ROLES else "own"

    def masks(self, role: str) -> bool:
        said = [rule.mask for rule in self._rules(role) if rule.mask is not None]
        return said[-1] if said else self.like(role) in MASKED or self.like(role) not in ROLES

    def like(self, role: str) -> str:
        """The role of ours that a configured one is like; itself for ours."""
        rule = self._roles.get(role)
        return rule.like if rule is not None and rule.like else role

    def called(self, role: str, lang: str) -> str:
        """What a role is called: by its title, in words of ours, or as it was written."""
        rule = self._roles.get(role)
        if rule is not None and rule.title:
            return rule.title
        return say(f"role.{role}", lang) if role in ROLES else role

    def _rules(self, role: str) -> list[RoleSettings]:
        """What is configured for a role: of the one it is like first, then its own."""
        names = dict.fromkeys((self.like(role), role))
        return [self._roles[name] for name in names if name in self._roles]


def require(turn: Turn, who: Member, what: str) -> None:
    """Raise UserError, and note it, when somebody may not do something that is done without a command."""
    if not turn.office.access.may(who, what):
        refuse(turn, who, what)
        role = turn.office.access.called(who.role, turn.language_of(who))
        raise UserError("staff.refused", role=role, name=BY_COMMAND.get(what, what).partition(" ")[0])


def refuse(turn: Turn, who: Member, what: str, object: str = "") -> None:
    audit.record(turn.tx, turn.now, who.actor, "action", object or what, "refused", via=turn.via)


# --- rows ---------------------------------------------------------------------------------------------------


def scope_of(turn: Turn, who: Member) -> Scope | None:
    """Whose rows somebody sees; None for all."""
    match turn.office.access.rows(who.role):
        case "own":
            return Scope(frozenset([who.id]))
        case "team":
            return Scope(frozenset(people.team_of(turn.tx, who.id)))
        case _:
            return None


def sees_ticket(turn: Turn, who: Member, row: Any) -> bool:
    return row is not None and scope.has_ticket(turn.tx, scope_of(turn, who), row.id)


def sees_contact(turn: Turn, who: Member, contact_id: int) -> bool:
    return scope.has_contact(turn.tx, scope_of(turn, who), contact_id)


def seen_ticket(turn: Turn, who: Member, row: Any, number: object) -> Any:
    """The ticket. Raise UserError when there is none or it is none of theirs: which, they are not told."""
    if not sees_ticket(turn, who, row):
        raise UserError("staff.no_ticket", number=str(number)[:20])
    return row


def seen_contact(turn: Turn, who: Member, contact_id: int) -> int:
    """The contact. Raise UserError when it is none of theirs."""
    if not sees_contact(turn, who, contact_id):
        raise UserError("profile.nobody", text=str(contact_id))
    return contact_id


def present(turn: Turn, contact_id: int) -> int:
    """The contact. Raise UserError when they were erased: nothing is to be known of them again."""
    from crm_store.erase import was_erased

    if was_erased(turn.tx, contact_id):
        raise UserError("erase.already", id=contact_id)
    return contact_id


# --- masks --------------------------------------------------------------------------------------------------


def shown(turn: Turn, who: Member, reply: Reply) -> Reply:
    """A reply as somebody may see it: addresses and numbers masked where their role says so."""
    from bot import masking

    if not turn.office.access.masks(who.role):
        return reply
    return masking.reply(reply, turn.office.config.desk.country)


def shown_to_all(turn: Turn, reply: Reply) -> Reply:
    """A reply as it is posted for a whole room of staff to read."""
    from bot import masking

    if not turn.office.config.access.mask_rooms:
        return reply
    return masking.reply(reply, turn.office.config.desk.country)
