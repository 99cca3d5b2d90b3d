"""A simulated year of `recon smtp rotate --due` and `recon apply`, every day, with people and crashes in between.

Every user has readers, which fetch the stored password every few days and log in every day. Some have a consumer by
hand, who forgets to change the password for weeks, and is acknowledged once it is changed. Somebody
deletes keys, deletes secrets and writes over them. recon dies at its writes, before and after AWS has done them, and is
run again.

Each day ends with: every store holds passwords that log in; at most two keys; no key on that is older than
max_age + overlap (and a day, since the job is daily) unless it was reported as held that day; and nobody was cut off
whom no hand cut off.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import pytest
from smtp_support import Clock, Crash, Crasher, Store, find_key, keys, problem, rotate_due, stored, stored_text, use
from support import HOME, OTHER, House, client, told

from reconciler.kinds.snapshot import now
from reconciler.resources.smtp_credential import rotation, stores

REGIONS = [OTHER, HOME]
HELD = ("rotation-held", "consumer-unacknowledged")


@dataclass
class Sender:
    """One user, who sends with its password, and what is seen of it."""

    name: str
    stores: list[Store]
    max_age: int
    overlap: int
    fetch_every: int
    forgets: int
    """Days for which the consumer by hand goes on with an old password; 0: there is no such consumer."""
    cached: str = ""
    by_hand: str = ""
    by_hand_since: int = 0
    late: int = -100
    """The last day on which a step was held, or somebody broke the credential and a new key's overlap began."""
    hurt: set[str] = field(default_factory=set)
    """Keys that somebody deleted: whoever still uses them is cut off, and it is not our doing."""

    def send(self, day: int, cut_off: list[str]) -> None:
        current = stored(self.stores[0]).get("username", "")
        if not self.cached or day % self.fetch_every == 0 or self.cached in self.hurt:
            self.cached = current
        if not use(self.cached) and self.cached not in self.hurt:
            cut_off.append(f"day {day}: the reader of {self.name} with {self.cached}")
        if not self.forgets:
            return
        if not self.by_hand or self.by_hand in self.hurt:
            self._change_by_hand(current)
        if self.by_hand != current:
            self.by_hand_since += 1
            if self.by_hand_since > self.forgets:
                self._change_by_hand(current)
        if not use(self.by_hand) and self.by_hand not in self.hurt:
            cut_off.append(f"day {day}: the forgetful consumer of {self.name} with {self.by_hand}")

    def _change_by_hand(self, current: str) -> None:
        self.by_hand, self.by_hand_since = current, 0
        tag = {"Key": rotation.ack_tag("webmail"), "Value": f"{current} {now()}"}
        client("iam").tag_user(UserName=self.name, Tags=[tag])


class Year:
    """The house, its senders, and the days."""

    def __init__(
        self, house: House, monkeypatch: pytest.MonkeyPatch, count: int, max_age: int, overlap: int, forgets: int,
        crash_every: int,
    ) -> None:  # fmt: skip
        self.house = house
        self.clock = Clock(monkeypatch)
        self.crasher = Crasher(monkeypatch)
        self.chance = random.Random(4)
        self.crash_every = crash_every
        self.writes = 0
        self.cut_off: list[str] = []
        self.seen: dict[str, int] = {}
        self.senders = [self._sender(n, max_age, overlap, forgets) for n in range(count)]
        house.write({"smtp_users": {s.name: self._entry(s) for s in self.senders}}, stack={"regions": REGIONS})
        house.apply()

    def _sender(self, number: int, max_age: int, overlap: int, forgets: int) -> Sender:
        name = f"user-{number:02}"
        kind = ("secretsmanager", "ssm", "flat")[number % 3]
        where = {
            "secretsmanager": [("secretsmanager", OTHER, f"recon/{name}")],
            "ssm": [("ssm", OTHER, f"/recon/{name}")],
            "flat": [("secretsmanager", r, f"recon/{name}/{r}") for r in REGIONS],
        }[kind]
        return Sender(
            name,
            where,
            max_age + 3 * (number % 4),
            overlap + number % 3,
            1 + number % 3,
            forgets if number % 5 == 1 else 0,
        )

    def _entry(self, sender: Sender) -> dict[str, Any]:
        kind, _, name = sender.stores[0]
        target = {"name": name if len(sender.stores) == 1 else f"recon/{sender.name}/${{region}}"}
        entry: dict[str, Any] = {
            "from_addresses": ["*@acme.com"], "credentials": {kind: target},
            "access_key": {"max_age_days": sender.max_age, "overlap_days": sender.overlap},
        }  # fmt: skip
        if len(sender.stores) == 1:
            entry["credentials"]["region"] = OTHER
        if sender.forgets:
            entry["consumers"] = [{"name": "webmail", "note": "by hand"}]
        return entry

    # -- a day ------------------------------------------------------------------------------------------------------

    def live(self, day: int) -> None:
        self.clock.forward(1)
        broken = self._hands(day)
        held = self._rotate(day, broken)
        said = self._apply(day, broken, held)
        for sender in self.senders:
            sender.send(day, self.cut_off)
            self._check(day, sender, held, said, broken)

    def _hands(self, day: int) -> set[str]:
        """Somebody deletes a key, a secret or what is in it; whose password is broken by that."""
        if self.chance.random() > 0.08 * min(len(self.senders), 10) / 3:
            return set()
        sender = self.chance.choice(self.senders)
        deed = self.chance.choice(("current", "old", "delete", "edit"))
        kind, region, name = self.chance.choice(sender.stores)
        current = stored(sender.stores[0])["username"]
        if deed in {"current", "old"}:
            chosen = [k for k in keys(sender.name) if (k == current) == (deed == "current")]
            for key in chosen:
                client("iam").delete_access_key(UserName=sender.name, AccessKeyId=key)
                sender.hurt.add(key)
        elif kind == "ssm":
            client("ssm", region).put_parameter(Name=name, Value="mine", Overwrite=True)
        elif deed == "delete":
            client("secretsmanager", region).delete_secret(SecretId=name)
        else:
            client("secretsmanager", region).put_secret_value(SecretId=name, SecretString="mine")
        self.seen[f"hand: {deed}"] = self.seen.get(f"hand: {deed}", 0) + 1
        return {sender.name}

    def _crashing(self, work: Any, day: int, broken: set[str]) -> Any:
        """Run ``work``; it dies at every so many writes of the year, and is then run again."""
        base = self.writes

        def dies(number: int, operation: str) -> str:
            if (base + number) % self.crash_every:
                return ""
            return "after" if (base + number) // self.crash_every % 2 else "before"

        with self.crasher.armed(dies):
            try:
                result = work()
                self.writes += len(self.crasher.writes)
                return result
            except Crash:
                self.writes += len(self.crasher.writes)
        for sender in self.senders:
            if sender.name not in broken:
                for store in sender.stores:
                    wrong = problem(store, sender.name, None)
                    assert wrong is None, f"day {day}, {self.crasher.crashed[-1]}: {sender.name}: {store}: {wrong}"
            assert len(keys(sender.name)) <= 2
        return work()

    def _rotate(self, day: int, broken: set[str]) -> dict[str, str]:
        """Returns who was held: user -> key."""
        reports = self._crashing(lambda: rotate_due(self.house), day, broken)
        for report in reports:
            assert report.error is None, f"day {day}: {report.user}: {report.error}"
            assert report.state.phase != "blocked", f"day {day}: {report.user}: {report.state.reason}"
            assert report.user in broken or report.state.phase != "unhealthy", (
                f"day {day}: {report.user}: {report.state}"
            )
            if report.done:
                self.seen[report.done] = self.seen.get(report.done, 0) + 1
        held = {r.user: str(r.state.key) for r in reports if r.state.phase == "held"}
        self.seen["held"] = self.seen.get("held", 0) + len(held)
        return held

    def _apply(self, day: int, broken: set[str], held: dict[str, str]) -> set[str]:
        """Returns the users whose rotation the plan said to be late."""
        result = self._crashing(lambda: self.house.apply(expect=None), day, broken)
        assert result.outcome in {"applied", "no_changes"}, f"day {day}: {told(result)}"
        changed = {c.address for c in result.plan.changes}
        if not broken and not self.crasher.crashed:
            assert not changed, f"day {day}: {changed}"
        said = {(d.code, d.address.partition("/")[2]) for d in result.plan.diagnostics}
        missing = set(held) - {name for code, name in said if code in HELD} - broken
        assert not missing, f"day {day}: held {held}, the plan says {said}"
        return {name for code, name in said if code in {*HELD, "rotation-overdue", "rotation-due"}}

    def _check(self, day: int, sender: Sender, held: dict[str, str], said: set[str], broken: set[str]) -> None:
        for store in sender.stores:
            regions = REGIONS if len(sender.stores) == 1 else [store[1]]
            assert problem(store, sender.name, regions) is None, f"day {day}: {store}: {problem(store, sender.name)}"
        assert len(keys(sender.name)) <= 2
        if sender.name in {*held, *broken}:
            sender.late = day
        # A key comes of age in vain while the old one is held: there is no third place. That too is said each day, and
        # ends soon after: the old one off, a day later gone, the day after that a new key and its overlap.
        said_so = sender.name in {*said, *broken}
        excused = sender.name in held or (said_so and day - sender.late <= 2 * sender.overlap + 4)
        for key in keys(sender.name).values():
            age = (self.clock.now.timestamp() - key.created) / 86400
            late = age > sender.max_age + sender.overlap + 1.01
            assert not (late and key.active) or excused, f"day {day}: {key.id} of {sender.name}, {age:.1f} days old"

    # -- the end ----------------------------------------------------------------------------------------------------

    def finish(self) -> None:
        assert self.cut_off == []
        self.house.quiet()
        for sender in self.senders:
            tags = {t["Key"]: t["Value"] for t in client("iam").list_user_tags(UserName=sender.name)["Tags"]}
            live = keys(sender.name)
            ours = {tags["recon:key"], tags.get("recon:key-old", "")}
            assert set(live) <= ours, f"{sender.name} has a key that nobody stored"
            assert "recon:key-intent" not in tags
            assert stores.KEY_REGIONS in tags
        leftovers = [n for s in self.senders for n in s.stores if stored_text(n) is None]
        assert leftovers == []
        assert find_key("nobody") is None


def test_six_weeks_of_three_users(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The quick slice: short ages, so that every step comes often."""
    year = Year(house, monkeypatch, count=3, max_age=8, overlap=2, forgets=8, crash_every=7)
    for day in range(1, 41):
        year.live(day)
    year.finish()
    assert {"create", "deactivate", "delete", "held"} <= set(year.seen), year.seen
    assert len(year.crasher.crashed) >= 10


@pytest.mark.slow
def test_a_year_of_twenty_users(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    year = Year(house, monkeypatch, count=20, max_age=75, overlap=7, forgets=20, crash_every=11)
    for day in range(1, 366):
        year.live(day)
    year.finish()
    died = {c.partition(" ")[2] for c in year.crasher.crashed}
    assert {"TagUser", "CreateAccessKey", "PutSecretValue", "UpdateAccessKey", "DeleteAccessKey"} <= died, died
    assert {"create", "deactivate", "delete", "held", "hand: current"} <= set(year.seen), year.seen
