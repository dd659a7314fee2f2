import numpy as np
import pandas as pd
import pytest
from knowable import MARKET, NAN, actions, bars, filings, trades, value, world

from earlysignal_core.features.catalogue import Feature
from earlysignal_core.features.filings import sec_8k_filing_count_30d
from earlysignal_core.features.insiders import (
    insider_buy_volume_30d,
    insider_net_activity,
    insider_sell_volume_30d,
    sec_insider_buying_ratio,
)

# `as_of` is the close of 2018-07-17; 30 days of it begin on 2018-06-18, 90 days on 2018-04-19.
BOUGHT = ("2018-07-02", "P", 300.0, 50.0, "Ash", "2018-07-03")
SOLD = ("2018-07-05", "S", 1000.0, 50.0, "Brook", "2018-07-06")
COVERED = filings("A", ("10-Q", "2018-05-04"))
BARS = bars("A", [50.0] * 40, volume=2000.0)
VOLUMES = (insider_buy_volume_30d, insider_sell_volume_30d, insider_net_activity)


def volumes(*frames: pd.DataFrame, **changes: object) -> list[float]:
    at = world(*frames, features={each.name: each for each in VOLUMES}, **changes)
    return [float(at.value(each)[0]) for each in VOLUMES]


def test_the_ratio_counts_purchases_and_sales_of_90_days() -> None:
    older = ("2018-04-19", "S", 1.0, 50.0, "Ash", "2018-04-20")
    too_old = ("2018-04-18", "S", 1.0, 50.0, "Ash", "2018-04-20")
    assert value(sec_insider_buying_ratio, trades("A", BOUGHT, SOLD)) == pytest.approx(1 / 2)
    assert value(sec_insider_buying_ratio, trades("A", BOUGHT, SOLD, older)) == pytest.approx(1 / 3)
    assert value(sec_insider_buying_ratio, trades("A", BOUGHT, SOLD, too_old)) == pytest.approx(1 / 2)
    assert value(sec_insider_buying_ratio, trades("A", BOUGHT, SOLD), trades("B", SOLD, older)) == pytest.approx(1 / 2)
    assert np.isnan(value(sec_insider_buying_ratio, COVERED)), "no trade is no ratio"


def test_before_the_first_form_4_of_all_that_there_is_none_says_nothing() -> None:
    tables = dict.fromkeys(("universe", "earnings", "sec_filings", "ohlcv"), "2000-Q1")
    for first, told in (("2018-Q1", [0, 0, 0]), ("2018-Q2", [NAN] * 3), ("2018-Q4", [NAN] * 3)):
        found = volumes(COVERED, BARS, since=tables | {"sec_filings:4": first})
        np.testing.assert_array_equal(found, told)
    assert value(sec_8k_filing_count_30d, COVERED, since=tables | {"sec_filings:4": "2018-Q4"}) == 0
    assert np.isnan(value(sec_8k_filing_count_30d, COVERED, since=tables | {"sec_filings:8-K": "2018-Q2"}))


def test_a_trade_counts_once_its_filing_was_accepted() -> None:
    late = ("2018-07-05", "S", 1.0, 50.0, "Brook", "2018-07-18")
    assert value(sec_insider_buying_ratio, trades("A", BOUGHT, late)) == 1


def test_owners_of_one_filing_made_one_trade() -> None:
    together = [("2018-07-05", "S", 1000.0, 50.0, owner, "2018-07-06") for owner in ("Brook", "Field", "Stone")]
    assert value(sec_insider_buying_ratio, trades("A", BOUGHT, *together)) == pytest.approx(1 / 2)
    assert volumes(trades("A", *together), COVERED, BARS)[1] == pytest.approx(1000 / 2000)
    # Another day, another size and another filing are trades of their own; so is what one owner did twice.
    others = [
        ("2018-07-06", "S", 1000.0, 50.0, "Field", "2018-07-06"),
        ("2018-07-05", "S", 999.0, 50.0, "Field", "2018-07-06"),
        ("2018-07-05", "S", 1000.0, 50.0, "Field", "2018-07-09"),
        SOLD,
    ]
    assert value(sec_insider_buying_ratio, trades("A", BOUGHT, SOLD, *others)) == pytest.approx(1 / 6)


def test_other_forms_and_codes_are_no_trades() -> None:
    grant = trades("A", ("2018-07-05", None, 9.0, 50.0, "Ash", "2018-07-06"))
    assert value(sec_insider_buying_ratio, trades("A", BOUGHT), grant, filings("A", ("8-K", "2018-07-06"))) == 1


def test_volumes_are_days_of_the_mean_volume() -> None:
    assert volumes(trades("A", BOUGHT, SOLD), COVERED, BARS) == pytest.approx([0.15, 0.5, -0.35])
    first_day, too_old = (("2018-06-" + day, "P", 600.0, 50.0, "Ash", "2018-06-20") for day in ("18", "17"))
    assert volumes(trades("A", BOUGHT, first_day), COVERED, BARS)[0] == pytest.approx(0.45)
    assert volumes(trades("A", BOUGHT, too_old), COVERED, BARS)[0] == pytest.approx(0.15)


def test_no_trade_is_none_of_the_volume_but_no_filing_at_all_is_unknown() -> None:
    assert volumes(COVERED, BARS) == [0, 0, 0]
    assert np.isnan(volumes(filings("B", ("10-Q", "2018-05-04")), BARS)).all()
    assert np.isnan(volumes(trades("A", BOUGHT), BARS)).all(), "what lies before those trades is not covered"
    assert np.isnan(volumes(filings("A", ("10-Q", "2017-07-16")), BARS)).all(), "nor after a year of silence"
    assert np.isnan(volumes(trades("A", ("2018-07-02", "P", NAN, 50.0, "Ash", "2018-07-03")), COVERED, BARS)[0])


def test_shares_are_on_the_footing_of_the_volume_by_the_splits_known_then() -> None:
    # Before the split 4:1 of 10 July a close of 200 and 500 shares a day, after it 50 and 2000: one volume, of 2000.
    close, volume = [200.0] * 34 + [50.0] * 6, [500.0] * 34 + [2000.0] * 6
    raw = bars("A", close, volume=volume)
    split = actions("A", ("2018-07-10", "split", 4.0))
    before = ("2018-07-02", "P", 300.0, 200.0, "Ash", "2018-07-03")
    after = ("2018-07-12", "S", 1000.0, 50.0, "Ash", "2018-07-13")
    assert volumes(trades("A", before, after), COVERED, raw, split)[:2] == pytest.approx([4 * 300 / 2000, 0.5])


def test_a_split_that_adjusted_prices_hold_already_is_told_by_the_trades_price() -> None:
    # The split lies in the future: nobody knew it, and yet the closes are a fourth and the volumes fourfold.
    adjusted = bars("A", [12.5] * 40, volume=8000.0)
    found = volumes(trades("A", BOUGHT, SOLD), COVERED, adjusted, prices="adjusted")
    assert found == pytest.approx([0.15, 0.5, -0.35])
    by_footnote = trades("A", ("2018-07-02", "P", 300.0, NAN, "Ash", "2018-07-03"))
    assert np.isnan(volumes(by_footnote, COVERED, adjusted, prices="adjusted")[0])


def test_current_reports_of_30_days_are_counted_by_acceptance() -> None:
    reports = [("8-K", day) for day in ("2018-06-17", "2018-06-18", "2018-07-16", "2018-07-16", "2018-07-18")]
    others = [("10-Q", "2018-07-16"), ("4", "2018-07-16")]
    assert value(sec_8k_filing_count_30d, COVERED, filings("A", *reports, *others)) == 3
    assert value(sec_8k_filing_count_30d, COVERED) == 0
    assert np.isnan(value(sec_8k_filing_count_30d, filings("A", *reports[1:])))


@pytest.mark.parametrize(("feature", "form"), [(sec_insider_buying_ratio, "4"), (sec_8k_filing_count_30d, "8-K")])
def test_a_table_without_the_form_leaves_the_feature_inactive(feature: Feature, form: str) -> None:
    has_other_forms = world(COVERED, bars(MARKET, [1.0]), provides=("sec_filings:10-Q",))._source
    assert feature.inactive_because(has_other_forms) == f"no `sec_filings:{form}`"
