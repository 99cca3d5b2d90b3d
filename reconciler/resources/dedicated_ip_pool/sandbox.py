"""Dedicated IP pools, and the dedicated IP addresses in them.

Source: SES API v2 reference; Developer Guide "Assigning IP pools", "Dedicated IPs (managed)", "Service quotas".
"""

from collections.abc import Sequence

from reconciler.sandbox.plain import Context, Listed, Plain, find
from reconciler.sandbox.protocol import Params
from reconciler.sandbox.ses_state import Item, bad

DEFAULT_POOL = "ses-default-dedicated-pool"
BUILT_IN = frozenset({"ses-shared-pool", DEFAULT_POOL})


def scaling_mode(context: Context, given: str, before: str | None) -> str:
    if before == "MANAGED" and given == "STANDARD":
        raise bad("A managed dedicated IP pool cannot be converted to a standard pool.")
    return given


def refuse_in_use(context: Context, pool: Item) -> None:
    """No AWS text says what becomes of a pool in use; the sandbox refuses, so that a tool must detach first."""
    sets = context.state.of("ConfigurationSet").values()
    users = sorted(s.name for s in sets if s.body.get("DeliveryOptions", {}).get("SendingPoolName") == pool.name)
    if users:
        raise bad(f"Dedicated IP pool <{pool.name}> is used by configuration sets: {', '.join(users)}.")
    if any(ip.body["PoolName"] == pool.name for ip in context.state.of("DedicatedIp").values()):
        raise bad(f"Dedicated IP pool <{pool.name}> still holds dedicated IP addresses.")


def destination(context: Context, given: Params, before: str | None) -> str:
    """The pool that an address moves to."""
    name: str = given["DestinationPoolName"]
    if name != DEFAULT_POOL:
        pool = find(context.state, "DedicatedIpPool", name)
        if pool.body["ScalingMode"] == "MANAGED":
            raise bad("Dedicated IP addresses cannot be moved to a managed pool.")
    return name


def in_pool(context: Context, ips: Sequence[Item], params: Params) -> Sequence[Item]:
    name = params.get("PoolName")
    if name is not None and name not in BUILT_IN:
        find(context.state, "DedicatedIpPool", name)
    return [ip for ip in ips if name is None or ip.body["PoolName"] == name]


def warmup(context: Context, ip: Item) -> Params:
    """SES warms up the addresses of a managed pool itself, and shows -1 percent."""
    pool = context.state.of("DedicatedIpPool").get(ip.body["PoolName"])
    if pool is not None and pool.body["ScalingMode"] == "MANAGED":
        return {"WarmupStatus": "NOT_APPLICABLE", "WarmupPercentage": -1}
    return {"WarmupStatus": "DONE" if ip.body["WarmupPercentage"] == 100 else "IN_PROGRESS"}


PLAIN = Plain(
    noun="DedicatedIpPool", key="PoolName", words="dedicated IP pool", arn="dedicated-ip-pool",
    answer="DedicatedIpPool", aliases=("DestinationPoolName",), quota=50,
    listed=Listed("ListDedicatedIpPools", "DedicatedIpPools"),
    pattern=r"[a-z0-9_-]{1,64}", reserved=BUILT_IN, defaults={"ScalingMode": "STANDARD"},
    members={"ScalingMode": scaling_mode}, puts={"PutDedicatedIpPoolScalingAttributes": "ScalingMode"},
    check_delete=refuse_in_use,
    invalid=("BadRequestException",
             "Pool name <{name}> is not valid: 1 to 64 lower case letters, digits, hyphens, underscores."),
)  # fmt: skip
ADDRESS = Plain(
    noun="DedicatedIp", key="Ip", words="dedicated IP", answer="DedicatedIp", show=warmup,
    listed=Listed("GetDedicatedIps", "DedicatedIps", select=in_pool), members={"PoolName": destination},
    puts={"PutDedicatedIpInPool": "PoolName", "PutDedicatedIpWarmupAttributes": "WarmupPercentage"},
)  # fmt: skip
