"""The tags of one resource: AWS's form and ours, which to put and to take away, and in which order.

Source: SES API v2, TagResource and UntagResource; what recon's own tags mean is in ``ownership``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from reconciler.kinds.kind import Runtime
from reconciler.kinds.ownership import DKIM_KEY, LISTS, PREFIX, STACK, TAGS, left_alone, pack, unpack
from reconciler.model import Change, Entry
from reconciler.resources import KINDS
from reconciler.resources.spec import MAX_TAGS

if TYPE_CHECKING:
    from reconciler.kinds.plan_draft import PlanDraft


def user_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """The tags that people and other tools put: not ours and not AWS's own."""
    return {k: v for k, v in tags.items() if not k.startswith((PREFIX, "aws:"))}


def tags_from_aws(listed: Iterable[Mapping[str, str]] | None) -> dict[str, str]:
    """AWS's list of Key/Value pairs as a mapping."""
    return {tag["Key"]: tag.get("Value", "") for tag in listed or ()}


def tags_to_aws(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": tags[key]} for key in sorted(tags)]


def entry_tags(entry: Entry) -> dict[str, str]:
    return {str(k): str(v) for k, v in (entry.values.get("tags") or {}).items()}


def plan_tags(
    desired: Mapping[str, str],
    live: Mapping[str, str],
    scope: str,
    extra: Mapping[str, str | None] | None = None,
    entry: Entry | None = None,
) -> dict[str, str | None]:
    """The tags that a resource should carry, as far as we manage them; None marks one to take away.

    Ours are those the YAML names, those we put before and it no longer names (``recon:tags`` remembers), the owner
    tag, and ``extra`` recon tags. What is declared is remembered, also where it was right before. Those that ``entry``
    leaves alone stay.
    """
    put_before = unpack(live, TAGS)
    wanted: dict[str, str | None] = dict(desired)
    for gone in put_before - desired.keys():
        if gone in live and not left_alone(entry, "tags", gone):
            wanted[gone] = None
    wanted[STACK] = scope
    _replace_packed(wanted, live, TAGS, desired)
    for key, value in (extra or {}).items():
        if value is not None or key in live:
            wanted[key] = value
    return wanted


def packed(live: Mapping[str, str], key: str, items: Iterable[str]) -> dict[str, str | None]:
    """``items`` packed under ``key``, with None for tags of an older, longer packing."""
    out: dict[str, str | None] = {}
    _replace_packed(out, live, key, items)
    return out


def _replace_packed(out: dict[str, str | None], live: Mapping[str, str], key: str, items: Iterable[str]) -> None:
    fresh = pack(items, key)
    out.update(fresh)
    for name in live:
        if name.startswith(key) and name not in fresh and (name == key or _is_continued(name, key)):
            out[name] = None


def _is_continued(name: str, key: str) -> bool:
    """Whether ``name`` is ``key.2``, ``key.3`` and so on."""
    return name.startswith(f"{key}.") and name[len(key) + 1 :].isdigit()


def present(tags: Mapping[str, str | None]) -> dict[str, str]:
    """Without those marked for removal."""
    return {k: v for k, v in tags.items() if v is not None}


def refuse_too_many(draft: PlanDraft) -> None:
    """Refuse the changes after which a resource would have more tags than AWS takes, those of others among them."""
    for change in draft.changes:
        live, tags = draft.snapshot.observed.get(change.address), (change.after or {}).get("tags")
        if live is None or not tags:
            continue
        names = [name for name in present({**live.tags, **tags}) if not name.startswith("aws:")]
        if len(names) > MAX_TAGS:
            draft.refuse(
                "too-many-tags",
                f"{change.address} would have {len(names)} tags, recon's own among them; AWS takes {MAX_TAGS}",
                hint=f"take {len(names) - MAX_TAGS} of its tags off that nobody needs",
                address=change.address,
            )


def tag_changes(change: Change) -> tuple[dict[str, str], list[str]]:
    """The tags that a change sets and the keys that it takes away."""
    before = (change.before or {}).get("tags") or {}
    after = (change.after or {}).get("tags") or {}
    put = {k: v for k, v in after.items() if v is not None and before.get(k) != v}
    drop = [k for k, v in after.items() if v is None and before.get(k) is not None]
    return put, sorted(drop)


def tag_phases(change: Change) -> tuple[dict[str, str], dict[str, str], list[str]]:
    """The tags of a change in two phases: what is claimed before anything is written, what is released at the end.

    A tag that lists what we put must name a thing from before it is made until after it is gone, so lists that lose
    names are first written as the union. Returns (put first, put last, keys to drop last).
    """
    put, drop = tag_changes(change)
    before = present((change.before or {}).get("tags") or {})
    after = present((change.after or {}).get("tags") or {})
    first, last = dict(put), dict[str, str]()
    for key in LISTS:
        old, new = unpack(before, key), unpack({**before, **put}, key)
        if key in drop:
            new = frozenset()
        if old - new and new - old:
            mine = {k: v for k, v in after.items() if k == key or k.startswith(key + ".")}
            for k in mine:
                first.pop(k, None)
            first |= pack(old | new, key)
            last |= mine
        elif old - new:
            for k in [k for k in first if k == key or k.startswith(key + ".")]:
                last[k] = first.pop(k)
    old_key, new_key = before.get(DKIM_KEY, ""), put.get(DKIM_KEY)
    if old_key and new_key:
        # Two keys while one takes the place of the other: the record of the first is ours until it is gone.
        first[DKIM_KEY], last[DKIM_KEY] = " ".join(dict.fromkeys([*old_key.split(), new_key])), new_key
        if first[DKIM_KEY] == old_key:
            del first[DKIM_KEY]
    return first, last, drop


def put_tags(rt: Runtime, kind: str, region: str, name: str, tags: Mapping[str, str]) -> None:
    """Put tags on a resource of ``kind``."""
    rt.aws.call(KINDS[kind].client, "TagResource", region, **_tagged(rt, kind, region, name), Tags=tags_to_aws(tags))


def release_tags(rt: Runtime, kind: str, region: str, name: str, put: Mapping[str, str], drop: list[str]) -> None:
    """The last phase of a change of tags (``tag_phases``)."""
    # Tags are removed first: once a list has forgotten a name, nothing would ever remove it.
    if drop:
        rt.aws.call(KINDS[kind].client, "UntagResource", region, **_tagged(rt, kind, region, name), TagKeys=drop)
    if put:
        put_tags(rt, kind, region, name, put)


def _tagged(rt: Runtime, kind: str, region: str, name: str) -> dict[str, Any]:
    """The member of a request about tags that names the resource."""
    spec = KINDS[kind]
    member = spec.service.arn_member if spec.service else "ResourceArn"
    return {member: spec.arn_of(rt.partition, region, rt.account, name)}
