"""Names, addresses and regions: one spelling each, humane refusals, laws that hold for any text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler import names, regions

LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
DOMAINS = st.lists(LABELS, min_size=2, max_size=4).map(".".join).filter(lambda name: not name.split(".")[-1].isdigit())


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("acme.com", "acme.com"),
        ("ACME.com.", "acme.com"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("straße.example", "xn--strae-oqa.example"),
        ("XN--BCHER-KVA.example", "xn--bcher-kva.example"),
        ("例え。jp", "xn--r8jz45g.jp"),
        ("a" * 63 + ".com", "a" * 63 + ".com"),
        ("r3---sn.example", "r3---sn.example"),
    ],
)
def test_fold_domain(text: str, folded: str) -> None:
    assert names.fold_domain(text) == folded
    assert names.fold_domain(folded) == folded


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        (".", "empty"),
        ("acme", "single label"),
        ("acme..com", "empty label"),
        ("-acme.com", "hyphen"),
        ("acme-.com", "hyphen"),
        ("_dmarc.acme.com", "underscore"),
        ("*.acme.com", "wildcard"),
        ("a" * 64 + ".com", "63 at most"),
        (".".join(["abcdefgh"] * 29) + ".com", "253 at most"),
        ("x" * 5000, "too long"),
        ("ac me.com", "cannot have"),
        (" acme.com", "white space"),
        ("me@acme.com", "mail address"),
        ("https://acme.com", "URL"),
        ("192.0.2.1", "IP address"),
        ("😀.example", "xn-- form"),
    ],
)
def test_fold_domain_refuses(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        names.fold_domain(text)


@pytest.mark.parametrize("text", ["_dmarc.acme.com", "*.acme.com", "s1._domainkey.acme.com", "localhost", "_a_.b"])
def test_record_names(text: str) -> None:
    assert names.fold_domain(text.upper(), record=True) == text


def test_record_names_still_have_rules() -> None:
    for text in ("a.*.acme.com", "a b.acme.com", "-_x.acme.com", "a..b"):
        with pytest.raises(ValueError):
            names.fold_domain(text, record=True)


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("CEO@Acme.COM", "CEO@acme.com"),
        ("o'brien+tag@acme.com.", "o'brien+tag@acme.com"),
        ('"john doe"@acme.com', '"john doe"@acme.com'),
        ("a@bücher.example", "a@xn--bcher-kva.example"),
    ],
)
def test_fold_address(text: str, folded: str) -> None:
    assert names.fold_address(text) == folded
    assert names.domain_of(folded) == folded.split("@")[-1]
    assert names.fold_identity(text) == folded


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("acme.com", "no @"),
        ("@acme.com", "nothing before"),
        ("Ann <a@acme.com>", "display name"),
        ("a b@acme.com", "cannot stand"),
        ("a..b@acme.com", "cannot stand"),
        ("jörg@acme.com", "ASCII"),
        ("a@", "empty"),
        ("a@acme", "single label"),
        ("x" * 65 + "@acme.com", "64 at most"),
    ],
)
def test_fold_address_refuses(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        names.fold_address(text)


def test_below_and_parents() -> None:
    assert names.is_below("a.acme.com", "acme.com")
    assert not names.is_below("acme.com", "acme.com")
    assert names.is_at_or_below("acme.com", "acme.com")
    assert not names.is_below("badacme.com", "acme.com")
    assert list(names.parents("a.b.acme.com")) == ["b.acme.com", "acme.com", "com"]


@pytest.mark.parametrize(
    ("route53", "name"),
    [
        (r"\052.acme.com.", "*.acme.com"),
        ("Acme.com.", "acme.com"),
        (r"a\040b.acme.com.", "a b.acme.com"),
        (r"a\056b.acme.com.", r"a\056b.acme.com"),
        (r"a\134b.acme.com.", r"a\134b.acme.com"),
    ],
)
def test_route53_names(route53: str, name: str) -> None:
    assert names.from_route53(route53) == name
    assert names.to_route53(name) == route53.lower()


def test_escaped_dot_is_not_a_dot() -> None:
    assert names.from_route53(r"a\056b.acme.com.") != names.from_route53("a.b.acme.com.")
    assert names.from_route53(r"a\134056b.acme.com.") != names.from_route53(r"a\056b.acme.com.")


@given(st.lists(st.binary(min_size=1, max_size=8), min_size=1, max_size=4))
def test_route53_spelling_survives(labels: list[bytes]) -> None:
    def escaped(label: bytes) -> str:
        plain = b"abcdefghijklmnopqrstuvwxyz0123456789-_"
        return "".join(chr(octet) if octet in plain else f"\\{octet:03o}" for octet in label.lower())

    spelled = ".".join(map(escaped, labels)) + "."
    # Route 53 lower-cases names, so bytes whose lower case differs cannot come back.
    if names.from_route53(spelled).encode("utf-8").lower() == names.from_route53(spelled).encode("utf-8"):
        once = names.to_route53(names.from_route53(spelled))
        assert names.from_route53(once) == names.from_route53(spelled)


@given(st.text(max_size=300))
def test_folding_never_crashes_and_settles(text: str) -> None:
    for fold in (names.fold_domain, names.fold_address, lambda t: names.fold_domain(t, record=True)):
        try:
            folded = fold(text)
        except ValueError as error:
            assert str(error)
        else:
            assert folded.isascii()
            assert fold(folded) == folded


@given(DOMAINS)
def test_domain_law(name: str) -> None:
    assert names.fold_domain(name.upper() + ".") == name
    assert names.from_route53(names.to_route53(name)) == name
    assert all(names.is_below(name, parent) for parent in names.parents(name))


# --- regions -------------------------------------------------------------------------------------------------------


def test_region_table_matches_the_service_model() -> None:
    import botocore.session

    model = botocore.session.get_session().get_service_model("sesv2")
    origins = model.shape_for("DkimSigningAttributesOrigin").enum
    parents = {regions.deterministic_parent(origin) for origin in origins} - {None}
    assert parents == set(regions.SES_REGIONS) - regions.UNPUBLISHED  # the one region of its partition has no replica


def test_origins_of_other_kinds_have_no_parent() -> None:
    assert regions.deterministic_parent("AWS_SES_US_EAST_1") == "us-east-1"
    assert regions.deterministic_parent("AWS_SES") is None
    assert regions.deterministic_parent("EXTERNAL") is None


@pytest.mark.parametrize(
    ("region", "partition"),
    [("eu-west-1", "aws"), ("us-gov-west-1", "aws-us-gov"), ("cn-north-1", "aws-cn"), ("eusc-de-east-1", "aws-eusc")],
)
def test_partition(region: str, partition: str) -> None:
    assert regions.partition_of(region) == partition


def test_hosts() -> None:
    assert regions.feedback_mx("eu-west-1") == "10 feedback-smtp.eu-west-1.amazonses.com"
    assert regions.feedback_mx("us-gov-west-1") == "10 feedback-smtp.us-gov-west-1.amazonses.com"
    assert regions.tracking_target("eu-west-1") == "r.eu-west-1.awstrack.me"
    assert regions.smtp_host("us-east-1") == "email-smtp.us-east-1.amazonaws.com"
    assert regions.has_smtp("us-east-1")
    assert not regions.has_smtp("af-south-1")
    assert regions.dkim_zone("us-east-1") == "dkim.amazonses.com"
    assert regions.dkim_zone("eu-south-1") == "dkim.eu-south-1.amazonses.com"


def test_arns() -> None:
    at = ("aws", "us-east-1", "111122223333")
    assert regions.identity_arn(*at, "acme.com") == "arn:aws:ses:us-east-1:111122223333:identity/acme.com"
    assert regions.configuration_set_arn(*at, "t") == "arn:aws:ses:us-east-1:111122223333:configuration-set/t"
