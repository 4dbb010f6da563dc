"""A sidecar among others: it gives signs of life, knows the others, and leads if nobody else does.

Signs of life are rows in the database, with its time. What a sidecar believes is bounded by its own clock: when it did
not manage to give a sign of life for LEASE_SECONDS, it no longer believes that it leads, before the others can choose
another leader. A process that was paused may be late to learn it; what it then writes is refused by the database
(SqlCluster.led).
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress

from cco_sidecar.cluster.duties import Duties
from cco_sidecar.core.background import Background
from cco_sidecar.core.clock import CorrectedClock, uptime
from cco_sidecar.core.errors import SettingsError, SidecarError
from cco_sidecar.storage.cluster import LEASE_SECONDS, Beat, ClusterStore, SeenMember, Superseded
from orchestra.v1.system_service_pb2 import ClusterMember, ClusterStatus

log = logging.getLogger(__name__)

_BEAT_SECONDS = 1.0
# A database that hangs must not keep the duties from being dropped in time.
_PATIENCE_SECONDS = 5.0
_LOOK_SECONDS = 0.5
# A sign of life that took longer says little about the time; clocks that differ by less are left as they are.
_QUICK_SECONDS = 0.5
_SAME_MICROS = 500_000


class Membership:
    """Implements Cluster. Not thread-safe."""

    shared = True

    def __init__(
        self,
        store: ClusterStore,
        member: ClusterMember,
        duties: Duties,
        clock: CorrectedClock,
        now: Callable[[], float] = uptime,
    ) -> None:
        """``member``: what the others are told; ``clock``: follows that of the database, so that a token that one
        sidecar makes is valid at another whose machine has another time."""
        self._store = store
        self._member = member
        self._duties = duties
        self._clock = clock
        self._now = now
        self._incarnation = secrets.token_hex(8)
        self._members: dict[str, SeenMember] = {}
        self._leader = ""
        # The uptime of the last sign of life, and that from which this sidecar no longer counts on leading.
        self._given = self._lead_until = 0.0
        self._term = 0
        self._failing = False
        self._change = asyncio.Event()
        self._figures: Callable[[ClusterMember], None] = lambda member: None
        self._superseded: list[Callable[[], None]] = []
        self._beaten: list[Callable[[float], None]] = []
        self._beating = Background()
        self._settling = Background()
        self._settles: asyncio.Task[None] | None = None

    @property
    def sidecar_id(self) -> str:
        return self._member.sidecar_id

    @property
    def leads(self) -> bool:
        return self._may_lead and self._duties.term == self._term

    @property
    def _may_lead(self) -> bool:
        return self._now() < self._lead_until

    def _current_term(self) -> int:
        return self._term if self._may_lead else 0

    @property
    def silent_seconds(self) -> float:
        return self._now() - self._given

    def find(self, sidecar_id: str) -> ClusterMember | None:
        found = self._members.get(sidecar_id)
        return found.member if found is not None and found.member.alive else None

    def leader(self) -> ClusterMember | None:
        leads = (each.member for each in self._members.values() if each.incarnation == self._leader)
        found = next(leads, None)
        return found if found is not None and found.alive else None

    def lost(self, seconds: float) -> Sequence[str]:
        others = (each.member for each in self._members.values() if each.incarnation != self._incarnation)
        return [each.sidecar_id for each in others if each.silent_seconds >= seconds]

    async def forget(self, sidecar_id: str) -> None:
        found = self._members.pop(sidecar_id, None)
        if found is not None:
            await self._store.forget(found.incarnation)

    async def changed(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._change.wait()

    def status(self) -> ClusterStatus | None:
        leader = self.leader()
        return ClusterStatus(
            sidecar_id=self.sidecar_id,
            leader_id=leader.sidecar_id if leader is not None else "",
            members=[_public(each.member) for each in self._members.values()],
        )

    def describe(self, figures: Callable[[ClusterMember], None]) -> None:
        """Calls ``figures`` before each sign of life, to add what changes."""
        self._figures = figures

    def on_beat(self, listener: Callable[[float], None]) -> None:
        """Calls ``listener`` with the uptime just before each sign of life that was given."""
        self._beaten.append(listener)

    def on_superseded(self, listener: Callable[[], None]) -> None:
        """Calls ``listener`` when the others did without this sidecar for a while."""
        self._superseded.append(listener)

    async def join(self) -> None:
        """Becomes a member, which gives signs of life until ``leave``, and takes the duties if nobody leads. Raises
        SettingsError if it must not be one, or the database cannot be used."""
        try:
            await self._join()
            await self._beat()
            self._beating.start(self._keep_beating(), "signs of life")
            await self._duties.take(self._current_term)
        except (SidecarError, Superseded) as problem:
            raise SettingsError(f"cannot join the other sidecars: {problem}") from problem

    async def _join(self) -> None:
        """Raises SettingsError, SidecarError."""
        silent: float | None = None
        while True:
            seen = await self._store.members()
            self._check_keys(seen)
            former = next((each for each in seen if each.member.sidecar_id == self.sidecar_id), None)
            # We have the lock of its storage directory, so an earlier process on this machine has ended.
            here = former is not None and former.member.boot_id == self._member.boot_id
            others = (each.member for each in seen if not (here and each is former))
            rival = next((each for each in others if each.alive and self._is_rival(each)), None)
            if rival is not None:
                # It may be gone already.
                if silent is not None and rival.silent_seconds < silent:
                    raise self._refusal(rival)
                silent = rival.silent_seconds
                await asyncio.sleep(_LOOK_SECONDS)
            elif await self._store.join(self._member, self._incarnation, former.incarnation if former else ""):
                return

    def _is_rival(self, other: ClusterMember) -> bool:
        return other.sidecar_id == self.sidecar_id or other.address == self._member.address

    def _refusal(self, rival: ClusterMember) -> SettingsError:
        if rival.sidecar_id == self.sidecar_id:
            return SettingsError(
                f"another sidecar runs with the ID {self.sidecar_id} on {rival.host}: the storage directory is a copy "
                "of its own; fix: stop that one, or delete the file sidecar-id here"
            )
        return SettingsError(
            f"cluster.address: sidecar {rival.sidecar_id} on {rival.host} has the address {rival.address}, too; give "
            "each sidecar its own"
        )

    def _check_keys(self, seen: Sequence[SeenMember]) -> None:
        """Raises SettingsError."""
        for other in (each.member for each in seen if each.member.alive):
            known = other.key_fingerprint
            if known and known != self._member.key_fingerprint and other.sidecar_id != self.sidecar_id:
                raise SettingsError(
                    f"sidecar.jwt_secret: sidecar {other.sidecar_id} on {other.host} signs tokens with another key; "
                    "give all sidecars of this database the same secret"
                )

    async def _keep_beating(self) -> None:
        while True:
            await asyncio.sleep(_BEAT_SECONDS)
            try:
                async with asyncio.timeout(_PATIENCE_SECONDS):
                    await self._beat()
                if self._failing:
                    log.info("the database answers again")
                self._failing = False
            except Superseded:
                await self._again()
            except (SidecarError, TimeoutError) as problem:
                if not self._failing:
                    log.warning("cannot tell the other sidecars that this one is there, retrying: %s", problem)
                self._failing = True
            except Exception:
                # Whatever it is: without signs of life, nothing would be dropped when the lead is gone.
                log.exception("a sign of life failed")
            if self._current_term() != self._duties.term and (self._settles is None or self._settles.done()):
                self._settles = self._settling.start(self._settle(), "duties of the leader")

    async def _again(self) -> None:
        """Joins again after the others went on without this sidecar."""
        log.error("the other sidecars took this one for lost, and have taken over what it did")
        self._lead_until = 0.0
        await self._duties.drop()
        self._incarnation = secrets.token_hex(8)
        for listener in self._superseded:
            listener()
        try:
            await self._join()
        except (SidecarError, SettingsError) as problem:
            log.error("cannot join the other sidecars, retrying: %s", problem)

    async def _beat(self) -> None:
        """Raises SidecarError, Superseded."""
        began = self._now()
        self._figures(self._member)
        beat: Beat = await self._store.beat(self._member, self._incarnation)
        took = self._now() - began
        if took < _QUICK_SECONDS:
            self._clock.correct(beat.micros + int(took / 2 * 1e6), _SAME_MICROS)
        self._given = began
        self._lead_until = began + LEASE_SECONDS if beat.leads else 0.0
        self._term = beat.term
        self._members = {each.member.sidecar_id: each for each in beat.members}
        self._leader = beat.leader
        for listener in self._beaten:
            listener(began)
        self._change.set()
        self._change = asyncio.Event()

    async def _settle(self) -> None:
        """Takes the duties with the lead, or drops them without."""
        if not self._may_lead:
            await self._duties.drop()
            return
        try:
            await self._duties.take(self._current_term)
            if self.leads:
                log.info("this sidecar leads", extra={"sidecar_id": self.sidecar_id})
        except SidecarError as problem:
            log.warning("cannot begin to lead, retrying: %s", problem)

    async def leave(self, *, gone: bool) -> None:
        """Gives up the lead. ``gone``: others take over what is left at once."""
        await asyncio.gather(self._beating.end(), self._settling.end())
        self._lead_until = 0.0
        with suppress(SidecarError):
            await self._store.leave(self._incarnation, gone=gone)


def _public(member: ClusterMember) -> ClusterMember:
    """Without what only sidecars need to know of each other."""
    shown = ClusterMember()
    shown.CopyFrom(member)
    for name in ("key_fingerprint", "boot_id"):
        shown.ClearField(name)
    return shown
