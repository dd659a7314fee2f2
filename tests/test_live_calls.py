"""How many calls a monthly retrain of five hundred companies costs, counted at the providers."""

from collections import Counter

import pytest
from stand_ins.world import World

from earlysignal_core.tables import UNIVERSE

FORMS = 2
"""Form 4 filings of a company in a quarter: fewer than most file, and each is asked for once."""


@pytest.mark.long
def test_a_monthly_retrain_asks_for_a_quarter_of_what_a_cold_one_does(tmp_path):
    symbols = tuple(f"S{n}" for n in range(500))
    more = {"first": "2021-Q1", "begin": "2021-01-01", "now": "2024-01-10 15:00", "forms": FORMS}
    with World(tmp_path, symbols, **more) as world:
        cold, warm = calls(world), []
        for _ in range(2):
            world.pass_time(days=30)
            warm.append(calls(world))
    for month in warm:
        assert month.total() <= 0.25 * cold.total(), f"cold {cold}, then {month}"


def calls(world):
    """Read every table as a retrain does, and count what was asked."""
    before, source = len(world.asked), world.source()
    for quarter in source.description.quarters:
        for table in source.description.tables:
            if table != UNIVERSE:
                source.read(table, quarter)
    source.close()
    return Counter(map(kind, world.asked[before:]))


def kind(asked):
    if asked.path.endswith(".txt"):
        return "filings"
    return "lists of filings" if asked.path.startswith("/submissions") else asked.path.rpartition("/")[2]
