"""Landbridge: two relays that replicate to each other, mutual TLS, every acknowledged write on disk. All defaults."""

import json
import os
import time
import urllib.request
from pathlib import Path

from . import catch_up
from .errors import Failed
from .peer import Peer
from .processes import Server, free_ports, run
from .workloads import VALUE_BYTES, WARMUP_SECONDS

CACHE = "bench"
BUILD_SECONDS = 1800
FILL_SECONDS = 300
START_SECONDS = 60
# Requests under way in one session at most before there is another one.
IN_FLIGHT_PER_SESSION = 64


class Landbridge(Peer):
    name = "landbridge"
    setup = "mutual TLS; fsync; a pair of relays, each site's changes go to the other"
    kinds = (*Peer.kinds, "seen", "catch-up")

    def fetch(self):
        if self.context.landbridge is None:
            root = Path(__file__).resolve().parents[3]
            self.context.say("building landbridge")
            run(["cargo", "build", "--release", "--locked", "-p", "landbridge"], BUILD_SECONDS, cwd=root)
            target = Path(os.environ.get("CARGO_TARGET_DIR", root / "target"))
            self.context.landbridge = root / target / "release" / "landbridge"
        run([self.context.landbridge, "--version"], 10)

    def version(self):
        return run([self.context.landbridge, "--version"], 10).split()[-1]

    def start(self):
        names = [f"site{at + 1}" for at in range(self.sites)]
        self.ports = free_ports(self.sites)
        certs = ["certs", "--dir", self.dir / "certs", "--site", *names, "--node", *[f"{name}/{node(name)}" for name in names]]
        run([self.context.landbridge, *certs], 30)
        for at, name in enumerate(names):
            (self.dir / f"{name}.relay.toml").write_text(relay_toml(at, names, self.ports), encoding="utf-8")
            (self.dir / f"{name}.profile.toml").write_text(profile_toml(name, self.ports[at]), encoding="utf-8")
        for name in names:
            self.servers.append(self.relay(name))
        for server in self.servers:
            server.wait_for("ready", lambda s=server: ready_times(s.log) > 0, START_SECONDS)

    def relay(self, name):
        return Server([self.context.landbridge, "run", "--config", self.dir / f"{name}.relay.toml"], self.dir / f"{name}.log")

    def measure(self, workload, seconds):
        if workload.kind == "catch-up":
            return catch_up.measure(self, seconds)
        return super().measure(workload, seconds)

    def load(self, workload, seconds):
        args = ["--seconds", seconds, "--warmup", WARMUP_SECONDS]
        if workload.kind == "event":
            # As many as may be needed where answers are slow; the rate alone says when one begins.
            args += ["--rate", workload.rate, "--in-flight", 1024]
        else:
            args += under_way(workload.in_flight, workload.batch)
        kind = "event" if workload.kind == "seen" else workload.kind
        return self.bench(workload.keys, [kind, *args], seconds + WARMUP_SECONDS + FILL_SECONDS)

    def fill(self, keys, sites=None):
        """`sites`: how many are to have the entries in the end; all unless told otherwise."""
        self.bench(keys, ["get", "--seconds", 1, "--warmup", 0, "--in-flight", 1], FILL_SECONDS, sites)

    def bench(self, keys, args, patience, sites=None):
        # 1: some operations failed; the figures say how many.
        out = run(self.bench_command(keys, args, sites), patience, accepted=(0, 1))
        if not out.strip():
            raise Failed("landbridge bench printed no figures")
        return figures(json.loads(out))

    def bench_command(self, keys, args, sites=None):
        here, there = (self.dir / f"site{n}.profile.toml" for n in (1, sites or self.sites))
        common = ["--profile", here, "--listen-profile", there, "--cache", CACHE, "--keys", keys, "--keep", "--json"]
        size = [] if "--value-bytes" in args else ["--value-bytes", VALUE_BYTES]
        return [self.context.landbridge, "bench", *args, *size, *common]

    def restart_first(self):
        self.servers[0].stop()
        return self.start_again(0)

    def start_again(self, at):
        """Starts a relay that was stopped, and returns after how many seconds it was ready."""
        begun = time.monotonic()
        log = self.servers[at].log
        times = ready_times(log) + 1
        self.servers[at] = self.relay(f"site{at + 1}")
        self.servers[at].wait_for("ready", lambda: ready_times(log) >= times, START_SECONDS)
        return time.monotonic() - begun

    def metrics(self, at):
        """The numbers of a relay, by their names with labels."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[at]}/metrics", timeout=START_SECONDS) as answer:
            lines = answer.read().decode().splitlines()
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line and line[0] != "#")}


def under_way(in_flight, batch=1):
    """Arguments of so many requests, with sessions enough for them."""
    return ["--in-flight", in_flight, "--batch", batch, "--sessions", -(-in_flight // IN_FLIGHT_PER_SESSION)]


def figures(of):
    """What is told of the JSON of `landbridge bench`."""
    names = ("operations_per_second", "p50_us", "p99_us", "max_us", "errors", "first_error", "coalesced")
    told = {name: of[name] for name in names}
    if quarters := of["quarters_p50_us"]:
        told |= {"first_quarter_p50_us": quarters[0], "last_quarter_p50_us": quarters[-1]}
        told["puts_per_second"] = of["puts"] / of["seconds"]
    return told


def ready_times(log):
    """How often a relay has said so, in all runs that have written to that log."""
    return log.read_text(encoding="utf-8", errors="replace").splitlines().count("ready")


def relay_toml(at, names, ports):
    text = (
        f'site = "{names[at]}"\nlisten = "127.0.0.1:{ports[at]}"\n\n[store]\ndir = "{names[at]}.store"\n\n[tls]\n'
        f'certificate = "certs/{names[at]}.relay.pem"\nkey = "certs/{names[at]}.relay.key"\ntrust = "certs/ca.pem"\n\n'
        f'[[caches]]\nname = "{CACHE}"\n'
    )
    for name, port in zip(names, ports):
        if name != names[at]:
            text += f'\n[[peers]]\nsite = "{name}"\naddress = "127.0.0.1:{port}"\n'
    return text


def profile_toml(name, port):
    return (
        f'relay = "127.0.0.1:{port}"\nsite = "{name}"\nnode = "{node(name)}"\ncertificate = "certs/{node(name)}.pem"\n'
        f'key = "certs/{node(name)}.key"\ntrust = "certs/ca.pem"\n'
    )


def node(site):
    """The one node of a site."""
    return f"node-{site}"
