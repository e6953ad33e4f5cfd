"""What the comparison works out, on figures whose results are known. `python3 -m unittest` in this directory."""

import argparse
import unittest

from comparison import options, redis, results, workloads


def runs(figures):
    """Of two peers in two rounds."""
    return [
        {"round": round, "peer": peer, "workload": "put-64", "figures": {"operations_per_second": figure}}
        for (peer, round), figure in figures.items()
    ]


class Comparison(unittest.TestCase):
    def test_a_ratio_is_the_median_of_what_was_measured_next_to_each_other(self):
        measured = runs({("landbridge", 1): 100, ("redis", 1): 50, ("landbridge", 2): 30, ("redis", 2): 10, ("redis", 3): 70})
        summary = results.summary(measured, [workloads.parse("put-64")])["put-64"]
        redis_figure = summary["redis"]["operations_per_second"]
        self.assertEqual(redis_figure, {"median": 50, "least": 10, "greatest": 70, "landbridge_ratio": 2.5})
        self.assertEqual(summary["landbridge"]["operations_per_second"]["median"], 65)

    def test_the_table_has_a_dash_where_nothing_was_measured(self):
        measured = runs({("landbridge", 1): 100_000, ("redis", 1): 50_000})
        workload = workloads.parse("put-64")
        lines = results.table(results.summary(measured, [workload]), [workload], ["landbridge", "redis", "nats"])
        cells = [cell.strip() for cell in lines[2].strip("|").split("|")]
        self.assertEqual(cells, ["put-64", "puts/s", "100 000", "50 000 (2.00 ×)", "–"])

    def test_a_workload_is_what_its_name_says(self):
        batches = workloads.parse("put-64x16")
        self.assertEqual((batches.kind, batches.in_flight, batches.batch, batches.keys), ("put", 64, 16, 100_000))
        self.assertEqual(workloads.parse("event-200").rate, 200)
        self.assertEqual(workloads.parse("memory").keys, 1_000_000)
        for wrong in ("put", "put-0", "put-64x0", "event-0", "event-5x2", "memory-1", "Put-1", "put-1\n"):
            self.assertRaises(ValueError, workloads.parse, wrong)

    def test_handshakes_are_no_part_of_a_rate(self):
        # Two seconds until the connections are there, then a thousand a second.
        short, long = (1000, {"operations_per_second": 1000 / 3}), (8000, {"operations_per_second": 8000 / 10})
        self.assertAlmostEqual(redis.without_connecting(short, long), 1000)
        hardly_longer = (1500, {"operations_per_second": 400})
        self.assertEqual(redis.without_connecting(short, hardly_longer), 400)

    def test_numbers_are_within_their_bounds(self):
        self.assertEqual(options.count(1, 9)("9"), 9)
        for wrong in ("0", "10", "-1", "1.5", "", "x"):
            self.assertRaises(argparse.ArgumentTypeError, options.count(1, 9), wrong)


if __name__ == "__main__":
    unittest.main()
