"""The verdict, its summary and the page: complete, deterministic, honest where there is nothing to say."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_limits

from earlysignal_core.errors import TableError
from earlysignal_core.evaluation import plots
from earlysignal_core.evaluation.findings import findings, interval, percent
from earlysignal_core.evaluation.glossary import FIGURES, RETURNS, TOP_DECILE
from earlysignal_core.evaluation.judge import BASELINES, Evaluation, WalkForward, evaluate, walk_forward
from earlysignal_core.evaluation.metrics import HARDER, figures
from earlysignal_core.evaluation.report import render
from earlysignal_core.evaluation.resampling import Figure
from earlysignal_core.evaluation.summary import Context, summary, to_json
from earlysignal_core.quarters import Quarter
from earlysignal_core.trading_calendar import as_of, sessions

FIRST, LAST = Quarter(2016, 1), Quarter(2017, 2)
CONTEXT = Context(
    source="made up",
    assumptions=["universe known as of <today>"],
    assume_final_consensus_known=False,
    inactive={"iv_rank": "needs the table `options`"},
    left_out={"2015-Q4": "no model yet: 3 labelled examples"},
    importance={"large_beat_rate_8q": 0.6, "rsi_momentum": 0.4},
    audit={"level_shift": 21},
)


def made_up(companies=40, edge=0.0, seed=0):
    """Predictions of six quarters, one an announcement and company, and the daily returns of their windows."""
    random = np.random.default_rng(seed)
    symbol = [f"C{number:02}" for number in range(companies)]
    habit = random.normal(-2.0, 1.3, companies)
    quarters = []
    for quarter in Quarter.range(FIRST, LAST):
        day = quarter.start + pd.to_timedelta(random.integers(10, 80, companies), unit="D")
        chance = 1 / (1 + np.exp(-habit))
        label = (random.random(companies) < chance).astype(float)
        known = 1 / (1 + np.exp(-(habit + random.normal(0, 0.5, companies))))
        rough = np.where(random.random(companies) < 0.1, np.nan, known.round(1))
        logistic = 1 / (1 + np.exp(-(habit + random.normal(0, 1.5, companies))))
        quarters.append(
            pd.DataFrame(
                {
                    "event": [f"{name}:{quarter}" for name in symbol],
                    "symbol": symbol,
                    "announced_on": day,
                    "session": None,
                    "as_of": as_of(day),
                    "label": label,
                    "surprise": np.where(label == 1, 30.0, np.where(random.random(companies) < 0.2, -30.0, 1.0)),
                    "probability": known,
                    "threshold": 0.3,
                    "version": f"v{quarter.year}.{quarter.number}.0",
                    "never": 0.15,
                    "large_beat_rate_8q": rough,
                    "last_surprise_over_15": (random.random(companies) < chance).astype(float),
                    "logistic_history": logistic,
                    "return_7d": random.normal(0, 0.03, companies),
                    "benchmark_7d": 0.0,
                    "return_reaction": random.normal(0, 0.03, companies) + edge * (known > 0.3),
                    "benchmark_reaction": 0.001,
                }
            )
        )
    predictions = pd.concat(quarters, ignore_index=True)
    session = sessions()[sessions().searchsorted(predictions["announced_on"])]
    positions = pd.DataFrame(
        {
            "event": predictions["event"],
            "session": session,
            "gross": predictions["return_reaction"],
            "benchmark": predictions["benchmark_reaction"],
            "sides": 2.0,
        }
    )
    return predictions, positions


def walked(predictions, positions):
    quarters = []
    for quarter in Quarter.range(FIRST, LAST):
        within = predictions["announced_on"].between(quarter.start, quarter.end)
        before = predictions["announced_on"] < quarter.start
        quarters.append(
            evaluate(predictions[within], positions, name=str(quarter), earlier=predictions[before], cost_bps=10)
        )
    return walk_forward(quarters, predictions, positions, untouched_from=Quarter(2017, 1))


@pytest.fixture(scope="module")
def judged() -> WalkForward:
    return walked(*made_up())


@pytest.fixture(scope="module")
def nothing() -> WalkForward:
    predictions, positions = made_up()
    empty = evaluate(predictions[:0], positions, name="2016-Q1")
    return WalkForward([empty], empty, empty, Quarter(2017, 1))


@pytest.fixture(scope="module")
def page(judged) -> str:
    return render(judged, CONTEXT)


def test_a_quarter_and_the_whole_are_judged_alike(judged):
    predictions, _ = made_up()
    assert [quarter.model.n for quarter in judged.quarters] == [40] * 6
    assert judged.pooled.model.n == 240
    direct = figures(predictions["label"], predictions["probability"], 0.3, predictions["symbol"], known_base_rate=0.15)
    assert judged.pooled.model["auc"].value == pytest.approx(direct["auc"].value)
    assert set(judged.pooled.baselines) == set(BASELINES)
    assert judged.pooled.baselines["never"].figures["auc"].value == 0.5
    assert judged.pooled.baselines["large_beat_rate_8q"].filled == predictions["large_beat_rate_8q"].isna().sum()


def test_json_is_the_same_for_the_same_rows_in_any_order(judged):
    predictions, positions = made_up()
    shuffled = predictions.sample(frac=1, random_state=1)
    again = evaluate(shuffled, positions.sample(frac=1, random_state=2), name="pooled")
    assert again.to_json() == judged.pooled.to_json()
    assert Evaluation.from_json(again.to_json()).to_json() == again.to_json()
    assert "NaN" not in again.to_json()


def test_json_does_not_depend_on_the_number_of_threads(judged):
    with threadpool_limits(1):
        assert evaluate(*made_up(), name="pooled").to_json() == judged.pooled.to_json()


def test_the_top_decile_of_a_quarter_is_told_by_those_before_it(judged):
    first, last = judged.quarters[0], judged.quarters[-1]
    assert first.top_decile.judged == 0
    assert first.top_decile.precision.reason == "nothing could be judged"
    assert first.portfolio.events == 0
    assert last.top_decile.judged == 40
    selected = sum(quarter.top_decile.selected for quarter in judged.quarters)
    assert judged.pooled.top_decile.selected == selected > 0


def test_later_quarters_change_nothing_in_an_earlier_one(judged):
    predictions, positions = made_up()
    within = predictions["announced_on"].between(Quarter(2016, 4).start, Quarter(2016, 4).end)
    again = evaluate(predictions[within], positions, name="2016-Q4", earlier=predictions, cost_bps=10)
    assert again.to_json() == judged.quarters[3].to_json()


def test_untouched_quarters_stand_apart(judged):
    assert judged.untouched.model.n == 80
    assert judged.untouched.first >= "2017-01-01"
    assert judged.untouched.top_decile.judged == 80


def test_outcomes_that_cannot_be_known_count_in_returns_only():
    predictions, positions = made_up()
    unknown = predictions["event"].isin(predictions["event"][::7])
    found = evaluate(predictions.assign(label=predictions["label"].mask(unknown)), positions, name="pooled")
    whole = evaluate(predictions, positions, name="pooled")
    assert (found.unlabelled, found.model.n) == (unknown.sum(), (~unknown).sum())
    assert found.returns["reaction"] == whole.returns["reaction"]


def test_companies_with_two_share_classes_are_one():
    predictions, positions = made_up()
    paired = predictions.assign(company=predictions["symbol"].str[:-1])
    assert evaluate(paired, positions, name="pooled").model.companies == 4
    alone = paired.assign(company=paired["company"].where(paired["symbol"] < "C10"))
    assert evaluate(alone, positions, name="pooled").model.companies == 31
    assert evaluate(predictions, positions, name="pooled").model.companies == 40


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda rows: rows.drop(columns="logistic_history"), r"lacks the column\(s\) logistic_history"),
        (lambda rows: rows.assign(probability=rows["probability"].mask(rows.index == 3)), "`probability` is missing"),
        (lambda rows: pd.concat([rows, rows[:1]]), "appears more than once"),
    ],
)
def test_predictions_that_cannot_be_judged_are_refused(spoil, message):
    predictions, positions = made_up()
    with pytest.raises(TableError, match=message):
        evaluate(spoil(predictions), positions, name="2016-Q1")


def test_the_harder_questions_stand_beside_the_headline_with_n_interval_and_baseline(judged, page):
    content = json.loads(to_json(summary(judged, CONTEXT, {})))
    for name in HARDER:
        for stretch in (content, *content["quarters"], content["untouched"], content["baselines"]["never"]):
            assert {name, f"{name}_low", f"{name}_high", f"{name}_n"} <= set(stretch)
        assert content["baselines"]["never"][name] == 0.5
        difference = judged.pooled.baselines["never"].difference[name]
        assert difference.value == pytest.approx(judged.pooled.model[name].value - 0.5)
        tile = page[page.index('class="tiles"') : page.index('id="findings"')]
        assert f"{content[name]:.3f}" in tile
        assert f"n = {content[f'{name}_n']:,}" in tile


def test_evaluations_with_other_figures_are_refused_with_a_remedy(judged):
    older = json.loads(judged.pooled.to_json())
    del older["model"]["rows_behind"]
    with pytest.raises(TableError, match="Remedy: materialise the evaluations again"):
        Evaluation.from_json(json.dumps(older))


def test_summary_holds_what_the_demo_promises(judged):
    content = json.loads(to_json(summary(judged, CONTEXT, {"caches": 1.234})))
    promised = {"n", "base_rate", "auc", "auc_low", "auc_high", "average_precision", "precision_top10"}
    promised |= {"brier", "brier_base_rate", "ece"}
    assert promised | {"source", "assumptions", "quarters", "baselines", "inactive_features", "seconds"} <= set(content)
    assert content["auc"] == judged.pooled.model["auc"].value
    assert content["seconds"] == {"caches": 1.23}
    assert [quarter["quarter"] for quarter in content["quarters"]] == [str(q) for q in Quarter.range(FIRST, LAST)]
    assert all(promised <= set(each) for each in [*content["quarters"], *content["baselines"].values()])
    assert content["quarters"][0]["precision_top10"] is None
    assert set(content["baselines"]) == set(BASELINES)


class _References(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.open: list[str] = []
        self.pictures: list[dict[str, str | None]] = []

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "img"):
            self.open.append(tag)
        else:
            self.pictures += [dict(attrs)] if tag == "img" else []
        self.found += [value for name, value in attrs if name in ("src", "href", "srcset", "data") and value]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_stands_alone_and_is_well_formed(page):
    references = _References()
    references.feed(page)
    assert references.open == []
    assert all(each.startswith(("data:image/png;base64,", "#")) for each in references.found)
    assert "@import" not in page
    assert "http" not in re.sub(r"base64,[^\"]+", "", page)
    assert len(references.pictures) == 7
    assert all(picture["alt"] for picture in references.pictures)
    for anchor in [each for each in references.found if each.startswith("#")]:
        assert f'id="{anchor[1:]}"' in page


def test_the_page_says_what_it_must(judged, page):
    for text in ("made up", "2015-Q4", "no model yet: 3 labelled examples", "iv_rank", "level_shift", "2017-Q2"):
        assert text in page
    assert "universe known as of &lt;today&gt;" in page
    assert f"{judged.pooled.model['auc'].value:.3f}" in page
    for definition in (*FIGURES.values(), *RETURNS.values()):
        assert definition.title in page
    assert page == render(judged, CONTEXT)


def test_the_documentation_holds_every_definition():
    text = " ".join((Path(__file__).parents[1] / "docs" / "metrics.md").read_text().split())
    for definition in (*FIGURES.values(), *TOP_DECILE.values(), *RETURNS.values()):
        assert f"**{definition.title}**: {definition.text}" in text


def test_an_assumed_consensus_stands_in_the_headline(judged, page):
    assert "final consensus is assumed known" not in page
    assumed = render(judged, replace(CONTEXT, assume_final_consensus_known=True))
    assert "final consensus is assumed known" in re.search(r"<h1>.*?</h1>", assumed)[0]


def test_a_page_without_any_announcement_says_so(nothing):
    page = render(nothing, replace(CONTEXT, importance={}, audit={}, inactive={}, assumptions=[]))
    assert "No announcement could be judged." in page
    assert "nan" not in re.sub(r"base64,[^\"]+", "", page)
    assert json.loads(to_json(summary(nothing, CONTEXT, {})))["auc"] is None


def claims(judged):
    return [finding.claim for finding in findings(judged)]


def test_findings_claim_no_more_than_the_intervals_bear(judged, nothing):
    assert "The top 10 % earned no reliable excess return." in claims(judged)
    assert "It tells likely large beats from unlikely ones." in claims(judged)
    assert findings(nothing) == []


@pytest.mark.parametrize(
    ("net_low", "sharpe_low", "earned"), [(0.001, 0.2, True), (-0.001, 0.2, False), (0.001, -0.2, False)]
)
def test_an_excess_return_is_claimed_only_where_both_intervals_bear_it(judged, net_low, sharpe_low, earned):
    pooled = judged.pooled
    reaction = pooled.returns["reaction"].model_copy(update={"net": Figure(value=0.01, low=net_low, high=0.02)})
    sharpe = {"sharpe": Figure(value=1.0, low=sharpe_low, high=2.0)}
    portfolio = pooled.portfolio.model_copy(update={"figures": pooled.portfolio.figures | sharpe})
    changed = pooled.model_copy(update={"returns": pooled.returns | {"reaction": reaction}, "portfolio": portfolio})
    assert ("The top 10 % earned an excess return." in claims(replace(judged, pooled=changed))) is earned


def test_findings_see_a_return_that_is_there():
    assert "The top 10 % earned an excess return." in claims(walked(*made_up(companies=80, edge=0.06)))


def test_findings_tell_a_model_that_knows_nothing():
    predictions, positions = made_up()
    guess = np.random.default_rng(5).random(len(predictions))
    found = claims(walked(predictions.assign(probability=guess), positions))
    assert "It does not reliably rank better than a coin." in found
    assert "A simple rule ranks better." in found
    assert "Its probabilities are worse than naming the base rate." in found
    assert "It did not show in every quarter." in found


def test_numbers_are_written_for_people():
    assert percent(-0.0123, 2) == "−1.23\u202f%"
    assert percent(np.nan) == "–"
    assert interval(Figure(value=0.5, low=-0.1, high=0.75)) == "−0.100 to 0.750"
    assert interval(Figure(value=0.5, reason="few")) == ""


def test_pictures_are_small_and_always_the_same(judged, nothing):
    for evaluation in (judged.pooled, judged.quarters[0], nothing.pooled):
        for draw in (
            plots.roc,
            plots.precision_recall,
            plots.calibration,
            plots.confusion,
            plots.cumulative_excess,
            plots.panel,
        ):
            png = draw(evaluation)
            assert png.startswith(b"\x89PNG")
            assert len(png) < 40_000, draw.__name__
    drawn = plots.by_quarter(judged.quarters, judged.pooled)
    assert len(drawn) < 40_000
    assert drawn == plots.by_quarter(judged.quarters, judged.pooled)
    assert plots.importance({}).startswith(b"\x89PNG")
    assert plots.by_quarter([], nothing.pooled).startswith(b"\x89PNG")
