"""The corpus of ``make fuzz`` through the laws of the codecs, and a little of hypothesis from there on."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzz import harness
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.mark.parametrize(
    "path", [p for codec in harness.HARNESSES for p in harness.seeds(codec)], ids=lambda p: f"{p.parent.name}-{p.name}"
)
def test_the_corpus_keeps_the_laws(path: Path) -> None:
    harness.HARNESSES[path.parent.name](path.read_bytes())


@pytest.mark.parametrize("codec", harness.HARNESSES)
def test_every_codec_has_a_corpus(codec: str) -> None:
    assert len(harness.seeds(codec)) >= 10


@pytest.mark.parametrize("codec", harness.HARNESSES)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_pieces_of_the_corpus_keep_the_laws(codec: str, data: st.DataObject) -> None:
    """Cut and joined again, with odd bytes between."""
    texts = [path.read_bytes() for path in harness.seeds(codec)]
    pieces = []
    for _ in range(data.draw(st.integers(1, 4))):
        text = data.draw(st.sampled_from(texts))
        begin = data.draw(st.integers(0, len(text)))
        pieces.append(text[begin : data.draw(st.integers(begin, len(text)))])
        pieces.append(data.draw(st.binary(max_size=3)))
    harness.HARNESSES[codec](b"".join(pieces))
