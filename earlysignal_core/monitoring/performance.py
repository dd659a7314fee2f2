"""How the model in service does: rolling figures, each with n, interval and what it must be held against."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import norm

from earlysignal_core.evaluation.calibration import expected_accuracy
from earlysignal_core.evaluation.metrics import watched
from earlysignal_core.evaluation.portfolio import calendar_time_portfolio, portfolio_values, window_return
from earlysignal_core.evaluation.ranking import resampled_auc
from earlysignal_core.evaluation.resampling import (
    LEVEL,
    Figure,
    FloatArray,
    Resamples,
    undefined,
    with_interval,
)
from earlysignal_core.evaluation.top_decile import limits
from earlysignal_core.monitoring.action import Action, judge
from earlysignal_core.rules import Guard, Rule, Verdict

WINDOW_DAYS = 30
MIN_LABELLED = 200
SURE = 0.99
_AT = (1 + SURE) / 2
MAX_BRIER = 0.25

_ENOUGH = Guard("labelled", ">=", MIN_LABELLED, f"fewer than {MIN_LABELLED} labelled events in {WINDOW_DAYS} days")
_AUC_FELL = Guard("auc_less_champion_upper", "<", 0, "both AUCs are counted, and may still be the same")

ACCURACY_RULE = Rule("accuracy", "accuracy", "<", 0.75, Action.EMERGENCY, (_ENOUGH, _AUC_FELL))
AUC_RULE = Rule("auc", "auc_less_champion", "<", 0, Action.EMERGENCY, (_ENOUGH, _AUC_FELL))
SKILL_RULE = Rule(
    "brier_skill",
    "brier_skill",
    "<",
    0,
    Action.EMERGENCY,
    (_ENOUGH, Guard("brier_skill_upper", "<", 0, "the skill may still be above 0")),
)
CALIBRATION_RULE = Rule(
    "calibration",
    "brier",
    ">",
    MAX_BRIER,
    Action.SCHEDULE,
    (
        Guard("first_session_of_week", ">=", 1, "judged once a week"),
        Guard("brier_lower", ">", MAX_BRIER, "the Brier score may still be below"),
    ),
)
SLOW_MS = 500.0
LATENCY_RULE = Rule("latency", "latency_ms", ">", SLOW_MS, Action.ALERT)
RULES = (ACCURACY_RULE, AUC_RULE, SKILL_RULE)

# What each figure is held against, by the names of `metrics.figures`.
_HELD_AGAINST = {
    "accuracy": ("accuracy_of_never", "accuracy of “never”"),
    "precision": ("base_rate", "base rate"),
    "recall": ("called", "share called"),
    "f1": ("f1_of_always", "F1 of “always”"),
    "auc": ("half", "guessing"),
    "brier": ("brier_base_rate", "Brier score of the base rate"),
    "brier_skill": ("zero", "the base rate"),
    "ece": ("ece_of_calibrated", "chance alone"),
}


@dataclass(frozen=True)
class Performance:
    """The figures of one day.

    Attributes
    ----------
    table : DataFrame
        One row a figure: ``figure, value, low, high, n, base, base_is, reason``; bounds of the 95 % interval, what the
        figure must be held against and what that is, and why a value or an interval is missing.
    figures : dict of str to float
        By name, with those that the rules ask for; NaN where undefined.
    verdicts : list of Verdict
        Of `RULES`.
    """

    table: pd.DataFrame
    figures: dict[str, float]
    verdicts: list[Verdict]


def production_performance(
    predictions: pd.DataFrame,
    earlier: pd.DataFrame,
    positions: pd.DataFrame,
    pending: pd.DataFrame,
    *,
    champion_auc: Figure,
    cost_bps: float = 10,
    strict: bool = False,
) -> Performance:
    """Return how the predictions of a window did.

    Parameters
    ----------
    predictions : DataFrame
        Announcements of the last 30 days that got a probability, with or without outcome: ``event, symbol, company,
        announced_on, as_of, probability, threshold, never`` (the base rate that the model was trained on), ``label``
        (NaN while pending or not to be known), ``return_7d, benchmark_7d``.
    earlier : DataFrame
        Those of other events in the year before (``as_of, probability``), which tell the top 10 %.
    positions : DataFrame
        From `outcomes.outcome_returns`.
    pending : DataFrame
        Predictions whose outcome is not known yet: ``announced_on, probability, threshold``.
    champion_auc : Figure
        Of the champion's walk-forward, undefined where it has none. It is itself counted on few events, so an
        emergency asks for the interval of the difference; without a lower bound of this figure there is none.
    cost_bps : float
        Cost per side of a trade.
    strict : bool
        Let the strategy's rule (accuracy < 75 %) act as written.

    Notes
    -----
    Intervals come from resampled announcement days: within a month a company announces once, and what moves all
    announcements of a day together is what rows or companies drawn singly would miss. The 99 % bounds that an
    emergency asks for are the widest of those from days and from companies (a season has few days), by percentiles
    and by the normal distribution.
    """
    rows = predictions.sort_values(["as_of", "symbol", "event"], ignore_index=True)
    labelled = rows[rows["label"].notna()].reset_index(drop=True)
    drawn = Resamples.draw(_days(labelled["announced_on"]), seed=0)
    label, probability, threshold, never = (labelled[name] for name in ("label", "probability", "threshold", "never"))
    (by_name, draws), n = watched(label, probability, threshold, never, drawn), len(labelled)
    base_rate = by_name["base_rate"].value
    against = {name: figure.value for name, figure in by_name.items()} | {
        "half": 0.5,
        "zero": 0.0,
        "called": float((labelled["probability"] >= labelled["threshold"]).mean()),
        "f1_of_always": 2 * base_rate / (1 + base_rate),
    }
    table = [_row("base_rate", by_name["base_rate"], n)]
    table += [_row(name, by_name[name], n, against[base], what) for name, (base, what) in _HELD_AGAINST.items()]
    table += _pending(pending)
    table += _financial(rows, earlier, positions, cost_bps)
    shown = pd.DataFrame(table)
    auc_upper, skill_upper = _sure_bounds(labelled, by_name["auc"].value, drawn, draws["auc"])
    figures = dict(zip(shown["figure"], shown["value"], strict=True)) | {
        "labelled": float(n),
        "champion_auc": champion_auc.value,
        "champion_auc_low": champion_auc.low,
        "auc_upper": auc_upper,
        "auc_less_champion": by_name["auc"].value - champion_auc.value,
        "auc_less_champion_upper": _difference_upper(by_name["auc"].value, auc_upper, champion_auc),
        "brier_skill_upper": skill_upper,
        "brier_lower": by_name["brier"].low,
    }
    own = judge((AUC_RULE, SKILL_RULE), figures)
    return Performance(shown, figures, [*judge((ACCURACY_RULE,), figures, strict=strict), *own])


def operations(requests: pd.DataFrame) -> pd.DataFrame:
    """Return latency, volume and error rate of the prediction requests of a window.

    Parameters
    ----------
    requests : DataFrame
        Every request, also those that failed: ``requested_at`` (UTC), ``latency_ms``, ``failed`` (no prediction).

    Returns
    -------
    DataFrame
        ``figure, value, low, high, n, base, base_is, reason``; intervals from resampled days.
    """
    n, drawn = len(requests), Resamples.draw(_days(requests["requested_at"]), seed=0)
    latency, failed = requests["latency_ms"].to_numpy("float64"), requests["failed"].to_numpy("float64")
    table = [
        _row("latency_ms", _mean(latency, drawn), n, SLOW_MS, "the limit"),
        _row("latency_p99_ms", _value(float(np.quantile(latency, 0.99)) if n else np.nan), n, SLOW_MS, "the limit"),
        _row("slow_share", _mean((latency > SLOW_MS).astype("float64"), drawn), n, 0.0, "none"),
        _row("requests_per_day", _value(n / WINDOW_DAYS), n),
        _row("error_rate", _mean(failed, drawn), n, 0.0, "none"),
    ]
    return pd.DataFrame(table)


def _pending(pending: pd.DataFrame) -> list[dict[str, Any]]:
    drawn = Resamples.draw(_days(pending["announced_on"]), seed=0)
    probability, threshold = pending["probability"].to_numpy("float64"), pending["threshold"].to_numpy("float64")
    expected = _mean(expected_accuracy(probability, threshold), drawn)
    never = float(1 - probability.mean()) if len(pending) else np.nan
    return [_row("expected_accuracy", expected, len(pending), never, "expected accuracy of “never”")]


def _financial(
    rows: pd.DataFrame, earlier: pd.DataFrame, positions: pd.DataFrame, cost_bps: float
) -> list[dict[str, Any]]:
    """Return what the top 10 % earned, beside all that could be judged."""
    probability = rows["probability"].to_numpy("float64")
    history = np.concatenate([earlier["probability"].to_numpy("float64"), probability])[:, None]
    limit = limits(rows["as_of"], pd.concat([earlier["as_of"], rows["as_of"]]), history)[:, 0]
    judged, selected = ~np.isnan(limit), probability > limit
    excess = rows["return_7d"].to_numpy("float64") - rows["benchmark_7d"].to_numpy("float64")
    returns = window_return(
        excess, selected, judged, Resamples.draw(_days(rows["announced_on"]), seed=0), cost_bps=cost_bps
    )
    company = pd.Series(rows["company"].to_numpy(), index=rows["event"])
    chosen = calendar_time_portfolio(positions, company[selected], cost_bps=cost_bps)
    everyone = portfolio_values(positions, company[judged], cost_bps=cost_bps)
    table = [
        _row("top_decile_return_7d", returns.selected, returns.n, returns.rest.value, "the other announcements"),
        _row("top_decile_return_7d_net", returns.net, returns.n, 0.0, "not trading; after costs"),
    ]
    for name in ("sharpe", "information_ratio", "max_drawdown"):
        held_against = "a portfolio of all announcements"
        table.append(_row(name, chosen.figures[name], chosen.invested, everyone[name], held_against))
    return table


def _sure_bounds(
    labelled: pd.DataFrame, auc: float, by_days: Resamples, auc_by_days: FloatArray
) -> tuple[float, float]:
    """Return the upper bounds of the 99 % intervals of AUC and Brier skill; NaN where they are undefined."""
    if labelled.empty:
        return np.nan, np.nan
    positive = labelled["label"].to_numpy(dtype=np.int64)
    probability, never = labelled["probability"].to_numpy("float64"), labelled["never"].to_numpy("float64")
    squares = np.column_stack([(probability - positive) ** 2, (never - positive) ** 2])
    total = squares.sum(axis=0)
    by_companies = Resamples.draw(labelled["company"], seed=0)
    bounds = []
    for drawn, auc_draws in (
        (by_days, auc_by_days),
        (by_companies, resampled_auc(positive, probability, by_companies)),
    ):
        sums = drawn.sums(squares)
        with np.errstate(divide="ignore", invalid="ignore"):
            skill, skill_draws = 1 - total[0] / total[1], 1 - sums[:, 0] / sums[:, 1]
        bounds.append((_sure_upper(auc, auc_draws), _sure_upper(skill, skill_draws)))
    sure_auc, sure_skill = np.max(bounds, axis=0)  # NaN where either is
    return float(sure_auc), float(sure_skill)


def _sure_upper(value: float, draws: FloatArray) -> float:
    """Return the higher of the percentile and the normal bound: after an unlucky month the former is too low.

    An AUC's distribution leans to the left, so that the percentiles above a figure lie nearer than those below it.
    """
    if np.isnan(value):
        return np.nan
    percentile, normal = np.nanquantile(draws, _AT), value + norm.ppf(_AT) * np.nanstd(draws)
    return float(min(max(percentile, normal), 1.0))


def _difference_upper(auc: float, auc_upper: float, champion: Figure) -> float:
    """Return the upper bound of the 99 % interval of an AUC less that of the champion, from the bounds of both.

    Zou & Donner, "Construction of confidence limits about effect measures: a general approach", Statistics in Medicine
    27 (2008). To ask that the two intervals do not overlap would see a fall years later than this does.
    """
    surer = norm.ppf(_AT) / norm.ppf((1 + LEVEL) / 2)
    return float(auc - champion.value + np.hypot(auc_upper - auc, surer * (champion.value - champion.low)))


def _mean(values: FloatArray, drawn: Resamples) -> Figure:
    if not len(values):
        return undefined("no rows")
    sums = drawn.sums(np.column_stack([values, np.ones(len(values))]))
    with np.errstate(invalid="ignore"):
        return with_interval(float(values.mean()), sums[:, 0] / sums[:, 1], drawn.companies, unit="days")


def _value(value: float) -> Figure:
    return Figure(value=value, reason="no rows" if np.isnan(value) else "a figure without an interval")


def _row(name: str, figure: Figure, n: int, base: float = np.nan, base_is: str = "") -> dict[str, Any]:
    reason = (figure.reason or "").replace("companies", "announcement days")
    return {
        "figure": name,
        "value": figure.value,
        "low": figure.low,
        "high": figure.high,
        "n": n,
        "base": base,
        "base_is": base_is,
        "reason": reason,
    }


def _days(time: pd.Series) -> npt.NDArray[np.datetime64]:
    return time.to_numpy("datetime64[D]")
