"""Draws docs/plan.svg and docs/drift.svg: the first YAML of the README, planned and drifted on the sandbox.

Run with `python docs/pictures.py`. What stands in the pictures is what the commands print.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import tempfile
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI
from rich.text import Text

from reconciler.cli import run
from reconciler.sandbox import CLEARED, Sandbox

DOCS = Path(__file__).parent
WIDTH = 108


class Terminal(io.StringIO):
    encoding = "utf-8"


def printed(*arguments: str) -> str:
    """What a command prints to a terminal."""
    out = Terminal()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        run(list(arguments))
    return out.getvalue()


def draw(name: str, command: str, text: str) -> None:
    console = Console(record=True, width=WIDTH, file=io.StringIO())
    console.print(Text.from_ansi(f"$ {command}\n{text.rstrip()}"))
    svg = console.export_svg(title=command, theme=DIMMED_MONOKAI, unique_id=name)
    # No font is fetched from elsewhere.
    svg = re.sub(r"@font-face \{.*?\}\n", "", svg, flags=re.DOTALL).replace(
        "Fira Code", "ui-monospace, Menlo, Consolas"
    )
    svg = re.sub(r"[ \t]+\n", "\n", svg)
    (DOCS / f"{name}.svg").write_text(svg, encoding="utf-8")


def main() -> None:
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    found = re.search(r"```yaml\n(.*?)```", readme, re.DOTALL)
    assert found is not None
    with tempfile.TemporaryDirectory() as home, Sandbox(rates=None) as sandbox:
        for name in CLEARED:
            os.environ.pop(name, None)
        os.environ.update(sandbox.environment(), FORCE_COLOR="1", COLUMNS=str(WIDTH), RECON_DIR=f"{home}/.recon")
        weak = "v=DMARC1; p=none; fo=1; ruf=mailto:owner@acme.example"
        records = [
            {"name": "acme.example", "type": "TXT", "values": ["v=spf1 include:_spf.crm.example ~all", "site=1"]},
            {"name": "_dmarc.acme.example", "type": "TXT", "values": [weak]},
        ]  # fmt: skip
        sandbox.seed(zones=[{"name": "acme.example", "records": records}])
        os.chdir(home)
        Path("state").mkdir()
        Path("state/mail.yaml").write_text(found[1].partition("\n")[2], encoding="utf-8")
        draw("plan", "recon plan", printed("plan"))
        printed("apply", "--auto-approve")
        client = sandbox.client("route53")
        (zone,) = client.list_hosted_zones()["HostedZones"]
        values = [{"Value": '"v=DMARC1; p=none"'}]
        loose = {"Name": "_dmarc.acme.example", "Type": "TXT", "TTL": 300, "ResourceRecords": values}
        change = {"Changes": [{"Action": "UPSERT", "ResourceRecordSet": loose}]}
        client.change_resource_record_sets(HostedZoneId=zone["Id"], ChangeBatch=change)
        draw("drift", "recon drift", printed("drift"))


if __name__ == "__main__":
    main()
