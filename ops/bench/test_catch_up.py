"""What catching up works out, on figures whose results are known. `python3 -m unittest` in this directory."""

import unittest

from comparison import catch_up, workloads


class CatchingUp(unittest.TestCase):
    def test_what_was_taken_in_is_what_the_log_grew_by_and_what_is_owed_less(self):
        first, last = {"at": 10, "head": 5000, "owed": 4000, "age": 9}, {"at": 12, "head": 6000, "owed": 0, "age": 0}
        rates = {"seconds": 2, "changes_per_second": 2500, "puts_per_second": 500}
        self.assertEqual(catch_up.between(first, last), rates)

    def test_it_is_counted_from_when_it_begins(self):
        looks = iter([(0, 1000, 1000, 5), (1, 1000, 1000, 6), (7, 1000, 995, 12), (8, 1100, 600, 13), (9, 1200, 100, 0.1)])
        old, catch_up.look = catch_up.look, lambda peer: dict(zip(("at", "head", "owed", "age"), next(looks)))
        try:
            rates = catch_up.caught_up(None)
        finally:
            catch_up.look = old
        self.assertEqual(rates, {"seconds": 2, "changes_per_second": (200 + 895) / 2, "puts_per_second": 100})

    def test_its_workloads_need_a_second_site(self):
        self.assertEqual((workloads.parse("seen-1024").in_flight, workloads.parse("seen-1024").sites), (1024, 2))
        self.assertEqual((workloads.parse("catch-up").kind, workloads.parse("catch-up").sites), ("catch-up", 2))
        for wrong in ("seen", "seen-0", "seen-1x2", "catch-up-1"):
            self.assertRaises(ValueError, workloads.parse, wrong)


if __name__ == "__main__":
    unittest.main()
