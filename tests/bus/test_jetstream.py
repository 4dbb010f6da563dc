"""The bus on real NATS servers: one, and a cluster of three."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
from nats.js.errors import NotFoundError
from tests.bus.contract import *  # noqa: F403
from tests.bus.contract import ALL, event, ids, keyed, publish, read
from tests.support import nats
from tests.support.certificates import Authority

from cco_sidecar.bus.base import Outgoing
from cco_sidecar.bus.entry import Entry
from cco_sidecar.bus.jetstream import servers
from cco_sidecar.bus.jetstream.bus import JetStreamBus
from cco_sidecar.bus.jetstream.follower import Follower
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.errors import SidecarError
from cco_sidecar.core.settings import Settings

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(nats.program() is None, reason="nats-server is not installed: make .tools/nats/.ready"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[nats.NatsServer]:
    server = nats.NatsServer(tmp_path_factory.mktemp("nats"))
    yield server
    server.stop()


@pytest.fixture
async def bus(server: nats.NatsServer) -> AsyncIterator[JetStreamBus]:
    """A bus on a server without streams."""
    bus = await opened(server.url)
    yield bus
    for link in list(bus._links.values()):
        with suppress(NotFoundError):
            await bus._connection.jetstream.delete_stream(link.stream.name)
    await closed(bus)


async def opened(url: str, **settings: object) -> JetStreamBus:
    bus = JetStreamBus(Clock(), Settings(bus_url=url, **settings))  # type: ignore[arg-type]
    await bus.start()
    return bus


async def closed(bus: JetStreamBus) -> None:
    await bus.close()
    await bus.release()


@pytest.fixture
async def other(bus: JetStreamBus, server: nats.NatsServer) -> AsyncIterator[JetStreamBus]:
    """The bus of another sidecar."""
    other = await opened(server.url)
    yield other
    await closed(other)


async def test_a_cursor_of_one_sidecar_continues_on_another(bus: JetStreamBus, other: JetStreamBus) -> None:
    published = [await publish(each, n=n) for n, each in enumerate((bus, other, bus, other))]
    assert ids(await read(other, published[0])) == published[1:]
    assert ids(await read(bus, published[2])) == published[3:]
    latest = await publish(bus)
    assert ids(await read(other, latest)) == []
    assert await bus.cursor("p", 3) == await other.cursor("p", 3) == published[2]
    for seq in range(6, 40):
        # As soon as it is given out: whoever follows from here gets nothing twice.
        assert (await other.start_of("p", await publish(bus), None)).seq == seq


async def test_what_one_sidecar_published_another_finds(bus: JetStreamBus, other: JetStreamBus) -> None:
    await publish(other)
    for n in range(20):
        new = await publish(bus, "done", n=n)
        found = await other.find("p", new)
        assert found is not None and found.event_id == new
        assert await other.is_published("p", event("done", n=n))


async def test_projects_of_another_sidecar_are_listened_to(bus: JetStreamBus, other: JetStreamBus) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()
    other.listen(lambda project, entry: heard.put_nowait(f"{project} {entry.event_id}"))
    for project in ("a.b *>/ü", "A-b", "a_20b"):
        new = await publish(bus, project=project)
        async with asyncio.timeout(20):
            assert await heard.get() == f"{project} {new}"
        assert project in await other.projects()


async def test_a_key_is_good_for_all_sidecars(bus: JetStreamBus, other: JetStreamBus) -> None:
    outcomes = await asyncio.gather(*(each.publish(keyed(f"k{n}", n=n)) for n in range(30) for each in (bus, other)))
    for n in range(30):
        one, two = outcomes[2 * n : 2 * n + 2]
        assert one.event_id == two.event_id and one.timestamp == two.timestamp
        assert {one.duplicate, two.duplicate} == {True, False}
    with pytest.raises(SidecarError, match="was used for another event"):
        await other.publish(keyed("k3", n=99))
    assert len(ids(await read(bus, "0"))) == 30


async def test_a_key_in_a_batch_of_two_sidecars_is_stored_once(bus: JetStreamBus, other: JetStreamBus) -> None:
    batches = [[keyed(f"{turn}-{n}", n=n) for n in range(5)] for turn in range(10)]
    done = await asyncio.gather(*(each.publish_all(batch) for batch in batches for each in (bus, other)))
    assert len({published.event_id for batch in done for published in batch}) == 50
    assert len(ids(await read(other, "0"))) == 50


async def test_of_two_sidecars_that_expect_the_same_event_one_wins(bus: JetStreamBus, other: JetStreamBus) -> None:
    last = "0"
    for _ in range(10):
        attempts = await asyncio.gather(
            *(each.publish(Outgoing("p", event(), expected_last=last)) for each in (bus, other)),
            return_exceptions=True,
        )
        (won,) = [each for each in attempts if not isinstance(each, BaseException)]
        (lost,) = [each for each in attempts if isinstance(each, SidecarError)]
        assert lost.code == "EVT_003" and lost.details["last_event_id"] == won.event_id
        last = won.event_id


async def test_a_batch_is_whole_also_when_its_condition_fails(bus: JetStreamBus, other: JetStreamBus) -> None:
    first = await publish(other)
    batch = [Outgoing("p", event(n=1)), Outgoing("p", event(n=2), expected_last="0")]
    with pytest.raises(SidecarError, match=first):
        await bus.publish_all(batch)
    assert ids(await read(bus, "0")) == [first]
    stored = await bus.publish_all([batch[0], batch[1]._replace(expected_last=first)])
    assert ids(await read(other, first)) == [each.event_id for each in stored]


async def test_what_a_stream_no_longer_has_is_a_declared_gap(server: nats.NatsServer) -> None:
    project = f"p{uuid.uuid4().hex[:6]}"
    small, reader = await opened(server.url, max_events=50), await opened(server.url, max_events=50)
    published = [await publish(small, project=project) for _ in range(10)]
    published += [await publish(small, project=project) for _ in range(300)]
    late = await opened(server.url, max_events=50)
    for each in (small, reader, late):
        batch = await read(each, published[0], project=project)
        assert batch.gap is not None and batch.gap.since == published[0]
        assert batch.gap.missed + len(batch.entries) == 309
        assert ids(batch) == published[-len(batch.entries) :] and len(batch.entries) >= 50
    for each in (small, reader, late):
        await closed(each)


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("kept", [100, 0])
async def test_what_was_dropped_a_moment_ago_is_a_declared_gap(
    bus: JetStreamBus, server: nats.NatsServer, kept: int, known: bool
) -> None:
    published = [await publish(bus, n=n) for n in range(300)]
    late = await opened(server.url)
    start = await late.start_of("p", published[0], None)
    purged = {"keep": kept} if kept else {}
    await bus._connection.jetstream.purge_stream(bus._links["p"].stream.name, **purged)
    if known:
        await late._streams.refresh(late._links["p"].stream)
    batch = await late.wait("p", ALL, start, "reader", timeout=5, limit=1000, since=published[0])
    assert batch.gap is not None and batch.gap.missed == 299 - kept
    assert ids(batch) == published[300 - kept :]
    new = await publish(bus)
    assert ids(await read(late, batch.cursor)) == [new]
    await closed(late)


async def test_a_key_that_only_the_stream_knows_does_not_hold_up_a_batch(
    bus: JetStreamBus, other: JetStreamBus
) -> None:
    first = await bus.publish(keyed("old", n=0))
    other_keys = (await other._channel("p")).keys
    await read(other, "0")
    other_keys._known.clear()
    batch = [Outgoing("p", event(n=1)), keyed("old", n=0), Outgoing("p", event(n=2))]
    done = await other.publish_all(batch)
    assert [each.duplicate for each in done] == [False, True, False] and done[1].event_id == first.event_id
    assert ids(await read(bus, "0")) == [first.event_id, done[0].event_id, done[2].event_id]


async def test_events_have_the_time_of_the_stream_and_are_found_by_it(bus: JetStreamBus, other: JetStreamBus) -> None:
    first = await bus.publish(Outgoing("p", event(n=1)))
    await asyncio.sleep(0.01)
    second = await bus.publish(Outgoing("p", event(n=2)))
    late = await opened(bus._connection.client.connected_url.geturl())
    for each in (bus, other, late):
        start = await each.start_of("p", "", second.timestamp.ToMicroseconds())
        batch = await each.wait("p", ALL, start, "reader", timeout=0, limit=10)
        assert ids(batch) == [second.event_id]
        everything = await read(each, "0")
        assert [entry.event.timestamp for entry in everything.entries] == [first.timestamp, second.timestamp]
    await closed(late)


async def test_a_server_that_restarts_loses_and_doubles_nothing(tmp_path: Path) -> None:
    server = nats.NatsServer(tmp_path / "nats")
    one, two = await opened(server.url), await opened(server.url)
    got: list[list[str]] = [[], []]

    async def follow(number: int, bus: JetStreamBus) -> None:
        async for batch in bus.follow("p", ALL, await bus.start_of("p", "0", None), "reader"):
            assert batch.gap is None
            got[number] += ids(batch)

    readers = [asyncio.create_task(follow(number, each)) for number, each in enumerate((one, two))]
    published = [await publish(one, n=n) for n in range(20)]
    server.kill()
    under_way = [asyncio.create_task(publish(each, n=n)) for n, each in enumerate((one, two) * 5)]
    await asyncio.sleep(0.2)
    server.start()
    published += await asyncio.gather(*under_way)
    published += [await publish(two, n=n) for n in range(20)]
    async with asyncio.timeout(30):
        while min(map(len, got)) < 50:
            await asyncio.sleep(0.01)
    for each in (one, two):
        each.stop_readers()
    await asyncio.gather(*readers)
    assert got[0] == got[1] == sorted(published)
    for each in (one, two):
        await closed(each)
    server.stop()


async def test_a_cluster_goes_on_without_its_leader(tmp_path: Path) -> None:
    """Three servers; the one that leads the stream is killed while both sidecars publish."""
    cluster = nats.NatsCluster(tmp_path)
    one, two = await opened(cluster.url), await opened(cluster.url)
    published = [await publish(each, n=n) for n, each in enumerate((one, two) * 5)]
    info = await one._connection.jetstream.stream_info(one._links["p"].stream.name)
    assert info.config.num_replicas == 3 and info.cluster is not None
    leader = next(each for each in cluster.servers if each.name == info.cluster.leader)
    under_way = [asyncio.create_task(publish(each, n=n)) for n, each in enumerate((one, two) * 10)]
    leader.kill()
    outcomes = await asyncio.gather(*under_way, return_exceptions=True)
    # Whoever was told that it is not stored may not know; whoever was told an id finds it.
    stored = [each for each in outcomes if isinstance(each, str)]
    published += stored
    published += [await publish(each, n=n) for n, each in enumerate((one, two) * 5)]
    leader.start()
    for each in (one, two):
        got = ids(await read(each, "0"))
        assert len(set(got)) == len(got) and got == sorted(got)
        assert set(published) <= set(got)
        await closed(each)
    cluster.stop()


async def test_nats_that_is_away_is_said(tmp_path: Path) -> None:
    bus = JetStreamBus(Clock(), Settings(bus_url="nats://me:secret@127.0.0.1:1"))
    with pytest.raises(SidecarError, match=r"not reachable at nats://127\.0\.0\.1:1 ") as refused:
        await bus.start()
    assert "secret" not in str(refused.value)
    await bus.release()


async def test_servers_say_whether_they_sync(tmp_path: Path) -> None:
    careful, lazy = nats.NatsServer(tmp_path / "a", "careful"), nats.NatsServer(tmp_path / "b", "lazy", sync="2m")
    urls = [each.monitor_url for each in (careful, lazy)]
    assert servers.warning(await servers.servers(urls[:1])) == ""
    assert servers.warning(await servers.servers(urls)).startswith("lazy: NATS acknowledges events before")
    lazy.stop()
    assert f"does not answer: {urls[1]} (" in servers.warning(await servers.servers(urls))
    assert "set bus.monitor_urls" in servers.warning([])
    careful.stop()


async def test_passwords_certificates_and_credentials_are_used(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    own, client = authority.issue("nats", "127.0.0.1"), authority.issue("sidecar")
    tls = f'tls {{ cert_file: "{own.cert}", key_file: "{own.key}", ca_file: "{authority.cert}", verify: true }}'
    server = nats.NatsServer(tmp_path / "nats", more=f"authorization {{ user: me, password: s3cr3t }}\n{tls}\n")
    url = f"tls://me:s3cr3t@127.0.0.1:{server.port}"
    known = {"bus_tls_ca": authority.cert, "bus_tls_cert": client.cert, "bus_tls_key": client.key}
    bus = await opened(url, **known)
    assert ids(await read(bus, "0")) == [] and await publish(bus)
    await closed(bus)
    for wrong, why in (
        ({"bus_url": url.replace("s3cr3t", "guess"), **known}, "(?i)authorization"),
        ({"bus_url": url}, "certificate verify failed"),
        ({"bus_url": url, "bus_tls_ca": authority.cert}, "reachable"),
    ):
        refused = JetStreamBus(Clock(), Settings(**wrong))  # type: ignore[arg-type]
        with pytest.raises(SidecarError, match=why) as caught:
            await refused.start()
        assert "s3cr3t" not in str(caught.value) and "guess" not in str(caught.value)
        await refused.release()
    server.stop()


async def test_what_a_stream_dropped_before_it_arrived_is_a_declared_gap(bus: JetStreamBus) -> None:
    first = await publish(bus)
    payload = event("late").SerializeToString()
    bus._arrived("p", 9, Clock().micros(), {}, payload)
    batch = await read(bus, first)
    assert batch.gap is not None and batch.gap.missed == 7
    assert ids(batch) == [await bus.cursor("p", 9)]


class Following:
    """A follower that is given messages as a consumer sends them: their number, and how many it has sent."""

    def __init__(self, at: int) -> None:
        self.got: list[int] = []
        self.follower = Follower(None, "s", at, lambda seq, *_: self.got.append(seq))  # type: ignore[arg-type]

    async def receive(self, *messages: tuple[int, int], reply: str = "$JS.ACK.s.c.1.{}.{}.1000.0") -> None:
        for seq, count in messages:
            message = SimpleNamespace(reply=reply.format(seq, count), headers=None, data=b"")
            await self.follower._receive(message)  # type: ignore[arg-type]


@pytest.mark.parametrize("reply", ["$JS.ACK.s.c.1.{}.{}.1000.0", "$JS.ACK.hub.account.s.c.1.{}.{}.1000.0.random"])
async def test_a_follower_that_misses_a_message_begins_again(reply: str) -> None:
    following = Following(5)
    await following.receive((6, 1), (7, 2), (9, 4), (10, 5), reply=reply)
    assert following.got == [6, 7] and following.follower._broken.is_set()


async def test_a_follower_passes_on_nothing_twice() -> None:
    following = Following(5)
    await following.receive((4, 1), (5, 2), (6, 3), (8, 4))
    assert following.got == [6, 8] and not following.follower._broken.is_set()


async def test_a_message_that_cannot_be_handled_does_not_end_the_following() -> None:
    following = Following(5)
    following.follower._arrived = lambda seq, *_: following.got.append(1 // (seq - 6))
    await following.receive((6, 1), (7, 2))
    assert following.got == [1]


async def test_a_reader_that_waits_is_told_of_what_never_came(bus: JetStreamBus) -> None:
    first = await publish(bus)
    following = bus.follow("p", ALL, await bus.start_of("p", first, None), "reader", first)
    assert not (await anext(following)).entries
    waiting = asyncio.ensure_future(anext(following))
    while not bus.has_reader("reader") or not any(each.waiters for each in bus._channels["p"].subscriptions.values()):
        await asyncio.sleep(0)
    bus._arrived("p", 9, Clock().micros(), {}, event("late").SerializeToString())
    batch = await waiting
    assert batch.gap is not None and batch.gap.missed == 7 and ids(batch) == [await bus.cursor("p", 9)]
    await following.aclose()


async def test_what_others_publish_to_the_subject_hides_nothing(bus: JetStreamBus, server: nats.NatsServer) -> None:
    published = [await publish(bus, n=n) for n in range(3)]
    client = bus._connection.client
    for _ in range(600):
        await client.publish("cco.p.t", b"\xff not an event", headers={"Status": "100"})
    await client.flush()
    published += [await publish(bus, n=n) for n in range(3)]
    late = await opened(server.url)
    for each in (bus, late):
        got: list[Entry] = []
        batch = await read(each, "0")
        while batch.entries:
            assert batch.gap is None
            got += batch.entries
            batch = await read(each, batch.cursor)
        assert [entry.event_id for entry in got if entry.event_type != "foreign_message"] == published
        assert len(got) == 606
    await closed(late)


async def test_many_batches_at_once_are_all_stored(bus: JetStreamBus, other: JetStreamBus) -> None:
    batches = [[Outgoing("p", event(turn=turn, n=n)) for n in range(3)] for turn in range(100)]
    done = await asyncio.gather(*(each.publish_all(batch) for batch in batches for each in (bus, other)))
    assert len({published.event_id for batch in done for published in batch}) == 600


async def test_conditions_of_a_batch_are_all_checked(bus: JetStreamBus) -> None:
    first, second = await publish(bus), await publish(bus)
    contradicting = [Outgoing("p", event(), expected_last=each) for each in (first, second)]
    elsewhere = [Outgoing("q", event()), Outgoing("p", event(), expected_last=first)]
    both = [Outgoing("q", event(), expected_last="0"), Outgoing("p", event(), expected_last=first)]
    for batch in (contradicting, elsewhere, both):
        with pytest.raises(SidecarError) as refused:
            await bus.publish_all(batch)
        assert refused.value.code == "EVT_003"
    assert ids(await read(bus, "0")) == [first, second] and ids(await read(bus, "0", project="q")) == []
    with pytest.raises(SidecarError, match="at most 1,000 events"):
        await bus.publish_all([Outgoing("p", event())] * 1001)


async def test_a_key_whose_event_is_gone_is_still_a_duplicate(server: nats.NatsServer) -> None:
    project = f"p{uuid.uuid4().hex[:6]}"
    small = await opened(server.url, max_events=20)
    first = await small.publish(keyed("k")._replace(project=project))
    for _ in range(40):
        await publish(small, project=project)
    late = await opened(server.url, max_events=20)
    again = await late.publish(keyed("k")._replace(project=project))
    assert again.duplicate and again.event_id == first.event_id
    batch = [keyed("k")._replace(project=project), Outgoing(project, event(n=1))]
    assert [each.duplicate for each in await late.publish_all(batch)] == [True, False]
    for each in (small, late):
        await closed(each)


async def test_a_start_gives_streams_the_limits_of_its_settings(server: nats.NatsServer) -> None:
    project = "名" * 64
    before = await opened(server.url, max_events=20)
    await publish(before, project=project)
    after = await opened(server.url, max_events=500, event_retention=100)
    info = await after._connection.jetstream.stream_info(after._links[project].stream.name)
    assert (info.config.max_msgs, info.config.max_age, info.config.duplicate_window) == (500, 100, 100)
    start = await after.start_of(project, "", 2**62)
    assert not (await after.wait(project, ALL, start, "reader", timeout=0, limit=10)).entries
    for each in (before, after):
        await closed(each)


async def test_a_stream_that_was_made_anew_is_said(bus: JetStreamBus, other: JetStreamBus) -> None:
    await publish(bus)
    await other._channel("p")
    name = bus._links["p"].stream.name
    await bus._connection.jetstream.delete_stream(name)
    late = await opened(bus._connection.client.connected_url.geturl())
    await publish(late)
    assert not other.failing
    await other._streams.refresh(other._links["p"].stream)
    assert other.failing and not late.failing
    await closed(late)


async def test_a_stream_that_is_gone_is_said(bus: JetStreamBus) -> None:
    """Such as that of a server that came back with an empty directory."""
    await publish(bus)
    stream = bus._links["p"].stream
    await bus._connection.jetstream.delete_stream(stream.name)
    assert not bus.failing
    with pytest.raises(SidecarError, match="stream not found"):
        await read(bus, "")
    await bus.probe()
    assert bus.failing
