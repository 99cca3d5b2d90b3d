"""The plain SES kinds of the sandbox: what all have in common by walking them, then contact lists and templates."""

from __future__ import annotations

import ast
import re
import sys
from typing import Any

import pytest
from botocore import xform_name
from test_sandbox_support import client, code_of, fresh, message_of

from reconciler.sandbox import Sandbox, plain
from reconciler.sandbox.plain import Listed, Plain
from reconciler.sandbox.protocol import api
from reconciler.sandbox.ses_state import Item, SesState

ACCOUNT = "111122223333"
ARN = f"arn:aws:ses:us-east-1:{ACCOUNT}:"
TAGS = [{"Key": "recon:stack", "Value": "acme"}]
MODEL = api("sesv2").model
KINDS = plain.plains()
MADE = [kind for kind in KINDS if f"Create{kind.noun}" in MODEL.operation_names and not kind.parent]
"""The kinds that are made in a region, not in another resource."""

each = pytest.mark.parametrize("kind", MADE, ids=lambda kind: kind.noun)


@pytest.fixture
def sandbox() -> Sandbox:
    return fresh()


@pytest.fixture
def ses(sandbox: Sandbox) -> Any:
    return client("sesv2")


def sample(shape: Any) -> Any:
    """A value that the model accepts: what is required, or every text where nothing is."""
    if shape.type_name == "structure":
        members = {name: shape.members[name] for name in shape.required_members} or shape.members
        return {name: sample(member) for name, member in members.items()}
    return shape.metadata["enum"][0] if "enum" in shape.metadata else "x"


def do(verb: str, kind: Plain, name: str = "x", *, by: Any = None, **more: Any) -> Any:
    """One call of a kind's operation; ``by`` is another client than that of the home region."""
    return getattr(by or client("sesv2"), xform_name(verb + kind.noun))(**{kind.key: name}, **more)


def create(kind: Plain, name: str = "x", **more: Any) -> None:
    """Make a resource with the least that its operation needs."""
    needed = sample(MODEL.operation_model(f"Create{kind.noun}").input_shape)
    do("Create", kind, name, **{member: value for member, value in needed.items() if member != kind.key}, **more)


def listed(kind: Plain, **more: Any) -> list[str]:
    """The names that the list operation shows."""
    rows = getattr(client("sesv2"), xform_name(kind.listed.operation))(**more)[kind.listed.member]
    return [row if isinstance(row, str) else row[kind.key] for row in rows]


def state(sandbox: Sandbox) -> SesState:
    return sandbox._server.gateway.world.current("ses", ACCOUNT, "us-east-1", SesState)


# --- every kind against the model of SES ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.noun)
def test_a_kind_is_what_the_model_of_ses_has(kind: Plain) -> None:
    there = [name for name in kind.operations if name in MODEL.operation_names]
    assert kind.listed.operation in there and set(kind.puts) <= set(there)
    for name in there:
        operation = MODEL.operation_model(name)
        needed = operation.input_shape.required_members
        codes = {shape.error_code for shape in operation.error_shapes}
        assert name == kind.listed.operation or kind.key in needed, name
        assert not kind.parent or plain.of_noun(kind.parent).key in needed, name
        if name == f"Create{kind.noun}":
            assert {kind.exists[0], kind.invalid[0]} <= codes and (kind.quota is None or kind.full[0] in codes)
            members = set(operation.input_shape.members)
            assert set(kind.members) | set(kind.defaults) <= members
            assert bool(kind.arn) == ("Tags" in members), "what takes tags has an ARN"
        elif name != kind.listed.operation:
            assert kind.missing[0] in codes, name
        if name == f"Update{kind.noun}":
            assert kind.resets <= set(operation.input_shape.members) - set(needed)
        if name == f"Get{kind.noun}":
            shown = operation.output_shape.members
            assert kind.key in (shown[kind.answer].members if kind.answer else shown)
    if kind.tenant:
        assert kind.tenant in MODEL.shape_for("ResourceType").enum


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.noun)
def test_a_list_is_what_the_model_of_ses_has(kind: Plain) -> None:
    operation = MODEL.operation_model(kind.listed.operation)
    rows = operation.output_shape.members[kind.listed.member]
    assert rows.type_name == "list"
    assert rows.member.type_name == "string" or {kind.key, "Name"} & set(rows.member.members)
    paged = "NextToken" in operation.output_shape.members
    assert paged == ({"NextToken", "PageSize"} <= set(operation.input_shape.members))
    assert 1 <= kind.listed.page <= kind.listed.largest


@pytest.mark.parametrize(
    ("kind", "operation", "member"), [(k, o, m) for k in KINDS for o, m in k.puts.items()], ids=lambda v: str(v)[:40]
)
def test_a_put_is_what_the_model_of_ses_has(kind: Plain, operation: str, member: str) -> None:
    """A put has the member itself, or the members inside it, or a function that takes what it has."""
    given = set(MODEL.operation_model(operation).input_shape.members) - {kind.key}
    stored = MODEL.operation_model(f"Get{kind.noun}").output_shape.members
    shape = (stored[kind.answer].members if kind.answer else stored)[member]
    inside = set(shape.members) if shape.type_name == "structure" else set()
    assert given == {member} or given <= inside or member in kind.members


@pytest.mark.parametrize(
    ("noun", "arn", "quota", "tenant", "pages"),
    [
        ("ConfigurationSet", "configuration-set", 10_000, "CONFIGURATION_SET", (1000, 1000)),
        ("ConfigurationSetEventDestination", "", 10, "", (1000, 1000)),
        ("Contact", "", None, "", (1000, 1000)),
        ("ContactList", "contact-list", 1, "", (1000, 1000)),
        ("DedicatedIpPool", "dedicated-ip-pool", 50, "", (1000, 1000)),
        ("EmailTemplate", "template", 20_000, "EMAIL_TEMPLATE", (10, 100)),
    ],
)
def test_what_only_documents_say(noun: str, arn: str, quota: int | None, tenant: str, pages: tuple[int, int]) -> None:
    """Types of ARNs (Service Authorization Reference), quotas, tenants' resources (Developer Guide), page sizes."""
    kind = plain.of_noun(noun)
    assert (kind.arn, kind.quota, kind.tenant, (kind.listed.page, kind.listed.largest)) == (arn, quota, tenant, pages)


def test_files_of_kinds_import_the_sandbox_alone() -> None:
    """A Spec of the product is no source: a wrong one must not agree with itself."""
    files = sorted(plain.RESOURCES.glob("*/sandbox.py"))
    assert len(files) >= 5
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                library = name.partition(".")[0] in sys.stdlib_module_names
                assert library or name.startswith("reconciler.sandbox."), f"{file}: {name}"


# --- every kind ----------------------------------------------------------------------------------------------------


@each
def test_a_life(sandbox: Sandbox, kind: Plain) -> None:
    missing = ("NotFoundException", 404)
    assert listed(kind) == []
    create(kind)
    assert code_of(lambda: create(kind)) == (kind.exists[0], 400)
    assert "x" in str(do("Get", kind))
    assert listed(kind) == ["x"]
    for verb in ("Get", "Delete"):
        assert code_of(lambda verb=verb: do(verb, kind, "y")) == missing
    assert code_of(lambda: do("Get", kind, by=client("sesv2", "eu-west-1"))) == missing
    assert code_of(lambda: do("Get", kind, by=client("sesv2", access_key="999988887777"))) == missing
    do("Delete", kind)
    assert code_of(lambda: do("Get", kind)) == missing
    create(kind)
    fresh()
    assert listed(kind) == []


@each
def test_tags_and_the_tagging_api(sandbox: Sandbox, ses: Any, kind: Plain) -> None:
    assert code_of(lambda: create(kind, Tags=[{"Key": "aws:x", "Value": ""}]))[0] == "BadRequestException"
    create(kind, Tags=TAGS)
    arn = f"{ARN}{kind.arn}/x"
    tags = lambda: ses.list_tags_for_resource(ResourceArn=arn)["Tags"]  # noqa: E731
    tagging = client("resourcegroupstaggingapi")
    found = lambda: tagging.get_resources(ResourceTypeFilters=[f"ses:{kind.arn}"])["ResourceTagMappingList"]  # noqa: E731
    assert tags() == TAGS and found() == [{"ResourceARN": arn, "Tags": TAGS}]
    shown = MODEL.operation_model(f"Get{kind.noun}").output_shape.members
    assert "Tags" not in shown or do("Get", kind)["Tags"] == TAGS
    ses.tag_resource(ResourceArn=arn, Tags=[{"Key": "tier", "Value": "gold"}])
    ses.untag_resource(ResourceArn=arn, TagKeys=["recon:stack"])
    assert tags() == [{"Key": "tier", "Value": "gold"}] == found()[0]["Tags"]
    tagging.tag_resources(ResourceARNList=[arn], Tags={"tier": "tin"})
    assert tags() == [{"Key": "tier", "Value": "tin"}]
    do("Delete", kind)
    assert found() == []
    assert code_of(tags) == ("NotFoundException", 404)


@each
def test_the_quota(sandbox: Sandbox, kind: Plain) -> None:
    assert kind.quota is not None
    state(sandbox).of(kind.noun).update({f"n{n}": Item(f"n{n}", 0.0, 0.0) for n in range(kind.quota - 1)})
    create(kind)
    assert code_of(lambda: create(kind, "more")) == (kind.full[0], 400)
    do("Delete", kind)
    create(kind, "more")


@each
def test_bad_names(sandbox: Sandbox, kind: Plain) -> None:
    for name in [n for n in ("", " a", "a ", "ü x", "x" * 65) if not re.fullmatch(kind.pattern, n)]:
        assert code_of(lambda name=name: create(kind, name))[0] == "BadRequestException"
    for name in kind.reserved:
        assert code_of(lambda name=name: create(kind, name))[0] == "BadRequestException"
    assert listed(kind) == []


@each
def test_iam_limits_a_key_to_one_resource(sandbox: Sandbox, kind: Plain) -> None:
    policy = {"Statement": [{"Effect": "Allow", "Action": "ses:*", "Resource": f"{ARN}{kind.arn}/x"}]}
    sandbox.principal("AKIANARROW", policies=[policy])
    limited = client("sesv2", access_key="AKIANARROW")
    create(kind, by=limited)
    do("Get", kind, by=limited)
    assert f"{ARN}{kind.arn}/y" in message_of(lambda: do("Get", kind, "y", by=limited))
    assert code_of(lambda: create(kind, "y", by=limited)) == ("AccessDeniedException", 403)


@each
def test_reads_can_trail(sandbox: Sandbox, kind: Plain) -> None:
    sandbox.consistency(ses={"reads": 1})
    create(kind)
    assert listed(kind) == []
    assert listed(kind) == ["x"]


@each
def test_tenants(sandbox: Sandbox, ses: Any, kind: Plain) -> None:
    create(kind)
    ses.create_tenant(TenantName="shop")
    given = {"TenantName": "shop", "ResourceArn": f"{ARN}{kind.arn}/x"}
    associate = lambda: ses.create_tenant_resource_association(**given)  # noqa: E731
    if not kind.tenant:
        assert code_of(associate) == ("BadRequestException", 400)
        return
    associate()
    assert ses.list_tenant_resources(TenantName="shop")["TenantResources"] == [
        {"ResourceType": kind.tenant, "ResourceArn": given["ResourceArn"]}
    ]
    assert "associated with a tenant" in message_of(lambda: do("Delete", kind))
    ses.delete_tenant_resource_association(**given)
    do("Delete", kind)


def test_iam_tells_kinds_with_the_same_key_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    lists = Listed("ListCustomVerificationEmailTemplates", "CustomVerificationEmailTemplates")
    other = Plain(noun="CustomVerificationEmailTemplate", key="TemplateName", arn="verification", listed=lists)
    monkeypatch.setattr(plain, "plains", lambda: (*KINDS, other))
    name = {"TemplateName": "x"}
    assert plain.named("GetEmailTemplate", name) == ["template/x"]
    assert plain.named("GetCustomVerificationEmailTemplate", name) == ["verification/x"]


# --- contact lists -------------------------------------------------------------------------------------------------

NEWS = {"TopicName": "news", "DisplayName": "News", "DefaultSubscriptionStatus": "OPT_IN"}
ADS = {"TopicName": "ads", "DisplayName": "Ads", "DefaultSubscriptionStatus": "OPT_OUT", "Description": "Offers"}


@pytest.fixture
def letters(ses: Any) -> Any:
    ses.create_contact_list(ContactListName="letters", Topics=[NEWS, ADS], Description="Letters")
    return ses


def shown(ses: Any) -> dict[str, Any]:
    found: dict[str, Any] = ses.get_contact_list(ContactListName="letters")
    return {m: v for m, v in found.items() if m not in ("ResponseMetadata", "CreatedTimestamp", "LastUpdatedTimestamp")}


def test_one_list_a_region(letters: Any) -> None:
    text = "A maximum of 1 Lists allowed per account."
    for name in ("letters", "more"):
        assert message_of(lambda name=name: letters.create_contact_list(ContactListName=name)) == text
    client("sesv2", "eu-west-1").create_contact_list(ContactListName="letters")
    missing = message_of(lambda: letters.get_contact_list(ContactListName="no"))
    assert missing == "List with name: no doesn't exist."


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"Topics": [NEWS, {**ADS, "TopicName": "news"}]}, "Duplicate topic names"),
        ({"Topics": [{**NEWS, "TopicName": f"t{n}"} for n in range(21)]}, "Maximum of <20> topics"),
        ({"Topics": [{**NEWS, "TopicName": "a b"}]}, "TopicName can contain up to 64"),
        ({"Topics": [{**NEWS, "TopicName": ""}]}, "TopicName can contain up to 64"),
        ({"Topics": [{**NEWS, "DisplayName": "x" * 129}]}, "up to <128> characters"),
        ({"Topics": [{"TopicName": "t", "DisplayName": "T"}]}, "topics.1.member.defaultSubscriptionStatus"),
        ({"Topics": [{"TopicName": "t", "DefaultSubscriptionStatus": "OPT_IN"}]}, "topics.1.member.displayName"),
        ({"Topics": [{**NEWS, "DefaultSubscriptionStatus": "MAYBE"}]}, "enum value set"),
        ({"Description": "x" * 501}, "up to 500 characters"),
    ],
)
@pytest.mark.parametrize("verb", ["create", "update"])
def test_what_a_list_refuses(letters: Any, verb: str, change: dict[str, Any], words: str) -> None:
    if verb == "create":
        letters.delete_contact_list(ContactListName="letters")
    act = lambda: getattr(letters, f"{verb}_contact_list")(ContactListName="letters", **change)  # noqa: E731
    assert code_of(act) == ("BadRequestException", 400)
    assert words in message_of(act)
    if verb == "update":
        assert shown(letters)["Topics"] == [NEWS, ADS]
    else:
        assert letters.list_contact_lists()["ContactLists"] == []


@pytest.mark.parametrize(
    ("change", "topics", "description"),
    [
        ({}, [NEWS, ADS], "Letters"),
        ({"Topics": [ADS]}, [ADS], "Letters"),
        ({"Topics": []}, [], "Letters"),
        ({"Description": "New"}, [NEWS, ADS], "New"),
        ({"Description": "x" * 500, "Topics": [{**NEWS, "DisplayName": "x" * 128}]},
         [{**NEWS, "DisplayName": "x" * 128}], "x" * 500),
    ],
)  # fmt: skip
def test_an_update_keeps_what_it_leaves_out(
    sandbox: Sandbox, letters: Any, change: dict[str, Any], topics: list[Any], description: str
) -> None:
    made = letters.get_contact_list(ContactListName="letters")
    assert made["CreatedTimestamp"] == made["LastUpdatedTimestamp"]
    sandbox.advance(60)
    letters.update_contact_list(ContactListName="letters", **change)
    assert shown(letters) == {
        "ContactListName": "letters", "Topics": topics, "Description": description, "Tags": [],
    }  # fmt: skip
    found = letters.get_contact_list(ContactListName="letters")
    assert (found["LastUpdatedTimestamp"] - made["LastUpdatedTimestamp"]).total_seconds() >= 60
    assert found["CreatedTimestamp"] == made["CreatedTimestamp"]
    assert list(letters.list_contact_lists()["ContactLists"][0]) == ["ContactListName", "LastUpdatedTimestamp"]


def test_a_bare_list(ses: Any) -> None:
    ses.create_contact_list(ContactListName="letters")
    assert shown(ses) == {"ContactListName": "letters", "Topics": [], "Tags": []}


def add(ses: Any, address: str, *preferences: tuple[str, str], verb: str = "create", **more: Any) -> Any:
    given = [{"TopicName": topic, "SubscriptionStatus": status} for topic, status in preferences]
    topics = {"TopicPreferences": given} if given else {}
    return getattr(ses, f"{verb}_contact")(ContactListName="letters", EmailAddress=address, **topics, **more)


def contact(ses: Any, address: str = "a@example.com") -> tuple[dict[str, str], dict[str, str], bool, str | None]:
    """Own preferences, those by default, whether unsubscribed from all, and the attributes."""
    found = ses.get_contact(ContactListName="letters", EmailAddress=address)
    own, default = (
        {row["TopicName"]: row["SubscriptionStatus"] for row in found[member]}
        for member in ("TopicPreferences", "TopicDefaultPreferences")
    )
    return own, default, found["UnsubscribeAll"], found.get("AttributesData")


def test_a_contact(letters: Any) -> None:
    add(letters, "a@example.com", ("ads", "OPT_IN"), AttributesData="{}")
    assert contact(letters) == ({"ads": "OPT_IN"}, {"news": "OPT_IN"}, False, "{}")
    assert code_of(lambda: add(letters, "a@example.com")) == ("AlreadyExistsException", 400)
    add(letters, "a@example.com", ("news", "OPT_OUT"), verb="update", UnsubscribeAll=True)
    assert contact(letters) == ({"ads": "OPT_IN", "news": "OPT_OUT"}, {}, True, None)
    add(letters, "a@example.com", verb="update")
    assert contact(letters) == ({"ads": "OPT_IN", "news": "OPT_OUT"}, {}, False, None)
    letters.delete_contact(ContactListName="letters", EmailAddress="a@example.com")
    for act in (lambda: contact(letters), lambda: add(letters, "a@example.com", verb="update")):
        assert code_of(act) == ("NotFoundException", 404)


@pytest.mark.parametrize(
    ("address", "preferences", "words"),
    [
        ("nobody", (), "EmailAddress <nobody> is invalid"),
        ("a b@example.com", (), "is invalid"),
        ("a@example.com", (("sport", "OPT_IN"),), "List: letters doesn't contain Topic: sport"),
        ("a@example.com", (("news", "MAYBE"),), "enum value set"),
    ],
)
def test_what_a_contact_refuses(letters: Any, address: str, preferences: Any, words: str) -> None:
    act = lambda: add(letters, address, *preferences)  # noqa: E731
    assert code_of(act) == ("BadRequestException", 400) and words in message_of(act)
    assert letters.list_contacts(ContactListName="letters")["Contacts"] == []


def test_a_deleted_list_loses_its_contacts(letters: Any) -> None:
    add(letters, "a@example.com")
    letters.delete_contact_list(ContactListName="letters")
    for act in (lambda: add(letters, "a@example.com"), lambda: letters.list_contacts(ContactListName="letters")):
        assert code_of(act) == ("NotFoundException", 404)
    letters.create_contact_list(ContactListName="letters")
    assert letters.list_contacts(ContactListName="letters")["Contacts"] == []


def test_contacts_are_counted_page_by_page(letters: Any) -> None:
    for n in range(7):
        add(letters, f"u{n}@example.com")
    pages, token = [], {}
    while True:
        found = letters.list_contacts(ContactListName="letters", PageSize=3, **token)
        pages.append([c["EmailAddress"][:2] for c in found["Contacts"]])
        if "NextToken" not in found:
            break
        token = {"NextToken": found["NextToken"]}
    assert pages == [["u0", "u1", "u2"], ["u3", "u4", "u5"], ["u6"]]
    assert code_of(lambda: letters.list_contacts(ContactListName="letters", NextToken="?"))[1] == 400


@pytest.mark.parametrize(
    ("status", "topic", "default", "found"),
    [
        ("OPT_IN", None, None, ["in", "none", "out"]),
        ("OPT_OUT", None, None, ["left"]),
        ("OPT_IN", "news", False, ["in"]),
        ("OPT_IN", "news", True, ["in", "none"]),
        ("OPT_OUT", "news", False, ["left", "out"]),
        ("OPT_OUT", "ads", True, ["in", "left", "none", "out"]),
        (None, "news", True, ["in", "left", "none", "out"]),
    ],
)
def test_contacts_are_filtered(
    letters: Any, status: str | None, topic: str | None, default: bool | None, found: list[str]
) -> None:
    add(letters, "in@example.com", ("news", "OPT_IN"))
    add(letters, "out@example.com", ("news", "OPT_OUT"))
    add(letters, "none@example.com")
    add(letters, "left@example.com", ("news", "OPT_IN"), UnsubscribeAll=True)
    wanted: dict[str, Any] = {"FilteredStatus": status} if status else {}
    if topic:
        wanted["TopicFilter"] = {"TopicName": topic, "UseDefaultIfPreferenceUnavailable": default}
    rows = letters.list_contacts(ContactListName="letters", Filter=wanted)["Contacts"]
    assert [row["EmailAddress"].partition("@")[0] for row in rows] == found


def test_iam_sees_the_list_of_a_contact(sandbox: Sandbox, letters: Any) -> None:
    policy = {"Statement": [{"Effect": "Allow", "Action": "ses:*", "Resource": f"{ARN}contact-list/letters"}]}
    sandbox.principal("AKIANARROW", policies=[policy])
    add(client("sesv2", access_key="AKIANARROW"), "a@example.com")


# --- templates -----------------------------------------------------------------------------------------------------

HALF = "x" * 256 * 1024


def template(ses: Any, name: str = "hello", verb: str = "create", **content: str) -> Any:
    return getattr(ses, f"{verb}_email_template")(TemplateName=name, TemplateContent=content)


@pytest.mark.parametrize("content", [{"Subject": "s"}, {"Text": "t"}, {"Html": "<p>", "Subject": ""}, {"Text": HALF}])
def test_a_template(ses: Any, content: dict[str, str]) -> None:
    ses.create_email_template(TemplateName="hello", TemplateContent={"Subject": "s", "Html": "h"}, Tags=TAGS)
    template(ses, verb="update", **content)
    found = ses.get_email_template(TemplateName="hello")
    del found["ResponseMetadata"]
    assert found == {"TemplateName": "hello", "TemplateContent": content, "Tags": TAGS}


@pytest.mark.parametrize(
    "content", [{}, {"Subject": " "}, {"Subject": "", "Text": "", "Html": "\n"}, {"Text": HALF, "Html": HALF}]
)
@pytest.mark.parametrize("verb", ["create", "update"])
def test_what_a_template_refuses(ses: Any, verb: str, content: dict[str, str]) -> None:
    if verb == "update":
        template(ses, Subject="s")
    assert code_of(lambda: template(ses, verb=verb, **content)) == ("BadRequestException", 400)


@pytest.mark.parametrize(("name", "good"), [("a b", True), ("é.1", True), (" a", False), ("a\n", False), ("\t", False)])
def test_names_of_templates(ses: Any, name: str, good: bool) -> None:
    if good:
        template(ses, name, Subject="s")
    else:
        assert "whitespace" in message_of(lambda: template(ses, name, Subject="s"))


def test_words_about_templates(ses: Any) -> None:
    template(ses, Subject="s")
    assert message_of(lambda: template(ses, Subject="s")) == "Template hello already exists."
    assert message_of(lambda: template(ses, "no", "update", Subject="s")) == "Template no does not exist."


def test_templates_are_listed_newest_first(sandbox: Sandbox, ses: Any) -> None:
    for n in range(120):
        template(ses, f"t{n}", Subject="s")
    first = ses.list_email_templates()
    assert [row["TemplateName"] for row in first["TemplatesMetadata"]] == [f"t{n}" for n in range(119, 109, -1)]
    assert first["TemplatesMetadata"][0].keys() == {"TemplateName", "CreatedTimestamp"}
    second = ses.list_email_templates(NextToken=first["NextToken"])["TemplatesMetadata"]
    assert second[0]["TemplateName"] == "t109"
    assert len(ses.list_email_templates(PageSize=500)["TemplatesMetadata"]) == 100
    template(ses, "t0", "update", Subject="new")
    assert ses.list_email_templates()["TemplatesMetadata"][0]["TemplateName"] == "t119"


def test_v1_has_the_same_templates(ses: Any) -> None:
    v1 = client("ses")
    make = lambda verb, **parts: getattr(v1, f"{verb}_template")(Template={"TemplateName": "t", **parts})  # noqa: E731
    assert code_of(lambda: make("update", SubjectPart="s")) == ("TemplateDoesNotExist", 400)
    assert code_of(lambda: make("create")) == ("InvalidTemplate", 400)
    make("create", SubjectPart="s", HtmlPart="h")
    assert code_of(lambda: make("create", SubjectPart="s")) == ("AlreadyExists", 400)
    assert ses.get_email_template(TemplateName="t")["TemplateContent"] == {"Subject": "s", "Html": "h"}
    make("update", TextPart="t")
    assert v1.get_template(TemplateName="t")["Template"] == {"TemplateName": "t", "TextPart": "t"}
    template(ses, "later", Subject="s")
    assert [row["Name"] for row in v1.list_templates()["TemplatesMetadata"]] == ["later", "t"]
    first = v1.list_templates(MaxItems=1)
    assert ses.list_email_templates(NextToken=first["NextToken"])["TemplatesMetadata"][0]["TemplateName"] == "t"
    v1.delete_template(TemplateName="t")
    v1.delete_template(TemplateName="t")
    assert code_of(lambda: v1.get_template(TemplateName="t")) == ("TemplateDoesNotExist", 400)
