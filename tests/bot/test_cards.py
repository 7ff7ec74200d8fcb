"""What staff read about customers: in their language, with dates, amounts and names as a person writes them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bot.privacy import outside
from channels.conversation import Author
from channels.rich import Buttons, Fields, Form
from crm_store import consent, contacts, erase, people, sales
from crm_store.places import language_called
from tests.bot.test_customer_commands import ask
from tests.deciding import Deciding, deciding

LONG = "深圳市前海某某国际供应链管理与电子商务科技发展股份有限公司"
PEOPLE = f"""name,email,company,country,language
Li Wei,li@acme.example,Acme Ltd,GB,en
Ann,ann@acme.example,ACME Limited,GB,en
张三,zhangsan@qq.example,{LONG},CN,zh
张珊,zs@qq.example,{LONG}二厂,CN,zh
"""
ORDERS = """number,date,email,status,amount,currency
A-1,2026-02-01 23:30,li@acme.example,shipped,1234567.5,EUR
A-2,2024-02-03,li@acme.example,shipped,50000,JPY
A-3,2026-02-20,ann@acme.example,refunded,10,EUR
"""
RAW = re.compile(r"\bNone\b|\bstaff:\d|\{\w*\}|\b[a-z]+_[a-z_]+\b|\b1 (orders|customers|days)\b|datetime")


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Deciding]:
    async with deciding(tmp_path) as found:
        for kind, text in (("customers", PEOPLE), ("orders", ORDERS)):
            await found.bring(tmp_path, kind, text)

        def more(tx: Any) -> None:
            for name, role, language in (
                ("Max", "manager", "en"),
                ("小赵", "sales", "zh"),
                ("Sam", "sales", "en"),
            ):
                people.add(tx, found.now, name, role, language)
            for purpose, state in (("marketing_email", "granted"), ("marketing_sms", "withdrawn")):
                consent.add(tx, found.now, 1, purpose, state, source="by phone", actor="staff:1")

        await found.store.write(more)
        yield found


async def test_everything_reads_in_the_readers_language(desk: Deciding) -> None:
    li = Author("li@acme.example", "Li Wei", verified_email="li@acme.example")
    await desk.take("I want a person", author=li, channel="support", room="li@acme.example", subject="Sofa")
    await desk.take("我要人工", author=Author("777", "王五", "wangwu"), channel="telegram", room="777")
    for manager, seller in (("Max", "Sam"), ("Mei", "小赵")):
        for text, who in [
            *(("/deal new C1 1200 EUR Sofa", seller), ("/deal list", seller), ("/pipeline", seller)),
            *(("/set C1 owner Tom", manager), ("/tag C1 vip", manager), ("/note C1 likes oak", manager)),
            *(("/customer C1", manager), ("/customer C2", manager), ("/customer zhang", manager)),
            *(("/history C1", manager), ("/company C2", manager), ("/company acme", manager)),
            *(("/segment country:GB", manager), ("/quality", manager), ("/consent C1", manager)),
            *(("/consent C1 grant marketing_email said so", manager), ("/notes C1", manager)),
            *(("/audit customer C1", manager), ("/audit staff Tom", manager), ("/ticket 1", manager)),
            *(
                ("/search person", manager),
                ("/merge C1 C2", manager),
                ("/erase C2", manager),
                ("/unmerge", manager),
            ),
        ]:
            found = await ask(desk, text, who)
            assert not RAW.search(
                found.text.replace("last_order", "").replace("marketing_", "")
            ) or text.startswith("/segment"), found.text
            if manager == "Mei":  # labels and headings are hers; values are whatever was written
                fields = [block for block in found.reply.blocks if isinstance(block, Fields)]
                labels = [label for block in fields for label, _ in block.pairs]
                labels += [
                    b.label for part in found.reply.blocks if isinstance(part, Buttons) for b in part.buttons
                ]
                english = [label for label in labels if re.fullmatch(r"[A-Za-z -]{3,}", label)]
                assert not set(english) - {"Li Wei", "Ann"}, (text, english)


async def test_amounts_dates_and_numbers_are_written_as_people_do(desk: Deciding) -> None:
    vars(desk.office.config.desk)["timezone"] = "Asia/Shanghai"
    card = (await ask(desk, "/customer C1", "Max")).text
    for words in (
        "1,234,567.50 EUR",
        "50,000 JPY",
        "2 orders, ",
        "last order 2024-02-0",
        "A-1    2026-02-02",  # half past seven in the morning there
        "✓ E-mail marketing (2026-03-02)",
        "✗ SMS marketing (2026-03-02)",
        "English",
    ):
        assert words in card, card
    assert "1 order, " in (await ask(desk, "/customer C2", "Max")).text
    chinese = (await ask(desk, "/customer C1", "Mei")).text
    for words in ("订单：2 个订单，", "○ 邮箱 li@acme.example（未验证）", "✓ 邮箱营销（2026-03-02）", "英文"):
        assert words in chinese, chinese
    assert sales.money(-5, "EUR") == "-0.05 EUR"
    assert sales.money(-123456789, "KWD") == "-123,456.789 KWD"
    assert (language_called("de", "en"), language_called("ja", "zh")) == ("German", "日语")
    assert language_called("xx", "zh") == "xx"


async def test_when_something_was_is_said_in_words(desk: Deciding) -> None:
    await ask(desk, "/note C1 likes oak")
    said = []
    for passed in (0, 5, 55, 26 * 60, 3 * 24 * 60, 90 * 24 * 60):
        desk.now += timedelta(minutes=passed)
        said.append((await ask(desk, "/notes C1")).text.split("\n")[-1].split("  ")[0])
    assert said == ["just now", "5 min ago", "1 h ago", "27 h ago", "4 days ago", "2026-03-02"]


async def test_who_noted_a_consent_is_named_and_the_audit_tells_of_it(desk: Deciding) -> None:
    said = (await ask(desk, "/consent C1 grant marketing_email on the phone")).text
    assert "Tom" in said
    assert "staff:" not in said
    await desk.staff("/consent C1 withdraw marketing_email changed her mind", "Tom")
    assert "noted consent" in (await ask(desk, "/audit customer C1", "Max")).text
    assert "登记授权" in (await ask(desk, "/audit customer C1", "Mei")).text


async def test_of_several_each_can_be_told_from_the_others_and_chosen(desk: Deciding) -> None:
    await desk.take("hello there", author=Author("777", "张三", "zhang3"), channel="telegram", room="777")
    await desk.take("hello there", author=Author("778", "", ""), channel="telegram", room="778")
    shown = await ask(desk, "/customer 张三", "Mei")
    labels = [b.label for part in shown.reply.blocks if isinstance(part, Buttons) for b in part.buttons]
    assert "张三 · C3 · zhangsan@qq.example" in labels
    assert "张三 · C5 · Telegram zhang3" in labels
    companies = await ask(desk, "/company 深圳市前海", "Mei")
    assert companies.text.startswith("有多家公司")
    assert companies.actions
    assert all(len(action.encode()) <= 64 for action in companies.actions)
    for action in companies.actions:
        assert LONG in (await ask(desk, "/" + action.removeprefix("command:"), "Mei")).text
    assert "which company" in (await ask(desk, "/company C5")).text
    assert "C99" in (await ask(desk, "/company C99")).text


async def test_the_button_of_a_search_names_whom_it_opens(desk: Deciding) -> None:
    await desk.take("I want a person", author=Author("777", "Tim"), channel="telegram", room="777")
    await desk.staff("/ticket 1 close")
    found = await ask(desk, "/search kind:out channel:telegram", "Tom")
    assert "Bot" in found.text
    tim = (await desk.store.read(contacts.find_identity, "telegram", "777")).contact_id  # type: ignore[union-attr]
    labels = {b.action: b.label for p in found.reply.blocks if isinstance(p, Buttons) for b in p.buttons}
    assert labels.get(f"profile:{tim}") == "Tim"


async def test_a_wrong_value_is_named_with_the_field_in_the_readers_language(desk: Deciding) -> None:
    assert "客户的国家" in (await ask(desk, "/set C1 country Narnia", "Mei")).text
    assert "time zone" in (await ask(desk, "/set C1 timezone Nowhere")).text


async def test_nothing_is_written_of_somebody_who_was_erased(desk: Deciding) -> None:
    for name in ("Max", "Tom"):
        await desk.take(await desk.code(name), channel="telegram", room=name)
    code = (await ask(desk, "/erase C4", "Max")).text.split()[-1]
    await desk.staff(f"/confirm {code}", "Max")
    (row,) = await desk.store.read(erase.asked)
    await erase.carry_out(desk.store, row.id, lambda: desk.now, outside(desk.office))
    for text in (
        *("/note C4 x", "/notes C4", "/tag C4 x", "/set C4 city Rome", "/set C4 email zs@qq.example"),
        *("/consent C4 grant marketing_email x", "/consent C4", "/history C4", "/takeout C4", "/erase C4"),
        *("/company C4", "/customer C4"),
    ):
        assert "was erased already" in (await ask(desk, text, "Max")).text, text
    assert "was erased already" in (await ask(desk, "/deal new C4 12 EUR x", "Sam")).text
    for action in ("edit", "set", "note", "noted", "message", "begun", "merge", "merged"):
        values = {"text": "Ann", "city": "Rome"}
        said = await desk.press(f"profile:4:{action}", channel="telegram", room="Max", values=values)
        assert "was erased already" in said[-1].text, action
    left = await desk.store.read(contacts.get, 4)
    assert (left.name, left.city, list(left.tags), left.fields) == ("", "", [], {})
    assert "erased" in (await ask(desk, "/audit customer C4", "Max")).text  # that it was done stays


async def test_a_refused_button_names_the_command_that_does_it(desk: Deciding) -> None:
    await desk.take(await desk.code("Vera"), channel="telegram", room="Vera")
    said = await desk.press("profile:1:edit", channel="telegram", room="Vera")
    assert "may not use /set." in said[-1].text


async def test_the_filters_of_a_search_say_what_is_missing_and_know_a_channel_by_its_kind(
    desk: Deciding,
) -> None:
    li = Author("li@acme.example", "Li Wei", verified_email="li@acme.example")
    await desk.take("I want a person, the sofa", author=li, channel="support", room="li@acme.example")
    for query in ("channel:email sofa", "channel:邮箱 sofa", "渠道:E-mail sofa", "channel:support sofa"):
        assert "Li Wei" in (await ask(desk, f"/search {query}")).text, query
    assert "Li Wei" not in (await ask(desk, "/search channel:telegram sofa")).text
    assert "after “before:”" in (await ask(desk, "/search sofa before:")).text
    assert "“来自:”后面" in (await ask(desk, "/search 来自： 沙发", "Mei")).text
    assert "at most 500 characters" in (await ask(desk, "/search " + "x" * 501)).text
    assert "“foo” at character 6" in (await ask(desk, "/search sofa has:foo")).text


async def test_a_form_that_is_older_undoes_nothing(desk: Deciding) -> None:
    for name in ("Max", "Tom"):
        await desk.take(await desk.code(name), channel="web", room=name)
    said = await desk.press("profile:1:edit", channel="web", room="Max")
    (form,) = [b for s in said for b in s.reply.blocks if isinstance(b, Form)]
    assert len(form.action.encode()) <= 60
    await desk.staff("/set C1 city Leeds")
    await desk.staff("/tag C1 vip")
    values = {one.name: one.value for one in form.inputs} | {"company": "Acme & Sons"}
    await desk.press(form.action, channel="web", room="Max", values=values)
    row = await desk.store.read(contacts.get, 1)
    assert (row.name, row.company, row.city, list(row.tags)) == ("Li Wei", "Acme & Sons", "Leeds", ["vip"])
    await desk.press(form.action, channel="web", room="Max", values=values | {"city": "", "tags": ""})
    row = await desk.store.read(contacts.get, 1)
    assert row.city == "Leeds"  # it was empty when the form was opened, and still is in it
