"""The page in a real browser: nothing runs or is fetched but our own script; search, filters, phone, light and dark.

Needs Chromium or Chrome (``RECON_BROWSER`` or on the path). It is driven over a pipe with the DevTools protocol.
"""

from __future__ import annotations

import json
import os
import runpy
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.model import Plan
from reconciler.renderers import render

BROWSER = os.environ.get("RECON_BROWSER") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None
)
CASES: dict[str, Plan] = runpy.run_path(str(Path(__file__).parent / "golden" / "cases.py"))["CASES"]

pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="needs chromium")]


class Page:
    """One tab. ``events`` holds what the browser said beside its answers."""

    def __init__(self, profile: Path) -> None:
        to_browser, self._out = os.pipe()
        self._in, from_browser = os.pipe()
        # --remote-debugging-pipe reads from descriptor 3 and writes to 4
        command = (
            f'exec "$0" --headless --no-sandbox --disable-gpu --remote-debugging-pipe --user-data-dir="$1" '
            f"3<&{to_browser} 4>&{from_browser}"
        )
        self._process = subprocess.Popen(
            ["/bin/bash", "-c", command, str(BROWSER), str(profile)],
            pass_fds=(to_browser, from_browser), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(to_browser)
        os.close(from_browser)
        self._rest = b""
        self._number = 0
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            found = os.read(self._in, 1 << 16)
            if not found:
                raise AssertionError("the browser ended")
            self._rest += found
        message, _, self._rest = self._rest.partition(b"\0")
        return dict(json.loads(message))

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return dict(answer["result"])
            self.events.append(answer)

    def open(self, file: Path) -> None:
        self.events.clear()
        self.call("Page.navigate", url=file.as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._read())

    def js(self, expression: str) -> Any:
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._in)
        os.close(self._out)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    found = Page(tmp_path_factory.mktemp("profile"))
    yield found
    found.close()


def opened(page: Page, case: str, folder: Path) -> None:
    file = folder / "plan.html"
    file.write_text(render(CASES[case], "html"), encoding="utf-8")
    page.open(file)


@pytest.mark.parametrize("case", sorted(CASES))
def test_nothing_runs_and_nothing_is_fetched(page: Page, case: str, tmp_path: Path) -> None:
    opened(page, case, tmp_path)
    assert page.js("document.querySelectorAll('img,iframe,link,object').length") == 0
    assert page.js("document.scripts.length") == 1
    methods = {event.get("method") for event in page.events}
    assert "Page.javascriptDialogOpening" not in methods and "Runtime.exceptionThrown" not in methods
    assert not [event for event in page.events if event.get("method") == "Log.entryAdded"]
    asked = [e["params"]["request"]["url"] for e in page.events if e.get("method") == "Network.requestWillBeSent"]
    assert len(asked) == 1 and asked[0].startswith("file:")
    # the policy stops what an escape might let through one day
    page.js("var s=document.createElement('script');s.textContent='window.ran=1';document.body.appendChild(s)")
    page.js("document.body.setAttribute('onclick','window.ran=1');document.body.click()")
    assert page.js("window.ran") is None


SHOWN = "document.querySelectorAll('.block:not([hidden])').length"


def test_search_and_filters(page: Page, tmp_path: Path) -> None:
    opened(page, "setup", tmp_path)
    total = page.js(SHOWN)
    assert total == 9 and page.js("getComputedStyle(document.querySelector('.bar')).display") != "none"

    def search(words: str) -> None:
        page.js(
            f"var s=document.getElementById('search');s.value={json.dumps(words)};s.dispatchEvent(new Event('input'))"
        )

    search("QUARANTINE acme.com")
    assert page.js(SHOWN) == 1 and page.js("document.querySelector('#count').textContent") == "1 shown"
    search("no such thing")
    assert page.js(SHOWN) == 0
    assert page.js("[...document.querySelectorAll('section[data-list]')].every(s=>s.hidden)")
    search("")
    assert page.js(SHOWN) == total
    page.js("document.querySelector('[data-filter=update]').click()")
    assert page.js(SHOWN) == 3
    page.js("document.querySelector('[data-filter=create]').click()")
    assert page.js(SHOWN) == total
    page.js("document.querySelector('[data-filter=risky]').click()")
    assert page.js(SHOWN) == 2


def test_open_all_and_links_of_the_picture(page: Page, tmp_path: Path) -> None:
    opened(page, "setup", tmp_path)
    assert page.js("document.getElementById('toggle').textContent") == "Close all"
    page.js("document.getElementById('toggle').click()")
    assert page.js("document.querySelectorAll('.block[open]').length") == 0
    target = page.js("document.querySelector('.picture a').getAttribute('href')")
    page.js(f"location.hash={json.dumps(target)}")
    page.js("new Promise(done=>setTimeout(done,50))")
    page.call("Runtime.evaluate", expression="new Promise(done=>setTimeout(done,100))", awaitPromise=True)
    assert page.js(f"document.querySelector({json.dumps(target)}).open") is True


@pytest.mark.parametrize("case", ["setup", "everything", "tenants", "hostile"])
def test_fits_a_phone(page: Page, case: str, tmp_path: Path) -> None:
    page.call("Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=2, mobile=True)
    opened(page, case, tmp_path)
    assert page.js("document.documentElement.scrollWidth") <= 360
    page.call("Emulation.clearDeviceMetricsOverride")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(page: Page, scheme: str, tmp_path: Path) -> None:
    """Text against its ground at 4.5 to 1 (WCAG 2.2, 1.4.3), light and dark."""
    page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    opened(page, "everything", tmp_path)
    low = page.js("""
      (function(){
        function rgb(text){return (text.match(/[\\d.]+/g)||[]).map(Number)}
        function light(c){var v=c.slice(0,3).map(function(x){x/=255;
          return x<=.04045?x/12.92:Math.pow((x+.055)/1.055,2.4)});return .2126*v[0]+.7152*v[1]+.0722*v[2]}
        function ground(node){for(;node;node=node.parentElement){
          var c=rgb(getComputedStyle(node).backgroundColor);if(c.length===3||c[3]===1){return c}}
          return [255,255,255]}
        return [...document.querySelectorAll("header *,main *,footer *")].filter(function(node){
          return node.childNodes.length&&[...node.childNodes].some(function(t){
            return t.nodeType===3&&t.textContent.trim()})&&!node.closest("svg")})
        .filter(function(node){var a=light(rgb(getComputedStyle(node).color)),b=light(ground(node));
          return (Math.max(a,b)+.05)/(Math.min(a,b)+.05)<4.5})
        .map(function(node){return node.tagName+"."+node.className+": "+node.textContent.slice(0,40)});
      })()""")
    assert low == []
    assert page.js("document.querySelectorAll('.block').length") == 6
