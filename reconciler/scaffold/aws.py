"""What `recon init --aws` prints: whom the roles of a pipeline trust, and who may use the bucket of locks and journal.

Sources: GitHub Docs, "OpenID Connect reference" (subjects; repositories created, renamed or transferred since mid-2026
have the immutable form ``repo:OWNER@ID/REPO@ID``); GitLab Docs, "Configure OpenID Connect in AWS"; IAM User Guide,
"OIDC federation"; S3 User Guide, "Bucket policies".
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from reconciler import regions
from reconciler.errors import ReconError

_GITHUB: Final = "token.actions.githubusercontent.com"
_GITLAB: Final = "gitlab.com"


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The pipeline that the roles trust: ``repository`` is OWNER/NAME; ``owner_id`` and ``repository_id`` are GitHub's
    numbers, empty where they are not known; ``environments`` those that apply."""

    forge: str
    repository: str
    owner_id: str = ""
    repository_id: str = ""
    environments: tuple[str, ...] = ("production",)
    branch: str = "main"

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)+", self.repository):
            raise ReconError(f"--repository {self.repository} is not a repository", hint="such as acme/mail")
        if any(one and not one.isdecimal() for one in (self.owner_id, self.repository_id)):
            raise ReconError(
                "--repository-id takes two numbers: OWNER_ID/REPOSITORY_ID", hint="gh api repos/OWNER/NAME"
            )

    @property
    def provider(self) -> str:
        return _GITHUB if self.forge == "github" else _GITLAB

    def subjects(self, *ends: str) -> list[str]:
        """The subjects of jobs, in each form that the forge may use."""
        if self.forge != "github":
            return [f"project_path:{self.repository}:{end}" for end in ends]
        owner, _, name = self.repository.partition("/")
        forms = [f"repo:{owner}/{name}"]
        ids = self.owner_id or "OWNER_ID", self.repository_id or "REPOSITORY_ID"
        forms.append(f"repo:{owner}@{ids[0]}/{name}@{ids[1]}")
        return [f"{form}:{end}" for form in forms for end in ends]


def trust_policies(pipeline: Pipeline, account: str, partition: str) -> dict[str, Any]:
    """The trust policy of each role of the pipeline, by the role's name."""
    if pipeline.forge == "github":
        reads = pipeline.subjects("pull_request", f"ref:refs/heads/{pipeline.branch}", "ref:refs/tags/*")
        writes = pipeline.subjects(*(f"environment:{name}" for name in pipeline.environments))
        rotates = pipeline.subjects("environment:mail-rotate")
        roles = {"recon-plan": reads, "recon-apply": writes, "recon-rotate": rotates}
    else:
        roles = {
            "recon-plan": pipeline.subjects("ref_type:branch:ref:*"),
            "recon-apply": pipeline.subjects(f"ref_type:branch:ref:{pipeline.branch}"),
            "recon-rotate": pipeline.subjects(f"ref_type:branch:ref:{pipeline.branch}"),
        }
    return {role: _trust(pipeline, subjects, account, partition) for role, subjects in roles.items()}


def _trust(pipeline: Pipeline, subjects: Sequence[str], account: str, partition: str) -> dict[str, Any]:
    audience = "sts.amazonaws.com"
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Federated": f"arn:{partition}:iam::{account}:oidc-provider/{pipeline.provider}"},
                "Action": "sts:AssumeRoleWithWebIdentity",
                "Condition": {
                    "StringEquals": {f"{pipeline.provider}:aud": audience},
                    "StringLike": {f"{pipeline.provider}:sub": list(subjects)},
                },
            }
        ],
    }


def bucket_policy(bucket: str, accounts: Collection[str], region: str) -> dict[str, Any]:
    """The policy of the bucket of locks and journal: TLS alone, and nobody of another account than ``accounts``. What
    the roles may do there is in `recon iam-policy`."""
    partition = regions.partition_of(region)
    arns = [f"arn:{partition}:s3:::{bucket}", f"arn:{partition}:s3:::{bucket}/*"]
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "TlsOnly", "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": arns,
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            },
            {
                "Sid": "TheseAccountsOnly", "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": arns,
                "Condition": {"StringNotEquals": {"aws:PrincipalAccount": sorted(accounts)},
                              "Bool": {"aws:PrincipalIsAWSService": "false"}},
            },
        ],
    }  # fmt: skip
