"""From one change to the facts of the headline: what most kinds share, and helpers for kinds that need more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from reconciler.resources.spec import Fact, KindSpec, Phrase, at_path

if TYPE_CHECKING:
    from reconciler.model import Change

ADOPTED = "adopted"
"""The fact of every adoption, and the phrase that counts them."""
RELEASED = "released"
"""That of what is released: nothing of it changes but recon's own tags."""


def facts_of(spec: KindSpec, change: Change) -> Iterator[Fact]:
    """What a change means for mail, with phrases as ``KIND:PHRASE``; nothing where it is only worth counting."""
    if _releases(change):
        yield Fact(RELEASED, change.address)
        return
    found = spec.says.facts(change) if spec.says.facts is not None else usual_facts(spec, change)
    for fact in found:
        yield fact if fact.phrase == ADOPTED else Fact(f"{spec.name}:{fact.phrase}", fact.thing, fact.region)


def _releases(change: Change) -> bool:
    """Whether a change takes the stack's tag off something that stays."""
    before, after = ((document or {}).get("tags") or {} for document in (change.before, change.after))
    return change.action == "update" and before.get(_OWNER) is not None and after.get(_OWNER, "") is None


_OWNER = "recon:stack"


def phrases_of(spec: KindSpec) -> Mapping[str, Phrase]:
    """Every phrase of a kind by ``KIND:PHRASE``."""
    says = spec.says
    usual = {"new": says.new, "changed": says.changed, "gone": says.gone}
    when = {f"{path}={value}": phrase for path, values in says.when.items() for value, phrase in values.items()}
    named = {**{key: phrase for key, phrase in usual.items() if phrase is not None}, **when, **says.phrases}
    return {f"{spec.name}:{key}": phrase for key, phrase in named.items()}


def usual_facts(spec: KindSpec, change: Change) -> Iterator[Fact]:
    """The facts that ``Words`` alone can say."""
    says, thing = spec.says, change.address
    if change.action == "create" and says.new is not None:
        yield Fact("new", thing)
        return
    if change.action == "delete":
        if says.gone is not None:
            yield Fact("gone", thing)
        return
    said = False
    for path, values in says.when.items():
        moved = alteration_of(change, path)
        new = next((value for value in values if moved and value == moved[1] != moved[0]), None)
        if new is not None:
            yield Fact(f"{path}={new}", thing)
            said = True
    if change.action == "adopt":
        yield Fact(ADOPTED, thing)
    elif not said and says.changed is not None and change.action in ("update", "replace"):
        yield Fact("changed", thing)


def adopted(change: Change) -> Iterator[Fact]:
    """The fact of an adoption; nothing for any other change."""
    if change.action == "adopt":
        yield Fact(ADOPTED, change.address)


def adopted_parts(change: Change) -> Counter[str]:
    """How many parts an adoption remembers, by the address of the resource that they belong to: itself, where it is a
    part with an address, or what its tags name that has none (policies, topics, tags)."""
    if change.claims and not change.diff:
        owner = change.depends_on[0] if change.depends_on else change.address
        return Counter((owner,))
    words: Counter[str] = Counter()
    for document, sign in ((change.after, 1), (change.before, -1)):
        tags = (document or {}).get("tags")
        for key, value in tags.items() if isinstance(tags, Mapping) else ():  # a plan file may hold anything
            if str(key).startswith(_WITHOUT_ADDRESS) and value:
                words[change.address] += sign * sum(not word.endswith("=") for word in str(value).split())
    return +words


_WITHOUT_ADDRESS = ("recon:tags", "recon:policies", "recon:parts")
"""The tags that name parts which have no address of their own, words with blanks between; a word that ends with ``=``
continues in the next tag."""


def alteration_of(change: Change, path: str) -> tuple[Any, Any] | None:
    """The field before and after, where this change alters it; a creation alters what it writes."""
    for diff in change.diff:
        if diff.path == path:
            return diff.before, diff.after
        if path.startswith(diff.path + "."):
            below = path[len(diff.path) + 1 :]
            return at_path(diff.before, below), at_path(diff.after, below)
    if change.action == "create" or (change.before is None and change.after is not None):
        after = at_path(change.after, path)
        return (None, after) if after is not None else None
    return None


def alters(change: Change, *fields: str) -> bool:
    """Whether a change alters one of ``fields`` or anything below it."""
    return any(diff.path == field or diff.path.startswith(field + ".") for diff in change.diff for field in fields)


def texts_in(value: Any) -> Iterable[str]:
    """Every text in a document, at any depth."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from texts_in(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from texts_in(item)
