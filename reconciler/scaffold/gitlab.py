"""The pipeline for GitLab CI: a plan for each merge request, its apply from the default branch, drift on a schedule.

Roles are taken on through an ID token (GitLab Docs, "Configure OpenID Connect in AWS"); boto3 reads it from the file
that the variables name.
"""

from __future__ import annotations

from typing import Final

_MAIL: Final = r"""
# Mail on AWS. Include it in .gitlab-ci.yml:   include: [{local: .gitlab/mail.yml}]
#
# The role recon-plan trusts this project and has the policy that `recon iam-policy plan` prints; recon-apply trusts
# only its default branch, and has that of `recon iam-policy apply`. Drift needs a schedule (Build, Pipeline schedules).

.mail:
  image: python:3.12-slim
  variables:
    RECON: recon-mail==@VERSION@
  before_script:
    - pip install --quiet "$RECON"

.mail-role:
  extends: .mail
  id_tokens:
    AWS_TOKEN: {aud: sts.amazonaws.com}
  variables:
    RECON: recon-mail==@VERSION@
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

mail plan:
  extends: .mail-role
  stage: test
  rules:
    - if: $CI_PIPELINE_SOURCE == "merge_request_event"
      changes: [state/**/*]
    - if: $CI_PIPELINE_SOURCE == "push" && $CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH
      changes: [state/**/*]
  script:
    - recon plan --out plan.json --format markdown > plan.md
    - cat plan.md
  artifacts:
    expose_as: mail plan
    paths: [plan.md, plan.json]
    expire_in: 30 days

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
    RECON: recon-mail==@VERSION@
    AWS_REGION: @REGION@
    AWS_ROLE_ARN: arn:@PARTITION@:iam::@ACCOUNT@:role/recon-apply
    AWS_ROLE_SESSION_NAME: gitlab-$CI_PIPELINE_ID
    AWS_WEB_IDENTITY_TOKEN_FILE: /tmp/aws-token
  script:
    - recon apply plan.json --state state --lock-timeout 10m

mail drift:
  extends: .mail-role
  stage: test
  rules:
    - if: $CI_PIPELINE_SOURCE == "schedule"
  script:
    - recon drift --format markdown --out drift.json > drift.md || code=$?
    - cat drift.md
    - exit "${code:-0}"
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

FILES: Final = {".gitlab/mail.yml": _MAIL, ".gitlab-ci.yml": _ROOT}
"""Path -> template."""
