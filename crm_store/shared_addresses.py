"""Addresses and numbers that are nobody's own: what they say proves nothing about who somebody is."""

from __future__ import annotations

import re
import unicodedata

from crm_store.importing.guesses import PROVIDERS, REAL

ROLES = """
abuse accounting accounts admin administrator all anfrage billing bookings bounce bounces buchhaltung ceo
compras contact contacto contato customer customercare customerservice desk do-not-reply donotreply ebay
einkauf enquiries enquiry feedback finance hello help helpdesk hi hostmaster hr info information inquiries
invoice invoices it jobs kefu kontakt legal mail mailer-daemon mailbox marketing marketplace me news
newsletter no-reply nobody noc noreply notification notifications office order orders post postmaster press
privacy purchasing reception recruitment reservations returns root sales secretary security service services
shipping shop staff store subscribe support system team tech test unsubscribe verkauf vertrieb webmaster
welcome
"""
_ROLES = frozenset(ROLES.split())
_HAN_ROLES = re.compile(
    r"客服|售后|售前|销售|采购|财务|人事|行政|前台|公司|团队|服务|支持|投诉|市场|信息|系统|订单"
)
_NO_REPLY = re.compile(r"no[._-]?reply|do[._-]?not[._-]?reply|bounces?[+._=-]|^prvs=|[+=].*=|reply[+._-]")
MORE_PROVIDERS = """
hey.com mailbox.org posteo.de posteo.net rocketmail.com tutanota.com vip.sina.com wo.cn
"""
_PUBLIC = frozenset(f"{PROVIDERS} {REAL} {MORE_PROVIDERS}".split())


def is_shared(address: str) -> bool:
    """Whether an e-mail address is a role's (info@, noreply@, 客服@) rather than a person's."""
    local, _, domain = unicodedata.normalize("NFKC", address).lower().rpartition("@")
    if not local or not domain:
        return True
    bare = re.sub(r"[\d._-]+$", "", local.split("+")[0])
    first = re.split(r"[._-]", bare)[0]
    return bool(
        bare in _ROLES
        or local in _ROLES
        or (first in _ROLES and first not in ("me", "mail", "it", "all", "hi", "test"))
        or _HAN_ROLES.search(local)
        or _NO_REPLY.search(local)
    )


def own_domain(address: str) -> str:
    """The domain of an address that is an organisation's own; "" for public providers of mail."""
    domain = address.lower().rpartition("@")[2]
    return "" if domain in _PUBLIC else domain
