"""BIMI: the logo that receivers show beside a message."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from reconciler.mail import bimi
from reconciler.rules import registry
from reconciler.rules.registry import RecordProblem, Tags, per_record
from reconciler.rules.view import RuleView

rule = partial(registry.rule, theme="BIMI", example="dns_record/acme.com/default._bimi.acme.com/TXT")


def _logos(view: RuleView) -> Iterator[tuple[str, Tags]]:
    """The domains that have a BIMI record with a logo after apply, and its tags."""
    for domain in view.domain_names:
        texts = view.lookup(f"default._bimi.{domain}", "TXT")
        entry = view.entry(domain)
        declared = entry.values.get("bimi") if entry else None
        if declared is not None:
            tags = bimi.from_yaml(declared)
        else:
            found = [text for text in texts or () if bimi.is_record(text)]
            tags = bimi.parse(found[0]) if len(found) == 1 else {}
        if tags.get("l"):
            yield domain, tags


_per_record = per_record(_logos, "default._bimi.")


@rule(
    "bimi-not-enforced",
    "warning",
    "A BIMI logo without DMARC enforcement",
    "BIMI draft: p (and sp) quarantine or reject",
    why="Receivers show a logo only if DMARC enforces `quarantine` or `reject` for all mail, without `sp=none`.",
    fix="Bring DMARC to `p: quarantine` or `p: reject` first.",
)
@_per_record
def not_enforced(view: RuleView, domain: str, tags: Tags) -> Iterator[RecordProblem]:
    """A BIMI record has a logo, and DMARC is not enforced for the domain and its subdomains."""
    policy = view.policy(domain)
    if policy is None:
        return
    problem = ""
    if not policy.enforces:
        problem = f"p={policy.tags.get('p', 'none')}" + (" and t=y" if policy.tags.get("t") == "y" else "")
    elif policy.tags.get("sp") == "none":
        problem = "sp=none"
    elif policy.tags.get("pct", "100") != "100":
        problem = f"pct={policy.tags['pct']}"
    if problem:
        yield RecordProblem(
            f"receivers will not show the logo of {domain}, because its DMARC record has {problem}"
            if policy.owner
            else f"receivers will not show the logo of {domain}, because it has no DMARC record",
            "bring DMARC to p: quarantine or p: reject, for subdomains, too",
        )


@rule(
    "bimi-no-certificate",
    "note",
    "A BIMI logo without a certificate",
    "BIMI draft: a=; Gmail and Apple ask for a VMC or CMC",
    why="Gmail and Apple show a logo only with a certificate (VMC or CMC).",
    fix='Get a certificate and name its PEM file: `bimi: {l: ..., a: "https://acme.com/vmc.pem"}`.',
)
@_per_record
def no_certificate(view: RuleView, domain: str, tags: Tags) -> Iterator[RecordProblem]:
    """A BIMI record has a logo and no certificate (`a`)."""
    if not tags.get("a"):
        yield RecordProblem(
            f"the logo of {domain} has no certificate: few receivers show it",
            "get a VMC or CMC, and name its PEM file in a",
        )
