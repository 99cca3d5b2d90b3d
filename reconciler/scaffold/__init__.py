"""What `recon init` writes: a commented state and the workflow files of a forge. It never writes over anything.

The templates are texts with ``@NAME@`` where something is filled in: recon's variables (``${region}``) and GitHub's
expressions (``${{ ... }}``) are theirs.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from reconciler import __version__, regions
from reconciler.errors import InvalidState, ReconError
from reconciler.scaffold import github, gitlab, state

Forge = Literal["github", "gitlab", "none"]
FORGES: Final = ("github", "gitlab", "none")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is filled in. ``name`` is the stack's; ``account`` has twelve digits; ``domain`` is one that sends."""

    name: str = "acme-mail"
    account: str = "111122223333"
    region: str = "us-east-1"
    domain: str = "acme.example"
    forge: Forge = "github"
    package: str = f"recon-mail=={__version__}"
    """What pip installs in a job: a name with its version, or a URL with its commit."""


def name_of(directory: Path) -> str:
    """A stack's name made of a directory's, as far as its characters allow."""
    found = re.sub(r"[^A-Za-z0-9._-]+", "-", directory.resolve().name).strip("-._")[:64].strip("-._")
    return found or "mail"


def files(wanted: Wanted) -> dict[str, str]:
    """Relative path -> text of everything that may be written.

    Raises InvalidState where what was given would not make a valid state.
    """
    fill = {"NAME": wanted.name, "ACCOUNT": wanted.account, "REGION": wanted.region, "DOMAIN": wanted.domain,
            "PACKAGE": _package(wanted.package), "PARTITION": regions.partition_of(wanted.region)}  # fmt: skip
    templates = dict(state.FILES)
    if wanted.forge == "github":
        templates |= github.FILES
    elif wanted.forge == "gitlab":
        templates |= gitlab.FILES
    found = {path: _filled(text, fill) for path, text in templates.items()}
    if wanted.forge == "gitlab":
        found[gitlab.NOTES] = gitlab.notes()
    _check({path: text for path, text in found.items() if path.startswith("state/")})
    return found


def _package(text: str) -> str:
    """A requirement of pip's that may stand in double quotes in YAML and in a shell. Raises ReconError."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+=@:/~!<>,#&?%\[\]() -]{0,511}", text):
        raise ReconError(f"--package {text!r} is nothing that pip could install", hint="such as recon-mail==0.1.0")
    return text


def _filled(text: str, fill: Mapping[str, str]) -> str:
    return re.sub(r"@([A-Z]+)@", lambda match: fill[match.group(1)], text.lstrip("\n"))


def _check(texts: Mapping[str, str]) -> None:
    from reconciler import desired

    with tempfile.TemporaryDirectory() as folder:
        for path, text in texts.items():
            (Path(folder) / Path(path).name).write_text(text, encoding="utf-8")
        try:
            desired.load(folder)
        except InvalidState as error:
            found = [d for d in error.diagnostics if d.severity == "error"]
            raise ReconError(f"the state would not be valid: {found[0].message}", hint=found[0].hint) from None


def write(directory: Path, texts: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Write what is not there yet; returns the paths written and those kept as they were.

    A ``state/`` that has YAML already gets nothing: two files might say the same thing twice. Raises ReconError.
    """
    written: list[str] = []
    kept: list[str] = []
    settled = any(p.suffix in {".yaml", ".yml"} for p in (directory / "state").glob("**/*"))
    for path, text in texts.items():
        target = directory / path
        if (settled and path.startswith("state/")) or target.is_symlink():
            kept.append(path)
            continue
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            kept.append(path)
        except OSError as problem:
            raise ReconError(f"{target} could not be written: {problem.strerror}") from None
        else:
            written.append(path)
    return written, kept
