"""Infinispan Server, two sites that back each other up asynchronously (RELAY2 over TCP, TCPPING on loopback), without TLS: in
memory only, and as a peer of its own with each write on disk (a file store with `sync-writes`) before it is answered. What one
site owes the other is in memory in any case. The server has no package of its own, but
runs from its Maven jars; the load is our own program's, by its Java Hot Rod client."""

import json
import os
import shutil
from pathlib import Path

from .errors import Failed, Missing
from .peer import Peer
from .processes import Server, free_ports, last_lines, run
from .workloads import VALUE_BYTES

SOURCES = Path(__file__).resolve().parents[1] / "infinispan"
VERSION = "16.0.7"
JARS = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
FETCH_SECONDS = 900
START_SECONDS = 120
PATIENCE_SECONDS = 300
HEAP = ("-Xms1g", "-Xmx4g")
# Two virtual machines compile what is hot, the server's and the load's: longer than the others', so as not to measure that.
JAVA_WARMUP_SECONDS = 20
# Codes of what its log says: that it has started, and which sites it sees.
STARTED, VIEW = "ISPN080001", "ISPN000439"


class Infinispan(Peer):
    name = "infinispan"
    setup = "in memory only, no TLS; two sites, each an asynchronous backup of the other (RELAY2 over TCP)"
    # In the cache's configuration.
    persistence = ""

    def fetch(self):
        for program in ("java", "javac", "mvn"):
            if shutil.which(program) is None:
                raise Missing(f"{program} is not installed (Debian: default-jdk-headless maven)")
        jars, classes = self.context.cache / f"infinispan-{VERSION}", self.context.cache / "infinispan-load"
        self.classpath = os.pathsep.join([f"{jars}/*", str(classes)])
        try:
            if not (jars / f"infinispan-server-runtime-{VERSION}.jar").is_file():
                self.context.say("fetching Infinispan's jars")
                fetch = ["mvn", "-q", "-B", "-f", SOURCES / "pom.xml", JARS, "-DincludeScope=runtime"]
                run([*fetch, f"-DoutputDirectory={jars}"], FETCH_SECONDS)
            self.context.say("building infinispan-load")
            run(["javac", "-cp", self.classpath, "-d", classes, *SOURCES.glob("*.java")], FETCH_SECONDS)
        except Failed as failed:
            raise Missing(f"Infinispan can't be had: {failed}") from failed

    def version(self):
        return VERSION

    def unsupported(self, workload):
        return "putAll of it writes to each key by itself; no batches are measured" if workload.batch > 1 else None

    def start(self):
        self.hotrod, bridge, local = (free_ports(self.sites) for _ in range(3))
        for at in range(self.sites):
            root = self.dir / f"site{at + 1}"
            (root / "conf").mkdir(parents=True)
            # Without it, empty as it is, the server finds none of its classes.
            (root / "lib").mkdir()
            text = configuration(at, self.sites, self.hotrod[at], bridge, local[at], self.persistence)
            (root / "conf" / "site.xml").write_text(text, encoding="utf-8")
            shutil.copy(SOURCES / "log4j2.xml", root / "conf")
            (self.dir / f"site{at + 1}.xml").write_text(text, encoding="utf-8")
            argv = ["java", *HEAP, "-cp", self.classpath, "org.infinispan.server.Bootstrap", "-s", root, "-c", "site.xml"]
            self.servers.append(Server(argv, self.dir / f"site{at + 1}.log"))
        for server in self.servers:
            server.wait_for("word that it has started", lambda s=server: STARTED in text_of(s), START_SECONDS)
            if self.sites > 1:
                server.wait_for("view of both sites", lambda s=server: sees_both(text_of(s)), START_SECONDS)

    def fill(self, keys):
        self.generate("fill", "--keys", keys)

    def generate(self, what, *args, patience=PATIENCE_SECONDS):
        addresses = [f"127.0.0.1:{port}" for port in self.hotrod]
        argv = ["java", "-Xmx1g", "-cp", self.classpath, "Load", what, "--server", addresses[0], "--listen", addresses[-1]]
        return run([*argv, *args, "--value-bytes", VALUE_BYTES], patience)

    def load(self, workload, seconds):
        self.fill(workload.keys)
        args = ["--seconds", seconds, "--warmup", JAVA_WARMUP_SECONDS, "--keys", workload.keys]
        args += ["--rate", workload.rate] if workload.kind == "event" else ["--in-flight", workload.in_flight]
        return json.loads(self.generate(workload.kind, *args, patience=seconds + JAVA_WARMUP_SECONDS + PATIENCE_SECONDS))

    def memory(self, keys):
        # In memory only, there is nothing to start with.
        self.fill(keys)
        return {"rss_bytes": self.servers[0].rss_bytes()}


class InfinispanDisk(Infinispan):
    name = "infinispan-disk"
    setup = "a file store with sync-writes, no TLS; two sites, each an asynchronous backup of the other (RELAY2 over TCP)"
    persistence = '<persistence><file-store><data sync-writes="true"/></file-store></persistence>'


def text_of(server):
    """What a server has said so far; where it has failed, its process stays all the same."""
    text = server.log.read_text(encoding="utf-8", errors="replace")
    if 'Exception in thread "main"' in text:
        raise Failed(f"Infinispan did not start:\n{last_lines(text)}")
    return text


def sees_both(log):
    return any(VIEW in line and "site1" in line and "site2" in line for line in log.splitlines())


def configuration(at, sites, hotrod, bridge, local, persistence):
    """Of the server of one site."""
    own, others = f"site{at + 1}", [f"site{n + 1}" for n in range(sites) if n != at]
    members = ",".join(f"127.0.0.1[{port}]" for port in bridge)
    backups = "".join(f'<backup site="{name}" strategy="ASYNC"/>' for name in others)
    return f"""<infinispan xmlns="urn:infinispan:config:16.0" xmlns:ispn="urn:infinispan:config:16.0">
  <jgroups>
    <stack name="bridge" extends="tcp">
      <TCP xmlns="urn:org:jgroups" bind_addr="127.0.0.1" bind_port="{bridge[at]}" port_range="0" ispn:stack.combine="COMBINE"/>
      <TCPPING xmlns="urn:org:jgroups" initial_hosts="{members}" port_range="0"
               ispn:stack.combine="REPLACE" ispn:stack.position="MPING"/>
    </stack>
    <stack name="local" extends="tcp">
      <TCP xmlns="urn:org:jgroups" bind_addr="127.0.0.1" bind_port="{local}" port_range="0" ispn:stack.combine="COMBINE"/>
      <TCPPING xmlns="urn:org:jgroups" initial_hosts="127.0.0.1[{local}]" port_range="0"
               ispn:stack.combine="REPLACE" ispn:stack.position="MPING"/>
      <relay.RELAY2 xmlns="urn:org:jgroups" site="{own}" max_site_masters="1"/>
      <remote-sites default-stack="bridge">{"".join(f'<remote-site name="{name}"/>' for name in [own, *others])}</remote-sites>
    </stack>
  </jgroups>
  <cache-container name="default" statistics="false">
    <transport cluster="{own}" stack="local" node-name="{own}"/>
    <replicated-cache name="bench" mode="SYNC">
      <encoding media-type="application/octet-stream"/>
      {persistence}
      <backups>{backups}</backups>
    </replicated-cache>
  </cache-container>
  <server xmlns="urn:infinispan:server:16.0">
    <interfaces><interface name="public"><inet-address value="127.0.0.1"/></interface></interfaces>
    <socket-bindings default-interface="public" port-offset="0">
      <socket-binding name="default" port="{hotrod}"/>
    </socket-bindings>
    <endpoints>
      <endpoint socket-binding="default"><hotrod-connector name="hotrod"/><rest-connector name="rest"/></endpoint>
    </endpoints>
  </server>
</infinispan>
"""
