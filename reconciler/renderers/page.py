"""The frame of an HTML page: no request leaves it, light and dark, searchable; whole also without its script.

Style and script are constants named by their hash in the page's own Content-Security-Policy, so that nothing else could
run even if an escape were missed. Source: Content Security Policy Level 3, section 2.3.1 (hash sources).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from typing import Final

from reconciler.renderers.escape import html_text as esc

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


def page(title: str, body: Iterable[str]) -> str:
    """A whole page; ``title`` is escaped here, ``body`` is HTML already."""
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
