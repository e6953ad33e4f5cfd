"""NATS JetStream's key-value store with each message on disk before its answer (`sync_interval: always`), TLS with
certificates on both sides, and as the second site a server of its own that is joined by a leaf node's connection and holds a
mirror of the bucket. The load is our own program's."""

import json
import time

from . import certificates, go
from .peer import Peer
from .processes import Server, free_ports, run
from .workloads import VALUE_BYTES, WARMUP_SECONDS

START_SECONDS = 60
FILL_SECONDS = 600
PATIENCE_SECONDS = 120
# Requests under way on one connection at most before there is another one.
IN_FLIGHT_PER_CONNECTION = 64


class Nats(Peer):
    name = "nats"
    setup = "JetStream KV; TLS with certificates of both sides; sync_interval: always; a mirror at a second server set up alike"

    def fetch(self):
        self.program = go.build(self.context, go.NATS_SERVER)
        self.generator = go.build(self.context, "nats-load")

    def version(self):
        return run([self.program, "--version"], 10).split()[-1].removeprefix("v")

    def unsupported(self, workload):
        return "it has no batches" if workload.batch > 1 else None

    def start(self):
        certificates.make(self.dir)
        self.leaf, *self.ports = free_ports(1 + self.sites)
        # Filled without a flush for each: that is not what is measured.
        for at in range(self.sites):
            self.configure(at, "2m")
            self.servers.append(self.server(at))
            self.await_ready(at, 1)

    def configure(self, at, sync_interval):
        """Writes a server's configuration."""
        tls = 'tls { cert_file: "both.pem", key_file: "both.key", ca_file: "ca.pem", verify: true }'
        text = (
            f'server_name: site{at + 1}\nlisten: "127.0.0.1:{self.ports[at]}"\n{tls}\n'
            f'jetstream {{ store_dir: "site{at + 1}", domain: site{at + 1}, sync_interval: {sync_interval} }}\n'
        )
        if at == 0:
            text += f'leafnodes {{ listen: "127.0.0.1:{self.leaf}", {tls} }}\n'
        else:
            text += f'leafnodes {{ remotes: [ {{ url: "tls://127.0.0.1:{self.leaf}", {tls.replace(", verify: true", "")} }} ] }}\n'
        (self.dir / f"site{at + 1}.conf").write_text(text, encoding="utf-8")

    def server(self, at):
        return Server([self.program, "-c", self.dir / f"site{at + 1}.conf"], self.dir / f"site{at + 1}.log", cwd=self.dir)

    def await_ready(self, at, times):
        log = self.dir / f"site{at + 1}.log"
        said = lambda: log.read_text(encoding="utf-8").count("Server is ready") >= times
        self.servers[at].wait_for("word that it is ready", said, START_SECONDS)

    def fill(self, keys):
        self.generate("fill", FILL_SECONDS, "--keys", keys)

    def flush_each(self):
        """Starts the servers anew as they are measured."""
        for at in reversed(range(self.sites)):
            self.configure(at, "always")
            self.servers[at].stop()
        for at in range(self.sites):
            self.servers[at] = self.server(at)
            self.await_ready(at, 2)
        self.generate("await", START_SECONDS)

    def generate(self, what, seconds, *args):
        addresses = [f"127.0.0.1:{port}" for port in self.ports]
        argv = [self.generator, "--server", addresses[0], "--mirror", (*addresses[1:], "")[0], "--tls", self.dir]
        return run([*argv, *args, what], seconds)

    def load(self, workload, seconds):
        self.fill(workload.keys)
        self.flush_each()
        args = ["--seconds", seconds, "--warmup", WARMUP_SECONDS, "--keys", workload.keys, "--value-bytes", VALUE_BYTES]
        if workload.kind == "event":
            args += ["--rate", workload.rate]
        else:
            args += ["--in-flight", workload.in_flight]
            args += ["--connections", -(-workload.in_flight // IN_FLIGHT_PER_CONNECTION)]
        return json.loads(self.generate(workload.kind, seconds + PATIENCE_SECONDS, *args))

    def restart_first(self):
        self.configure(0, "always")
        self.servers[0].stop()
        begun = time.monotonic()
        self.servers[0] = self.server(0)
        self.generate("await", START_SECONDS)
        return time.monotonic() - begun
