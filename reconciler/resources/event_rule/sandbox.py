"""Amazon EventBridge: the rules of the default bus with their targets. Nothing is delivered.

``TestEventPattern`` knows the operators exists, prefix, suffix, anything-but and equals-ignore-case, and ``$or``.
A rule with ``ManagedBy`` is one that an AWS service manages. Source: EventBridge API reference; EventBridge User Guide,
"Event patterns" and "Quotas".
"""

from __future__ import annotations

import json
from typing import Any

from reconciler.sandbox.kept import KeptService, Noun, with_tags
from reconciler.sandbox.protocol import ApiError, Params, page
from reconciler.sandbox.ses_state import Item
from reconciler.sandbox.world import Call

KEPT = ("EventPattern", "ScheduleExpression", "Description", "RoleArn")
MOST_TARGETS, MOST_RULES = 5, 300


def invalid(message: str) -> ApiError:
    return ApiError("ValidationException", message, 400)


class Events(KeptService):
    name = "events"
    nouns = {"Rule": Noun("rule/", "events:rule")}
    names = {"Name": "Rule", "Rule": "Rule"}
    arns = ("ResourceARN",)

    def _rule(self, call: Call, name: str) -> Item:
        found = self.kept(call).of("Rule").get(name)
        if found is None:
            raise ApiError("ResourceNotFoundException", f"Rule {name} does not exist on EventBus default.", 400)
        return found

    def _own(self, call: Call, name: str) -> Item:
        """A rule that may be changed."""
        found = self._rule(call, name)
        if by := found.body.get("ManagedBy"):
            raise ApiError("ManagedRuleException", f"Rule {name} is managed by {by}.", 400)
        return found

    def put_rule(self, call: Call, params: Params) -> Params:
        """Replaces: what is left out is not there any more, and the rule is enabled. Tags count for new rules alone."""
        name, rules = params["Name"], self.kept(call).of("Rule")
        if not params.get("EventPattern") and not params.get("ScheduleExpression"):
            raise invalid("Parameter(s) EventPattern or ScheduleExpression must be specified.")
        _read(params.get("EventPattern"))
        there = self._own(call, name) if name in rules else None
        if there is None and len(rules) >= MOST_RULES:
            raise ApiError("LimitExceededException", "The requested resource exceeds the maximum number allowed.", 400)
        body = {**{key: params[key] for key in KEPT if params.get(key)}, "State": params.get("State", "ENABLED")}
        if there is None:
            rules[name] = Item(name, call.now, call.now, body, with_tags({}, params.get("Tags") or []))
        else:
            there.body = body
        return {"RuleArn": self.arn(call, "Rule", name)}

    def _shown(self, call: Call, item: Item) -> Params:
        return {"Name": item.name, "Arn": self.arn(call, "Rule", item.name), "EventBusName": "default", **item.body}

    def describe_rule(self, call: Call, params: Params) -> Params:
        return {**self._shown(call, self._rule(call, params["Name"])), "CreatedBy": call.account}

    def list_rules(self, call: Call, params: Params) -> Params:
        names = [n for n in sorted(self.kept(call).of("Rule")) if n.startswith(params.get("NamePrefix", ""))]
        rows, token = page(names, params.get("NextToken"), params.get("Limit"), 100)
        return {"Rules": [self._shown(call, self._rule(call, name)) for name in rows], "NextToken": token}

    def enable_rule(self, call: Call, params: Params) -> Params:
        self._own(call, params["Name"]).body["State"] = "ENABLED"
        return {}

    def disable_rule(self, call: Call, params: Params) -> Params:
        self._own(call, params["Name"]).body["State"] = "DISABLED"
        return {}

    def delete_rule(self, call: Call, params: Params) -> Params:
        """Deleting one that does not exist succeeds."""
        if params["Name"] in self.kept(call).of("Rule"):
            if self._own(call, params["Name"]).of("Target"):
                raise invalid("Rule can't be deleted since it has targets.")
            del self.kept(call).of("Rule")[params["Name"]]
        return {}

    # --- targets ---------------------------------------------------------------------------------------------------

    def put_targets(self, call: Call, params: Params) -> Params:
        targets = self._own(call, params["Rule"]).of("Target")
        for target in params["Targets"]:
            if target["Arn"].count(":") < 5:
                raise invalid(f"Parameter {target['Arn']} is not valid. Reason: Provided Arn is not in correct format.")
            if sum(1 for key in ("Input", "InputPath", "InputTransformer") if target.get(key)) > 1:
                raise invalid(f"Only one of Input, InputPath, or InputTransformer must be provided for target "
                              f"{target['Id']}.")  # fmt: skip
            _template(target)
        if len({*targets, *(target["Id"] for target in params["Targets"])}) > MOST_TARGETS:
            raise ApiError("LimitExceededException", "The requested resource exceeds the maximum number allowed.", 400)
        for target in params["Targets"]:
            targets[target["Id"]] = Item(target["Id"], call.now, call.now, dict(target))
        return {"FailedEntryCount": 0, "FailedEntries": []}

    def remove_targets(self, call: Call, params: Params) -> Params:
        targets = self._own(call, params["Rule"]).of("Target")
        for name in params["Ids"]:
            targets.pop(name, None)
        return {"FailedEntryCount": 0, "FailedEntries": []}

    def list_targets_by_rule(self, call: Call, params: Params) -> Params:
        targets = self._rule(call, params["Rule"]).of("Target")
        rows, token = page(list(targets.values()), params.get("NextToken"), params.get("Limit"), 100)
        return {"Targets": [one.body for one in rows], "NextToken": token}

    def list_rule_names_by_target(self, call: Call, params: Params) -> Params:
        names = [
            name for name, rule in sorted(self.kept(call).of("Rule").items())
            if any(one.body["Arn"] == params["TargetArn"] for one in rule.of("Target").values())
        ]  # fmt: skip
        return {"RuleNames": names}

    def test_event_pattern(self, call: Call, params: Params) -> Params:
        return {"Result": _matches(_read(params["EventPattern"]), json.loads(params["Event"]))}


def _read(text: str | None) -> Any:
    """A pattern. Raises: ApiError where it is none: maps all the way down, whose leaves are lists."""
    try:
        pattern = json.loads(text or "{}")
    except ValueError:
        raise ApiError("InvalidEventPatternException", "Event pattern is not valid. Reason: not JSON", 400) from None

    def check(node: Any) -> None:
        if not isinstance(node, dict):
            raise ApiError("InvalidEventPatternException", "Event pattern is not valid. Reason: Filter is not an "
                           "object", 400)  # fmt: skip
        for key, value in node.items():
            if isinstance(value, list) and not value:
                raise ApiError("InvalidEventPatternException", "Event pattern is not valid. Reason: Empty arrays are "
                               "not allowed", 400)  # fmt: skip
            if not isinstance(value, list | dict):
                raise ApiError("InvalidEventPatternException", f'Event pattern is not valid. Reason: "{key}" must be '
                               "an object or an array", 400)  # fmt: skip
            if isinstance(value, dict):
                check(value)

    check(pattern)
    return pattern


def _template(target: Params) -> None:
    """Check that a template is JSON once its places are filled. Raises: ApiError."""
    given = target.get("InputTransformer")
    if not given:
        return
    text = given["InputTemplate"]
    for name in given.get("InputPathsMap") or ():
        text = text.replace(f"<{name}>", "0")
    try:
        json.loads(text)
    except ValueError:
        raise invalid(f'Invalid InputTemplate for target {target["Id"]} : [Source: (String)"{text}"].') from None


def _matches(pattern: Any, event: Any) -> bool:
    for key, wanted in pattern.items():
        if key == "$or":
            if not any(_matches(one, event) for one in wanted):
                return False
            continue
        there = event.get(key) if isinstance(event, dict) else None
        if isinstance(wanted, dict):
            if not _matches(wanted, there or {}):
                return False
        elif not any(_fits(one, there) for one in wanted):
            return False
    return True


def _fits(wanted: Any, value: Any) -> bool:
    if isinstance(value, list):
        return any(_fits(wanted, one) for one in value)
    if not isinstance(wanted, dict):
        return bool(wanted == value and type(wanted) is type(value))
    ((operator, operand),) = wanted.items()
    if operator == "exists":
        return (value is not None) is operand
    if value is None:
        return False
    if operator == "anything-but":
        return not any(_fits(one, value) for one in (operand if isinstance(operand, list) else [operand]))
    operands, text = operand if isinstance(operand, list) else [operand], str(value)
    if operator == "equals-ignore-case":
        return any(text.lower() == one.lower() for one in operands)
    return any((text.startswith if operator == "prefix" else text.endswith)(one) for one in operands)


SERVICE = Events
