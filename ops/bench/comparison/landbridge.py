"""Landbridge: two relays that replicate to each other, mutual TLS, every acknowledged write on disk. All defaults."""

import json
import os
import time
from pathlib import Path

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

    def unsupported(self, workload):
        if workload.kind == "event" and self.sites < 2:
            return "one site"
        return None

    def start(self):
        names = [f"site{at + 1}" for at in range(self.sites)]
        ports = free_ports(self.sites)
        certs = ["certs", "--dir", self.dir / "certs", "--site", *names, "--node", *[f"{name}/{node(name)}" for name in names]]
        run([self.context.landbridge, *certs], 30)
        for at, name in enumerate(names):
            (self.dir / f"{name}.relay.toml").write_text(relay_toml(at, names, ports), encoding="utf-8")
            (self.dir / f"{name}.profile.toml").write_text(profile_toml(name, ports[at]), encoding="utf-8")
        for name in names:
            self.servers.append(self.relay(name))
        for server in self.servers:
            server.wait_for("ready", lambda s=server: ready(s), START_SECONDS)

    def relay(self, name):
        return Server([self.context.landbridge, "run", "--config", self.dir / f"{name}.relay.toml"], self.dir / f"{name}.log")

    def load(self, workload, seconds):
        args = [workload.kind, "--seconds", seconds, "--warmup", WARMUP_SECONDS]
        if workload.kind == "event":
            # As many as may be needed where answers are slow; the rate alone says when one begins.
            args += ["--rate", workload.rate, "--in-flight", 1024]
        else:
            sessions = -(-workload.in_flight // IN_FLIGHT_PER_SESSION)
            args += ["--in-flight", workload.in_flight, "--batch", workload.batch, "--sessions", sessions]
        return self.bench(workload.keys, args, seconds + WARMUP_SECONDS + FILL_SECONDS)

    def fill(self, keys):
        self.bench(keys, ["get", "--seconds", 1, "--warmup", 0, "--in-flight", 1], FILL_SECONDS)

    def bench(self, keys, args, patience):
        profiles = [self.dir / f"site{at + 1}.profile.toml" for at in (0, self.sites - 1)]
        common = ["--profile", profiles[0], "--cache", CACHE, "--keys", keys, "--value-bytes", VALUE_BYTES, "--keep", "--json"]
        listen = ["--listen-profile", profiles[1]]
        # 1: some operations failed; the figures say how many.
        out = run([self.context.landbridge, "bench", *args, *common, *listen], patience, accepted=(0, 1))
        if not out.strip():
            raise Failed("landbridge bench printed no figures")
        of = json.loads(out)
        names = ("operations_per_second", "p50_us", "p99_us", "max_us", "errors", "first_error", "coalesced")
        return {name: of[name] for name in names}

    def restart_first(self):
        self.servers[0].stop()
        begun = time.monotonic()
        self.servers[0] = self.relay("site1")
        self.servers[0].wait_for("ready", lambda: ready(self.servers[0], 2), START_SECONDS)
        return time.monotonic() - begun


def ready(server, times=1):
    """Whether it has said so, in as many runs as have written to its log."""
    return server.log.read_text(encoding="utf-8", errors="replace").splitlines().count("ready") >= times


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
