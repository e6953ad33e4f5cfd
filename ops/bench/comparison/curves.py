"""The curves of `growth`: for each what grows, at which points it is measured, and by which arguments of `landbridge bench`."""

from dataclasses import dataclass
from typing import Callable

from .charts import Panel

# What an entry of 256 bytes takes at most at one site, and what is left to all else.
MEMORY_PER_ENTRY = 700
DISK_PER_ENTRY = 1500
SPARE_BYTES = 2 << 30
SITES = 2
# Of the curves that change something else.
IN_FLIGHT = 64
# As many requests as the most sessions: each session has one then.
SESSIONS_IN_FLIGHT = 1000
# Puts a second that 1 000 subscriptions can hear on two cores.
HEARD_RATE = 100
VALUES_BYTES = 256 << 20
# A session that has more under way than `max_session_bytes`, 32 MiB, is ended.
VALUES_SESSIONS = 4
MOST_KEYS = 10_000

RATE = Panel("operations_per_second", "puts/s")
CPU = Panel("cpu_us_per_put", "CPU of the first relay, us per put")


@dataclass(frozen=True)
class Curve:
    """What is drawn in one file."""

    name: str
    title: str
    axis: str
    points: tuple
    arguments: Callable
    panels: tuple = (RATE, CPU)
    # Whether the points are bytes.
    bytes: bool = False


def under_way(sites=SITES):
    return ["--in-flight", IN_FLIGHT, "--sites", sites]


def of_entries(entries):
    return ["put", *under_way(), "--keys", entries]


def of_sessions(sessions):
    return ["put", "--in-flight", SESSIONS_IN_FLIGHT, "--sessions", sessions]


def of_subscriptions(subscriptions):
    # At the relay that takes the puts, so that its processor time is that of the events, too.
    return ["event", "--sites", 1, "--rate", HEARD_RATE, "--subscriptions", subscriptions]


def of_sites(sites):
    return ["put", *under_way(sites)]


def of_values(size):
    return [*puts_of(size), "--sites", SITES, "--keys", keys_of(size)]


def puts_of(size):
    """Puts of values of that size, wherever."""
    return ["put", "--in-flight", IN_FLIGHT, "--sessions", VALUES_SESSIONS, "--value-bytes", size]


def keys_of(size):
    """As many as the values of that size have room."""
    return min(MOST_KEYS, VALUES_BYTES // size)


ALL = {
    curve.name: curve
    for curve in (
        Curve(
            "entries", "Puts by how many entries there are", "entries",
            (10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000, 10_000_000), of_entries,
        ),
        Curve(
            "sessions", f"Puts by how many sessions make them, {SESSIONS_IN_FLIGHT} under way", "sessions",
            (1, 3, 10, 30, 100, 300, 1000), of_sessions,
        ),
        Curve(
            "subscriptions", f"{HEARD_RATE} puts/s by how many subscriptions of the cache hear each", "subscriptions",
            (1, 3, 10, 30, 100, 300, 1000), of_subscriptions,
            (Panel("events_per_second", "events heard/s, all subscriptions"), CPU, Panel("p50_us", "us until heard, p50")),
        ),
        Curve("sites", "Puts by how many sites there are, all on one machine", "sites", (1, 2, 3, 4, 5), of_sites),
        Curve(
            "values", "Puts by the size of their values", "bytes of a value",
            tuple(16 << 2 * n for n in range(9)), of_values,
            (
                Panel("operations_per_second", "puts/s", logarithmic=True),
                Panel("megabytes_per_second", "MB/s of values"),
                Panel("cpu_us_per_put", "CPU of the first relay, us per put", logarithmic=True),
            ),
            bytes=True,
        ),
    )
}


def fitting(curve, memory, disk):
    """Those points that a machine with so much left of both can hold, and those that it can't."""
    if curve.name != "entries":
        return curve.points, ()
    most = min((memory - SPARE_BYTES) // MEMORY_PER_ENTRY, (disk - SPARE_BYTES) // DISK_PER_ENTRY) // SITES
    return tuple(point for point in curve.points if point <= most), tuple(point for point in curve.points if point > most)


def thinned(points, most):
    """At most so many of them, evenly apart, the first and the last among them; of one, the first."""
    if most >= len(points):
        return points
    if most == 1:
        return points[:1]
    return tuple(points[round(at * (len(points) - 1) / (most - 1))] for at in range(most))


def figures(of):
    """Those of one point, by the JSON of `landbridge bench` with relays of its own."""
    # Of events, each put is heard many times.
    puts = of["operations"] if of["puts"] is None else of["puts"]
    cpu = of["relays"][0]["cpu_seconds"]
    told = {name: of[name] for name in ("p50_us", "p99_us", "errors", "first_error", "coalesced")}
    told["operations_per_second"] = puts / of["seconds"]
    told["megabytes_per_second"] = told["operations_per_second"] * of["value_bytes"] / 1e6
    if of["puts"] is not None:
        told["events_per_second"] = of["operations_per_second"]
    if cpu is not None and puts:
        told["cpu_us_per_put"] = cpu * 1e6 / puts
    return told
