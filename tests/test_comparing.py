"""Comparing documents: the shortcut for unchanged resources says what the whole comparison says."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.kinds.comparing import covered, differences, overlay, project

KEYS = st.sampled_from(["a", "b", "c"])
LEAVES = (
    st.none() | st.booleans() | st.sampled_from(["x", "y", 1, 0]) | st.lists(st.sampled_from(["x", "y"]), max_size=2)
)
DOCUMENTS: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    KEYS, st.recursive(LEAVES, lambda inner: st.dictionaries(KEYS, inner, max_size=3), max_leaves=6), max_size=3
)


@settings(deadline=None, max_examples=300)
@given(DOCUMENTS, DOCUMENTS)
def test_what_is_covered_has_no_difference(observed: dict[str, Any], desired: dict[str, Any]) -> None:
    before = project(observed, desired)
    after = overlay(desired, before)
    assert covered(observed, desired) is (before == after)
    if covered(observed, desired):
        assert differences(before, after) == ()
