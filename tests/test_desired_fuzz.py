"""Whatever bytes or trees come in, ``load`` returns a state or raises InvalidState, and nothing else."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.desired import load
from reconciler.desired.layers import ENTRIES, TOP_LEVEL
from reconciler.errors import InvalidState

STACK = {"name": "acme-mail", "account": "111122223333", "regions": ["us-east-1", "eu-west-1"]}
EXAMPLE = yaml.safe_load((Path(__file__).parent / "test_desired_example.yaml").read_text(encoding="utf-8"))
EXAMPLE["waivers"][0]["until"] = "2027-01-31"
VOCABULARY = """
dkim mail_from mail_from_domain signing_attributes_origin AWS_SES EXTERNAL AWS_SES_US_EAST_1 us-east-1
eu-west-1 acme.com ceo@acme.com ${domain} ${region} ${x} $${ ${ tags vars class tenant by_region regions
unmanaged event_destinations sns_destination topic_arn dmarc spf bimi p none rua include all -all policies
Statement credentials ssm name from_addresses identity protect domain_signing_private_key file
tracking_options from to custom_redirect_domain dedicated_ips 192.0.2.1 conditions moved waivers exclude
domains.acme.com configuration_set_name delivery_options sending_pool_name domain smtp_user event_destination
ttl
"""
WORDS = VOCABULARY.split()

numbers = st.one_of(st.integers(-10, 10**13), st.floats(allow_nan=False))
scalars = st.one_of(st.sampled_from(WORDS), st.none(), st.booleans(), numbers, st.text(max_size=8))
PUNCTUATION = "{}[]:,-&*!|>'\"%@`#?\n\t "
PIECES = ["&a", "*a", "<<", ": ", "- ", "\n  ", "---", "stack", "domains", "a", "1", "~", "!!str"]
keys = st.one_of(st.sampled_from(WORDS), st.text(max_size=6))
trees = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(keys, inner, max_size=5)),
    max_leaves=30,
)
sections = st.dictionaries(keys, trees, max_size=4)
documents = st.fixed_dictionaries(
    {"stack": st.one_of(st.just(STACK), trees)},
    optional={
        **{section: st.one_of(sections, trees) for section in ENTRIES},
        **{key: st.one_of(sections, trees) for key in TOP_LEVEL if key not in (*ENTRIES, "stack")},
    },
)
relaxed = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def attempt(path: Path, data: bytes, environment: str | None = None) -> Any:
    path.write_bytes(data)
    try:
        return load(path, environment).state
    except InvalidState as error:
        assert any(d.severity == "error" for d in error.diagnostics)
        assert all(d.code and d.message and (d.hint or d.severity != "error") for d in error.diagnostics)
        return None


@relaxed
@given(data=st.binary(max_size=200))
def test_any_bytes(data: bytes, tmp_path: Path) -> None:
    attempt(tmp_path / "state.yaml", data)


@relaxed
@given(text=st.lists(st.sampled_from([*PUNCTUATION, *PIECES]), max_size=40))
def test_any_yaml_punctuation(text: list[str], tmp_path: Path) -> None:
    attempt(tmp_path / "state.yaml", "".join(text).encode())


@relaxed
@given(document=documents, environment=st.sampled_from([None, "staging", "tags"]))
def test_any_tree(document: dict[str, Any], environment: str | None, tmp_path: Path) -> None:
    dumped = yaml.safe_dump(document, allow_unicode=True, sort_keys=False).encode("utf-8", "surrogatepass")
    state = attempt(tmp_path / "state.yaml", dumped, environment)
    if state is not None:
        assert state.digest.startswith("sha256:")


@pytest.mark.parametrize("seed", ["domains", "smtp_users", "configuration_sets"])
@relaxed
@given(body=st.dictionaries(keys, trees, max_size=5))
def test_any_entry(seed: str, body: dict[str, Any], tmp_path: Path) -> None:
    name = "acme.com" if seed == "domains" else "tx"
    data = yaml.safe_dump({"stack": STACK, seed: {name: body}}, allow_unicode=True).encode("utf-8", "surrogatepass")
    attempt(tmp_path / "state.yaml", data)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every container of a tree with one of its keys or indices."""
    found: list[tuple[Any, Any]] = []
    for key, item in list(value.items() if isinstance(value, dict) else enumerate(value)):
        found.append((value, key))
        if isinstance(item, dict | list):
            found += places(item)
    return found


@relaxed
@given(data=st.data(), environment=st.sampled_from(["production", "staging"]))
def test_the_example_with_parts_exchanged(data: st.DataObject, environment: str, tmp_path: Path) -> None:
    document = copy.deepcopy(EXAMPLE)
    for _ in range(data.draw(st.integers(1, 3))):
        spots = places(document)
        holder, key = spots[data.draw(st.integers(0, len(spots) - 1))]
        match data.draw(st.sampled_from(["replace", "remove", "rename", "swap"])):
            case "replace":
                holder[key] = data.draw(trees)
            case "remove":
                del holder[key]
            case "rename" if isinstance(holder, dict):
                holder[data.draw(keys)] = holder.pop(key)
            case _:
                other, where = spots[data.draw(st.integers(0, len(spots) - 1))]
                holder[key] = copy.deepcopy(other[where])
    dumped = yaml.safe_dump(document, allow_unicode=True, sort_keys=False).encode("utf-8", "surrogatepass")
    attempt(tmp_path / "state.yaml", dumped, environment)
