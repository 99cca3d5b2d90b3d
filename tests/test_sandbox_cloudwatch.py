"""The sandbox's CloudWatch, in each of the protocols that clients speak to it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.test_sandbox_support import code_of, fresh, message_of, running

PROTOCOLS = ("json", "smithy-rpc-v2-cbor", "query")


def cloudwatch(protocol: str, region: str = "us-east-1") -> Any:
    """A client that speaks one protocol: botocore takes the first that its model lists and it knows."""
    import botocore.loaders
    import botocore.session

    session, loader = botocore.session.Session(), botocore.loaders.create_loader()
    session.register_component("data_loader", loader)
    whole = loader.load_service_model

    def load(service: str, kind: str, api_version: str | None = None) -> Any:
        model = whole(service, kind, api_version)
        if service != "cloudwatch" or kind != "service-2":
            return model
        return {**model, "metadata": {**model["metadata"], "protocol": protocol, "protocols": [protocol]}}

    loader.load_service_model = load
    return session.create_client(
        "cloudwatch", region_name=region, endpoint_url=running().url, aws_access_key_id="AKIASANDBOXSANDBOX00",
        aws_secret_access_key="x",
    )  # fmt: skip


def span(hours: int = 24) -> dict[str, datetime]:
    end = datetime.now(UTC) + timedelta(minutes=5)
    return {"StartTime": end - timedelta(hours=hours), "EndTime": end}


def query(name: str, stat: str, period: int = 86_400, **dimensions: str) -> dict[str, Any]:
    pairs = [{"Name": key, "Value": value} for key, value in dimensions.items()]
    metric = {"Namespace": "AWS/SES", "MetricName": name, "Dimensions": pairs}
    return {"Id": f"q{name.lower().replace('.', '')}", "MetricStat": {"Metric": metric, "Period": period, "Stat": stat}}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_each_protocol_reads_the_same(protocol: str) -> None:
    fresh().seed(
        accounts=[{"sent": {"attempts": 200, "bounces": 10, "complaints": 1}}],
        metrics=[{"name": "Send", "dimensions": {"ses:configuration-set": "tx"}, "points": [[3600, 7], [60, 5]]}],
    )
    client = cloudwatch(protocol)
    queries = [
        query("Send", "Sum"), query("Reputation.BounceRate", "Average"), query("Open", "Sum"),
    ]  # fmt: skip
    answer = client.get_metric_data(MetricDataQueries=queries, **span())
    values = {row["Id"]: row["Values"] for row in answer["MetricDataResults"]}
    assert values == {"qsend": [200.0], "qreputationbouncerate": [0.05], "qopen": []}
    stats = client.get_metric_statistics(
        Namespace="AWS/SES", MetricName="Send", Dimensions=[{"Name": "ses:configuration-set", "Value": "tx"}],
        Period=60, Statistics=["Sum", "Average"], **span(2),
    )  # fmt: skip
    assert [row["Sum"] for row in stats["Datapoints"]] == [7.0, 5.0]
    assert stats["Datapoints"][0]["Timestamp"].tzinfo is not None
    listed = client.list_metrics(Namespace="AWS/SES", Dimensions=[{"Name": "ses:configuration-set"}])["Metrics"]
    assert [row["MetricName"] for row in listed] == ["Send"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_each_protocol_tells_the_same_errors(protocol: str) -> None:
    fresh()
    client = cloudwatch(protocol)
    asked = {"Namespace": "AWS/SES", "MetricName": "Send", "Period": 7, "Statistics": ["Sum"], **span(2)}
    assert code_of(lambda: client.get_metric_statistics(**asked)) == ("ValidationError", 400)
    many = {**asked, "Period": 60, **span(48)}
    assert "exceeds the limit" in message_of(lambda: client.get_metric_statistics(**many))
    assert code_of(lambda: client.get_metric_statistics(**many))[0] == "InvalidParameterCombination"


def test_metric_data_comes_in_pages() -> None:
    fresh().seed(metrics=[{"name": "Bounce", "points": [[3600 * n, n] for n in range(1, 6)]}])
    client, found, token = cloudwatch("json"), [], {}
    while True:
        asked = query("Bounce", "Sum", 3600)
        answer = client.get_metric_data(MetricDataQueries=[asked], MaxDatapoints=2, **span(), **token)
        found += [value for row in answer["MetricDataResults"] for value in row["Values"]]
        if not answer.get("NextToken"):
            break
        token = {"NextToken": answer["NextToken"]}
    assert found == [1.0, 2.0, 3.0, 4.0, 5.0]
