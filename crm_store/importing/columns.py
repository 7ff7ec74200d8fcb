"""Which column means what, by its name in English or Chinese, as shops and desks write it in their exports."""

from __future__ import annotations

import re
import unicodedata
from functools import cache, lru_cache
from typing import Literal

Kind = Literal["customers", "orders", "events", "articles", "deals"]

# After a "~" stand names that mean the field only where no other column does.
_CUSTOMERS = {
    "ref": "ref customer_id customer_no customer_number customer_ref customer_code client_id client_no "
    "account_number account_no user_id member_id member_no contact_id record_id lead_id cust_id "
    "external_id 客户编号 客户号 客户id 客户编码 客户代码 会员号 会员编号 会员id 会员卡号 用户编号 用户id "
    "顾客编号 買家編號 客戶編號 會員編號 ~ 会员名 买家会员名 买家会员 旺旺 旺旺号 买家旺旺 淘宝会员名 "
    "淘宝id 买家id user_login username",
    "name": "name full_name customer customer_name client client_name contact contact_name display_name "
    "buyer_name person lead_name recipient_name 客户名称 客户名 客户姓名 客户 姓名 名称 联系人 联系人姓名 "
    "真实姓名 顾客姓名 顾客 会员姓名 用户姓名 买家姓名 收货人 收货人姓名 收件人 收件人姓名 收货人提货人 "
    "姓名名称 客戶名稱 客戶姓名 客戶 聯絡人 聯繫人 收件人姓名 ~ 昵称 客户昵称 买家昵称 用户昵称 微信昵称 "
    "会员昵称 粉丝昵称 暱稱 nickname nick_name 用户名 用户 買家",
    "first_name": "first_name firstname given_name forename 名 名字",
    "last_name": "last_name lastname surname family_name 姓 姓氏",
    "email": "email e_mail mail emails email_address e_mail_address email_addr mail_address "
    "primary_email work_email email_value e_mail_value 邮箱 电子邮箱 电子邮件 邮件 邮箱地址 电子邮箱地址 "
    "电子邮件地址 电邮 电邮地址 邮件地址 常用邮箱 e_mail邮箱 email邮箱 郵箱 電子郵件 電子郵箱 電郵 信箱 "
    "電子信箱 email地址 email_地址",
    "phone": "phone mobile telephone tel cell phones phone_number phone_no mobile_phone mobile_number "
    "mobile_no cell_phone cellphone telephone_number contact_number contact_no contact_phone work_phone "
    "business_phone home_phone other_phone phone_value tel_no whatsapp whatsapp_number msisdn 手机 手机号 "
    "手机号码 电话 电话号码 联系电话 联系手机 联系方式 移动电话 固定电话 座机 固话 办公电话 手机电话 "
    "手机联系电话 收货人手机号提货人手机号 收货电话 手機 手機號 手機號碼 電話 電話號碼 聯絡電話 聯繫電話 "
    "行動電話",
    "company": "company organisation organization firm company_name organisation_name organization_name "
    "account_name associated_company business_name employer 公司 公司名称 单位 单位名称 企业 企业名称 "
    "所属公司 所属企业 工作单位 公司名稱 單位",
    "tags": "tags tag labels label groups group segments categories 标签 分组 客户标签 会员标签 "
    "用户标签 客户分组 標籤",
    "country": "country country_code nation country_region country_name 国家 国家地区 国别 所在国家 國家",
    "city": "city town city_town 城市 所在城市 市 地级市 所在市",
    "language": "language lang locale preferred_language language_preference 语言 语种 首选语言 語言",
    "timezone": "timezone time_zone tz 时区 時區",
    "telegram": "telegram telegram_handle telegram_username telegram账号 电报",
    "consent": "consent consents opt_in optin marketing_consent newsletter accepts_marketing "
    "accepts_email_marketing email_opt_in marketing_opt_in email_consent subscribed 授权 同意 订阅 "
    "营销授权 是否订阅 是否同意营销",
    "inferred": "inferred",
}
_ORDERS = {
    "number": "number order order_no order_number order_id order_ref order_reference order_name "
    "order_code amazon_order_id invoice_number sales_order transaction_id 订单号 订单编号 订单 单号 "
    "主订单号 主订单编号 交易号 交易编号 订单流水号 訂單編號 訂單號 訂單號碼 ~ purchase_id",
    "ordered_at": "ordered_at ordered_on date order_date order_time created created_at placed_at "
    "purchase_date date_created order_created order_placed creation_date created_on order_created_at "
    "下单时间 下单日期 订单日期 订单时间 日期 购买时间 订单创建时间 创建时间 成交时间 交易时间 "
    "交易创建时间 拍下时间 下單時間 訂單日期 訂單時間 訂單成立時間 ~ paid_at payment_date date_paid "
    "付款时间 支付时间 订单付款时间 买家付款时间 买家付款时间",
    "status": "status state order_status order_state financial_status payment_status 状态 订单状态 "
    "交易状态 狀態 訂單狀態",
    "fulfilment": "fulfillment_status fulfilment_status shipping_status delivery_status 发货状态 物流状态",
    "amount": "amount total total_amount order_total sum value grand_total order_total_amount "
    "total_price order_amount order_value total_value 金额 总金额 订单金额 总价 实付金额 合计 总额 总计 "
    "订单总额 订单总金额 订单总价 金額 總金額 訂單金額 總計 總額 ~ amount_paid total_paid paid_amount "
    "payment_amount item_price 实付 实付款 实收 实收金额 应付金额 支付金额 付款金额 成交金额 交易金额 "
    "订单实付金额 实际支付金额 买家实际支付金额 实付总额",
    "currency": "currency currency_code order_currency 币种 货币 货币类型 幣別 貨幣",
    "tracking": "tracking tracking_number tracking_no waybill tracking_id awb 运单号 快递单号 物流单号 "
    "运单编号 包裹号 快遞單號 物流編號",
    "sku": "sku product_id product_code item_code product_sku item_sku lineitem_sku line_item_sku "
    "item_number 货号 商品编号 商品编码 产品编号 商家编码 规格编码 商品规格编码 sku编码 貨號",
    "product": "product product_name item_name description title lineitem_name line_item_name "
    "product_title 商品 商品名称 产品 产品名称 品名 宝贝标题 宝贝名称 商品标题 商品名稱 產品名稱 品項 ~ "
    "item",
    "quantity": "quantity qty count pieces lineitem_quantity line_item_quantity item_quantity "
    "quantity_ordered quantity_purchased 数量 件数 商品数量 购买数量 宝贝总数量 宝贝数量 数目 數量",
    "price": "price unit_price lineitem_price line_item_price item_cost product_price 单价 价格 "
    "商品单价 商品价格 單價",
    "lines": "lines items products line_items order_lines order_items 商品明细 明细 商品清单",
    "ref": _CUSTOMERS["ref"],
    "name": _CUSTOMERS["name"].replace(" 名称 ", " ") + " billing_name",
    "first_name": _CUSTOMERS["first_name"],
    "last_name": _CUSTOMERS["last_name"],
    "email": _CUSTOMERS["email"],
    "phone": _CUSTOMERS["phone"],
    "country": _CUSTOMERS["country"],
}
_ARTICLES = {
    "key": "key id slug code article_id article_number 编号 键 文章编号 編號",
    "language": _CUSTOMERS["language"],
    "title": "title question heading subject 标题 问题 文章标题 標題 問題",
    "body": "body answer text content article html 内容 正文 答案 回答 文章内容 內容",
    "phrasings": "phrasings questions variants synonyms keywords similar_questions 问法 相似问法 "
    "相似问题 关键词 关键字 同义词",
}
_EVENTS = {
    "key": "key id event_id uuid message_id 事件编号 事件id 编号 流水号",
    "kind": "kind event event_type event_name type action activity activity_type 事件 事件类型 事件名称 "
    "行为 行为类型 动作 操作 类型 事件名",
    "at": "at time timestamp date datetime date_time event_time event_date occurred_at happened_at "
    "created_at activity_date received_at sent_at visited_at 时间 发生时间 事件时间 行为时间 访问时间 "
    "操作时间 日期 创建时间 浏览时间 時間",
    "subject": "subject object target 对象 目标",
    "page": "page url link path page_url web_page page_path page_location 页面 页面地址 网址 链接 "
    "访问页面 页面路径",
    "product": "product item product_name item_name sku product_id product_title 商品 商品名称 产品 "
    "产品名称 品名 货号 商品编号 商品标题",
    "amount": "amount value total price revenue 金额 价格",
    "currency": _ORDERS["currency"],
    "quantity": "quantity qty count pieces 数量 件数",
    "wellheard_id": "wellheard_id",
    "ref": _CUSTOMERS["ref"].replace(" user_login username", "") + " uid visitor_id distinct_id",
    "name": _ORDERS["name"] + " user user_name username",
    "email": _ORDERS["email"],
    "phone": _ORDERS["phone"],
    "telegram": _CUSTOMERS["telegram"],
    "country": _CUSTOMERS["country"],
}
_DEALS = {
    "key": "key id deal deal_id deal_number number ref opportunity_id opportunity_number record_id "
    "deal_no 商机编号 编号 商机id 机会编号 销售机会编号 商機編號",
    "title": "title name deal_name what subject opportunity_name opportunity deal_title 商机名称 商机 "
    "标题 内容 机会名称 销售机会 销售机会名称 主题 商機名稱",
    "stage": "stage status state pipeline_stage deal_stage sales_stage stage_name 阶段 状态 销售阶段 "
    "商机阶段 商机状态 當前階段 階段",
    "amount": "amount value sum total deal_value deal_amount expected_revenue 金额 总金额 预计金额 "
    "商机金额 预计销售金额 预计成交金额 預計金額",
    "currency": _ORDERS["currency"],
    "expected_on": "expected_on expected close_date expected_close closing_date expected_close_date "
    "预计成交 预计成交日期 预计成交时间 预计结单日期 预计签单日期 結案日期",
    "owner": "owner salesperson sales_rep assigned_to deal_owner opportunity_owner account_owner rep "
    "负责人 销售 商机负责人 所有人 销售负责人 跟进人 負責人",
    "lost_reason": "lost_reason reason closed_lost_reason loss_reason 输单原因 丢单原因 失败原因",
    "email": "email e_mail contact_email email_address associated_contact_email 邮箱 电子邮箱 电子邮件 "
    "联系人邮箱 郵箱",
    "phone": "phone mobile phone_number mobile_phone contact_phone 手机 手机号 手机号码 电话 联系电话 "
    "联系手机 手機 電話",
    "customer_ref": "customer_ref customer_id customer_no contact_id customer_number account_number "
    "associated_contact_ids 客户编号 客户id 客户号",
    "customer": "customer customer_name contact contact_name client client_name primary_contact "
    "associated_contact 客户 客户名称 客户姓名 联系人 联系人姓名 客戶 客戶名稱 ~ account_name company",
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
MANY = frozenset(("email", "phone", "tags"))  # each column of them says something
# Who a column is about, where that says nothing new: "Billing Phone", 买家手机.
_WHOSE = re.compile(
    r"^(?:(?:default |billing |home |mailing )?address|primary|billing|customer|buyer|client|contact|user|mailing|"
    r"business|personal|home|work|account|member|payer|ship|person|买家|客户|顾客|会员|用户|联系人|收货人|收件人|提货人|购买人|下单人|付款人|"
    r"所在|所属|常用|主要|買家|客戶|顧客|會員|聯絡人|收貨人)[\s_.:/-]*(?=.)",
    re.IGNORECASE,
)
_ABOUT_PEOPLE = frozenset(
    (
        "name",
        "first_name",
        "last_name",
        "email",
        "phone",
        "company",
        "country",
        "city",
        "telegram",
        "customer",
        "tags",
    )
)
_ASIDE = re.compile(r"\([^()]*\)|（[^（）]*）|\[[^\[\]]*\]|【[^【】]*】")


@lru_cache(maxsize=4096)
def meaning(kind: Kind, column: str) -> tuple[str, int] | None:
    """What a column means, and how surely: 0 by its own name, above that only where no other column says it."""
    table = _table(kind)
    if found := table.get(_plain(column)):
        return found
    bare = _ASIDE.sub(" ", unicodedata.normalize("NFKC", column)).strip(" *＊:：")
    if found := table.get(_plain(bare)):
        return found
    if (found := table.get(_plain(re.sub(r"\d", "", bare)))) and found[0] in MANY:
        return found  # Phone 2, 邮箱1
    rest = _WHOSE.sub("", bare)
    if rest != bare and (found := table.get(_plain(rest))) and found[0] in _ABOUT_PEOPLE:
        return found[0], 2
    return None


def field_of(kind: Kind, column: str) -> str | None:
    """What a column means, None when it is none of ours."""
    found = meaning(kind, column)
    return found[0] if found else None


@lru_cache(maxsize=4096)
def is_ignored(kind: Kind, column: str) -> bool:
    """A column that our own exports write for people, and that says nothing when it comes back."""
    return _plain(column) in {_plain(name) for name in _IGNORED[kind].split()}


@lru_cache(maxsize=256)
def plan(kind: Kind, columns: tuple[str, ...]) -> tuple[tuple[str, int, str], ...]:
    """For each column what it means ("" for none of ours), how surely, and under which name it is kept if none
    ("" for those that say nothing)."""
    found = [meaning(kind, column) or ("", 0) for column in columns]
    if kind == "orders" and "lineitemname" in map(_plain, columns):  # Shopify's orders are named #1001
        found = [
            ("number", 0) if _plain(column) == "name" else one
            for column, one in zip(columns, found, strict=True)
        ]
    return tuple(
        (field, rank, "" if is_ignored(kind, column) else column)
        for (field, rank), column in zip(found, columns, strict=True)
    )


@cache
def _table(kind: Kind) -> dict[str, tuple[str, int]]:
    table: dict[str, tuple[str, int]] = {}
    for field, listed in _NAMES[kind].items():
        surely, _, else_ = f"{field} {listed}".partition("~")
        for rank, aliases in enumerate((surely, else_)):
            for alias in aliases.split():
                table.setdefault(_plain(alias), (field, rank))
    return table


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", name).casefold())
