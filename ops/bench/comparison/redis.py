"""Redis with its log on disk before each answer (`appendfsync always`), TLS with certificates on both sides, and a replica
set up the same way as the second site. The load is redis-benchmark's, a connection for each request under way; events are
keyspace notifications at the replica, heard by our own program, and hold no value."""

import csv
import json
import os
import shutil
import time

from . import certificates, go
from .errors import Failed, Missing
from .peer import Peer
from .processes import Server, free_ports, run
from .workloads import VALUE_BYTES, WARMUP_SECONDS

INSTALL_SECONDS = 300
PATIENCE_SECONDS = 60
# Requests of a try, for each that is under way: the first tells how many fill the warm-up, which tells how many fill the
# measured time; the second tells what of that goes by until the connections are there.
TRIES_PER_PLACE = 20
EVENT_CONNECTIONS = 16
FILL_BATCH = 10_000
# The keys that redis-benchmark draws.
FILL = (
    "for n = tonumber(ARGV[1]), tonumber(ARGV[2]) do redis.call('SET', string.format('key:%012d', n), "
    f"string.rep('x', {VALUE_BYTES})) end return 1"
)


class Redis(Peer):
    name = "redis"
    setup = "TLS with certificates of both sides; appendonly, appendfsync always; a replica set up alike"

    def fetch(self):
        if shutil.which("redis-server") is None or shutil.which("redis-benchmark") is None:
            install(self.context)
        # Without Go, all but its events can be measured.
        try:
            self.events = go.build(self.context, "redis-events")
            self.no_events = None
        except Missing as missing:
            self.events, self.no_events = None, str(missing)

    def version(self):
        words = run(["redis-server", "--version"], 10).split()
        return next(word[2:] for word in words if word.startswith("v="))

    def unsupported(self, workload):
        return self.no_events if workload.kind == "event" else None

    def start(self):
        certificates.make(self.dir)
        self.ports = free_ports(self.sites)
        for at in range(self.sites):
            (self.dir / f"site{at + 1}").mkdir()
            self.servers.append(self.server(at))
        for at, server in enumerate(self.servers):
            server.wait_for("answer to PING", lambda at=at: self.ask(at, "PING") == "PONG", PATIENCE_SECONDS)
        if self.sites > 1:
            self.servers[1].wait_for("link to the first", self.linked, PATIENCE_SECONDS)

    def server(self, at):
        argv = [
            "redis-server", "--bind", "127.0.0.1", "--port", "0", "--tls-port", self.ports[at],
            "--tls-cert-file", self.dir / "both.pem", "--tls-key-file", self.dir / "both.key",
            "--tls-ca-cert-file", self.dir / "ca.pem", "--tls-auth-clients", "yes", "--tls-replication", "yes",
            "--appendonly", "yes", "--appendfsync", "always", "--save", "", "--maxclients", "10000",
            "--dir", self.dir / f"site{at + 1}",
        ]
        if at > 0:
            argv += ["--replicaof", f"127.0.0.1 {self.ports[0]}", "--notify-keyspace-events", "K$"]
        return Server(argv, self.dir / f"site{at + 1}.log")

    def tls(self):
        return ["--tls", "--cacert", self.dir / "ca.pem", "--cert", self.dir / "both.pem", "--key", self.dir / "both.key"]

    def ask(self, at, *words):
        """What redis-cli prints; nothing where it can't connect or is refused."""
        argv = ["redis-cli", "-h", "127.0.0.1", "-p", self.ports[at], *self.tls(), *words]
        return run(argv, PATIENCE_SECONDS, accepted=(0, 1)).strip()

    def linked(self):
        return "master_link_status:up" in self.ask(1, "INFO", "replication")

    def fill(self, keys):
        # Not what is measured, so not with a flush for each.
        self.ask(0, "CONFIG", "SET", "appendfsync", "no")
        for first in range(0, keys, FILL_BATCH):
            last = min(keys, first + FILL_BATCH) - 1
            answer = self.ask(0, "EVAL", FILL, "0", first, last)
            if answer != "1":
                raise Failed(f"redis did not take the entries that are to be there before: {answer}")
        self.ask(0, "CONFIG", "SET", "appendfsync", "always")
        if self.sites > 1:
            deadline = time.monotonic() + PATIENCE_SECONDS
            while int(self.ask(1, "DBSIZE")) < keys:
                if time.monotonic() > deadline:
                    raise Failed("the replica did not get the entries")
                time.sleep(0.05)

    def load(self, workload, seconds):
        self.fill(workload.keys)
        if workload.kind == "event":
            return self.hear(workload, seconds)
        places = workload.in_flight * workload.batch
        tries = places * TRIES_PER_PLACE
        first = self.benchmark(workload, tries, PATIENCE_SECONDS)
        warm = self.benchmark(workload, requests_of(first, WARMUP_SECONDS, places), PATIENCE_SECONDS)
        short = self.benchmark(workload, tries, PATIENCE_SECONDS)
        requests = requests_of(warm, seconds, places)
        figures = self.benchmark(workload, requests, seconds * 10 + PATIENCE_SECONDS)
        return {**figures, "operations_per_second": without_connecting((tries, short), (requests, figures))}

    def benchmark(self, workload, requests, patience):
        command = {"put": "set", "get": "get"}[workload.kind]
        argv = [
            "redis-benchmark", "-h", "127.0.0.1", "-p", self.ports[0], *self.tls(), "-t", command, "-d", VALUE_BYTES,
            "-r", workload.keys, "-c", workload.in_flight, "-P", workload.batch, "-n", requests, "--csv",
        ]
        rows = [row for row in csv.DictReader(run(argv, patience).splitlines()) if row["test"].lower() == command]
        if len(rows) != 1:
            raise Failed(f"redis-benchmark printed no figures of {command}")
        us = {f"{name}_us": float(rows[0][f"{name}_latency_ms"]) * 1000 for name in ("p50", "p99", "max")}
        return {"operations_per_second": float(rows[0]["rps"]), **us, "errors": 0}

    def hear(self, workload, seconds):
        argv = [
            self.events, "--put", f"127.0.0.1:{self.ports[0]}", "--hear", f"127.0.0.1:{self.ports[1]}", "--tls", self.dir,
            "--rate", workload.rate, "--seconds", seconds, "--warmup", WARMUP_SECONDS, "--keys", workload.keys,
            "--value-bytes", VALUE_BYTES, "--connections", EVENT_CONNECTIONS,
        ]
        return json.loads(run(argv, seconds * 2 + PATIENCE_SECONDS))

    def restart_first(self):
        self.servers[0].stop()
        begun = time.monotonic()
        self.servers[0] = self.server(0)
        # While it loads, it says so instead.
        self.servers[0].wait_for("entries", lambda: self.ask(0, "PING") == "PONG", PATIENCE_SECONDS)
        return time.monotonic() - begun


def requests_of(figures, seconds, least):
    """As many as take so long at that rate."""
    return max(least, int(figures["operations_per_second"] * seconds))


def without_connecting(short, long):
    """The rate of the long run without what both begin with: redis-benchmark counts the TLS handshakes of its connections,
    which are no part of what is compared."""
    (few, first), (many, last) = short, long
    span = many / last["operations_per_second"] - few / first["operations_per_second"]
    # Where the long run is hardly longer, the difference means nothing.
    return (many - few) / span if many > 2 * few and span > 0 else last["operations_per_second"]


def install(context):
    """Debian's packages; the service that they start is stopped, and not started with the machine either."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise Missing("redis-server and redis-benchmark are not installed (Debian: redis-server redis-tools)")
    context.say("installing Debian's redis-server and redis-tools")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        run(["apt-get", "update", "-qq"], INSTALL_SECONDS, env=env)
        packages = ["redis-server", "redis-tools"]
        run(["apt-get", "install", "-qq", "-y", "--no-install-recommends", *packages], INSTALL_SECONDS, env=env)
        if os.path.isdir("/run/systemd/system"):
            run(["systemctl", "disable", "--now", "redis-server"], PATIENCE_SECONDS)
        else:
            # 0 also where it does not run.
            run(["service", "redis-server", "stop"], PATIENCE_SECONDS, accepted=(0, 1))
            run(["update-rc.d", "redis-server", "disable"], PATIENCE_SECONDS)
    except Failed as failed:
        raise Missing(f"Redis can't be installed: {failed}") from failed
