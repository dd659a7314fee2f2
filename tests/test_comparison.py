"""Champion against challenger: the tree line by line, paired differences by hand, and the recipe walked forward."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from production import LAST
from sklearn.metrics import roc_auc_score

from earlysignal_core.datasets.cutoff import Day, moment_of, parse_cutoff, version_stem
from earlysignal_core.datasets.gather import gather_dataset
from earlysignal_core.evaluation.comparison import Comparison, Deploy, compare, decide
from earlysignal_core.evaluation.forward import Recipe, steps, walk_monthly
from earlysignal_core.evaluation.resampling import Figure, undefined
from earlysignal_core.lake import Lake
from earlysignal_core.models.bundle import Bundle, load, save
from earlysignal_core.models.training import train
from earlysignal_core.quarterly import described
from earlysignal_core.settings import PromotionLimits, Settings
from earlysignal_core.trading_calendar import as_of, cutoff, sessions

LIMITS = PromotionLimits()
NO_POSITIONS = pd.DataFrame(
    {"event": pd.Series(dtype="str"), "session": pd.Series(dtype="datetime64[ns]")}
    | {name: pd.Series(dtype="float64") for name in ("gross", "benchmark", "sides")}
)


def told(auc: float, *, low: float = 0.0, accuracy: float = 0.0, sharpe: float = 0.0, n: int = 400, beats: int = 40):
    figure = undefined("one class only") if np.isnan(auc) else Figure(value=auc, low=low, high=auc + 0.1)
    difference = {"auc": figure, "accuracy": Figure(value=accuracy), "sharpe": Figure(value=sharpe)}
    return Comparison(
        n=n,
        large_beats=beats,
        companies=100,
        days=40,
        champion={},
        challenger={},
        challenger_auc=undefined("no event"),
        by_company={},
        by_day={},
        difference=difference,
        challengers_tried=3,
    )


@pytest.mark.parametrize(
    ("comparison", "raw", "effective"),
    [
        (told(0.05), Deploy.DEPLOY, Deploy.DEPLOY),
        (told(0.049, sharpe=0.1), Deploy.DEPLOY, Deploy.DEPLOY),
        (told(0.049, sharpe=-0.1), Deploy.AB_TEST_14_DAYS, Deploy.AB_TEST_14_DAYS),
        (told(0.03, sharpe=float("nan")), Deploy.AB_TEST_14_DAYS, Deploy.AB_TEST_14_DAYS),
        (told(0.02, sharpe=0.1), Deploy.DEPLOY, Deploy.DEPLOY),
        (told(0.019, sharpe=0.1), Deploy.AB_TEST_14_DAYS, Deploy.AB_TEST_14_DAYS),
        (told(0.01), Deploy.AB_TEST_14_DAYS, Deploy.AB_TEST_14_DAYS),
        (told(0.0, accuracy=0.031), Deploy.AB_TEST_7_DAYS, Deploy.AB_TEST_7_DAYS),
        (told(0.0, accuracy=0.03), Deploy.KEEP_CHAMPION, Deploy.KEEP_CHAMPION),
        (told(-0.2), Deploy.KEEP_CHAMPION, Deploy.KEEP_CHAMPION),
        # guards
        (told(0.06, low=-0.021), Deploy.DEPLOY, Deploy.AB_TEST_14_DAYS),
        (told(0.06, low=-0.02), Deploy.DEPLOY, Deploy.DEPLOY),
        (told(0.06, low=float("nan")), Deploy.DEPLOY, Deploy.AB_TEST_14_DAYS),
        (told(0.06, n=199), Deploy.DEPLOY, Deploy.UNDECIDED),
        (told(0.06, beats=19), Deploy.DEPLOY, Deploy.UNDECIDED),
        (told(-0.06, n=199), Deploy.KEEP_CHAMPION, Deploy.UNDECIDED),
        (told(float("nan"), n=0), Deploy.UNDECIDED, Deploy.UNDECIDED),
    ],
)
def test_the_tree_of_the_strategy_and_its_guards(comparison: Comparison, raw: Deploy, effective: Deploy) -> None:
    decision = decide(comparison, LIMITS)
    assert (decision.raw, decision.effective) == (raw, effective)
    assert decision.figures["challengers_tried"] == 3
    assert decision.reason


def predicted(n: int, seed: int = 0, skill: float = 1.0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    announced = pd.Timestamp("2016-01-11") + pd.to_timedelta(np.sort(random.integers(0, 80, n)), "D")
    label = (random.random(n) < 0.2).astype(float)
    score = np.random.default_rng(seed + 1).normal(size=n) + skill * label
    return pd.DataFrame(
        {
            "event": [f"E{i}" for i in range(n)],
            "symbol": [f"C{i % 40}" for i in range(n)],
            "announced_on": announced,
            "as_of": as_of(announced),
            "label": label,
            "probability": 1 / (1 + np.exp(-score)),
            "threshold": 0.6,
        }
    )


def test_figures_and_differences_of_common_events() -> None:
    challenger = predicted(300, skill=2.0)
    champion = predicted(300, skill=0.5)[50:]
    found = compare(champion, challenger, NO_POSITIONS, challengers_tried=1)
    common = challenger[50:]
    assert (found.n, found.large_beats) == (250, int(common["label"].sum()))
    assert (found.companies, found.days) == (40, common["announced_on"].nunique())
    mine = roc_auc_score(common["label"], common["probability"])
    theirs = roc_auc_score(common["label"], champion["probability"])
    assert found.challenger["auc"] == pytest.approx(mine)
    assert found.champion["auc"] == pytest.approx(theirs)
    assert found.difference["auc"].value == pytest.approx(mine - theirs)
    right = (common["probability"] >= 0.6) == (common["label"] == 1)
    right_before = (champion["probability"] >= 0.6) == (common["label"] == 1)
    assert found.difference["accuracy"].value == pytest.approx(right.mean() - right_before.mean())
    for name in ("auc", "brier", "average_precision", "accuracy"):
        whole, both = found.difference[name], (found.by_company[name], found.by_day[name])
        assert whole.low == min(figure.low for figure in both)
        assert whole.high == max(figure.high for figure in both)
    assert not found.difference["sharpe"].defined
    assert Comparison.model_validate_json(found.model_dump_json()).n == 250


def test_share_classes_have_one_result_that_counts_once() -> None:
    challenger, champion = predicted(300, skill=2.0), predicted(300, skill=0.5)
    alone = compare(champion, challenger, NO_POSITIONS, challengers_tried=1)
    classes = [frame.assign(company=frame["symbol"]) for frame in (challenger, champion)]
    twins = [frame.assign(event="B" + frame["event"], symbol="Z" + frame["symbol"]) for frame in classes]
    both = [pd.concat(pair, ignore_index=True) for pair in zip(classes, twins, strict=True)]
    told = compare(both[1], both[0], NO_POSITIONS, challengers_tried=1)
    assert told.model_dump_json() == alone.model_dump_json()


def test_events_without_an_outcome_do_not_count_and_without_common_ones_nothing_is_decided() -> None:
    challenger, champion = predicted(300), predicted(300, seed=5)
    pending = challenger.assign(label=challenger["label"].mask(challenger.index < 100))
    assert compare(champion, pending, NO_POSITIONS, challengers_tried=1).n == 200
    apart = champion.assign(event="other " + champion["event"])
    nothing = compare(apart, challenger, NO_POSITIONS, challengers_tried=1)
    assert nothing.n == 0
    assert decide(nothing, LIMITS).effective == Deploy.UNDECIDED


def test_the_sharpe_ratios_by_hand() -> None:
    challenger = predicted(300)
    champion = challenger.assign(probability=predicted(300, seed=5)["probability"])
    positions = pd.DataFrame(
        {
            "event": challenger["event"],
            "session": challenger["as_of"].dt.tz_localize(None).dt.normalize(),
            "gross": np.random.default_rng(1).normal(0.002, 0.01, 300),
            "benchmark": 0.0,
            "sides": 0.0,
        }
    )
    found = compare(champion, challenger, positions, challengers_tried=1)
    chosen, judged = {}, None
    for name, rows in (("challenger", challenger), ("champion", champion)):
        limit = np.array(
            [
                np.quantile(before, 0.9)
                if len(before := rows.loc[rows["as_of"] < moment, "probability"]) >= 50
                else np.nan
                for moment in rows["as_of"]
            ]
        )
        judged = ~np.isnan(limit)
        chosen[name] = positions[judged & (rows["probability"].to_numpy() > limit)]
    both = pd.concat(chosen.values())["session"]
    days = pd.bdate_range(both.min(), both.max())
    days = days[days.isin(sessions())]
    for name, held in chosen.items():
        daily = held.groupby("session")["gross"].mean().reindex(days, fill_value=0.0)
        assert getattr(found, name)["sharpe"] == pytest.approx(np.sqrt(252) * daily.mean() / daily.std())
    assert found.difference["sharpe"].value == pytest.approx(found.challenger["sharpe"] - found.champion["sharpe"])


@settings(max_examples=8)
@given(seed=st.integers(0, 1000))
def test_a_model_against_itself_is_no_better_and_the_other_way_round_is_the_opposite(seed: int) -> None:
    one, other = predicted(200, seed), predicted(200, seed).assign(probability=predicted(200, seed + 7)["probability"])
    itself = compare(one, one, NO_POSITIONS, challengers_tried=1)
    assert itself.difference["auc"].value == 0
    assert decide(itself, LIMITS).effective == Deploy.KEEP_CHAMPION
    there = compare(one, other, NO_POSITIONS, challengers_tried=1).difference["auc"]
    back = compare(other, one, NO_POSITIONS, challengers_tried=1).difference["auc"]
    assert there.value == pytest.approx(-back.value)
    assert there.low == pytest.approx(-back.high)


@pytest.fixture(scope="module")
def lake(production_lake: Lake) -> Lake:
    return production_lake


def test_the_steps_are_months() -> None:
    since, until = pd.Timestamp("2015-06-23 20:00", tz="UTC"), pd.Timestamp("2015-09-24", tz="UTC")
    assert [str(day) for day in steps(since, until)] == ["2015-06-24", "2015-07-24", "2015-08-24"]
    assert steps(until, until) == []


def test_each_step_is_scored_by_a_model_that_knew_nothing_of_it(lake: Lake) -> None:
    source, recipe = described(lake), Recipe()
    since, until = cutoff(LAST), moment_of(Day.parse("2015-12-20"))
    walked = walk_monthly(recipe, lake, source, since, until)
    table = lake.read("feature_table", [LAST])
    due = table[(table["as_of"] > since) & (table["as_of"] < until)]
    assert set(walked["event"]) == set(due["event"])
    assert walked["trained_on"].nunique() >= 2
    for day, rows in walked.groupby("trained_on"):
        dataset = gather_dataset(lake, source, Day.parse(str(day)), Settings())
        moment = moment_of(Day.parse(str(day)))
        assert dataset.frame["label_available_at"].max() <= moment <= rows["as_of"].min()
        assert dataset.frame["as_of"].max() <= moment
        model = train(dataset)
        assert isinstance(model, Bundle)
        expected = model.predict(table.set_index("event").loc[rows["event"]])
        assert (rows["probability"].to_numpy() == expected).all()
    early = walk_monthly(recipe, lake, source, since, pd.Timestamp("2015-11-02", tz="UTC"))
    again = walked.set_index("event").loc[early["event"]]
    assert (again["probability"].to_numpy() == early["probability"].to_numpy()).all()
    assert early["label"].isna().any()


def test_refits_that_were_made_serve_again_and_no_other_settings(lake: Lake) -> None:
    source, refits = described(lake), {}
    since, until, later = (pd.Timestamp(day, tz="UTC") for day in ("2015-09-01", "2015-11-02", "2015-12-01"))
    walk_monthly(Recipe(Settings(), refits), lake, source, since, until)
    before = dict(refits)
    again = walk_monthly(Recipe(Settings(), refits), lake, source, since, later)
    pd.testing.assert_frame_equal(again, walk_monthly(Recipe(Settings()), lake, source, since, later))
    assert before
    assert all(refits[made] is model for made, model in before.items())
    walk_monthly(Recipe(Settings(window_months=12), refits), lake, source, since, until)
    assert len(refits) > len(before) + 1


def test_a_day_trains_as_a_quarter_does_and_what_comes_later_changes_nothing(lake: Lake, tmp_path) -> None:
    source, day = described(lake), Day.parse("2015-11-10")
    whole = gather_dataset(lake, source, day, Settings())
    of_quarter = gather_dataset(lake, source, LAST, Settings())
    assert len(whole.frame) > len(of_quarter.frame)
    assert set(of_quarter.frame["event"]) <= set(whole.frame["event"])
    shorter = gather_dataset(lake, source, day, Settings(window_months=12))
    assert shorter.frame["as_of"].min() > moment_of(day) - pd.DateOffset(months=12)
    assert whole.lineage["dataset_version"].startswith("v2015.1110+")
    model = train(whole)
    assert isinstance(model, Bundle)
    stored = Lake(str(tmp_path))
    saved = save(stored, model)
    assert (saved.version, saved.until) == ("v2015.1110.0", day)
    assert load(stored, "v2015.1110.0") == saved


def test_cutoffs_have_names() -> None:
    assert parse_cutoff("2015-11-10") == Day(pd.Timestamp("2015-11-10"))
    assert parse_cutoff("2015-Q4") == LAST
    assert (version_stem(LAST), version_stem(Day.parse("2015-01-05"))) == ("v2015.4", "v2015.105")
