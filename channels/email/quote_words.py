"""The words mail clients put around a quote, by language: header labels, separators, "wrote".

Data, not logic. A label's value is its role; a trailing ! marks a word that hardly stands in front of a
colon outside of a mail header, so that it is evidence by itself.
"""

from __future__ import annotations

import re

from channels.email.quick import Quick

_LABELS = {
    "from": "from von! de da van od fra från! lähettäjä! от від kimden! gönderen! feladó! de_la από từ dari จา"
    "ก מאת من"
    " 发件人! 发信人! 寄件者! 寄件人! 發件人! 差出人! 送信者! 送信元! 보낸_사람! 보낸사람! 보낸이! 보"
    "낸_이! 발신자! 발신인!"
    " šalje! od_koho от_кого! від_кого! envoyé_par! enviado_por gesendet_von! 发自 来自 寄件 from_name expéditeur!"
    " remitente! mittente! remetente! afzender! absender! avsändare! avsender! afsender! nadawca! odesílatel!"
    " отправитель! відправник! expeditor! αποστολέας! người_gửi! pengirim!",
    "date": "date sent! gesendet! datum gesendet_am! envoyé! envoyé_le! enviado! enviado_el! enviada! enviada_"
    "em!"
    " enviado_em! fecha inviato! inviato_il! data verzonden! verzonden_op! wysłano! wysłane! skickat! "
    "sendt! dato"
    " lähetetty! päivämäärä pvm отправлено! отправлен! дата надіслано! відправлено! odesláno! odoslané! dátum"
    " gönderme_tarihi! gönderilme_tarihi! gönderildi! tarih elküldve! küldve! trimis! dată στάλθηκε! α"
    "ποστολή!"
    " ημερομηνία đã_gửi! ngày dikirim! tanggal ส่ง วันที่ נשלח! תאריך تاريخ_الإرسال! التاريخ изпратено"
    "! poslano!"
    " poslato! enviat! 发送时间! 发送日期! 发件时间! 傳送時間! 寄件日期! 寄件時間! 傳送日期! 日期 时间"
    " 時間 已发送 已傳送"
    " 寄送時間! 發送時間! 送信日時! 送信日! 日時 日付 보낸_날짜! 보낸날짜! 보낸_시간! 보낸시간! 발송일"
    "! 날짜 일시 sent_at"
    " date_sent sent_on date_d'envoi! fecha_de_envío! data_de_envio! odeslané! saatja kuupäev",
    "to": "to an à a para aan do till til vastaanottaja! saaja кому! komu kime! alıcı! címzett! către! προς "
    "tới đến"
    " kepada! ถึง אל إلى до prima per_a за за_кого до_кого 收件人! 收件者! 收信人! 宛先! 受信者! 받는_사람! 받는사람!"
    " 받는이! 받는_이! 수신자! 수신인! 至 pro per reply-to! reply_to! antwort_an! répondre_à! an_alle destinataire!"
    " destinatario! destinatário! empfänger! ontvanger! mottagare! mottaker! modtager!",
    "cc": "cc bcc kopie kopia kopi копия! копія! dw! udw! másolatot_kap! bilgi κοιν. κοινοποίηση copie copie"
    "_à cco"
    " copia kopio kópia 抄送! 密送! 副本! 密件抄送! 密件副本! ccへ 참조! 숨은참조! đồng_kính_gửi copia"
    "_oculta tembusan"
    " importance attachments priority priorität wichtigkeit anlagen pièces_jointes datos_adjuntos alle"
    "gati anexos"
    " bijlagen załączniki bilagor vedlegg 附件 重要性 添付ファイル 첨부 organization reply-to message-id"
    " in-reply-to references mime-version content-type x-mailer user-agent sensitivity 优先级 signé_par",
    "subject": "subject! betreff! objet asunto! oggetto! assunto! onderwerp! temat! ämne! emne! aihe! тема předmě"
    "t!"
    " predmet! konu tárgy! subiect! θέμα chủ_đề! tiêu_đề! perihal! subjek! เรื่อง נושא الموضوع относно"
    "! zadeva"
    " assumpte! 主题! 主旨! 主題! 标题 標題 件名! 題名! 제목 re teema onderwerp:",
}


def _labels() -> dict[str, tuple[str, bool]]:
    out: dict[str, tuple[str, bool]] = {}
    for role, row in _LABELS.items():
        for word in row.split():
            key = word.rstrip("!").replace("_", " ")
            if any("\u3000" <= c <= "\u9fff" or "\uac00" <= c <= "\ud7a3" for c in key):
                key = key.replace(" ", "")
            out.setdefault(key, (role, word.endswith("!")))
    return out


LABELS = _labels()

# What stands between dashes above the earlier mail.
_ORIGINAL = """
original message|original e-mail|original email|original mail|reply message|original appointment|original text
original|message original|message d'origine|message d’origine|message initial|courriel original
ursprüngliche nachricht|originalnachricht|original-nachricht|original nachricht|antwort nachricht|originalmeldung
urspr. nachricht|ursprüngliche e-mail|urspruengliche nachricht|ursprünglicher termin
mensaje original|mensaje de origen|correo original|messaggio originale|messaggio originario|e-mail originale
mensagem original|mensagem de origem|oorspronkelijk bericht|originele bericht|origineel bericht
oorspronkelijke bericht|wiadomość oryginalna|oryginalna wiadomość|wiadomość pierwotna|oryginalny e-mail
ursprungligt meddelande|originalmeddelande|ursprungligt mail|opprinnelig melding|original melding
oprindelig meddelelse|oprindelig besked|original meddelelse|original besked|alkuperäinen viesti
исходное сообщение|оригинальное сообщение|пересланное письмо|первоначальное сообщение|исходное письмо
оригінальне повідомлення|вихідне повідомлення|початкове повідомлення|původní zpráva|původní e-mail|pôvodná správa
orijinal ileti|orijinal mesaj|özgün ileti|asıl mesaj|özgün mesaj|eredeti üzenet|mesaj original|mesajul original
αρχικό μήνυμα|thư gốc|tin nhắn gốc|pesan asli|originalna poruka|izvorna poruka|izvirno sporočilo
оригинално съобщение|originaal kiri|missatge original
原始邮件|原始郵件|邮件原件|原邮件|原始信件|原郵件|原始消息|原始訊息|回复的原邮件|回复的邮件|回复邮件|原文|来信原文
原件|邮件原文|郵件原文|源邮件|历史邮件|original message from|元のメッセージ|元のメール|オリジナルメッセージ
オリジナル メッセージ|引用元メッセージ
元メール|원본 메시지|원본메시지|원본 메일|원본메일|원래 메시지|원래메시지|기존 메일|original 메시지|원문
"""
_FORWARD = """
forwarded message|forwarded mail|forwarded email|forwarded e-mail|begin forwarded message|fwd message|forwarded by
start of forwarded message|forwarded letter|weitergeleitete nachricht|weitergeleitete e-mail
anfang der weitergeleiteten nachricht|anfang der weitergeleiteten e-mail|ursprüngliche nachricht weitergeleitet
message transféré|message réexpédié|début du message réexpédié|début du message transféré|courriel transféré
mensaje reenviado|inicio del mensaje reenviado|comienzo del mensaje reenviado|messaggio inoltrato
inizio messaggio inoltrato|messaggio inoltrato da|mensagem encaminhada|mensagem reencaminhada
início da mensagem encaminhada|início da mensagem reencaminhada|doorgestuurd bericht|begin doorgestuurd bericht
doorgezonden bericht|wiadomość przekazana dalej|przekazana wiadomość|przesłana wiadomość|forwardowana wiadomość
początek przekazywanej wiadomości|początek wiadomości przekazanej|treść przekazanej wiadomości
vidarebefordrat meddelande|vidarebefordrat brev|vidarebefordrat mejl|påbörja vidarebefordrat meddelande
videresendt melding|videresendt e-post|videresendt meddelelse|videresendt besked|videresendt mail
start på videresendt besked|start på videresendt melding|starten på den videresendte besked
välitetty viesti|edelleenlähetetty viesti|välitetty viesti alkaa|пересылаемое сообщение|пересланное сообщение
перенаправленное сообщение|переадресованное сообщение|начало переадресованного сообщения|пересланное письмо
начало пересылаемого сообщения|переслане повідомлення|перенаправлене повідомлення|початок листа, що пересилається
přeposlaná zpráva|předaná zpráva|začátek přeposílané zprávy|přeposlaný e-mail|preposlaná správa
iletilmiş mesaj|yönlendirilmiş mesaj|iletilen mesaj|iletilen ileti|yönlendirilen ileti|iletilen ileti başlangıcı
továbbított üzenet|továbbított levél|mesaj redirecționat|mesaj înaintat|προωθημένο μήνυμα|thư được chuyển tiếp
tin nhắn chuyển tiếp|pesan yang diteruskan|препратено съобщение|proslijeđena poruka|posredovano sporočilo
missatge reenviat
转发邮件|转发的邮件|转发的消息|转发邮件信息|转发邮件开始|已转发邮件|已轉寄郵件|轉寄郵件|轉寄的郵件|轉寄信件
轉寄的訊息|轉寄訊息
转发信息|转发消息|被转发邮件|被转发的邮件|下面是被转发的邮件|以下是转发的邮件|以下是轉寄的郵件|以下是轉寄信件
開始轉寄郵件
开始转发邮件|轉寄郵件開始|已轉寄的郵件|已轉寄的訊息|已转发的消息|已转发的邮件|forwarded message 转发邮件
転送メッセージ|転送メール|転送されたメッセージ|転送されたメール|転送元メッセージ
以下は転送されたメッセージです|転送|転送メッセージの開始
전달된 메시지|전달된 메일|전달된 이메일|전달 메시지|전달메일|다음은 전달된 메시지입니다|전달된 메시지의 시작
"""


def _phrases(table: str) -> frozenset[str]:
    return frozenset(p.strip() for row in table.strip().split("\n") for p in row.split("|") if p.strip())


ORIGINAL = _phrases(_ORIGINAL)
FORWARD = _phrases(_FORWARD)

# "wrote": at the end of an attribution, before the colon.
WROTE_LAST = re.compile(
    r"(?:\b(?:wrote|writes|sent|said|schrieb|schreef|skrev|skreiv|escribió|escribio|escribe|escreveu"
    r"|kirjoitti"
    r"|yazdı|yazmış|napisał(?:\(a\)|a)?|pisze|napsal(?:\(a\)|a)?|napísal(?:\(a\)|a)?|írta|menulis|rašė"
    r"|rakstīja"
    r"|kirjutas|написал(?:\(а\)|а)?|написав(?:\(ла\))?|написала|пише|пишет|писал\(?а?\)?|написа|έγραψε|scrive"
    r"|a\s+écrit|ha\s+escrit|ha\s+scritto|ha\s+escrito|va\s+escriure|a\s+scris"
    r"|het\s+volgende\s+geschreven|geschreven"
    r"|folgendes\s+geschrieben|geschrieben|đã\s+viết|viết|je\s+napisa(?:o|la|o/la)|je\s+napisal\(?a?\)?"
    r"|napisao\s+je|napisala\s+je|ezt\s+írta(?:\s+\([^)]{1,40}\))?|şunu\s+yazdı|şunları\s+yazdı"
    r"|wrote\s+this|a\s+envoyé"
    r"|har\s+skrivit|has\s+written|följande|het\s+volgende)"
    r"|写道|寫道|写到|寫到|的邮件|的郵件|来信|写信|のメール|wrote|さんは書きました|さんが書きました"
    r"|は書きました|が書きました|さんからのメール"
    r"|님이\s?작성|님\s?작성|작성|님이\s?쓴\s?글|님이\s?쓰셨습니다|님께서\s?작성|เขียนว่า|เขียน|כתב/ה"
    r"|כתב|כתבה|‫?كتب|نوشت)"
    r"\s*[-—–\s*_]*[:：;]?[\s*_-]*$",
    re.I,
)
# How those words end, for a look that costs nothing: the pattern is tried at each of forty characters.
_ENDINGS = """
te es nt id eb ef ev iv ió io be eu ti dı di mış miş ał a) ła ze al la l( l) (a ta is šė se ja as ал ла л(
(а а) л) ав ше ет са ψε ve it to re en ết ao je ) yé de 道 到 件 信 ル た 성 글 다 ว่า ยน /ה תב בה تب وشت
"""
_ENDS = tuple(_ENDINGS.split())
_TAIL = "".join(filter(str.isspace, map(chr, range(0x3001)))) + "*_:：;-—–"


def wrote_last(text: str) -> bool:
    """Whether a line ends with "wrote", in any of the languages."""
    return text.rstrip(_TAIL).lower().endswith(_ENDS) and WROTE_LAST.search(text) is not None


# … or in the middle, when the language puts the verb before the name.
WROTE_INSIDE = re.compile(
    r"\b(?:schrieb|schreef|skrev|heeft|escribió|escreveu|napisał(?:\(a\)|a)?|napsal|написал\(?а?\)?"
    r"|wrote|írta|yazdı"
    r"|schrieben|geschrieben|ha\s+scritto|a\s+écrit|użytkownik|odesílatel|пользователь|користувач)\b"
    r"|写道|寫道|작성",
    re.I,
)
# Strong even without a time or an address: nobody ends an ordinary line like this.
WROTE_STRONG = re.compile(
    r"(?:写道|寫道|さんは書きました|님이\s?작성|のメール|şunu\s+yazdı|şunları\s+yazdı"
    r"|ezt\s+írta)[^:：]{0,12}[:：]\s*$"
)
# How an attribution may begin.
STARTER = re.compile(
    r"(?:(?:on|at|le|am|el|il|em|no\s+dia|op|den|på|w\s+dniu|dnia|dne|kun|vào|ngày|pada|am|in\s+data"
    r"|die|a|em\s+data|în|la"
    r"|στις|на|в)\s|在|于|於|\d|[(\[]?\d{4}[-/.年]|(?:mon|tue|wed|thu|fri|sat|sun|lun|mar|mer|mié|mie|jeu"
    r"|jue|gio|ven|vie"
    r"|sam|sáb|sab|dim|dom|mo|di|mi|do|fr|sa|so|seg|ter|qua|qui|sex|pon|wt|śr|czw|pt|sob|niedz|ma|ti"
    r"|ke|to|pe|la|su|man"
    r"|tir|ons|tor|tors|fre|lör|lør|søn|sön|вт|ср|чт|пт|сб|вс|пн|нд|po|út|st|čt|pá|so|ne|zo|wo|vr|za"
    r"|pzt|sal|çar|per|cum"
    r"|cmt|paz|понедельник|вторник|среда|четверг|пятница|суббота|воскресенье|понеділок|вівторок|середа"
    r"|четвер|п'ятниця"
    r"|субота|неділя|t[2-7]|cn|thứ|h|k|sze|cs|szo"
    r"|v)[a-zéáíóúàèìòùäöüßçñãõěščřžýůúťďňłśżźćńąęğışâîûățșæøå]{0,9}[.,]?\s+"
    r"(?=[^a-z]{0,6}\d|\d|[a-zéû]{3,10}\.?\s\d))",
    re.I,
)
INSIDE_START = re.compile(
    r"(?:\b(?:On|At)\s+(?=(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun|Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec|\d)"
    r"[^:]{0,40}\d)|\b(?:Le|Am|El|Il|Em|Op|Den)\s+(?=(?:[^\W\d]{2,10}\.?,?\s)?\d{1,2}[ ./-])"
    r"|在\s*(?=\d{4}[-/.年]))"
)
DATE = re.compile(
    r"\d{4}\s?[-/.年]\s?\d{1,2}\s?[-/.月]\s?\d{1,2}|\d{1,2}[./-]\s?\d{1,2}[./-]\s?\d{2,4}|\b(?:19"
    r"|20)\d\d\b|\d{4}년|\d{1,2}월\s?\d{1,2}일"
    r"|\d{1,2}月\s?\d{1,2}日"
    r"|\b\d{1,2}\.?[ -](?:de\s)?(?:jan|feb|mar|m[äa]r|apr|ma[iyj]|jun|jul|aug|sep|o[ck]t|nov|de[czs]"
    r"|янв|фев|мар|апр|ма[йя]|июн|июл|авг|сен|окт|ноя|дек)"
    r"|\b(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}\.?[ -]\d{1,2}\b",
    re.I,
)
TIME = re.compile(
    r"\b\d{1,2}\s?[:.h]\s?\d{2}\b|\d{1,2}\s?[時时点點시]\s?\d{0,2}|\b\d{1,2}\s?[ap]\.?m\b|\d{1,2}:\d{2}", re.I
)
ABOVE = Quick(
    re.compile(
        r"(?:reply|respond|write|type|answer|response)\b.{0,40}\babove this line\b"
        r"|above this line.{0,20}(?:to reply|reply)"
        r"|(?:antwort|schreiben)\w*.{0,40}(?:oberhalb|über) dieser (?:linie|zeile)|(?:répon"
        r"|écri)\w*.{0,40}au-dessus de cette ligne"
        r"|(?:respuesta|respond|escrib)\w*.{0,40}(?:encima|arriba) de esta línea"
        r"|rispo\w+.{0,40}sopra questa (?:riga|linea)"
        r"|respon\w+.{0,40}acima desta linha|(?:antwoord|reageer|typ)\w*.{0,40}boven deze (?:regel|lijn)"
        r"|请.{0,12}(?:在此|在这)(?:行|线|条线)(?:以上|上方|之上)|この(?:行|線)(?:より|の)上に.{0,16}"
        r"|이\s?(?:줄|선)\s?위에.{0,16}",
        re.I,
    ),
    (
        "line",
        "ligne",
        "linie",
        "zeile",
        "línea",
        "riga",
        "linha",
        "regel",
        "lijn",
        "行",
        "线",
        "線",
        "줄",
        "선",
    ),
)
# A few words above a forward that point at it: then the forward is the message.
POINTING = re.compile(
    r"\bf\.?y\.?i\b|see (?:the )?(?:mail |message |e-?mail )?(?:below|attached|under)|\bbelow\b"
    r"|forward|\bfwd\b|for your (?:info|attention)|please (?:handle|advise|see|help|take)"
    r"|zur info|zur kenntnis|siehe (?:unten|anhang)|\bz\.?k\b|weiterleit|pour info|pour votre info"
    r"|ci-dessous|voir|transf[ée]r"
    r"|para (?:tu|su|vuestra|sua|seu) (?:info|conocimiento|conhecimento)|ver (?:abajo|abaixo)|reenv"
    r"|encaminh|segue|per (?:conoscenza|tua|vostra)"
    r"|vedi sotto|inoltr|ter info|zie (?:onder|hieronder)|doorgestuurd|do wiadomo|poniżej|przekazuj"
    r"|se nedan|se nedenfor|vidarebefor"
    r"|videresend|til (?:info|orientering)|för kännedom|tiedoksi|alla oleva|для (?:сведения"
    r"|информации)|ниже|пересыла|нижче|до відома"
    r"|viz níže|na vědomí|bilgi|aşağıda|见下|如下|下面|转发|轉寄|请看|请处理|請看|参见|供参考|請參考"
    r"|请查收|ご参考|参考まで|下記|転送|ご確認|참고"
    r"|아래|전달|확인",
    re.I,
)
