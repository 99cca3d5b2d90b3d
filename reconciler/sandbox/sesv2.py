"""Amazon SES, API v2: identities, policies and the account.

Tags and tenants are in ``sesv2_tenants``, plain kinds in ``resources/*/sandbox.py``. Where AWS documents no behaviour,
the choice made is the stricter one and named in the code.

Source: SES API v2 reference; Developer Guide "Creating and verifying identities", "Easy DKIM", "Service quotas".
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from reconciler.sandbox import plain
from reconciler.sandbox.iam_state import IamState
from reconciler.sandbox.protocol import ApiError, Params, page
from reconciler.sandbox.records import BadRecord, is_below, normalise_name
from reconciler.sandbox.ses_state import (
    Identity,
    bad,
    easy_dkim_tokens,
    exists,
    merge_tags,
    missing,
    over_limit,
    public_key_of,
    refuse_if_tenant,
)
from reconciler.sandbox.sesv2_tenants import Tenants
from reconciler.sandbox.world import Call, moment, tag_list

MAX_IDENTITIES: Final = 10_000
MAX_POLICIES: Final = 20
MAX_POLICY_BYTES: Final = 4096
LIST_PAGE: Final = 1000
DAY: Final = 24 * 3600.0
SET: Final = "ConfigurationSet"

_DOMAIN = re.compile(r"(?=.{1,253}$)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])", re.I)
_PRINCIPAL = re.compile(r"arn:[a-z-]+:iam::([0-9]{12}):(user|role)(/(?:.*/)?)([^/]+)")
_POLICY_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


class SesV2(Tenants):
    """The operations of API v2; one instance serves all accounts and regions."""

    name = "sesv2"

    def _identity(self, call: Call, name: str) -> Identity:
        found = self._state(call).find(name)
        if found is None:
            raise missing(f"Email identity {name} does not exist.")
        return found

    # --- identities ------------------------------------------------------------------------------------------------

    def create_email_identity(self, call: Call, params: Params) -> Params:
        state = self._state(call)
        name = params["EmailIdentity"]
        self._check_name(name)
        if state.find(name) is not None:
            raise exists(f"Email identity {name} already exist.")
        if len(state.identities) >= MAX_IDENTITIES:
            raise over_limit(f"You can have at most {MAX_IDENTITIES} identities in a region.")
        identity = self.new_identity(call, name)
        identity.tags = merge_tags({}, params.get("Tags", []))
        if set_name := params.get("ConfigurationSetName"):
            plain.find(state, SET, set_name)
            identity.configuration_set = set_name
        if attributes := params.get("DkimSigningAttributes"):
            if identity.kind != "DOMAIN":
                raise bad("DKIM signing attributes can be set for domain identities only.")
            origin = attributes.get("DomainSigningAttributesOrigin") or (
                "EXTERNAL" if "DomainSigningPrivateKey" in attributes else "AWS_SES"
            )
            self._set_signing(call, identity, origin, attributes, fresh=True)
        state.identities[state.key(name)] = identity
        return {
            "IdentityType": identity.kind,
            "VerifiedForSendingStatus": False,
            "DkimAttributes": self.verifier.dkim_attributes(state, identity, call.now),
        }

    @staticmethod
    def _check_name(name: str) -> None:
        if "@" in name:
            local, _, domain = name.rpartition("@")
            if not local or not _DOMAIN.fullmatch(domain) or len(name) > 320 or re.search(r"\s", name):
                raise bad(f"Invalid email address <{name}>.")
        elif not _DOMAIN.fullmatch(name):
            raise bad(f"Invalid domain name <{name}>.")

    def new_identity(self, call: Call, name: str) -> Identity:
        """An identity as SES makes it from a name alone: a domain with Easy DKIM 2048, an address unsigned."""
        if "@" in name:
            return Identity(
                name, "EMAIL_ADDRESS", call.region, call.account, call.now, address_requested=call.now,
            )  # fmt: skip
        name = name.lower().rstrip(".")
        identity = Identity(name, "DOMAIN", call.region, call.account, call.now, signing_enabled=True)
        self._make_keys(call, identity, "RSA_2048_BIT")
        identity.dkim.start(call.now)
        return identity

    def _make_keys(self, call: Call, identity: Identity, length: str) -> None:
        identity.tokens = easy_dkim_tokens(call.account, call.region, identity.name, self.world.serial())
        identity.next_length = identity.current_length = length
        identity.key_made = call.now
        identity.key_changed = None

    def get_email_identity(self, call: Call, params: Params) -> Params:
        state = self._state(call)
        identity = self._identity(call, params["EmailIdentity"])
        status = self.verifier.status(identity, call.now)
        mail_from: Params = {"BehaviorOnMxFailure": identity.mx_behavior}
        if identity.mail_from:
            mail_from |= {
                "MailFromDomain": identity.mail_from,
                "MailFromDomainStatus": self.verifier.mail_from_status(identity, call.now),
            }
        return {
            "IdentityType": identity.kind,
            "FeedbackForwardingStatus": identity.feedback,
            "VerifiedForSendingStatus": status in ("SUCCESS", "TEMPORARY_FAILURE"),
            "VerificationStatus": status,
            "DkimAttributes": self.verifier.dkim_attributes(state, identity, call.now),
            "MailFromAttributes": mail_from,
            "Policies": dict(identity.policies),
            "Tags": tag_list(identity.tags),
            "ConfigurationSetName": identity.configuration_set,
            "VerificationInfo": self.verifier.verification_info(identity, call.now),
        }

    def delete_email_identity(self, call: Call, params: Params) -> Params:
        state = self._state(call)
        identity = self._identity(call, params["EmailIdentity"])
        refuse_if_tenant(call, state, f"identity/{identity.name}")
        del state.identities[state.key(identity.name)]
        return {}

    def list_email_identities(self, call: Call, params: Params) -> Params:
        state = self._state(call)
        wanted = params.get("Filter", {})
        found = [state.identities[name] for name in sorted(state.identities)]
        if part := wanted.get("IDENTITY_NAME_CONTAINS"):
            found = [i for i in found if part.lower() in i.name.lower()]
        if kind := wanted.get("IDENTITY_TYPE"):
            found = [i for i in found if i.kind == kind]
        if needed := wanted.get("VERIFICATION_STATUS"):
            found = [i for i in found if self.verifier.status(i, call.now) == needed]
        chosen, token = page(found, params.get("NextToken"), params.get("PageSize"), LIST_PAGE)
        shown = []
        for identity in chosen:
            status = self.verifier.status(identity, call.now)
            shown.append({
                "IdentityType": identity.kind, "IdentityName": identity.name,
                "SendingEnabled": status in ("SUCCESS", "TEMPORARY_FAILURE"), "VerificationStatus": status,
            })  # fmt: skip
        return {"EmailIdentities": shown, "NextToken": token}

    # --- DKIM ------------------------------------------------------------------------------------------------------

    def put_email_identity_dkim_attributes(self, call: Call, params: Params) -> Params:
        identity = self._identity(call, params["EmailIdentity"])
        if identity.kind == "DOMAIN":
            identity.signing_enabled = params.get("SigningEnabled", False)
        return {}

    def put_email_identity_dkim_signing_attributes(self, call: Call, params: Params) -> Params:
        identity = self._identity(call, params["EmailIdentity"])
        if identity.kind != "DOMAIN":
            raise bad(f"Identity <{identity.name}> must be a valid domain.")
        attributes = params.get("SigningAttributes", {})
        if "DomainSigningAttributesOrigin" in attributes:
            raise bad("DomainSigningAttributesOrigin can only be used with CreateEmailIdentity.")
        self._set_signing(call, identity, params["SigningAttributesOrigin"], attributes, fresh=False)
        return {
            "DkimStatus": self.verifier.dkim_status(identity, call.now),
            "DkimTokens": self.verifier.tokens(identity),
            "SigningHostedZone": None
            if self.world.settings.doubt_signing_hosted_zone_absent
            else self.verifier.zone(identity),
        }

    def _set_signing(
        self, call: Call, identity: Identity, origin: str, attributes: Mapping[str, Any], *, fresh: bool
    ) -> None:
        """Change how a domain signs. Raises: ApiError for combinations that SES refuses; changes nothing then."""
        selector, key = attributes.get("DomainSigningSelector"), attributes.get("DomainSigningPrivateKey")
        length = attributes.get("NextSigningKeyLength")
        if origin == "EXTERNAL":
            if not selector or not key or length:
                raise bad(
                    "DKIM with your own key needs DomainSigningSelector and DomainSigningPrivateKey, and no more."
                )
            identity.public_key = self._check_key(key)
            identity.origin, identity.selector = origin, selector
            identity.dkim.start(call.now)
            return
        if selector or key:
            raise bad("A selector and a private key can be used only with the origin EXTERNAL.")
        if origin != "AWS_SES":
            if length:
                raise bad("The key length of a replica is that of its primary identity.")
            if identity.origin != origin or identity.dkim.status == "FAILED" or fresh:
                identity.origin, identity.selector, identity.public_key = origin, None, None
                identity.dkim.start(call.now)
            return
        if identity.origin != "AWS_SES" or fresh:
            identity.origin, identity.selector, identity.public_key = "AWS_SES", None, None
            self._make_keys(call, identity, length or "RSA_2048_BIT")
            identity.dkim.start(call.now)
            return
        if length is not None:
            self._change_length(call, identity, length)
        if identity.dkim.status == "FAILED":
            # No AWS text says how a failed domain is started again through v2; putting the attributes is the candidate.
            identity.dkim.start(call.now)

    @staticmethod
    def _check_key(key: str) -> str:
        try:
            public, bits = public_key_of(key)
        except ValueError as error:
            raise bad("The private key is not a valid RSA key in base64.") from error
        if not 1024 <= bits <= 2048:
            raise bad("The private key must use at least 1024-bit RSA encryption and at most 2048-bit.")
        return public

    def _change_length(self, call: Call, identity: Identity, length: str) -> None:
        """Developer Guide "Easy DKIM": the length already set is an error; one change in 24 hours, except that the
        first one may drop to 1024 bits at once."""
        if length == identity.next_length:
            raise bad(f"The signing key length is already {length}.")
        first_drop = identity.key_changed is None and length == "RSA_1024_BIT"
        last = max(identity.key_made or 0.0, identity.key_changed or 0.0)
        if not first_drop and call.now < last + DAY:
            raise bad("The signing key length can be changed only once in 24 hours.")
        identity.next_length = length
        identity.key_changed = identity.key_made = call.now
        if self.world.settings.doubt_new_tokens_with_key_length:
            identity.tokens = easy_dkim_tokens(call.account, call.region, identity.name, self.world.serial())
            identity.dkim.start(call.now)

    # --- MAIL FROM, feedback, default set --------------------------------------------------------------------------

    def put_email_identity_mail_from_attributes(self, call: Call, params: Params) -> Params:
        identity = self._identity(call, params["EmailIdentity"])
        behavior = params.get("BehaviorOnMxFailure", "USE_DEFAULT_VALUE")
        domain = params.get("MailFromDomain")
        if not domain:
            identity.mail_from, identity.mx_behavior = None, "USE_DEFAULT_VALUE"
            return {}
        try:
            below = is_below(normalise_name(domain), identity.domain + ".") and domain.lower() != identity.domain
        except BadRecord:
            below = False
        if not below or not _DOMAIN.fullmatch(domain):
            raise bad(f"Provided MAIL-FROM domain <{domain}> is not subdomain of the domain of the identity "
                      f"<{identity.domain}>.")  # fmt: skip
        domain = domain.lower()
        if domain != identity.mail_from or identity.mail_from_check.status == "FAILED":
            identity.mail_from = domain
            identity.mail_from_check.start(call.now)
        identity.mx_behavior = behavior
        return {}

    def put_email_identity_feedback_attributes(self, call: Call, params: Params) -> Params:
        identity = self._identity(call, params["EmailIdentity"])
        enabled = params.get("EmailForwardingEnabled", False)
        topics = {"Bounce", "Complaint"} <= identity.topics.keys()
        if not enabled and not topics and self.world.settings.doubt_feedback_needs_topics:
            raise bad("Feedback forwarding can be disabled only with SNS topics for bounces and complaints.")
        identity.feedback = enabled
        return {}

    def put_email_identity_configuration_set_attributes(self, call: Call, params: Params) -> Params:
        identity = self._identity(call, params["EmailIdentity"])
        name = params.get("ConfigurationSetName")
        if name:
            plain.find(self._state(call), SET, name)
        identity.configuration_set = name or None
        return {}

    # --- sending policies ------------------------------------------------------------------------------------------

    def _policy(self, call: Call, params: Params) -> tuple[Identity, str]:
        """The identity and the checked policy text, with white space removed as SES does."""
        identity = self._identity(call, params["EmailIdentity"])
        if not _POLICY_NAME.fullmatch(params["PolicyName"]):
            raise bad(f"Policy name <{params['PolicyName']}> is not valid.")
        if self.verifier.status(identity, call.now) != "SUCCESS":
            raise bad(f"Identity <{identity.name}> is not verified. A sending policy needs a verified identity.")
        policy = check_policy(params["Policy"])
        self._check_principals(call, json.loads(policy))
        return identity, policy

    def _check_principals(self, call: Call, document: Params) -> None:
        """Users and roles of the account exist, as far as IAM shows them already (IAM User Guide, "AWS JSON policy
        elements: Principal": a principal that does not exist makes a policy invalid)."""
        iam = self.world.seen("iam", call, IamState)
        stated = document["Statement"]
        for statement in stated if isinstance(stated, list) else [stated]:
            who = statement.get("Principal") if isinstance(statement, dict) else None
            named = who.get("AWS", []) if isinstance(who, dict) else []
            for arn in named if isinstance(named, list) else [named]:
                match = _PRINCIPAL.fullmatch(str(arn))
                if match is None or match[1] != call.account:
                    continue
                there = (iam.users if match[2] == "user" else iam.roles).get(match[4].lower())
                if there is None or there.path != match[3]:
                    raise bad(f'Invalid principal in policy: "AWS":"{arn}"')

    def create_email_identity_policy(self, call: Call, params: Params) -> Params:
        identity, policy = self._policy(call, params)
        if params["PolicyName"] in identity.policies:
            raise exists(f"Policy {params['PolicyName']} already exists for identity {identity.name}.")
        if len(identity.policies) >= MAX_POLICIES:
            raise over_limit(f"An identity can have at most {MAX_POLICIES} policies.")
        identity.policies[params["PolicyName"]] = policy
        return {}

    def update_email_identity_policy(self, call: Call, params: Params) -> Params:
        identity, policy = self._policy(call, params)
        if params["PolicyName"] not in identity.policies:
            raise missing(f"Policy {params['PolicyName']} does not exist for identity {identity.name}.")
        identity.policies[params["PolicyName"]] = policy
        return {}

    def delete_email_identity_policy(self, call: Call, params: Params) -> Params:
        self._identity(call, params["EmailIdentity"]).policies.pop(params["PolicyName"], None)
        return {}

    def get_email_identity_policies(self, call: Call, params: Params) -> Params:
        return {"Policies": dict(self._identity(call, params["EmailIdentity"]).policies)}

    # --- account ---------------------------------------------------------------------------------------------------

    def get_account(self, call: Call, params: Params) -> Params:
        state = self._state(call)
        production = state.production_access
        return {
            "DedicatedIpAutoWarmupEnabled": state.auto_warmup,
            "EnforcementStatus": state.enforcement,
            "ProductionAccessEnabled": self.world.settings.production_access if production is None else production,
            "SendQuota": state.quota,
            "SendingEnabled": state.sending_enabled,
            "SuppressionAttributes": {
                "SuppressedReasons": state.suppressed_reasons,
                "ValidationAttributes": state.validation,
            },
            "Details": state.details,
            "VdmAttributes": _vdm_shown(state.vdm),
            "DeliveryAttributes": {"SharedPoolDeliveryMode": state.delivery_mode},
            "PricingAttributes": {"CurrentPlan": "ESSENTIALS"},
        }

    def batch_get_metric_data(self, call: Call, params: Params) -> Params:
        """Only what identities sent, and what was sent to a receiver, as seeded: one day, one value (SES API v2,
        BatchGetMetricData)."""
        state = self._state(call)
        if state.vdm.get("VdmEnabled") != "ENABLED":
            raise ApiError("BadRequestException", "Virtual Deliverability Manager is not enabled for this account", 400)
        results = []
        for query in params["Queries"]:
            sent = state.sent_by.get(state.key(query["Dimensions"].get("EMAIL_IDENTITY", "")))
            counts = {"SEND": sent, **state.sent_to.get(query["Dimensions"].get("ISP", ""), {})}
            values = [count] if (count := counts.get(query["Metric"])) else []
            results.append({"Id": query["Id"], "Timestamps": [query["StartDate"]] * len(values), "Values": values})
        return {"Results": results, "Errors": []}

    def put_account_details(self, call: Call, params: Params) -> Params:
        """While a review is open, and after a denial, every further call is a conflict without words (seen in 2026)."""
        state = self._state(call)
        review = (state.details or {}).get("ReviewDetails", {}).get("Status")
        if review in ("PENDING", "DENIED"):
            raise ApiError("ConflictException", "", 409)
        if not re.match(r"https?://[^/\s]+\.[^/\s]+", params["WebsiteURL"]):
            raise bad("Url contains invalid format")
        details = {k: v for k, v in params.items() if k != "ProductionAccessEnabled"}
        state.details = {"ContactLanguage": "EN", **details, "ReviewDetails": {"Status": "PENDING", "CaseId": "1"}}
        return {}

    def put_account_sending_attributes(self, call: Call, params: Params) -> Params:
        self._state(call).sending_enabled = params.get("SendingEnabled", False)
        return {}

    def put_account_suppression_attributes(self, call: Call, params: Params) -> Params:
        """Both members are replaced: without reasons nothing is suppressed any more (seen in 2026)."""
        state = self._state(call)
        state.suppressed_reasons = list(dict.fromkeys(params.get("SuppressedReasons") or []))
        off = {"ConditionThreshold": {"ConditionThresholdEnabled": "DISABLED"}}
        state.validation = params.get("ValidationAttributes") or off
        return {}

    def put_account_vdm_attributes(self, call: Call, params: Params) -> Params:
        """The whole block: a member that is left out is DISABLED (seen in 2026)."""
        off = {
            "DashboardAttributes": {"EngagementMetrics": "DISABLED"},
            "GuardianAttributes": {"OptimizedSharedDelivery": "DISABLED"},
        }
        self._state(call).vdm = {**off, **params["VdmAttributes"]}
        return {}

    def put_account_delivery_attributes(self, call: Call, params: Params) -> Params:
        self._state(call).delivery_mode = params["SharedPoolDeliveryMode"]
        return {}

    def put_account_dedicated_ip_warmup_attributes(self, call: Call, params: Params) -> Params:
        self._state(call).auto_warmup = params.get("AutoWarmupEnabled", False)
        return {}

    # --- suppression list ------------------------------------------------------------------------------------------

    def put_suppressed_destination(self, call: Call, params: Params) -> Params:
        self._check_name(params["EmailAddress"])
        self._state(call).suppressed[params["EmailAddress"].lower()] = (params["Reason"], call.now)
        return {}

    def get_suppressed_destination(self, call: Call, params: Params) -> Params:
        address = params["EmailAddress"].lower()
        found = self._state(call).suppressed.get(address)
        if found is None:
            raise missing(f"Email address {params['EmailAddress']} does not exist on your suppression list.")
        return {
            "SuppressedDestination": {
                "EmailAddress": address, "Reason": found[0], "LastUpdateTime": moment(found[1]),
            }
        }  # fmt: skip

    def delete_suppressed_destination(self, call: Call, params: Params) -> Params:
        address = params["EmailAddress"].lower()
        if self._state(call).suppressed.pop(address, None) is None:
            raise missing(f"Email address {params['EmailAddress']} does not exist on your suppression list.")
        return {}

    def list_suppressed_destinations(self, call: Call, params: Params) -> Params:
        reasons = params.get("Reasons")
        start = params["StartDate"].timestamp() if "StartDate" in params else 0.0
        end = params["EndDate"].timestamp() if "EndDate" in params else float("inf")
        rows = [
            {"EmailAddress": address, "Reason": reason, "LastUpdateTime": moment(at)}
            for address, (reason, at) in self._state(call).suppressed.items()
            if (not reasons or reason in reasons) and start <= at <= end
        ]
        chosen, token = page(rows, params.get("NextToken"), params.get("PageSize"), LIST_PAGE)
        return {"SuppressedDestinationSummaries": chosen, "NextToken": token}

    # --- sending ---------------------------------------------------------------------------------------------------

    def send_email(self, call: Call, params: Params) -> Params:
        """Accepts or refuses a message as SES would, and keeps nothing of it."""
        state = self._state(call)
        sender = params.get("FromEmailAddress", "")
        address = sender.rpartition("<")[2].rstrip(">").strip()
        domain = state.covering(address.rpartition("@")[2])
        candidates = [i for i in (state.find(address), domain) if i is not None]
        if not any(self.verifier.status(i, call.now) in ("SUCCESS", "TEMPORARY_FAILURE") for i in candidates):
            raise ApiError(
                "MessageRejected",
                "Email address is not verified. The following identities failed the check in region "
                f"{call.region.upper()}: {address}",
                400,
            )
        name = params.get("ConfigurationSetName") or next((i.configuration_set for i in candidates), None)
        configuration_set = state.of(SET).get(name) if name else None
        if name and configuration_set is None:
            raise bad(f"Configuration set <{name}> does not exist.")
        if not state.sending_enabled or (
            configuration_set and not configuration_set.body["SendingOptions"]["SendingEnabled"]
        ):
            raise ApiError("SendingPausedException", "Email sending is disabled.", 400)
        return {
            "MessageId": f"0100{self.world.token(12, '0123456789abcdef')}-{self.world.token(8, '0123456789abcdef')}"
        }


def check_policy(text: str) -> str:
    """A sending policy with white space removed. Raises: ApiError if it is too long or no policy document."""
    if len(text.encode()) > MAX_POLICY_BYTES:
        raise bad("Sending authorization policies can be at most 4 KB long.")
    try:
        document = json.loads(text)
    except ValueError as error:
        raise bad("The policy is not valid JSON.") from error
    if not isinstance(document, dict) or not document.get("Statement"):
        raise bad("The policy has no Statement.")
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False)


def _vdm_shown(vdm: Params) -> Params | None:
    """What GetAccount shows: nothing before the first put, and nothing but the switch while it is off."""
    if vdm.get("VdmEnabled") == "DISABLED":
        return {"VdmEnabled": "DISABLED"}
    return vdm or None
