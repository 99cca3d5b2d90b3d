"""The writes of one identity, each safe to repeat: what an earlier try has done already is not an error.

Source: SES v2 API reference, CreateEmailIdentity, PutEmailIdentity..., TagResource.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from reconciler.errors import AwsError, ReconError
from reconciler.kinds.kind import Runtime
from reconciler.kinds.ownership import owner_of
from reconciler.kinds.tags import tags_from_aws, tags_to_aws
from reconciler.model import Address, Change, canonical_json
from reconciler.resources.email_identity import DEFAULT_SET, address_of
from reconciler.secrets import DkimKey


def _dkim_request(rt: Runtime, change: Change, region: str) -> dict[str, Any]:
    """DkimSigningAttributes without the origin."""
    block = (change.after or {}).get("dkim") or {}
    origin = block.get("signing_attributes_origin")
    if origin == "EXTERNAL":
        key = DkimKey(rt.secret(change.execution["private_key"], region))
        if key.fingerprint != block["domain_signing_private_key"]:
            raise ReconError(
                f"{change.address}: the DKIM private key is not the one that was planned",
                hint="the key changed since the plan: plan again",
            )
        return {"DomainSigningSelector": block["domain_signing_selector"], "DomainSigningPrivateKey": key.private}
    return {}


def create(rt: Runtime, change: Change, region: str, name: str) -> None:
    after = change.after or {}
    request: dict[str, Any] = {"EmailIdentity": name, "Tags": tags_to_aws(after["tags"])}
    block = after.get("dkim") or {}
    origin = block.get("signing_attributes_origin")
    if origin == "EXTERNAL":
        request["DkimSigningAttributes"] = _dkim_request(rt, change, region)
    elif origin and origin != "AWS_SES":
        request["DkimSigningAttributes"] = {"DomainSigningAttributesOrigin": origin}
    elif block.get("next_signing_key_length"):
        request["DkimSigningAttributes"] = {"NextSigningKeyLength": block["next_signing_key_length"]}
    if after.get(DEFAULT_SET.path):
        request["ConfigurationSetName"] = after[DEFAULT_SET.path]
    try:
        answer = rt.aws.call("sesv2", "CreateEmailIdentity", region, **request)
    except AwsError as error:
        if error.aws_code != "AlreadyExistsException":
            raise
        answer = rt.aws.call("sesv2", "GetEmailIdentity", region, EmailIdentity=name)
        if owner_of(tags_from_aws(answer.get("Tags"))) != rt.scope:
            raise
    _learn(rt, change.address, answer.get("DkimAttributes") or {}, region, name)


def _learn(rt: Runtime, address: Address, dkim: Mapping[str, Any], region: str, name: str) -> None:
    """Keep the tokens for the records that follow in this run; ask again where the answer has none yet."""
    tokens = dkim.get("Tokens")
    if not tokens and "@" not in name:
        live = rt.aws.call("sesv2", "GetEmailIdentity", region, EmailIdentity=name)
        dkim = live.get("DkimAttributes") or {}
        tokens = dkim.get("Tokens")
    rt.set_output(address, "tokens", list(tokens or ()))
    rt.set_output(address, "signing_hosted_zone", (dkim.get("SigningHostedZone") or "").rstrip(".").lower() or None)


def put_signing(rt: Runtime, change: Change, region: str, name: str) -> None:
    block = (change.after or {}).get("dkim") or {}
    origin = block.get("signing_attributes_origin") or change.execution.get("live_origin") or "AWS_SES"
    attributes: dict[str, Any] = {}
    if origin == "EXTERNAL":
        attributes = _dkim_request(rt, change, region)
    elif origin == "AWS_SES":
        length = block.get("next_signing_key_length")
        # SES answers with an error where the length asked for is the one that is set. What a key of another origin
        # says of its length is not what Easy DKIM begins with.
        anew = change.execution.get("live_origin") != origin
        if length and (anew or length != change.execution.get("live_key_length")):
            attributes = {"NextSigningKeyLength": length}
    request: dict[str, Any] = {"EmailIdentity": name, "SigningAttributesOrigin": origin}
    if attributes:
        request["SigningAttributes"] = attributes
    refused: AwsError | None = None
    try:
        rt.aws.call("sesv2", "PutEmailIdentityDkimSigningAttributes", region, **request)
    except AwsError as error:
        if error.aws_code != "BadRequestException" or "NextSigningKeyLength" not in attributes:
            raise
        refused = error
    # Whether tokens move with a key length is nowhere written, so they are read again.
    live = rt.aws.call("sesv2", "GetEmailIdentity", region, EmailIdentity=name)
    there = live.get("DkimAttributes") or {}
    if refused is not None and (
        there.get("NextSigningKeyLength") != attributes["NextSigningKeyLength"]
        or (there.get("SigningAttributesOrigin") or "AWS_SES") != origin
    ):
        raise refused  # Else an earlier try took effect and its answer was lost.
    _learn(rt, change.address, live.get("DkimAttributes") or {}, region, name)


def put_mail_from(rt: Runtime, change: Change, region: str, name: str) -> None:
    block = (change.after or {}).get("mail_from")
    request: dict[str, Any] = {"EmailIdentity": name}
    if block:
        live = change.execution.get("live_mail_from") or {}
        request["MailFromDomain"] = block["mail_from_domain"]
        request["BehaviorOnMxFailure"] = (
            block.get("behavior_on_mx_failure") or live.get("behavior_on_mx_failure") or "USE_DEFAULT_VALUE"
        )
    rt.aws.call("sesv2", "PutEmailIdentityMailFromAttributes", region, **request)


def put_rest(
    rt: Runtime, requests: Iterable[tuple[str, str, Mapping[str, Any]]], address: Address, region: str
) -> None:
    """One request (service, operation, members) after the other; those of one operation without a look in between."""
    before = ""
    for service, operation, members in requests:
        if before and operation != before:
            rt.ensure_unchanged(address)
        before = operation
        rt.aws.call(service, operation, region, **members)


def put_policies(
    rt: Runtime, policies: Mapping[str, Any], written: Mapping[str, Any], region: str, name: str, *, wait: bool
) -> None:
    """Create, update or delete sending policies; sent as the YAML writes them, compared in normal form."""
    if wait and any(document is not None for document in policies.values()):
        rt.wait_verified(region, name)
    # New policies before deletions, so that nobody loses access in between, unless SES's limit allows no further one.
    todo = sorted(policies.items(), key=lambda item: item[1] is None)
    number = 0
    while todo:
        (policy, document), todo = todo[0], todo[1:]
        if number or wait:
            rt.ensure_unchanged(address_of(region, name))
        number += 1
        keys: dict[str, Any] = {"EmailIdentity": name, "PolicyName": policy}
        if document is None:
            rt.aws.call_if_there("sesv2", "DeleteEmailIdentityPolicy", region, **keys)
            continue
        original = written.get(policy, document)
        text = original if isinstance(original, str) else canonical_json(original)
        try:
            rt.aws.call("sesv2", "CreateEmailIdentityPolicy", region, Policy=text, **keys)
        except AwsError as error:
            going = [item for item in todo if item[1] is None]
            if error.aws_code == "LimitExceededException" and going:
                todo = [*going, (policy, document), *(item for item in todo if item[1] is not None)]
                continue
            # Sources differ on whether an update of a missing policy succeeds, so create comes first.
            if error.aws_code != "AlreadyExistsException":
                raise
            rt.aws.call("sesv2", "UpdateEmailIdentityPolicy", region, Policy=text, **keys)


def delete(rt: Runtime, region: str, name: str) -> None:
    rt.aws.call_if_there("sesv2", "DeleteEmailIdentity", region, EmailIdentity=name)
