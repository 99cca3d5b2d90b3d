"""The templates of ``state/`` and of the other files that any repository needs."""

from __future__ import annotations

from typing import Final

_STACK: Final = r"""
# The stack: account, regions, roles. All YAML files of this folder are one document.
#
#   recon validate     offline, no credentials
#   recon plan         what apply would change; never writes
#   recon apply        asks, then applies exactly that
#
# An editor that knows the YAML language server helps while writing: `recon schema > state.schema.json`, and this first
# line in each file:   # yaml-language-server: $schema=../state.schema.json

stack:
  name: @NAME@ # every resource that this stack owns has it in the tag recon:stack
  account: "@ACCOUNT@" # any other account is refused before the first read
  regions: [@REGION@] # where SES is used; an entry can have its own
  max_deletes: 3 # deleting more declared resources than this needs --allow-deletes

  # Two roles, one that reads and one that writes. Their least-privilege policies: recon iam-policy plan (or apply).
  # role_arn:
  #   plan: "arn:@PARTITION@:iam::@ACCOUNT@:role/recon-plan"
  #   apply: "arn:@PARTITION@:iam::@ACCOUNT@:role/recon-apply"

  # Tags for every resource that supports tags.
  # tags: {team: mail}

  # The lock (one apply at a time) and the journal (`recon history`). Without this they are in .recon/ of the working
  # directory, which is enough for one machine, but not for a pipeline, whose runners start empty.
  # backend: {s3: {bucket: @NAME@-recon, prefix: mail/}}

  # If the hosted zones are in another account:
  # dns: {account: "999900001111", role_arn: "arn:@PARTITION@:iam::999900001111:role/recon-dns"}

# Staging and production from one state; then every command takes --env.
# environments:
#   production: {stack: {account: "@ACCOUNT@"}, vars: {base: @DOMAIN@}}
#   staging: {stack: {account: "444455556666"}, vars: {base: staging.@DOMAIN@}}
"""

_DEFAULTS: Final = r"""
# Defaults of every entry, which an entry can override; maps are merged, lists replaced.

defaults:
  domain:
    dkim: {signing_attributes_origin: AWS_SES, next_signing_key_length: RSA_2048_BIT}
    mail_from:
      # One name per region: the MX of a MAIL FROM name points at the feedback host of one region.
      mail_from_domain: "bounce-${region}.${domain}"
      behavior_on_mx_failure: USE_DEFAULT_VALUE
    configuration_set_name: transactional

  configuration_set:
    delivery_options: {tls_policy: REQUIRE}
    reputation_options: {reputation_metrics_enabled: true}
    suppression_options: {suppressed_reasons: [BOUNCE, COMPLAINT]}
"""

_DOMAINS: Final = r"""
# The domains that send, and those that must not. What is not declared is not managed: without `dmarc` recon neither
# creates nor deletes a DMARC record.

domains:
  @DOMAIN@:
    # The most specific public hosted zone. A zone id names one; `manual` prints the records instead of writing them.
    zone: auto
    # Start with p=none and read the reports; then quarantine, then reject, each in its own pull request.
    dmarc: {p: none, rua: ["mailto:dmarc@@DOMAIN@"], adkim: r, aspf: r}
    # These terms are merged into the one SPF record of the name; terms of others stay.
    # spf: {include: ["_spf.example.net"]}
    # Never deleted or replaced; removing the protection needs its own apply.
    # protect: true

  # Another kind of mail on its own name, so that it cannot harm the reputation of this one.
  # news.@DOMAIN@:
  #   configuration_set_name: marketing

  # A domain that never sends is spoofed most.
  # parked.example: {identity: false, dmarc: {p: reject}, spf: {all: "-all"}, null_mx: true}
"""

_SETS: Final = r"""
# Configuration sets: how SES sends each kind of mail, and where it publishes events.

configuration_sets:
  transactional:
    sending_options: {sending_enabled: true}
    # Bounces and complaints need an event destination. SES must be allowed to publish to the topic.
    # event_destinations:
    #   feedback:
    #     enabled: true
    #     matching_event_types: [BOUNCE, COMPLAINT, REJECT]
    #     sns_destination: {topic_arn: "arn:${partition}:sns:${region}:${account}:mail-feedback"}

# Dedicated IPs. AWS charges for a managed pool as soon as it exists.
# dedicated_ip_pools:
#   transactional: {scaling_mode: MANAGED}
"""

_SMTP: Final = r"""
# Who can send over SMTP: one user per program, limited to what that program sends. recon writes the password to the
# named store and never shows it.
#
# smtp_users:
#   newsletter:
#     path: /ses-smtp/
#     from_addresses: ["*@news.@DOMAIN@"]
#     source_ips: [203.0.113.0/24]
#     access_key: {max_age_days: 90, overlap_days: 7}
#     credentials: {secretsmanager: {name: "recon/newsletter/${region}"}}
#     tags: {owner: growth}

smtp_users: {}
"""

_PRE_COMMIT: Final = r"""
# https://pre-commit.com
repos:
  - repo: local
    hooks:
      - id: recon-validate
        name: recon validate
        entry: recon validate
        language: system
        files: ^state/
        pass_filenames: false
"""

_IGNORE: Final = """
/.recon/
/plan.json
/plan.md
/plan.env
/drift.json
/drift.md
"""

FILES: Final = {
    "state/stack.yaml": _STACK,
    "state/defaults.yaml": _DEFAULTS,
    "state/domains.yaml": _DOMAINS,
    "state/sets.yaml": _SETS,
    "state/smtp.yaml": _SMTP,
    ".pre-commit-config.yaml": _PRE_COMMIT,
    ".gitignore": _IGNORE,
}
"""Path -> template."""
