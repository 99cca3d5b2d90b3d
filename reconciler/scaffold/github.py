"""The workflow files for GitHub Actions: a plan for each pull request, its apply on a release, drift on a cron.

Actions are pinned to commits; expressions are only in ``env``, ``with`` and ``if``, never in a script; roles are
assumed through OpenID Connect, so that no key is stored. Source: GitHub Docs, "Security hardening for GitHub Actions".
"""

from __future__ import annotations

from typing import Final

_SETUP: Final = r"""
      - uses: actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1
        with: {persist-credentials: false}
      - uses: actions/setup-python@5fda3b95a4ea91299a34e894583c3862153e4b97 # v7.0.0
        with: {python-version: "3.12"}
      - run: pip install "$RECON"
"""

_ROLE: Final = r"""
      - uses: aws-actions/configure-aws-credentials@e6de054238d6b7531b4efff3b6587d9aade6a06c # v6.2.3
        with:
          role-to-assume: arn:@PARTITION@:iam::@ACCOUNT@:role/recon-PURPOSE
          aws-region: @REGION@
"""

_PLAN: Final = (
    r"""
# Plans every pull request that changes the state, with a role that can only read, and keeps one comment with the plan
# up to date. A pull request from a fork gets no credentials: it shows the declared difference to the base branch.
#
# The role recon-plan trusts this repository (GitHub Docs, "Configuring OpenID Connect in Amazon Web Services") and has
# the policy that `recon iam-policy plan` prints.
name: mail plan

on:
  pull_request:
    paths: ["state/**", ".github/workflows/mail-*.yml"]

permissions:
  contents: read

concurrency:
  group: mail-plan-${{ github.event.pull_request.number }}
  cancel-in-progress: true

env:
  RECON: "@PACKAGE@" # what pip installs

jobs:
  validate:
    runs-on: ubuntu-latest
    timeout-minutes: 10
    steps:"""
    + _SETUP
    + r"""      - run: recon validate --format github

  declared:
    if: github.event.pull_request.head.repo.full_name != github.repository
    runs-on: ubuntu-latest
    timeout-minutes: 10
    steps:"""
    + _SETUP.replace("{persist-credentials: false}", "{persist-credentials: false, fetch-depth: 0}")
    + r"""      - name: Declared difference
        env:
          BASE: ${{ github.event.pull_request.base.sha }}
        run: |
          git worktree add --detach ../base "$BASE"
          recon plan --offline --against ../base/state

  plan:
    if: github.event.pull_request.head.repo.full_name == github.repository
    runs-on: ubuntu-latest
    timeout-minutes: 30
    permissions:
      contents: read
      id-token: write # to assume the role
      pull-requests: write # for the comment
    steps:"""
    + _SETUP
    + _ROLE.lstrip("\n").replace("PURPOSE", "plan")
    + r"""      - name: Plan
        run: recon plan --out plan.json --format markdown > plan.md
      - name: Comment
        if: ${{ !cancelled() && hashFiles('plan.md') != '' }}
        env:
          GH_TOKEN: ${{ github.token }}
          PR: ${{ github.event.pull_request.number }}
        run: |
          marker=$(head -n 1 plan.md) # hidden, and the same for every plan of this stack
          if [ -z "$marker" ]; then
            exit 0 # there is no plan: see the step before
          fi
          comment=$(gh api --paginate "repos/$GITHUB_REPOSITORY/issues/$PR/comments" \
            --jq ".[] | select(.user.type == \"Bot\" and (.body | startswith(\"$marker\"))) | .id" | head -n 1)
          if [ -n "$comment" ]; then
            gh api --method PATCH "repos/$GITHUB_REPOSITORY/issues/comments/$comment" -F body=@plan.md --silent
          else
            gh pr comment "$PR" --body-file plan.md
          fi
      - uses: actions/upload-artifact@bbbca2ddaa5d8feaa63e36b76fdaad77386f024f # v7.0.0
        with: {name: plan, path: plan.json}
"""
)

_APPLY: Final = (
    r"""
# Applies a release: makes and shows the plan; then, after the approval of the environment, applies exactly that plan,
# or refuses it if anything that it depends on has changed since.
#
# Give the environment `production` its reviewers under Settings, Environments. The role recon-apply trusts only that
# environment of this repository, and has the policy that `recon iam-policy apply` prints.
name: mail apply

on:
  release:
    types: [published]

permissions:
  contents: read
  id-token: write

concurrency: mail-apply # recon has its own lock; this keeps runs from waiting for each other

env:
  RECON: "@PACKAGE@" # what pip installs

jobs:
  plan:
    runs-on: ubuntu-latest
    timeout-minutes: 30
    outputs:
      pending: ${{ steps.plan.outputs.pending }}
      digest: ${{ steps.plan.outputs.digest }}
    steps:"""
    + _SETUP
    + _ROLE.lstrip("\n").replace("PURPOSE", "plan")
    + r"""      - id: plan
        run: |
          code=0
          recon plan --out plan.json --detailed-exitcode || code=$?
          case "$code" in
            0) echo "pending=no" >> "$GITHUB_OUTPUT" ;;
            2) echo "pending=yes" >> "$GITHUB_OUTPUT" ;;
            *) exit "$code" ;;
          esac
          digest=$(python -c 'import json; print(json.load(open("plan.json"))["digest"])')
          echo "digest=$digest" >> "$GITHUB_OUTPUT"
      - uses: actions/upload-artifact@bbbca2ddaa5d8feaa63e36b76fdaad77386f024f # v7.0.0
        with: {name: plan, path: plan.json}

  apply:
    needs: plan
    if: needs.plan.outputs.pending == 'yes'
    runs-on: ubuntu-latest
    timeout-minutes: 60
    environment: production
    steps:"""
    + _SETUP
    + r"""      - uses: actions/download-artifact@3e5f45b2cfb9172054b4087a40e8e0b5a5461e7c # v8.0.1
        with: {name: plan}
"""
    + _ROLE.lstrip("\n").replace("PURPOSE", "apply")
    + r"""      - name: Apply
        env:
          DIGEST: ${{ needs.plan.outputs.digest }}
        run: recon apply plan.json --state state --expect "$DIGEST" --lock-timeout 10m
"""
)

_DRIFT: Final = (
    r"""
# Checks twice a day whether AWS still matches the release, and who changed it. Opens one issue, keeps it up to date,
# and closes it when there is no drift any more.
name: mail drift

on:
  schedule:
    - cron: "17 5,17 * * *"
  workflow_dispatch:

permissions:
  contents: read
  id-token: write
  issues: write

concurrency: mail-drift

env:
  RECON: "@PACKAGE@" # what pip installs

jobs:
  drift:
    runs-on: ubuntu-latest
    timeout-minutes: 30
    steps:"""
    + _SETUP
    + _ROLE.lstrip("\n").replace("PURPOSE", "plan")
    + r"""      - name: Drift
        id: drift
        run: |
          code=0
          recon drift --format markdown > drift.md || code=$?
          echo "code=$code" >> "$GITHUB_OUTPUT"
      - name: Issue
        env:
          GH_TOKEN: ${{ github.token }}
          GH_REPO: ${{ github.repository }}
          CODE: ${{ steps.drift.outputs.code }}
          LABEL: mail-drift
          TITLE: Mail has drifted
        run: |
          issue=$(gh issue list --label "$LABEL" --state open --json number --jq '.[0].number // empty')
          case "$CODE" in
            0)
              if [ -n "$issue" ]; then
                gh issue close "$issue" --comment "No drift any more."
              fi ;;
            2)
              if [ -n "$issue" ]; then
                gh issue edit "$issue" --body-file drift.md
              else
                gh label create "$LABEL" --force --description "AWS differs from the declared state"
                gh issue create --title "$TITLE" --label "$LABEL" --body-file drift.md
              fi ;;
            *)
              echo "::error::recon could not check: see the step before"
              exit 1 ;;
          esac
"""
)

FILES: Final = {
    ".github/workflows/mail-plan.yml": _PLAN,
    ".github/workflows/mail-apply.yml": _APPLY,
    ".github/workflows/mail-drift.yml": _DRIFT,
}
"""Path -> template."""
