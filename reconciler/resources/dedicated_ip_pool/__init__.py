"""Dedicated IP pools: the addresses that configuration sets send from."""

from reconciler.resources.spec import CloudTrail, Field, Phrase, PlainSpec, Section, Words

MANAGED_DOLLARS = 15.0
"""A month and account, once any managed pool exists (Amazon SES pricing, "Dedicated IPs"); each message costs, too."""

DEFAULT_POOL = "ses-default-dedicated-pool"
"""Where SES keeps leased addresses that are in no pool of the user's ("Assigning IP pools")."""

SPEC = PlainSpec(
    name="dedicated_ip_pool",
    words="dedicated IP pool",
    sections=(
        Section(
            "dedicated_ip_pools", "dedicated_ip_pool", "Dedicated IP pools", "A pool of dedicated IPs by its name.",
            "pools.yaml", everywhere=("scaling_mode",), place=40,
        ),
    ),
    with_kinds=("dedicated_ip_pool",),
    arn="dedicated-ip-pool",
    quota=50,
    pattern=r"[a-z0-9_-]{1,64}",
    pattern_words="1 to 64 lower-case letters, digits, - and _",
    reserved=("ses-shared-pool", DEFAULT_POOL),
    listed=("ListDedicatedIpPools", "DedicatedIpPools", ""),
    key="PoolName",
    answer="DedicatedIpPool",
    tags_in_get=False,
    fields={
        "scaling_mode": Field(
            default="STANDARD",
            on_create=True,
            put="PutDedicatedIpPoolScalingAttributes",
            one_way=("MANAGED", "STANDARD"),
            one_way_code="pool-way-back",
            one_way_hint="SES refuses the way back: declare MANAGED, or another pool and move the sets to it",
        ),
        "dedicated_ips": Field(
            default=(), set_of=True, put="PutDedicatedIpInPool", after_create=True, read="sesv2:GetDedicatedIps"
        ),
    },
    trail=CloudTrail(naming=("destinationpoolname",)),
    says=Words(
        gone=Phrase("{n} dedicated IP pool is deleted", "{n} dedicated IP pools are deleted", 350),
        when={
            "scaling_mode": {
                "MANAGED": Phrase(
                    "{n} managed IP pool begins to cost", "{n} managed IP pools begin to cost", 250,
                    dollars=MANAGED_DOLLARS,
                )
            }
        },
    ),
)  # fmt: skip
