"""Does the model still look at the same features? Mean absolute SHAP values, now and on the training rows."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from earlysignal_core.evaluation.resampling import Figure, FloatArray, Resamples, undefined, with_interval
from earlysignal_core.lake import Lake
from earlysignal_core.models.bundle import Bundle
from earlysignal_core.monitoring.action import Action, judge
from earlysignal_core.monitoring.reference import Reference, counted_once
from earlysignal_core.rules import Guard, Rule, Verdict

FILE = "importance_shap.json"
TOP = 5
# A share of exactly 0 would make the divergence infinite.
_LEAST_SHARE = 1e-6
_RANKED = ("now", "training", "training_rank", "rank")
_NOTHING = {"newcomers": np.nan, "newcomer_lead_lower": np.nan, "importance_drift": np.nan}

TOP_FIVE_RULE = Rule(
    "importance",
    "newcomers",
    ">=",
    1,
    Action.SCHEDULE,
    (
        Guard("first_session_of_month", ">=", 1, "judged once a month"),
        Guard("newcomer_lead_lower", ">", 0, "newcomer and leaver may still be equal"),
    ),
)


@dataclass(frozen=True)
class Importance:
    """What the model looks at.

    Attributes
    ----------
    table : DataFrame
        One row a feature, the most important first: ``feature, now, training`` (shares that sum to 1), ``rank``,
        ``training_rank`` (from 1).
    divergence : Figure
        Kullback-Leibler divergence of the shares now from those of training, in nats.
    newcomers, leavers : list of str
        Features that have entered and left the five most important ones.
    figures : dict of str to float
        For `TOP_FIVE_RULE`: ``newcomers`` (how many), ``newcomer_lead_lower`` (lower bound of the 95 % interval of
        the share by which the strongest newcomer leads the weakest leaver now), ``importance_drift``.
    """

    table: pd.DataFrame
    divergence: Figure
    newcomers: list[str]
    leavers: list[str]
    figures: dict[str, float]

    def verdict(self, calendar: dict[str, float]) -> Verdict:
        """Judge the monthly rule, given `retrain_policy.calendar_figures`."""
        return judge((TOP_FIVE_RULE,), self.figures | calendar)[0]


def training_importance(bundle: Bundle, trained: pd.DataFrame) -> FloatArray:
    """Return each feature's share of the mean absolute SHAP values of the training rows, shape (features,).

    It takes a second for ten thousand rows and never changes: `kept_training_importance` counts it once.
    """
    return _shares(np.abs(contributions(bundle, trained)).sum(axis=0, keepdims=True)).ravel()


def kept_training_importance(lake: Lake, bundle: Bundle) -> FloatArray:
    """Return `training_importance` of a saved model, shape (features,).

    It is counted over the model's reference when it is first asked for and then kept beside it: few models of a
    walk-forward ever come to be watched.

    Raises
    ------
    ReferenceLostError
        If it has to be counted, and the model has no reference.
    """

    def count() -> dict[str, float]:
        shares = training_importance(bundle, Reference.load(lake, str(bundle.version)).frame)
        return dict(zip(bundle.features, shares.tolist(), strict=True))

    kept = counted_once(lake, bundle, FILE, bundle.features, count)
    return np.array([kept[name] for name in bundle.features], dtype="float64")


def unknown_importance(bundle: Bundle, reason: str) -> Importance:
    """Return what can be said of a model whose training rows are lost: nothing, and why."""
    table = pd.DataFrame({"feature": bundle.features}).assign(**dict.fromkeys(_RANKED, np.nan))
    return Importance(table, undefined(reason), [], [], dict(_NOTHING))


def importance(bundle: Bundle, recent: pd.DataFrame, then: FloatArray) -> Importance:
    """Compare what the model looks at in recent rows with what it looks at in its training rows.

    Parameters
    ----------
    bundle : Bundle
    recent : DataFrame
        Rows served lately: ``as_of`` and the model's features.
    then : ndarray, shape (features,)
        From `training_importance` or `kept_training_importance`.

    Notes
    -----
    The gain that the bundle's metadata holds counts splits during training and cannot be had of live rows, so both
    sides are mean absolute SHAP values (exact for trees: Lundberg et al., "From local explanations to global
    understanding with explainable AI for trees", Nature Machine Intelligence 2, 2020; LightGBM's `pred_contrib`).
    The interval comes from resampled days; few rows raise the divergence, which is never below 0.
    """
    names = np.array(bundle.features)
    now = np.abs(contributions(bundle, recent))
    table = pd.DataFrame({"feature": names, "now": np.nan, "training": then})
    table["training_rank"] = _rank(then)
    if not len(recent):
        return Importance(table.assign(rank=np.nan), undefined("no rows"), [], [], dict(_NOTHING))
    drawn = Resamples.draw(recent["as_of"].to_numpy("datetime64[D]"), seed=0)
    shares, draws = _shares(now.sum(axis=0, keepdims=True))[0], _shares(drawn.sums(now))
    table["now"], table["rank"] = shares, _rank(shares)
    entered = (table["rank"] <= TOP) & (table["training_rank"] > TOP)
    left = (table["rank"] > TOP) & (table["training_rank"] <= TOP)
    divergence = with_interval(
        float(_divergence(shares[None], then)[0]), _divergence(draws, then), drawn.companies, unit="days"
    )
    lead = np.nan
    if entered.any():
        newcomer = int(np.argmax(np.where(entered, shares, -np.inf)))
        leaver = int(np.argmin(np.where(left, shares, np.inf)))
        ahead = draws[:, newcomer] - draws[:, leaver]
        lead = with_interval(float(shares[newcomer] - shares[leaver]), ahead, drawn.companies, unit="days").low
    return Importance(
        table.sort_values("now", ascending=False, kind="stable", ignore_index=True),
        divergence,
        names[entered].tolist(),
        names[left].tolist(),
        {
            "newcomers": float(entered.sum()),
            "newcomer_lead_lower": lead,
            "importance_drift": divergence.value,
        },
    )


def contributions(bundle: Bundle, rows: pd.DataFrame) -> FloatArray:
    """Return the exact SHAP values of each row, (n, features), in the model's own score before calibration."""
    return np.asarray(bundle.contributions(rows).to_numpy(), dtype=np.float64)


def _shares(sums: FloatArray) -> FloatArray:
    total = sums.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(sums, total, out=np.full_like(sums, 1 / sums.shape[1]), where=total > 0))


def _rank(shares: FloatArray) -> FloatArray:
    rank = np.empty(len(shares))
    rank[np.argsort(-shares, kind="stable")] = np.arange(1, len(shares) + 1)
    return rank


def _divergence(shares: FloatArray, then: FloatArray) -> FloatArray:
    p, q = (np.maximum(share, _LEAST_SHARE) for share in (shares, then))
    p, q = p / p.sum(axis=-1, keepdims=True), q / q.sum()
    return np.asarray((p * np.log(p / q)).sum(axis=-1))
