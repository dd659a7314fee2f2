"""The figures that a script or a person at a terminal wants: one flat JSON object."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from earlysignal_core.evaluation.judge import Evaluation, WalkForward
from earlysignal_core.evaluation.metrics import HARDER, Figures
from earlysignal_core.evaluation.resampling import Figure
from earlysignal_core.evaluation.top_decile import TopDecile


@dataclass(frozen=True)
class Context:
    """What the figures were made from, which they cannot say themselves.

    Attributes
    ----------
    source : str
        The name of the tape or source.
    assumptions : sequence of str
        What the source declares.
    assume_final_consensus_known : bool
        Whether the coming consensus counted as known; the headline then says so.
    inactive : mapping of str to str
        Features that were not computed, each with the reason.
    left_out : mapping of str to str
        Quarters without an evaluation (``2018-Q3``), each with the reason.
    importance : mapping of str to float
        Share of the total gain of each feature, mean over the models.
    audit : mapping of str to int
        Findings of the data audit, counted by kind.
    """

    source: str
    assumptions: Sequence[str]
    assume_final_consensus_known: bool
    inactive: Mapping[str, str]
    left_out: Mapping[str, str]
    importance: Mapping[str, float]
    audit: Mapping[str, int]


def summary(judged: WalkForward, context: Context, seconds: Mapping[str, float]) -> dict[str, Any]:
    """Return the content of ``summary.json``; what is undefined is None.

    Parameters
    ----------
    judged : WalkForward
    context : Context
    seconds : mapping of str to float
        Wall time of each stage.
    """
    return {
        "source": context.source,
        "assumptions": list(context.assumptions),
        "assume_final_consensus_known": context.assume_final_consensus_known,
        **_of(judged.pooled),
        "quarters": [{"quarter": quarter.name, **_of(quarter)} for quarter in judged.quarters],
        "untouched": {"from": str(judged.untouched_from), **_of(judged.untouched)},
        "baselines": {
            name: _forecast(baseline.figures, baseline.top_decile)
            | {
                f"{figure}_difference{bound}": value
                for figure, difference in baseline.difference.items()
                for bound, value in _bounds(difference).items()
            }
            for name, baseline in judged.pooled.baselines.items()
        },
        "left_out": dict(context.left_out),
        "inactive_features": dict(context.inactive),
        "seconds": {stage: round(spent, 2) for stage, spent in seconds.items()},
    }


def to_json(content: Mapping[str, Any]) -> str:
    """Return the JSON of a summary, indented for people."""
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _of(evaluation: Evaluation) -> dict[str, Any]:
    reaction, sharpe = evaluation.returns["reaction"], evaluation.portfolio.figures["sharpe"]
    return (
        _forecast(evaluation.model, evaluation.top_decile)
        | {f"excess_return_top10{bound}": value for bound, value in _bounds(reaction.net).items()}
        | {f"sharpe{bound}": value for bound, value in _bounds(sharpe).items()}
    )


def _forecast(figures: Figures, top: TopDecile) -> dict[str, Any]:
    auc = {f"auc{bound}": value for bound, value in _bounds(figures["auc"]).items()}
    names = ("average_precision", "brier", "brier_base_rate", "brier_skill", "ece", "accuracy_of_never")
    return {
        "n": figures.n,
        "base_rate": _defined(figures["base_rate"].value),
        **auc,
        **{f"{name}{bound}": value for name in HARDER for bound, value in _bounds(figures[name]).items()},
        **{f"{name}_n": figures.rows_behind[name] for name in HARDER},
        "precision_top10": _defined(top.precision.value),
        **{name: _defined(figures[name].value) for name in names},
    }


def _bounds(figure: Figure) -> dict[str, float | None]:
    return {"": _defined(figure.value), "_low": _defined(figure.low), "_high": _defined(figure.high)}


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else value
