import re, copy, sys
from support import *
from reconciler.aws import answers
import reconciler.aws.client as cl
DOC = {
 "account": {"suppression_attributes": {"suppressed_reasons": ["BOUNCE"]}, "vdm_attributes": {"vdm_enabled": "ENABLED"}},
 "domains": {"acme.com": {"dkim": {}, "dmarc": {"p": "none"}, "spf": {"include": ["_spf.crm.example"]},
   "mail_from": {"mail_from_domain": "b.acme.com"}, "configuration_set_name": "main", "tags": {"a": "b"},
   "policies": {"p": {"Version": "2012-10-17", "Statement": [{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::777788889999:root"},"Action":"ses:SendEmail","Resource":"*"}]}}},
   "shop.acme.com": {"zone": "manual", "notification_attributes": {"bounce_topic": "ops"}} },
 "email_addresses": {"a@x.example": {}},
 "dedicated_ip_pools": {"tx": {"scaling_mode": "STANDARD"}},
 "contact_lists": {"news": {"description": "d", "topics": {"offers": {"display_name": "Offers", "default_subscription_status": "OPT_OUT"}}}},
 "email_templates": {"w": {"subject": "s", "text": "t"}},
 "sns_topics": {"ops": {"subscriptions": [{"protocol": "email", "endpoint": "ops@acme.com"}]}},
 "configuration_sets": {"main": {"delivery_options": {"sending_pool_name": "tx"}, "event_destinations": {"d": {
        "matching_event_types": ["BOUNCE"], "enabled": True,
        "event_bridge_destination": {"event_bus_arn": "arn:aws:events:${region}:${account}:event-bus/default"}}, "s": {"matching_event_types": ["BOUNCE"], "sns_destination": {"topic_arn": "ops"}}}}},
 "smtp_users": {"news": {"from_addresses": ["*@acme.com"], "credentials": {"ssm": {"name": "/recon/news"}}, "access_key": {"max_age_days": 1}},
   "two": {"from_addresses": ["*@acme.com"], "credentials": {"secretsmanager": {"name": "r/two"}}, "tags": {"x": "y"}}},
}
DOC["domains"]["shop.acme.com"].pop("notification_attributes")
CH = merge(DOC, {"domains": {"acme.com": {"dmarc": {"p":"reject"}, "tags": {"a": "c"}, "dkim": {"next_signing_key_length": "RSA_1024_BIT"}}}, "configuration_sets": {"main": {"reputation_options": {"reputation_metrics_enabled": True}, "event_destinations": {"d": {"matching_event_types": ["SEND"]}}}},
  "smtp_users": {"news": {"from_addresses": ["a@acme.com"]}}, "contact_lists": {"news": {"description": "e"}}})
COMMANDS = [("plan","state.yaml"),("doctor","--state","state.yaml"), ("doctor",),("senders",),("drift","state.yaml"),("import","--out","out"),("suppression","list"),("smtp","verify","state.yaml"),("smtp","rotate","--due","--dry-run","state.yaml"),("list","--owned","state.yaml"),("account","pause","--region","us-east-1"), ("records","--all","state.yaml"),("apply","state.yaml"),("destroy","state.yaml"),("doctor","acme.com","--no-state","--region","us-east-1"),("smtp","lock","news","state.yaml")]
BAD = re.compile(r"(?<![\w.])(None|datetime|NoneType|\[None\]|KeyError|AttributeError|TypeError|internal error|unexpected)(?!\w)")
def test_x(house, monkeypatch):
    house.seed_zone()
    house.settle(DOC)
    iam = client("iam"); iam.create_user(UserName="other"); iam.create_access_key(UserName="other"); iam.create_access_key(UserName="two")
    iam.put_user_policy(UserName="other", PolicyName="p", PolicyDocument='{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ses:*","Resource":"*"}]}')
    client("sesv2").put_suppressed_destination(EmailAddress="x@y.example", Reason="BOUNCE")
    house.write(CH)
    seen, real = {}, answers.validated
    drop = None; now = None
    def walk(value, shape, path, call):
        if shape is None: return value
        if shape.type_name == "structure" and isinstance(value, dict):
            req = set(shape.required_members)
            for k in list(value):
                if k not in shape.members: continue
                key = (call[0], call[1], path + (k,))
                seen.setdefault(key, k in req)
                if key == drop:
                    del value[k]; continue
                walk(value[k], shape.members[k], path + (k,), call)
        elif shape.type_name == "list" and isinstance(value, list):
            for v in value: walk(v, shape.member, path, call)
        elif shape.type_name == "map" and isinstance(value, dict):
            for v in value.values(): walk(v, shape.value, path, call)
        return value
    def validated(response, shape, call):
        who.setdefault(call[:2], set()).add(now)
        response = copy.deepcopy(response)
        return real(walk(response, shape, (), call), shape, call)
    monkeypatch.setattr(answers, "validated", validated)
    who = {}
    def round(commands=COMMANDS):
        found = []
        for c in commands:
            nonlocal now
            now = c
            shutil.rmtree(house.home/"out", ignore_errors=True)
            try:
                ran = house.cli(*c)
            except AssertionError as e:
                found.append((c, "TRACEBACK " + str(e)[-600:])); continue
            for line in (ran.out + ran.err).splitlines():
                if BAD.search(line): found.append((c, line.strip()[:300]))
        return found
    F = open("/tmp/sparse.txt","w")
    print(round(), file=F)
    keys = sorted(seen)
    print(len(keys), file=F, flush=True)
    said = set()
    for k in keys:
        if k[1] in ("GetCallerIdentity",): continue
        drop = k; print(".", k, file=F, flush=True) if keys.index(k) % 15 == 0 else None
        for f in round([c for c in COMMANDS if c in who.get(k[:2], ())]):
            key = (f[0][0], f[1])
            if key not in said:
                said.add(key); print(k, seen[k], f, file=F, flush=True)
    print("END", file=F, flush=True)
