"""Deals from a file: found again by the file's own number, so that the same file twice changes nothing."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from crm_store import contacts, deals, people
from crm_store.db import Store
from crm_store.importing import values
from crm_store.importing.files import Row, read
from crm_store.importing.report import Report
from crm_store.importing.rows import Rejected
from crm_store.importing.values import Defaults, Wrong
from crm_store.privacy import tombstones

BATCH = 200  # rows a transaction
_OURS = re.compile(r"D(\d{1,9})")  # as our own exports name a deal
_COLUMNS = {
    "key": "key id deal deal_id deal_number number ref 商机编号 编号",
    "title": "title name deal_name what subject 商机名称 商机 标题 内容",
    "stage": "stage status state pipeline_stage 阶段 状态",
    "amount": "amount value sum total deal_value 金额 总金额 预计金额",
    "currency": "currency currency_code 币种 货币",
    "expected_on": "expected_on expected close_date expected_close closing_date 预计成交 预计成交日期",
    "owner": "owner salesperson sales_rep assigned_to 负责人 销售",
    "lost_reason": "lost_reason reason 输单原因",
    "email": "email e_mail customer_email contact_email 邮箱 客户邮箱 电子邮箱",
    "phone": "phone mobile customer_phone 手机 电话 客户电话 联系电话",
    "ref": "customer_ref customer_id customer_no 客户编号",
    "customer": "customer customer_name contact contact_name 客户 客户名称 客户姓名 联系人",
}
_STAGES = {
    deals.WON: "won closed_won win success 赢单 成交 已成交",
    deals.LOST: "lost closed_lost lose failed 输单 流失 未成交",
}


async def run(
    store: Store,
    path: Path,
    defaults: Defaults,
    now: datetime,
    stages: Iterable[str],
    words: Mapping[str, str] = {},
    *,
    dry_run: bool = False,
) -> Report:
    """Import a file. `words` are further names of stages. Raise OSError, ValueError."""
    known = {_plain(alias): stage for stage, aliases in _STAGES.items() for alias in aliases.split()}
    known |= {_plain(word): stage for word, stage in words.items()}
    known |= {_plain(stage): stage for stage in stages}
    first = next(iter(stages))
    report = Report()
    rows = read(path, lambda name: _plain(name) in _columns())
    while batch := list(itertools.islice(rows, BATCH)):
        try:
            done = await store.write(
                _write, batch, defaults, now, known, first, f"import:{path.name}", dry_run
            )
        except _DryRun as dry:
            done = dry.report
        report.add(done)
    return report


class _DryRun(Exception):
    def __init__(self, report: Report) -> None:
        self.report = report


def _write(
    tx: Connection,
    rows: list[Row],
    defaults: Defaults,
    now: datetime,
    stages: Mapping[str, str],
    first: str,
    source: str,
    dry_run: bool,
) -> Report:
    report = Report()
    for row in rows:
        if row.broken:
            report.reject(Rejected(row.line, row.broken))
            continue
        try:
            _take(tx, row, defaults, now, stages, first, source, report)
        except Wrong as wrong:
            report.reject(Rejected(row.line, wrong.reason, {"value": wrong.value}))
    if dry_run:
        raise _DryRun(report)
    return report


def _take(
    tx: Connection,
    row: Row,
    defaults: Defaults,
    now: datetime,
    stages: Mapping[str, str],
    first: str,
    source: str,
    report: Report,
) -> None:
    said = {
        name: value
        for column, value in row.cells.items()
        if (name := _columns().get(_plain(column))) and value not in ("", None)
    }
    key, title = values.clean(said.get("key")), values.clean(said.get("title"))
    keys = _keys(said, defaults)
    if not key or not title:
        report.reject(Rejected(row.line, "missing", {"fields": "key" if not key else "title"}))
        return
    gone = [one for one in keys if contacts.find_identity(tx, *one) is None]
    if tombstones.identities_erased(tx, set(gone)):
        report.reject(Rejected(row.line, "erased"))
        return
    stage = stages.get(_plain(values.clean(said.get("stage")) or first))
    if stage is None:
        report.reject(Rejected(row.line, "stage", {"value": values.clean(said.get("stage"))}))
        return
    amount, currency = 0, defaults.currency
    if "amount" in said:
        amount, currency = values.money(said["amount"], values.clean(said.get("currency")), defaults)
    changes: dict[str, Any] = {
        "title": title[:200],
        "stage": stage,
        "amount_minor": amount,
        "currency": currency,
        "expected_on": _day(said.get("expected_on"), defaults),
        "lost_reason": values.clean(said.get("lost_reason")) if stage == deals.LOST else "",
    }
    owner = people.by_name(tx, values.clean(said.get("owner"))) if "owner" in said else None
    if owner is not None:
        changes["owner_id"] = owner.id
    known = deals.by_key(tx, key)
    if known is None and (ours := _OURS.fullmatch(key)):
        known = deals.by_number(tx, int(ours[1]))
    if known is not None:
        changed = deals.change(tx, now, "import", known, **changes)
        if changed is known:
            report.unchanged += 1
        else:
            report.updated += 1
        return
    contact_id = _whose(tx, keys, values.clean(said.get("customer")), now, source)
    if contact_id is None:
        report.reject(Rejected(row.line, "no_customer", {"number": key}))
        return
    deals.add(tx, now, "import", contact_id=contact_id, key=key, source=source, **changes)
    report.new += 1


def _keys(said: Mapping[str, Any], defaults: Defaults) -> list[tuple[str, str]]:
    keys = [("email", one) for one in values.emails(said["email"])] if "email" in said else []
    if "phone" in said:
        keys += [("phone", one) for one in values.phones(said["phone"], defaults.region)]
    return keys + ([("ref", values.clean(said["ref"]))] if "ref" in said else [])


def _whose(tx: Connection, keys: list[tuple[str, str]], name: str, now: datetime, source: str) -> int | None:
    """The customer of the first key that somebody has, else a new one of the first key."""
    for space, user_id in keys:
        if (found := contacts.find_identity(tx, space, user_id)) is not None:
            return found.contact_id
    if not keys:
        return None
    space, user_id = keys[0]
    return contacts.meet(tx, now, space=space, user_id=user_id, name=name, source=source).contact_id


def _day(value: Any, defaults: Defaults) -> date | None:
    return values.moment(value, defaults).astimezone(defaults.timezone).date() if value else None


@cache
def _columns() -> dict[str, str]:
    return {_plain(alias): field for field, aliases in _COLUMNS.items() for alias in aliases.split()}


def _plain(text: str) -> str:
    folded = unicodedata.normalize("NFKC", str(text)).casefold()
    return "".join(c for c in folded if c.isalnum())
