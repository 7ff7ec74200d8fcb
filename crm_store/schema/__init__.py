"""Every table, a file a subject. Times are aware UTC, money is minor units with currency, platform ids are text."""

from crm_store.schema.base import Json, UtcDateTime, metadata
from crm_store.schema.deals import contact_note, deal, deal_product, deal_stage
from crm_store.schema.desk import (
    attachment,
    audit,
    blob,
    conversation,
    expectation,
    message,
    message_version,
    participant,
    thread,
    thread_ref,
    ticket,
)
from crm_store.schema.imports import contact_mark, import_change, import_range, import_run
from crm_store.schema.line import counter, cursor, event_count, inbox, journal, lease, meta, outbox
from crm_store.schema.merges import merge, merge_row, suggestion
from crm_store.schema.outside import api_request, api_token, webhook_event
from crm_store.schema.people import confirmation, contact, identity, staff, staff_code, staff_identity
from crm_store.schema.privacy import consent, erased_key, erasure
from crm_store.schema.sealed import SealedBytes, SealedJson
from crm_store.schema.trade import article, customer_event, macro, order, order_line

__all__ = [
    "Json",
    "SealedBytes",
    "SealedJson",
    "UtcDateTime",
    "api_request",
    "api_token",
    "article",
    "attachment",
    "audit",
    "blob",
    "confirmation",
    "consent",
    "contact",
    "contact_mark",
    "contact_note",
    "conversation",
    "counter",
    "cursor",
    "customer_event",
    "deal",
    "deal_product",
    "deal_stage",
    "erased_key",
    "erasure",
    "event_count",
    "expectation",
    "identity",
    "import_change",
    "import_range",
    "import_run",
    "inbox",
    "journal",
    "lease",
    "macro",
    "merge",
    "merge_row",
    "message",
    "message_version",
    "meta",
    "metadata",
    "order",
    "order_line",
    "outbox",
    "participant",
    "staff",
    "staff_code",
    "staff_identity",
    "suggestion",
    "thread",
    "thread_ref",
    "ticket",
    "webhook_event",
]
