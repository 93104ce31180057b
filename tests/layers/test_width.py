"""The width is pure arithmetic, so a service of any kind can be played to it."""

import heapq
from dataclasses import dataclass, field

import pytest

from asyncstore.layers.width import Width


@dataclass
class Played:
    """A service in simulated time, asked for as much as the width allows.

    `rate` bounds requests per second (a busy server), `room` refuses beyond so many at once.
    """

    latency: float = 0.025
    rate: float = float("inf")
    room: float = float("inf")
    now: float = 0.0
    done: int = 0
    refused: int = 0
    widths: list[int] = field(default_factory=list)

    def run(self, width: Width, requests: int) -> "Played":
        ends: list[tuple[float, int, int, int, bool]] = []
        used = begun = 0
        free_at = 0.0
        while self.done < requests:
            while used < width.allowed:
                used += 1
                begun += 1
                began = width.begin(used)
                if used > self.room:
                    end, refused = self.now + self.latency / 5, True
                else:
                    free_at = max(free_at, self.now) + 1 / self.rate
                    end, refused = max(self.now + self.latency, free_at), False
                heapq.heappush(ends, (end, begun, began, used, refused))
            self.now, _, began, mine, refused = heapq.heappop(ends)
            used -= 1
            if refused:
                self.refused += 1
                width.refused(began, mine)
            else:
                self.done += 1
                if width.count(16_384):
                    width.judge(self.now)
            self.widths.append(width.allowed)
        return self

    @property
    def speed(self) -> float:
        return self.done / self.now


def test_the_width_climbs_while_the_rate_climbs():
    width = Width(512, start=16)
    played = Played(latency=0.025).run(width, 20_000)
    assert width.allowed >= 400
    assert played.speed >= 512 / 0.025 / 1.5


def test_the_width_stays_where_more_brings_nothing():
    width = Width(512, start=16)
    Played(latency=0.001, rate=20_000).run(width, 50_000)
    assert width.allowed <= 64


@pytest.mark.parametrize("room", [20, 200, 400])
def test_a_service_that_refuses_above_a_limit_is_kept_busy_and_rarely_asked_for_more(room):
    width = Width(512)
    played = Played(room=room).run(width, 40_000)
    assert played.speed >= 0.9 * room / 0.025
    assert played.refused <= 0.05 * played.done


def test_one_burst_of_refusals_halves_once():
    width = Width(64)
    began = [width.begin(used) for used in range(1, 65)]
    for used, mark in enumerate(began[20:], 21):
        width.refused(mark, used)
    assert width.allowed == 32


def test_the_width_never_falls_to_nothing():
    width = Width(8)
    for _ in range(20):
        width.refused(width.begin(1), 1)
    assert width.allowed == 1


def test_a_service_that_recovers_is_used_again():
    width = Width(256)
    Played(room=16).run(width, 4_000)
    assert width.allowed <= 16
    later = Played(now=60.0).run(width, 20_000)
    assert width.allowed >= 64, later.widths[::10_000]


def test_places_that_nobody_uses_teach_nothing():
    width = Width(512, start=16)
    for i in range(1000):
        width.begin(1)
        if width.count(0):
            width.judge(i * 0.01)
    assert width.allowed == 16
