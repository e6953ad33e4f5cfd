"""The command: gets the peers, starts each in turn, measures, stops it; rounds are interleaved, so that what drifts on the
machine meets all of them. Nothing is left running, however it ends."""

import argparse
import contextlib
import datetime
import json
import shutil
import sys
import tempfile
from pathlib import Path

from . import machine, results, workloads
from .errors import Failed, Missing
from .infinispan import Infinispan, InfinispanDisk
from .landbridge import Landbridge
from .nats import Nats
from .options import DONE, FAILED, INTERRUPTED, SKIPPED, USAGE, Context, count, default_cache, names, parser, until_interrupted
from .redis import Redis

PEERS = {peer.name: peer for peer in (Landbridge, Redis, Nats, Infinispan, InfinispanDisk)}

EPILOG = f"""
workloads:
  put-N, get-N       N requests under way at any time, over {workloads.KEYS} keys with values of {workloads.VALUE_BYTES} bytes
  put-NxB, get-NxB   N batches of B under way (peers that have batches, or pipelining)
  event-R            R puts a second at the first site, each measured until it is heard at the second
  seen-N             as put-N, each measured until it is heard at the second site (Landbridge alone)
  catch-up           {workloads.CATCH_UP_CHANGES} changes that the second site missed, alone and with put-64 going on (Landbridge alone)
  memory             memory of the first server with {workloads.MEMORY_KEYS} entries, and how long a start with them takes

exit status:
  {DONE} all was measured, {FAILED} something failed, {USAGE} wrong usage, {SKIPPED} a peer could not be had on this machine
  (the reason is told, the others were measured), {INTERRUPTED} interrupted
"""


def arguments():
    it = parser("compare", "Measures Landbridge side by side with what people use today.", EPILOG)
    it.add_argument("--peers", type=names(PEERS), default=list(PEERS), metavar="NAME,…", help=f"of {','.join(PEERS)}; all")
    it.add_argument(
        "--workloads", type=listed, default=[workloads.parse(name) for name in workloads.DEFAULT], metavar="NAME,…",
        help=f"see below; {','.join(workloads.DEFAULT)}",
    )
    it.add_argument("--rounds", type=count(1, 100), default=3, metavar="N", help="how often each is measured; 3")
    it.add_argument("--seconds", type=count(1, 3600), default=10, metavar="S", help="of each measurement; 10")
    it.add_argument("--sites", type=int, choices=(1, 2), default=2, help="with 1, each peer alone, and no events; 2")
    cache = default_cache()
    it.add_argument("--cache", type=Path, default=cache, metavar="DIR", help=f"where peers are kept once built; {cache}")
    it.add_argument("--keep-logs", type=Path, metavar="DIR", help="puts the servers' logs and configurations there")
    return it


def listed(text):
    try:
        return [workloads.parse(name) for name in dict.fromkeys(text.split(","))]
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def main():
    args = arguments().parse_args()
    if not args.dir.is_dir():
        arguments().error(f"--dir: {args.dir} is no directory")
    return until_interrupted(compare, args)


def compare(args):
    context = Context(args.landbridge, args.cache)
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
    if reason := without(peer, workload):
        return {"unsupported": reason}
    with tempfile.TemporaryDirectory(prefix="landbridge-compare-", dir=args.dir) as dir:
        peer.dir = Path(dir)
        peer.context.say(f"{peer.name}: {workload.name}")
        try:
            with contextlib.ExitStack() as stack:
                stack.callback(peer.stop)
                peer.start()
                figures = peer.measure(workload, args.seconds)
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


def without(peer, workload):
    """Why there is nothing to measure; nothing where there is."""
    if workload.kind not in peer.kinds:
        return "it is measured at Landbridge alone"
    if workload.sites > peer.sites:
        return "one site"
    return peer.unsupported(workload)


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
