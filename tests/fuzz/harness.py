"""The laws of the DMARC, SPF and TXT codecs for any bytes: nothing but ValueError is raised, and what was read is kept.

One function a codec, from bytes to nothing; a broken law is an AssertionError, anything else a crash.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from reconciler.mail import dmarc, spf, txt

CORPUS: Final = Path(__file__).parent / "corpus"


def check_txt(data: bytes) -> None:
    """A presentation value of any octets decodes; what decodes is encoded so that it decodes to the same."""
    value = data.decode("latin-1")
    text = txt.decode(value)
    assert all(ord(char) < 256 for char in text)
    try:
        again = txt.encode(text)
    except ValueError:
        assert len(text) > txt.MAX_VALUE // 5
        return
    assert again.isascii()
    assert again.isprintable()
    assert txt.decode(again) == text
    wide = txt.decode(data.decode("utf-8", "replace"))
    assert all(ord(char) < 256 for char in wide)


def check_dmarc(data: bytes) -> None:
    """Any text has tags and problems; the tags of a record, written and read again, are the same."""
    text = data.decode("utf-8", "replace")
    dmarc.is_record(text)
    dmarc.is_record(text, strict=True)
    tags = dmarc.parse(text)
    told = dmarc.problems(tags)
    assert all(isinstance(one, str) and one for one in told)
    for uri in dmarc.uris(tags.get("rua", "")):
        dmarc.uri_domain(uri)
    once = dmarc.parse(dmarc.to_text(tags))
    assert dmarc.parse(dmarc.to_text(once)) == once, "not one spelling"
    try:
        wanted = dmarc.from_yaml(text)
    except ValueError:
        return
    written = dmarc.to_text(wanted)
    assert dmarc.is_record(written, strict=True)
    assert dmarc.parse(written) == wanted
    assert not [one for one in dmarc.problems(wanted) if one.startswith(("p=", "sp=", "np="))]


def check_spf(data: bytes) -> None:
    """A record is read, merged and rid of our terms; the terms of others stay as they were spelled, in their order."""
    text = data.decode("utf-8", "replace")
    head, _, rest = text.partition("\n")
    ours = tuple(
        dict.fromkeys(f"include:{label}.example" for label in rest.split() if label.isascii() and label.isalnum())
    )
    if not spf.is_record(head):
        try:
            spf.parse(head)
        except ValueError:
            return
        raise AssertionError("parsed what is no record")
    record = spf.parse(head)
    assert spf.parse(record.to_text()) == record
    spf.problems(head)
    assert spf.lookups(head) >= 0
    spf.targets(head)
    try:
        merged = spf.merge(head, ours, None)
    except spf.SpfConflict:
        return
    assert spf.merge(merged, ours, None) == merged, "merging twice changes again"
    assert spf.terms_present(merged, ours) == ours
    before = [term.text for term in record.terms if term.key not in {spf.parse_term(one).key for one in ours}]
    after = [term.text for term in spf.parse(merged).terms if term.text not in ours]
    assert [one for one in after if one in before] == [one for one in before if one in after]
    assert set(before) <= set(after), "a foreign term is gone"
    left = spf.remove(merged, ours, drop_all=False)
    assert left is None or not spf.terms_present(left, ours) or any(term in head for term in ours)


HARNESSES: Final[dict[str, Callable[[bytes], None]]] = {"dmarc": check_dmarc, "spf": check_spf, "txt": check_txt}


def seeds(codec: str) -> list[Path]:
    """The corpus of a codec, sorted."""
    return sorted(path for path in (CORPUS / codec).iterdir() if path.is_file())
