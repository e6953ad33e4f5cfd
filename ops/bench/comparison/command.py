"""The command: gets the peers, starts each in turn, measures, stops it; rounds are interleaved, so that what drifts on the
machine meets all of them. Nothing is left running, however it ends."""

import argparse
import contextlib
import datetime
import json
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from . import machine, results, workloads
from .errors import Failed, Interrupted, Missing
from .infinispan import Infinispan, InfinispanDisk
from .landbridge import Landbridge
from .nats import Nats
from .redis import Redis

PEERS = {peer.name: peer for peer in (Landbridge, Redis, Nats, Infinispan, InfinispanDisk)}

DONE, FAILED, USAGE, SKIPPED, INTERRUPTED = 0, 1, 2, 3, 130

EPILOG = f"""
workloads:
  put-N, get-N       N requests under way at any time, over {workloads.KEYS} keys with values of {workloads.VALUE_BYTES} bytes
  put-NxB, get-NxB   N batches of B under way (peers that have batches, or pipelining)
  event-R            R puts a second at the first site, each measured until it is heard at the second
  memory             memory of the first server with {workloads.MEMORY_KEYS} entries, and how long a start with them takes

exit status:
  {DONE} all was measured, {FAILED} something failed, {USAGE} wrong usage, {SKIPPED} a peer could not be had on this machine
  (the reason is told, the others were measured), {INTERRUPTED} interrupted
"""


class Context:
    """What peers share."""

    def __init__(self, args):
        self.landbridge = args.landbridge and args.landbridge.resolve()
        self.cache = args.cache.resolve()
        self.cache.mkdir(parents=True, exist_ok=True)

    @staticmethod
    def say(text):
        """On standard error: standard output is for what was measured."""
        print(text, file=sys.stderr, flush=True)


def parser():
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "landbridge-bench"
    it = argparse.ArgumentParser(
        prog="compare", description="Measures Landbridge side by side with what people use today.", epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    it.add_argument("--peers", type=names(PEERS), default=list(PEERS), metavar="NAME,…", help=f"of {','.join(PEERS)}; all")
    it.add_argument(
        "--workloads", type=listed, default=[workloads.parse(name) for name in workloads.DEFAULT], metavar="NAME,…",
        help=f"see below; {','.join(workloads.DEFAULT)}",
    )
    it.add_argument("--rounds", type=count(1, 100), default=3, metavar="N", help="how often each is measured; 3")
    it.add_argument("--seconds", type=count(1, 3600), default=10, metavar="S", help="of each measurement; 10")
    it.add_argument("--sites", type=int, choices=(1, 2), default=2, help="with 1, each peer alone, and no events; 2")
    it.add_argument("--landbridge", type=Path, metavar="PATH", help="this binary, instead of a build of these sources")
    it.add_argument("--json", metavar="FILE", help="writes all that was measured there; - is standard output, without the table")
    it.add_argument("--dir", type=Path, default=Path.cwd(), help="where stores are for the while: the disk to be measured; .")
    it.add_argument("--cache", type=Path, default=cache, metavar="DIR", help=f"where peers are kept once built; {cache}")
    it.add_argument("--keep-logs", type=Path, metavar="DIR", help="puts the servers' logs and configurations there")
    return it


def names(known):
    def parse(text):
        found = list(dict.fromkeys(text.split(",")))
        if unknown := [name for name in found if name not in known]:
            raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(known)}")
        return found

    return parse


def listed(text):
    try:
        return [workloads.parse(name) for name in dict.fromkeys(text.split(","))]
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def count(least, most):
    def parse(text):
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is no number from {least} to {most}")
        return int(text)

    return parse


def main():
    args = parser().parse_args()
    if not args.dir.is_dir():
        parser().error(f"--dir: {args.dir} is no directory")
    for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, interrupt)
    try:
        return compare(args)
    except Interrupted:
        Context.say("interrupted; nothing is left running")
        return INTERRUPTED


def interrupt(*_):
    # What ends the servers is not to be interrupted again.
    for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, signal.SIG_IGN)
    raise Interrupted


def compare(args):
    context = Context(args)
    report = {
        "begun": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "machine": machine.describe(),
        "seconds": args.seconds,
        "sites": args.sites,
        "value_bytes": workloads.VALUE_BYTES,
        "peers": {},
        "conditions": [],
        "runs": [],
    }
    present = fetched(args.peers, context, report)
    for round in range(1, args.rounds + 1):
        report["conditions"].append({"round": round, **machine.condition(args.dir)})
        # What is compared is measured next to each other, and each round begins with another peer.
        at = (round - 1) % max(1, len(present))
        for workload in args.workloads:
            for peer in present[at:] + present[:at]:
                run = {"round": round, "peer": peer.name, "workload": workload.name}
                report["runs"].append({**run, **measured(peer, workload, args)})
    report["summary"] = results.summary(report["runs"], args.workloads)
    tell(report, args, [peer.name for peer in present])
    if any("error" in run or run.get("figures", {}).get("errors") for run in report["runs"]):
        return FAILED
    return SKIPPED if len(present) < len(args.peers) else DONE


def fetched(wanted, context, report):
    """Those peers that can be had; of the others the report has the reasons."""
    present = []
    for name in wanted:
        peer = PEERS[name](context)
        try:
            peer.fetch()
            report["peers"][name] = {"version": peer.version(), "setup": peer.setup}
            present.append(peer)
        except (Missing, Failed, OSError) as reason:
            report["peers"][name] = {"skipped": str(reason)}
            context.say(f"{name} is skipped: {reason}")
    return present


def measured(peer, workload, args):
    """One measurement at servers of its own, and what it gave: figures, a reason why there are none, or an error."""
    peer.sites = args.sites
    if reason := peer.unsupported(workload):
        return {"unsupported": reason}
    with tempfile.TemporaryDirectory(prefix="landbridge-compare-", dir=args.dir) as dir:
        peer.dir = Path(dir)
        peer.context.say(f"{peer.name}: {workload.name}")
        try:
            with contextlib.ExitStack() as stack:
                stack.callback(peer.stop)
                peer.start()
                figures = peer.memory(workload.keys) if workload.kind == "memory" else peer.load(workload, args.seconds)
            if figures.get("p50_us") == 0:
                raise Failed(f"nothing was done: {figures}")
            if figures.get("errors"):
                peer.context.say(f"{peer.name}: {workload.name}: {figures['errors']} errors; the first: {figures.get('first_error')}")
            return {"figures": figures}
        except (Failed, OSError, ValueError) as error:
            peer.context.say(f"{peer.name}: {workload.name}: {error}")
            return {"error": str(error)}
        finally:
            if args.keep_logs:
                keep(peer, workload, args.keep_logs)


def keep(peer, workload, to):
    to = to / f"{peer.name}-{workload.name}"
    to.mkdir(parents=True, exist_ok=True)
    for path in peer.dir.iterdir():
        if path.suffix in (".log", ".toml", ".conf", ".xml"):
            shutil.copy(path, to)


def tell(report, args, present):
    if args.json:
        text = json.dumps(report, indent=2) + "\n"
        if args.json == "-":
            sys.stdout.write(text)
            return
        Path(args.json).write_text(text, encoding="utf-8")
    if present:
        print("\n".join(results.table(report["summary"], args.workloads, present)))
    print(f"\nmedians of {args.rounds} rounds of {args.seconds} s; in brackets Landbridge's figure as a multiple of the peer's")
    for name, peer in report["peers"].items():
        print(f"{name}: " + (f"skipped: {peer['skipped']}" if "skipped" in peer else f"{peer['version']}; {peer['setup']}"))
