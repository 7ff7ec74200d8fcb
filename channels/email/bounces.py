"""Bounces: RFC 3464 reports first, then what the other mail servers of the world write instead."""

from __future__ import annotations

import re

from channels.email import addresses, body, charsets, headers
from channels.email.body import Node
from channels.email.mail import Bounce, Mailbox

_SCAN = 60_000  # characters of a non-standard bounce that are read
_STATUS = re.compile(r"(?<![\d.])([245])\.(\d{1,3})\.(\d{1,3})(?![\d.])")
_CODE = re.compile(r"(?:^|[\s(:<#>'\"-])([45]\d\d)(?=[\s\-:;,>)#'\"])")
_EMAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}")
_FIELD = re.compile(r"^([A-Za-z][A-Za-z0-9-]{1,60})[ \t]{0,5}:[ \t]*(.*)$")
_ROBOT = re.compile(
    r"^(?:mailer[-_.]?daemon|postmaster|mail[-_.]?delivery|mail[-_.]?daemon|mdaemon|mailsystem"
    r"|delivery|bounces?|daemon|"
    r"microsoftexchange\w*|noreply-bounce|mailadmin|system|admin|root|staff|maildelivery\w*|mail"
    r"|ibmmail|smtp|amservice|no-reply|noreply)"
    r"(?:[+._-].*)?$",
    re.I,
)
_SURE_ROBOT = re.compile(
    r"^(?:mailer[-_.]?daemon|postmaster|mail[-_.]?daemon|mdaemon|microsoftexchange\w*|maildelivery\w*)", re.I
)
_SUBJECT = re.compile(
    r"undeliver|not delivered|delivery (?:status|failure|failed|report|notification|problem|delayed"
    r"|has failed|error|to the following)|failure notice"
    r"|returned (?:mail|to sender)|mail (?:delivery|system error|could not|failure|failed)"
    r"|message (?:delivery|could not be delivered|you sent|status|delayed|undeliverable)"
    r"|could ?n[o']t (?:be )?(?:deliver|send)"
    r"|non[- ]?delivery|nondeliverable|delayed mail|warning: (?:message|could not)|permanent (?:error"
    r"|failure)|unzustellbar|zustellung|nicht zugestellt|unbekannt.{0,20}empfänger"
    r"|non remis|échec (?:de la )?(?:remise|distribution)|notification d'état|no se (?:pudo|puede"
    r"|ha podido) entregar|no entregad|error de entrega|mancato recapito|impossibile (?:recapitare"
    r"|consegnare)|notifica di mancato|não (?:foi )?(?:entregue|entregável)|falha na entrega|devolvid"
    r"|onbestelbaar|niet (?:bezorgd|afgeleverd)"
    r"|nie można dostarczyć|niedostarcz|zwrot|не доставлено|недоставлен|не удалось доставить"
    r"|не может быть доставлено|возвращен|nedoručiteln|kan (?:inte|ikke) leverer|olevererbart"
    r"|iletilemedi|teslim edilemedi"
    r"|退信|无法投递|未送达|投递失败|无法送达|未能送达|无法传递|邮件被退回|系统退信|退件|無法傳遞"
    r"|未傳遞|無法投遞|寄送失敗|配信不能|配信できません|送信できません|エラーメール"
    r"|未配信|届けられませんでした|발송 실패|전송 실패|반송|배달되지|전달되지|수신 실패|보내지 못",
    re.I,
)
_BODY = re.compile(
    r"(?:message|mail|e-?mail|delivery|recipient|address)[^\n]{0,90}(?:could not be delivered"
    r"|couldn't be delivered|not delivered|undeliverable|failed|wasn't delivered|was not delivered"
    r"|not be delivered|permanent(?:ly)? (?:fatal )?error|undelivered|been rejected|was rejected"
    r"|returned)"
    r"|(?:could not|couldn't|unable to|cannot|wasn't able to|not able to"
    r"|failed to)\s+(?:be\s+)?(?:deliver|send|reach|be delivered)|permanent fatal errors"
    r"|this is a permanent error|user unknown|unknown user|no such (?:user|mailbox|address|recipient)"
    r"|mailbox (?:full|unavailable|not found|is full)|delivery attempts?"
    r"|退信|无法投递|无法送达|未能送达|投递失败|退回|不存在|無法|失败|配信でき|届け(?:る|られ)"
    r"|送信に失敗|전송할 수 없|배달하지 못|전달하지 못|존재하지 않",
    re.I,
)
# What the far side said, as RFC 3463 codes; read in order, the first that fits.
_REASONS = (
    ("5.2.2",
        r"mailbox[^\n]{0,20} (?:is )?full|full mailbox|over ?quota|quota exceeded|exceed[^\n]{0,30}quota"
        r"|quota[^\n]{0,20}exceed|insufficient (?:system )?storage|out of (?:disk )?space|mailbox (?:size"
        r"|space|quota)|storage (?:limit|quota|allocation)|too many messages|disk (?:quota|space)"
        r"|inbox is full|account is over|receiving mail at a rate|user is over|邮箱(?:已满|空间不足"
        r"|容量)|空间不足|信箱已滿"
        r"|收件人邮箱.{0,6}满|容量.{0,8}(?:超|満)|メールボックス.{0,16}(?:一杯|いっぱい|超)"
        r"|받은\s?편지함.{0,10}(?:가득|초과)|용량.{0,6}초과"),
    ("5.3.4",
        r"message (?:size|is too|too|file too) (?:large|big|exceed)|too (?:large|big)|size (?:limit"
        r"|exceed)|exceeds? (?:the )?(?:maximum|size|fixed|allowed)[^\n]{0,40}size|maximum[^\n]{0,20}size"
        r"|邮件(?:太大|过大|大小)|サイズ.{0,10}(?:超|大き)|크기.{0,6}초과"),
    ("5.4.6",
        r"too many hops|hop count|mail loop|loop(?:s|ing)? (?:back|detected)|routing loop|loop detected"
        r"|excessive recursion"),
    ("5.7.1",
        r"relay(?:ing)?(?: access)? (?:denied|not (?:permitted|allowed))|unable to relay|access denied"
        r"|not authori[sz]ed|permission|blocked|black ?list|block ?list|blacklisted|rejected (?:due to|as"
        r"|by|for)[^\n]{0,30}(?:spam|content|policy|security)|spam|policy|dmarc|spf |dkim|dnsbl|rbl"
        r"|reputation|banned|prohibited|unsolicited|virus|content (?:filter|reject)"
        r"|message (?:content )?(?:was )?reject|denied|restricted|垃圾邮件|拒收|被拒绝|拒绝接收|スパム"
        r"|受信拒否|拒否|스팸|차단|거부"),
    ("5.1.2",
        r"host (?:or domain name )?not found|domain (?:not found|name not found|does not exist|isn't"
        r"|unknown|couldn't)|no such (?:domain|host)|unknown (?:host|domain)|unrouteable (?:mail )?domain"
        r"|bad destination (?:host|system)|name (?:service|server) error|nxdomain"
        r"|couldn't find (?:any )?(?:host|server|an? exchanger)|illegal host|invalid domain"
        r"|all relevant mx records|no (?:mx|mail exchanger)|host unknown|域名(?:不存在|错误|解析)"
        r"|ドメイン.{0,14}(?:見つか"
        r"|存在)|도메인.{0,10}(?:없|찾을)"),
    ("5.1.1",
        r"user (?:is )?(?:unknown|not found|doesn'?t exist|does not exist|not exist)|unknown (?:user"
        r"|recipient|address|local|mailbox|account)|no such (?:user|person|recipient|mailbox|address"
        r"|account|local|e-?mail)|(?:mailbox|account|recipient|address|user"
        r"|e-?mail)[^\n]{0,70}(?:does ?n['o]t exist|not exist|not found|unavailable|unknown|invalid"
        r"|not known|no longer|not listed|could ?n[o']t be found|is not a valid|wasn'?t found"
        r"|was not found|rejected|doesn't have|not valid|not recogni[sz]ed)|invalid (?:recipient|address"
        r"|mailbox|user)|unrouteable address|no mailbox (?:here )?by that name|not (?:a"
        r"|our) (?:valid )?(?:customer|user|recipient|mailbox)|not have an? (?:yahoo|account)"
        r"|undeliverable address|not listed in|no account|(?:用户|收件人|邮箱|帐号|账号|地址|使用者"
        r"|收件者)[^\n]{0,14}(?:不存在"
        r"|未找到|无效|不正确|錯誤|不明|找不到)|不存在|(?:ユーザー?|宛先|アドレス"
        r"|メールアドレス)[^\n]{0,20}(?:存在し|見つか|不明)|(?:사용자|수신자|주소"
        r"|계정)[^\n]{0,14}(?:없|존재하지|찾을 수)"),
    ("5.2.1",
        r"(?:account|mailbox|user|address|recipient)[^\n]{0,40}(?:disabled|inactive|suspended|closed"
        r"|deactivated|locked|expired|terminated|discontinued|not accepting|blocked)|(?:帐号|账号|邮箱"
        r"|用户)[^\n]{0,10}(?:停用|冻结|禁用|锁定|关闭)"),
    ("4.4.1",
        r"connection (?:timed out|refused|reset|lost|dropped)|timed? ?out|no route to host"
        r"|network (?:is )?unreachable|could not connect|can't connect|host (?:is )?(?:down|unreachable)"
        r"|not respond|连接(?:超时|失败)|接続|연결"),
    ("4.4.7",
        r"delivery time expired|message expired|retry time(?:out)?|too long|queue too long"
        r"|retry timeout exceeded|undelivered (?:for|after)"
        r"|not been (?:able to )?deliver(?:ed)?[^\n]{0,30}(?:hours|days)|delayed|still trying"
        r"|will (?:continue|keep|be re)[^\n]{0,10}tr(?:y|ied)"),
    ("4.7.1",
        r"grey ?list|try again later|temporar(?:y|ily)|throttl|rate limit|too many (?:connections"
        r"|recipients)|deferred|resources? unavailable"),
)  # fmt: skip
_REASON_RE = tuple((status, re.compile(pattern, re.I)) for status, pattern in _REASONS)
_DELAYED = re.compile(
    r"delay|warning: (?:message|could not)|still (?:trying|being|not)"
    r"|not (?:yet )?been delivered (?:yet|after|within)|will (?:be|continue|keep)[^\n]{0,30}(?:retr"
    r"|try|tried|attempt)|you do not need to resend|verzögert|retard|retras|延迟|延遲|遅延|지연",
    re.I,
)
_RETURNED = re.compile(
    r"^(?:[- ]{2,}[^\n]{0,60}(?:original message|copy of (?:the|your) message|unsent message"
    r"|returned message|message (?:headers?|text) follows?|undelivered message|the headers)[^\n]{0,60}"
    r"|(?:------ )?this is a copy of the message|--- below this line|original message (?:headers"
    r"|follows)|received: )",
    re.I | re.M,
)
_MESSAGE_ID = re.compile(r"^[> \t]{0,8}Message-ID\s{0,5}:\s{0,80}<([^<>\s]{1,400})>", re.I | re.M)


def find(
    raw: bytes, fields: headers.Fields, root: Node, subject: str, text: str, sender: Mailbox | None
) -> Bounce | None:
    """Read a bounce out of a message; None when it is none."""
    nodes = list(root.walk())[:200]
    status_part = next(
        (n for n in nodes if n.content_type in ("message/delivery-status", "message/global-delivery-status")),
        None,
    )
    receipt = root.params.get("report-type", "").lower() == "disposition-notification" or any(
        n.content_type == "message/disposition-notification" for n in nodes
    )
    if receipt and status_part is None:
        return None
    returned = _returned_id(raw, nodes)
    if status_part is not None:
        found = _standard(raw, status_part, text, returned)
        if found is not None:
            return found
    if not _looks_like_one(fields, root, subject, text, sender, bool(returned)):
        return None
    return _free_form(raw, fields, nodes, subject, text, sender, returned)


# -- RFC 3464 -------------------------------------------------------------------------------------------


def _standard(raw: bytes, node: Node, text: str, returned: str) -> Bounce | None:
    groups = _groups(body.decoded(raw, node, []))
    recipients = [g for g in groups if "final-recipient" in g or "original-recipient" in g]
    if not recipients:
        recipients = [g for g in groups if "action" in g or "status" in g]
    if not recipients:
        return None
    rank = {"failed": 0, "failure": 0, "delayed": 1, "expanded": 2, "relayed": 3, "delivered": 4}
    chosen = min(recipients, key=lambda g: rank.get(_first_word(g.get("action", "")), 1))
    recipient = _typed(chosen.get("final-recipient", ""))
    original = _typed(chosen.get("original-recipient", ""))
    if "@" not in recipient or recipient.lower().startswith(("unknown", "/", "undisclosed")):
        recipient = original if "@" in original else recipient
    if "@" not in recipient:
        also = next((_typed(g["x-actual-recipient"]) for g in recipients if "x-actual-recipient" in g), "")
        if "@" not in also:
            match = _EMAIL.search(text[:5_000])
            also = match[0] if match else ""
        recipient = also or recipient
    diagnostic = chosen.get("diagnostic-code", "")
    status = _best_status(chosen.get("status", ""), diagnostic, text[:_SCAN])
    action = _first_word(chosen.get("action", "")) or _action_of(status, text)
    action = {"failure": "failed", "delay": "delayed", "fail": "failed"}.get(action, action)
    return Bounce(recipient, status, action, returned)


def _groups(data: bytes) -> list[dict[str, str]]:
    text = charsets.decode(data[:200_000])[0].replace("\r\n", "\n").replace("\r", "\n")
    groups: list[dict[str, str]] = []
    current: dict[str, str] = {}
    name = ""
    for line in text.split("\n")[:5_000]:
        if not line.strip():
            if current:
                groups.append(current)
            current, name = {}, ""
        elif line[0] in " \t" and name:
            current[name] = f"{current[name]} {line.strip()}"[:4_000]
        elif found := _FIELD.match(line):
            name = found[1].lower()
            if name == "final-recipient" and name in current:  # groups without a blank line between
                groups.append(current)
                current = {}
            current.setdefault(name, found[2].strip())
    if current:
        groups.append(current)
    return groups


def _typed(value: str) -> str:
    """Take `rfc822; <user@host>` apart."""
    _, semicolon, rest = value.partition(";")
    address = (rest if semicolon else value).strip()
    if address.lower().startswith("rfc822;"):
        address = address[7:].strip()
    found = re.search(r"<([^<>]+)>", address)
    address = (found[1] if found else address.split(" (")[0]).strip("\"' <>")
    if "xtext" not in address and re.search(r"\+[0-9A-F]{2}", address):
        address = re.sub(r"\+([0-9A-F]{2})", lambda m: chr(int(m[1], 16)), address)
    return re.sub(r"\s+", "", address) if "@" in address else address


def _first_word(value: str) -> str:
    found = re.match(r"[A-Za-z]+", value.strip())
    return found[0].lower() if found else ""


def _best_status(declared: str, diagnostic: str, text: str) -> str:
    """Prefer the code that says most: the remote server's words over a bare 5.0.0."""
    own = _STATUS.search(declared)
    said = _STATUS.search(diagnostic)
    if own and not _vague(own[0]):
        return own[0]
    if said and not _vague(said[0]) and (not own or own[1] == said[1] or own[0].endswith(".0.0")):
        return said[0]
    reason = _reason(diagnostic) if diagnostic else ""
    if not reason and not own:
        reason = _status_in(text)
    if reason:
        known = own or said
        first = known[1] if known else reason[0]
        return f"{first}{reason[1:]}" if first in "45" else reason
    if own:
        return own[0]
    if said:
        return said[0]
    code = _CODE.search(f" {diagnostic} ")
    return f"{code[1][0]}.0.0" if code else ""


def _vague(status: str) -> bool:
    return status.endswith(".0.0")


def _action_of(status: str, text: str) -> str:
    if status.startswith("2"):
        return "delivered"
    return "delayed" if status.startswith("4") and _DELAYED.search(text[:_SCAN]) else "failed"


# -- everything else ------------------------------------------------------------------------------------


def _looks_like_one(
    fields: headers.Fields, root: Node, subject: str, text: str, sender: Mailbox | None, returned: bool
) -> bool:
    local = sender.address.partition("@")[0] if sender else ""
    who = f"{local} {sender.name if sender else ''}".strip()
    sure = bool(_SURE_ROBOT.match(local)) or bool(
        re.search(r"mail delivery (?:sub)?system|mailer.daemon", who, re.I)
    )
    robot = sure or bool(_ROBOT.match(local)) or not local
    path = headers.first(fields, "return-path")
    null_path = path is not None and headers.to_text(path).replace(" ", "") in ("<>", "<MAILER-DAEMON>")
    subject_says = bool(_SUBJECT.search(subject[:300]))
    if headers.first(fields, "x-failed-recipients") is not None:
        return True
    if root.params.get("report-type", "").lower() == "delivery-status":
        return True
    if not subject_says and not sure:
        return False  # nearly every mail: the body's patterns take a third of a millisecond
    body_says = bool(_BODY.search(text[:8_000]))
    if any(n in ("list-id", "list-post") for n, _ in fields) and not sure:
        return False
    if sure or null_path:
        return (
            (subject_says and body_says)
            or (sure and (subject_says or body_says))
            or (null_path and subject_says)
        )
    if robot:
        return subject_says and body_says
    return (
        subject_says
        and body_says
        and (returned or bool(_STATUS.search(text[:_SCAN])) or bool(_RETURNED.search(text[:_SCAN])))
    )


def _free_form(
    raw: bytes,
    fields: headers.Fields,
    nodes: list[Node],
    subject: str,
    text: str,
    sender: Mailbox | None,
    returned: str,
) -> Bounce:
    whole = text[:_SCAN]
    cut = _RETURNED.search(whole)
    report = whole[: cut.start()] if cut and cut.start() > 20 else whole
    own = {
        m.address.lower()
        for n in ("from", "to", "cc", "reply-to")
        for m in addresses.addresses(headers.every(fields, n))
    }
    own |= {sender.address.lower()} if sender else set()
    failed = headers.first(fields, "x-failed-recipients")
    recipient = ""
    if failed is not None:
        first = addresses.addresses([failed])
        recipient = first[0].address if first else ""
    recipient = recipient or _recipient_of(report, own) or _library_recipient(raw)
    if not recipient and cut:
        to = re.search(r"^[> \t]{0,8}To\s{0,3}:\s{0,3}(.{3,300})$", whole[cut.start() :], re.I | re.M)
        found = _EMAIL.search(to[1]) if to else None
        recipient = found[0] if found else ""
    recipient = recipient or _returned_to(raw, nodes)
    status = _status_in(report) or _status_in(whole) or _status_in(subject)
    delayed = bool(_DELAYED.search(subject[:300])) or (
        status.startswith("4") and bool(_DELAYED.search(report))
    )
    if not status:
        status = "4.0.0" if delayed else "5.0.0"
    if not returned:
        mid = _MESSAGE_ID.search(whole, cut.start() if cut else 0) or _MESSAGE_ID.search(whole)
        returned = mid[1] if mid else ""
    return Bounce(recipient.strip("<>'\". "), status, "delayed" if delayed else "failed", returned)


_POINTS_AT = re.compile(
    r"(?:recipients?|address(?:es|ed)?|delivered to|delivery to|deliver (?:to|your message to)"
    r"|following|failed|for|to|user|unknown|收件人|收件者|地址|发往|发送到|发给|投递到|送往|宛先|宛て"
    r"|수신자|받는\s?사람"
    r"|주소)\s*[^\n@]{0,40}$",
    re.I,
)


def _recipient_of(report: str, own: set[str]) -> str:
    """The address a report is about: the one on a line of its own, in brackets, or behind a telling word."""
    best, best_score = "", 0
    for number, found in enumerate(_EMAIL.finditer(report[:20_000])):
        if number > 60:
            break
        address = found[0].strip("'.")
        low = address.lower()
        if low.startswith(("mailer-daemon@", "postmaster@")) or low in own:
            continue
        line_start = report.rfind("\n", 0, found.start()) + 1
        before = report[max(line_start, found.start() - 80) : found.start()]
        after = report[found.end() : found.end() + 40].split("\n")[0]
        score = 1
        if not before.strip(" \t<\"'(*>-:"):
            score += 3
        if before.rstrip().endswith("<") or after.startswith(">"):
            score += 1
        if _POINTS_AT.search(before):
            score += 2
        if re.match(r"[>\"')]*\s*[:(：]", after) or re.match(r">?\s*\.{3}", after):
            score += 1
        if re.search(
            r"(?:contact|support|help|from|by|sender|questions?|administrator|message-id"
            r"|reply)\W{0,4}[^\n]{0,20}$",
            before,
            re.I,
        ):
            score -= 3
        if re.search(
            r"^(?:from|reply-to|message-id|return-path|sender|date)\b",
            report[line_start : line_start + 20],
            re.I,
        ):
            score -= 4
        if score > best_score:
            best, best_score = address, score
    return best


def _status_in(text: str) -> str:
    """A code if somebody wrote one, else what the words mean."""
    exact = next((m[0] for m in _STATUS.finditer(text) if m[1] in "45" and not _vague(m[0])), "")
    if exact:
        return exact
    code = _CODE.search(text)
    reason = _reason(text)
    if reason and code:
        return f"{code[1][0]}{reason[1:]}"
    if reason:
        return reason
    vague = _STATUS.search(text)
    if vague and vague[1] in "45":
        return vague[0]
    return f"{code[1][0]}.0.0" if code else ""


def _reason(text: str) -> str:
    sample = text[:8_000]
    return next((status for status, pattern in _REASON_RE if pattern.search(sample)), "")


def _library_recipient(raw: bytes) -> str:
    """Ask flufl.bounce, which knows forty servers' formats; only for what already looks like a bounce."""
    if len(raw) > 200_000 or raw.count(b"boundary") > 20:
        return ""
    try:
        from email import message_from_bytes

        from flufl.bounce import all_failures

        temporary, permanent = all_failures(message_from_bytes(raw))
        found = sorted(permanent) or sorted(temporary)
        return found[0].decode("utf-8", "replace") if found else ""
    except Exception:  # a third-party parser over a stranger's bytes: anything may rise
        return ""


# -- the returned mail ----------------------------------------------------------------------------------


def _returned_fields(raw: bytes, nodes: list[Node]) -> headers.Fields:
    for node in nodes:
        if node.content_type in ("message/rfc822", "text/rfc822-headers", "message/rfc822-headers", "message/global",
                                 "message/global-headers", "text/rfc822-header", "message/partial"):  # fmt: skip
            data = body.decoded(raw, node, [])[:200_000].lstrip(b"\r\n")
            fields, _, _ = headers.split(data, 0, len(data))
            if fields:
                return fields
    return []


def _returned_id(raw: bytes, nodes: list[Node]) -> str:
    for value in headers.every(_returned_fields(raw, nodes), "message-id"):
        found = headers.ids(value)
        if found:
            return found[0]
    return ""


def _returned_to(raw: bytes, nodes: list[Node]) -> str:
    boxes = addresses.addresses(headers.every(_returned_fields(raw, nodes), "to"))
    return boxes[0].address if len(boxes) == 1 else ""
