"""The plans behind the golden files: realistic changes, and hostile ones. ``CASES`` maps a case's name to its plan."""

from __future__ import annotations

import itertools

from reconciler.model import Change, Diagnostic, FieldDiff, Note, Plan, Refusal, Source

Y = "state/domains.yaml"
US, EU = "us-east-1", "eu-west-1"


def src(line: int, via: str = "", file: str = Y) -> Source:
    return Source(file, line, 3, via)


def plan(*changes: Change, **more: object) -> Plan:
    values: dict[str, object] = {
        "stack": "acme-mail", "environment": "production", "scope": "acme-mail/production", "account": "111122223333",
        "outcome": "changes" if changes else "no_changes", "created_at": "2026-11-22T00:00:00Z",
        "state_digest": "sha256:" + "5e" * 32, "recon_version": "0.2.0",
        "scanned": ("regions us-east-1, eu-west-1", "zone acme.com"),
        "calls": {"sesv2": 31, "route53": 7, "iam": 4}, "write_calls": 18 if changes else 0,
        "seconds": 20 if changes else 0, "context": {"regions": [US, EU]}, **more,
    }  # fmt: skip
    return Plan(changes=changes, **values)  # type: ignore[arg-type]


def identity(domain: str, region: str, line: int, **more: object) -> Change:
    address = f"email_identity/{region}/{domain}"
    values: dict[str, object] = {
        "after": {
            "dkim": {
                "signing_enabled": True, "signing_attributes_origin": "AWS_SES",
                "next_signing_key_length": "RSA_2048_BIT",
            },
            "mail_from": {
                "mail_from_domain": f"bounce-{region}.{domain}", "behavior_on_mx_failure": "USE_DEFAULT_VALUE",
            },
            "configuration_set_name": "transactional",
            "tags": {"team": "mail", "recon:stack": "acme-mail/production"},
        },
        "unknown": ("dkim.tokens",),
        "depends_on": (f"configuration_set/{region}/transactional",),
        "source": src(line), "region": region,
        "diff": tuple(
            FieldDiff(path, None, value, source)
            for path, value, source in (
                ("dkim.signing_enabled", True, src(4, "defaults.domain", "state/defaults.yaml")),
                ("dkim.signing_attributes_origin", "AWS_SES", src(4, "defaults.domain", "state/defaults.yaml")),
                ("dkim.next_signing_key_length", "RSA_2048_BIT", src(4, "defaults.domain", "state/defaults.yaml")),
                ("mail_from.mail_from_domain", f"bounce-{region}.{domain}", src(5, "defaults.domain",
                                                                                "state/defaults.yaml")),
                ("mail_from.behavior_on_mx_failure", "USE_DEFAULT_VALUE", src(5, "defaults.domain",
                                                                              "state/defaults.yaml")),
                ("configuration_set_name", "transactional", src(line + 2)),
            )
        ),
        "counts": True, **more,
    }  # fmt: skip
    return Change(address, "email_identity", "create", None, **values)  # type: ignore[arg-type]


def dkim_record(domain: str, region: str, number: int, line: int, zone: str = "acme.com") -> Change:
    return Change(
        f"dns_record/{zone}/{domain}:dkim:{region}:{number}/CNAME", "dns_record", "create", None,
        {"type": "CNAME", "ttl": 300}, unknown=("name", "values"),
        depends_on=(f"email_identity/{region}/{domain}",), source=src(line),
    )  # fmt: skip


def setup() -> Plan:
    """The first day of one new domain, a policy tightened, and what goes with them."""
    shop = "shop.acme.com"
    dmarc = Change(
        "dns_record/acme.com/_dmarc.acme.com/TXT", "dns_record", "update",
        {"p": "none", "rua": ["mailto:dmarc@acme.com"], "ruf": ["mailto:owner@acme.com"], "fo": "1", "ttl": 300},
        {"p": "quarantine", "sp": "reject", "rua": ["mailto:dmarc@acme.com", "mailto:reports@dmarc.example"],
         "ttl": 300},
        diff=(
            FieldDiff("p", "none", "quarantine", src(18)),
            FieldDiff("sp", None, "reject", src(18)),
            FieldDiff("rua", ["mailto:dmarc@acme.com"],
                      ["mailto:dmarc@acme.com", "mailto:reports@dmarc.example"], src(18)),
            FieldDiff("ruf", ["mailto:owner@acme.com"], None, src(18)),
            FieldDiff("fo", "1", None, src(18)),
        ),
        notes=(
            Note("dmarc-enforced", "warning", "mail from acme.com that fails DMARC goes to the spam folder"),
            Note("dmarc-forensic", "note", "forensic reports to owner@acme.com end"),
        ),
        source=src(18), observed_digest="sha256:" + "ab" * 32,
    )  # fmt: skip
    spf = Change(
        "dns_record/acme.com/acme.com/TXT", "dns_record", "update",
        {"values": ["google-site-verification=abc", "v=spf1 include:_spf.google.com ~all"], "ttl": 3600},
        {"values": ["google-site-verification=abc",
                    "v=spf1 include:_spf.google.com include:_spf.crm.example ~all"], "ttl": 3600},
        diff=(FieldDiff("spf", "v=spf1 include:_spf.google.com ~all",
                        "v=spf1 include:_spf.google.com include:_spf.crm.example ~all", src(21)),),
        source=src(21),
    )  # fmt: skip
    pool = Change(
        f"dedicated_ip_pool/{US}/tx", "dedicated_ip_pool", "create", None,
        {"scaling_mode": "MANAGED", "tags": {"recon:stack": "acme-mail/production"}},
        notes=(Note("managed-pool-cost", "warning", "charges begin: $15 a month, then by the message"),),
        source=src(3, file="state/pools.yaml"), region=US, counts=True,
    )  # fmt: skip
    config = Change(
        f"configuration_set/{US}/transactional", "configuration_set", "update",
        {"delivery_options": {"tls_policy": "OPTIONAL"}}, {"delivery_options": {"tls_policy": "REQUIRE"}},
        diff=(
            FieldDiff("delivery_options.tls_policy", "OPTIONAL", "REQUIRE", src(5, file="state/sets.yaml")),
            FieldDiff("delivery_options.sending_pool_name", None, "tx", src(5, file="state/sets.yaml")),
            FieldDiff("suppression_options.suppressed_reasons", ["BOUNCE"], ["COMPLAINT", "BOUNCE"],
                      src(9, file="state/sets.yaml")),
            FieldDiff("tags.team", None, "mail", src(8, "stack.tags", "state/stack.yaml")),
        ),
        depends_on=(f"dedicated_ip_pool/{US}/tx",), source=src(4, file="state/sets.yaml"), region=US,
    )  # fmt: skip
    user = Change(
        "smtp_user/newsletter", "smtp_user", "create", None,
        {
            "path": "/ses-smtp/", "from_addresses": ["*@shop.acme.com"], "source_ips": ["203.0.113.0/24"],
            "policy": {
                "Version": "2012-10-17",
                "Statement": [{
                    "Effect": "Allow", "Action": ["ses:SendEmail", "ses:SendRawEmail"], "Resource": "*",
                    "Condition": {"StringLike": {"ses:FromAddress": ["*@shop.acme.com"]}},
                }],
            },
        },
        source=src(2, file="state/users.yaml"), counts=True,
    )  # fmt: skip
    credential = Change(
        "smtp_credential/newsletter", "smtp_credential", "create", None,
        {"credentials": {"secretsmanager": {"name": "recon/newsletter/us-east-1", "kms_key_id": "alias/mail"}},
         "access_key": {"max_age_days": 90, "overlap_days": 7}},
        unknown=("access_key_id",), depends_on=("smtp_user/newsletter",), source=src(7, file="state/users.yaml"),
    )  # fmt: skip
    byodkim = identity(
        "mail.acme.com", EU, 40,
        after={"dkim": {"signing_attributes_origin": "EXTERNAL", "domain_signing_selector": "s1",
                        "domain_signing_private_key": {"secretsmanager": "mail/dkim-s1"}}},
        unknown=(), diff=(),
    )  # fmt: skip
    return plan(
        pool, config, identity(shop, US, 12), byodkim,
        *(dkim_record(shop, US, number, 12) for number in (1, 2, 3)),
        dmarc, spf, user, credential,
        diagnostics=(
            Diagnostic("note", "still-verifying", "DKIM of the identity is PENDING since 2026-11-21T22:10:00Z",
                       address="email_identity/us-east-1/news.acme.com"),
            Diagnostic("warning", "rua-unauthorized", "dmarc.example does not say that it takes reports for acme.com",
                       hint="dmarc.example publishes acme.com._report._dmarc.dmarc.example TXT \"v=DMARC1\"",
                       file=Y, line=18, column=22, address="dns_record/acme.com/_dmarc.acme.com/TXT"),
        ),
        context={"regions": [US, EU], "stack": {
            "name": "acme-mail", "environment": "production", "account": "111122223333", "regions": [US, EU],
            "apply_role_arn": "arn:aws:iam::111122223333:role/recon", "dns_account": "999900001111",
            "dns_role_arn": "arn:aws:iam::999900001111:role/recon-dns", "max_deletes": 5,
            "backend": {"s3": {"bucket": "acme-recon", "prefix": "mail/"}},
        }},
        declared={"moved": [], "rules": {"dmarc-no-rua": "error"},
                  "waivers": [{"rule": "bimi-weak", "address": "*", "reason": "later", "until": "2027-01-31"}]},
    )  # fmt: skip


def everything() -> Plan:
    """Every action, nested policies, long values."""
    old = {"Version": "2012-10-17", "Statement": [{
        "Sid": "partner", "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::444455556666:root"},
        "Action": ["ses:SendEmail"], "Resource": "arn:aws:ses:us-east-1:111122223333:identity/acme.com"}]}  # fmt: skip
    new = {"Version": "2012-10-17", "Statement": [{
        "Sid": "partner", "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::777788889999:root"},
        "Action": ["ses:SendEmail", "ses:SendRawEmail"],
        "Resource": "arn:aws:ses:us-east-1:111122223333:identity/acme.com",
        "Condition": {"StringLike": {"ses:FromAddress": "*@acme.com"}}}]}  # fmt: skip
    return plan(
        Change(
            f"email_identity/{US}/acme.com", "email_identity", "adopt",
            {"tags": {}, "policies": {"partner": old}}, {"tags": {"team": "mail"}, "policies": {"partner": new}},
            diff=(FieldDiff("tags.recon:stack", None, "acme-mail/production", None),
                  FieldDiff("tags.team", None, "mail", src(8, "stack.tags", "state/stack.yaml")),
                  FieldDiff("policies.partner", old, new, src(30))),
            notes=(Note("adopts", "note", "from now on recon changes and deletes it"),),
            source=src(10), region=US, observed_digest="sha256:" + "cd" * 32,
        ),
        Change(
            f"event_destination/{US}/transactional/feedback", "event_destination", "replace",
            {"sns_destination": {"topic_arn": "arn:aws:sns:us-east-1:111122223333:old"}},
            {"cloud_watch_destination": {"dimension_configurations": [
                {"dimension_name": "ses:from-domain", "dimension_value_source": "MESSAGE_TAG",
                 "default_dimension_value": "acme.com"}]}},
            diff=(FieldDiff("sns_destination", {"topic_arn": "arn:aws:sns:us-east-1:111122223333:old"}, None, src(14)),
                  FieldDiff("cloud_watch_destination", None, {"dimension_configurations": [
                      {"dimension_name": "ses:from-domain", "dimension_value_source": "MESSAGE_TAG",
                       "default_dimension_value": "acme.com"}]}, src(14)),
                  FieldDiff("matching_event_types", ["BOUNCE", "COMPLAINT"], ["COMPLAINT", "BOUNCE", "REJECT"],
                            src(15))),
            notes=(Note("events-gap", "warning", "bounces and complaints of the moment between go nowhere"),),
            source=src(13, file="state/sets.yaml"), region=US,
        ),
        Change(
            "dns_record/acme.com/s1._domainkey.acme.com/TXT", "dns_record", "update",
            {"values": ["v=DKIM1; k=rsa; p=" + "MIIBIjANBgkq" * 20]},
            {"values": ["v=DKIM1; k=rsa; p=" + "MIIBCgKCAQEA" * 30]},
            diff=(FieldDiff("values", ["v=DKIM1; k=rsa; p=" + "MIIBIjANBgkq" * 20],
                            ["v=DKIM1; k=rsa; p=" + "MIIBCgKCAQEA" * 30], src(33)),
                  FieldDiff("ttl", 3600, 300, src(33))),
            source=src(33),
        ),
        Change(
            f"email_identity/{EU}/old.acme.com", "email_identity", "delete",
            {"dkim": {"signing_enabled": True}, "configuration_set_name": "legacy", "tags": {"team": "mail"}}, None,
            notes=(Note("identity-sent-lately", "error", "it sent 1,204 messages in the last day"),),
            region=EU, counts=True, observed_digest="sha256:" + "ef" * 32,
        ),
        Change(
            "dns_record/acme.com/bounce-eu-west-1.old.acme.com/MX", "dns_record", "delete",
            {"type": "MX", "ttl": 300, "values": ["10 feedback-smtp.eu-west-1.amazonses.com"]}, None,
            depends_on=(f"email_identity/{EU}/old.acme.com",),
        ),
        Change("smtp_user/legacy", "smtp_user", "delete", {"path": "/", "from_addresses": ["*"]}, None, counts=True),
        write_calls=140, seconds=260,
    )  # fmt: skip


def tenants() -> Plan:
    """Forty tenants of one class in two regions: thousands of lines that fold into a few blocks."""
    file = "state/tenants.yaml"
    changes = []
    for number, region in itertools.product(range(1, 41), (US, EU)):
        domain = f"t{number:02}.acme.com"
        changes.append(Change(
            f"email_identity/{region}/{domain}", "email_identity", "update",
            {"mail_from": None, "configuration_set_name": "shared"},
            {"mail_from": {"mail_from_domain": f"bounce-{region}.{domain}"},
             "configuration_set_name": f"set-t{number:02}"},
            diff=(FieldDiff("mail_from.mail_from_domain", None, f"bounce-{region}.{domain}",
                            src(12, "class tenant", "state/classes.yaml")),
                  FieldDiff("configuration_set_name", "shared", f"set-t{number:02}",
                            src(12, "class tenant", "state/classes.yaml"))),
            source=src(number * 3, file=file), region=region,
        ))  # fmt: skip
    for number in range(1, 41):
        changes.append(Change(
            f"dns_record/acme.com/_dmarc.t{number:02}.acme.com/TXT", "dns_record", "update",
            {"p": "none"}, {"p": "reject"}, diff=(FieldDiff("p", "none", "reject", src(9, "class tenant",
                                                                                   "state/classes.yaml")),),
            notes=(Note("dmarc-jump", "warning",
                        f"t{number:02}.acme.com goes from none to reject without a step between"),),
            source=src(number * 3 + 1, file=file),
        ))  # fmt: skip
    for number in range(90, 94):
        changes.append(Change(
            f"configuration_set/{US}/set-t{number}", "configuration_set", "delete",
            {"delivery_options": {"tls_policy": "REQUIRE"}}, None, region=US, counts=True,
        ))  # fmt: skip
    unread = tuple(f"email_identity/us-east-1/t{number:02}.acme.com policies" for number in range(1, 41))
    return plan(*changes, refresh="bulk", unread=unread, write_calls=204, seconds=205)


def hostile() -> Plan:
    """Values that would move the cursor, close a fence, run a script, mention a person, or look like something else."""
    nasty = (
        "</script><img src=x onerror=alert(1)>", "a | b | c", "line one\nline two", "\x1b[31mred\x1b[0m\x07",
        "\u202eevil\u202c", "``` @acme/team #1 https://evil.example [x](javascript:1)", "<!-- recon:plan other -->",
        "(known after apply)", "300", "", " ", "null", "€ ümlaut 日本 🎉", "\x9b2J", "'\"&<>", "+ p: reject",
    )  # fmt: skip
    return plan(
        Change(
            "email_identity/us-east-1/<b>`x`|@acme.example", "email_identity", "create", None,
            {"tags": {f"k{number}": value for number, value in enumerate(nasty)},
             "dkim": {"domain_signing_private_key": "-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----",
                      "signing_enabled": False}},
            notes=(Note("odd\x1b]8;;", "warning", "mail is @everyone ```<script>` \x1b[2J #42 and [a](http://b) "),),
            source=Source("state/</title>\x1b.yaml", 3, 1, "class <i>"), region="us-east-1",
        ),
        Change(
            "dns_record/acme.com/\\052.acme.com/TXT", "dns_record", "update",
            {"values": list(nasty)}, {"values": list(reversed(nasty[3:]))},
            diff=(FieldDiff("values", list(nasty), list(reversed(nasty[3:]))),
                  FieldDiff("tags.<key>`", "```\n+++", {"deep": {"er": ["\u2028", {"x": "<y>"}]}}),
                  FieldDiff("dkim.domain_signing_private_key", {"env": "OLD_KEY"}, {"secretsmanager": "new\x1bkey"})),
        ),
        stack="acme--><script>", scope="acme--><script>\u202e", environment=None,
        context={"stack": {"account": "<b>", "apply_role_arn": "\x1b[31m::error::", "regions": {"a": 1}, "backend": 1,
                           "max_deletes": None}}, declared={"rules": ["<i>"], "waivers": "``"},
        scanned=("zone <acme>\x1b[H",), unread=("tags of `x`",),
        diagnostics=(Diagnostic("error", "x\n::error::y", "::set-output name=a::b\r\n%0A <b>", "hint \u2066x",
                                "a%,:.yaml", 3, 4, "email_identity/x\ny"),),
    )  # fmt: skip


def refused() -> Plan:
    """A record of which there are two, four sets of another stack, a rule of severity error, and what is fine."""
    record = "dns_record/acme.com/_dmarc.acme.com/TXT"
    two = Refusal(
        "two-dmarc", "_dmarc.acme.com has 2 DMARC records, and receivers ignore them all",
        "keep one and remove the others by hand: v=DMARC1; p=none | v=DMARC1; p=reject",
    )  # fmt: skip
    both = ['"v=DMARC1; p=none"', '"v=DMARC1; p=reject"']
    changes = [
        Change(record, "dns_record", "update", {"value": both}, {"value": "v=DMARC1; p=reject"},
               (FieldDiff("value", both, "v=DMARC1; p=reject", src(12)),), source=src(12), refused=two),
        Change("dns_record/acme.net/acme.net/TXT", "dns_record", "update", {"value": "v=spf1 ~all"},
               {"value": "v=spf1 -all"}, (FieldDiff("all", "~all", "-all", src(20)),),
               notes=(Note("spf-hard-fail", "error", "SPF ends in -all"),), source=src(20),
               refused=Refusal("spf-hard-fail", "SPF ends in -all", "see docs/rules/spf-hard-fail.md")),
        Change(f"email_template/{US}/letter", "email_template", "create", None, {"subject": "Hello"},
               (FieldDiff("subject", None, "Hello", src(3)),), region=US, source=src(3)),
    ]  # fmt: skip
    for number in range(4):
        address = f"configuration_set/{US}/t-{number}"
        theirs = Refusal("owned-elsewhere", f'{address} belongs to the recon stack "other"', "release it there first")
        tags = {"recon:stack": "other"}, {"recon:stack": "acme-mail/production"}
        changes.append(
            Change(address, "configuration_set", "adopt", {"tags": tags[0]}, {"tags": tags[1]},
                   (FieldDiff("tags.recon:stack", "other", "acme-mail/production"),), region=US, source=src(30),
                   refused=theirs)
        )  # fmt: skip
    told = [Diagnostic("error", c.refused.code, c.refused.message, c.refused.hint, address=c.address)
            for c in changes if c.refused and c.refused.code != "spf-hard-fail"]  # fmt: skip
    return plan(*changes, outcome="refused", diagnostics=tuple(told))


def drifted() -> Plan:
    """Drift with its authors, five times by one of them; findings that are fixed, and others that stand."""
    by = "by arn:aws:sts::111122223333:assumed-role/admin/ann from 203.0.113.7, in the console"
    sets, told = [], []
    for number in range(1, 6):
        address, file = f"configuration_set/{US}/set-t{number:02}", src(number, file="state/sets.yaml")
        sets.append(Change(
            address, "configuration_set", "update", {"delivery_options": {"tls_policy": "OPTIONAL"}},
            {"delivery_options": {"tls_policy": "REQUIRE"}},
            diff=(FieldDiff("delivery_options.tls_policy", "OPTIONAL", "REQUIRE", file),),
            source=file, region=US,
        ))  # fmt: skip
        when = f"PutConfigurationSetDeliveryOptions at 2026-11-21T22:1{number}:00Z {by}"
        told.append(Diagnostic("note", "edited", "changed outside recon", address=address))
        told.append(Diagnostic("note", "caused-by", when, address=address))
    dmarc = "dns_record/acme.com/_dmarc.acme.com/TXT"
    record = Change(
        dmarc, "dns_record", "update", {"p": "none"}, {"p": "reject"},
        diff=(FieldDiff("p", "none", "reject", src(9)),), source=src(9),
        notes=(
            Note("fixed", "note", "fixes dmarc-none: acme.com lets receivers accept mail that fails (p=none)"),
            Note("dmarc-no-rua", "warning", "acme.com asks for no reports", stands=True),
        ),
    )  # fmt: skip
    words = "changed outside recon since the apply at 2026-11-20T08:00:00Z (the YAML has not changed)"
    told.append(Diagnostic("note", "edited", words, address=dmarc))
    for number in range(1, 31):
        address = f"configuration_set/{US}/set-t{number:02}"
        told.append(Diagnostic("warning" if number % 3 else "note", "events-none",
                               f"{address} publishes no events", address=address, stands=True))  # fmt: skip
    told.append(Diagnostic("warning", "account-paused", "AWS has put the account on probation in us-east-1",
                           address=f"account/{US}"))  # fmt: skip
    return plan(*sets, record, diagnostics=tuple(told))


CASES = {
    "setup": setup(), "everything": everything(), "tenants": tenants(), "hostile": hostile(), "refused": refused(),
    "drifted": drifted(), "no_changes": plan(),
    "bulk": plan(refresh="bulk", unread=("email_identity/us-east-1/acme.com policies",) * 3),
}  # fmt: skip
