"""What `growth` works out and draws, on figures whose results are known. `python3 -m unittest` in this directory."""

import unittest
import xml.etree.ElementTree as xml

from comparison import charts, curves, growth

SVG = "{http://www.w3.org/2000/svg}"


def bench(**of):
    """The JSON of `landbridge bench`, as far as it is looked at."""
    return {
        "operations": 1000, "operations_per_second": 500.0, "seconds": 2, "puts": None, "value_bytes": 100, "p50_us": 1.0,
        "p99_us": 2.0, "errors": 0, "first_error": None, "coalesced": 0, "relays": [{"cpu_seconds": 0.02}, {"cpu_seconds": 1}], **of,
    }


class Curves(unittest.TestCase):
    def test_cost_is_the_first_relays_for_each_put(self):
        of = curves.figures(bench())
        self.assertEqual((of["operations_per_second"], of["cpu_us_per_put"], of["megabytes_per_second"]), (500, 20, 0.05))
        heard = curves.figures(bench(puts=10))
        self.assertEqual((heard["operations_per_second"], heard["cpu_us_per_put"], heard["events_per_second"]), (5, 2000, 500))
        self.assertNotIn("cpu_us_per_put", curves.figures(bench(relays=[{"cpu_seconds": None}])))

    def test_points_are_those_that_the_machine_can_hold(self):
        entries, plenty = curves.ALL["entries"], 1 << 40
        self.assertEqual(curves.fitting(entries, plenty, plenty), (entries.points, ()))
        for memory, disk in ((8 << 30, plenty), (plenty, 16 << 30)):
            fitting, left_out = curves.fitting(entries, memory, disk)
            self.assertEqual((fitting[-1], left_out), (3_000_000, (10_000_000,)))
        self.assertEqual(curves.fitting(entries, 0, 0)[0], ())
        self.assertEqual(curves.fitting(curves.ALL["sites"], 0, 0)[0], (1, 2, 3, 4, 5))

    def test_fewer_points_are_spread_over_all(self):
        self.assertEqual(curves.thinned((1, 2, 3, 4, 5), 3), (1, 3, 5))
        self.assertEqual(curves.thinned((1, 2, 3), 9), (1, 2, 3))
        self.assertEqual(curves.thinned((1, 2, 3), 1), (1,))
        self.assertEqual(curves.thinned((), 1), ())

    def test_every_curve_spans_what_it_says(self):
        spans = {name: (curve.points[0], curve.points[-1]) for name, curve in curves.ALL.items()}
        self.assertEqual(spans["entries"], (10_000, 10_000_000))
        self.assertEqual(spans["values"], (16, 1 << 20))
        for curve in curves.ALL.values():
            words = [str(word) for word in curve.arguments(curve.points[-1])]
            self.assertIn(str(curve.points[-1]), words, curve.name)
        self.assertEqual((curves.keys_of(16), curves.keys_of(1 << 20)), (10_000, 256))

    def test_a_point_is_the_median_of_its_rounds(self):
        runs = [{"curve": "sites", "at": 2, "figures": {"p50_us": us, "first_error": None}} for us in (1, 9, 2)]
        runs += [{"curve": "sites", "at": 3, "error": "none"}, {"curve": "values", "at": 2, "figures": {"p50_us": 7}}]
        self.assertEqual(growth.medians(runs, "sites"), [{"at": 2, "p50_us": 2}])


class Charts(unittest.TestCase):
    def drawn(self, points, **of):
        return xml.fromstring(charts.draw("A < B", "entries", (charts.Panel("rate", "puts/s"), curves.CPU), points, **of))

    def test_every_point_is_there_with_its_value_and_its_place(self):
        points = [(10_000, {"rate": 20_000, "cpu_us_per_put": 30}), (1_000_000, {"rate": 10_000}), (100_000, {"rate": 5000})]
        drawing = self.drawn(points, note="today")
        spots = [(float(spot.get("cx")), float(spot.get("cy"))) for spot in drawing.iter(f"{SVG}circle")]
        self.assertEqual(len(spots), 4, "three and one")
        self.assertAlmostEqual(spots[2][0] * 2, spots[0][0] + spots[1][0], places=1, msg="the axis is logarithmic")
        floor = charts.TOP + charts.PANEL
        self.assertAlmostEqual(floor - spots[0][1], 2 * (floor - spots[1][1]), places=1, msg="and rises from zero")
        words = [text.text for text in drawing.iter(f"{SVG}text")]
        for word in ("A < B", "puts/s", "entries", "10k", "1M", "20 000", "10 000", "5 000", "today"):
            self.assertIn(word, words)

    def test_all_is_within_the_picture(self):
        points = [(16 << 2 * n, {"rate": 3 * 7**n, "cpu_us_per_put": 0.1 * n}) for n in range(9)]
        drawing = self.drawn(points, bytes=True)
        for text in drawing.iter(f"{SVG}text"):
            self.assertTrue(0 < float(text.get("x")) < charts.WIDTH and 0 < float(text.get("y")) < float(drawing.get("height")))
        self.assertIn("256 KiB", [text.text for text in drawing.iter(f"{SVG}text")])

    def test_one_point_or_none_is_drawn_too(self):
        self.assertEqual(len(list(self.drawn([(1, {"rate": 5})]).iter(f"{SVG}circle"))), 1)
        self.assertEqual(len(list(self.drawn([(1, {})]).iter(f"{SVG}circle"))), 0)

    def test_scales_reach_beyond_what_is_on_them(self):
        self.assertEqual(charts.steps([7, 20_001]), [0, 5000, 10_000, 15_000, 20_000, 25_000])
        self.assertEqual(charts.decades([3, 20_000]), [1, 10, 100, 1000, 10_000, 100_000])
        self.assertEqual(charts.decades([10]), [10, 100])
        for most in (0.03, 1, 3.9, 99, 1234, 5e7):
            ticks = charts.steps([most])
            self.assertTrue(4 <= len(ticks) <= 10 and ticks[-1] >= most, (most, ticks))


if __name__ == "__main__":
    unittest.main()
