"""Estimates and actuals on different bases, quarters that are missing or doubled, figures that change their basis."""

import numpy as np
import pandas as pd
import pytest

from earlysignal_core.audit.earnings import basis_mismatches, mismatched_sectors, off_basis, sector_bases
from earlysignal_core.audit.findings import audit

QUARTER_ENDS = ("Mar", "Jun", "Sep", "Dec")
SECTORS = ("Calm", "Turmoil", "Trusts")


def announcements(companies: int = 30, years: int = 6, seed: int = 0, step: float = 0.05) -> pd.DataFrame:
    """Quarterly announcements whose estimates take a random walk and whose actuals lie a few percent off."""
    random = np.random.default_rng(seed)
    shape = (companies, 4 * years)
    estimate = random.uniform(0.8, 3, (companies, 1)) * np.exp(np.cumsum(step * random.standard_normal(shape), axis=1))
    actual = estimate * (1.03 + 0.04 * random.standard_normal(shape))
    company, quarter = (index.ravel() for index in np.indices(shape))
    ends = [f"{12 + q // 4}-{QUARTER_ENDS[q % 4]}" for q in quarter]
    days = pd.to_datetime([f"{2012 + q // 4}-{3 * (q % 4) + 3}-28" for q in quarter]) + pd.Timedelta(days=25)
    return pd.DataFrame(
        {
            "symbol": pd.Series([f"C{c:02}" for c in company], dtype="str"),
            "announced_on": days + pd.to_timedelta(company % 5, "D"),
            "session": pd.Series(["amc"] * len(company), dtype="str"),
            "fiscal_period": pd.Series(ends, dtype="str"),
            "eps_estimate": np.round(estimate.ravel(), 2),
            "eps_actual": np.round(actual.ravel(), 2),
        }
    )


def universe(companies: int = 30) -> pd.DataFrame:
    """Return ten companies in each of three sectors."""
    symbols = [f"C{c:02}" for c in range(companies)]
    return pd.DataFrame({"symbol": symbols, "sector": [SECTORS[c % 3] for c in range(companies)]}).astype("str")


def in_sector(rows: pd.DataFrame, sector: str) -> pd.Series:
    return rows["symbol"].map(universe().set_index("symbol")["sector"]) == sector


def findings_of(rows: pd.DataFrame, kind: str, **others: pd.DataFrame) -> pd.DataFrame:
    findings = audit({"earnings": rows, **others}, "^X")
    return findings[findings["kind"] == kind].reset_index(drop=True)


@pytest.fixture
def rows():
    return announcements()


@pytest.fixture
def mixed(rows):
    """Trusts report half of what is estimated; the companies in turmoil miss as widely, but so move their estimates."""
    random = np.random.default_rng(1)
    trusts, turmoil = in_sector(rows, "Trusts"), in_sector(rows, "Turmoil")
    rows.loc[trusts, "eps_actual"] = np.round(rows.loc[trusts, "eps_estimate"] * 0.45, 2)
    wild = np.exp(0.6 * random.standard_normal((turmoil.sum(), 2)))
    rows.loc[turmoil, "eps_estimate"] = np.round(wild[:, 0], 2)
    rows.loc[turmoil, "eps_actual"] = np.round(wild[:, 0] * np.exp(0.4 * random.standard_normal(turmoil.sum())), 2)
    return rows


def test_a_sector_on_another_basis_is_told_from_one_in_turmoil(mixed):
    assert mismatched_sectors(mixed, universe()) == {"Trusts"}
    bases = sector_bases(mixed, universe())
    assert bases["Trusts"].share > 0.9
    assert bases["Trusts"].large_miss > 0.9
    assert bases["Turmoil"].share < 0.1
    finding = next(f for f in basis_mismatches(mixed, universe()) if f.symbol is None)
    assert finding.group == "Trusts"
    assert "leave_out_mismatched" in finding.action


def test_clean_sectors_are_left_alone(rows):
    assert mismatched_sectors(rows, universe()) == set()
    assert basis_mismatches(rows, universe()) == []


def test_a_few_companies_are_no_sector(mixed):
    few = mixed[~in_sector(mixed, "Trusts") | mixed["symbol"].isin(["C02", "C05"])]
    assert mismatched_sectors(few, universe()) == set()
    named = {finding.symbol for finding in basis_mismatches(few, universe())}
    assert named == {"C02", "C05"}, "each of them is a finding of its own"


def test_the_answer_uses_only_the_rows_passed(mixed):
    known = mixed[mixed["announced_on"] < "2012-09-01"]
    assert mismatched_sectors(known, universe()) == set(), "two announcements a company are too few to tell"
    assert mismatched_sectors(mixed[mixed["announced_on"] < "2014-01-01"], universe()) == {"Trusts"}
    shuffled = mixed.sample(frac=1, random_state=3)
    assert mismatched_sectors(shuffled, universe()) == {"Trusts"}
    pd.testing.assert_series_equal(off_basis(shuffled).sort_index(), off_basis(mixed))


@pytest.mark.parametrize("rows", [announcements().head(0), announcements(companies=1)])
def test_no_rows_and_one_company(rows):
    assert mismatched_sectors(rows, universe()) == set()


def test_missing_quarters_are_named(rows):
    gone = (rows["symbol"] == "C03") & rows["fiscal_period"].isin(["14-Jun", "15-Dec"])
    found = findings_of(rows[~gone], "missing_quarter")
    assert list(found["symbol"]) == ["C03"]
    assert found["evidence"][0] == "no announcement for 2014-Q2, 2015-Q4"


def test_a_season_that_most_companies_lack_is_one_finding(rows):
    without = rows[~rows["fiscal_period"].str.endswith("Dec") | (rows["symbol"] == "C07")]
    without = without[(without["symbol"] != "C09") | (without["fiscal_period"] != "14-Jun")]
    season = findings_of(without, "missing_season")
    assert season["evidence"][0].startswith("28 of 30 companies lack the same fiscal quarter every year (Q4 in 28")
    assert list(findings_of(without, "missing_quarter")["symbol"]) == ["C09"]


def test_doubled_quarters_and_share_classes(rows):
    again = rows[(rows["symbol"] == "C04") & (rows["fiscal_period"] == "13-Mar")]
    again = again.assign(announced_on=again["announced_on"] + pd.Timedelta(days=9))
    classes = rows[rows["symbol"] == "C01"].assign(symbol="C99").astype({"symbol": "str"})
    everything = pd.concat([rows, again, classes], ignore_index=True)
    doubled = findings_of(everything, "duplicate_quarter")
    assert list(doubled["symbol"]) == ["C04"]
    assert "2013-Q1" in doubled["evidence"][0]
    twins = findings_of(everything, "same_announcement")
    assert list(twins["symbol"]) == ["C99"]
    assert "24 of 24 announcements are those of C01" in twins["evidence"][0]


def test_zero_estimates_and_extreme_surprises(rows):
    rows.loc[3, ["eps_estimate", "eps_actual"]] = 0.0, 0.02
    rows.loc[4, ["eps_estimate", "eps_actual"]] = -0.10, 0.11
    rows.loc[5, ["eps_estimate", "eps_actual"]] = 0.10, 0.20
    zero = findings_of(rows, "zero_estimate")
    assert list(zero["date"]) == [rows["announced_on"][3]]
    assert "label is missing" in zero["action"][0]
    extreme = findings_of(rows, "extreme_surprise")
    assert list(extreme["date"]) == [rows["announced_on"][4]], "exactly 100 % is not beyond it"
    assert "+210%" in extreme["evidence"][0]


def split_at(rows: pd.DataFrame, symbol: str, day: str, ratio: float) -> pd.DataFrame:
    """Put what is announced from a day on on the new number of shares."""
    later = (rows["symbol"] == symbol) & (rows["announced_on"] >= day)
    rows.loc[later, ["eps_estimate", "eps_actual"]] /= ratio
    return rows


def test_a_split_shows_in_per_share_figures(rows):
    actions = pd.DataFrame(
        {
            "symbol": ["C02", "C05", "C08"],
            "session": pd.to_datetime(["2014-06-02", "2014-06-02", "2014-06-02"]),
            "kind": ["split"] * 3,
            "value": [4.0, 4.0, 3.0],
        }
    )
    rows = split_at(rows, "C02", "2014-06-02", 4)  # figures of their day
    rows = split_at(rows, "C05", "2014-04-20", 4)  # restated in the announcement before it; C08 is restated throughout
    found = findings_of(rows, "share_basis", corporate_actions=actions).set_index("symbol")
    assert set(found.index) == {"C02", "C05"}
    assert found.loc["C02", "date"] > pd.Timestamp("2014-06-02")
    assert "by the recorded split" in found.loc["C02", "action"]
    assert "restated" in found.loc["C05", "evidence"]
    assert found.loc["C05", "action"].startswith("reported only")


def test_without_recorded_splits_all_seasons_must_share_the_step():
    rows = split_at(announcements(step=0.01), "C02", "2015-01-01", 3)
    slump = (rows["symbol"] == "C06") & (rows["announced_on"] >= "2015-01-01")
    rows.loc[slump, "eps_estimate"] *= np.resize([0.5, 0.2, 0.7, 0.4], slump.sum())
    found = findings_of(rows, "share_basis")
    assert list(found["symbol"]) == ["C02"]
    assert found["date"][0].year == 2015
