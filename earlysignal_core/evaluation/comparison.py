"""Champion against challenger on the same events: paired differences, and the strategy's "When to deploy" as rules."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import pandas as pd

from earlysignal_core.evaluation.metrics import PAIRED, measure, paired
from earlysignal_core.evaluation.portfolio import sharpe_difference
from earlysignal_core.evaluation.resampling import Figure, Number, Record, Resamples, one_a_company, undefined, wider
from earlysignal_core.evaluation.top_decile import limits
from earlysignal_core.rules import Guard, Rule, Verdict, evaluate
from earlysignal_core.settings import PromotionLimits

COMPARED = (*PAIRED, "accuracy")


class Deploy(StrEnum):
    """What is to become of a challenger."""

    DEPLOY = "deploy"
    AB_TEST_14_DAYS = "ab_test_14_days"
    AB_TEST_7_DAYS = "ab_test_7_days"
    KEEP_CHAMPION = "keep_champion"
    UNDECIDED = "undecided"


class Comparison(Record):
    """Two models on the events that both predicted and whose outcome is known.

    Attributes
    ----------
    n, large_beats, companies, days : int
        Of these events; `days` are announcement days.
    champion, challenger : dict
        auc, average_precision, brier, accuracy (each at its own threshold), sharpe; NaN where undefined.
    challenger_auc : Figure
        With the wider of both intervals.
    by_company, by_day : dict of Figure
        Challenger less champion, with 95 % intervals from resampled companies, and from resampled announcement days.
    difference : dict of Figure
        The same with the wider of both intervals, and ``sharpe``.
    challengers_tried : int
        Since the last promotion, this one included: the best of many looks better than it is.
    """

    n: int
    large_beats: int
    companies: int
    days: int
    champion: dict[str, Number]
    challenger: dict[str, Number]
    challenger_auc: Figure
    by_company: dict[str, Figure]
    by_day: dict[str, Figure]
    difference: dict[str, Figure]
    challengers_tried: int


@dataclass(frozen=True)
class Decision:
    """What the rules say: literally (`raw`), and with their guards (`effective`), which is acted on."""

    raw: Deploy
    effective: Deploy
    verdicts: Sequence[Verdict]
    reason: str
    figures: dict[str, float]


def rule_table(promotion: PromotionLimits) -> list[Rule]:
    """Return the strategy's tree "When to deploy a new model", in its order: the first line that fires decides."""
    enough = (
        Guard("events", ">=", promotion.min_events, f"fewer than {promotion.min_events} common events"),
        Guard("large_beats", ">=", promotion.min_large_beats, f"fewer than {promotion.min_large_beats} large beats"),
    )
    no_loss = Guard(
        "auc_difference_low",
        ">=",
        -promotion.auc_margin,
        f"the interval of the AUC difference holds a loss of more than {promotion.auc_margin:g}",
    )
    better_sharpe = Guard("sharpe_difference", ">", 0, "the Sharpe ratio is not better")
    deploy = (*enough, no_loss)
    return [
        Rule("much better", "auc_difference", ">=", 0.05, Deploy.DEPLOY, deploy),
        Rule("better and earns more", "auc_difference", ">=", 0.02, Deploy.DEPLOY, deploy, (better_sharpe,)),
        Rule("a little better", "auc_difference", ">=", 0.01, Deploy.AB_TEST_14_DAYS, enough),
        Rule("more accurate", "accuracy_difference", ">", 0.03, Deploy.AB_TEST_7_DAYS, enough),
    ]


def compare(
    champion: pd.DataFrame,
    challenger: pd.DataFrame,
    positions: pd.DataFrame,
    *,
    challengers_tried: int,
    cost_bps: float = 10,
    seed: int = 0,
) -> Comparison:
    """Compare two models on the events that both predicted; of the share classes of a company on one.

    Parameters
    ----------
    champion : DataFrame
        event, probability, threshold and as_of of its predictions, served or in shadow; one an event.
    challenger : DataFrame
        The same with symbol, announced_on and label, as of `forward.walk_monthly`; company where it differs from
        symbol.
    positions : DataFrame
        Daily returns from `outcomes.outcome_returns`. The Sharpe ratio is that of each model's own top 10 %, from the
        events at which both have fifty predictions in the year before.
    challengers_tried : int
    cost_bps : float
        Per side of a trade.
    seed : int
        Of the resampling.
    """
    names = {name: f"{name}_of_champion" for name in ("probability", "threshold")}
    theirs = champion[["event", *names]].rename(columns=names)
    rows = challenger.merge(theirs, on="event", how="inner", validate="1:1")
    rows = rows[rows[["probability", "probability_of_champion"]].notna().all(axis=1)]
    company = rows["company"].fillna(rows["symbol"]) if "company" in rows else rows["symbol"]
    rows = one_a_company(rows.assign(company=company).sort_values(["as_of", "symbol", "event"]))
    known = rows[rows["label"].notna()].reset_index(drop=True)
    company = rows["company"]
    units = {
        "company": company[rows["label"].notna()],
        "day": known["announced_on"].dt.strftime("%Y-%m-%d"),
    }
    differences, figures, auc = {}, {}, {}
    for unit, names_of_units in units.items():
        drawn = Resamples.draw(names_of_units, seed=seed)
        # No skill is asked for, so no base rate is needed.
        mine = measure(known["label"], known["probability"], known["threshold"], np.nan, drawn)
        other = measure(known["label"], known[names["probability"]], known[names["threshold"]], np.nan, drawn)
        differences[unit], auc[unit] = paired(mine, other, COMPARED), mine.figures["auc"]
        figures = {"challenger": mine.figures, "champion": other.figures}
    sharpe, sharpe_of_champion, earned = _sharpe(rows, champion, challenger, company, positions, cost_bps, seed)
    return Comparison(
        n=len(known),
        large_beats=int(known["label"].sum()),
        companies=units["company"].nunique(),
        days=units["day"].nunique(),
        champion={name: figures["champion"][name].value for name in COMPARED} | {"sharpe": sharpe_of_champion},
        challenger={name: figures["challenger"][name].value for name in COMPARED} | {"sharpe": sharpe},
        challenger_auc=wider(auc["company"], auc["day"]),
        by_company=differences["company"],
        by_day=differences["day"],
        difference={name: wider(differences["company"][name], differences["day"][name]) for name in COMPARED}
        | {"sharpe": earned},
        challengers_tried=challengers_tried,
    )


def decide(comparison: Comparison, promotion: PromotionLimits) -> Decision:
    """Apply the rule table.

    Without a common event, or with outcomes of one kind only, both verdicts are undecided: never better or worse. The
    effective one is undecided, too, as long as there are too few events. Where only the loss cannot be excluded, the
    lines after it still speak: an A/B test is how to find out.
    """
    auc = comparison.difference["auc"]
    figures = {
        "events": float(comparison.n),
        "large_beats": float(comparison.large_beats),
        "auc_difference": auc.value,
        "auc_difference_low": auc.low,
        "accuracy_difference": comparison.difference["accuracy"].value,
        "sharpe_difference": comparison.difference["sharpe"].value,
        "challengers_tried": float(comparison.challengers_tried),
    }
    verdicts = [evaluate(rule, figures) for rule in rule_table(promotion)]
    if not auc.defined:
        why = auc.reason or "undefined"
        return Decision(Deploy.UNDECIDED, Deploy.UNDECIDED, verdicts, f"no AUC to compare: {why}", figures)
    raw = next((verdict for verdict in verdicts if verdict.raw), None)
    effective = next((verdict for verdict in verdicts if verdict.effective), None)
    if few := [guard.reason for guard in rule_table(promotion)[-1].guards if not guard.holds(figures)]:
        chosen, reason = Deploy.UNDECIDED, "; ".join(few)
    elif effective is not None:
        chosen, reason = Deploy(effective.rule.action), f"{effective.rule.name}: {effective.reason}"
    else:
        chosen = Deploy.KEEP_CHAMPION
        reason = raw.reason if raw is not None else f"no rule fires (AUC difference {auc.value:+.4f})"
    return Decision(Deploy(raw.rule.action) if raw else Deploy.KEEP_CHAMPION, chosen, verdicts, reason, figures)


def _sharpe(
    rows: pd.DataFrame,
    champion: pd.DataFrame,
    challenger: pd.DataFrame,
    company: pd.Series,
    positions: pd.DataFrame,
    cost_bps: float,
    seed: int,
) -> tuple[float, float, Figure]:
    """Return both Sharpe ratios and their difference, of each model's own top 10 % of the common events."""
    probability = {"challenger": rows["probability"], "champion": rows["probability_of_champion"]}
    limit = {}
    for name, history in (("challenger", challenger), ("champion", champion)):
        told = history[history["probability"].notna()]
        values = told["probability"].to_numpy(dtype="float64")[:, None]
        limit[name] = limits(rows["as_of"], told["as_of"], values)[:, 0]
    judged = ~np.isnan(limit["challenger"]) & ~np.isnan(limit["champion"])
    if not judged.any():
        return float("nan"), float("nan"), undefined("fewer than fifty predictions in the year before")
    by_event = pd.Series(company.to_numpy(), index=rows["event"])
    mine, theirs = (
        by_event[judged & (probability[name].to_numpy() > limit[name])] for name in ("challenger", "champion")
    )
    return sharpe_difference(positions, mine, theirs, cost_bps=cost_bps, seed=seed)
