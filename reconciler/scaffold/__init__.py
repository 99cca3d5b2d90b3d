"""The files of `recon init`: a commented state and the workflow files of a forge. Existing files are kept.

The templates are in ``files/``: those of ``any``, and of the forge. Outside ``state/`` the first name has no dot there,
so that no tool takes a template for a file of this repository. They have ``@NAME@`` placeholders, because recon's
variables (``${region}``) and GitHub's expressions (``${{ ... }}``) have other forms.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from reconciler import __version__, regions
from reconciler.errors import InvalidState, ReconError

Forge = Literal["github", "gitlab", "none"]
FORGES: Final = ("github", "gitlab", "none")
_HERE: Final = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class InitOptions:
    """The values of the placeholders. ``name`` is the stack's; ``account`` has twelve digits; ``domain`` sends mail."""

    name: str = "acme-mail"
    account: str = "111122223333"
    region: str = "us-east-1"
    domain: str = "acme.example"
    forge: Forge = "github"
    package: str = f"recon-mail=={__version__}"
    """What pip installs in a job: a name with a version, or a URL with a commit."""


def name_of(directory: Path) -> str:
    """A stack's name from a directory's name, without the characters that are not allowed."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", directory.resolve().name).strip("-._")[:64].strip("-._")
    return name or "mail"


def files(options: InitOptions) -> dict[str, str]:
    """The relative path and text of every file.

    Raises ReconError if the options do not make a valid state.
    """
    values = {"NAME": options.name, "ACCOUNT": options.account, "REGION": options.region, "DOMAIN": options.domain,
              "PACKAGE": _package(options.package), "PARTITION": regions.partition_of(options.region)}  # fmt: skip
    texts = {path: _fill_in(text, values) for kind in ("any", options.forge) for path, text in _templates(kind)}
    _check({path: text for path, text in texts.items() if path.startswith("state/")})
    return texts


def _templates(kind: str) -> Iterator[tuple[str, str]]:
    folder = _HERE / "files" / kind
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        path = file.relative_to(folder).as_posix()
        yield path if path.startswith("state/") else f".{path}", file.read_text(encoding="utf-8")


def _package(text: str) -> str:
    """A requirement for pip that is safe in double quotes in YAML and in a shell. Raises ReconError."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+=@:/~!<>,#&?%\[\]() -]{0,511}", text):
        raise ReconError(f"pip cannot install --package {text!r}", hint="such as recon-mail==0.1.0")
    return text


def _fill_in(text: str, values: Mapping[str, str]) -> str:
    return re.sub(r"@([A-Z]+)@", lambda match: values[match.group(1)], text)


def _check(texts: Mapping[str, str]) -> None:
    from reconciler import desired

    try:
        desired.load_texts(texts)
    except InvalidState as error:
        first = next(d for d in error.diagnostics if d.severity == "error")
        raise ReconError(f"the state would not be valid: {first.message}", hint=first.hint) from None


def write(directory: Path, texts: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Write the files that do not exist; returns the paths written and the paths kept.

    A ``state/`` that already has YAML gets no files: they might declare something twice. Nothing is written through a
    link below ``directory``, which may have come with a checkout. Raises ReconError.
    """
    folders = {directory / folder for path in texts for folder in Path(path).parents}
    if link := next((folder for folder in sorted(folders - {directory}) if folder.is_symlink()), None):
        raise ReconError(f"{link} is a symbolic link, and nothing is written through links", hint="delete the link")
    written: list[str] = []
    kept: list[str] = []
    has_state = any(p.suffix in {".yaml", ".yml"} for p in (directory / "state").glob("**/*"))
    for path, text in texts.items():
        target = directory / path
        if (has_state and path.startswith("state/")) or target.is_symlink():
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
