"""The files of `recon init`: a commented state and the workflow files of a forge. Existing files are kept.

The templates are in ``files/``: those of ``any``, and of the forge. Outside ``state/`` the first name has no dot there,
so that no tool takes a template for a file of this repository. They have ``@NAME@`` placeholders, because recon's
variables (``${region}``) and GitHub's expressions (``${{ ... }}``) have other forms.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from reconciler import regions
from reconciler.errors import InvalidState, ReconError

Forge = Literal["github", "gitlab", "none"]
FORGES: Final = ("github", "gitlab", "none")
_HERE: Final = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Place:
    """One environment that a pipeline plans and applies: its name (empty without environments), account and region."""

    environment: str
    account: str
    region: str

    @property
    def suffix(self) -> str:
        return f"-{self.environment}" if self.environment else ""

    @property
    def option(self) -> str:
        return f" --env {self.environment}" if self.environment else ""


@dataclass(frozen=True, slots=True)
class InitOptions:
    """The values of the placeholders. ``name`` is the stack's; ``account`` has twelve digits; ``domain`` sends mail."""

    name: str = "acme-mail"
    account: str = "111122223333"
    region: str = "us-east-1"
    domain: str = "acme.example"
    forge: Forge = "github"
    package: str = ""
    """What pip installs in a job, pinned: a wheel by its hash, or a git URL by its commit. Without one no workflow
    files are written."""
    places: tuple[Place, ...] = ()
    """The environments of the state, or one without a name; empty: account and region of these options."""


def name_of(directory: Path) -> str:
    """A stack's name from a directory's name, without the characters that are not allowed."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", directory.resolve().name).strip("-._")[:64].strip("-._")
    return name or "mail"


def files(options: InitOptions) -> dict[str, str]:
    """The relative path and text of every file.

    Raises ReconError if the options do not make a valid state.
    """
    partition = regions.partition_of(options.region)
    topics = dict.fromkeys((options.region, regions.home_region(partition, options.region)))
    values = {"NAME": options.name, "ACCOUNT": options.account, "REGION": options.region, "DOMAIN": options.domain,
              "PARTITION": partition, "TOPICREGIONS": f"[{', '.join(topics)}]"}  # fmt: skip
    texts = {path: _fill_in(text, values) for path, text in _templates("any")}
    _check({path: text for path, text in texts.items() if path.startswith("state/")})
    if not options.package:
        return texts
    requirement, hashes = pinned(options.package)
    places = options.places or (Place("", options.account, options.region),)
    values |= {"PACKAGE": requirement, "HASHES": hashes, "MATRIX": _matrix(places)}
    for path, text in _templates(options.forge):
        texts[path] = _fill_in(_for_each(text, places), {**values, **_values_of(places[0])})
    return texts


def _values_of(place: Place) -> dict[str, str]:
    return {
        "ACCOUNT": place.account, "REGION": place.region, "PARTITION": regions.partition_of(place.region),
        "SUFFIX": place.suffix, "ENVOPTION": place.option, "ENVIRONMENT": place.environment or "production",
        "OF": place.suffix.replace("-", " ", 1),
    }  # fmt: skip


def _for_each(text: str, places: Sequence[Place]) -> str:
    """The text with what is between two lines ``# @EACH@`` repeated for each place."""
    parts = re.split(r"^ *# @EACH@\n", text, flags=re.MULTILINE)
    repeated = (
        "\n".join(_fill_in(part, _values_of(place)) for place in places) if number % 2 else part
        for number, part in enumerate(parts)
    )
    return "".join(repeated)


def _matrix(places: Sequence[Place]) -> str:
    """The places as a list for ``strategy.matrix.include``, which is JSON in YAML."""
    return json.dumps([
        {
            "env": one.environment, "account": one.account, "region": one.region, "artifact": f"plan{one.suffix}",
            "page": f"plan{one.suffix}-page", "label": f"mail-drift{one.suffix}",
            "title": f"Mail has drifted{f' in {one.environment}' if one.environment else ''}",
            "role": f"arn:{regions.partition_of(one.region)}:iam::{one.account}:role/recon-",
        }
        for one in places
    ])  # fmt: skip


def _templates(kind: str) -> Iterator[tuple[str, str]]:
    folder = _HERE / "files" / kind
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        path = file.relative_to(folder).as_posix()
        yield path if path.startswith("state/") else f".{path}", file.read_text(encoding="utf-8")


_HASH: Final = r"sha256[:=]([0-9a-f]{64})"
_URL: Final = r"https://[A-Za-z0-9._~/%+:-]+"


def pinned(text: str) -> tuple[str, str]:
    """What pip installs as a line of a requirements file, and the option that makes pip check its hash. Raises
    ReconError for what is not pinned: a name alone can be somebody else's tomorrow."""
    plain = re.sub(r"^recon-mail\s*@\s*", "", text.strip())
    if re.fullmatch(rf"git\+{_URL}@[0-9a-f]{{40}}", plain):
        return f"recon-mail @ {plain}", ""
    if wheel := re.fullmatch(rf"({_URL}\.whl)(?:#| +--hash=){_HASH}", plain):
        return f"recon-mail @ {wheel[1]} --hash=sha256:{wheel[2]}", "--require-hashes"
    if release := re.fullmatch(rf"recon-mail==([0-9][A-Za-z0-9.]*) +--hash={_HASH}", plain):
        return f"recon-mail=={release[1]} --hash=sha256:{release[2]}", "--require-hashes"
    raise ReconError(
        f"--package {text!r} is not pinned",
        hint="a wheel by its hash (https://.../recon_mail-0.2.0-py3-none-any.whl#sha256=...), or "
        "git+https://HOST/OWNER/recon@ and the 40 digits of a commit",
    )


def places_of(directory: Path) -> tuple[Place, ...]:
    """The environments of a state that is there, with the account and the first region of each; empty where there is no
    state. Raises ReconError for one that is not valid."""
    from reconciler import desired

    if not any(p.suffix in {".yaml", ".yml"} for p in (directory / "state").glob("**/*")):
        return ()
    found = []
    for name in desired.environments(directory / "state") or (None,):
        stack = desired.load(directory / "state", name).state.stack
        if name and not re.fullmatch(r"[A-Za-z0-9_-]+", name):
            raise ReconError(f"a pipeline cannot have the environment {name}", hint="letters, digits, - and _")
        found.append(Place(name or "", stack.account, stack.regions[0]))
    return tuple(found)


def _fill_in(text: str, values: Mapping[str, str]) -> str:
    return re.sub(r"@([A-Z]+)@", lambda match: values.get(match.group(1), match[0]), text)


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
