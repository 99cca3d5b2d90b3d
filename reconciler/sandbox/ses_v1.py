"""Amazon SES, API v1, over the same state as v2: the batch reads that v2 lacks, SNS topics, and older writes.

Source: SES API v1 reference (2010-12-01). What AWS answers for a name that is no identity is not documented; the
setting ``doubt_v1_unknown_identity`` chooses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from reconciler.sandbox.kept import Kept
from reconciler.sandbox.protocol import ApiError, Params, page
from reconciler.sandbox.ses_state import Identity, Item, SesState
from reconciler.sandbox.sesv2 import SesV2, check_policy
from reconciler.sandbox.world import Call, moment

BATCH: Final = 100
SET: Final = "ConfigurationSet"
DESTINATION: Final = "ConfigurationSetEventDestination"
TEMPLATE_PARTS: Final = {"SubjectPart": "Subject", "TextPart": "Text", "HtmlPart": "Html"}
TEMPLATE_ERRORS: Final = {
    "BadRequestException": "InvalidTemplate", "AlreadyExistsException": "AlreadyExists",
    "NotFoundException": "TemplateDoesNotExist", "LimitExceededException": "LimitExceeded",
}  # fmt: skip
STATUS: Final = {
    "PENDING": "Pending", "SUCCESS": "Success", "FAILED": "Failed", "TEMPORARY_FAILURE": "TemporaryFailure",
    "NOT_STARTED": "NotStarted",
}  # fmt: skip
BEHAVIOR: Final = {"USE_DEFAULT_VALUE": "UseDefaultValue", "REJECT_MESSAGE": "RejectMessage"}
EVENTS: Final = {
    "SEND": "send", "REJECT": "reject", "BOUNCE": "bounce", "COMPLAINT": "complaint", "DELIVERY": "delivery",
    "OPEN": "open", "CLICK": "click", "RENDERING_FAILURE": "renderingFailure",
}  # fmt: skip
SOURCES: Final = {"MESSAGE_TAG": "messageTag", "EMAIL_HEADER": "emailHeader", "LINK_TAG": "linkTag"}


def invalid(message: str) -> ApiError:
    return ApiError("InvalidParameterValue", message, 400)


class SesV1:
    """The operations of API v1; writes call the v2 implementation where it has the same one."""

    name = "ses"

    def __init__(self, v2: SesV2) -> None:
        self.v2 = v2
        self.world = v2.world
        self.verifier = v2.verifier

    def _state(self, call: Call) -> SesState:
        return self.world.state(call, "ses", SesState)

    def _identity(self, call: Call, name: str) -> Identity:
        found = self._state(call).find(name)
        if found is None:
            raise invalid(f"Identity <{name}> does not exist.")
        return found

    # --- batch reads -----------------------------------------------------------------------------------------------

    def list_identities(self, call: Call, params: Params) -> Params:
        kind = {"EmailAddress": "EMAIL_ADDRESS", "Domain": "DOMAIN"}.get(params.get("IdentityType", ""))
        identities = self._state(call).identities
        names = [identities[key].name for key in sorted(identities) if kind in (None, identities[key].kind)]
        chosen, token = page(names, params.get("NextToken"), params.get("MaxItems"), 1000)
        return {"Identities": chosen, "NextToken": token}

    def _batch(
        self, call: Call, params: Params, view: Callable[[SesState, Identity], dict[str, Any] | None],
        invented: dict[str, Any] | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """One entry per identity that exists. Raises: ApiError over 100 names."""
        names = params["Identities"]
        if len(names) > BATCH:
            raise invalid(f"Too many identities; at most {BATCH}.")
        state, found = self._state(call), {}
        for name in names:
            identity = state.find(name)
            doubt = self.world.settings.doubt_v1_unknown_identity
            if identity is not None:
                shown = view(state, identity)
                if shown is not None:
                    found[name] = shown
            elif doubt == "error":
                raise invalid(f"Identity <{name}> does not exist.")
            elif doubt == "invent" and invented is not None:
                found[name] = invented
        return found

    def get_identity_verification_attributes(self, call: Call, params: Params) -> Params:
        def view(state: SesState, identity: Identity) -> dict[str, Any]:
            shown = {"VerificationStatus": STATUS[self.verifier.status(identity, call.now)]}
            if identity.txt_token:
                shown["VerificationToken"] = identity.txt_token
            return shown

        return {"VerificationAttributes": self._batch(call, params, view)}

    def get_identity_dkim_attributes(self, call: Call, params: Params) -> Params:
        def view(state: SesState, identity: Identity) -> dict[str, Any]:
            found = self.verifier.dkim_attributes(state, identity, call.now)
            shown = {"DkimEnabled": found["SigningEnabled"], "DkimVerificationStatus": STATUS[found["Status"]]}
            if found.get("Tokens"):
                shown["DkimTokens"] = found["Tokens"]
            return shown

        invented = {"DkimEnabled": False, "DkimVerificationStatus": "NotStarted"}
        return {"DkimAttributes": self._batch(call, params, view, invented)}

    def get_identity_mail_from_domain_attributes(self, call: Call, params: Params) -> Params:
        def view(state: SesState, identity: Identity) -> dict[str, Any]:
            shown = {"BehaviorOnMXFailure": BEHAVIOR[identity.mx_behavior]}
            if identity.mail_from:
                status = STATUS[self.verifier.mail_from_status(identity, call.now)]
                shown |= {"MailFromDomain": identity.mail_from, "MailFromDomainStatus": status}
            return shown

        return {"MailFromDomainAttributes": self._batch(call, params, view)}

    def get_identity_notification_attributes(self, call: Call, params: Params) -> Params:
        def view(state: SesState, identity: Identity) -> dict[str, Any]:
            shown: dict[str, Any] = {"ForwardingEnabled": identity.feedback}
            shown |= {f"{kind}Topic": topic for kind, topic in identity.topics.items()}
            for kind in identity.topics:
                shown[f"HeadersIn{kind}NotificationsEnabled"] = identity.headers_in_notifications.get(kind, False)
            return shown

        return {"NotificationAttributes": self._batch(call, params, view, {"ForwardingEnabled": True})}

    # --- writes on identities --------------------------------------------------------------------------------------

    def verify_domain_identity(self, call: Call, params: Params) -> Params:
        state, name = self._state(call), params["Domain"]
        identity = state.find(name)
        if identity is None:
            identity = self.v2.new_identity(call, name)
            if identity.kind != "DOMAIN":
                raise invalid(f"Invalid domain name {name}.")
            identity.dkim.started, identity.signing_enabled = None, False
            state.identities[state.key(name)] = identity
        identity.txt_token = identity.txt_token or self.world.token(44)
        return {"VerificationToken": identity.txt_token}

    def verify_domain_dkim(self, call: Call, params: Params) -> Params:
        """Makes the domain an identity if it is none, and starts a DKIM verification that failed or never ran."""
        state, name = self._state(call), params["Domain"]
        identity = state.find(name)
        if identity is None:
            identity = self.v2.new_identity(call, name)
            state.identities[state.key(name)] = identity
        if identity.dkim.started is None or identity.dkim.status == "FAILED":
            identity.dkim.start(call.now)
        return {"DkimTokens": self.verifier.tokens(identity)}

    def verify_email_identity(self, call: Call, params: Params) -> Params:
        state, name = self._state(call), params["EmailAddress"]
        identity = state.find(name)
        if identity is None:
            state.identities[state.key(name)] = self.v2.new_identity(call, name)
        else:
            identity.address_requested = call.now
        return {}

    def delete_identity(self, call: Call, params: Params) -> Params:
        """Deleting what does not exist succeeds in v1."""
        if self._state(call).find(params["Identity"]) is not None:
            self.v2.delete_email_identity(call, {"EmailIdentity": params["Identity"]})
        return {}

    def set_identity_dkim_enabled(self, call: Call, params: Params) -> Params:
        identity = self._identity(call, params["Identity"])
        if params["DkimEnabled"] and self.verifier.dkim_status(identity, call.now) != "SUCCESS":
            raise invalid(f"Identity <{identity.name}> is not verified for DKIM signing.")
        identity.signing_enabled = params["DkimEnabled"]
        return {}

    def set_identity_mail_from_domain(self, call: Call, params: Params) -> Params:
        behavior = {v: k for k, v in BEHAVIOR.items()}[params.get("BehaviorOnMXFailure", "UseDefaultValue")]
        given = {"EmailIdentity": params["Identity"], "BehaviorOnMxFailure": behavior}
        if params.get("MailFromDomain"):
            given["MailFromDomain"] = params["MailFromDomain"]
        self._identity(call, params["Identity"])
        return self.v2.put_email_identity_mail_from_attributes(call, given)

    def set_identity_feedback_forwarding_enabled(self, call: Call, params: Params) -> Params:
        identity = self._identity(call, params["Identity"])
        if not params["ForwardingEnabled"] and not {"Bounce", "Complaint"} <= identity.topics.keys():
            raise invalid(
                f"Identity <{identity.name}> must have SNS topics for bounces and complaints before feedback "
                "forwarding can be disabled."
            )
        identity.feedback = params["ForwardingEnabled"]
        return {}

    def set_identity_notification_topic(self, call: Call, params: Params) -> Params:
        identity, kind = self._identity(call, params["Identity"]), params["NotificationType"]
        if topic := params.get("SnsTopic"):
            parts = topic.split(":")
            there = call.world.current("sns", call.account, call.region, Kept).of("Topic")
            if parts[2:4] != ["sns", call.region] or topic.endswith(".fifo"):
                raise invalid(f"Invalid SNS topic: {topic}")
            if self.world.settings.check_targets and parts[4:5] == [call.account] and parts[-1] not in there:
                raise invalid(f"Invalid SNS topic: {topic}")
            identity.topics[kind] = topic
            return {}
        if kind in ("Bounce", "Complaint") and not identity.feedback:
            raise invalid(f"The {kind} topic is needed while feedback forwarding is disabled.")
        identity.topics.pop(kind, None)
        identity.headers_in_notifications.pop(kind, None)
        return {}

    def set_identity_headers_in_notifications_enabled(self, call: Call, params: Params) -> Params:
        identity = self._identity(call, params["Identity"])
        if params["NotificationType"] not in identity.topics:
            raise invalid(f"Identity <{identity.name}> has no SNS topic for {params['NotificationType']}.")
        identity.headers_in_notifications.pop(params["NotificationType"], None)
        if params["Enabled"]:
            identity.headers_in_notifications[params["NotificationType"]] = True
        return {}

    def list_identity_policies(self, call: Call, params: Params) -> Params:
        return {"PolicyNames": sorted(self._identity(call, params["Identity"]).policies)}

    def get_identity_policies(self, call: Call, params: Params) -> Params:
        policies = self._identity(call, params["Identity"]).policies
        return {"Policies": {n: policies[n] for n in params["PolicyNames"] if n in policies}}

    def put_identity_policy(self, call: Call, params: Params) -> Params:
        self._identity(call, params["Identity"]).policies[params["PolicyName"]] = check_policy(params["Policy"])
        return {}

    def delete_identity_policy(self, call: Call, params: Params) -> Params:
        self._identity(call, params["Identity"]).policies.pop(params["PolicyName"], None)
        return {}

    # --- configuration sets ----------------------------------------------------------------------------------------

    def _set(self, call: Call, name: str) -> Item:
        found = self._state(call).of(SET).get(name)
        if found is None:
            raise ApiError("ConfigurationSetDoesNotExist", f"Configuration set <{name}> does not exist.", 400)
        return found

    def list_configuration_sets(self, call: Call, params: Params) -> Params:
        names = sorted(self._state(call).of(SET))
        chosen, token = page(names, params.get("NextToken"), params.get("MaxItems"), 1000)
        return {"ConfigurationSets": [{"Name": name} for name in chosen], "NextToken": token}

    def describe_configuration_set(self, call: Call, params: Params) -> Params:
        found = self._set(call, params["ConfigurationSetName"])
        wanted, shown = params.get("ConfigurationSetAttributeNames", []), {"ConfigurationSet": {"Name": found.name}}
        answer: Params = dict(shown)
        if "eventDestinations" in wanted:
            listed = self.v2.plain["GetConfigurationSetEventDestinations"](call, params)["EventDestinations"]
            answer["EventDestinations"] = [d for one in listed if (d := _destination(one))]
        if "trackingOptions" in wanted and "TrackingOptions" in found.body:
            domain = found.body["TrackingOptions"]["CustomRedirectDomain"]
            answer["TrackingOptions"] = {"CustomRedirectDomain": domain}
        if "deliveryOptions" in wanted:
            policy = found.body.get("DeliveryOptions", {}).get("TlsPolicy", "OPTIONAL")
            answer["DeliveryOptions"] = {"TlsPolicy": policy.capitalize()}
        if "reputationOptions" in wanted:
            answer["ReputationOptions"] = {**found.body["SendingOptions"], **found.body["ReputationOptions"]}
        return answer

    def create_configuration_set(self, call: Call, params: Params) -> Params:
        name = params["ConfigurationSet"]["Name"]
        if name in self._state(call).of(SET):
            raise ApiError("ConfigurationSetAlreadyExists", f"Configuration set <{name}> already exists.", 400)
        create = self.v2.plain["CreateConfigurationSet"]
        return _in_v1("InvalidConfigurationSet", create, call, {"ConfigurationSetName": name})

    def delete_configuration_set(self, call: Call, params: Params) -> Params:
        self._set(call, params["ConfigurationSetName"])
        return self.v2.plain["DeleteConfigurationSet"](call, params)

    def put_configuration_set_delivery_options(self, call: Call, params: Params) -> Params:
        found = self._set(call, params["ConfigurationSetName"])
        policy = params.get("DeliveryOptions", {}).get("TlsPolicy", "Optional").upper()
        found.body["DeliveryOptions"] = {**found.body.get("DeliveryOptions", {}), "TlsPolicy": policy}
        return {}

    def update_configuration_set_reputation_metrics_enabled(self, call: Call, params: Params) -> Params:
        given = {**params, "ReputationMetricsEnabled": params["Enabled"]}
        self._set(call, params["ConfigurationSetName"])
        return self.v2.plain["PutConfigurationSetReputationOptions"](call, given)

    def update_configuration_set_sending_enabled(self, call: Call, params: Params) -> Params:
        self._set(call, params["ConfigurationSetName"]).body["SendingOptions"] = {"SendingEnabled": params["Enabled"]}
        return {}

    def _track(self, call: Call, params: Params, options: Params) -> Params:
        self._set(call, params["ConfigurationSetName"])
        given = {"ConfigurationSetName": params["ConfigurationSetName"], **options}
        return _in_v1("InvalidTrackingOptions", self.v2.plain["PutConfigurationSetTrackingOptions"], call, given)

    def create_configuration_set_tracking_options(self, call: Call, params: Params) -> Params:
        if "TrackingOptions" in self._set(call, params["ConfigurationSetName"]).body:
            raise ApiError("TrackingOptionsAlreadyExistsException", "The set has tracking options already.", 400)
        return self._track(call, params, params["TrackingOptions"])

    def update_configuration_set_tracking_options(self, call: Call, params: Params) -> Params:
        self._tracked(call, params)
        return self._track(call, params, params["TrackingOptions"])

    def delete_configuration_set_tracking_options(self, call: Call, params: Params) -> Params:
        del self._tracked(call, params).body["TrackingOptions"]
        return {}

    def _tracked(self, call: Call, params: Params) -> Item:
        found = self._set(call, params["ConfigurationSetName"])
        if "TrackingOptions" not in found.body:
            raise ApiError("TrackingOptionsDoesNotExistException", "The set has no tracking options.", 400)
        return found

    def create_configuration_set_event_destination(self, call: Call, params: Params) -> Params:
        found, given = self._set(call, params["ConfigurationSetName"]), params["EventDestination"]
        if given["Name"] in found.of(DESTINATION):
            raise ApiError("EventDestinationAlreadyExists", f"Event destination <{given['Name']}> already exists.", 400)
        create = self.v2.plain["Create" + DESTINATION]
        return _in_v1("InvalidParameterValue", create, call, _definition(params))

    def update_configuration_set_event_destination(self, call: Call, params: Params) -> Params:
        self._destination(call, params["ConfigurationSetName"], params["EventDestination"]["Name"])
        update = self.v2.plain["Update" + DESTINATION]
        return _in_v1("InvalidParameterValue", update, call, _definition(params))

    def delete_configuration_set_event_destination(self, call: Call, params: Params) -> Params:
        self._destination(call, params["ConfigurationSetName"], params["EventDestinationName"])
        return self.v2.plain["Delete" + DESTINATION](call, params)

    def _destination(self, call: Call, set_name: str, name: str) -> None:
        if name not in self._set(call, set_name).of(DESTINATION):
            raise ApiError("EventDestinationDoesNotExist", f"Event destination <{name}> does not exist.", 400)

    # --- templates: the ones of v2 ---------------------------------------------------------------------------------

    def _template(self, verb: str, call: Call, params: Params) -> Params:
        """What the v2 operation does, with its errors under v1's codes."""
        try:
            return self.v2.plain[f"{verb}EmailTemplate"](call, params)
        except ApiError as error:
            raise ApiError(TEMPLATE_ERRORS.get(error.code, error.code), error.message, 400) from error

    @staticmethod
    def _content(params: Params) -> Params:
        """A v1 template in v2's terms."""
        given = params["Template"]
        content = {v2: given[v1] for v1, v2 in TEMPLATE_PARTS.items() if v1 in given}
        return {"TemplateName": given["TemplateName"], "TemplateContent": content}

    def create_template(self, call: Call, params: Params) -> Params:
        return self._template("Create", call, self._content(params))

    def update_template(self, call: Call, params: Params) -> Params:
        return self._template("Update", call, self._content(params))

    def get_template(self, call: Call, params: Params) -> Params:
        found = self._template("Get", call, params)
        parts = {v1: found["TemplateContent"].get(v2) for v1, v2 in TEMPLATE_PARTS.items()}
        return {"Template": {"TemplateName": found["TemplateName"], **parts}}

    def delete_template(self, call: Call, params: Params) -> Params:
        """Deleting what does not exist succeeds in v1."""
        if params["TemplateName"] in self._state(call).of("EmailTemplate"):
            self._template("Delete", call, params)
        return {}

    def list_templates(self, call: Call, params: Params) -> Params:
        given = {"PageSize": params.get("MaxItems"), "NextToken": params.get("NextToken")}
        found = self.v2.plain["ListEmailTemplates"](call, given)
        rows = [
            {"Name": t["TemplateName"], "CreatedTimestamp": t["CreatedTimestamp"]} for t in found["TemplatesMetadata"]
        ]
        return {"TemplatesMetadata": rows, "NextToken": found["NextToken"]}

    # --- account ---------------------------------------------------------------------------------------------------

    def get_send_quota(self, call: Call, params: Params) -> Params:
        return dict(self._state(call).quota)

    def get_send_statistics(self, call: Call, params: Params) -> Params:
        """The last two weeks (SES API, GetSendStatistics)."""
        first = call.now - 14 * 86400
        names = ("DeliveryAttempts", "Bounces", "Complaints", "Rejects")
        points = [p for p in self._state(call).sent if p[0] >= first]
        return {"SendDataPoints": [{"Timestamp": moment(at), **dict(zip(names, c, strict=True))} for at, *c in points]}

    def get_account_sending_enabled(self, call: Call, params: Params) -> Params:
        return {"Enabled": self._state(call).sending_enabled}

    def update_account_sending_enabled(self, call: Call, params: Params) -> Params:
        self._state(call).sending_enabled = params.get("Enabled", False)
        return {}


def _destination(found: dict[str, Any]) -> dict[str, Any] | None:
    """A destination in v1's terms; None for the kinds that v1 does not know."""
    shown: dict[str, Any] = {
        "Name": found["Name"],
        "Enabled": found["Enabled"],
        "MatchingEventTypes": [EVENTS[e] for e in found["MatchingEventTypes"] if e in EVENTS],
    }
    if body := found.get("CloudWatchDestination"):
        shown["CloudWatchDestination"] = {
            "DimensionConfigurations": [
                {**d, "DimensionValueSource": SOURCES[d["DimensionValueSource"]]}
                for d in body["DimensionConfigurations"]
            ]
        }
    elif body := found.get("KinesisFirehoseDestination"):
        shown["KinesisFirehoseDestination"] = {
            "IAMRoleARN": body["IamRoleArn"],
            "DeliveryStreamARN": body["DeliveryStreamArn"],
        }
    elif body := found.get("SnsDestination"):
        shown["SNSDestination"] = {"TopicARN": body["TopicArn"]}
    else:
        return None
    return shown


def _definition(params: Params) -> Params:
    """A v1 event destination in v2's terms."""
    given = params["EventDestination"]
    events, sources = {v: k for k, v in EVENTS.items()}, {v: k for k, v in SOURCES.items()}
    definition: Params = {
        "Enabled": given.get("Enabled", False),
        "MatchingEventTypes": [events[e] for e in given["MatchingEventTypes"]],
    }
    if body := given.get("CloudWatchDestination"):
        definition["CloudWatchDestination"] = {
            "DimensionConfigurations": [
                {**d, "DimensionValueSource": sources[d["DimensionValueSource"]]}
                for d in body["DimensionConfigurations"]
            ]
        }
    if body := given.get("KinesisFirehoseDestination"):
        definition["KinesisFirehoseDestination"] = {
            "IamRoleArn": body["IAMRoleARN"],
            "DeliveryStreamArn": body["DeliveryStreamARN"],
        }
    if body := given.get("SNSDestination"):
        definition["SnsDestination"] = {"TopicArn": body["TopicARN"]}
    return {
        "ConfigurationSetName": params["ConfigurationSetName"],
        "EventDestinationName": given["Name"],
        "EventDestination": definition,
    }


def _in_v1(code: str, act: Callable[[Call, Params], Params], call: Call, params: Params) -> Params:
    """What the v2 operation does, with its bad requests under v1's code."""
    try:
        return act(call, params)
    except ApiError as error:
        raise ApiError(
            "LimitExceeded" if error.code == "LimitExceededException" else code, error.message, 400
        ) from error
