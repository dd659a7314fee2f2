"""Features made ahead are those that each day would have made, bit for bit: they see no more than the day did."""

import numpy as np
import pandas as pd
from leaks import cut
from production import copied

from earlysignal_core.features.ahead import FeaturesAhead
from earlysignal_core.features.table import active_features, features_of, scheduled_examples
from earlysignal_core.lake import Lake, RememberingLake
from earlysignal_core.quarterly import described

FIRST, LAST = pd.Timestamp("2015-09-28", tz="UTC"), pd.Timestamp("2015-11-08", tz="UTC")


def test_a_quarter_at_once_is_what_each_day_would_have_made(production_lake: Lake) -> None:
    lake = RememberingLake(production_lake.url)
    source = described(lake)
    ahead, features = FeaturesAhead(lake, source), active_features(source)
    examples = scheduled_examples(lake, source, FIRST, LAST)
    days = [rows.reset_index(drop=True) for _, rows in examples.groupby("as_of")]
    assert len(days) > 10
    for first, last in ((FIRST, LAST), (LAST - pd.Timedelta(days=9), LAST), (LAST - pd.Timedelta(hours=1), LAST)):
        pd.testing.assert_frame_equal(ahead.scheduled(first, last), scheduled_examples(lake, source, first, last))
    for rows in days[::6]:
        pd.testing.assert_frame_equal(ahead.table(rows), features_of(lake, source, rows, features), check_exact=True)


def test_what_comes_after_a_day_changes_nothing_of_it(production_lake: Lake, tmp_path) -> None:
    whole = RememberingLake(production_lake.url)
    source = described(whole)
    at = scheduled_examples(whole, source, pd.Timestamp("2015-10-20", tz="UTC"), LAST)["as_of"].iloc[0]
    known = copied(production_lake, tmp_path)
    for table in source.tables:
        if table != "universe":
            for quarter in known.quarters(table):
                known.write(table, quarter, cut({table: known.read(table, [quarter])}, at)[table])
    rows = scheduled_examples(known, source, at, at)
    assert len(rows)
    found = FeaturesAhead(whole, source).table(rows)
    then = features_of(known, source, rows, active_features(source))
    pd.testing.assert_frame_equal(found, then, check_exact=True)


def test_an_example_that_the_quarter_does_not_hold_is_made_by_itself(production_lake: Lake) -> None:
    lake = RememberingLake(production_lake.url)
    source = described(lake)
    rows = scheduled_examples(lake, source, FIRST, LAST)
    rows = rows[rows["as_of"] == rows["as_of"].iloc[0]].reset_index(drop=True)
    moved = rows.assign(as_of=rows["as_of"] - pd.Timedelta(days=21))
    found = FeaturesAhead(lake, source).table(moved)
    pd.testing.assert_frame_equal(found, features_of(lake, source, moved, active_features(source)), check_exact=True)
    names = list(active_features(source))
    ahead = FeaturesAhead(lake, source).table(rows)
    assert not np.array_equal(found[names].to_numpy(), ahead[names].to_numpy(), equal_nan=True)
