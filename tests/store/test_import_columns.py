"""Files as shops and desks export them: their columns, titles, quotes, encodings and dates are understood."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from crm_store.importing import columns, files, habits, kinds
from crm_store.importing.columns import Kind
from crm_store.importing.deals import Stages
from crm_store.importing.values import Defaults

DEFAULTS = Defaults(timezone=ZoneInfo("Asia/Shanghai"), region="CN", currency="CNY", language="en")


def understood(path: Path, kind: Kind, content: str | bytes) -> list[Any]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    rows = files.read(path, lambda name: columns.field_of(kind, name) is not None)
    rows, defaults, _ = habits.learned(kind, rows, DEFAULTS)
    return list(kinds.parsed(kind, rows, defaults, Stages(("new", "won"))))


@pytest.mark.parametrize(
    ("kind", "header", "fields"),
    [
        (
            "customers",
            "Customer ID,First Name,Last Name,Email,Accepts Email Marketing,Default Address City,"
            "Default Address Country Code,Phone,Tags,Total Spent",
            "ref first_name last_name email consent city country phone tags -",
        ),
        ("customers", "user_id,user_email,billing_first_name,billing_phone", "ref email first_name phone"),
        ("customers", "Contact ID,Account Name,Mobile,Mailing City", "ref company phone city"),
        ("customers", "Record ID,Phone Number,Company Name,Country/Region", "ref phone company country"),
        ("customers", "E-mail 1 - Value,Phone 1 - Value,Organization Name", "email phone company"),
        (
            "customers",
            "*客户名称,*手机号(必填),邮箱（选填）,所属公司,客户标签",
            "name phone email company tags",
        ),
        ("customers", "姓名,電話,電子郵件,客戶編號", "name phone email ref"),
        ("customers", "买家昵称,收件人姓名,收件人手机,所在城市,会员名", "name name phone city ref"),
        ("orders", "Order Number,Order Status,Order Date,Email (Billing),Phone (Billing),Order Total Amount,SKU,"
         "Item Name,Quantity,Item Cost", "number status ordered_at email phone amount sku product quantity price"),
        (
            "orders",
            "订单编号,买家会员名,总金额,订单状态,收货人姓名,联系手机,订单创建时间,宝贝标题,"
            "物流单号,宝贝总数量",
            "number ref amount status name phone ordered_at product tracking quantity",
        ),
        (
            "orders",
            "订单号,收货人/提货人,收货人手机号/提货人手机号,商品单价,订单实付金额",
            "number name phone price amount",
        ),
        ("orders", "amazon-order-id,purchase-date,item-price,buyer-email", "number ordered_at amount email"),
        ("deals", "Opportunity ID,Opportunity Name,Stage,Amount,Close Date,Opportunity Owner",
         "key title stage amount expected_on owner"),
        ("deals", "Record ID,Deal Name,Deal Stage,Deal owner,Associated Contact", "key title stage owner customer"),
        ("deals", "商机编号,商机名称,销售阶段,预计金额,客户手机", "key title stage amount phone"),
        ("events", "Event Name,Timestamp,User Email,Page URL", "kind at email page"),
    ],
)  # fmt: skip
def test_the_columns_of_many_systems_are_known(kind: Kind, header: str, fields: str) -> None:
    found = [columns.field_of(kind, name) or "-" for name in header.split(",")]
    assert found == fields.split()


def test_a_name_that_shopify_gives_an_order_is_its_number(tmp_path: Path) -> None:
    text = (
        "Name,Email,Financial Status,Fulfillment Status,Currency,Subtotal,Total,Created at,Lineitem quantity,"
        "Lineitem name,Lineitem price,Billing Name\n"
        "#1,a@b.cc,paid,fulfilled,EUR,30.00,35.00,2026-03-05 09:59:00 +0100,2,Tea,10.00,Anna Smith\n"
        "#1,a@b.cc,,,,,,2026-03-05 09:59:00 +0100,1,Mug,10.00,\n"
    )
    (order,) = understood(tmp_path / "f", "orders", text)
    assert (order.number, order.amount_minor, order.status, order.customer.name) == (
        *("#1", 3500, "shipped", "Anna Smith"),
    )
    assert [(line.name, line.quantity, line.amount_minor) for line in order.lines] == [
        ("Tea", 2, 2000),
        ("Mug", 1, 1000),
    ]


def test_every_address_and_number_of_a_row_counts_and_a_wrong_one_takes_no_other_with_it(
    tmp_path: Path,
) -> None:
    text = "Name,Email,Email 2,Phone,Mobile\nA,a@b.cc,c@d.cc,12,+12125550123\nB,nope,b@b.cc,,-\n"
    wrong, first, nope, second = understood(tmp_path / "f", "customers", text)
    assert (wrong.reason_key, nope.reason_key) == ("phone", "email")
    assert first.keys == (("email", "a@b.cc"), ("email", "c@d.cc"), ("phone", "+12125550123"))
    assert second.keys == (("email", "b@b.cc"),)


@pytest.mark.parametrize(
    "above", ["客户资料\n导出时间：2026-03-05\n", "Customer list,,\n,,\n", "Customers\n\n", "\n\n"]
)
def test_a_title_above_the_header_is_no_header(tmp_path: Path, above: str) -> None:
    text = f"{above}客户名称,手机,邮箱\n周十,13511115555,z@example.com\n"
    (row,) = understood(tmp_path / "f", "customers", text)
    assert (row.line, row.name) == (above.count("\n") + 2, "周十")


def test_a_quote_left_open_takes_one_row_not_the_rest_of_the_file(tmp_path: Path) -> None:
    text = 'name,email\nA,a@b.cc\n"B,b@b.cc\nC,c@b.cc\n"D\n1",d@b.cc\n"E,e@b.cc\n'
    found = understood(tmp_path / "f", "customers", text)
    assert [(row.line, getattr(row, "name", getattr(row, "reason_key", ""))) for row in found] == [
        *((2, "A"), (3, "quote"), (4, "C"), (5, "D 1"), (7, "quote")),
    ]


def test_rows_after_a_cell_that_is_too_long_are_read(tmp_path: Path) -> None:
    text = f'name,email\n"{"x" * files.CELL}y",a@b.cc\nB,b@b.cc\n'
    found = understood(tmp_path / "f", "customers", text)
    assert [(row.line, getattr(row, "reason_key", "")) for row in found] == [(2, "cell"), (3, "")]


def test_files_put_together_have_their_header_again(tmp_path: Path) -> None:
    text = "name,email\nA,a@b.cc\nname,email\nB,b@b.cc\n"
    assert [row.name for row in understood(tmp_path / "f", "customers", text)] == ["A", "B"]


PEOPLE = [{"name": "A", "email": "a@b.cc"}, {"name": "B", "email": "b@b.cc"}]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(PEOPLE),
        json.dumps({"customers": PEOPLE}),
        json.dumps({"page": {"of": [1, 2]}, "data": PEOPLE, "next": [{"name": "X"}]}, indent=2),
        "\n".join(map(json.dumps, PEOPLE)),
        "\n".join(json.dumps(one, indent=1) for one in PEOPLE),
        json.dumps([{"customer": one} for one in PEOPLE]),
    ],
)
def test_objects_are_found_wherever_they_are(tmp_path: Path, text: str) -> None:
    rows = understood(tmp_path / "f", "customers", text)[:2]
    assert [(row.name, row.keys) for row in rows] == [
        ("A", (("email", "a@b.cc"),)),
        ("B", (("email", "b@b.cc"),)),
    ]


def test_an_order_alone_is_not_taken_apart(tmp_path: Path) -> None:
    order = {"number": "A1", "date": "2026-03-05", "amount": "5 EUR", "email": "a@b.cc"}
    text = json.dumps({**order, "items": [{"name": "Tea"}, {"name": "Mug"}]}, indent=2)
    (found,) = understood(tmp_path / "f", "orders", text)
    assert (found.number, [line.name for line in found.lines]) == ("A1", ["Tea", "Mug"])


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp932", "name,メール,email\n山田タロウ,,y@example.jp\n"),
        ("cp1251", "name,email,город\nИван Петров,i@example.ru,Москва\n"),
        ("utf-32", "name,email\n张三,z@example.cn\n"),
    ],
)
def test_other_encodings_are_told_from_chinese(tmp_path: Path, encoding: str, text: str) -> None:
    (row,) = understood(tmp_path / "f", "customers", text.encode(encoding))
    assert row.name == text.splitlines()[1].split(",")[0]


def orders(*rows: str) -> str:
    return "number;date;amount;email\n" + "".join(
        f"A{n};{row};a@b.cc\n" for n, row in enumerate(rows, start=1)
    )


@pytest.mark.parametrize(
    ("other", "day"), [("25/12/2025", (2026, 5, 3)), ("12/25/2025", (2026, 3, 5)), ("1/1/2026", None)]
)
def test_what_a_slashed_date_means_is_told_by_the_others(
    tmp_path: Path, other: str, day: tuple[int, ...] | None
) -> None:
    first, _ = understood(tmp_path / "f", "orders", orders("03/05/2026;1", f"{other};1"))
    if day is None:
        assert first.reason_key == "date_ambiguous"
    else:
        assert first.ordered_at == datetime(*day, tzinfo=ZoneInfo("Asia/Shanghai")).astimezone(UTC)  # type: ignore[arg-type]


@pytest.mark.parametrize(("other", "minor"), [("12,50 €", 123400), ("12.50 €", None), ("5 €", None)])
def test_what_a_point_means_is_told_by_the_others(tmp_path: Path, other: str, minor: int | None) -> None:
    text = orders("2026-03-05;1.234 €", f"2026-03-05;{other}")
    first, _ = understood(tmp_path / "f", "orders", text)
    if minor is None:
        assert first.reason_key == "amount_ambiguous"
    else:
        assert first.amount_minor == minor


def test_numbers_kept_as_text_are_numbers(tmp_path: Path) -> None:
    text = "订单编号,金额,下单时间,手机,客户编号\n=\"0012\",¥5,2026-03-05,'13700001111,'0815\n"
    (found,) = understood(tmp_path / "f", "orders", text)
    assert (found.number, found.customer.keys) == ("0012", (("phone", "+8613700001111"), ("ref", "0815")))


@pytest.mark.parametrize(
    "begin", [b"\x1f\x8b\x08", b"%PDF-1.4\n", b"\x89PNG\r\n", b"\xef\xbb\xbf<html><table>", b"7z\xbc\xaf'"]
)
def test_what_is_no_table_is_said(tmp_path: Path, begin: bytes) -> None:
    with pytest.raises(files.NoTable):
        understood(tmp_path / "f", "customers", begin + b"a,b\n1,2\n")


def test_a_currency_that_one_amount_names_is_that_of_the_order(tmp_path: Path) -> None:
    head = "number,date,email,product,quantity,price,total\n"
    rows = "A,2026-03-05,a@b.cc,Tea,2,5.00,€10.00\nB,2026-03-05,a@b.cc,Tea,2,$5.00,€10.00\n"
    first, second = understood(tmp_path / "f", "orders", head + rows)
    assert (first.currency, first.amount_minor, first.lines[0].amount_minor) == ("EUR", 1000, 1000)
    assert second.reason_key == "currency"
