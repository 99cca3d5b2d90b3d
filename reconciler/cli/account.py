"""The account in a region: its sending paused and resumed, in an incident (docs/runbooks/spam-goes-out.md), and
production access requested."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reconciler.cli.app import command_group
from reconciler.cli.common import ApproveOption, Output, options_from, outcome_of, print_outcome, text_or_json
from reconciler.cli.incident import Incident, announce, incident
from reconciler.errors import AwsError, ReconError, Refused

if TYPE_CHECKING:
    from reconciler.aws import Aws

account_app = command_group("account", "Pause or resume sending, or request production access.")

RegionOption = Annotated[
    list[str] | None, typer.Option("--region", help="The region (repeatable); without YAML that of the credentials.")
]


@account_app.command()
@options_from(out=text_or_json, found=incident)
def pause(found: Incident, out: Output, region: RegionOption = None, auto_approve: ApproveOption = False) -> int:
    """Stop all sending of the account in a region, of every stack and identity. Does not wait for other runs."""
    return _switch(found, region, auto_approve, out, on=False)


@account_app.command()
@options_from(out=text_or_json, found=incident)
def resume(found: Incident, out: Output, region: RegionOption = None, auto_approve: ApproveOption = False) -> int:
    """Allow the account to send in a region again."""
    return _switch(found, region, auto_approve, out, on=True)


def _switch(found: Incident, chosen: list[str] | None, approved: bool, out: Output, *, on: bool) -> int:
    """PutAccountSendingAttributes in each region, and what GetAccount returns afterwards (SES v2 API)."""
    if not chosen and found.state is not None:
        raise ReconError("no region was given", hint=f"--region {found.home_region()}, for each region that is meant")
    regions = found.regions(chosen)
    aws = found.connect(regions, "apply")
    announce(out.info, found, aws)
    command, does = ("resume", "allow sending again") if on else ("pause", "stop all sending of the account")
    if not found.confirm(f"account {command}", aws, regions, f"{does}?", approved, out.info):
        out.info("Nothing was changed.")
        return 1
    results = aws.parallel(lambda r: _switch_region(aws, r, on), regions)
    rows = [row for row, _ in results]
    problems = [problem for _, problem in results if problem is not None]
    outcome = outcome_of(len(rows) - len(problems), problems)
    lines = [f"{row['region']}: {_row_text(row)}" for row in rows]
    return print_outcome(out, aws.stack, outcome, {"regions": rows}, lines, problems)


def _switch_region(aws: Aws, region: str, on: bool) -> tuple[dict[str, Any], ReconError | None]:
    row: dict[str, Any]
    row = {"region": region, "sending_enabled": None, "enforcement_status": None, "production_access": None}
    try:
        aws.call("sesv2", "PutAccountSendingAttributes", region, SendingEnabled=on)
        row["sending_enabled"] = on
        live = aws.call("sesv2", "GetAccount", region)
    except ReconError as error:
        return row, error
    row = {
        "region": region, "sending_enabled": bool(live.get("SendingEnabled")),
        "enforcement_status": live.get("EnforcementStatus"), "production_access": live.get("ProductionAccessEnabled"),
    }  # fmt: skip
    if row["sending_enabled"] == on:
        return row, None
    seen = "on" if row["sending_enabled"] else "off"
    return row, ReconError(f"SES in {region} still reports that sending is {seen}", hint="try again in a minute")


def _row_text(row: dict[str, Any]) -> str:
    if row["sending_enabled"] is None:
        return "unchanged"
    if not row["sending_enabled"]:
        return "sending is paused for the whole account"
    if row["enforcement_status"] in {None, "HEALTHY"}:
        return "sending is on"
    return f"sending is on, but SES has put the account under {row['enforcement_status']}: write to AWS Support"


# --- production access ----------------------------------------------------------------------------------------------

MailTypeOption = Annotated[str | None, typer.Option("--mail-type", help="MARKETING or TRANSACTIONAL: what most is.")]
WebsiteOption = Annotated[str | None, typer.Option("--website-url", help="The website that the mail belongs to.")]
LanguageOption = Annotated[str | None, typer.Option("--contact-language", help="EN (default) or JA.")]
UseCaseOption = Annotated[str | None, typer.Option("--use-case-description", help="Why and to whom mail is sent.")]
ContactOption = Annotated[
    list[str] | None, typer.Option("--contact", help="An address that AWS writes to as well (repeatable, at most 4).")
]

_MEMBERS = {
    "mail_type": "MailType", "website_url": "WebsiteURL", "contact_language": "ContactLanguage",
    "use_case_description": "UseCaseDescription",
    "additional_contact_email_addresses": "AdditionalContactEmailAddresses",
}  # fmt: skip
"""Keys of ``account.details`` -> members of PutAccountDetails."""


def _details(
    mail_type: MailTypeOption = None, website_url: WebsiteOption = None, contact_language: LanguageOption = None,
    use_case_description: UseCaseOption = None, contact: ContactOption = None,
) -> dict[str, Any]:  # fmt: skip
    """What the flags say of ``account.details``."""
    said = {
        "mail_type": mail_type.upper() if mail_type else None, "website_url": website_url,
        "contact_language": contact_language.upper() if contact_language else None,
        "use_case_description": use_case_description, "additional_contact_email_addresses": contact or None,
    }  # fmt: skip
    return {key: value for key, value in said.items() if value is not None}


@account_app.command("request-production")
@options_from(out=text_or_json, found=incident, flags=_details)
def request_production(
    found: Incident, out: Output, flags: dict[str, Any], region: RegionOption = None,
    auto_approve: ApproveOption = False,
) -> int:  # fmt: skip
    """Ask AWS for production access in a region, once: it opens a support case that a person reads."""
    if not region:
        raise ReconError("no region was given", hint=f"--region {found.home_region()}, for each region that is meant")
    regions = found.regions(region)
    wanted = {place: _request(found, place, flags) for place in regions}
    aws = found.connect(regions, "apply")
    announce(out.info, found, aws)
    asked = [place for place in regions if _may_ask(aws, place)]
    rows: list[dict[str, Any]] = [
        {"region": place, "production_access": True, "requested": False, "case_id": None}
        for place in regions if place not in asked
    ]  # fmt: skip
    for place in asked:
        out.info(f"{place}: this is sent to AWS, which a person there reads:")
        for member, value in wanted[place].items():
            out.info(f"  {member}: {', '.join(value) if isinstance(value, list) else value}")
    what = "request production access?"
    if asked and not found.confirm("account request-production", aws, asked, what, auto_approve, out.info):
        out.info("Nothing was requested.")
        return 1
    problems: list[ReconError] = []
    for place in asked:
        try:
            rows.append({"region": place, "production_access": False, **_ask(aws, place, wanted[place])})
        except ReconError as error:
            problems.append(error)
    lines = [f"{row['region']}: {_asked_text(row)}" for row in rows]
    done = sum(1 for row in rows if row["requested"])
    return print_outcome(out, aws.stack, outcome_of(done, problems), {"regions": rows}, lines, problems)


def _request(found: Incident, region: str, flags: dict[str, Any]) -> dict[str, Any]:
    """The request of one region: ``account.details`` of the YAML, and the flags laid over it.

    Raises ReconError for what AWS would refuse (SES API v2, PutAccountDetails)."""
    entries = found.state.section("account") if found.state is not None else ()
    declared: dict[str, Any] = next((dict(e.values.get("details") or {}) for e in entries if e.region == region), {})
    said = {"contact_language": "EN", **declared, **flags}
    for key, flag in (("mail_type", "--mail-type TRANSACTIONAL"), ("website_url", "--website-url https://...")):
        if not said.get(key):
            raise ReconError(
                f"{key} is missing for {region}", hint=f"give {flag}, or write it under `account.details:`"
            )
    if said["mail_type"] not in {"MARKETING", "TRANSACTIONAL"}:
        raise ReconError(f"there is no mail type {said['mail_type']}", hint="MARKETING or TRANSACTIONAL")
    if said["contact_language"] not in {"EN", "JA"}:
        raise ReconError(f"AWS does not write in {said['contact_language']}", hint="EN or JA")
    if not re.match(r"https?://[^\s/]+\.[^\s]+$", said["website_url"]):
        raise ReconError(f"{said['website_url']} is not the URL of a website", hint="such as https://acme.com")
    if len(said.get("additional_contact_email_addresses") or ()) > 4:
        raise ReconError("AWS takes at most 4 further contacts", hint="leave some out")
    return {_MEMBERS[key]: said[key] for key in _MEMBERS if said.get(key)}


def _may_ask(aws: Aws, region: str) -> bool:
    """False where the account has production access. Raises Refused while a review is open, and after a denial: AWS
    takes no further request then, and says no word."""
    live = aws.call("sesv2", "GetAccount", region)
    if live.get("ProductionAccessEnabled"):
        return False
    review = (live.get("Details") or {}).get("ReviewDetails") or {}
    case = f" (case {review['CaseId']})" if review.get("CaseId") else ""
    if review.get("Status") == "PENDING":
        raise Refused(f"AWS is still reviewing a request for {region}{case}", hint="wait, or reply to the case")
    if review.get("Status") == "DENIED":
        raise Refused(
            f"AWS has denied production access for {region}{case}",
            hint="reply to the case in the AWS console: the API takes no second request",
        )
    return True


def _ask(aws: Aws, region: str, request: dict[str, Any]) -> dict[str, Any]:
    """Request access. A conflict where no review was open before is an answer that was lost: the request was taken."""
    try:
        aws.call("sesv2", "PutAccountDetails", region, ProductionAccessEnabled=True, **request)
    except AwsError as error:
        if error.aws_code != "ConflictException":
            raise
    review = (aws.call("sesv2", "GetAccount", region).get("Details") or {}).get("ReviewDetails") or {}
    if review.get("Status") not in {"PENDING", "GRANTED"}:
        raise ReconError(
            f"AWS has not taken the request for {region}: its status is {review.get('Status') or 'unknown'}",
            hint="request it in the SES console",
        )
    return {"requested": True, "case_id": review.get("CaseId")}


def _asked_text(row: dict[str, Any]) -> str:
    if row["production_access"]:
        return "the account has production access already"
    case = f" as case {row['case_id']}" if row["case_id"] else ""
    return f"production access is requested{case}; AWS usually answers within a day, by mail to the account's owner"
