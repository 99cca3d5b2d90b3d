"""How many files a reader opens to follow one thing through recon: those whose functions a run enters.

Two ways are traced with ``sys.setprofile`` on the embedded sandbox: from the YAML of a domain to its DKIM CNAMEs in
Route 53, and from the YAML of an SMTP user to its password in Secrets Manager. Each is loaded, planned and applied;
the sandbox and what runs on import are not counted. All files count that are entered, also those that find nothing to
do. ``way``: without the rules, which judge the plan and pass nothing on. ``own``: without what a stack that declares
nothing enters, too.

    python benchmarks/ways.py                 this checkout
    python benchmarks/ways.py --tree FOLDER   another checkout, such as a git worktree of an earlier commit
    python benchmarks/ways.py --list          with the files and how many functions of each are entered
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import pkgutil
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

ACCOUNT = "111122223333"
REGION = "us-east-1"
STACK = {"stack": {"name": "acme", "account": ACCOUNT, "regions": [REGION]}}
USER = {"from_addresses": ["*@acme.com"], "credentials": {"secretsmanager": {"name": "mail/news"}}}
WAYS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "domain to DKIM CNAME": {"domains": {"acme.com": {"dkim": {"signing_attributes_origin": "AWS_SES"}}}},
    "SMTP user to password": {"smtp_users": {"news": USER}},
}

Function = tuple[str, str]
"""File below ``reconciler/`` and qualified name."""


@contextmanager
def entered(package: Path) -> Iterator[set[Function]]:
    """Collect the functions of ``package`` that any thread enters while the block runs."""
    found: set[CodeType] = set()
    functions: set[Function] = set()

    def profile(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            found.add(frame.f_code)

    threading.setprofile(profile)
    sys.setprofile(profile)
    try:
        yield functions
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]
    for code in found:
        if code.co_filename.startswith(f"{package}{os.sep}") and not code.co_name.startswith("<"):
            file = Path(code.co_filename).relative_to(package).as_posix()
            if "sandbox" not in file:
                functions.add((file, code.co_qualname))


def walk(document: dict[str, Any], package: Path) -> set[Function]:
    """The functions that load, plan and apply ``document`` on an empty AWS with a zone for acme.com."""
    from reconciler import applier, running
    from reconciler.desired import load
    from reconciler.sandbox import Sandbox

    with Sandbox() as sandbox, tempfile.TemporaryDirectory() as folder:
        os.environ.update(sandbox.environment())
        os.environ["RECON_DIR"] = folder
        sandbox.client("route53").create_hosted_zone(Name="acme.com", CallerReference="ways")
        state = Path(folder) / "state.yaml"
        state.write_text(json.dumps({**STACK, **document}), encoding="utf-8")
        with entered(package) as functions:
            planned = running.make(load(state, None).state, purpose="apply")
            snapshot: Any = getattr(planned, "snapshot", None) or planned.world  # type: ignore[attr-defined]
            result = applier.apply_plan(planned.plan, planned.aws, zones=snapshot.zones)
        expected = "applied" if document else "no_changes"
        assert result.outcome == expected, result.outcome
        _check(document, sandbox.client)
    return functions


def _check(document: dict[str, Any], client: Callable[[str], Any]) -> None:
    """The way was walked to its end."""
    if "domains" in document:
        route53 = client("route53")
        zone = route53.list_hosted_zones()["HostedZones"][0]["Id"]
        sets = route53.list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]
        assert sum(one["Type"] == "CNAME" and "._domainkey." in one["Name"] for one in sets) == 3
    if "smtp_users" in document:
        assert client("secretsmanager").get_secret_value(SecretId="mail/news")["SecretString"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tree", type=Path, default=Path(__file__).parents[1], help="the checkout to trace")
    parser.add_argument("--list", action="store_true", help="print the files, too")
    options = parser.parse_args()
    tree = options.tree.resolve()
    sys.path.insert(0, str(tree))
    for name in [name for name in os.environ if name.startswith(("AWS_", "RECON_"))]:
        del os.environ[name]
    package = tree / "reconciler"
    for module in pkgutil.walk_packages([str(package)], "reconciler."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    assert Path(str(sys.modules["reconciler"].__file__)).parent == package
    ways = {name: walk(document, package) for name, document in WAYS.items()}
    print(f"{'':24}" + "".join(f"{head:>17}" for head in ("all files", "way", "own", "functions", "own functions")))
    for name, functions in ways.items():
        own = functions - ways["nothing"]
        files, spent = ({file for file, _ in some} for some in (functions, ways["nothing"]))
        on_the_way = {file for file in files if "rules" not in file}
        numbers = (files, on_the_way, files - spent, functions, own)
        print(f"{name:24}" + "".join(f"{len(number):>17}" for number in numbers))
    if options.list:
        for name, functions in ways.items():
            print(f"\n{name}:")
            for file, number in sorted(Counter(file for file, _ in functions).items()):
                print(f"  {number:4} {file}")


if __name__ == "__main__":
    main()
