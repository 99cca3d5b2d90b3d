"""What the reply of a mail server means: which layer refused, why, and what to do.

SES's own replies come first: a client or webmail that relays through SES gets them, and then no receiver saw the
mail.
Sources: SES Developer Guide, "SMTP response codes returned by Amazon SES"; Gmail's and Microsoft's tables of SMTP
errors; Yahoo's postmaster pages; RFC 3463 (status codes), RFC 7372 (codes of failed authentication).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Meaning:
    """The layer that refused, what happened and what to do; ``runbook`` is its page in docs/runbooks."""

    layer: str
    says: str
    hint: str
    runbook: str = ""


_Row = tuple[str, Meaning]

_STALE: Final = (
    "recon smtp verify --username AKIA... --password-stdin tests the password that is stored there; give it the "
    "current one, then: recon smtp ack"
)

OF_SES: Final[tuple[_Row, ...]] = (
    (
        r"\b535\b|authentication credentials invalid|custom ?from ?denied|send mail as",
        Meaning("smtp",
                "the login at the SMTP server failed: the password that is stored there is wrong or was rotated",
                _STALE, "authentication-error.md"),
    ),
    (
        r"not authori[sz]ed to perform",
        Meaning("permission", "the login works, but the policies of the user do not allow this mail",
                "recon senders shows what the user may send", "authentication-error.md"),
    ),
    (
        r"email address is not verified|identities failed the check",
        Meaning("identity", "SES does not know the sender, or in its sandbox the recipient, as a verified identity",
                "recon doctor DOMAIN --region REGION; recon doctor says whether the account is in the SES sandbox",
                "authentication-error.md"),
    ),
    (
        r"sending (?:suspended|paused)|account.{0,40}paused|sending quota|maximum sending rate|daily message quota",
        Meaning("account", "SES does not let the account send, or not as much", "recon doctor", "aws-paused-us.md"),
    ),
    (
        r"configuration set.{0,80}does not exist|configuration set sending.{0,20}(?:paused|disabled)",
        Meaning("configuration_set", "the configuration set of the mail does not exist, or its sending is off",
                "recon doctor", "aws-paused-us.md"),
    ),
    (
        r"suppression list|suppressed sending|on ?account ?suppression|mailbox is on the (?:global|account)",
        Meaning("suppression", "the recipient is on a suppression list: SES did not try",
                "recon doctor --to ADDRESS", "one-receiver-refuses.md"),
    ),
    (
        r"amazon ses rejected the message",
        Meaning("content", "SES found a virus in the message and did not send it",
                "find out which program sends such attachments", "spam-goes-out.md"),
    ),
    (
        r"amazon ses: rendering failure",
        Meaning("content", "SES could not fill in the template, and sent nothing",
                "give the template every variable that it names"),
    ),
)  # fmt: skip
"""Replies of SES itself: (pattern, meaning)."""

OF_RECEIVERS: Final[tuple[_Row, ...]] = (
    (
        r"\b4\.7\.32\b|\b5\.7\.509\b|dmarc",
        Meaning("dmarc", "the receiver refused it by DMARC: neither DKIM nor SPF passed for the domain in From", "",
                "one-receiver-refuses.md"),
    ),
    (
        r"\b[45]\.7\.2[34]\b|\b[45]\.7\.27\b|spf.{0,40}(?:fail|record|check)|not allowed to send from|per it'?s spf",
        Meaning("spf", "the receiver refused it because SPF failed for the MAIL FROM domain", "",
                "one-receiver-refuses.md"),
    ),
    (
        (r"\b[45]\.7\.26\b|\b5\.7\.515\b|unauthenticated|does not have authentication|required authentication level"
         r"|spf or dkim|spf and dkim"),
        Meaning("dmarc", "the receiver refused it as unauthenticated: neither DKIM nor SPF passed", "",
                "one-receiver-refuses.md"),
    ),
    (
        r"\b[45]\.7\.30\b|\bdkim\b(?!.{0,40}(?:or|and) spf)|\b[45]\.7\.20\b",
        Meaning("dkim", "the receiver refused it because DKIM failed", "", "one-receiver-refuses.md"),
    ),
    (
        r"\b[45]\.7\.25\b|ptr (?:resource )?record|reverse dns|\brdns\b",
        Meaning("reputation", "the sending IP address has no right PTR record",
                "for a dedicated IP of SES ask AWS support; else the mail did not leave through SES"),
    ),
    (
        r"\b[45]\.7\.29\b|must issue a starttls|tls (?:is )?required|does not support tls",
        Meaning("network", "TLS was required, and not used or not offered", "set tls_policy of the configuration set"),
    ),
    (
        (r"\b5\.3\.4\b|\b5\.2\.3\b|(?:message|mail) (?:is )?too (?:large|big|long)"
         r"|(?:message|mail) (?:size|length) exceeds|sizelimit"),
        Meaning("content", "the message is larger than the receiver takes", "send a link in the place of attachments"),
    ),
    (
        r"\b5\.1\.[78]\b|sender (?:address )?rejected|unroutable sender|sender (?:domain )?(?:unknown|does not exist)",
        Meaning("identity", "the receiver refuses the sender's address: it may have no MX and no address record",
                "recon doctor DOMAIN looks at the MAIL FROM domain", "one-receiver-refuses.md"),
    ),
    (
        r"no such domain|domain (?:name )?(?:not found|does not exist)|nxdomain",
        Meaning("recipient", "the recipient's domain does not exist",
                "is it spelled right? recon doctor --to ADDRESS looks it up"),
    ),
    (
        r"hop count|(?:mail|routing) loop|\b5\.4\.(?:6|14)\b",
        Meaning("network", "the receiver's servers pass the mail in a circle", "tell the receiver's postmaster"),
    ),
    (
        (r"\b[45]\.2\.1\b|\b5\.1\.10?\b|\b5\.1\.[1236]\b|(?:user|recipient)(?: is)? unknown"
         r"|unknown (?:user|recipient)|no such (?:user|mailbox)"
         r"|does(?:n't| not) (?:exist|have an? \S+ account)|recipient not found"
         r"|invalid (?:mailbox|recipient)|\b5\.4\.1\b"
         r"|mailbox (?:unavailable|not found)|(?:user|address|recipient) not (?:exist|found|listed)|unknown address"
         r"|address (?:couldn't|could not) be found|group .{0,80}may not exist|no valid recipients"),
        Meaning("recipient", "the recipient does not exist", "remove the address from your lists"),
    ),
    (
        (r"\b[45]\.2\.2\b|(?:mailbox|inbox|storage).{0,30}full|over ?quota|quota exceeded|exceeds allowed size"
         r"|out of storage"),
        Meaning("recipient", "the recipient's mailbox is full", "try again later; remove the address if it stays so"),
    ),
    (
        (r"\b5\.7\.13\b|(?:account|mailbox|user|recipient).{0,40}(?:disabled|blocked|frozen|suspended|locked)"
         r"|disabled recipient"),
        Meaning("recipient", "the recipient's mailbox is switched off", "remove the address from your lists"),
    ),
    (
        r"\b5\.7\.513\b|recipient'?s? block(?:ed)? list|blocked sender",
        Meaning("recipient", "the recipient has blocked the sender", "remove the address from your lists"),
    ),
    (
        (r"\[?(?:BL2[13]|S31[45]0|S775)\]?|\b5\.7\.(?:511|60[6-9]|6[1-4]\d)\b|\b4\.7\.650\b|spamhaus|sorbs|block ?list"
         r"|dnsbl|blocked using|banned (?:sending )?ip|blacklist|client host.{0,80}blocked"),
        Meaning("reputation", "the receiver blocks the sending IP address",
                "recon doctor shows your bounces and complaints; where the address is one that SES shares, a dedicated "
                "pool or AWS support helps", "one-receiver-refuses.md"),
    ),
    (
        (r"\bTSS(?:04|09|11)\b|very low reputation|\b[45]\.7\.28\b|\b5\.7\.508\b|\b4\.7\.(?:5|6[0-4])\d\b|rate limit"
         r"|unusual rate|too many|frequency limited|unexpected volume|greylist|temporarily deferred"
         r"|user complaints|unsolicited|\bspam\b"),
        Meaning("reputation", "the receiver limits or refuses the mail because of volume, complaints or reputation",
                "recon doctor; recon suppression stats; send less and to those who engage", "complaints-rise.md"),
    ),
    (
        (r"\[PH01\]|phishing|virus|malware|content|rfc ?5322|multiple .{0,20}headers|attachment|header error"
         r"|multiple addresses in from|\b5\.6\.\d\b|message filtered"),
        Meaning("content", "the receiver refused the content of the mail", "change what it names"),
    ),
    (
        r"\b[45]\.7\.9\b|policy",
        Meaning("receiver", "the receiver refused it by its policy, often for missing authentication", "",
                "one-receiver-refuses.md"),
    ),
    (
        (r"\b[45]\.4\.[47]\b|timed? ?out|connection (?:refused|reset)|message expired|host (?:not reachable|unknown)"
         r"|unable to (?:connect|lookup|resolve)|did not accept|socket error|invalid domain|not found by dns"
         r"|domain is not reachable|no route to host|try (?:again )?later"
         r"|lost connection|refused to talk|service (?:currently |is )?(?:unavailable|not available)|\b4\.3\.\d\b"
         r"|not accepting connections|temporary failure|system resources"),
        Meaning("network", "the receiver's server could not be reached, or takes nothing now",
                "recon doctor --to ADDRESS looks up the receiver's domain"),
    ),
    (
        r"relay(?:ing)? (?:access )?denied|(?:not configured|unable) to relay|no relaying|not relay",
        Meaning("recipient", "the receiver does not take mail for that domain",
                "recon doctor --to ADDRESS looks up the receiver's domain"),
    ),
)  # fmt: skip
"""Replies of receivers: (pattern, meaning), the more exact first."""

_SES_HOST: Final = re.compile(r"email-smtp[\w.-]*\.amazonaws\.com|ses[\w-]*\.amazonaws", re.IGNORECASE)

_SES_WORDS: Final = re.compile(r"Authentication Credentials Invalid|Email address is not verified|ses:Send")


def is_ses(host: str) -> bool:
    """Whether a host is SES's SMTP server."""
    return _SES_HOST.search(host) is not None


def meaning_of(reply: str, status: str, server: str, spoken: str = "") -> Meaning:
    """What a refusal means. ``spoken`` are the words around it, where a webmail explains the failure itself."""
    said = f"{status} {reply}"
    from_ses = is_ses(server) or is_ses(reply) or "amazonses" in reply.lower()
    relayed = re.search(r"send mail as|customfromdenied", f"{spoken} {reply}", re.IGNORECASE) is not None
    if (
        from_ses
        or relayed
        or re.search(r"Authentication Credentials Invalid|Email address is not verified|ses:Send", reply)
    ):
        for pattern, meaning in OF_SES:
            if re.search(pattern, said, re.IGNORECASE):
                return meaning
        if relayed:
            return OF_SES[0][1]
    for pattern, meaning in (*OF_SES[5:], *OF_RECEIVERS):
        if re.search(pattern, said, re.IGNORECASE):
            return meaning
    return Meaning("receiver", "the receiver refused it", "its reply says why")
