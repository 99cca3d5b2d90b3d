"""The pipeline for GitLab CI: a plan for each merge request, its apply from the default branch, drift on a schedule.

Roles are assumed with an ID token (GitLab Docs, "Configure OpenID Connect in AWS"); boto3 reads it from the file that
the variables name. ``gitlab_notes``, which is copied unchanged, writes notes and issues in GitLab.
"""

from __future__ import annotations

from importlib import resources
from typing import Final

_MAIL: Final = r"""
# Mail on AWS. Include it in .gitlab-ci.yml:   include: [{local: .gitlab/mail.yml}]
#
# The role recon-plan trusts this project and has the policy that `recon iam-policy plan` prints; recon-apply trusts
# only its default branch, and has that of `recon iam-policy apply`. Drift needs a schedule (Build, Pipeline schedules).
# For the note in merge requests and the issue on drift, RECON_GITLAB_TOKEN: see .gitlab/mail.py.

.mail:
  image: python:3.12-slim
  variables:
    RECON: "@PACKAGE@" # what pip installs
  before_script:
    - pip install --quiet "$RECON"

.mail-role:
  extends: .mail
  id_tokens:
    AWS_TOKEN: {aud: sts.amazonaws.com}
  variables:
    AWS_REGION: @REGION@
    AWS_ROLE_ARN: arn:@PARTITION@:iam::@ACCOUNT@:role/recon-plan
    AWS_ROLE_SESSION_NAME: gitlab-$CI_PIPELINE_ID
    AWS_WEB_IDENTITY_TOKEN_FILE: /tmp/aws-token
  before_script:
    - pip install --quiet "$RECON"
    - (umask 077; printf '%s' "$AWS_TOKEN" > "$AWS_WEB_IDENTITY_TOKEN_FILE")

mail validate:
  extends: .mail
  stage: test
  rules:
    - if: $CI_PIPELINE_SOURCE == "merge_request_event"
      changes: [state/**/*]
  script:
    - recon validate

# A merge request from a fork has no credentials: it shows the declared difference to the target branch.
mail declared:
  extends: .mail
  image: python:3.12
  stage: test
  rules:
    - if: >-
        $CI_PIPELINE_SOURCE == "merge_request_event"
        && $CI_MERGE_REQUEST_SOURCE_PROJECT_ID != $CI_MERGE_REQUEST_PROJECT_ID
      changes: [state/**/*]
  script:
    - git fetch --quiet --depth 1 "$CI_MERGE_REQUEST_PROJECT_URL" "$CI_MERGE_REQUEST_TARGET_BRANCH_NAME"
    - git worktree add --detach ../base FETCH_HEAD
    - recon plan --offline --against ../base/state

mail plan:
  extends: .mail-role
  stage: test
  rules:
    - if: >-
        $CI_PIPELINE_SOURCE == "merge_request_event"
        && $CI_MERGE_REQUEST_SOURCE_PROJECT_ID == $CI_MERGE_REQUEST_PROJECT_ID
      changes: [state/**/*]
    - if: $CI_PIPELINE_SOURCE == "push" && $CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH
      changes: [state/**/*]
  script:
    - code=0
    - recon plan --out plan.json --format markdown > plan.md || code=$?
    - cat plan.md
    - python .gitlab/mail.py note plan.md
    - test "$code" = 0 || exit "$code"
    - python -c 'import json; print("PLAN_DIGEST=" + json.load(open("plan.json"))["digest"])' > plan.env
  artifacts:
    when: always
    expose_as: mail plan
    paths: [plan.md, plan.json]
    reports: {dotenv: plan.env}
    expire_in: 30 days

# Applies exactly the plan of this pipeline, or refuses it if anything that it depends on has changed since.
mail apply:
  extends: .mail-role
  stage: deploy
  environment: production
  resource_group: mail
  needs: [mail plan]
  rules:
    - if: $CI_PIPELINE_SOURCE == "push" && $CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH
      changes: [state/**/*]
      when: manual
  variables:
    AWS_ROLE_ARN: arn:@PARTITION@:iam::@ACCOUNT@:role/recon-apply
  script:
    - recon apply plan.json --state state --expect "$PLAN_DIGEST" --lock-timeout 10m

mail drift:
  extends: .mail-role
  stage: test
  rules:
    - if: $CI_PIPELINE_SOURCE == "schedule"
  script:
    - code=0
    - recon drift --format markdown --out drift.json > drift.md || code=$?
    - cat drift.md
    - python .gitlab/mail.py issue "$code" drift.md
    - exit "$code"
  artifacts:
    when: always
    expose_as: mail drift
    paths: [drift.md, drift.json]
    expire_in: 90 days
"""

_ROOT: Final = r"""
include:
  - local: .gitlab/mail.yml
"""

NOTES: Final = ".gitlab/mail.py"
"""The path of the script that writes notes and issues."""

FILES: Final = {".gitlab/mail.yml": _MAIL, ".gitlab-ci.yml": _ROOT}
"""Path -> template."""


def notes() -> str:
    """The text of the script that writes notes and issues: a module of recon that needs only Python."""
    return (resources.files("reconciler.scaffold") / "gitlab_notes.py").read_text(encoding="utf-8")
