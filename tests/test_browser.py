"""The pages of recon and the site of its docs in a real browser: ``make test-browser``.

Playwright drives the Chromium or Chrome that is on the path (or ``RECON_BROWSER``); it downloads none. Where either is
missing, the skip says so.
"""

from __future__ import annotations

import functools
import os
import re
import runpy
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from test_render_golden import ended

from reconciler.errors import ReconError
from reconciler.model import Plan
from reconciler.renderers import render, render_error, render_result
from reconciler.renderers.fleet import fleet_html
from reconciler.renderers.senders import senders_html

pytestmark = pytest.mark.browser
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make test-browser")

BROWSER = os.environ.get("RECON_BROWSER") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None
)
if BROWSER is None:
    pytest.skip("no Chromium on the path: install chromium, or name one in RECON_BROWSER", allow_module_level=True)

HERE = Path(__file__).parent.parent
SITE = HERE / "build" / "site"
CASES: dict[str, Plan] = runpy.run_path(str(Path(__file__).parent / "golden" / "cases.py"))["CASES"]
# Without a sandbox of its own, as root needs it; and without the services that a browser asks when it starts.
OPTIONS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
PHONE = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True, "device_scale_factor": 2}
DESKTOP = {"viewport": {"width": 1280, "height": 900}}
VIEWS = [(size, scheme) for size in ("desktop", "phone") for scheme in ("light", "dark")]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=BROWSER, args=OPTIONS)
        yield launched
        launched.close()


@dataclass
class Tab:
    """A page, what its scripts said, and what it asked for."""

    page: Any
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def open(self, address: str) -> Any:
        self.said.clear()
        self.asked.clear()
        self.page.goto(address)
        return self.page

    def strangers(self, *known: str) -> list[str]:
        return [url for url in self.asked if not url.startswith((*known, "data:", "about:"))]


@pytest.fixture
def tabs(browser: Any) -> Iterator[Any]:
    contexts: list[Any] = []

    def opened(size: str = "desktop", scheme: str = "light") -> Tab:
        context = browser.new_context(color_scheme=scheme, **(PHONE if size == "phone" else DESKTOP))
        context.set_default_timeout(30_000)
        contexts.append(context)
        tab = Tab(context.new_page())
        tab.page.on("console", lambda message: tab.said.append(f"{message.type}: {message.text}"))
        tab.page.on("pageerror", lambda problem: tab.said.append(str(problem)))
        tab.page.on("dialog", lambda dialog: tab.said.append(f"dialog: {dialog.message}") or dialog.dismiss())
        tab.page.on("request", lambda request: tab.asked.append(request.url))
        return tab

    yield opened
    for context in contexts:
        context.close()


# --- the pages that recon writes -------------------------------------------------------------------------------------

HOSTILE = '<b onclick="window.ran=1">x</b><script>window.ran=1</script>'


def _stack(name: str, code: int, message: str = "") -> dict[str, Any]:
    return {
        "id": name, "account": "111122223333", "outcome": {0: "no_changes", 2: "changes"}.get(code, "error"),
        "exit_code": code, "summary": {"create": 3, "delete": 1} if code == 2 else {}, "attempts": 1,
        "message": message, "report": f"reports/{name}.json", "labels": {"team": "mail", "page": HOSTILE},
    }  # fmt: skip


FLEET = {
    "command": "drift",
    "run_id": "r",
    "reports": "fleet-reports/r",
    "missing": ["acme-lost/production"],
    "diagnostics": [],
    "stacks": [
        *(_stack(f"acme-{n}/production", 2) for n in range(12)),
        _stack("acme-quiet", 0),
        _stack("acme-bad" * 12, 1, HOSTILE),
    ],
}
_KEY = {
    "id": "AKIAEXAMPLEEXAMPLE00", "status": "Active", "created": "2026-01-01T00:00:00Z",
    "last_used": "2026-11-01T00:00:00Z", "last_service": "ses", "last_region": "us-east-1",
}  # fmt: skip


def _sender(name: str, can: str, declared: str | None) -> dict[str, Any]:
    return {"arn": f"arn:aws:iam::111122223333:user/{name}", "name": name, "type": "user", "recipients": ["*"],
            "resources": [], "ways": ["SMTP"], "used_by": ["the shop's mailer"], "can_send": can,
            "declared_by": declared, "from_addresses": ["*@shop.acme.com"], "identities": ["shop.acme.com"],
            "networks": ["203.0.113.0/24"],
            "configuration_sets": ["transactional"], "keys": [_KEY], "last_used": "2026-11-01T00:00:00Z",
            "actions": ["SendRawEmail"], "reasons": [HOSTILE]}  # fmt: skip


SENDERS = {
    "format_version": 1, "account": "111122223333", "regions": ["us-east-1", "eu-west-1"],
    "live": {"identities": ["acme.com", "shop.acme.com"], "configuration_sets": ["transactional"]}, "principals": 9,
    "administrators": [], "diagnostics": [],
    "senders": [_sender("newsletter", "yes", "acme/production"), _sender("forgotten", "yes", None),
                _sender("x" * 60, "unknown", None), _sender("denied", "no", None)],
}  # fmt: skip


@functools.cache
def pages() -> dict[str, str]:
    """Every page that a command writes with ``--format html``, by a name of this file."""
    made = {f"plan-{case}": render(plan, "html") for case, plan in CASES.items()}
    made |= {f"drift-{case}": render(CASES[case], "html", mode="drift") for case in ("drifted", "hostile")}
    made |= {f"result-{outcome}": render_result(ended(outcome), "html") for outcome in ("applied", "partial")}
    made["error"] = render_error(ReconError(HOSTILE + " x" * 200, hint="write a name " + "x" * 300), "html")
    made["fleet"] = fleet_html(FLEET)
    made["senders"] = senders_html(SENDERS, "2026-11-30T00:00:00Z")
    return made


NAMES = [*(f"plan-{case}" for case in sorted(CASES)), "drift-drifted", "drift-hostile", "result-applied",
         "result-partial", "error", "fleet", "senders"]  # fmt: skip

WIDER = """() => [...document.querySelectorAll('body *')].filter(node => {
  if (node.closest('svg, .picture') || !node.checkVisibility()) return false;
  const box = node.getBoundingClientRect();
  return box.width && (box.right > document.documentElement.clientWidth + 1 || box.left < -1);
}).map(node => node.outerHTML.slice(0, 120))"""
"""What is wider than the window: it is cut off, or makes the page scroll sideways."""

FAINT = """() => {
  const numbers = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = c => { const v = c.slice(0, 3).map(x => { x /= 255;
    return x <= .04045 ? x / 12.92 : Math.pow((x + .055) / 1.055, 2.4) });
    return .2126 * v[0] + .7152 * v[1] + .0722 * v[2] };
  const ground = node => { for (; node; node = node.parentElement) {
    const c = numbers(getComputedStyle(node).backgroundColor); if (c.length === 3 || c[3] === 1) return c }
    return [255, 255, 255] };
  const color = node => numbers(getComputedStyle(node, node.placeholder ? '::placeholder' : null).color);
  const own = node => node.placeholder || [...node.childNodes].some(t => t.nodeType === 3 && t.textContent.trim());
  return [...document.querySelectorAll('header *, main *, footer *, .bar *')]
    .filter(node => own(node) && !node.closest('svg') && node.checkVisibility() && !node.disabled)
    .filter(node => { const a = light(color(node)), b = light(ground(node));
      return (Math.max(a, b) + .05) / (Math.min(a, b) + .05) < 4.5 })
    .map(node => node.tagName + '.' + node.className + ': ' + node.textContent.slice(0, 40));
}"""
"""Text against its ground below 4.5 to 1 (WCAG 2.2, 1.4.3)."""

UNNAMED = """() => {
  const wrong = [], ids = [...document.querySelectorAll('[id]')].map(node => node.id);
  if (new Set(ids).size !== ids.length) wrong.push('an id twice');
  if (!document.documentElement.lang || !document.title.trim()) wrong.push('no language or title');
  if (document.querySelectorAll('h1').length !== 1) wrong.push('not one h1');
  if (document.querySelectorAll('main').length !== 1) wrong.push('not one main');
  let level = 0;
  for (const node of document.querySelectorAll('h1, h2, h3, h4')) {
    if (+node.tagName[1] > level + 1) wrong.push('a level left out: ' + node.textContent);
    level = +node.tagName[1];
  }
  for (const node of document.querySelectorAll('a, button, input, summary, [tabindex], [role=group], img'))
    if (!(node.getAttribute('aria-label') || node.alt || node.textContent.trim()))
      wrong.push(node.outerHTML.slice(0, 90));
  return wrong;
}"""
"""What a screen reader could not name or find its way by (WCAG 2.2: 1.1.1, 1.3.1, 2.4.2, 3.1.1, 4.1.2)."""


STOP = """() => {
  const node = document.activeElement, style = getComputedStyle(node);
  return [[...document.querySelectorAll('*')].indexOf(node), node.tagName,
          style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2];
}"""
"""Where the focus is, and whether it is seen."""


def opened(tab: Tab, name: str, folder: Path) -> Any:
    file = folder / f"{name}.html"
    file.write_text(pages()[name], encoding="utf-8")
    return tab.open(file.as_uri())


def test_every_page_is_looked_at() -> None:
    assert sorted(pages()) == sorted(NAMES)


@pytest.mark.parametrize(("size", "scheme"), VIEWS)
@pytest.mark.parametrize("name", NAMES)
def test_it_fits_can_be_read_and_has_names(tabs: Any, tmp_path: Path, name: str, size: str, scheme: str) -> None:
    tab = tabs(size, scheme)
    page = opened(tab, name, tmp_path)
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    assert page.evaluate(WIDER) == []
    assert page.evaluate(FAINT) == []
    assert page.evaluate(UNNAMED) == []
    assert tab.said == []


@pytest.mark.parametrize("name", NAMES)
def test_nothing_runs_and_nothing_is_fetched(tabs: Any, tmp_path: Path, name: str) -> None:
    tab = tabs()
    page = opened(tab, name, tmp_path)
    assert page.evaluate("document.querySelectorAll('img,iframe,link,object').length") == 0
    assert page.evaluate("document.scripts.length") == 1
    assert len(tab.asked) == 1 and tab.asked[0].startswith("file:")
    assert tab.said == []
    # the policy stops what an escape might let through one day
    page.evaluate(
        "var s = document.createElement('script'); s.textContent = 'window.ran = 1'; document.body.appendChild(s)"
    )
    page.evaluate("document.body.setAttribute('onclick', 'window.ran = 1'); document.body.click()")
    assert page.evaluate("window.ran") is None


@pytest.mark.parametrize("name", ["plan-setup", "fleet", "senders"])
def test_keys_go_through_the_page_in_order(tabs: Any, tmp_path: Path, name: str) -> None:
    """Tab goes down the page, each stop is seen, and ``/`` and Escape find and empty the search."""
    page = opened(tabs(), name, tmp_path)
    stops = []
    for _ in range(12):
        page.keyboard.press("Tab")
        stops.append(page.evaluate(STOP))
    places = [place for place, tag, _ in stops if tag != "BODY"]
    assert len(places) >= 4 and places == sorted(places)
    assert all(seen for _, tag, seen in stops if tag != "BODY")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "search"
    page.keyboard.type("nothing like that")
    assert page.locator(".block:visible").count() == 0
    page.keyboard.press("Escape")
    assert page.locator(".block:visible").count() > 0


def test_search_and_filters(tabs: Any, tmp_path: Path) -> None:
    page = opened(tabs(), "plan-setup", tmp_path)
    shown = page.locator(".block:visible")
    assert shown.count() == 9 and page.locator(".bar").is_visible()
    search = page.get_by_role("searchbox", name="Search the changes")
    search.fill("QUARANTINE acme.com")
    assert shown.count() == 1 and page.locator("#count").text_content() == "1 shown"
    search.fill("no such thing")
    assert shown.count() == 0 and page.locator("section[data-list]:visible").count() == 0
    search.fill("")
    assert shown.count() == 9
    for name, left in (("update", 3), ("create", 9)):
        page.locator(f"[data-filter={name}]").click()
        assert shown.count() == left
    page.locator("[data-filter=risky]").click()
    assert shown.count() == 2


def test_open_all_and_links_of_the_picture(tabs: Any, tmp_path: Path) -> None:
    page = opened(tabs(), "plan-setup", tmp_path)
    page.get_by_role("button", name="Close all").click()
    assert page.locator(".block[open]").count() == 0
    page.get_by_role("button", name="Open all").click()
    page.get_by_role("button", name="Close all").click()
    link = page.locator(".picture a").first
    target = link.get_attribute("href")
    link.click()
    page.wait_for_function("id => document.getElementById(id).open", arg=unquote(target[1:]))


# --- the site of the docs --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """Where the site is served. It is built by ``make site``."""
    if not (SITE / "index.html").is_file():
        pytest.skip("build/site is not there: make site")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(SITE)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def site_pages() -> list[str]:
    """The pages of the site, from the Markdown that they are made of: ``README.md`` is the index of its folder."""
    found = (str(path.relative_to(HERE / "docs")) for path in (HERE / "docs").rglob("*.md"))
    return sorted(re.sub(r"README\.html$", "index.html", name.removesuffix(".md") + ".html") for name in found)


def test_every_page_of_the_site(tabs: Any, site: str) -> None:
    """It says nothing on the console, asks nobody else, and fits; all links of all pages lead somewhere on the site."""
    tab = tabs()
    wrong: list[str] = []
    links: dict[str, set[str]] = {}
    places: dict[str, set[str]] = {}
    for name in site_pages():
        page = tab.open(site + name)
        wrong += [f"{name}: {one}" for one in (*tab.said, *tab.strangers(site))]
        if page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") > 0:
            wrong.append(f"{name} scrolls sideways")
        links[name] = set(page.evaluate("[...document.querySelectorAll('a[href]')].map(a => a.href)"))
        places[name] = set(page.evaluate("[...document.querySelectorAll('[id]')].map(node => node.id)"))
    for name, targets in links.items():
        for target in targets:
            path, _, place = target.removeprefix(site).partition("#")
            path = unquote(path) + ("index.html" if path.endswith("/") or not path else "")
            if not target.startswith(site):
                continue
            if not (SITE / path).is_file() or (place and path in places and unquote(place) not in places[path]):
                wrong.append(f"{name} links to {target.removeprefix(site)}")
    assert wrong == []


@pytest.mark.parametrize(("size", "scheme"), VIEWS)
@pytest.mark.parametrize("name", ["index", "first-domain", "cookbook", "why", "yaml", "threat-model", "rules/index"])
def test_the_site_fits_and_is_dark_where_the_reader_is(tabs: Any, site: str, name: str, size: str, scheme: str) -> None:
    tab = tabs(size, scheme)
    page = tab.open(f"{site}{name}.html")
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    bright = sum(map(float, re.findall(r"[\d.]+", ground)[:3])) > 380
    assert bright is (scheme == "light"), ground
    assert tab.said == [] and tab.strangers(site) == []


@pytest.mark.parametrize("size", ["desktop", "phone"])
@pytest.mark.parametrize("how", ["served", "from files"])
def test_search_of_the_site(tabs: Any, site: str, how: str, size: str) -> None:
    """Without the Internet, and also where the pages are opened as files."""
    tab = tabs(size)
    base = site if how == "served" else SITE.as_uri() + "/"
    page = tab.open(base + "rules/dmarc-pct.html")
    page.locator(".md-search__button, label[for=__search]").locator("visible=true").first.click()
    box = page.get_by_placeholder("Search", exact=True)
    box.fill("suppression")
    page.get_by_role("option", name="The suppression list", exact=True).click()
    page.wait_for_url(re.compile(r"/suppression\.html"))
    assert "suppression list" in page.locator("h1").inner_text()
    assert tab.said == [] and tab.strangers(base) == []


def test_the_way_of_a_newcomer(tabs: Any, site: str) -> None:
    """From the first page to a domain in five lines, by what can be seen and clicked; on a phone through the menu."""
    page = tabs().open(site)
    page.get_by_role("article").get_by_role("link", name="Add a domain").click()
    assert page.locator("h1").inner_text().strip("¶") == "Add a domain"
    assert page.locator("pre code").first.text_content().strip().count("\n") == 4
    page = tabs("phone").open(site)
    menu = page.locator(".md-sidebar--primary").get_by_role("link", name="Cookbook")
    page.locator("header label[for=__drawer]").click()
    if not menu.is_visible():
        page.locator(".md-sidebar--primary").get_by_text("Begin", exact=True).first.click()
    menu.click()
    page.wait_for_url(re.compile(r"/cookbook\.html"))
