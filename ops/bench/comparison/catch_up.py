"""How fast a site takes in what it has missed: its relay is stopped, changes are made at the first site, it is started
again; once alone, and once with puts going on at the first site. The first relay's metrics tell what is owed."""

import time

from .errors import Failed
from .processes import Server
from .workloads import CATCH_UP_CHANGES, KEYS, WARMUP_SECONDS

IN_FLIGHT = 64
LOOK_EVERY_SECONDS = 0.02
# Puts that go on are always owed for some time, and have caught up when it is no longer than this.
CAUGHT_UP_SECONDS = 0.5
# The part of what is owed after which it has begun: until then the link may wait for its next try.
BEGUN = 0.01
# Below this rate it is given up, beside what all else may take: to fill, and until a link tries again.
LEAST_CHANGES_PER_SECOND = 1000
PATIENCE_SECONDS = 300
PUTTING_SECONDS = 3600
OWED = 'landbridge_link_lag_changes{peer="site2"}'
AGE = 'landbridge_link_lag_seconds{peer="site2"}'
HEAD = "landbridge_log_head"


def measure(peer, seconds):
    """The figures, of a pair of relays that was just started."""
    putting = ["put", "--in-flight", IN_FLIGHT, "--warmup", WARMUP_SECONDS]
    before = peer.bench(KEYS, [*putting, "--seconds", seconds], seconds + PATIENCE_SECONDS)
    miss(peer)
    peer.start_again(1)
    alone = caught_up(peer)
    miss(peer)
    # Of the first site alone: the second is not there to be waited for.
    command = peer.bench_command(KEYS, [*putting, "--seconds", PUTTING_SECONDS], sites=1)
    filled = peer.metrics(0)[HEAD] + KEYS
    load = Server(command, peer.dir / "load.log")
    peer.servers.append(load)
    load.wait_for("puts", lambda: peer.metrics(0)[HEAD] > filled, PATIENCE_SECONDS)
    peer.start_again(1)
    beside = caught_up(peer)
    peer.servers.pop().stop()
    return {
        "changes_per_second": alone["changes_per_second"],
        "seconds": alone["seconds"],
        "changes_per_second_beside": beside["changes_per_second"],
        "seconds_beside": beside["seconds"],
        "puts_per_second_before": before["operations_per_second"],
        "puts_per_second_beside": beside["puts_per_second"],
        "puts_kept": beside["puts_per_second"] / before["operations_per_second"],
    }


def miss(peer):
    """Stops the second relay and makes the changes that it is to miss."""
    peer.servers[1].stop()
    peer.fill(CATCH_UP_CHANGES, sites=1)


def caught_up(peer):
    """Waits until the second site has all; counts from when it has begun to take it in."""
    first = latest = look(peer)
    begun = first["head"] - first["owed"] + first["owed"] * BEGUN
    deadline = first["at"] + PATIENCE_SECONDS + first["owed"] / LEAST_CHANGES_PER_SECOND
    while latest["owed"] > 0 and latest["age"] > CAUGHT_UP_SECONDS:
        if latest["at"] > deadline:
            raise Failed(f"{latest['owed']:.0f} changes are owed still")
        if latest["head"] - latest["owed"] < begun:
            first = latest
        time.sleep(LOOK_EVERY_SECONDS)
        latest = look(peer)
    return between(first, latest)


def look(peer):
    at, metrics = time.monotonic(), peer.metrics(0)
    return {"at": at, "owed": metrics[OWED], "age": metrics[AGE], "head": metrics[HEAD]}


def between(first, last):
    """Rates from one look to another: what was acknowledged is what the log has grown by and what is owed less."""
    seconds = last["at"] - first["at"]
    puts = last["head"] - first["head"]
    return {
        "seconds": seconds,
        "changes_per_second": (puts + first["owed"] - last["owed"]) / seconds,
        "puts_per_second": puts / seconds,
    }
