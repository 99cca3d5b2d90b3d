"""The schema files: complete, at one with AWS, and judged alike by our check and by jsonschema."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.desired import compiled, findings, json_schema, schema
from reconciler.desired.layers import LAYER_KINDS
from reconciler.regions import SES_REGIONS, UNPUBLISHED

HERE = Path(__file__).parent
SCHEMAS = HERE.parent / "schemas"
GENERATED = {"plan.schema.json", "state.schema.json"}
FILES = [
    *sorted(p for p in SCHEMAS.glob("*.schema.json") if p.name not in GENERATED),
    *sorted((HERE.parent / "reconciler" / "resources").glob("*/*.schema.json")),
]
KINDS = [*LAYER_KINDS, "stack", "moved", "rules", "waivers"]
EXAMPLE = yaml.safe_load((HERE / "test_desired_example.yaml").read_text(encoding="utf-8"))


def subschemas(value: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema inside a schema, with its JSON pointer."""
    if not isinstance(value, dict):
        return
    yield path, value
    for key in ("properties", "patternProperties", "$defs"):
        for name, inner in value.get(key, {}).items():
            yield from subschemas(inner, f"{path}/{key}/{name}")
    for key in ("items", "additionalProperties"):
        yield from subschemas(value.get(key), f"{path}/{key}")
    for index, inner in enumerate(value.get("anyOf", ())):
        yield from subschemas(inner, f"{path}/anyOf/{index}")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_schema_explains_itself(file: Path) -> None:
    content = json.loads(file.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(content)
    for path, part in subschemas(content):
        if "$ref" in part or "/anyOf/" in path or path.endswith(("/additionalProperties", "/json")):
            continue
        assert part.get("title"), f"{file.name}#{path} has no title"
        assert part.get("description"), f"{file.name}#{path} has no description"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_unknown_keys_are_refused_everywhere(file: Path) -> None:
    for path, part in subschemas(json.loads(file.read_text(encoding="utf-8"))):
        if "properties" in part:
            assert part.get("additionalProperties") is False, f"{file.name}#{path}"


def test_the_schema_for_editors_is_the_one_of_the_check() -> None:
    """`make docs` writes it; `recon schema` prints the same."""
    assert json.loads((SCHEMAS / "state.schema.json").read_text(encoding="utf-8")) == json_schema()


def test_the_merged_schema_stands_alone() -> None:
    merged = json_schema()
    jsonschema.Draft202012Validator.check_schema(merged)
    assert all(part["$ref"].startswith("#/") for _, part in subschemas(merged) if "$ref" in part)
    merged["title"] = "changed by a caller"
    assert json_schema()["title"] != "changed by a caller"


def test_files_refer_to_what_is_there() -> None:
    for file in FILES:
        for _, part in subschemas(json.loads(file.read_text(encoding="utf-8"))):
            name, _, pointer = part.get("$ref", "").partition("#")
            target: Any = json.loads((SCHEMAS / name if name else file).read_text(encoding="utf-8"))
            for step in pointer.strip("/").split("/"):
                target = target[step] if step else target


def test_the_example_as_an_editor_reads_it() -> None:
    """YAML 1.2 scalars, as the YAML language server takes them: dates and ``off`` are texts."""
    document = copy.deepcopy(EXAMPLE)
    for waiver in document["waivers"]:
        waiver["until"] = waiver["until"].isoformat()
    errors = list(jsonschema.Draft202012Validator(json_schema()).iter_errors(document))
    assert errors == []


# --- agreement with AWS ---


def test_regions_and_origins_are_those_of_the_code() -> None:
    assert tuple(schema.definition("common")["$defs"]["region"]["enum"]) == SES_REGIONS
    origins = schema.definition("domain")["$defs"]["dkim"]["properties"]["signing_attributes_origin"]["enum"]
    deterministic = [
        f"AWS_SES_{region.upper().replace('-', '_')}" for region in SES_REGIONS if region not in UNPUBLISHED
    ]
    assert origins == ["AWS_SES", "EXTERNAL", *deterministic, None]


@pytest.mark.parametrize(
    ("kind", "path", "shape"),
    [
        ("domain", "$defs/dkim/properties/signing_attributes_origin", "DkimSigningAttributesOrigin"),
        ("domain", "$defs/dkim/properties/next_signing_key_length", "DkimSigningKeyLength"),
        ("domain", "$defs/mail_from/properties/behavior_on_mx_failure", "BehaviorOnMxFailure"),
        ("event_destination", "properties/matching_event_types/items", "EventType"),
        (
            "event_destination",
            "properties/cloud_watch_destination/properties/dimension_configurations/items/properties/dimension_value_source",
            "DimensionValueSource",
        ),
        ("configuration_set", "properties/delivery_options/properties/tls_policy", "TlsPolicy"),
        ("configuration_set", "properties/tracking_options/properties/https_policy", "HttpsPolicy"),
        (
            "configuration_set",
            "properties/suppression_options/properties/suppressed_reasons/items",
            "SuppressionListReason",
        ),
        ("configuration_set", "properties/suppression_options/properties/suppression_scope", "SuppressionListScope"),
        (
            "configuration_set",
            (
                "properties/suppression_options/properties/validation_options/properties/condition_threshold/properties"
                "/overall_confidence_threshold/properties/confidence_verdict_threshold"
            ),
            "SuppressionConfidenceVerdictThreshold",
        ),
        ("dedicated_ip_pool", "properties/scaling_mode", "ScalingMode"),
    ],
)
def test_enums_are_those_of_the_service_model(kind: str, path: str, shape: str) -> None:
    import botocore.session

    model = botocore.session.get_session().get_service_model("sesv2").shape_for(shape)
    part: Any = schema.definition(kind)
    for step in path.split("/"):
        part = part[step]
    assert sorted(item for item in part["enum"] if item is not None) == sorted(model.enum)


# --- our check against jsonschema ---


def words(part: Any) -> Iterator[str]:
    """Every key and enum value that the schemas know."""
    for _, inner in subschemas(part):
        yield from inner.get("properties", {})
        yield from (item for item in inner.get("enum", ()) if isinstance(item, str))


VOCABULARY = sorted({*words(json_schema()), "acme.com", "arn:aws:x", "111122223333", "x", "", "${x}", "us-east-1"})


def fitting(part: Any, depth: int = 0) -> st.SearchStrategy[Any]:
    """Values that mostly fit a schema: the interesting neighbourhood of valid ones."""
    part = schema.resolve(part)
    anything = st.one_of(
        st.sampled_from(VOCABULARY), st.none(), st.integers(-1, 60000), st.sampled_from([True, 300.0, 0.5, [], {}])
    )
    if depth > 5:
        return anything
    options: list[st.SearchStrategy[Any]] = []
    kinds = part.get("type", [])
    if "enum" in part:
        options.append(st.sampled_from(part["enum"]))
    for inner in part.get("anyOf", ()):
        options.append(fitting(inner, depth + 1))
    if "array" in kinds:
        options.append(st.lists(fitting(part["items"], depth + 1), max_size=3))
    if "object" in kinds:
        known = {key: fitting(inner, depth + 1) for key, inner in part.get("properties", {}).items()}
        some: st.SearchStrategy[Any] = st.fixed_dictionaries({}, optional=known)
        if isinstance(part.get("additionalProperties"), dict):
            extra = fitting(part["additionalProperties"], depth + 1)
            some = st.dictionaries(st.sampled_from(VOCABULARY), extra, max_size=2)
        options.append(some)
    if "string" in kinds:
        options.append(st.sampled_from(VOCABULARY))
    if "integer" in kinds:
        options.append(st.integers(-1, 60000))
    if "boolean" in kinds:
        options.append(st.booleans())
    return st.one_of(*options, *options, *options, anything) if options else anything


@pytest.mark.parametrize("kind", KINDS)
@settings(
    max_examples=15, deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)  # fmt: skip
@given(data=st.data())
def test_check_and_jsonschema_agree(kind: str, data: st.DataObject) -> None:
    value = data.draw(fitting(schema.definition(kind)))
    errors = list(findings._validator(kind).iter_errors(value))
    assert compiled.checker(kind)(value) == (errors == [])
    found = findings.findings(kind, value)
    assert bool(found) == bool(errors)
    assert all(finding.code and finding.message and finding.hint for finding in found)


def test_an_unknown_keyword_is_not_skipped() -> None:
    with pytest.raises(ValueError, match="multipleOf"):
        compiled._Compiler(False).compile({"type": "integer", "multipleOf": 2})


def test_a_whole_float_is_no_integer() -> None:
    assert [f.code for f in findings.findings("domain", {"ttl": 300.0})] == ["wrong-type"]
