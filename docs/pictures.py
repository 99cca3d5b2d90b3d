"""Draws docs/plan.svg, pull-request.svg, page.svg and drift.svg: the first YAML of the README, planned and drifted.

`make golden` runs it. What stands in the pictures is what the commands print about the sandbox. A test
holds them up to date, so what differs from run to run is not in them: the time is fixed, the digest is cut off.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import tempfile
from collections.abc import Sequence
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from unittest import mock

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI
from rich.text import Text

from reconciler.cli import run
from reconciler.sandbox import Sandbox

DOCS = Path(__file__).parent
WIDTH = 108
TIME = "2026-11-30T03:17:52Z"

COMMENT = """
:root{color-scheme:light dark;--bg:#fff;--ink:#1f2328;--soft:#59636e;--line:#d1d9e0;--head:#f6f8fa;--code:#818b981f;
--old:#ffebe9;--oldink:#82071e;--new:#dafbe1;--newink:#116329}
@media(prefers-color-scheme:dark){:root{--bg:#0d1117;--ink:#f0f6fc;--soft:#9198a1;--line:#3d444d;--head:#151b23;
--code:#656c7633;--old:#67060c;--oldink:#ffdcd7;--new:#033a16;--newink:#aff5b4}}
body{margin:0;padding:1px;color:var(--ink);font:14px/1.5 -apple-system,
"Segoe UI","Noto Sans",Helvetica,Arial,sans-serif}
.comment{background:var(--bg);border:1px solid var(--line);border-radius:6px;overflow:hidden}
.head{background:var(--head);border-bottom:1px solid var(--line);padding:8px 16px;color:var(--soft)}
.head b{color:var(--ink)}.head i{font-style:normal;font-size:12px;border:1px solid var(--line);border-radius:9px;
padding:0 7px;margin:0 4px}
.text{padding:16px;overflow-wrap:anywhere}.text>:last-child{margin-bottom:0}
h3{font-size:17.5px;line-height:1.25;margin:0 0 16px}p,pre,details{margin:0 0 16px}
details+details{margin-top:-16px}summary+pre{margin-top:16px}
code,pre{font:12px/1.45 ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace}
code{background:var(--code);border-radius:6px;padding:2px 5px}
pre{background:var(--head);border-radius:6px;padding:16px}pre code{background:none;padding:0}
pre span{display:block;white-space:pre-wrap}
.old{background:var(--old);color:var(--oldink)}.new{background:var(--new);color:var(--newink)}
sub{font-size:10.5px;line-height:0;vertical-align:-.25em}
"""
"""A comment as GitHub shows it: sizes and colours of its light and dark theme."""

PAGE = """
.bar{position:static}.block{content-visibility:visible}
.window{background:var(--bg);border:1px solid var(--line);border-radius:8px;height:HEIGHTpx;overflow:hidden}
.title{background:var(--card);border-bottom:1px solid var(--line);padding:7px 14px;color:var(--soft);font-size:13px}
stop{stop-color:var(--bg)}
.title i{display:inline-block;width:11px;height:11px;border-radius:6px;background:var(--line);margin-right:7px}
"""


class Terminal(io.StringIO):
    encoding = "utf-8"


class Xhtml(HTMLParser):
    """HTML as XML: every element is closed, every attribute has a value. Comments are left out."""

    VOID = frozenset({"br", "hr", "img", "input"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        given = "".join(f' {name}="{escape(name if value is None else value)}"' for name, value in attrs)
        self.text += f"<{tag}{given}{'/' if tag in self.VOID else ''}>"

    def handle_endtag(self, tag: str) -> None:
        self.text += f"</{tag}>"

    def handle_data(self, data: str) -> None:
        self.text += escape(data, quote=False)


def printed(*arguments: str) -> str:
    """What a command prints to a terminal."""
    out = Terminal()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        run(list(arguments))
    return re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", TIME, out.getvalue())


def terminal(name: str, command: str, text: str) -> str:
    """What a command printed, in a terminal."""
    console = Console(record=True, width=WIDTH, file=io.StringIO())
    console.print(Text.from_ansi(f"$ {command}\n{text.rstrip()}"))
    svg = console.export_svg(title=command, theme=DIMMED_MONOKAI, unique_id=name)
    # No font is fetched from elsewhere.
    svg = re.sub(r"@font-face \{.*?\}\n", "", svg, flags=re.DOTALL).replace(
        "Fira Code", "ui-monospace, Menlo, Consolas"
    )
    svg = svg.replace(">", f' role="img">\n    <title>{escape(command)} in a terminal</title>', 1)
    return re.sub(r"[ \t]+\n", "\n", svg)


def framed(title: str, about: str, size: tuple[int, int], style: str, html: str, over: str = "") -> str:
    """HTML as a picture, and SVG over it. As an image in a page, it loads nothing and runs nothing."""
    width, height = size
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}">\n<title>{escape(title)}</title>\n<desc>{escape(about)}</desc>\n'
        f'<style>{escape(style, quote=False)}</style>\n<foreignObject width="{width}" height="{height}">\n'
        f'<body xmlns="http://www.w3.org/1999/xhtml">{Xhtml(html).text}</body>\n</foreignObject>\n{over}</svg>\n'
    )


def diff(renderer: RendererHTML, tokens: Sequence[Token], index: int, *_: object) -> str:
    """A block of code, with the lines of a diff in the colours of theirs."""
    kinds = {"+": "new", "-": "old"}
    lines = tokens[index].content.splitlines()
    spans = (f'<span class="{kinds.get(line[:1], "same")}">{escape(line)}</span>' for line in lines)
    return f"<pre><code>{''.join(spans)}</code></pre>"


def comment(markdown: str) -> str:
    """The plan as the comment of a pull request; a reader has opened the two records that change."""
    reader = MarkdownIt("commonmark")
    reader.add_render_rule("fence", diff)
    html = reader.render(markdown[: markdown.index("<br>\n<sub>Read with")])
    html = html.replace("<details><summary><code>~", "<details open><summary><code>~")
    head = '<div class="head"><b>github-actions</b> <i>bot</i> commented</div>'
    text = f'<div class="comment">{head}<div class="text">{html}</div></div>'
    about = (
        "A headline says what the plan means for mail. Each change can be opened; two are, with their values as a diff."
    )
    return framed("A plan as the comment of a pull request", about, (900, 780), COMMENT, text)


def page(html: str) -> str:
    """The upper part of the plan as a page, as a browser shows it once the page's script has run."""
    width, height = size = (1000, 880)
    found = re.search(r"<style>(.*?)@media\(max-width.*?</style>.*<body>(.*?)</section>", html, re.DOTALL)
    assert found is not None
    style, body = found.groups()
    body = body.replace('<div class="bar" hidden>', '<div class="bar">').replace("Open all", "Close all")
    text = f'<div class="window"><div class="title"><i></i><i></i><i></i>plan.html</div>{body}</section></main></div>'
    about = "Headline, counts, a search and filters; below, each change with its line of YAML, its findings and values."
    fade = (
        '<linearGradient id="fade" x2="0" y2="1"><stop stop-opacity="0"/><stop offset="1"/></linearGradient>'
        f'<rect x="1" y="{height - 81}" width="{width - 2}" height="80" rx="8" fill="url(#fade)"/>\n'
    )
    return framed("A plan as a page", about, size, style + PAGE.replace("HEIGHT", str(height)), text, fade)


def seed(sandbox: Sandbox) -> None:
    """The zone as somebody else has kept it so far."""
    weak = "v=DMARC1; p=none; fo=1; ruf=mailto:owner@acme.example"
    records = [
        {"name": "acme.example", "type": "TXT", "values": ["v=spf1 include:_spf.crm.example ~all", "site=1"]},
        {"name": "_dmarc.acme.example", "type": "TXT", "values": [weak]},
    ]  # fmt: skip
    sandbox.seed(zones=[{"name": "acme.example", "records": records}])


def weaken(sandbox: Sandbox) -> None:
    """Somebody edits the DMARC policy by hand."""
    client = sandbox.client("route53")
    (zone,) = client.list_hosted_zones()["HostedZones"]
    values = [{"Value": '"v=DMARC1; p=none"'}]
    loose = {"Name": "_dmarc.acme.example", "Type": "TXT", "TTL": 300, "ResourceRecords": values}
    change = {"Changes": [{"Action": "UPSERT", "ResourceRecordSet": loose}]}
    client.change_resource_record_sets(HostedZoneId=zone["Id"], ChangeBatch=change)


def pictures(sandbox: Sandbox, home: Path) -> dict[str, str]:
    """The pictures by the names of their files. home: an empty directory to work in."""
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    yaml = re.search(r"```yaml\n.*?\n(.*?)```", readme, re.DOTALL)
    assert yaml is not None
    # Nothing of the caller's environment decides what is drawn.
    environment = {"FORCE_COLOR": "1", "TERM": "xterm-256color", "COLUMNS": str(WIDTH), "RECON_DIR": f"{home}/.recon"}
    environment |= {"HOME": str(home), **sandbox.environment()}
    with mock.patch.dict(os.environ, environment, clear=True), contextlib.chdir(home):
        seed(sandbox)
        Path("state").mkdir()
        Path("state/mail.yaml").write_text(yaml[1], encoding="utf-8")
        found = {
            "plan.svg": terminal("plan", "recon plan", printed("plan", "--out", "plan.json")),
            "pull-request.svg": comment(printed("show", "plan.json", "--format", "markdown")),
            "page.svg": page(printed("show", "plan.json", "--format", "html")),
        }
        printed("apply", "--auto-approve")
        weaken(sandbox)
        found["drift.svg"] = terminal("drift", "recon drift", printed("drift"))
    return found


def main() -> None:
    with tempfile.TemporaryDirectory() as home, Sandbox(rates=None) as sandbox:
        for name, svg in pictures(sandbox, Path(home)).items():
            (DOCS / name).write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main()
