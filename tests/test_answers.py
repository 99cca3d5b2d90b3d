"""Answers held against AWS's own model: what is odd is an error that names where, and nothing else is changed."""

from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime
from functools import cache
from typing import Any

import pytest

from reconciler.aws.answers import AwsResponse, validated
from reconciler.errors import AwsError

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
IDENTITY: dict[str, Any] = {
    "IdentityType": "DOMAIN",
    "VerifiedForSendingStatus": True,
    "DkimAttributes": {"Tokens": ["a", "b"], "SigningEnabled": True, "LastKeyGenerationTimestamp": MOMENT},
    "Policies": {"partner": "{}"},
    "Tags": [{"Key": "team", "Value": "mail"}],
}


@cache
def shape(service: str, operation: str) -> Any:
    import boto3

    return boto3.client(service, region_name="us-east-1").meta.service_model.operation_model(operation).output_shape


def read(answer: Any, service: str = "sesv2", operation: str = "GetEmailIdentity") -> Any:
    return validated(answer, shape(service, operation), (service, operation, "us-east-1"))


def test_what_fits_is_handed_on_as_it_is() -> None:
    found = read(IDENTITY)
    assert found == IDENTITY
    assert isinstance(found["DkimAttributes"], AwsResponse)
    assert isinstance(found["Tags"][0], AwsResponse)


def test_null_is_absent_and_what_nobody_knows_is_dropped() -> None:
    assert read(
        {"IdentityType": None, "Weather": "fine", "Tags": [{"Key": "a", "Value": "b", "AmbiguousScalar": 1}]}
    ) == {"Tags": [{"Key": "a", "Value": "b"}]}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ([], "it is not of type structure"),
        ({"IdentityType": 7}, "IdentityType is not of type string"),
        ({"VerifiedForSendingStatus": "yes"}, "VerifiedForSendingStatus is not of type boolean"),
        ({"DkimAttributes": []}, "DkimAttributes is not of type structure"),
        ({"DkimAttributes": {"Tokens": "abc"}}, "DkimAttributes.Tokens is not of type list"),
        ({"DkimAttributes": {"Tokens": ["a", 1]}}, "DkimAttributes.Tokens[1] is not of type string"),
        (
            {"DkimAttributes": {"LastKeyGenerationTimestamp": "now"}},
            "LastKeyGenerationTimestamp is not of type timestamp",
        ),
        ({"Tags": [{"Key": "a", "Value": "b"}, {"Key": {}}]}, "Tags[1].Key is not of type string"),
        ({"Tags": [None]}, "Tags[0] is not of type structure"),
        ({"Policies": []}, "Policies is not of type map"),
        ({"Policies": {"partner": 1}}, "Policies.partner is not of type string"),
        ({"Policies": {7: "{}"}}, "Policies has a key that is not a string"),
    ],
)
def test_what_does_not_fit_is_named(answer: Any, words: str) -> None:
    with pytest.raises(AwsError) as caught:
        read(answer)
    assert f": {words}" in caught.value.message or f".{words}" in caught.value.message
    assert "sesv2 GetEmailIdentity in us-east-1" in caught.value.message
    assert caught.value.aws_code == "OddAnswer"


def test_a_flag_is_not_a_number() -> None:
    assert read({"SendQuota": {"Max24HourSend": 5}}, "sesv2", "GetAccount") == {"SendQuota": {"Max24HourSend": 5}}
    with pytest.raises(AwsError, match=r"TTL is not of type long"):
        read({"ResourceRecordSets": [{"TTL": True}]}, "route53", "ListResourceRecordSets")


def test_policies_that_botocore_has_decoded_are_taken() -> None:
    answer = {"UserName": "u", "PolicyName": "p", "PolicyDocument": {"Version": "2012-10-17"}}
    assert read(answer, "iam", "GetUserPolicy") == answer


def test_a_missing_member_is_an_error_of_ours_only_where_it_is_needed() -> None:
    found = read({"DkimAttributes": {}})
    assert found.get("Tags") is None
    with pytest.raises(AwsError, match="IdentityType is missing"):
        found["IdentityType"]
    for twin in (copy.deepcopy(found), pickle.loads(pickle.dumps(found))):
        assert twin == found
        with pytest.raises(AwsError, match="Tokens is missing"):
            twin["DkimAttributes"]["Tokens"]


def test_an_operation_without_an_answer() -> None:
    assert validated({"whatever": 1}, None, ("sesv2", "TagResource", "us-east-1")) == {}
