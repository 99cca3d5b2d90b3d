"""Writes the mail pipeline's results to GitLab: the plan as one note of the merge request, drift as one issue for each
environment, and an issue where an apply failed.

    python -I -m reconciler.scaffold.gitlab_notes note FILE
    python -I -m reconciler.scaffold.gitlab_notes issue CODE FILE [ENVIRONMENT]   CODE is the exit code of recon drift
    python -I -m reconciler.scaffold.gitlab_notes failed

RECON_GITLAB_TOKEN is a masked variable with a project access token (role Reporter, scope api): a job's own token can
write neither. Without it nothing is written; the artifacts of the job have the same text.
Source: GitLab REST API, "Notes API" and "Issues API".
"""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TITLE = "Mail has drifted"
LABEL = "mail-drift"
FAILED_LABEL = "mail-apply"
PAGE = 100


class GitLabApi:
    """The REST API of the project that the job runs for, as the owner of the token."""

    def __init__(self, token: str, project: str) -> None:
        self.token = token
        self.base = os.environ["CI_API_V4_URL"]
        self.project = f"/projects/{urllib.parse.quote(project, safe='')}"

    def call(self, method: str, path: str, **fields: object) -> Any:
        """One request; returns the parsed JSON response. Raises SystemExit with GitLab's message on an error."""
        request = urllib.request.Request(
            self.base + path, method=method, data=json.dumps(fields).encode() if fields else None,
            headers={"PRIVATE-TOKEN": self.token, "Content-Type": "application/json"},
        )  # fmt: skip
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            message = error.read(500).decode(errors="replace")
            raise SystemExit(f"GitLab answered {method} {path} with {error.code}: {message}") from None
        except (urllib.error.URLError, TimeoutError) as error:
            raise SystemExit(f"GitLab could not be reached: {error}") from None

    def pages(self, path: str) -> Iterator[dict[str, Any]]:
        """Every item of a list."""
        page = 1
        while True:
            found = self.call("GET", f"{path}{'&' if '?' in path else '?'}per_page={PAGE}&page={page}")
            yield from found
            if len(found) < PAGE:
                return
            page += 1


def note(api: GitLabApi, request: str, body: str) -> str:
    """Create the note of a merge request with the plan, or update it; only a note of this token's user is updated."""
    marker = body.partition("\n")[0]  # hidden, and the same for every plan of this stack
    if not marker.strip():
        return "there is no plan to show"
    notes = f"{api.project}/merge_requests/{request}/notes"
    me = api.call("GET", "/user")["id"]
    for one in api.pages(f"{notes}?sort=asc"):
        if one["author"]["id"] == me and str(one["body"]).startswith(marker):
            api.call("PUT", f"{notes}/{one['id']}", body=body)
            return f"note {one['id']} of the merge request has the plan"
    created = api.call("POST", notes, body=body)
    return f"note {created['id']} of the merge request has the plan"


def issue(api: GitLabApi, code: str, body: str, environment: str = "") -> str:
    """Open, update or close the one issue on drift of an environment."""
    issues = f"{api.project}/issues"
    label, title = (f"{LABEL}-{environment}", f"{TITLE} in {environment}") if environment else (LABEL, TITLE)
    found = next(api.pages(f"{issues}?state=opened&labels={label}"), None)
    if code == "2" and found is None:
        created = api.call("POST", issues, title=title, labels=label, description=body)
        return f"issue {created['iid']} opened"
    if code == "2" and found is not None:
        api.call("PUT", f"{issues}/{found['iid']}", description=body)
        return f"issue {found['iid']} updated"
    if code == "0" and found is not None:
        api.call("POST", f"{issues}/{found['iid']}/notes", body="No drift any more.")
        api.call("PUT", f"{issues}/{found['iid']}", state_event="close")
        return f"issue {found['iid']} closed"
    return "no issue is open" if code == "0" else "recon could not check: see above"


def failed(api: GitLabApi) -> str:
    """Open an issue that says which commit was not applied whole."""
    title = f"Mail: {os.environ.get('CI_COMMIT_SHORT_SHA', 'a commit')} was not applied"
    body = f"See the [job]({os.environ.get('CI_JOB_URL', '')}). Applying again is safe: run its plan and apply again."
    created = api.call("POST", f"{api.project}/issues", title=title, labels=FAILED_LABEL, description=body)
    return f"issue {created['iid']} opened"


def main(arguments: list[str]) -> int:
    """The command line."""
    token = os.environ.get("RECON_GITLAB_TOKEN", "")
    request = os.environ.get("CI_MERGE_REQUEST_IID", "")
    if (arguments[:1] or [""])[0] not in ("note", "issue", "failed") or (
        len(arguments) < 2 and arguments != ["failed"]
    ):
        sys.stderr.write(__doc__ or "")
        return 1
    if not token:
        sys.stdout.write("RECON_GITLAB_TOKEN is not set: nothing is written to GitLab.\n")
        return 0
    if arguments[0] == "note" and not request:
        sys.stdout.write("This is not a merge request pipeline: there is nothing to comment on.\n")
        return 0
    api = GitLabApi(token, os.environ.get("CI_MERGE_REQUEST_PROJECT_ID") or os.environ["CI_PROJECT_ID"])
    if arguments[0] == "failed":
        result = failed(api)
    elif arguments[0] == "note":
        result = note(api, request, Path(arguments[1]).read_text(encoding="utf-8"))
    else:
        result = issue(api, arguments[1], Path(arguments[2]).read_text(encoding="utf-8"), *arguments[3:4])
    sys.stdout.write(result + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
