"""What was measured: every figure of every round, the medians, and the ratios of Landbridge's to each peer's."""

import statistics

OWN = "landbridge"


def summary(runs, workloads):
    """By workload and peer, for each figure: the median over the rounds, and where Landbridge was measured too, the median
    of the rounds' ratios of its figure to the peer's (a ratio of one round compares what was measured next to each other)."""
    measured = {(run["workload"], run["peer"], run["round"]): run["figures"] for run in runs if "figures" in run}
    result = {}
    for workload in workloads:
        of = result[workload.name] = {}
        for peer in dict.fromkeys(peer for name, peer, _ in measured if name == workload.name):
            rounds = {round: figures for (name, who, round), figures in measured.items() if (name, who) == (workload.name, peer)}
            of[peer] = {figure: one(measured, workload, rounds, figure) for figure, _ in workload.figures}
    return result


def one(measured, workload, rounds, figure):
    values, ratios = [], []
    for round, figures in rounds.items():
        if figures.get(figure) is None:
            continue
        values.append(figures[figure])
        own = measured.get((workload.name, OWN, round), {}).get(figure)
        if own is not None and figures[figure]:
            ratios.append(own / figures[figure])
    return {
        "median": statistics.median(values) if values else None,
        "least": min(values, default=None),
        "greatest": max(values, default=None),
        "landbridge_ratio": statistics.median(ratios) if ratios else None,
    }


def table(of, workloads, peers):
    """The summary as lines of a Markdown table: per figure each peer's median, and in brackets Landbridge's to it."""
    rows = [["workload", "figure", *peers]]
    for workload in workloads:
        for figure, words in workload.figures:
            cells = [cell(of[workload.name].get(peer, {}).get(figure), peer) for peer in peers]
            rows.append([workload.name, words, *cells])
    return aligned(rows)


def aligned(rows):
    """A Markdown table; the first row is its head."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    rows = [rows[0], ["-" * width for width in widths], *rows[1:]]
    return ["| " + " | ".join(text.ljust(width) for text, width in zip(row, widths)) + " |" for row in rows]


def cell(figure, peer):
    if figure is None or figure["median"] is None:
        return "–"
    ratio = figure["landbridge_ratio"]
    return number(figure["median"]) + (f" ({ratio:.2f} ×)" if ratio is not None and peer != OWN else "")


def number(value):
    """Three digits that mean something, thousands apart."""
    if value >= 100:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.3g}"
