"""What the codes mean that outputs print in brackets and that are no rules, the outcomes of the JSON, and where the
pages of rules are.

The texts of the codes are those of the sources: ``make docs`` gathers them in ``codes.json``.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Final, TypedDict

OUTCOMES: Final[Mapping[str, str]] = {
    "no_changes": "AWS is as declared, or a check has found nothing. Exit 0.",
    "changes": "The plan has changes, drift has found differences, or a check has found something. Exit 2; plan: 0 "
    "without `--detailed-exitcode`.",
    "applied": "All that the plan shows was carried out. Exit 0.",
    "partial": "A part was carried out; the rest failed, or was skipped because it is refused. The result names each. "
    "Applying again is safe. Exit 1; 3 where nothing failed.",
    "not_applied_yet": "Drift: the YAML has changed since the last apply, and that explains every difference. Exit 2.",
    "not_started": "Apply stopped before its first write. Applying again is safe. Exit 1.",
    "verify_timeout": "SES has not verified an identity in time. Applying again is safe: it waits again. Exit 1.",
    "stale": "A saved plan is not what planning gives now, or was edited. Nothing was written. Exit 3.",
    "locked": "Another run holds the lock of the stack. Nothing was written. Exit 3.",
    "refused": "A safeguard refused the run, or changes of it. What is refused was not written. Exit 3.",
    "invalid": "The YAML is wrong. AWS was not asked. Exit 1.",
    "valid": "The YAML is right. Exit 0.",
    "error": "Something could not be read or done; the diagnostics say what. Exit 1.",
    "interrupted": "The journal: the run was stopped by Ctrl-C or SIGTERM. Exit 130.",
}
"""The ``outcome`` of JSON documents and of the journal, and the exit code that goes with it."""

WORDS: Final[Mapping[str, str]] = {
    "address-twin": "SES has another address identity that differs from this one in upper and lower case alone.",
    "adopt": "Live things without an owner would be adopted. Apply asks for `--allow-adopt`; a saved plan is consent "
    "enough.",
    "bad-role-arn": "A `role_arn` is not the ARN of an IAM role, or is in another partition than the stack.",
    "bad-<key>": "A value of this key has the wrong form; the message says what is wanted.",
    "caused-by": "Drift: the event of CloudTrail that made a difference, when, and by whom.",
    "consumer-unacknowledged": "An old access key is held for a consumer that nobody has acknowledged: give it the new "
    "password, then `recon smtp ack USER CONSUMER`. Drift exits with 2.",
    "credential-deleted": "The access key is deleted at once, its stored secret with AWS's time to restore it.",
    "credential-report": "Ages and last uses of access keys are from IAM's credential report, which has no key ids.",
    "doctor-<layer>": "What `recon doctor` has found, or could not check, in this layer of mail delivery.",
    "foreign-key": "A user has an access key that recon did not create. Whoever has its secret can send as that user. "
    "Ask who created it (CreateAccessKey in CloudTrail); if nobody knows it, switch it off, which can be undone: `aws "
    "iam update-access-key --status Inactive`. `recon smtp rotate USER --replace KEYID` rotates it out.",
    "heartbeat": "Drift: everything was read and nothing differs; when that was, and when the state was last applied.",
    "insync-late": "Route 53 has not published a change within two minutes; it does so by itself.",
    "insync-unknown": "It could not be read whether Route 53 has published a change.",
    "key-makes-room": "An access key of the stack's own is deleted, since IAM allows a user two and a new one is "
    "needed.",
    "max-deletes": "The plan deletes more declared things than `stack.max_deletes`: read them, then `--allow-deletes "
    "N`.",
    "not-sayable": "Import: recon's YAML cannot express this resource, so it was left out.",
    "not-shown-yet": "Import: AWS does not show the settings of a subscription until it is confirmed.",
    "others-kept": "Values of others at the same name stay as they are.",
    "owned-unknown": "Import: which stack owns something could not be read.",
    "pool-way-back": "SES changes no pool from MANAGED to STANDARD: declare MANAGED, or another pool.",
    "principals-unread": "Users, roles or groups of IAM could not be listed, so that senders may be missing.",
    "resume-sending": "Sending is off live, and the plan would turn it on. Somebody may have stopped it on purpose; if "
    "it should run again, apply with `--resume-sending`.",
    "role-in-another-account": "A `role_arn` is in another account than the stack, or its zones.",
    "rotation-<phase>": "The rotation of an access key cannot go on by itself; the hint says what is missing.",
    "rotation-due": "A step of the rotation of an access key is due: `recon smtp rotate --due`.",
    "rotation-note": "What a rotation did beside the change of the key.",
    "rotation-overdue": "A step of the rotation of an access key has been due for some time: see whether `recon smtp "
    "rotate --due` still runs every day.",
}
"""What the codes mean whose messages the sources put together in several places."""

FILE: Final = Path(__file__).with_name("codes.json")


class Text(TypedDict):
    """What is printed with a code, ``<name>`` for each value, and what to do; empty where the sources do not say it in
    one place."""

    message: str
    hint: str


@cache
def codes() -> Mapping[str, list[Text]]:
    """Every code that is no rule, with what is printed with it."""
    found: dict[str, list[Text]] = json.loads(FILE.read_text(encoding="utf-8"))
    return found


def known() -> set[str]:
    """All codes and outcomes, for suggestions."""
    return {*codes(), *OUTCOMES}


def key_of(code: str) -> str | None:
    """The key of a code in ``codes`` or ``OUTCOMES``: itself, or its form (``two-<group>``). None for others."""
    if code in known():
        return code
    forms = (key for key in codes() if "<" in key)
    return next((key for key in forms if re.fullmatch(re.sub("<.*?>", "[a-z0-9_]+", key), code)), None)


def page(code: str) -> str:
    """The explanation of a code or an outcome in Markdown. Raises KeyError for any other."""
    key = key_of(code)
    if key is None:
        raise KeyError(code)
    outcome = [f"An outcome. {OUTCOMES[key]}", ""] if key in OUTCOMES else []
    return "\n".join([f"# {code}", "", *outcome, *printed(key, codes().get(key, []))]).rstrip() + "\n"


_URL: Final = re.compile(r"https?://[^\s\"'<>`{}]+\{id\}[^\s\"'<>`{}]*")


def rule_page(code: str) -> str:
    """The address of a rule's page where somebody publishes these: ``RECON_RULES_URL``, such as
    ``https://docs.acme.com/recon/rules/{id}.html``, with the id put in. "" without it, and for a code that is no rule.
    """
    template = os.environ.get("RECON_RULES_URL", "")
    if not _URL.fullmatch(template) or not re.fullmatch(r"[a-z0-9-]+", code) or key_of(code):
        return ""
    return template.replace("{id}", code)


def printed(code: str, texts: Iterable[Text]) -> list[str]:
    """What a code means, and what is printed with it, as lines of Markdown."""
    lines = [WORDS[code], ""] if code in WORDS else []
    for text in texts:
        lines.append(f"- {_quoted(text['message'])}")
        lines += [f"  - what to do: {_quoted(text['hint'])}"] * bool(text["hint"])
    return lines


def _quoted(text: str) -> str:
    return f"`` {text} ``" if "`" in text else f"`{text}`"
