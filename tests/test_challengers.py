"""A challenger's way: judged forward and in shadow, promoted where it is better, refused where it is worse."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from ledgers import decision
from living import SMALL, begun, decide_on, moment, nothing_scored, retrain, served, started
from production import CHAMPION, PREVIOUS, copied, damaged

from earlysignal_core import daily, operations
from earlysignal_core.datasets.cutoff import Day, moment_of
from earlysignal_core.datasets.gather import gather_dataset
from earlysignal_core.evaluation.comparison import Deploy
from earlysignal_core.lake import Lake
from earlysignal_core.ledger import ab_tests, alerts, days, decisions, deployments, predictions, ramps
from earlysignal_core.ledger.connection import Ledger
from earlysignal_core.ledger.deployments import ChampionChangedError
from earlysignal_core.ledger.errors import LedgerError
from earlysignal_core.ledger.vocabulary import ABTestStatus, Arm, DecisionKind, JudgedBy
from earlysignal_core.models import bundle as bundles
from earlysignal_core.models.bundle import Bundle
from earlysignal_core.production import Hour, Production
from earlysignal_core.quarters import Quarter
from earlysignal_core.serving import challengers, judging, trials
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


def test_one_that_is_really_better_begins_a_ramp_with_its_figures(lake: Lake, tmp_path: Path, ledger: Ledger) -> None:
    production = after(lake, tmp_path, ledger, BAD)
    assert retrain(production) is DecisionKind.RAMP
    champion, step = deployments.champion(ledger), ramps.running(ledger)
    assert champion is not None
    assert step is not None
    assert (champion.version, step.version, step.traffic_share) == (BAD, "v2015.1102.0", 10)
    assert kinds(ledger) == ["retrain", "shadow", "ramp"]
    figures = decisions.read(ledger)["figures"].iloc[-1]
    assert figures["events"] >= 40
    assert figures["challengers_tried"] == 1
    assert figures["auc_difference"] == pytest.approx(figures["walk_forward_auc"] - figures["champion_auc"])
    assert figures["auc_difference"] > 0.05
    assert 0.5 < figures["walk_forward_auc_low"] < figures["walk_forward_auc"]
    assert figures["auc_difference_low"] > -0.02
    told = alerts.read(ledger).set_index("key").loc["ramp:v2015.1102.0"]
    assert told["title"] == "v2015.1102.0 takes a growing share of the answers"


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


def test_its_shadow_scores_count_and_begin_its_ramp_on_the_first_session_of_a_week(
    lake: Lake, tmp_path: Path, ledger: Ledger
) -> None:
    production = begun(lake, tmp_path, ledger, BAD)
    challengers.enter(ledger, GOOD, "x", moment("2015-07-02"))
    production.lake.write_bytes(f"forward/{GOOD}.parquet", nothing_scored(lake))
    served(production, "2015-07-03", "2015-10-28")
    decide_on(DAY, production)
    step = ramps.running(ledger)
    assert step is not None
    assert (step.version, step.since) == (GOOD, AT)
    figures = decisions.read(ledger, kind=DecisionKind.RAMP)["figures"].iloc[-1]
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
        assert "ramp" in kinds(ledger)
        return
    (found,) = decisions.read(ledger, kind=DecisionKind.UNDECIDED).to_dict("records")
    assert "promotions are stopped; otherwise it would serve" in found["cause"]
    assert [each.version for each in deployments.challengers(ledger)] == [GOOD]
    (told,) = alerts.read(ledger).query("key == @key", local_dict={"key": f"undecided:{GOOD}"}).to_dict("records")
    assert "promotions are stopped" in told["body"]


def in_shadow(lake: Lake, folder: Path, ledger: Ledger, champion: str, *versions: str) -> Production:
    """Production with challengers that entered in July and have no forward scores."""
    production = begun(lake, folder, ledger, champion)
    for version in versions:
        deployments.shadow(ledger, version, decision(DecisionKind.SHADOW, moment("2015-07-02")))
        production.lake.write_bytes(f"forward/{version}.parquet", nothing_scored(lake))
    return production


def begun_test(ledger: Ledger, version: str, over: str, judged_by: JudgedBy = JudgedBy.AUC) -> ab_tests.ABTest:
    begun_by = decision(DecisionKind.AB_TEST, moment("2015-07-02 06:00"))
    return ab_tests.begin(ledger, version, begun_by, over=over, split=50, days=14, judged_by=judged_by)


@pytest.mark.parametrize(
    ("verdict", "split", "days", "judged_by"),
    [(Deploy.AB_TEST_14_DAYS, 50, 14, JudgedBy.AUC), (Deploy.AB_TEST_7_DAYS, 25, 7, JudgedBy.ACCURACY)],
)
def test_a_verdict_that_asks_for_a_test_begins_it_and_a_second_one_waits_its_turn(
    lake: Lake, tmp_path: Path, ledger: Ledger, verdict: Deploy, split: int, days: int, judged_by: JudgedBy
) -> None:
    production = in_shadow(lake, tmp_path, ledger, BAD, GOOD, PREVIOUS)
    served(production, "2015-07-03", "2015-10-28")
    for version, expected in ((GOOD, DecisionKind.AB_TEST), (PREVIOUS, DecisionKind.UNDECIDED)):
        judgement = judging.judge(ledger, production.lake, production.source, SMALL, version, AT)
        asked = replace(judgement, decision=replace(judgement.decision, effective=verdict))
        kind, _ = challengers.carry_out(ledger, asked, AT)
        assert kind is expected
    test = ab_tests.running(ledger)
    assert test is not None
    assert (test.champion_version, test.challenger_version) == (BAD, GOOD)
    assert (test.traffic_split, test.start_date, test.judged_by) == (split, AT, judged_by)
    assert test.assigned_until == AT + pd.Timedelta(days=days)
    waiting = {each.version: challengers.is_to_be_judged(ledger, each) for each in deployments.challengers(ledger)}
    assert waiting == {GOOD: False, PREVIOUS: False}, "each has had its look"
    assert challengers.begin_waiting_test(ledger, AT) is None
    operations.freeze(ledger, AT, reason="x", by="x")
    deployments.retire(ledger, GOOD, decision(DecisionKind.RETIREMENT, AT))
    assert challengers.begin_waiting_test(ledger, AT) is None
    operations.unfreeze(ledger, AT, reason="x", by="x")
    assert challengers.begin_waiting_test(ledger, AT) is not None
    test = ab_tests.running(ledger)
    assert test is not None
    assert (test.challenger_version, test.traffic_split) == (PREVIOUS, split)


def test_a_verdict_against_a_champion_that_has_gone_is_given_again(lake: Lake, tmp_path: Path, ledger: Ledger) -> None:
    in_shadow(lake, tmp_path, ledger, BAD, GOOD)
    waits = decision(DecisionKind.UNDECIDED, AT, effective=Deploy.AB_TEST_7_DAYS, subject=GOOD)
    decisions.record(ledger, waits)
    (deployed,) = deployments.challengers(ledger)
    assert not challengers.is_to_be_judged(ledger, deployed)
    deployments.promote(ledger, CHAMPION, decision(DecisionKind.PROMOTION, AT + pd.Timedelta(hours=1)), over=BAD)
    assert challengers.is_to_be_judged(ledger, deployed)
    assert challengers.begin_waiting_test(ledger, AT + pd.Timedelta(hours=2)) is None


def test_one_that_is_to_serve_at_once_ends_the_test_of_another(lake: Lake, tmp_path: Path, ledger: Ledger) -> None:
    production = in_shadow(lake, tmp_path, ledger, BAD, GOOD, PREVIOUS)
    begun_test(ledger, PREVIOUS, BAD)
    served(production, "2015-07-03", "2015-10-28")
    kind, _ = challengers.carry_out(
        ledger, judging.judge(ledger, production.lake, production.source, SMALL, GOOD, AT), AT
    )
    assert kind is DecisionKind.RAMP
    assert ab_tests.running(ledger) is None
    assert [(each.version, each.traffic_share) for each in deployments.challengers(ledger)] == [(GOOD, 10)]


@pytest.mark.parametrize(("champion", "challenger", "wins"), [(BAD, GOOD, True), (GOOD, BAD, False)])
def test_the_winner_of_a_test_is_promoted_and_the_loser_retired_on_the_day_that_judges(
    lake: Lake, tmp_path: Path, ledger: Ledger, champion: str, challenger: str, wins: bool
) -> None:
    few = SMALL.promotion.model_copy(update={"ab_test_large_beats": 6})
    # Another one that is judged on the same day against the champion that the test may replace.
    production = in_shadow(lake, tmp_path, ledger, champion, challenger, PREVIOUS)
    production = replace(production, settings=SMALL.model_copy(update={"promotion": few}))
    test = begun_test(ledger, challenger, champion)
    served(production, "2015-07-03", "2015-10-28")

    def looked(text: str) -> trials.Look:
        return trials.look(ledger, production.lake, production.source, few, test, moment(text))

    looks = [looked(f"{day:%Y-%m-%d}") for day in pd.date_range("2015-07-20", "2015-10-28", freq="14D")]
    first = next(place for place, seen in enumerate(looks) if seen.waits_for.startswith("nothing"))
    before, due = looks[first - 1 : first + 1]
    assert before.found.large_beats < 6 <= due.found.large_beats, "the number of large beats decides when"
    assert due.found.n == due.events["label"].notna().sum() > 20
    operations.freeze(ledger, moment("2015-07-03"), reason="x", by="x")
    assert trials.ending(ledger, production.lake, production.source, few, moment("2015-10-28")) is None
    operations.unfreeze(ledger, moment("2015-07-04"), reason="x", by="x")
    decide_on(DAY, production)
    (ended,) = ab_tests.history(ledger).to_dict("records")
    assert (ended["status"], ended["winner"]) == (ABTestStatus.COMPLETED, Arm.CHALLENGER if wins else Arm.CHAMPION)
    assert ended["end_date"] == AT
    serving = deployments.champion(ledger)
    assert serving is not None
    assert serving.version == (challenger if wins else champion)
    assert challenger not in [each.version for each in deployments.challengers(ledger)]
    made_of = decisions.read(ledger, since=moment("2015-11-01"))["subject"].tolist()
    assert (PREVIOUS in made_of) == (not wins), "judged anew in a week"
    (made,) = decisions.read(ledger, since=moment("2015-11-01")).query("rule == 'ranks better'").to_dict("records")
    assert made["kind"] == (DecisionKind.PROMOTION if wins else DecisionKind.RETIREMENT)
    assert (made["figures"]["auc_difference_low"] > 0) == wins
    better, worse = ended["challenger_metrics"]["auc"], ended["champion_metrics"]["auc"]
    assert (better > worse) == wins
    assert made["figures"]["auc_difference"] == pytest.approx(better - worse)


def test_without_enough_large_beats_a_test_is_closed_undecided_after_120_days(
    lake: Lake, tmp_path: Path, ledger: Ledger
) -> None:
    production = in_shadow(lake, tmp_path, ledger, BAD, GOOD)
    begun_test(ledger, GOOD, BAD)
    served(production, "2015-07-03", "2015-10-28")
    decide_on("2015-10-29", production)
    assert ab_tests.running(ledger) is not None
    decide_on("2015-10-30", production)
    (ended,) = ab_tests.history(ledger).to_dict("records")
    assert ended["status"] == ABTestStatus.COMPLETED
    assert pd.isna(ended["winner"])
    assert deployments.challengers(ledger) == []
    (made,) = decisions.read(ledger, kind=DecisionKind.RETIREMENT).to_dict("records")
    assert "undecided after 120 days" in made["cause"]
    assert "of 40 large beats are known" in made["cause"]


def test_what_was_judged_against_another_champion_is_not_carried_out(
    lake: Lake, tmp_path: Path, ledger: Ledger
) -> None:
    production = begun(lake, tmp_path, ledger, BAD)
    challengers.enter(ledger, GOOD, "x", moment("2015-07-02"))
    production.lake.write_bytes(f"forward/{GOOD}.parquet", nothing_scored(lake))
    served(production, "2015-07-03", "2015-10-28")
    judgement = judging.judge(ledger, production.lake, production.source, SMALL, GOOD, AT)
    promoted = decision(DecisionKind.PROMOTION, AT)
    deployments.promote(ledger, CHAMPION, promoted, over=BAD)
    before = kinds(ledger)
    with pytest.raises(ChampionChangedError):
        challengers.carry_out(ledger, judgement, AT)
    assert kinds(ledger) == before


def test_without_a_champion_nobody_is_judged(lake: Lake, tmp_path: Path, ledger: Ledger) -> None:
    production = Production(lake, ledger, SMALL)
    with pytest.raises(LedgerError, match="there is no champion"):
        judging.judge(ledger, lake, production.source, SMALL, GOOD, AT)


def test_a_newer_one_takes_the_place_of_one_that_waits_and_is_counted(
    lake: Lake, tmp_path: Path, ledger: Ledger
) -> None:
    begun(lake, tmp_path, ledger, BAD)
    assert challengers.enter(ledger, "v9.0.0", "a", moment("2015-10-01"))
    assert judging.tried_since_promotion(ledger) == 1
    assert challengers.enter(ledger, "v9.0.1", "b", moment("2015-10-02"))
    assert [each.version for each in deployments.challengers(ledger)] == ["v9.0.1"]
    assert judging.tried_since_promotion(ledger) == 2
    (retired,) = decisions.read(ledger, kind=DecisionKind.RETIREMENT).to_dict("records")
    assert (retired["subject"], retired["cause"]) == ("v9.0.0", "overtaken by v9.0.1")
    before = decisions.read(ledger)
    assert not challengers.enter(ledger, "v9.0.1", "again", moment("2015-10-03"))
    assert not challengers.enter(ledger, BAD, "again", moment("2015-10-03"))
    assert len(decisions.read(ledger)) == len(before)
    promoted = decision(DecisionKind.PROMOTION, moment("2015-10-04"))
    deployments.promote(ledger, "v9.0.1", promoted, over=BAD)
    assert judging.tried_since_promotion(ledger) == 0


def test_a_newer_one_takes_the_place_of_one_that_waits_but_not_of_one_that_is_tested(
    lake: Lake, tmp_path: Path, ledger: Ledger
) -> None:
    in_shadow(lake, tmp_path, ledger, BAD, GOOD, PREVIOUS)
    begun_test(ledger, GOOD, BAD)
    assert challengers.enter(ledger, "v9.0.0", "x", AT)
    assert [each.version for each in deployments.challengers(ledger)] == [GOOD, "v9.0.0"]
    test = ab_tests.running(ledger)
    assert test is not None
    ab_tests.complete(ledger, test, decision(DecisionKind.RETIREMENT, AT), None, {arm: {} for arm in Arm})
    ramps.begin(ledger, "v9.0.0", decision(DecisionKind.RAMP, AT), over=BAD)
    assert challengers.enter(ledger, "v9.0.1", "x", AT)
    standing = {each.version: each.traffic_share for each in deployments.challengers(ledger)}
    assert standing == {"v9.0.0": 10, "v9.0.1": 0}


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
    assert (walked["event"].map(known) <= Hour.CHALLENGE.of(pd.Timestamp(DAY))).all()
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
