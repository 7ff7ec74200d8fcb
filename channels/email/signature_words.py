"""What signatures, sign-offs, devices and disclaimers look like, in the languages customers write."""

from __future__ import annotations

import re

from channels.email.quick import Quick

DELIMITER = re.compile(r"^(?:--|—|––|__)\s?$")
WEAK_DELIMITER = re.compile(
    r"^\s?(?:[-_=*~#─━―－＿＝＊~・･]{3,}|[—–]{1,}|(?:- ){2,}-?|(?:\* ){3,}\*?|(?:[-=*]\s?[-=*+]\s?){5,})\s*$"
)
STRONG = re.compile(
    r"^\W{0,3}(?:(?:(?:best|kind|kindest|warm|warmest|many|with|my|very|good)\s+)*(?:regards|wishes"
    r"|greetings)\b|regards\b|rgds\b|brgds\b|br\b[,!]?$"
    r"|yours?\s+(?:sincerely|truly|faithfully)|sincerely\b|respectfully\b|cordially\b|all the best\b"
    r"|best[,!.]?$|cheers[,!.]?(?:\s+\w+)?$"
    r"|take care[,!.]?$|warmly[,!.]?$|xoxo$|ttyl$|kthx\b$|(?:mit\s+)?(?:den\s+)?(?:besten"
    r"|freundlichen?|lieben|herzlichen|schönen|sonnigen|vielen)\s+gr(?:ü|ue)(?:ß|ss)(?:e|en)?\b"
    r"|(?:freundliche|beste|liebe|viele|schöne|herzliche)\s+gr(?:ü|ue)(?:ß|ss)e\b|gr(?:ü|ue)(?:ß"
    r"|ss)e?[,!.]?$|gr(?:ü|ue)(?:ß|ss)e\s+aus\b|hochachtungsvoll|mfg\b|vg[,!.]?$|lg[,!.]?$"
    r"|(?:bien\s+)?cordialement\b|bien à (?:vous|toi)|(?:très )?(?:sincères |meilleures )?salutations"
    r"|(?:meilleures|sincères|respectueuses) salutations|amicalement|sincèrement\b|respectueusement"
    r"|cdt[,.]?$|cdlt[,.]?$|veuillez (?:agréer|recevoir|croire)|je vous prie d'agréer"
    r"|(?:un\s+)?(?:cordial(?:es)?|atent[oa]s?|afectuoso)\s+(?:saludos?|abrazo)"
    r"|saludos\b(?:\s+cordiales)?|un saludo\b|un abrazo\b|atentamente\b|atte\b|cordialmente\b|reciba"
    r"|(?:cordiali|distinti|tanti|cari)\s+saluti\b|saluti[,!.]?$|un (?:cordiale )?saluto|in fede[,.]?$"
    r"|a presto[,!.]?$"
    r"|(?:com os (?:melhores|meus) )?(?:melhores )?cumprimentos|atenciosamente\b|att[,.]?$|atte?[,.]$"
    r"|abraços?\b[,!.]?$|cordiais saudações|saudações"
    r"|(?:met\s+)?(?:vriendelijke|hartelijke|beste)\s+groet(?:en|jes)?\b|groet(?:en|jes)?[,!.]?$|mvg\b"
    r"|hoogachtend"
    r"|(?:z\s+)?(?:poważaniem|powazaniem|wyrazami szacunku)|(?:serdecznie\s+)?pozdrawiam\b"
    r"|pozdrowienia\b|serdeczności|pzdr\b"
    r"|(?:med\s+)?(?:vänlig(?:a)?|vennlig|venlig|bästa|beste|bedste|mange"
    r"|hjärtliga)\s+(?:hälsning(?:ar)?|hilsen(?:er)?)\b|mvh\b|hälsningar\b|hilsen[,!.]?$|hilsen fra"
    r"|vh[,.]?$|kh[,.]?$|dbh[,.]?$|hälsn[,.]?$|hej så länge"
    r"|(?:ystävällisin|parhain|lämpimin)\s+terveisin|terveisin\b|t[.:]$|yst\.?\s?terv|terv\.?[,]?$"
    r"|с\s+(?:уважением|наилучшими|благодарностью)|всего (?:доброго|хорошего)|с ув\.|(?:з"
    r"|із)\s+(?:повагою|найкращими)|щиро ваш|з пов\."
    r"|s\s+(?:pozdravem|přátelským pozdravem|úctou)|s pozdravom|hezký den|pěkný den|(?:saygılarım(?:la"
    r"|ızla)|saygılar|selamlar|iyi (?:çalışmalar|günler)|sevgiler)\b"
    r"|(?:üdvözlettel|tisztelettel|üdv)\b|(?:cu (?:stimă|respect)|cu drag)\b|με εκτίμηση|φιλικά"
    r"|trân trọng|thân(?:,|$)|salam(?:,|$)|hormat (?:saya|kami)"
    r"|此致|敬礼|敬禮|顺(?:颂|祝|致)|順頌|順祝|(?:敬)?祝[^。！!，,]{0,2}(?:好|安|商祺|工作顺利"
    r"|工作愉快|生活愉快|一切顺利|身体健康|您愉快|順利)|商祺|祝好"
    r"|谨上|敬上|此\s?致|即颂|顺颂"
    r"|敬具|草々|かしこ$|以上$|敬白)",
    re.I,
)
THANKS = re.compile(
    r"^\W{0,3}(?:thank(?:s|\s?you|\s?u)?|thx|tks|tnx|many thanks|ta\b|danke|vielen dank|besten dank"
    r"|herzlichen dank|merci|gracias|muchas gracias|grazie|obrigad[oa]|bedankt|dank (?:je|u)"
    r"|dziękuję|dzięki|tack|takk|tusen takk|tak|mange tak|kiitos|kiitän|спасибо|благодарю|дякую|děkuji"
    r"|díky|ďakujem|teşekkür(?:ler|\s?ederim)|köszönöm|köszi|mulțumesc|ευχαριστώ|cảm ơn|terima kasih"
    r"|谢谢|多谢|感谢|謝謝|感謝|谢了|ありがとう|宜しくお願い|よろしくお願い|감사합니다|감사드립니다"
    r"|고맙습니다|수고하세요)"
    r"(?:\s+(?:you|so|very|much|again|a lot|a bunch|in advance|and|best|kind|regards|for your help"
    r"|for (?:the|your) (?:help|time|support|assistance)|everyone|all|schön|sehr|im voraus|vielmals"
    r"|und|beaucoup"
    r"|d'avance|par avance|mille|infiniment|de antemano|mille|anticipatamente|in anticipo|desde já"
    r"|muito|alvast|bij voorbaat|z góry|bardzo|på förhand|så mycket|på forhånd|etukäteen|заранее"
    r"|большое|наперед|předem|şimdiden|您|你|大家|啦))*"
    r"(?P<rest>[\s,.!！。…~:)&-]*.*)$",
    re.I,
)
DEVICE = re.compile(
    r"^\W{0,4}(?:sent (?:wirelessly |securely |free )?(?:from|via|with|using|by) (?:my |the |an? "
    r"|mail for |mailbox |outlook |yahoo |proton|gmail|samsung|iphone|ipad|android|spark|airmail"
    r"|postbox|sparrow|blackberry|huawei|xiaomi|windows|the all.new|aol|zoho|mobile|newton|mailspring"
    r"|canary|superhuman|thunderbird|k-9|fairemail|bluemail|boxer|t-mobile|at&t|verizon|tutanota|nine"
    r"|front|hey|myMail|type ?mail|edison|fastmail|[A-Z]\w+( mail| app)?\b).{0,70}$"
    r"|sent from .{1,30}(?:phone|mobile|tablet|device|smartphone)\W*$|via (?:mobile|iphone|android"
    r"|phone)\W*$|get outlook for (?:ios|android|mac).{0,80}$|download outlook for .{0,80}$"
    r"|(?:mobil )?gesendet (?:von|mit|aus) (?:meine[mr] |der |outlook|yahoo|mail|samsung|proton|gmx"
    r"|web\.de|thunderbird|k-9|spark).{0,60}$|von (?:meinem|meiner) .{1,40} gesendet\W*$"
    r"|diese nachricht wurde von meinem .{1,60}$"
    r"|(?:envoyé|envoyée?)(?: sans fil)? (?:depuis|de|à partir de|par|avec|via) (?:mon |ma |mail "
    r"|yahoo|outlook|l'application|un |proton|samsung).{0,80}$|télécharger outlook pour .{0,60}$"
    r"|obtenez outlook pour .{0,60}$|provenance : courrier pour .{0,40}$"
    r"|enviado (?:desde|do|a partir do|com|con|de|pelo|via) (?:mi |meu |el |o |mail |yahoo|outlook"
    r"|correo|email|un |uma? |la |iphone|ipad|samsung|dispositivo|proton).{0,80}$"
    r"|obtener outlook para .{0,60}$|obter o outlook para .{0,60}$|descargar outlook.{0,60}$"
    r"|enviado desde .{1,60}$"
    r"|inviato (?:da|dal|dall'|con|tramite) ?(?:il |mio |iphone|ipad|posta|mail|yahoo|libero|tiscali"
    r"|outlook|smartphone|samsung|dispositivo).{0,80}$|scarica outlook per .{0,60}$"
    r"|ottieni outlook per .{0,60}$|(?:verzonden|verstuurd) (?:vanaf|met|van|vanuit|via) (?:mijn"
    r"|outlook|mail|yahoo|een|samsung|de).{0,70}$|outlook voor (?:ios|android) downloaden.{0,60}$"
    r"|wysłan[eoay]* z (?:mojego |iphone|ipad|telefonu|urządzenia|aplikacji|poczty|programu|outlook"
    r"|smartfon).{0,70}$|pobierz (?:program |aplikację )?outlook .{0,60}$|(?:skickat|sendt|skickad"
    r"|sendt) (?:från|fra|via) (?:min|mitt|outlook|e-post|mail|yahoo|en|et|samsung|telefon).{0,70}$"
    r"|(?:hämta|hent|skaff) outlook (?:för|til|for) .{0,60}$"
    r"|lähetetty (?:iphonesta|ipadista|puhelimesta|laitteesta|outlook|samsung|yahoo|android).{0,60}$"
    r"|lähetetty .{1,30}(?:stani|lta|sta)\W*$|hanki outlook .{0,60}$|отправлено (?:с|из|от) (?:моего "
    r"|iphone|ipad|мобильн|устройства|почты|mail|яндекс|samsung|android|my).{0,80}$"
    r"|отправлено из .{1,50}$|скачать outlook.{0,60}$"
    r"|надіслано (?:з|із|від) (?:мого |iphone|пошти|ipad|android).{0,60}$|odesláno (?:z|ze"
    r"|pomocí) (?:mého |iphonu|ipadu|mobilu|aplikace|pošty|outlooku|e-mailu|telefonu|iphone).{0,60}$"
    r"|(?:iphone|ipad|android|samsung|telefon)['’]?[uiıdnmea]*m?[dt][ea]n gönderildi\W*$"
    r"|.{0,20}cihazımdan gönderildi\W*$|iphone'umdan gönderildi\W*$|elküldve az .{1,30}mről\W*$"
    r"|trimis de pe .{1,40}$|(?:được )?gửi từ .{1,40}$|στάλθηκε από .{1,40}$"
    r"|(?:发|發|寄|发送|傳送|传送)自(?:我的|我|于|於)?\s?.{1,30}$|(?:从|從)我的.{1,20}(?:发送|傳送"
    r"|发出|寄出)\W*$|来自我的.{1,20}$"
    r"|(?:获取|取得|下载) ?(?:适用于|適用於)?.{0,12}outlook.{0,60}$|通过.{1,20}(?:邮箱|邮件"
    r"|手机).{0,6}(?:发送|发出)\W*$"
    r"|由(?:我的)?.{1,20}(?:发送|傳送|寄出)\W*$|(?:本邮件|此邮件|邮件)?(?:来自|由|通过|使用)\s?(?:网易"
    r"|QQ|139|126|163|新浪|搜狐|阿里"
    r"|企业微信|飞书|钉钉|foxmail|手机).{0,20}(?:邮箱|客户端|大师|版|发送|手机).{0,10}$"
    r"|使用.{0,12}(?:邮箱|邮件)(?:大师|客户端"
    r"|手机版).{0,8}(?:发送|签发)?\W*$"
    r"|(?:私の)?.{1,20}(?:から|より)送信\W*$|(?:iphone|ipad|android)版? ?outlook.{0,10}(?:を入手|の取得).{0,50}$"
    r"|outlook for .{1,10} を入手.{0,60}$|(?:나의|내|제)\s?.{1,20}에서\s?(?:보냄|전송|보낸.{0,6})\W*$"
    r"|.{1,24}에서\s?(?:보냄|전송됨|발송됨|보냈습니다)\W*$|.{0,12}outlook.{0,10}(?:다운로드|가져오기|받기).{0,50}$)",
    re.I,
)
FOOTER = re.compile(
    r"^\W{0,4}(?:(?:this (?:e-?mail|message) (?:has been|was) (?:checked|scanned)|virus.free\.|avast"
    r"|scanned by|checked by avg|please consider the environment|please think (?:of"
    r"|about) the environment|think before (?:you )?print|save (?:a tree|paper)"
    r"|sent through the|do you yahoo|get your free|you (?:are receiving|received|are subscribed"
    r"|received) (?:this|to)|to unsubscribe|unsubscribe\b|manage (?:your )?(?:subscription"
    r"|preferences)|view (?:this|it) (?:email )?(?:in your browser|on github)"
    r"|reply to this email directly"
    r"|diese e-mail wurde (?:von|auf)|l'absence de virus|el software de antivirus"
    r"|questa e-?mail è stata|este e-?mail foi verificado|ta wiadomość (?:e-mail )?została sprawdzona"
    r"|это сообщение проверено|denk aan het milieu|bitte denken sie an die umwelt"
    r"|pensez à l'environnement))",
    re.I,
)
DISCLAIMER = Quick(
    re.compile(
        r"(?:this|the) (?:e-?mail|message|communication|transmission"
        r"|information)[^.]{0,120}(?:confidential|privileged|intended (?:only|solely|exclusively)"
        r"|proprietary)|intended recipient|intended (?:only |solely )?for the (?:use|person|individual"
        r"|addressee|named)"
        r"|received (?:this|it)[^.]{0,40}in error[^.]{0,200}(?:delete|notify|destroy)"
        r"|confidentiality (?:notice|note)|^\W{0,3}(?:legal )?disclaimer\s?:|privileged and confidential"
        r"|registered (?:office|in england)[^.]{0,80}(?:no\.?|number|company)"
        r"|diese (?:e-?mail|nachricht)[^.]{0,120}(?:vertraulich|rechtlich geschützt)|nicht der (?:richtige"
        r"|vorgesehene|beabsichtigte) (?:adressat|empfänger)|irrtümlich erhalten|ce (?:message|courriel"
        r"|mail|courrier)[^.]{0,160}(?:confidentiel|destinataire|exclusif)|pas le destinataire"
        r"|(?:este|el presente) (?:mensaje|correo|e-?mail)[^.]{0,160}(?:confidencial|destinatario"
        r"|privilegiad)|no es (?:usted )?el destinatario|questo messaggio[^.]{0,160}(?:riservat"
        r"|confidenzial|destinatari)|(?:esta mensagem|este e-?mail)[^.]{0,160}(?:confidencia|destinatário)"
        r"|dit (?:bericht|e-?mailbericht)[^.]{0,120}(?:vertrouwelijk|bestemd)"
        r"|de informatie in dit[^.]{0,80}bericht"
        r"|(?:niniejsza|ta) (?:wiadomość|korespondencja)[^.]{0,120}(?:poufn|adresat)|detta (?:mejl|e-?post"
        r"|meddelande)[^.]{0,100}konfidentiell|denne (?:e-?mail|e-?post|melding)[^.]{0,100}(?:fortrolig"
        r"|konfidensiel)|(?:настоящее|это|данное) (?:сообщение|письмо)[^.]{0,120}(?:конфиденциал)"
        r"|tato zpráva[^.]{0,100}důvěrn|bu (?:e-?posta|ileti|mesaj)[^.]{0,120}(?:gizli|özel)"
        r"|(?:本|此|该|這|这封|本封)(?:电子)?(?:電子)?(?:邮件|郵件|信件|邮件及其附件"
        r"|email)[^。]{0,80}(?:保密|机密|機密|仅供|僅供|仅限|秘密)"
        r"|(?:如果|若|倘若)(?:您|你|阁下)[^。]{0,12}(?:不是|并非|非)[^。]{0,20}收[件信]人|(?:误收"
        r"|错误地收到|誤收)[^。]{0,10}(?:邮件|郵件)"
        r"|免责声明|免責聲明|保密(?:声明|提示|须知)"
        r"|(?:この|本)(?:電子)?メール[^。]{0,60}(?:機密|秘密|宛先|意図)|誤って(?:受信|送信|届)|(?:본"
        r"|이)\s?(?:전자\s?)?(?:메일|이메일|전자우편"
        r"|메시지)[^.]{0,80}(?:기밀|비밀|수신자|보안)|잘못\s?(?:수신|전송|발송)",
        re.I | re.M,
    ),
    (
        "confiden",
        "privileg",
        "intended",
        "proprietary",
        "in error",
        "disclaimer",
        "registered",
        "vertraulich",
        "rechtlich gesch",
        "nicht der",
        "irrtümlich",
        "destinat",
        "exclusif",
        "el destinatario",
        "riservat",
        "vertrouwelijk",
        "bestemd",
        "de informatie in dit",
        "poufn",
        "adresat",
        "konfiden",
        "fortrolig",
        "конфиденциал",
        "důvěrn",
        "gizli",
        "özel",
        "密",
        "秘",
        "仅",
        "僅",
        "收",
        "声明",
        "聲明",
        "密声",
        "提示",
        "须知",
        "宛先",
        "意図",
        "誤って",
        "기밀",
        "비밀",
        "수신",
        "보안",
        "전송",
        "발송",
    ),
)
LIST_FOOTER = re.compile(
    r"mailing list|mailman|listinfo|lists?\.[\w-]+\.\w+|unsubscribe|google groups|yahoogroups"
    r"|groups\.io|subscri|list archive|archives?:|lijsten|liste de diffusion|lista de|邮件列表|メーリングリスト",
    re.I,
)
CONTACT = re.compile(
    r"@[\w-]+\.[\w.]{2,}|https?://|www\.|\b[\w-]+\.(?:com|net|org|io|de|fr|cn|jp|kr|ru|nl|pl|se|it|es"
    r"|br|co\.\w\w)\b|(?:\+|00)\d[\d\s().-]{6,}\d|\(?\d{2,4}\)?[\s./-]\d{3,4}[\s.-]\d{3,4}"
    r"|^\W{0,2}(?:tel|phone|mobile?|cell|fax|mob|office|direct|skype|t|f|m|p|e|w|tél|telefon|handy|tlf"
    r"|тел|моб|电话|手机|传真|邮箱|地址|網址|电\s?话|手\s?机|邮\s?箱|地\s?址|网\s?址|電話|携帯|住所|〒"
    r"|전화|휴대폰|팩스|주소|이메일|微信"
    r"|qq)\s?[.:：]",
    re.I | re.M,
)
BARE_ADDRESS = re.compile(r"<?[\w.+-]{1,64}@[\w.-]{3,80}>?\Z")
NAME_WORD = re.compile(r"^[^\W\d_][\w.'’-]*\.?$")
DASH_NAME = re.compile(r"^\s?(?:[-–—~/]{1,2}|-{1,3}>?|\*)\s?([^\W\d_][\w.'’ ]{0,40})[.!]?$")
BULLET = re.compile(r"^\s*(?:[-*•·–]|\d{1,2}[.)])\s+\S")
CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]")
