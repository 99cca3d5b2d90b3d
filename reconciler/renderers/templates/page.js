(function(){
"use strict";
var search=document.getElementById("search"),count=document.getElementById("count");
var blocks=Array.prototype.slice.call(document.querySelectorAll(".block"));
var chips=Array.prototype.slice.call(document.querySelectorAll("button[data-filter]"));
var toggle=document.getElementById("toggle"),texts=[];
function pressed(){return chips.filter(function(c){return c.getAttribute("aria-pressed")==="true"})
.map(function(c){return c.dataset.filter})}
function apply(){
var words=search.value.toLowerCase().split(/\s+/).filter(Boolean),on=pressed(),risky=on.indexOf("risky")>=0;
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
