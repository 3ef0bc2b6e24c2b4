"""The shards that one drain holds: claimed, renewed while it works them, closed when their inboxes are empty."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from emendo_client.transport.wakeup import ShardNotifier
from emendo_config.store import scripts
from emendo_config.store.formats import woken_by
from emendo_workers.runtime.leases import LeaseRenewer
from emendo_workers.runtime.shard_merging import ShardClaim
from emendo_workers.store import Store


class ShardClaims:
    """The claims of one drain, which runs on one thread.

    Attributes:
        held: the claims it has now; each is renewed until it is closed or released.
    """

    def __init__(self, store: Store, notifier: ShardNotifier, leases: LeaseRenewer) -> None:
        self._store = store
        self._notifier = notifier
        self._leases = leases
        self.held: list[ShardClaim] = []

    @property
    def inboxes(self) -> list[str]:
        """The inboxes of the shards it holds."""
        return [claim.inbox for claim in self.held]

    def claim(self, claim: ShardClaim) -> bool:
        """Claims a shard; False when another drain has it. The lease is not renewed before `hold`."""
        store = self._store
        command = scripts.claim(wakeup=claim.wakeup, owner=claim.owner, lease_ms=store.lease_ms)
        return scripts.claim.reply(scripts.run(store.control, [command])[0])

    def give_back(self, claim: ShardClaim) -> bool:
        """Gives up a claim that is not held yet; True when its shard has jobs and must be woken again."""
        return self._close([claim], [claim]) == ["notify"]

    def leave(self, claim: ShardClaim) -> None:
        """Gives up a claim that is not held yet; the next sweep wakes the shard, perhaps on another worker."""
        scripts.run(self._store.control, [scripts.release(lease=claim.wakeup, token=claim.owner)])

    def hold(self, claim: ShardClaim) -> None:
        """Renews a claim from now on."""
        self._leases.add(claim.wakeup, claim.owner)
        self.held.append(claim)

    def receive(self, claims: Iterable[ShardClaim]) -> None:
        """Takes over claims of another drain; they are renewed already."""
        self.held += claims

    def pass_on(self) -> None:
        """Forgets the claims that another drain took over; they stay renewed."""
        self.held = []

    def close(self, given_up: Collection[ShardClaim]) -> None:
        """Closes each shard whose inbox is empty, and those given up; a given-up shard that has jobs is woken again."""
        kept = [claim for claim in self.held if not self._leases.is_lost(claim.owner)]
        with self._leases.closing([claim.owner for claim in kept]):
            replies = self._close(kept, given_up)
            stay = [claim for claim, reply in zip(kept, replies, strict=True) if reply == "more"]
            self._stop_renewing(set(self.held).difference(stay))
        self.held = stay
        for claim, reply in zip(kept, replies, strict=True):
            if reply == "notify":
                self._notifier.notify(claim.shard)

    def release(self, unseen: Iterable[ShardClaim]) -> None:
        """Stops renewing what is still held and what was passed on and not seen; the sweeper finds these shards."""
        self._stop_renewing([*self.held, *unseen])

    def _stop_renewing(self, claims: Iterable[ShardClaim]) -> None:
        for claim in claims:
            self._leases.remove(claim.wakeup, claim.owner)

    def _close(self, claims: Sequence[ShardClaim], given_up: Collection[ShardClaim]) -> list[str]:
        commands = [
            scripts.close(
                wakeup=claim.wakeup,
                inbox=claim.inbox,
                owner=claim.owner,
                over_budget=claim in given_up,
                woken_by=woken_by(claim.owner),
                wakeup_ttl_ms=self._store.settings.wakeup_ttl_ms,
            )
            for claim in claims
        ]
        if commands:
            commands += self._store.take_counts()  # with the drain's last round trip
        replies = scripts.run(self._store.control, commands)
        return scripts.close.replies(replies[: len(claims)])
