"""What a person would not write, in a draft of a new state: AWS's defaults, ARNs of what the state declares, and tags
that everything has. Pure; ``proving`` plans the result, as it does any draft."""

from __future__ import annotations

from typing import Any, Final

from reconciler.importing.draft import EntryDraft, ImportDraft
from reconciler.kinds.fields import beyond
from reconciler.kinds.reading import Reader
from reconciler.kinds.registry import REGISTRY
from reconciler.model import Stack
from reconciler.resources import KINDS, SECTIONS, children, fields_with_arns
from reconciler.resources.spec import KindSpec

_ALL: Final = 2
"""From so many tagged entries on, tags that all have are those of the stack."""


def respell(draft: ImportDraft, stack: Stack) -> None:
    """Write the entries of ``draft`` as a person would. Beside an existing state nothing changes: its layers may say
    otherwise what is left out here."""
    if draft.stack is None:
        return
    for item in draft.items.values():
        spec = SECTIONS[item.section][0]
        for region, values in item.regional.items():
            _leave_defaults(spec, values)
            _name(draft, stack, spec, region, values)
            for child in children(spec.name):
                for held in (values.get(child.parent_key) or {}).values():
                    _name(draft, stack, child, region, held)
    if shared := _shared_tags(draft):
        draft.stack["tags"] = shared
        for tagged in _tagged(draft):
            left = {key: value for key, value in tagged["tags"].items() if key not in shared}
            if left:
                tagged["tags"] = left
            else:
                del tagged["tags"]


def _leave_defaults(spec: KindSpec, values: dict[str, Any]) -> None:
    """Take out what AWS has by itself."""
    kind = REGISTRY[spec.name]
    usual = kind.usual if isinstance(kind, Reader) else {}
    kept = beyond(values, usual)
    values.clear()
    values.update((key, value) for key, value in kept.items() if value != {} or not usual.get(key))


def _name(draft: ImportDraft, stack: Stack, spec: KindSpec, region: str, values: dict[str, Any]) -> None:
    """Put names in the place of the ARNs of what the draft declares in the region."""
    for named in fields_with_arns(spec.name, values):
        target = KINDS[named.kind]

        def bare(text: str, target: KindSpec = target) -> str:
            name = text.removeprefix(target.arn_of(stack.partition, region, stack.account, ""))
            declared: EntryDraft | None = draft.items.get((target.section, name))
            return name if declared is not None and region in declared.regional else text

        values.update(named.with_texts(values, bare))


def _tagged(draft: ImportDraft) -> list[dict[str, Any]]:
    """All maps with tags that an entry of the draft has, by region."""
    maps = [values for item in draft.items.values() for values in item.regional.values()]
    maps += [user.values for user in draft.users if user.values is not None and draft.declare_users]
    return [values for values in maps if values.get("tags")]


def _shared_tags(draft: ImportDraft) -> dict[str, Any]:
    """The tags that everything has that can have tags."""
    can = [item for item in draft.items.values() if item.regional and SECTIONS[item.section][0].taggable]
    users = [user for user in draft.users if user.values is not None and draft.declare_users]
    tagged = _tagged(draft)
    if len(can) + len(users) < _ALL or len(tagged) < sum(len(item.regional) for item in can) + len(users):
        return {}
    first, *rest = (values["tags"] for values in tagged)
    return {key: value for key, value in first.items() if all(other.get(key) == value for other in rest)}
