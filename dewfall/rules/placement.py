"""How many instances copies of models need: each copy asks for processors and memory, each instance has some.

Pure and exact enough: the largest copies are placed first, each on the first instance that has room.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Room:
    """Processors and megabytes: what a copy asks for, or what an instance has."""

    cpus: float
    memory: float

    def holds(self, other: Room) -> bool:
        """Whether the other fits in."""
        return self.cpus >= other.cpus and self.memory >= other.memory

    def without(self, other: Room) -> Room:
        """What is left."""
        return Room(self.cpus - other.cpus, self.memory - other.memory)


def instances_needed(instance: Room, demands: Iterable[tuple[Room, int]]) -> int | None:
    """Instances that so many copies need; None where a copy is larger than an instance.

    >>> instances_needed(Room(4, 8000), [(Room(2, 1000), 3), (Room(1, 500), 1)])
    2
    """
    left: list[Room] = []
    for copy, count in sorted(demands, key=lambda demand: (-demand[0].cpus, -demand[0].memory)):
        for _ in range(count):
            if not instance.holds(copy):
                return None
            place = next((place for place, room in enumerate(left) if room.holds(copy)), None)
            if place is None:
                left.append(instance.without(copy))
            else:
                left[place] = left[place].without(copy)
    return len(left)
