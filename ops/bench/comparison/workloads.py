"""What is measured. A workload's name says all of it: `put-64` is puts with 64 of them under way at any time, `put-64x16`
puts in batches of 16 with 64 batches under way, `event-200` puts at 200 a second until each is heard at the other site,
`seen-1024` puts with 1024 of them under way, each until it is heard there, `catch-up` a million changes that the other site
missed, `memory` a million entries, and a start with them."""

import re
from dataclasses import dataclass

KEYS = 100_000
VALUE_BYTES = 256
MEMORY_KEYS = 1_000_000
CATCH_UP_CHANGES = 1_000_000
DEFAULT = (
    "put-1", "put-64", "put-1024", "put-64x16", "get-64", "get-1024", "get-64x16", "event-200", "event-5000", "seen-1024",
    "catch-up", "memory",
)
WARMUP_SECONDS = 2


@dataclass(frozen=True)
class Workload:
    """Parsed from its name."""

    name: str
    kind: str  # put, get, event, seen, catch-up or memory
    in_flight: int = 0
    batch: int = 1
    rate: int = 0

    @property
    def keys(self):
        """Entries that are there before it begins."""
        return MEMORY_KEYS if self.kind == "memory" else KEYS

    @property
    def sites(self):
        """How many it needs at least."""
        return 2 if self.kind in ("event", "seen", "catch-up") else 1

    @property
    def figures(self):
        """What the table shows of it: pairs of a figure's name and the one in words."""
        if self.kind == "event":
            return (("p50_us", "us p50"), ("p99_us", "us p99"), ("operations_per_second", "events/s"))
        if self.kind == "seen":
            quarters = (("first_quarter_p50_us", "us p50, first quarter"), ("last_quarter_p50_us", "us p50, last quarter"))
            return (("p50_us", "us p50"), ("p99_us", "us p99"), *quarters, ("operations_per_second", "events/s"))
        if self.kind == "catch-up":
            return (
                ("changes_per_second", "changes/s, alone"), ("changes_per_second_beside", "changes/s, with puts"),
                ("puts_per_second_before", "puts/s before"), ("puts_per_second_beside", "puts/s meanwhile"),
            )
        if self.kind == "memory":
            return (("rss_bytes", "bytes"), ("rss_after_start_bytes", "bytes after a start"), ("start_seconds", "s to start"))
        return (("operations_per_second", f"{self.kind}s/s"), ("p50_us", "us p50"), ("p99_us", "us p99"))


def parse(name):
    """The workload of that name; ValueError where there is none."""
    if name in ("memory", "catch-up"):
        return Workload(name, name)
    if found := re.fullmatch(r"event-([1-9]\d{0,5})", name):
        return Workload(name, "event", rate=int(found[1]))
    if found := re.fullmatch(r"seen-([1-9]\d{0,3})", name):
        return Workload(name, "seen", in_flight=int(found[1]))
    if found := re.fullmatch(r"(put|get)-([1-9]\d{0,3})(?:x([1-9]\d{0,2}))?", name):
        return Workload(name, found[1], in_flight=int(found[2]), batch=int(found[3] or 1))
    known = "put-N, get-N, put-NxBATCH, get-NxBATCH, event-RATE, seen-N, catch-up and memory"
    raise ValueError(f"{name!r} is no workload; there are {known}")
