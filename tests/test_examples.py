import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from knowable import NAN, announcements, companies

from earlysignal_core.features.examples import (
    COLUMNS,
    event_id,
    examples,
    first_known,
    first_moments,
    scheduled_between,
)
from earlysignal_core.trading_calendar import as_of
from earlysignal_core.validation import checked

UNIVERSE = checked("universe", companies(A="Energy", B=None))


def schedule(*rows: tuple[str, str]) -> pd.DataFrame:
    """A's coming quarter as (day of publication, day that was expected), published at noon in New York."""
    frame = pd.DataFrame(rows, columns=["published", "expected_on"])
    available = (pd.to_datetime(frame["published"]) + pd.Timedelta(hours=16)).dt.tz_localize("UTC")
    expected = pd.to_datetime(frame["expected_on"])
    made = frame.assign(symbol="A", fiscal_period="18-Jun", expected_on=expected, session=None, available_at=available)
    return checked("earnings_calendar", made)


def announced(day: str, symbol: str = "A", period: str | None = "18-Jun") -> pd.DataFrame:
    return checked("earnings", announcements(symbol, (period, day, 1.0, 1.2)))


def test_an_event_is_named_by_its_fiscal_period_or_else_by_its_day() -> None:
    rows = pd.concat([announced("2018-07-24"), announced("2018-07-25", "B", None)], ignore_index=True)
    assert event_id(rows).tolist() == ["A:18-Jun", "B:2018-07-25"]


def test_where_dates_are_assumed_known_each_announcement_is_an_example() -> None:
    rows = pd.concat([announced("2018-07-24"), announced("2018-07-10", "B")], ignore_index=True)
    made = examples(rows, None, UNIVERSE)
    assert made.columns.tolist() == COLUMNS
    assert made["symbol"].tolist() == ["B", "A"], "in order of `as_of`"
    assert made["scheduled_on"].tolist() == made["announced_on"].tolist()
    assert made["as_of"].tolist() == as_of(["2018-07-10", "2018-07-24"]).tolist()
    assert made["sector"].isna().tolist() == [True, False]


def test_the_moment_follows_the_date_that_was_scheduled_then() -> None:
    made = examples(
        announced("2018-07-26"), schedule(("2018-06-01", "2018-07-24"), ("2018-07-20", "2018-07-26")), UNIVERSE
    )
    assert made["scheduled_on"].tolist() == [pd.Timestamp("2018-07-24")], "the move came after the prediction"
    assert made["as_of"].tolist() == [pd.Timestamp("2018-07-17 20:00", tz="UTC")]


def test_a_date_moved_in_time_moves_the_moment() -> None:
    made = examples(
        announced("2018-07-26"), schedule(("2018-06-01", "2018-07-24"), ("2018-07-10", "2018-07-26")), UNIVERSE
    )
    assert made["as_of"].tolist() == [pd.Timestamp("2018-07-19 20:00", tz="UTC")]


@pytest.mark.parametrize("published", ["2018-07-18", "2018-07-23"])
def test_what_nobody_expected_a_week_ahead_is_no_example(published: str) -> None:
    assert examples(announced("2018-07-24"), schedule((published, "2018-07-24")), UNIVERSE).empty


def test_an_announcement_that_came_before_the_moment_is_no_example() -> None:
    brought_forward = schedule(("2018-06-01", "2018-08-14"))
    assert examples(announced("2018-07-24"), brought_forward, UNIVERSE).empty


@pytest.mark.parametrize(("known_on", "due"), [(None, ["A"]), ("2018-07-10", []), ("2018-07-24", ["A"])])
def test_what_falls_due_is_what_nobody_knows_yet(known_on: str | None, due: list[str]) -> None:
    """Also on the first days of a live history, which hold no result at all."""
    results = announced(known_on or "2018-07-24")
    known = first_known(results[results["eps_actual"].notna() & (known_on is not None)])
    day = pd.Timestamp("2018-07-17", tz="UTC")
    moments = first_moments(schedule(("2018-06-01", "2018-07-24")))
    made = scheduled_between(moments, known, day, day + pd.Timedelta(days=1), UNIVERSE)
    assert made["symbol"].tolist() == due


def test_a_moved_date_and_a_correction_are_the_same_event() -> None:
    moved_from = announced("2018-07-24").assign(eps_actual=NAN)
    rows = pd.concat([moved_from, announced("2018-07-26"), announced("2018-08-26")], ignore_index=True)
    assert examples(rows, None, UNIVERSE)["announced_on"].tolist() == [pd.Timestamp("2018-07-26")]


def test_the_outcome_plays_no_part() -> None:
    rows = announced("2018-07-24")
    known, unknown = (examples(r, None, UNIVERSE) for r in (rows, rows.assign(eps_actual=NAN)))
    pd.testing.assert_frame_equal(known, unknown)


day = st.dates(pd.Timestamp("2018-07-02").date(), pd.Timestamp("2018-08-31").date()).map(str)
published = st.dates(pd.Timestamp("2018-06-01").date(), pd.Timestamp("2018-08-31").date()).map(str)


@given(st.lists(st.tuples(published, day), min_size=1, max_size=5, unique_by=lambda row: row[0]), day, published)
def test_what_is_published_after_the_moment_changes_nothing(rows, announced_on: str, later: str) -> None:
    made = examples(announced(announced_on), schedule(*rows), UNIVERSE)
    for moment in made["as_of"]:
        known = [row for row in rows if pd.Timestamp(row[0] + " 16:00", tz="UTC") <= moment]
        again = examples(announced(announced_on), schedule(*known), UNIVERSE)
        pd.testing.assert_frame_equal(made, again)
        assert made["scheduled_on"][0] == pd.Timestamp(max(known)[1]), "the newest date that was known"
