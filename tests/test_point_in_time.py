import numpy as np
import pandas as pd
import pytest
from knowable import (
    AS_OF,
    MARKET,
    NAN,
    actions,
    announcements,
    asked,
    bars,
    companies,
    estimates,
    probe,
    series,
    surprises,
    world,
)

from earlysignal_core.errors import EarlySignalError
from earlysignal_core.features.peers import Among
from earlysignal_core.features.point_in_time import PointInTime

JUST_AFTER = AS_OF + pd.Timedelta(nanoseconds=1)


def read(compute, *frames: pd.DataFrame, needs: dict[str, int], **changes) -> list[float]:
    """What a feature sees that looks so far back, as one list."""
    seen: list[np.ndarray] = []

    def look(at: PointInTime) -> np.ndarray:
        seen.append(compute(at))
        return np.zeros(len(at))

    feature = probe(look, **needs)
    world(*frames, features={"probe": feature}, **changes).value(feature)
    return np.asarray(seen[0])[0].tolist()


def window(table: str, column: str, length: int, *frames: pd.DataFrame, **options) -> list[float]:
    """A window of the example that is asked about."""
    look_back = options.pop("look_back", 400 if table == "macro" else length)
    asked_of = {key: options.pop(key) for key in ("owner", "lag_days") if key in options}
    return read(lambda at: at.window(table, column, length, **asked_of), *frames, needs={table: look_back}, **options)


# What is known


def test_a_row_counts_from_the_moment_at_which_it_became_known() -> None:
    told = announcements("A", ("18-Mar", "2018-04-24", 1.0, 1.2))
    assert window("earnings", "eps_actual", 1, told.assign(available_at=AS_OF)) == [1.2]
    assert window("earnings", "eps_actual", 1, told.assign(available_at=JUST_AFTER)) == pytest.approx(
        [NAN], nan_ok=True
    )


def test_windows_are_right_aligned_and_padded() -> None:
    assert window("earnings", "eps_actual", 3, surprises("A", 50)) == pytest.approx([NAN, NAN, 1.5], nan_ok=True)
    assert window("ohlcv", "close", 3, bars("A", [2.0, 3.0])) == pytest.approx([NAN, 2, 3], nan_ok=True)
    assert window("macro", "value", 2, series("S", ("2018-06-01", 7.0, "2018-07-01")), owner="S") == pytest.approx(
        [NAN, 7], nan_ok=True
    )


def test_a_step_without_a_row_is_a_gap() -> None:
    assert window("earnings", "eps_actual", 3, surprises("A", 50, NAN, 20)) == pytest.approx(
        [1.5, NAN, 1.2], nan_ok=True
    )
    assert window("ohlcv", "close", 3, bars("A", [2.0, NAN, 3.0])) == pytest.approx([2, NAN, 3], nan_ok=True)


def test_of_several_vintages_the_newest_known_counts() -> None:
    first, revised = series("S", ("2018-05-01", 1, "2018-06-01")), series("S", ("2018-05-01", 2, "2018-07-01"))
    later = series("S", ("2018-06-01", 3, "2018-07-10"), ("2018-05-01", 9, "2018-07-18"))
    assert window("macro", "value", 2, first, revised, later, owner="S") == [2, 3]


def test_of_two_announcements_of_one_quarter_the_newest_known_counts() -> None:
    told = announcements("A", ("18-Mar", "2018-04-24", 1.0, 1.2), ("18-Mar", "2018-05-24", 1.0, 1.1))
    assert window("earnings", "eps_actual", 2, told) == pytest.approx([NAN, 1.1], nan_ok=True)


def test_rows_of_one_day_that_are_no_vintages_all_count() -> None:
    both = actions("A", ("2018-05-01", "dividend", 0.5), ("2018-05-01", "split", 2.0))
    assert sorted(window("corporate_actions", "value", 2, both, look_back=100)) == [0.5, 2.0]


def test_a_lag_looks_from_an_earlier_moment() -> None:
    known = series(
        "S", ("2018-05-01", 1, "2018-06-17"), ("2018-06-01", 2, "2018-06-18"), ("2018-06-02", 3, "2018-07-17")
    )
    assert window("macro", "value", 1, known, owner="S") == [3]
    assert window("macro", "value", 1, known, owner="S", lag_days=30) == [1]


def test_estimates_belong_to_the_event() -> None:
    known = estimates(("18-Jun", "2018-07-01", 1.5), ("18-Sep", "2018-07-10", 9.0), ("18-Jun", "2018-07-17", 1.6))
    assert window("earnings_estimates", "eps_estimate", 2, known, look_back=92) == [1.5, 1.6]


def test_days_come_as_days_since_the_epoch() -> None:
    day = (pd.Timestamp("2018-04-24") - pd.Timestamp(0)).days
    assert window("earnings", "announced_on", 1, announcements("A", ("18-Mar", "2018-04-24", 1.0, 1.2))) == [day]


def test_text_is_matched() -> None:
    told = announcements("A", ("17-Dec", "2018-01-24", 1.0, 1.2, "bmo"), ("18-Mar", "2018-04-24", 1.0, 1.2, None))
    seen = read(lambda at: at.matches("earnings", "session", "bmo", 3), told, needs={"earnings": 3})
    assert seen == pytest.approx([NAN, 1, 0], nan_ok=True)


# The last session


def test_t_is_the_last_session_whose_close_the_market_shows() -> None:
    own = bars("A", [1.0, 2.0, 3.0])
    late = bars(MARKET, [1.0, 1.0, 1.0])
    late.loc[late.index[-1], "available_at"] = JUST_AFTER
    assert window("ohlcv", "close", 2, own, late) == [1, 2]
    assert window("ohlcv", "close", 2, own, bars(MARKET, [1.0] * 3)) == [2, 3]
    assert window("ohlcv", "close", 2, own) == [2, 3], "without a market the calendar decides"


def test_a_day_is_placed_at_the_last_session_on_or_before_it() -> None:
    def places(at: PointInTime) -> np.ndarray:
        found = pd.to_datetime(["2018-07-17", "2018-07-16", "2018-07-15", "2018-07-13", "2018-07-18"])
        days = (found - pd.Timestamp(0)).days.to_numpy(np.float64)[None]
        return at.sessions_ago(np.hstack([days, [[NAN]]]))

    assert read(places, surprises("A", 1), needs={}) == pytest.approx([0, 1, 2, 2, -1, NAN], nan_ok=True)


def test_a_bar_that_is_of_no_session_is_none_of_the_session_before() -> None:
    sunday = bars("A", [9.0]).assign(session=pd.Timestamp("2018-07-15"))
    assert window("ohlcv", "close", 3, bars("A", [1.0, 2.0, 3.0]), sunday) == [1, 2, 3]


# The share basis


def test_raw_prices_come_on_the_share_basis_of_t() -> None:
    split = actions("A", ("2018-07-16", "split", 2.0))
    raw = bars("A", [10.0, 10.0, 5.0, 5.0], volume=[100.0, 100.0, 200.0, 200.0])
    assert window("ohlcv", "close", 4, raw, split) == [5, 5, 5, 5]
    assert window("ohlcv", "high", 4, raw, split) == [5, 5, 5, 5]
    assert window("ohlcv", "volume", 4, raw, split) == [200, 200, 200, 200]
    assert window("ohlcv", "close", 4, raw, split, prices="adjusted") == [10, 10, 5, 5], "they arrived so"


def test_splits_multiply_up_to_t() -> None:
    splits = actions("A", ("2018-07-13", "split", 3.0), ("2018-07-16", "split", 2.0), ("2018-07-17", "split", 7.0))
    raw = bars("A", [60.0, 20.0, 10.0, 10 / 7])
    assert window("ohlcv", "close", 4, raw, splits) == pytest.approx([10 / 7] * 4)
    late = bars(MARKET, [1.0] * 4)
    late.loc[late.index[-1], "available_at"] = JUST_AFTER
    assert window("ohlcv", "close", 3, raw, splits, late) == [10, 10, 10], "`t` is the session before the last split"


def test_a_split_not_yet_known_looks_like_a_false_level_shift() -> None:
    random = np.random.default_rng(3)
    close = 100 * np.exp(np.cumsum(random.normal(0, 0.004, 80)))
    raw = np.r_[close[:-3], close[-3:] / 4]
    volume = random.uniform(900, 1100, 80) * np.r_[np.ones(77), np.full(3, 4)]
    traded = bars("A", raw, volume=volume, high=raw * 1.005, low=raw * 0.995)
    split = actions("A", ("2018-07-13", "split", 4.0))
    assert window("ohlcv", "close", 5, traded, split) == pytest.approx(close[-5:] / 4)
    unknown = split.assign(available_at=JUST_AFTER)
    assert window("ohlcv", "close", 5, traded, unknown) == pytest.approx([NAN, NAN, *close[-3:] / 4], nan_ok=True)
    cut_volume = window("ohlcv", "volume", 5, traded, unknown)
    assert np.isnan(cut_volume[:2]).all()
    assert np.isfinite(cut_volume[2:]).all()


def test_shares_since_leaves_spin_offs_out_of_earnings_but_not_of_dividends() -> None:
    known = actions(
        "A",
        ("2018-02-01", "split", 1.253),
        ("2018-03-01", "split", 1.5),
        ("2018-05-01", "split", 0.125),
        ("2018-06-01", "dividend", 9.0),
    )
    days = (pd.to_datetime(["2018-01-01", "2018-02-15", "2018-03-01", "2018-06-01"]) - pd.Timestamp(0)).days

    def shares(at: PointInTime, **options) -> np.ndarray:
        return at.shares_since(days.to_numpy(np.float64)[None], **options)

    needs = {"corporate_actions": 365}
    assert read(shares, known, needs=needs) == pytest.approx([1.5 / 8, 1.5 / 8, 1 / 8, 1])
    of_prices = read(lambda at: shares(at, of_prices=True), known, needs=needs)
    assert of_prices == pytest.approx([1.253 * 1.5 / 8, 1.5 / 8, 1 / 8, 1])
    assert read(lambda at: shares(at, of_prices=True), known, needs=needs, prices="adjusted") == [1, 1, 1, 1]
    assert read(shares, surprises("A", 1), needs=needs) == [1, 1, 1, 1], "a source without splits"


# Look-back


@pytest.mark.parametrize(
    ("declared", "asks"),
    [
        ({"earnings": 4}, lambda at: at.window("earnings", "eps_actual", 5)),
        ({"ohlcv": 4}, lambda at: at.window("ohlcv", "close", 5)),
        ({"ohlcv": 4}, lambda at: at.window("ohlcv", "close", 5, owner=MARKET)),
        ({"earnings": 4}, lambda at: at.latest("macro", "value", owner="S")),
        ({"earnings": 4}, lambda at: at.matches("earnings", "session", "bmo", 5)),
        ({"earnings": 4}, lambda at: at.counts("earnings", lambda column: column("eps_actual"), 400, Among.ALL)[0]),
        ({"earnings": 4}, lambda at: at.shares_since(np.zeros((1, 1)))),
    ],
)
def test_a_feature_that_asks_for_more_than_it_declares_fails(declared, asks) -> None:
    frames = surprises("A", 1, 2, 3), bars("A", [1.0]), series("S", ("2018-05-01", 1, "2018-06-01")), actions("A")
    with pytest.raises(EarlySignalError, match=r"`probe` reads .* but declares"):
        read(asks, *frames, needs=declared)


def test_what_lies_further_back_than_declared_does_not_exist() -> None:
    old = series("S", ("2018-05-01", 1, "2018-06-01"))
    assert window("macro", "value", 1, old, owner="S", look_back=77) == [1]
    assert window("macro", "value", 1, old, owner="S", look_back=76) == pytest.approx([NAN], nan_ok=True)
    very_late = announcements("A", ("18-Mar", "2017-09-01", 1.0, 1.2))
    assert window("earnings", "eps_actual", 1, very_late) == pytest.approx([NAN], nan_ok=True)
    assert window("earnings", "eps_actual", 2, very_late)[-1] == 1.2


def test_tables_are_read_within_features() -> None:
    at = world(surprises("A", 1))
    with pytest.raises(EarlySignalError, match="outside a feature"):
        at.window("earnings", "eps_actual", 1)


def test_a_table_that_only_sharpens_is_asked_for_first() -> None:
    feature = probe(lambda at: at.latest("earnings_estimates", "eps_estimate"), earnings_estimates=9)
    with pytest.raises(EarlySignalError, match=r"`probe` reads `earnings_estimates`, which the source does not have"):
        world(surprises("A", 1), features={"probe": feature}).value(feature)


def test_a_feature_gives_one_value_an_example() -> None:
    feature = probe(lambda at: at.window("earnings", "eps_actual", 2), earnings=2)
    with pytest.raises(EarlySignalError, match=r"`probe` returns the shape \(1, 2\) for 1 examples"):
        world(surprises("A", 1), features={"probe": feature}).value(feature)


def test_what_is_not_finite_is_missing() -> None:
    feature = probe(lambda at: np.full(len(at), np.inf))
    assert np.isnan(world(surprises("A", 1), features={"probe": feature}).value(feature)[0])


# Rows that several features, or several examples, ask for


def test_what_looks_less_far_back_gets_the_newest_rows_whichever_is_asked_first() -> None:
    far, near = (probe(lambda at, k=k: at.window("earnings", "eps_actual", k)[:, -1], earnings=4) for k in (4, 1))
    ages = probe(lambda at: at.window("earnings", "eps_actual", 2)[:, 0], earnings=4)
    for number, feature in enumerate((far, near, ages)):
        object.__setattr__(feature, "name", f"probe {number}")
    at = world(surprises("A", 10, 20, 30, 40), features={each.name: each for each in (far, near, ages)})
    assert [at.value(each)[0] for each in (far, near, ages)] == pytest.approx([1.4, 1.4, 1.3])


def test_each_example_sees_a_shared_series_as_it_stood_at_its_own_moment() -> None:
    told = [("A", "2018-07-24"), ("A", "2018-07-10"), ("B", "2018-07-10"), ("B", "2018-07-31"), ("C", "2018-07-24")]
    about = pd.concat([asked(day, None, symbol) for symbol, day in told], ignore_index=True)
    rate = series(
        "DFF", ("2018-06-28", 1.0, "2018-06-29"), ("2018-07-12", 2.0, "2018-07-13"), ("2018-07-20", 3.0, "2018-07-23")
    )
    feature = probe(lambda at: at.latest("macro", "value", owner="DFF"), macro=400)
    everyone = companies(A="Energy", B="Energy", C="Energy")
    at = world(everyone, rate, about=about, features={"probe": feature})
    assert at.examples["symbol"].tolist() == ["A", "B", "A", "C", "B"]
    assert at.value(feature).tolist() == [1.0, 1.0, 2.0, 2.0, 3.0]


# Peers


def test_counts_of_the_sector_leave_out_the_example_itself() -> None:
    everyone = companies(A="Energy", B="Energy", C="Utilities", D=None)
    told = pd.concat([announcements(s, ("18-Mar", "2018-07-10", 1.0, float(s == "B"))) for s in "ABCD"])

    def count(among: Among) -> list[float]:
        return read(
            lambda at: np.stack(at.counts("earnings", lambda column: column("eps_actual"), 35, among), axis=1),
            everyone,
            told,
            needs={"earnings": 1},
        )

    assert count(Among.ALL) == [1, 4]
    assert count(Among.OTHERS) == [1, 3]
    assert count(Among.SECTOR) == [1, 1]


@pytest.mark.parametrize(("among", "symbols"), [(Among.ALL, "ABCD"), (Among.OTHERS, "BCD"), (Among.SECTOR, "B")])
def test_the_rows_that_were_counted_are_kept(among: Among, symbols: str) -> None:
    everyone = companies(A="Energy", B="Energy", C="Utilities", D=None)
    told = pd.concat([announcements(s, ("18-Mar", "2018-07-10", 1.0, float(s == "B"))) for s in "ABCD"])
    old = announcements("B", ("17-Dec", "2018-04-10", 1.0, 1.0))
    feature = probe(lambda at: at.counts("earnings", lambda column: column("eps_actual"), 35, among)[1], earnings=1)
    at = world(everyone, told, old, features={"probe": feature})
    assert at.value(feature)[0] == len(symbols)
    assert at.rows_read(feature)["earnings"]["symbol"].tolist() == [*symbols]


# One example's rows


def test_rows_that_were_read_are_kept_for_a_single_example() -> None:
    inner = probe(lambda at: at.latest("earnings", "eps_actual"), earnings=1)
    outer = probe(lambda at: inner(at) * at.latest("ohlcv", "close"), earnings=1, ohlcv=1)
    object.__setattr__(outer, "name", "outer")
    at = world(surprises("A", 10, 20), bars("A", [1.0, 2.0]), features={"probe": inner, "outer": outer})
    assert at.value(inner)[0] == 1.2
    assert at.value(outer)[0] == 2.4
    assert at.rows_read(inner)["earnings"]["eps_actual"].tolist() == [1.2]
    assert at.rows_read(outer)["earnings"]["eps_actual"].tolist() == [1.2], "what its part read, it read"
    assert at.rows_read(outer)["ohlcv"]["close"].tolist() == [2.0]


def test_no_examples_give_no_values() -> None:
    feature = probe(lambda at: at.latest("ohlcv", "close") + at.latest("earnings", "eps_actual"), earnings=1, ohlcv=1)
    at = world(surprises("A", 1), bars("A", [1.0]), about=asked()[:0], features={"probe": feature})
    assert at.value(feature).shape == (0,)
