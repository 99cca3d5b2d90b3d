"""The Account service: which regions an account has.

Source: Account Management API reference, ListRegions; AWS General Reference, "Managing AWS Regions": accounts have the
regions from before 2019 by themselves, and enable the others.
"""

from __future__ import annotations

from typing import Final

from reconciler.sandbox.protocol import Params, page
from reconciler.sandbox.world import Call, World

BY_DEFAULT: Final = (
    "ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "ap-south-1", "ap-southeast-1", "ap-southeast-2",
    "ca-central-1", "eu-central-1", "eu-north-1", "eu-west-1", "eu-west-2", "eu-west-3", "sa-east-1", "us-east-1",
    "us-east-2", "us-west-1", "us-west-2",
)  # fmt: skip
OPT_IN: Final = (
    "af-south-1", "ap-east-1", "ap-south-2", "ap-southeast-3", "ap-southeast-4", "ap-southeast-5", "ca-west-1",
    "eu-central-2", "eu-south-1", "eu-south-2", "il-central-1", "me-central-1", "me-south-1",
)  # fmt: skip


class Account:
    """ListRegions; other operations of the service come from moto."""

    name = "account"

    def __init__(self, world: World) -> None:
        self.world = world

    def list_regions(self, call: Call, params: Params) -> Params:
        """The setting ``disabled_regions`` says which the accounts have not enabled."""
        disabled = self.world.settings.disabled_regions
        rows = []
        for region in sorted({*BY_DEFAULT, *OPT_IN, *disabled}):
            status = "DISABLED" if region in disabled else "ENABLED" if region in OPT_IN else "ENABLED_BY_DEFAULT"
            if status in params.get("RegionOptStatusContains", [status]):
                rows.append({"RegionName": region, "RegionOptStatus": status})
        chosen, token = page(rows, params.get("NextToken"), params.get("MaxResults"), 50)
        return {"Regions": chosen, "NextToken": token}
