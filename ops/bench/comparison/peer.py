"""What every peer can: be fetched, be started with one site or two, take a load, be stopped."""


class Peer:
    """One way of doing the job. A peer is started afresh for each round, on an empty directory."""

    name = ""
    # What of a reader's expectations it does not fulfil, or how it was set up.
    setup = ""
    # Of workloads.
    kinds = ("put", "get", "event", "memory")

    def __init__(self, context):
        self.context = context
        self.servers = []
        self.dir = None
        self.sites = 2

    def fetch(self):
        """Gets and builds what it needs, once; raises Missing where that is not to be had."""
        raise NotImplementedError

    def version(self):
        """As it says itself."""
        raise NotImplementedError

    def unsupported(self, workload):
        """Why it has no such workload of its kinds; nothing where it has."""
        return None

    def start(self):
        """Starts its servers in `self.dir`, `self.sites` of them, and waits until they serve."""
        raise NotImplementedError

    def measure(self, workload, seconds):
        """The figures of a workload at servers that were just started."""
        return self.memory(workload.keys) if workload.kind == "memory" else self.load(workload, seconds)

    def load(self, workload, seconds):
        """Puts an entry under every key, then runs the workload; returns its figures."""
        raise NotImplementedError

    def fill(self, keys):
        """Puts an entry under so many keys, and waits until the first server's store is whole."""
        raise NotImplementedError

    def restart_first(self):
        """Stops the first server, starts it again, and returns after how many seconds it served what it holds."""
        raise NotImplementedError

    def memory(self, keys):
        """What the first server has in memory with so many entries, and how it starts with them."""
        self.fill(keys)
        filled = self.servers[0].rss_bytes()
        seconds = self.restart_first()
        return {"rss_bytes": filled, "start_seconds": seconds, "rss_after_start_bytes": self.servers[0].rss_bytes()}

    def stop(self):
        """Stops what it started, the last first."""
        while self.servers:
            self.servers.pop().stop()
