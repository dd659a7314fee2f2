import numpy as np
import pandas as pd
import pytest
from knowable import NAN, actions, asked, estimates, grades, guidance, snapshots, targets, value, world

from earlysignal_core.features.analysts import (
    analyst_coverage_change,
    analyst_price_target_change,
    analyst_upgrade_momentum,
)
from earlysignal_core.features.estimates import (
    analyst_estimate_revision_7d,
    analyst_estimate_revision_30d,
    earnings_estimate_std,
    earnings_estimate_trend,
    earnings_whisper_vs_estimate,
    guidance_vs_consensus,
    next_quarter_estimate_change,
)
from earlysignal_core.sources.source import CONSENSUS_ASSUMED
from earlysignal_core.tables import next_fiscal_period

# `as_of` is 2018-07-17 20:00 UTC; 7 days before it is 2018-07-10, 30 days 2018-06-17, 90 days 2018-04-18,
# a year 2017-07-17, a year and 90 days 2017-04-18. A day's rows are known at 22:00 UTC: those of `as_of` come too late.
JUNE, SEPTEMBER = "18-Jun", "18-Sep"
SEEN = estimates((JUNE, "2018-06-10", 1.25), (JUNE, "2018-07-09", 1.00), (JUNE, "2018-07-16", 1.10))


# Estimates


def test_a_revision_compares_with_the_last_snapshot_known_then() -> None:
    assert value(analyst_estimate_revision_7d, SEEN) == pytest.approx(0.10)
    assert value(analyst_estimate_revision_30d, SEEN) == pytest.approx((1.10 - 1.25) / 1.25)
    below = estimates((JUNE, "2018-07-09", -0.50), (JUNE, "2018-07-16", -0.40))
    assert value(analyst_estimate_revision_7d, below) == pytest.approx(0.20), "less of a loss is an upward revision"


def test_without_a_snapshot_in_between_nothing_is_said() -> None:
    assert np.isnan(value(analyst_estimate_revision_7d, estimates((JUNE, "2018-07-09", 1.0))))
    assert np.isnan(value(analyst_estimate_revision_7d, estimates((JUNE, "2018-07-16", 1.0))))
    assert np.isnan(value(analyst_estimate_revision_7d, estimates((JUNE, "2018-07-09", 0.0), (JUNE, "2018-07-16", 1))))
    unchanged = estimates((JUNE, "2018-07-09", 1.0), (JUNE, "2018-07-16", 1.0))
    assert value(analyst_estimate_revision_7d, unchanged) == 0


def test_a_snapshot_after_as_of_or_of_another_quarter_is_none_of_it() -> None:
    others = estimates((JUNE, "2018-07-18", 9.0), (SEPTEMBER, "2018-07-16", 9.0))
    assert value(analyst_estimate_revision_7d, SEEN, others) == pytest.approx(0.10)


def test_estimates_before_a_split_count_on_the_share_basis_of_t() -> None:
    split = actions("A", ("2018-07-12", "split", 2.0))
    before_and_after = estimates((JUNE, "2018-07-09", 2.00), (JUNE, "2018-07-16", 1.10))
    assert value(analyst_estimate_revision_7d, before_and_after, split) == pytest.approx(0.10)
    assert value(earnings_whisper_vs_estimate, before_and_after, split) == pytest.approx(
        value(earnings_whisper_vs_estimate, estimates((JUNE, "2018-07-09", 1.0), (JUNE, "2018-07-16", 1.1)))
    )


def test_the_quarter_after_is_followed_too() -> None:
    coming = estimates((SEPTEMBER, "2018-06-10", 2.0), (SEPTEMBER, "2018-07-16", 2.5), (JUNE, "2018-07-16", 7.0))
    assert value(next_quarter_estimate_change, coming) == pytest.approx(0.25)
    assert np.isnan(value(next_quarter_estimate_change, SEEN))
    by_count = estimates(("Q1 2019", "2018-06-10", 2.0), ("Q1 2019", "2018-07-16", 1.5))
    about = asked(fiscal_period="Q4 2018")
    assert value(next_quarter_estimate_change, by_count, about=about) == pytest.approx(-0.25)
    assert np.isnan(value(next_quarter_estimate_change, by_count, about=asked(fiscal_period=None)))


def test_fiscal_periods_follow_each_other() -> None:
    periods = pd.Series(["18-Mar", "18-Nov", "99-Dec", "Q3 2023", "Q4 2023", None, "2018-07-24", "18-Xxx"], dtype="str")
    after = next_fiscal_period(periods)
    assert after[:5].tolist() == ["18-Jun", "19-Feb", "00-Mar", "Q4 2023", "Q1 2024"]
    assert after[5:].isna().all()


def test_the_whisper_weighs_by_recency() -> None:
    # Ages of 0, 15 and 30 days weigh 1, 1/2 and 1/4.
    seen = estimates((JUNE, "2018-06-17", 1.3), (JUNE, "2018-07-02", 1.1), (JUNE, "2018-07-17", 1.0))
    mean = (1.3 / 4 + 1.1 / 2 + 1.0) / 1.75
    assert value(earnings_whisper_vs_estimate, seen) == pytest.approx(mean - 1.0)
    assert np.isnan(value(earnings_whisper_vs_estimate, estimates((JUNE, "2018-07-16", 1.0)))), "one whispers nothing"
    too_old = estimates((JUNE, "2018-04-15", 9.0))
    assert value(earnings_whisper_vs_estimate, seen, too_old) == pytest.approx(mean - 1.0)


def test_the_trend_is_a_slope_a_day() -> None:
    seen = estimates((JUNE, "2018-06-27", 2.2), (JUNE, "2018-07-07", 2.1), (JUNE, "2018-07-17", 2.0))
    assert value(earnings_estimate_trend, seen) == pytest.approx(-0.01 / 2.0)
    uneven = estimates((JUNE, "2018-07-03", 1.0), (JUNE, "2018-07-05", 2.0), (JUNE, "2018-07-13", 3.0))
    # Days -4, -2, 6 about their mean; slope (4·1 ... ) = (-4·1 - 2·2 + 6·3) / 56.
    assert value(earnings_estimate_trend, uneven) == pytest.approx(10 / 56 / 3.0)
    thirty_days_old = estimates((JUNE, "2018-06-17", 9.0))
    assert value(earnings_estimate_trend, seen, thirty_days_old) == pytest.approx(-0.01 / 2.0)
    assert np.isnan(value(earnings_estimate_trend, SEEN)), "two are no trend"


def test_the_range_tells_the_disagreement() -> None:
    assert value(earnings_estimate_std, snapshots((JUNE, "2018-07-16", -0.5, -0.3, -0.7))) == pytest.approx(0.2)
    assert np.isnan(value(earnings_estimate_std, SEEN))


def test_guidance_against_the_consensus() -> None:
    assert value(guidance_vs_consensus, SEEN, guidance((JUNE, "2018-05-01", 1.2, 1.22))) == pytest.approx(0.1)
    assert value(guidance_vs_consensus, SEEN, guidance((JUNE, "2018-05-01", 1.21, NAN))) == pytest.approx(0.1)
    renewed = guidance((JUNE, "2018-05-01", 9, 9), (JUNE, "2018-07-10", 0.99, 0.99), (JUNE, "2018-07-17", 9, 9))
    assert value(guidance_vs_consensus, SEEN, renewed) == pytest.approx(-0.1)
    assert np.isnan(value(guidance_vs_consensus, SEEN, guidance((JUNE, "2018-03-18", 1.2, 1.2))))
    split = actions("A", ("2018-07-02", "split", 2.0))
    whole = estimates((JUNE, "2018-07-16", 1.0))
    assert value(guidance_vs_consensus, whole, guidance((JUNE, "2018-05-01", 2.2, 2.2)), split) == pytest.approx(0.1)


def test_an_assumed_consensus_has_no_snapshots_to_follow() -> None:
    assumed = world(SEEN, assumptions=(CONSENSUS_ASSUMED,))._source
    for each in (analyst_estimate_revision_7d, earnings_estimate_std, next_quarter_estimate_change):
        assert each.inactive_because(assumed) == "no `consensus:snapshots`"
        assert each.inactive_because(world(SEEN)._source) is None
    assert guidance_vs_consensus.inactive_because(assumed) == "no table `guidance`"


# Grades and targets

BEGUN = grades("A", ("2016-06-01", "Elm", "initiate"))


def test_coverage_counts_distinct_firms_of_a_year() -> None:
    seen = grades(
        "A",
        ("2017-04-20", "Ash", "initiate"),  # counts 90 days ago only
        ("2017-07-18", "Birch", "maintain"),  # the first day of the year now
        ("2017-07-17", "Cedar", "maintain"),  # a day too old now
        ("2018-07-10", "Birch", "upgrade"),
        ("2018-07-10", "Fir", "initiate"),
        ("2018-07-16", "Hazel", "initiate"),
        ("2018-07-17", "Larch", "initiate"),  # known after `as_of`
    )
    others = grades("B", ("2018-07-10", "Maple", "initiate"))
    assert value(analyst_coverage_change, BEGUN, seen, others) == 3 - 3
    assert value(analyst_coverage_change, BEGUN, seen.iloc[3:]) == 3
    assert value(analyst_coverage_change, BEGUN) == 0
    assert np.isnan(value(analyst_coverage_change, seen)), "the table may have begun with the first of them"


def test_momentum_is_upgrades_minus_downgrades_of_14_days() -> None:
    seen = grades(
        "A",
        ("2018-07-03", "Ash", "upgrade"),  # 14 days old
        ("2018-07-04", "Birch", "upgrade"),
        ("2018-07-05", "Cedar", "upgrade"),
        ("2018-07-06", "Elm", "downgrade"),
        ("2018-07-09", "Fir", "maintain"),
        ("2018-07-17", "Hazel", "downgrade"),  # known after `as_of`
    )
    long_ago = grades("A", ("2018-01-02", "Ash", "upgrade"))
    assert value(analyst_upgrade_momentum, seen, long_ago) == 1
    assert value(analyst_upgrade_momentum, long_ago) == 0
    assert np.isnan(value(analyst_upgrade_momentum, seen.iloc[1:]))


def test_targets_of_30_days_over_those_of_90_before() -> None:
    seen = targets(
        "A",
        ("2018-03-19", "Ash", 9.0),  # 120 days old
        ("2018-03-20", "Ash", 90.0),
        ("2018-06-17", "Birch", 110.0),  # 30 days old
        ("2018-06-18", "Cedar", 115.0),
        ("2018-07-16", "Ash", 135.0),
        ("2018-07-17", "Elm", 9.0),  # known after `as_of`
    )
    assert value(analyst_price_target_change, seen) == pytest.approx(0.25)
    assert np.isnan(value(analyst_price_target_change, seen.iloc[3:]))
    split = actions("A", ("2018-06-19", "split", 2.0))
    apart = targets("A", ("2018-05-02", "Ash", 200.0), ("2018-07-02", "Ash", 110.0))
    assert value(analyst_price_target_change, apart, split) == pytest.approx(0.10)
