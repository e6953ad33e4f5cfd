"""The command: measures each curve point by point, round after round, and draws the medians. Each point has relays of its
own, begun on empty directories. Nothing is left running, however it ends."""

import contextlib
import datetime
import json
import statistics
import sys
import tempfile
from pathlib import Path

from . import charts, curves, machine, results
from .errors import Failed, Missing
from .landbridge import Landbridge
from .options import DONE, FAILED, INTERRUPTED, SKIPPED, USAGE, Context, count, names, parser, until_interrupted
from .processes import Server, run
from .workloads import WARMUP_SECONDS

OPS = Path(__file__).resolve().parents[2]
# A point takes no longer than this, beside its measurement and what it takes to fill at this rate.
POINT_SECONDS = 120
LEAST_FILL_PER_SECOND = 5000
# What is put beside large values, to see whether they hold it up.
SMALL_RATE, SMALL_KEYS, SMALL_IN_FLIGHT = 200, 1000, 256
SMALL = charts.Panel("small_p99_us", f"us p99 of {SMALL_RATE} puts/s of 256 B beside them")

EPILOG = f"""
curves:
  entries        puts where so many entries are, as far as memory and disk allow
  sessions       puts by so many sessions
  subscriptions  puts whose events so many subscriptions hear
  sites          puts at one of so many sites: with 1, without a peer
  values         puts of values of so many bytes, and what becomes of small puts beside them

exit status:
  {DONE} all was measured, {FAILED} something failed, {USAGE} wrong usage, {SKIPPED} points were left out as the machine has no
  room for them (they are told), {INTERRUPTED} interrupted
"""


def arguments():
    it = parser("growth", "Measures how the cost of a put grows with what there is, and draws it.", EPILOG)
    it.add_argument("--curves", type=names(curves.ALL), default=list(curves.ALL), metavar="NAME,…", help="see below; all")
    it.add_argument("--points", type=count(1, 100), default=100, metavar="N", help="of each curve at most; all")
    it.add_argument("--rounds", type=count(1, 100), default=1, metavar="N", help="how often each point is measured; 1")
    it.add_argument("--seconds", type=count(1, 3600), default=10, metavar="S", help="of each measurement; 10")
    it.add_argument("--out", type=Path, default=OPS, metavar="DIR", help="where growth-NAME.svg are written; ops/")
    return it


def main():
    args = arguments().parse_args()
    for name, path in (("--dir", args.dir), ("--out", args.out)):
        if not path.is_dir():
            arguments().error(f"{name}: {path} is no directory")
    return until_interrupted(growth, args)


def growth(args):
    peer = Landbridge(Context(args.landbridge, None))
    try:
        peer.fetch()
    except (Missing, Failed, OSError) as reason:
        peer.context.say(f"landbridge can't be had: {reason}")
        return FAILED
    report = {
        "begun": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "version": peer.version(),
        "machine": machine.describe(),
        "seconds": args.seconds,
        "conditions": [],
        "left_out": {},
        "runs": [],
    }
    of = {}
    for name in args.curves:
        fitting, left_out = curves.fitting(curves.ALL[name], *machine.room(args.dir))
        of[name] = curves.thinned(fitting, args.points)
        if left_out:
            report["left_out"][name] = left_out
            peer.context.say(f"{name}: no room for {', '.join(map(str, left_out))}")
    for round in range(1, args.rounds + 1):
        report["conditions"].append({"round": round, **machine.condition(args.dir)})
        for name, points in of.items():
            for at in points:
                told = measured(peer, curves.ALL[name], at, args)
                report["runs"].append({"round": round, "curve": name, "at": at, **told})
    report["curves"] = {name: medians(report["runs"], name) for name in of}
    tell(report, args)
    if any("error" in run or run["figures"]["errors"] for run in report["runs"]):
        return FAILED
    return SKIPPED if report["left_out"] else DONE


def measured(peer, curve, at, args):
    """The figures of one point, or an error."""
    peer.context.say(f"{curve.name}: {at}")
    try:
        with tempfile.TemporaryDirectory(prefix="landbridge-growth-", dir=args.dir) as dir:
            figures = point(peer, curve.arguments(at), args.seconds, dir)
        if curve.name == "values":
            figures |= beside(peer, at, args)
    except (Failed, OSError, ValueError) as error:
        peer.context.say(f"{curve.name}: {at}: {error}")
        return {"error": str(error)}
    if figures["errors"]:
        peer.context.say(f"{curve.name}: {at}: {figures['errors']} errors; the first: {figures['first_error']}")
    return {"figures": figures}


def point(peer, arguments, seconds, dir):
    """By `landbridge bench` with relays of its own."""
    command = [peer.context.landbridge, "bench", *arguments, "--seconds", seconds, "--warmup", WARMUP_SECONDS]
    entries = arguments[arguments.index("--keys") + 1] if "--keys" in arguments else 0
    patience = POINT_SECONDS + seconds + entries / LEAST_FILL_PER_SECOND
    # 1: some operations failed; the figures say how many.
    out = run([*command, "--dir", dir, "--json"], patience, accepted=(0, 1))
    if not out.strip():
        raise Failed("landbridge bench printed no figures")
    return curves.figures(json.loads(out))


def beside(peer, size, args):
    """What small puts take while others of that size go on as fast as they can, in a session of their own."""
    with tempfile.TemporaryDirectory(prefix="landbridge-growth-", dir=args.dir) as dir, contextlib.ExitStack() as stack:
        peer.dir = Path(dir)
        stack.callback(peer.stop)
        peer.start()
        filled = curves.keys_of(size)
        large = [*curves.puts_of(size), "--warmup", 0, "--seconds", args.seconds + 2 * POINT_SECONDS]
        load = Server(peer.bench_command(filled, large, sites=1), peer.dir / "load.log")
        peer.servers.append(load)
        load.wait_for("puts", lambda: peer.metrics(0)["landbridge_log_head"] > filled, POINT_SECONDS)
        small = ["put", "--rate", SMALL_RATE, "--in-flight", SMALL_IN_FLIGHT, "--warmup", WARMUP_SECONDS]
        figures = peer.bench(SMALL_KEYS, [*small, "--seconds", args.seconds], args.seconds + POINT_SECONDS, sites=1)
    return {"small_p50_us": figures["p50_us"], "small_p99_us": figures["p99_us"]}


def medians(runs, name):
    """Each point of a curve with the median of each figure over the rounds."""
    of = {}
    for one in runs:
        if one["curve"] == name and "figures" in one:
            of.setdefault(one["at"], []).append(one["figures"])
    return [
        {"at": at, **{key: statistics.median(one[key] for one in rounds) for key in rounds[0] if key != "first_error"}}
        for at, rounds in of.items()
    ]


def tell(report, args):
    if args.json and args.json != "-":
        Path(args.json).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    note = f"{report['begun'][:10]}, {report['machine']['processor']}, {report['machine']['cores']} cores, {args.seconds} s a point"
    for name, points in report["curves"].items():
        if not points:
            continue
        curve = curves.ALL[name]
        panels = (*curve.panels, SMALL) if name == "values" else curve.panels
        pairs = [(figures["at"], figures) for figures in points]
        drawing = charts.draw(curve.title, curve.axis, panels, pairs, curve.bytes, note)
        (args.out / f"growth-{name}.svg").write_text(drawing, encoding="utf-8")
        if args.json != "-":
            print("\n".join([*table(curve, panels, points), ""]))
    if args.json == "-":
        sys.stdout.write(json.dumps(report, indent=2) + "\n")


def table(curve, panels, points):
    """As lines of Markdown."""
    rows = [[curve.axis, *(panel.words for panel in panels)]]
    for figures in points:
        cells = (figures.get(panel.figure) for panel in panels)
        rows.append([charts.place(figures["at"], curve.bytes), *("–" if cell is None else results.number(cell) for cell in cells)])
    return results.aligned(rows)
