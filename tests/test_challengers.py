"""A challenger's way: judged forward and in shadow, promoted where it is better, refused where it is worse."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from ledgers import decision
from living import SMALL, begun, decide_on, moment, nothing_scored, retrain, served, started
from production import CHAMPION, PREVIOUS, copied, damaged

from earlysignal_core import daily, operations
from earlysignal_core.daily import Production
from earlysignal_core.datasets.cutoff import Day, moment_of
from earlysignal_core.datasets.gather import gather_dataset
from earlysignal_core.evaluation.comparison import Deploy
from earlysignal_core.lake import Lake
from earlysignal_core.ledger import alerts, days, decisions, deployments, predictions
from earlysignal_core.ledger.connection import Ledger
from earlysignal_core.ledger.deployments import ChampionChangedError
from earlysignal_core.ledger.errors import LedgerError
from earlysignal_core.ledger.vocabulary import DecisionKind
from earlysignal_core.models import bundle as bundles
from earlysignal_core.models.bundle import Bundle
from earlysignal_core.quarters import Quarter
from earlysignal_core.serving import challengers
from earlysignal_core.settings import Settings

BAD, GOOD = "v1.0.0", "v1.0.1"
# The champions of these tests all knew what PREVIOUS knew.
DAY = "2015-11-02"
TURNED = {"kind": "platt", "slope": -1.0, "intercept": 0.0, "evidence": 99.0}
AT = moment(DAY) + pd.Timedelta(hours=6)


@pytest.fixture(scope="module")
def lake(production_lake: Lake, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """With a champion that ranks the wrong way round, and one that is as good as can be."""
    made = copied(production_lake, tmp_path_factory.mktemp("challengers") / "lake")
    damaged(made, PREVIOUS, BAD, calibration=TURNED)
    damaged(made, PREVIOUS, GOOD)
    return made


def after(lake: Lake, folder: Path, ledger: Ledger, version: str, settings: Settings = SMALL) -> Production:
    """Production after a champion has served for four months, and a retrain has been asked for."""
    production = begun(lake, folder, ledger, version, settings=settings)
    served(production, "2015-06-24", "2015-10-28")
    decide_on(DAY, production)
    return production


def kinds(ledger: Ledger) -> list[str]:
    return decisions.read(ledger, since=moment("2015-11-01"))["kind"].tolist()


def test_one_that_is_really_better_is_promoted_with_its_figures(lake: Lake, tmp_path: Path, ledger: Ledger) -> None:
    production = after(lake, tmp_path, ledger, BAD)
    assert retrain(production) is DecisionKind.PROMOTION
    champion, before = deployments.champion(ledger), deployments.previous_champion(ledger)
    assert champion is not None
    assert before is not None
    assert (champion.version, before.version) == ("v2015.1102.0", BAD)
    assert deployments.challengers(ledger) == []
    assert kinds(ledger) == ["retrain", "shadow", "promotion"]
    figures = decisions.read(ledger)["figures"].iloc[-1]
    assert figures["events"] >= 40
    assert figures["challengers_tried"] == 1
    assert figures["auc_difference"] == pytest.approx(figures["walk_forward_auc"] - figures["champion_auc"])
    assert figures["auc_difference"] > 0.05
    assert 0.5 < figures["walk_forward_auc_low"] < figures["walk_forward_auc"]
    assert figures["auc_difference_low"] > -0.02
    told = alerts.read(ledger).set_index("key").loc["promotion:v2015.1102.0"]
    assert told["title"] == "v2015.1102.0 serves"


def test_without_common_events_it_is_undecided_and_judged_again_each_week(
    lake: Lake, tmp_path: Path, ledger: Ledger
) -> None:
    production = begun(lake, tmp_path, ledger, BAD)
    challengers.enter(ledger, "v9.0.0", "x", moment("2015-11-06 07:00"))
    production.lake.write_bytes("forward/v9.0.0.parquet", nothing_scored(lake))
    for day in pd.date_range("2015-11-07", "2015-11-17"):
        decide_on(f"{day:%Y-%m-%d}", production)
    found = decisions.read(ledger, kind=DecisionKind.UNDECIDED)
    assert found["day"].tolist() == [pd.Timestamp("2015-11-09"), pd.Timestamp("2015-11-16")]
    assert found["cause"].str.contains("on 0 events: no AUC to compare").all()
    assert (found["subject"] == "v9.0.0").all()
    assert [each.version for each in deployments.challengers(ledger)] == ["v9.0.0"]
    assert alerts.read(ledger)["key"].tolist().count("undecided:v9.0.0") == 2


def test_its_shadow_scores_count_and_promote_it_on_the_first_session_of_a_week(
    lake: Lake, tmp_path: Path, ledger: Ledger
) -> None:
    production = begun(lake, tmp_path, ledger, BAD)
    challengers.enter(ledger, GOOD, "x", moment("2015-07-02"))
    production.lake.write_bytes(f"forward/{GOOD}.parquet", nothing_scored(lake))
    served(production, "2015-07-03", "2015-10-28")
    decide_on(DAY, production)
    champion = deployments.champion(ledger)
    assert champion is not None
    assert (champion.version, champion.since) == (GOOD, AT)
    figures = decisions.read(ledger, kind=DecisionKind.PROMOTION)["figures"].iloc[-1]
    said = predictions.read(ledger, moment("2015-06-01"), AT, versions=[GOOD])
    labels = lake.read("labels", [Quarter.parse(f"2015-Q{number}") for number in (2, 3, 4)])
    labels = labels[labels["event"].isin(said["event"]) & labels["label"].notna()]
    known = labels[labels["available_at"] <= AT]
    assert 40 <= len(known) < len(labels)
    assert figures["events"] == len(known), "what is not known yet does not count"
    assert figures["large_beats"] == known["label"].sum()


def test_one_that_ranks_the_wrong_way_round_is_refused(lake: Lake, tmp_path: Path, ledger: Ledger) -> None:
    production = begun(lake, tmp_path, ledger, GOOD)
    challengers.enter(ledger, BAD, "x", moment("2015-07-02"))
    production.lake.write_bytes(f"forward/{BAD}.parquet", nothing_scored(lake))
    served(production, "2015-07-03", "2015-10-28")
    decide_on(DAY, production)
    assert kinds(ledger)[:2] == ["refusal", "retirement"]
    assert deployments.challengers(ledger) == []
    told = alerts.read(ledger).set_index("key").loc[f"refusal:{BAD}"]
    assert told["title"] == f"{BAD} is refused"


@pytest.mark.parametrize("is_frozen", [True, False])
def test_a_freeze_keeps_it_in_shadow_and_says_why(lake: Lake, tmp_path: Path, ledger: Ledger, is_frozen: bool) -> None:
    production = begun(lake, tmp_path, ledger, BAD)
    challengers.enter(ledger, GOOD, "x", moment("2015-07-02"))
    production.lake.write_bytes(f"forward/{GOOD}.parquet", nothing_scored(lake))
    served(production, "2015-07-03", "2015-10-28")
    operations.freeze(ledger, moment("2015-10-29"), reason="vendor is down", by="x")
    if not is_frozen:
        operations.unfreeze(ledger, moment("2015-10-30"), reason="vendor is back", by="x")
    decide_on(DAY, production)
    if not is_frozen:
        assert "promotion" in kinds(ledger)
        return
    (found,) = decisions.read(ledger, kind=DecisionKind.UNDECIDED).to_dict("records")
    assert "promotions are stopped; otherwise it would serve" in found["cause"]
    assert [each.version for each in deployments.challengers(ledger)] == [GOOD]
    (told,) = alerts.read(ledger).query("key == @key", local_dict={"key": f"undecided:{GOOD}"}).to_dict("records")
    assert "promotions are stopped" in told["body"]


def test_an_ab_verdict_keeps_the_champion_and_the_challenger_in_shadow(
    lake: Lake, tmp_path: Path, ledger: Ledger
) -> None:
    production = begun(lake, tmp_path, ledger, CHAMPION)
    challengers.enter(ledger, GOOD, "x", moment("2015-09-01"))
    production.lake.write_bytes(f"forward/{GOOD}.parquet", nothing_scored(lake))
    served(production, "2015-09-24", "2015-12-01")
    judgement = challengers.judge(ledger, production.lake, production.source, SMALL, GOOD, moment("2015-12-10"))
    asked = replace(judgement, decision=replace(judgement.decision, effective=Deploy.AB_TEST_14_DAYS))
    kind, _ = challengers.carry_out(ledger, asked, moment("2015-12-10"))
    assert kind is DecisionKind.AB_TEST
    champion = deployments.champion(ledger)
    assert champion is not None
    assert champion.version == CHAMPION
    assert [each.version for each in deployments.challengers(ledger)] == [GOOD]


def test_what_was_judged_against_another_champion_is_not_carried_out(
    lake: Lake, tmp_path: Path, ledger: Ledger
) -> None:
    production = begun(lake, tmp_path, ledger, BAD)
    challengers.enter(ledger, GOOD, "x", moment("2015-07-02"))
    production.lake.write_bytes(f"forward/{GOOD}.parquet", nothing_scored(lake))
    served(production, "2015-07-03", "2015-10-28")
    judgement = challengers.judge(ledger, production.lake, production.source, SMALL, GOOD, AT)
    promoted = decision(DecisionKind.PROMOTION, AT)
    deployments.promote(ledger, CHAMPION, promoted, over=BAD)
    before = kinds(ledger)
    with pytest.raises(ChampionChangedError):
        challengers.carry_out(ledger, judgement, AT)
    assert kinds(ledger) == before


def test_without_a_champion_nobody_is_judged(lake: Lake, tmp_path: Path, ledger: Ledger) -> None:
    production = Production(lake, ledger, SMALL)
    with pytest.raises(LedgerError, match="there is no champion"):
        challengers.judge(ledger, lake, production.source, SMALL, GOOD, AT)


def test_a_newer_one_takes_the_place_of_one_that_waits_and_is_counted(
    lake: Lake, tmp_path: Path, ledger: Ledger
) -> None:
    begun(lake, tmp_path, ledger, BAD)
    assert challengers.enter(ledger, "v9.0.0", "a", moment("2015-10-01"))
    assert challengers.tried_since_promotion(ledger) == 1
    assert challengers.enter(ledger, "v9.0.1", "b", moment("2015-10-02"))
    assert [each.version for each in deployments.challengers(ledger)] == ["v9.0.1"]
    assert challengers.tried_since_promotion(ledger) == 2
    (retired,) = decisions.read(ledger, kind=DecisionKind.RETIREMENT).to_dict("records")
    assert (retired["subject"], retired["cause"]) == ("v9.0.0", "overtaken by v9.0.1")
    before = decisions.read(ledger)
    assert not challengers.enter(ledger, "v9.0.1", "again", moment("2015-10-03"))
    assert not challengers.enter(ledger, BAD, "again", moment("2015-10-03"))
    assert len(decisions.read(ledger)) == len(before)
    promoted = decision(DecisionKind.PROMOTION, moment("2015-10-04"))
    deployments.promote(ledger, "v9.0.1", promoted, over=BAD)
    assert challengers.tried_since_promotion(ledger) == 0


def test_the_same_inputs_again_are_no_new_challenger(lake: Lake, tmp_path: Path, ledger: Ledger) -> None:
    production = after(lake, tmp_path, ledger, GOOD, Settings())  # too few events to decide
    assert retrain(production) is DecisionKind.UNDECIDED
    operations.ask_for_retrain(ledger, lake, AT, reason="x", by="x", window_months=24)
    assert retrain(production) is DecisionKind.REFUSAL
    assert "the same inputs gave v2015.1102.0" in decisions.read(ledger)["cause"].iloc[-1]
    assert [each.version for each in deployments.challengers(ledger)] == ["v2015.1102.0"]


def test_the_walk_never_trains_on_what_it_scores(lake: Lake, tmp_path: Path, ledger: Ledger) -> None:
    production = after(lake, tmp_path, ledger, BAD)
    request = started(production)
    model = daily.retrain(pd.Timestamp(DAY), production, request)
    assert isinstance(model, Bundle)
    walked = pd.read_parquet(Path(production.lake.url) / f"forward/{model.version}.parquet")
    since = moment_of(bundles.cutoff_of(lake, BAD))
    assert (walked["as_of"] > since).all()
    assert walked["label"].notna().all(), "of the others a live source has no row"
    labels = lake.read("labels", [Quarter.of(walked["announced_on"].min()), Quarter.of(walked["announced_on"].max())])
    known = labels.drop_duplicates("event").set_index("event")["available_at"]
    assert (walked["event"].map(known) <= daily.Hour.CHALLENGE.of(pd.Timestamp(DAY))).all()
    recipe = production.recipe(request.window_months)
    for day, rows in walked.groupby("trained_on"):
        learned = gather_dataset(lake, production.source, Day.parse(str(day)), recipe).frame
        assert not set(learned["event"]) & set(rows["event"])
        assert learned["label_available_at"].max() <= rows["as_of"].min()
        assert learned["as_of"].min() > moment(str(day)) - pd.DateOffset(months=24)


def test_a_retrain_learns_from_its_window(lake: Lake, tmp_path: Path, ledger: Ledger) -> None:
    production = begun(lake, tmp_path, ledger, BAD)
    decide_on("2015-10-29", production)
    operations.ask_for_retrain(ledger, lake, moment("2015-10-29 06:00"), reason="x", by="x", window_months=18)
    request = started(production)
    model = daily.retrain(pd.Timestamp("2015-10-29"), production, request)
    assert isinstance(model, Bundle)
    whole = gather_dataset(lake, production.source, Day.parse("2015-10-29"), SMALL).frame
    since = moment("2015-10-29") - pd.DateOffset(months=18)
    assert model.metadata["rows"] == (whole["as_of"] >= since).sum() < len(whole)


def test_a_champion_of_a_later_quarter_leaves_nothing_to_walk(lake: Lake, tmp_path: Path, ledger: Ledger) -> None:
    production = begun(lake, tmp_path, ledger, CHAMPION)
    decide_on("2015-09-01", production)
    operations.ask_for_retrain(ledger, lake, moment("2015-09-01 07:00"), reason="x", by="x")
    assert retrain(production) is DecisionKind.UNDECIDED


def test_one_that_entered_after_a_day_is_not_judged_on_it(lake: Lake, tmp_path: Path, ledger: Ledger) -> None:
    """Live, a retrain by hand may come between days that are made up for."""
    production = begun(lake, tmp_path, ledger, BAD)
    challengers.enter(ledger, GOOD, "x", moment("2015-11-05 15:00"))
    production.lake.write_bytes(f"forward/{GOOD}.parquet", nothing_scored(lake))
    decide_on(DAY, production)
    assert kinds(ledger) == ["retrain", "shadow"] or kinds(ledger) == ["shadow", "retrain"]
    assert days.last_finished(ledger) == pd.Timestamp(DAY)
