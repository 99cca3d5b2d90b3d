"""The plan as one page: no request leaves it, light and dark, searchable, with the dependency picture.

All that is shown is untrusted and escaped; style and script are constants named by their hash in the page's own
Content-Security-Policy, so that nothing else could run even if an escape were missed. Without script the page is
whole, only not filterable. Source: Content Security Policy Level 3, section 2.3.1 (hash sources).
"""

from __future__ import annotations

import base64
import difflib
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from reconciler.errors import ReconError
from reconciler.model import SYMBOLS, Diagnostic, Plan, Result
from reconciler.renderers.escape import html_text as esc
from reconciler.renderers.escape import safe
from reconciler.renderers.headline import dollars, duration, monthly_dollars, plural
from reconciler.renderers.jsonform import plan_digest
from reconciler.renderers.text import DRIFT_WORDS, NEXT, STATUS, Mode, last_line, result_last_line, sentence
from reconciler.renderers.values import is_flat, nested, nested_diff, one_line, pair, set_diff
from reconciler.renderers.view import Block, Row, View, fold_diagnostics, place, view

_PICTURE_NODES: Final = 60
_NODE_WIDTH: Final = 200
_NODE_HEIGHT: Final = 40
_GAP_X: Final = 54
_GAP_Y: Final = 14

_STYLE: Final = """
:root{color-scheme:light dark;--bg:#f6f7f9;--card:#fff;--ink:#1b2230;--soft:#5b6577;--line:#dfe3ea;--code:#f1f3f7;
--create:#18794e;--adopt:#0b7285;--update:#9a5b00;--replace:#7c3aad;--delete:#c62a2f;--warn:#9a5b00;--link:#0b62c4;
--old:#fdecec;--oldmark:#f7c6c7;--new:#e7f6ec;--newmark:#b6e3c5;--shadow:0 1px 2px rgba(20,30,50,.06)}
@media(prefers-color-scheme:dark){:root{--bg:#0f131a;--card:#171c25;--ink:#e4e8ef;--soft:#98a2b3;--line:#2a3140;
--code:#1e2530;--create:#4cc38a;--adopt:#4cc2d4;--update:#e5a336;--replace:#bf7af0;--delete:#ff6b70;--warn:#e5a336;
--link:#6cb1ff;--old:#361a1d;--oldmark:#6e2a2f;--new:#14301f;--newmark:#23593a;--shadow:none}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;
-webkit-text-size-adjust:100%}
main,header,footer{max-width:1040px;margin:0 auto;padding:0 20px}
code,pre,.mono{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;font-size:.92em}
header{padding-top:32px}
.scope{color:var(--soft);margin:0 0 6px}
h1{font-size:1.32rem;line-height:1.4;margin:0 0 12px;font-weight:620;text-wrap:balance;overflow-wrap:anywhere}
h2{font-size:1rem;margin:28px 0 10px;font-weight:650}
h2 small,summary small{font-weight:400;color:var(--soft);margin-left:6px}
.facts{display:flex;flex-wrap:wrap;gap:4px 20px;color:var(--soft);margin:0 0 18px;padding:0;list-style:none}
.bar{position:sticky;top:0;z-index:2;background:var(--bg);border-bottom:1px solid var(--line)}
.bar>div{max-width:1040px;margin:0 auto;padding:10px 20px;display:flex;flex-wrap:wrap;gap:8px;align-items:center}
input[type=search]{flex:1 1 200px;min-width:0;font:inherit;padding:7px 12px;border:1px solid var(--line);
border-radius:8px;background:var(--card);color:var(--ink)}
button{font:inherit;font-size:.87rem;padding:6px 11px;border:1px solid var(--line);border-radius:8px;
background:var(--card);color:var(--soft);cursor:pointer}
button b{font-weight:650}
button[aria-pressed=true]{color:var(--ink);border-color:currentColor}
button:disabled{opacity:.45;cursor:default}
:focus-visible{outline:2px solid var(--link);outline-offset:2px}
.block{background:var(--card);border:1px solid var(--line);border-left:3px solid var(--soft);border-radius:8px;
margin:0 0 8px;box-shadow:var(--shadow);content-visibility:auto;contain-intrinsic-size:auto 46px;scroll-margin-top:72px}
.block[hidden]{display:none}
.block>summary{list-style:none;cursor:pointer}
.block>summary,.block>.row{padding:10px 14px;display:flex;flex-wrap:wrap;gap:2px 10px;
align-items:baseline}
.block>summary::-webkit-details-marker{display:none}
.block .sym{font-weight:700;min-width:1.4em;text-align:center}
.block .name{flex:1 1 50%;min-width:0;font-weight:600;overflow-wrap:anywhere}
.block .cause{color:var(--soft);font-size:.87rem;overflow-wrap:anywhere;text-align:right;max-width:45%}
.block .body>p{margin:10px 0 0}
.block .body{padding:2px 14px 12px;border-top:1px solid var(--line)}
.create{border-left-color:var(--create)}.create .sym,.n-create b{color:var(--create)}
.adopt{border-left-color:var(--adopt)}.adopt .sym,.n-adopt b{color:var(--adopt)}
.update{border-left-color:var(--update)}.update .sym,.n-update b{color:var(--update)}
.replace{border-left-color:var(--replace)}.replace .sym,.n-replace b{color:var(--replace)}
.delete{border-left-color:var(--delete)}.delete .sym,.n-delete b{color:var(--delete)}
.notes{flex-basis:100%;margin:4px 0 0;padding:0;list-style:none;font-size:.93rem}
.notes li{padding-left:1.4em;text-indent:-1.4em;overflow-wrap:anywhere}
.notes i{font-style:normal;display:inline-block;width:1.4em;text-indent:0;font-weight:700}
.warning>i{color:var(--warn)}.error>i{color:var(--delete)}.note>i{color:var(--soft)}
.rule{color:var(--soft);font-size:.82rem;margin-left:6px}
.fields{display:grid;grid-template-columns:minmax(120px,max-content) minmax(0,1fr);gap:3px 18px;margin:10px 0 0}
.fields dt{color:var(--soft);overflow-wrap:anywhere}
.fields dd{margin:0;overflow-wrap:anywhere;white-space:pre-wrap}
.fields .from{color:var(--soft);font-family:system-ui,sans-serif;font-size:.82rem;margin-left:10px}
del,ins{text-decoration:none;border-radius:4px;padding:1px 5px}
del{background:var(--old)}ins{background:var(--new)}
del mark{background:var(--oldmark);color:inherit}ins mark{background:var(--newmark);color:inherit}
.arrow{color:var(--soft);padding:0 6px}
.lines{display:block}.lines>*{display:block;padding-left:22px;text-indent:-16px;white-space:pre-wrap}
.lines>del::before{content:"- "}.lines>ins::before{content:"+ "}.lines>span::before{content:"  "}
.lines.plain>span{padding-left:16px}.lines.plain>span::before{content:none}
.quiet{color:var(--soft)}
.body>details{margin-top:10px}.body>details>summary{cursor:pointer;color:var(--soft)}
.addresses{margin:10px 0 0;padding:0;list-style:none;columns:2 340px;column-gap:24px}
.addresses li{overflow-wrap:anywhere;break-inside:avoid}
.picture{overflow:auto;max-height:70vh;background:var(--card);border:1px solid var(--line);border-radius:8px}
.picture svg{display:block}
.picture rect{fill:var(--code);stroke:var(--line)}
.picture path{fill:none;stroke:var(--soft);stroke-opacity:.55;stroke-width:1.2}
.picture text{fill:var(--ink);font:500 12px system-ui,sans-serif}
.picture text.kind{fill:var(--soft);font-weight:400;font-size:10.5px}
.picture .edge{stroke:none;fill:var(--soft)}
.picture .create rect.stripe{fill:var(--create)}.picture .adopt rect.stripe{fill:var(--adopt)}
.picture .update rect.stripe{fill:var(--update)}.picture .replace rect.stripe{fill:var(--replace)}
.picture .delete rect.stripe{fill:var(--delete)}.picture rect.stripe{stroke:none}
.picture a:hover rect.box{stroke:var(--link)}
.found{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:10px 14px;margin:0 0 8px;
overflow-wrap:anywhere}
.found p{margin:0}.found .hint{color:var(--soft)}
.status{flex:0 0 6.5em;font-weight:600}
.s-done{color:var(--create)}.s-failed{color:var(--delete)}.s-waiting{color:var(--warn)}.s-not_started{color:var(--soft)}
footer{color:var(--soft);font-size:.87rem;padding-top:20px;padding-bottom:48px;overflow-wrap:anywhere}
footer p{margin:3px 0}
details.more>summary{cursor:pointer;font-weight:650;margin:28px 0 10px}
@media(max-width:640px){main,header,footer,.bar>div{padding-left:14px;padding-right:14px}h1{font-size:1.12rem}
.fields{grid-template-columns:minmax(0,1fr);gap:0}.fields dd{margin:0 0 6px}
.block .name{flex-basis:calc(100% - 4em)}.block .cause{flex-basis:100%;max-width:none;text-align:left}
header{padding-top:20px}button{padding:5px 9px}}
@media print{.bar{display:none}.block{break-inside:avoid;box-shadow:none}body{background:#fff}}
"""

_SCRIPT: Final = """
(function(){
"use strict";
var search=document.getElementById("search"),count=document.getElementById("count");
var blocks=Array.prototype.slice.call(document.querySelectorAll(".block"));
var chips=Array.prototype.slice.call(document.querySelectorAll("button[data-filter]"));
var toggle=document.getElementById("toggle"),texts=[];
function pressed(){return chips.filter(function(c){return c.getAttribute("aria-pressed")==="true"})
.map(function(c){return c.dataset.filter})}
function apply(){
var words=search.value.toLowerCase().split(/\\s+/).filter(Boolean),on=pressed(),risky=on.indexOf("risky")>=0;
var actions=on.filter(function(name){return name!=="risky"}),shown=0,things=0;
blocks.forEach(function(block,index){
if(texts[index]===undefined){texts[index]=block.textContent.toLowerCase()}
var fits=(!actions.length||actions.indexOf(block.dataset.action)>=0)&&(!risky||block.dataset.risky==="1")&&
words.every(function(word){return texts[index].indexOf(word)>=0});
block.hidden=!fits;
if(fits){shown+=1;things+=Number(block.dataset.count)}
});
count.textContent=words.length||on.length?things+" shown":"";
document.querySelectorAll("section[data-list]").forEach(function(part){
part.hidden=!part.querySelector(".block:not([hidden])")});
}
if(search){
search.addEventListener("input",apply);
chips.forEach(function(chip){chip.addEventListener("click",function(){
chip.setAttribute("aria-pressed",chip.getAttribute("aria-pressed")==="true"?"false":"true");apply()})});
var open=blocks.every(function(block){return block.open});
function label(){toggle.textContent=open?"Close all":"Open all"}
toggle.addEventListener("click",function(){
open=!open;blocks.forEach(function(block){if(!block.hidden){block.open=open}});label()});
label();
document.addEventListener("keydown",function(event){
if(event.key==="/"&&document.activeElement!==search){event.preventDefault();search.focus()}
if(event.key==="Escape"&&document.activeElement===search){search.value="";apply()}});
document.querySelector(".bar").hidden=false;
}
function reveal(){
var id=decodeURIComponent(location.hash.slice(1)),block=id&&document.getElementById(id);
if(block&&block.tagName==="DETAILS"){block.hidden=false;block.open=true;block.scrollIntoView()}
}
window.addEventListener("hashchange",reveal);reveal();
})();
"""


def _hash(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


def _page(title: str, body: Iterable[str]) -> str:
    policy = (
        f"default-src 'none'; style-src {_hash(_STYLE)}; script-src {_hash(_SCRIPT)}; "
        "base-uri 'none'; form-action 'none'"
    )
    return "\n".join([
        "<!doctype html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="referrer" content="no-referrer">',
        '<meta name="robots" content="noindex">',
        f"<title>{esc(title)}</title>",
        f"<style>{_STYLE}</style>",
        "</head>",
        "<body>",
        *body,
        f"<script>{_SCRIPT}</script>",
        "</body>",
        "</html>",
        "",
    ])  # fmt: skip


# --- plan and drift ------------------------------------------------------------------------------------------------


def plan_html(plan: Plan, mode: Mode = "plan") -> str:
    """The plan, or the drift, as a page of its own."""
    seen = view(plan)
    ids = {id(block): f"b{number}" for number, block in enumerate(seen.blocks, 1)}
    said = sentence(plan, mode) if plan.changes else last_line(plan)
    said = said[:1].upper() + said[1:]
    body = ["<header>", _scope(plan), f"<h1>{esc(said)}</h1>", _facts(plan), "</header>"]
    if plan.changes:
        body.append(_bar(plan, seen))
    body.append("<main>")
    errors = [item for item in seen.diagnostics if item[0].severity == "error"]
    body += _found(errors, "Errors")
    body += _list("Look at these first", seen.risky, ids, mode, "risky")
    body += _list("The rest" if seen.risky else "Changes", seen.calm, ids, mode, "calm")
    body += _found([item for item in seen.diagnostics if item not in errors], "Also to know")
    body += _picture(seen, ids)
    body += ["</main>", "<footer>", *_foot(plan), "</footer>"]
    what = "drift" if mode == "drift" else "plan"
    return _page(f"{what} {plan.scope or plan.stack}", body)


def _scope(plan: Plan) -> str:
    return (
        f'<p class="scope"><span class="mono">{esc(plan.scope or plan.stack)}</span> in account '
        f'<span class="mono">{esc(plan.account)}</span></p>'
    )


def _facts(plan: Plan) -> str:
    facts = ["Refused: nothing is applied while the errors below stand."] if plan.outcome == "refused" else []
    facts.append(last_line(plan))
    if plan.changes and plan.write_calls:
        took = f", {duration(plan.seconds)}" if plan.seconds else ""
        facts.append(f"{plural(plan.write_calls, 'call')} to apply{took}")
    if cost := monthly_dollars(plan):
        facts.append(f"{dollars(cost)} more")
    return '<ul class="facts">' + "".join(f"<li>{esc(fact)}</li>" for fact in facts) + "</ul>"


def _bar(plan: Plan, seen: View) -> str:
    chips = [
        f'<button type="button" class="n-{action}" data-filter="{action}" aria-pressed="false">'
        f"<b>{SYMBOLS[action]}</b> {count} {action}</button>"
        for action, count in plan.summary.items()
        if count
    ]
    if seen.risky and seen.calm:
        chips.append('<button type="button" data-filter="risky" aria-pressed="false"><b>!</b> look first</button>')
    return (
        '<div class="bar" hidden><div><input type="search" id="search" placeholder="Search addresses, values, files  /"'
        f' aria-label="Search the changes" autocomplete="off" spellcheck="false">{"".join(chips)}'
        '<button type="button" id="toggle">Open all</button><span id="count" class="quiet" aria-live="polite"></span>'
        "</div></div>"
    )


def _list(title: str, blocks: Sequence[Block], ids: Mapping[int, str], mode: Mode, name: str) -> list[str]:
    if not blocks:
        return []
    total = sum(block.count for block in blocks)
    lines = [f'<section data-list="{name}">', f"<h2>{title}<small>{total}</small></h2>"]
    few = len(blocks) <= 12
    for block in blocks:
        lines.append(_block(block, ids[id(block)], mode, opened=few))
    return [*lines, "</section>"]


def _block(block: Block, anchor: str, mode: Mode, *, opened: bool) -> str:
    name = esc(block.addresses[0]) if not block.folded else f"{block.count} × {esc(block.what)}"
    aside = [DRIFT_WORDS[block.action]] if mode == "drift" and DRIFT_WORDS[block.action] else []
    if block.cause:
        aside.append(block.cause)
    data = f'data-action="{block.action}" data-count="{block.count}" data-risky="{int(block.risky)}"'
    lines = [
        f'<details class="block {block.action}" id="{anchor}" {data}{" open" if opened else ""}>',
        f'<summary><span class="sym mono" title="{block.action}">{esc(block.symbol)}</span>',
        f'<span class="name mono">{name}</span>',
    ]
    if aside:
        lines.append(f'<span class="cause">{esc(" · ".join(aside))}</span>')
    if block.notes:
        lines.append('<ul class="notes">')
        for note in block.notes:
            sign = "·" if note.severity == "note" else "!"
            lines.append(
                f'<li class="{note.severity}"><i>{sign}</i>{esc(note.message)}'
                f'<span class="rule mono">{esc(note.rule)}</span></li>'
            )
        lines.append("</ul>")
    lines.append('</summary><div class="body">')
    if block.rows:
        lines.append('<dl class="fields mono">')
        lines += [_field(row, block) for row in block.rows]
        lines.append("</dl>")
    if block.folded:
        shut = block.count > 12 and block.action not in ("delete", "replace")
        if shut:
            lines.append(f"<details><summary>{block.count} addresses</summary>")
        lines.append('<ul class="addresses mono">')
        lines += [f"<li>{esc(address)}</li>" for address in block.addresses]
        lines.append("</ul></details>" if shut else "</ul>")
    elif block.changes[0].depends_on:
        needs = ", ".join(esc(address) for address in block.changes[0].depends_on)
        lines.append(f'<p class="quiet">after <span class="mono">{needs}</span></p>')
    if not block.rows and not block.folded:
        lines.append('<p class="quiet">No fields to show.</p>')
    lines.append("</div></details>")
    return "\n".join(lines)


def _field(row: Row, block: Block) -> str:
    cause = ""
    whole = block.source or block.changes[0].source
    if (
        row.source is not None
        and row.source != whole
        and (row.source.via or whole is None or row.source.file != whole.file)
    ):
        cause = f'<span class="from">{esc(str(row.source))}</span>'
    return f"<dt>{esc(row.path)}</dt><dd>{_value(row, block)}{cause}</dd>"


def _value(row: Row, block: Block) -> str:
    if row.shows == "value":
        value = row.before if block.action == "delete" else row.after
        if is_flat(value) or not isinstance(value, (dict, list, str)):
            return esc(one_line(value))
        drawn = "".join(f"<span>{esc(line)}</span>" for line in nested(value))
        return f'<span class="lines plain">{drawn}</span>'
    before, after = row.before, row.after
    sets = set_diff(before, after)
    if sets is not None and (len(before) > 1 or len(after) > 1):
        added, removed, kept = sets
        lines = [f"<del>{esc(one_line(item))}</del>" for item in removed]
        lines += [f"<ins>{esc(one_line(item))}</ins>" for item in added]
        lines += [f'<span class="quiet">({kept} unchanged)</span>'] if kept else []
        return f'<span class="lines">{"".join(lines)}</span>'
    if not (is_flat(before) and is_flat(after)):
        tags = {"-": "del", "+": "ins"}
        lines = [
            f"<{tags.get(sign, 'span')}>{esc(line) if sign != '…' else '…'}</{tags.get(sign, 'span')}>"
            for sign, line in nested_diff(before, after)
        ]
        return f'<span class="lines">{"".join(lines)}</span>'
    old, new = pair(before, after)
    if len(old) + len(new) <= 76:
        left = f'<span class="quiet">{esc(old)}</span>' if before is None else f"<del>{esc(old)}</del>"
        right = f'<span class="quiet">{esc(new)}</span>' if after is None else f"<ins>{esc(new)}</ins>"
        return f'{left}<span class="arrow">→</span>{right}'
    old_marked, new_marked = _marked(old, new)
    return f'<span class="lines"><del>{old_marked}</del><ins>{new_marked}</ins></span>'


def _marked(old: str, new: str) -> tuple[str, str]:
    """Two long values with the words that differ marked."""
    if len(old) + len(new) > 4_000:
        return esc(old), esc(new)
    before, after = (re.findall(r"\s+|[^\s,;]+|[,;]", text) for text in (old, new))
    sides: tuple[list[str], list[str]] = ([], [])
    for tag, i1, i2, j1, j2 in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        for side, words in zip(sides, (before[i1:i2], after[j1:j2]), strict=True):
            text = esc("".join(words))
            side.append(text if tag == "equal" or not text else f"<mark>{text}</mark>")
    return "".join(sides[0]), "".join(sides[1])


def _found(found: Sequence[tuple[Diagnostic, tuple[str, ...]]], title: str) -> list[str]:
    if not found:
        return []
    lines = ["<section>", f"<h2>{title}<small>{len(found)}</small></h2>"]
    for one, addresses in found:
        sign = "·" if one.severity == "note" else "!"
        rule = f'<span class="rule mono">{esc(one.code)}</span>' if one.code else ""
        lines.append(
            f'<div class="found"><ul class="notes"><li class="{one.severity}"><i>{sign}</i>{esc(one.message)}{rule}'
            "</li></ul>"
        )
        where = f"{one.file}:{one.line}" if one.file and one.line else one.file
        spots = [spot for spot in (where, *addresses[:20]) if spot]
        if spots:
            more = f" and {len(addresses) - 20} more" if len(addresses) > 20 else ""
            lines.append(f'<p class="mono quiet">{esc(", ".join(spots))}{more}</p>')
        if one.hint:
            lines.append(f'<p class="hint">{esc(one.hint)}</p>')
        lines.append("</div>")
    return [*lines, "</section>"]


def _foot(plan: Plan) -> list[str]:
    lines = []
    if plan.scanned:
        lines.append(f"Looked at {'; '.join(plan.scanned)}.")
    if plan.unread:
        shown = ", ".join(plan.unread[:50])
        more = f" and {len(plan.unread) - 50} more" if len(plan.unread) > 50 else ""
        lines.append(f"Not read ({len(plan.unread)}): {shown}{more}.")
    calls = sum(plan.calls.values())
    if calls:
        lines.append(f"Read with {plural(calls, 'AWS call')}.")
    made = " · ".join(
        part for part in (f"recon {plan.recon_version}" if plan.recon_version else "", plan.created_at) if part
    )
    return [
        *(f"<p>{esc(line)}</p>" for line in lines),
        f'<p>Plan digest <span class="mono">{plan_digest(plan)}</span></p>',
        f"<p>{esc(made)}</p>" if made else "",
    ]


# --- the dependency picture ----------------------------------------------------------------------------------------


def _picture(seen: View, ids: Mapping[int, str]) -> list[str]:
    """What waits for what, left to right; blocks are nodes, and kinds are when there are too many blocks."""
    owner = {address: number for number, block in enumerate(seen.blocks) for address in block.addresses}
    edges = {
        (owner[need], number)
        for number, block in enumerate(seen.blocks)
        for change in block.changes
        for need in change.depends_on
        if need in owner and owner[need] != number
    }
    if not edges:
        return []
    joined = {number for edge in edges for number in edge}
    label: dict[int, tuple[str, str, str, str]] = {}
    for number in sorted(joined):
        block = seen.blocks[number]
        # a record's name says its zone already
        name = "/".join(place(block.addresses[0])[1 if block.kind == "dns_record" else 0 :])
        name = f"{block.count} of them" if block.folded else name
        label[number] = (block.kind, name, block.action, "#" + ids[id(block)])
    folded = len(joined) > _PICTURE_NODES
    if folded:
        groups: dict[tuple[str, str], int] = {}
        into = {n: groups.setdefault((seen.blocks[n].kind, seen.blocks[n].action), len(groups)) for n in sorted(joined)}
        counts = [0] * len(groups)
        for number, group in into.items():
            counts[group] += seen.blocks[number].count
        label = {group: (kind, f"{counts[group]} to {action}", action, "") for (kind, action), group in groups.items()}
        edges = {(into[a], into[b]) for a, b in edges if into[a] != into[b]}
    svg = _svg(label, edges)
    title = f"What waits for what<small>{len(label)}{' groups' if folded else ''}</small>"
    opened = " open" if len(label) <= 24 else ""
    return [
        f'<details class="more"{opened}><summary>{title}</summary>',
        f'<div class="picture" tabindex="0" role="group" aria-label="Dependency picture">{svg}</div></details>',
    ]


def _layers(nodes: Iterable[int], edges: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Nodes by the longest way from a root; a cycle is cut where it is entered again."""
    needs: dict[int, list[int]] = {node: [] for node in nodes}
    for before, after in sorted(edges):
        needs[after].append(before)
    depth: dict[int, int] = {}
    for start in needs:
        stack, on_way = [start], {start}
        while stack:
            node = stack[-1]
            waiting = [need for need in needs[node] if need not in depth and need not in on_way]
            if waiting:
                stack.append(waiting[0])
                on_way.add(waiting[0])
                continue
            stack.pop()
            on_way.discard(node)
            depth.setdefault(node, 1 + max((depth.get(need, -1) for need in needs[node]), default=-1))
    layers: list[list[int]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for node in needs:
        layers[depth[node]].append(node)
    # each node near the middle of what it needs: fewer crossings
    for index in range(1, len(layers)):
        row = {node: number for layer in layers[:index] for number, node in enumerate(layer)}
        layers[index].sort(
            key=lambda node: (
                sum(row.get(need, 0) for need in needs[node]) / max(1, len(needs[node])),
                node,
            )
        )
    return layers


def _svg(label: Mapping[int, tuple[str, str, str, str]], edges: Iterable[tuple[int, int]]) -> str:
    edges = sorted(edges)
    layers = _layers(label, edges)
    tallest = max(map(len, layers))
    height = tallest * (_NODE_HEIGHT + _GAP_Y) - _GAP_Y + 32
    width = len(layers) * (_NODE_WIDTH + _GAP_X) - _GAP_X + 32
    at: dict[int, tuple[int, int]] = {}
    for column, layer in enumerate(layers):
        top = 16 + (tallest - len(layer)) * (_NODE_HEIGHT + _GAP_Y) // 2
        for row, node in enumerate(layer):
            at[node] = (16 + column * (_NODE_WIDTH + _GAP_X), top + row * (_NODE_HEIGHT + _GAP_Y))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
    ]
    for before, after in edges:
        x1, y1 = at[before][0] + _NODE_WIDTH, at[before][1] + _NODE_HEIGHT // 2
        x2, y2 = at[after][0] - 5, at[after][1] + _NODE_HEIGHT // 2
        bend = max(28, abs(x2 - x1) // 2)
        parts.append(f'<path d="M{x1} {y1}C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}"/>')
        parts.append(f'<path class="edge" d="M{x2 + 4} {y2}l-6 -3.5v7z"/>')
    for node, (kind, name, action, link) in label.items():
        x, y = at[node]
        drawn = (
            f"<title>{esc(f'{action} {kind} {name}')}</title>"
            f'<rect class="box" x="{x}" y="{y}" width="{_NODE_WIDTH}" height="{_NODE_HEIGHT}" rx="6"/>'
            f'<rect class="stripe" x="{x}" y="{y + 6}" width="3" height="{_NODE_HEIGHT - 12}" rx="1"/>'
            f'<svg x="{x}" y="{y}" width="{_NODE_WIDTH - 6}" height="{_NODE_HEIGHT}">'  # cuts what is too wide
            f'<text class="kind" x="12" y="15">{SYMBOLS.get(action, "")} {esc(_short(kind))}</text>'
            f'<text x="12" y="31">{esc(_short(name))}</text></svg>'
        )
        drawn = f'<g class="{action}">{drawn}</g>'
        parts.append(f'<a href="{link}">{drawn}</a>' if link else drawn)
    return "".join([*parts, "</svg>"])


def _short(text: str, limit: int = 24) -> str:
    shown = safe(text)
    if len(shown) <= limit:
        return shown
    return shown[: limit // 3] + "…" + shown[len(shown) - (limit - limit // 3 - 1) :]


# --- result and error ----------------------------------------------------------------------------------------------


def result_html(result: Result) -> str:
    """How an apply ended, as a page of its own; what is not done stands first."""
    plan = result.plan
    body = ["<header>", _scope(plan), f"<h1>{esc(result_last_line(result))}</h1>"]
    facts = [f"Outcome: {result.outcome.replace('_', ' ')}", NEXT.get(result.outcome, "")]
    body.append('<ul class="facts">' + "".join(f"<li>{esc(fact)}</li>" for fact in facts if fact) + "</ul></header>")
    body.append("<main>")
    order = ("failed", "waiting", "not_started", "done")
    applied = sorted(result.applied, key=lambda one: order.index(one.status))
    for one in applied:
        more = "".join(f'<span class="notes">{esc(text)}</span>' for text in (one.message, one.hint) if text)
        body.append(
            f'<div class="block {one.action}"><div class="row">'
            f'<span class="status s-{one.status}">{STATUS[one.status]}</span>'
            f'<span class="sym mono">{esc(SYMBOLS[one.action])}</span><span class="name mono">{esc(one.address)}</span>'
            f"{more}</div></div>"
        )
    body += _found(fold_diagnostics(result.diagnostics), "Also to know")
    body += ["</main>", "<footer>", *_foot(plan), "</footer>"]
    return _page(f"apply {plan.scope or plan.stack}", body)


def error_html(error: ReconError) -> str:
    """An error with its diagnostics, as a page of its own."""
    found = fold_diagnostics(error.diagnostics)
    body = ["<header>", f"<h1>{esc(error.message)}</h1>"]
    if error.hint:
        body.append(f'<p class="scope">{esc(error.hint)}</p>')
    body += ["</header>", "<main>", *_found(found, "Errors"), "</main>"]
    return _page("recon: " + error.outcome, body)
