"""Duties are held for one term: what was read in another is dropped."""

from __future__ import annotations

import asyncio

import pytest

from cco_sidecar.cluster.duties import Duties
from cco_sidecar.core.errors import SidecarError, unavailable


class Told:
    """A duty that says what it is told. ``fails``: what its next recovery raises."""

    def __init__(self, name: str, told: list[str]) -> None:
        self._name, self._told = name, told
        self.fails: Exception | None = None
        self.waits = asyncio.Event()
        self.waits.set()

    async def recover(self) -> None:
        await self.waits.wait()
        if self.fails is not None:
            raise self.fails
        self._told.append(f"{self._name} recovers")

    def start(self) -> None:
        self._told.append(f"{self._name} starts")

    async def drop(self) -> None:
        self._told.append(f"{self._name} drops")
        if self.fails is not None:
            raise self.fails


class Lead:
    def __init__(self) -> None:
        self.term = 1

    def __call__(self) -> int:
        return self.term


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def both(told: list[str]) -> tuple[Told, Told]:
    return Told("one", told), Told("two", told)


@pytest.fixture
def duties(both: tuple[Told, Told]) -> Duties:
    made = Duties()
    made.set(*both)
    return made


async def taken(duties: Duties, told: list[str], lead: Lead) -> list[str]:
    told.clear()
    await duties.take(lead)
    return [each for each in told if not each.endswith("drops")]


async def test_they_start_once_they_are_recovered_and_the_doors_are_open(duties: Duties, told: list[str]) -> None:
    lead = Lead()
    assert await taken(duties, told, lead) == ["one recovers", "two recovers"]
    told.clear()
    duties.open()
    assert told == ["one starts", "two starts"] and duties.term == 1
    assert await taken(duties, told, lead) == []
    told.clear()
    await duties.drop()
    assert told == ["two drops", "one drops"] and duties.term == 0
    assert await taken(duties, told, lead) == ["one recovers", "two recovers", "one starts", "two starts"]


async def test_a_term_that_ended_meanwhile_starts_nothing(
    duties: Duties, both: tuple[Told, Told], told: list[str]
) -> None:
    lead = Lead()
    duties.open()
    both[1].waits.clear()
    taking = asyncio.create_task(duties.take(lead))
    await asyncio.sleep(0)
    lead.term = 3
    both[1].waits.set()
    await taking
    assert duties.term == 0 and "one starts" not in told and told[-2:] == ["two drops", "one drops"]
    assert (await taken(duties, told, lead))[-1] == "two starts" and duties.term == 3


@pytest.mark.parametrize("problem", [unavailable("STR_002", "the database is away"), OSError("no space")])
async def test_what_was_taken_is_dropped_when_another_fails(
    duties: Duties, both: tuple[Told, Told], told: list[str], problem: Exception
) -> None:
    both[1].fails = problem
    with pytest.raises((SidecarError, OSError)):
        await duties.take(Lead())
    assert told[-2:] == ["two drops", "one drops"] and duties.term == 0, "also if one of them cannot be dropped"


async def test_who_does_not_lead_takes_nothing(duties: Duties, told: list[str]) -> None:
    lead = Lead()
    lead.term = 0
    assert await taken(duties, told, lead) == [] and duties.term == 0
