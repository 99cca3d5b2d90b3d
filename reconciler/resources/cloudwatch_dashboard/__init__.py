"""CloudWatch dashboards, which an account has for all regions. Source: CloudWatch API reference, PutDashboard."""

from reconciler.resources.spec import CloudTrail, Field, Phrase, PlainSpec, Section, Service, Words

MOST_WIDGETS = 500
"""Of a dashboard; with five metrics each they have as many metrics as it may have, 2,500 (CloudWatch User Guide,
"CloudWatch service quotas")."""

SPEC = PlainSpec(
    name="cloudwatch_dashboard",
    words="CloudWatch dashboard",
    sections=(
        Section(
            "cloudwatch_dashboards", "cloudwatch_dashboard", "CloudWatch dashboards",
            "A CloudWatch dashboard by its name: drawn from what is declared, or as you write it. An account has it "
            "for all regions.",
            "watching.yaml", place=90,
        ),
    ),
    address=("NAME",),
    service=Service("cloudwatch", "cloudwatch", "cloudwatch", "dashboard/", "ResourceARN"),
    pattern=r"[A-Za-z0-9_-]{1,255}",
    pattern_words="1 to 255 letters, digits, - and _",
    listed=("ListDashboards", "DashboardEntries", "DashboardName"),
    key="DashboardName",
    noun="Dashboard",
    verbs={"Create": "PutDashboard", "Update": "PutDashboard", "Delete": "DeleteDashboards"},
    tags_in_get=False,
    no_fields=("preset",),
    preset_says=("body",),
    fields={"body": Field()},
    trail=CloudTrail(naming=("dashboardnames",)),
    cannot_move="CloudWatch has no rename: take the old name out and declare the new one",
    says=Words(
        new=Phrase("{n} CloudWatch dashboard is drawn", "{n} CloudWatch dashboards are drawn", 260),
        changed=Phrase("{n} CloudWatch dashboard changes", "{n} CloudWatch dashboards change", 241),
        gone=Phrase("{n} CloudWatch dashboard is deleted", "{n} CloudWatch dashboards are deleted", 391),
    ),
)  # fmt: skip
