"""The one door to AWS: what is repeated and what never, and errors that say who, what and why, but no secret."""

from __future__ import annotations

import http.server
import threading
from typing import Any

import pytest
from botocore import exceptions as boto
from support import ACCOUNT, HOME, House

from reconciler.aws import Aws
from reconciler.aws.actions import iam_action
from reconciler.aws.foreign_errors import translate
from reconciler.errors import ABSENT, AwsError
from reconciler.model import Stack


@pytest.fixture
def aws(house: House) -> Aws:
    return Aws(Stack("acme", None, ACCOUNT, (HOME,)), parallelism=2)


def refused(code: str, message: str = "words", status: int = 400, **more: Any) -> boto.ClientError:
    meta = {"HTTPStatusCode": status, "RequestId": "req-1"}
    return boto.ClientError({"Error": {"Code": code, "Message": message}, "ResponseMetadata": meta, **more}, "Op")


# --- errors --------------------------------------------------------------------------------------------------------


def test_an_error_says_operation_place_code_and_request() -> None:
    error = translate(refused("BadRequestException", "no such pool"), "sesv2", "PutX", "eu-west-1")
    assert error.message == "sesv2 PutX in eu-west-1: AWS said BadRequestException: no such pool (request req-1)"
    assert (error.aws_code, error.status, error.request_id) == ("BadRequestException", 400, "req-1")


def test_a_denial_names_the_permission_to_allow() -> None:
    error = translate(refused("AccessDeniedException", status=403), "sesv2", "GetEmailIdentity", HOME)
    assert "ses:GetEmailIdentity" in error.hint
    assert iam_action("resourcegroupstaggingapi", "GetResources") == "tag:GetResources"
    assert iam_action("route53", "ListHostedZones") == "route53:ListHostedZones"


def test_all_messages_of_a_refused_batch_are_in_the_error() -> None:
    error = translate(refused("InvalidChangeBatch", "", messages=["one", "two"]), "route53", "Change", HOME)
    assert "one; two" in error.message


@pytest.mark.parametrize(
    "secret", ["s3cr3t", "line one\nline two s3cr3t", "a, type: b, valid s3cr3t", "x, valid types: s3cr3t"]
)
def test_a_request_that_does_not_fit_shows_no_value(secret: str) -> None:
    report = (
        f"Invalid type for parameter SecretString, value: {secret}, type: <class 'int'>, valid types: <class 'str'>\n"
        f"Invalid type for parameter Other, value: {secret}, type: <class 'int'>, valid types: <class 'str'>"
    )
    error = translate(boto.ParamValidationError(report=report), "secretsmanager", "PutSecretValue", HOME)
    assert "s3cr3t" not in error.message
    assert "line" not in error.message
    assert "SecretString" in error.message
    assert "Other" in error.message


def test_botocores_own_words_show_no_value(aws: Aws) -> None:
    with pytest.raises(AwsError) as caught:
        aws.call("secretsmanager", "PutSecretValue", HOME, SecretId="x", SecretString={"deep": "s3cr3t\ns3cr3t"})
    assert caught.value.aws_code == "ParamValidation"
    assert "s3cr3t" not in caught.value.message


def test_no_answer_and_no_credentials_say_what_to_check() -> None:
    gone = translate(boto.EndpointConnectionError(endpoint_url="http://x"), "sesv2", "Get", HOME)
    assert (gone.aws_code, gone.status) == ("Unreachable", 0)
    assert "AWS_ENDPOINT_URL" in gone.hint
    assert "AWS_PROFILE" in translate(boto.NoCredentialsError(), "sts", "GetCallerIdentity", HOME).hint


# --- repeating -----------------------------------------------------------------------------------------------------


def tries(house: House, operation: str) -> int:
    return len(house.sandbox.calls(operation=operation))


@pytest.mark.parametrize("deed", ["throttle", "reset", "lost", "error"])
def test_passing_trouble_is_tried_again(house: House, aws: Aws, deed: str) -> None:
    house.sandbox.fault(deed, operation="ListConfigurationSets", count=2, status=500)
    aws.call("sesv2", "ListConfigurationSets", HOME)
    assert tries(house, "ListConfigurationSets") == 3
    assert aws.calls["sesv2:ListConfigurationSets"] == 3
    assert aws.throttled["sesv2:ListConfigurationSets"] == (2 if deed == "throttle" else 0)


@pytest.mark.parametrize("code", ["LimitExceededException", "BadRequestException", "AccessDeniedException"])
def test_a_clear_no_is_not_tried_again(house: House, aws: Aws, code: str) -> None:
    house.sandbox.fault("error", operation="ListConfigurationSets", code=code, count=None)
    with pytest.raises(AwsError) as caught:
        aws.call("sesv2", "ListConfigurationSets", HOME)
    assert caught.value.aws_code == code
    assert tries(house, "ListConfigurationSets") == 1


ABSENCES: list[tuple[str, str, dict[str, Any]]] = [
    ("sesv2", "GetEmailIdentity", {"EmailIdentity": "acme.com"}),
    ("sesv2", "DeleteConfigurationSet", {"ConfigurationSetName": "none"}),
    ("iam", "GetUser", {"UserName": "none"}),
    ("secretsmanager", "DescribeSecret", {"SecretId": "none"}),
    ("ssm", "DeleteParameter", {"Name": "/none"}),
    ("sns", "GetTopicAttributes", {"TopicArn": f"arn:aws:sns:{HOME}:{ACCOUNT}:none"}),
]


@pytest.mark.parametrize(("service", "operation", "parameters"), ABSENCES, ids=lambda value: str(value)[:20])
def test_what_does_not_exist_is_none_and_nothing_else_is(
    house: House, aws: Aws, service: str, operation: str, parameters: dict[str, Any]
) -> None:
    assert aws.call_if_there(service, operation, HOME, **parameters) is None
    for code in ("AccessDenied", "BadRequestException", "NoSuchBucket", "InternalFailure"):
        house.sandbox.fault("error", service=service, operation=operation, code=code, count=1)
        with pytest.raises(AwsError) as caught:
            aws.call_if_there(service, operation, HOME, retry=False, **parameters)
        assert caught.value.aws_code == code


def test_every_code_for_absence_is_one_that_the_model_of_aws_has() -> None:
    from botocore.session import get_session

    for service, codes in ABSENT.items():
        model = get_session().get_service_model(service)
        known = {str(shape.metadata.get("error", {}).get("code") or shape.name) for shape in model.error_shapes}
        known |= {shape.name for shape in model.error_shapes}
        assert codes <= known, service


@pytest.mark.parametrize("deed", ["throttle", "reset", "lost", "error"])
def test_what_must_not_be_repeated_is_sent_once(house: House, aws: Aws, deed: str) -> None:
    house.sandbox.fault(deed, operation="CreateAccessKey", count=None, status=500)
    aws.call("iam", "CreateUser", UserName="news")
    with pytest.raises(AwsError):
        aws.call("iam", "CreateAccessKey", retry=False, UserName="news")
    assert tries(house, "CreateAccessKey") == 1


def test_it_gives_up_in_the_end(house: House) -> None:
    aws = Aws(Stack("acme", None, ACCOUNT, (HOME,)), max_attempts=2, throttle_patience=0.0)
    house.sandbox.fault("error", operation="ListConfigurationSets", status=503, count=None)
    with pytest.raises(AwsError):
        aws.call("sesv2", "ListConfigurationSets", HOME)
    assert tries(house, "ListConfigurationSets") == 2


def test_a_stopped_run_repeats_nothing(house: House, aws: Aws) -> None:
    aws.stop()
    house.sandbox.fault("throttle", operation="ListConfigurationSets", count=None)
    with pytest.raises(AwsError):
        aws.call("sesv2", "ListConfigurationSets", HOME)
    assert tries(house, "ListConfigurationSets") == 1


def test_pages_are_followed_to_the_end(house: House, aws: Aws) -> None:
    for number in range(3):
        aws.call("sesv2", "CreateConfigurationSet", HOME, ConfigurationSetName=f"s{number}")
    found = aws.pages("sesv2", "ListConfigurationSets", "ConfigurationSets", HOME, PageSize=1)
    assert list(found) == ["s0", "s1", "s2"]


@pytest.mark.parametrize(("expiries", "ends"), [(1, True), (2, True), (3, False)])
def test_an_expired_token_reads_the_list_from_its_start(
    aws: Aws, monkeypatch: pytest.MonkeyPatch, expiries: int, ends: bool
) -> None:
    """PaginationTokenExpiredException (tagging API, GetResources): a token is good for 15 minutes."""
    left = [expiries]

    def call(service: str, operation: str, region: str, **parameters: Any) -> dict[str, Any]:
        [parameters.pop(option, None) for option in ("dns", "brief")]
        if not parameters:
            return {"Found": ["a"], "PaginationToken": "t"}
        if left[0]:
            left[0] -= 1
            raise AwsError(
                "expired",
                service=service,
                operation=operation,
                region=region,
                aws_code="PaginationTokenExpiredException",
                status=400,
            )
        return {"Found": ["b"], "PaginationToken": ""}

    monkeypatch.setattr(aws, "call", call)
    pages = aws.pages("resourcegroupstaggingapi", "GetResources", "Found", HOME, token_in="PaginationToken")
    if ends:
        assert sorted(set(pages)) == ["a", "b"]
    else:
        with pytest.raises(AwsError, match="expired"):
            list(pages)


def test_results_side_by_side_keep_their_order(aws: Aws) -> None:
    assert aws.parallel(lambda n: n * n, range(20)) == [n * n for n in range(20)]
    assert aws.parallel(lambda n: n, []) == []


@pytest.mark.parametrize("role", [None, f"arn:aws:iam::{ACCOUNT}:role/recon"])
def test_no_credentials_is_an_error_with_and_without_a_role(monkeypatch: pytest.MonkeyPatch, role: str | None) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    lone = Aws(Stack("acme", None, ACCOUNT, ("ca-central-1",), plan_role_arn=role))
    with pytest.raises(AwsError) as caught:
        lone.account()
    assert caught.value.aws_code == "NoCredentials"
    assert "AWS_PROFILE" in caught.value.hint


class Stranger(http.server.BaseHTTPRequestHandler):
    """A captive portal: it answers everything with a page."""

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        page = b"<html>please log in, token=hunter2"
        self.send_response(200)
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    do_GET = do_POST = answer  # the names are http.server's

    def log_message(self, format: str, *args: object) -> None:
        return


def test_a_response_not_from_aws_is_an_error(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The account guard comes first, so no later answer of a stranger is believed."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stranger)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr("reconciler.aws.client.time.sleep", lambda seconds: None)
    try:
        with pytest.raises(AwsError) as caught:
            Aws(Stack("acme", None, ACCOUNT, (HOME,))).account()
    finally:
        server.shutdown()
        server.server_close()
    assert caught.value.aws_code == "BadAnswer"
    assert "hunter2" not in str(caught.value)


def test_the_trail_shows_the_user_agent(house: House, aws: Aws) -> None:
    import boto3

    aws.account()
    user_agent = house.sandbox.calls()[-1]["user_agent"].split()
    assert user_agent[0] == f"Boto3/{boto3.__version__}"
    assert user_agent.count("app/recon") == 1
