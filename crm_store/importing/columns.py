"""Which column means what, by its name in English or Chinese."""

from __future__ import annotations

import re
import unicodedata
from functools import cache, lru_cache
from typing import Literal

Kind = Literal["customers", "orders", "events", "articles", "deals"]

_CUSTOMERS = {
    "ref": "ref customer_id customer_no customer_number customer_ref 客户编号 客户号 客户id 会员号 会员编号",
    "name": "name full_name customer customer_name contact contact_name "
    "客户名称 客户名 客户姓名 客户 姓名 名称 联系人",
    "first_name": "first_name firstname given_name 名",
    "last_name": "last_name lastname surname family_name 姓",
    "email": "email e_mail mail emails email_address 邮箱 电子邮箱 电子邮件 邮件 邮箱地址 电邮",
    "phone": "phone mobile telephone tel cell phones phone_number mobile_phone "
    "手机 手机号 手机号码 电话 电话号码 联系电话 联系方式",
    "company": "company organisation organization firm 公司 公司名称 单位 企业",
    "tags": "tags tag labels label groups 标签 分组",
    "country": "country country_code nation 国家 国家地区",
    "city": "city town 城市 所在城市 市",
    "language": "language lang locale 语言 语种",
    "timezone": "timezone time_zone tz 时区",
    "telegram": "telegram telegram_handle telegram_username telegram账号 电报",
    "consent": "consent consents opt_in optin marketing_consent newsletter 授权 同意 订阅",
}
_ORDERS = {
    "number": "number order order_no order_number order_id 订单号 订单编号 订单 单号",
    "ordered_at": "ordered_at ordered_on date order_date order_time created created_at placed_at "
    "下单时间 下单日期 订单日期 订单时间 日期 购买时间",
    "status": "status state order_status 状态 订单状态",
    "amount": "amount total total_amount order_total sum value 金额 总金额 订单金额 总价 实付金额 合计",
    "currency": "currency currency_code 币种 货币",
    "tracking": "tracking tracking_number tracking_no waybill 运单号 快递单号 物流单号",
    "sku": "sku product_id product_code item_code 货号 商品编号 商品编码 产品编号",
    "product": "product item product_name item_name description title 商品 商品名称 产品 产品名称 品名",
    "quantity": "quantity qty count pieces 数量 件数",
    "price": "price unit_price 单价 价格",
    "lines": "lines items products line_items order_lines 商品明细 明细",
    "ref": _CUSTOMERS["ref"],
    "name": _CUSTOMERS["name"].replace("名称 ", ""),
    "email": _CUSTOMERS["email"] + " customer_email 客户邮箱",
    "phone": _CUSTOMERS["phone"] + " customer_phone 客户电话 客户手机",
    "country": _CUSTOMERS["country"],
}
_ARTICLES = {
    "key": "key id slug code 编号 键",
    "language": _CUSTOMERS["language"],
    "title": "title question heading 标题 问题",
    "body": "body answer text content 内容 正文 答案 回答",
    "phrasings": "phrasings questions variants synonyms keywords 问法 相似问法 关键词",
}
_EVENTS = {
    "key": "key id event_id uuid 事件编号 事件id 编号 流水号",
    "kind": "kind event event_type event_name type action activity 事件 事件类型 事件名称 行为 行为类型 动作 操作 类型",
    "at": "at time timestamp date datetime event_time occurred_at happened_at "
    "时间 发生时间 事件时间 行为时间 访问时间 操作时间 日期",
    "subject": "subject object target 对象 目标",
    "page": "page url link path page_url web_page 页面 页面地址 网址 链接 访问页面",
    "product": "product item product_name item_name sku product_id 商品 商品名称 产品 产品名称 品名 货号 商品编号",
    "amount": "amount value total price 金额 价格",
    "currency": _ORDERS["currency"],
    "quantity": _ORDERS["quantity"],
    "wellheard_id": "wellheard_id",
    "ref": _CUSTOMERS["ref"] + " user_id uid visitor_id 用户编号 用户id",
    "name": _ORDERS["name"] + " user user_name username 用户 用户名",
    "email": _ORDERS["email"] + " user_email 用户邮箱",
    "phone": _ORDERS["phone"] + " user_phone 用户手机 用户电话",
    "telegram": _CUSTOMERS["telegram"],
    "country": _CUSTOMERS["country"],
}
_DEALS = {
    "key": "key id deal deal_id deal_number number ref 商机编号 编号",
    "title": "title name deal_name what subject 商机名称 商机 标题 内容",
    "stage": "stage status state pipeline_stage 阶段 状态",
    "amount": "amount value sum total deal_value 金额 总金额 预计金额",
    "currency": _ORDERS["currency"],
    "expected_on": "expected_on expected close_date expected_close closing_date 预计成交 预计成交日期",
    "owner": "owner salesperson sales_rep assigned_to 负责人 销售",
    "lost_reason": "lost_reason reason 输单原因",
    "email": "email e_mail customer_email contact_email 邮箱 客户邮箱 电子邮箱",
    "phone": "phone mobile customer_phone 手机 电话 客户电话 联系电话",
    "customer_ref": "customer_ref customer_id customer_no 客户编号",
    "customer": "customer customer_name contact contact_name 客户 客户名称 客户姓名 联系人",
}
_NAMES: dict[Kind, dict[str, str]] = {
    "customers": _CUSTOMERS,
    "orders": _ORDERS,
    "events": _EVENTS,
    "articles": _ARTICLES,
    "deals": _DEALS,
}
_IGNORED: dict[Kind, str] = {
    "customers": "id created_at updated_at source",
    "orders": "id updated_at",
    "events": "created_at source",
    "articles": "",
    "deals": "",
}


@lru_cache(maxsize=4096)
def field_of(kind: Kind, column: str) -> str | None:
    """What a column means, None when it is none of ours."""
    return _table(kind).get(_plain(column))


@lru_cache(maxsize=4096)
def is_ignored(kind: Kind, column: str) -> bool:
    """A column that our own exports write for people, and that says nothing when it comes back."""
    return _plain(column) in {_plain(name) for name in _IGNORED[kind].split()}


@cache
def _table(kind: Kind) -> dict[str, str]:
    return {
        _plain(alias): field
        for field, aliases in reversed(_NAMES[kind].items())
        for alias in [field, *aliases.split()]
    }


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", name).casefold())
