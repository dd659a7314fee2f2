"""Pictures of an evaluation, as small PNGs. No global state: every figure is an object of its own."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from earlysignal_core.evaluation.judge import Evaluation
from earlysignal_core.evaluation.metrics import Confusion, Figures
from earlysignal_core.evaluation.resampling import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

# Okabe & Ito's colours, which people with any kind of colour vision can tell apart.
MODEL, SECOND, GOOD, BAD, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9"
_BASELINES = {"large_beat_rate_8q": SECOND, "last_surprise_over_15": GOOD, "logistic_history": "#CC79A7"}
_INK, _FAINT = "#333333", "#999999"
_DPI = 130
_COLOURS = 64
_MOST_FEATURES = 15
_ENOUGH_FOR_A_LINE = 100


def roc(evaluation: Evaluation) -> bytes:
    """Draw the ROC curves of the model and the baselines."""
    canvas, (axes,) = _canvas()
    _roc(axes, evaluation)
    return _png(canvas)


def precision_recall(evaluation: Evaluation) -> bytes:
    """Draw precision over recall of the model and the baselines, and the base rate that guessing gives."""
    canvas, (axes,) = _canvas()
    base_rate = evaluation.model["base_rate"].value
    if _drawable(axes, evaluation.model["average_precision"]):
        axes.axhline(base_rate, color=_FAINT, linestyle=":", label=f"base rate {base_rate:.3f}")
        for name, colour in _BASELINES.items():
            curve = evaluation.baselines[name].figures.precision_recall
            axes.step(curve.x, _first_known(curve.y), color=colour, linewidth=1, label=f"{name} {curve.area:.3f}")
        curve = evaluation.model.precision_recall
        axes.step(curve.x, _first_known(curve.y), color=MODEL, linewidth=2, label=f"model {curve.area:.3f}")
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="recall", ylabel="precision")
        _legend(axes, "upper right")
    _title(axes, "Precision and recall (average precision)")
    return _png(canvas)


def calibration(evaluation: Evaluation) -> bytes:
    """Draw observed rates over forecasts, with intervals, and how the forecasts are spread."""
    canvas, (axes,) = _canvas()
    _calibration(axes, evaluation.model)
    return _png(canvas)


def confusion(evaluation: Evaluation) -> bytes:
    """Draw counts of right and wrong answers at the stored threshold and at 0.5."""
    canvas, (stored, half) = _canvas(columns=2, width=5.6, height=3.0)
    _confusion(stored, evaluation.model.confusion, "At the stored threshold")
    _confusion(half, evaluation.model.confusion_at_half, "At 0.5")
    return _png(canvas)


def importance(shares: Mapping[str, float]) -> bytes:
    """Draw the features that the model leans on most, by share of gain."""
    top = sorted(shares.items(), key=lambda item: (item[1], item[0]))[-_MOST_FEATURES:]
    canvas, (axes,) = _canvas(height=0.9 + 0.22 * max(len(top), 4))
    if top:
        axes.barh([name for name, _ in top], [100 * share for _, share in top], color=MODEL, height=0.65)
    axes.set(xlabel="share of gain, %")
    _title(axes, "What the model leans on")
    axes.grid(visible=False, axis="y")
    return _png(canvas)


def reliability(found: Mapping[str, Mapping[str, Sequence[float]]]) -> bytes:
    """Draw observed rates over forecasts, one line for each name."""
    canvas, (axes,) = _canvas()
    _title(axes, "Reliability")
    axes.plot([0, 1], [0, 1], color=_FAINT, linestyle=":")
    for colour, (name, line) in zip((SECOND, MODEL), found.items(), strict=False):
        axes.plot(line["forecast"], line["observed"], color=colour, marker="o", markersize=4, label=name)
    highest = 1.08 * max([0.05, *(v for line in found.values() for v in (*line["forecast"], *line["observed"]))])
    axes.set(xlim=(0, highest), ylim=(0, highest), xlabel="forecast", ylabel="observed rate")
    _legend(axes, "lower right")
    return _png(canvas)


def by_quarter(quarters: Sequence[Evaluation], pooled: Evaluation) -> bytes:
    """Draw AUC and base rate of every quarter, with intervals."""
    canvas, (above, below) = _canvas(rows=2, width=8.2, height=4.2, ratios=(2, 1))
    place = np.arange(len(quarters))
    for axes, name, colour, title in (
        (above, "auc", MODEL, "AUC by quarter"),
        (below, "base_rate", SECOND, "Share of large beats"),
    ):
        _whiskers(axes, place, [quarter.model[name] for quarter in quarters], colour)
        axes.axhline(pooled.model[name].value, color=colour, linewidth=1, linestyle="--")
        _title(axes, f"{title} (dashed: all together, {pooled.model[name].value:.3f})")
        axes.set_xlim(-0.6, max(len(quarters) - 0.4, 0.6))
    above.axhline(0.5, color=_FAINT, linestyle=":")
    above.set_xticks(place, [])
    below.set_ylim(bottom=0)
    every = max(1, len(quarters) // 16)
    below.set_xticks(place[::every], [quarter.name for quarter in quarters][::every], rotation=45, ha="right")
    return _png(canvas)


def cumulative_excess(evaluation: Evaluation) -> bytes:
    """Draw the compounded excess return of the daily portfolio, and of one of all announcements."""
    canvas, (axes,) = _canvas(width=8.2, height=3.2)
    lines = (
        (evaluation.portfolio_of_all, _FAINT, 1.2, "all announcements"),
        (evaluation.portfolio, MODEL, 1.8, "top 10 %"),
    )
    for portfolio, colour, width, label in lines:
        days = np.array(portfolio.dates, dtype="datetime64[D]")
        axes.plot(days, 100 * np.array(portfolio.cumulative), color=colour, linewidth=width, label=label)
    axes.axhline(0, color=_INK, linewidth=0.8)
    axes.set_ylabel("%")
    cost = evaluation.portfolio.cost_bps
    _title(axes, f"Excess return over the benchmark, compounded, net of {cost:g} bps a side")
    if evaluation.portfolio_of_all.dates:
        _legend(axes, "upper left")
    return _png(canvas)


def panel(evaluation: Evaluation) -> bytes:
    """Draw ROC, calibration and confusion side by side: the picture of one quarter."""
    canvas, (left, middle, right) = _canvas(columns=3, width=9.0, height=3.0)
    _roc(left, evaluation)
    _calibration(middle, evaluation.model)
    _confusion(right, evaluation.model.confusion, "At the stored threshold")
    return _png(canvas)


def timelines(watched: Mapping[str, pd.DataFrame], retrains: Mapping[str, pd.DataFrame]) -> bytes:
    """Draw what several policies would have done, below each other on one axis of time.

    Parameters
    ----------
    watched : mapping of str to DataFrame
        By policy, one row a day: ``day, auc, labelled, psi, features_drifted``.
    retrains : mapping of str to DataFrame
        By policy, one row a retrain: ``day, came_to``.
    """
    colours = dict(zip(watched, [MODEL, SECOND, GOOD, BAD, SKY, "#CC79A7"], strict=False))
    canvas, (auc, psi, drifted, acts) = _canvas(
        rows=4, width=10, height=8.4, ratios=[3, 2, 2, 0.5 + 0.5 * len(watched)]
    )
    for name, days in watched.items():
        enough = days["labelled"] >= _ENOUGH_FOR_A_LINE
        auc.plot(days["day"], days["auc"].where(enough), color=colours[name], linewidth=1.2, label=name)
        psi.plot(days["day"], days["psi"], color=colours[name], linewidth=1)
        drifted.plot(days["day"], days["features_drifted"], color=colours[name], linewidth=1)
    if not any((days["labelled"] >= _ENOUGH_FOR_A_LINE).any() for days in watched.values()):
        auc.text(0.5, 0.5, "on no day are that many known", transform=auc.transAxes, ha="center", va="center")
    for place, (name, done) in enumerate(retrains.items()):
        acts.axhline(place, color="#E6E6E6", linewidth=0.8, zorder=0)
        promoted = done["came_to"] == "promoted"
        acts.plot(done["day"][~promoted], [place] * int((~promoted).sum()), "|", color=colours[name], markersize=9)
        acts.plot(done["day"][promoted], [place] * int(promoted.sum()), "o", color=colours[name], markersize=5.5)
    _title(auc, f"AUC of the last 30 days, where at least {_ENOUGH_FOR_A_LINE} outcomes are known")
    _title(psi, "Drift of the predictions (PSI)")
    _title(drifted, "Features that drift")
    _title(acts, "Retrains (strokes) and those whose model was promoted (dots)")
    acts.set_yticks(range(len(retrains)), list(retrains))
    acts.set_ylim(len(retrains) - 0.5, -0.5)
    for axes in (psi, drifted, acts):
        axes.sharex(auc)
    if watched:
        _legend(auc, "lower right")
    return _png(canvas)


def _roc(axes: "Axes", evaluation: Evaluation) -> None:
    if _drawable(axes, evaluation.model["auc"]):
        axes.plot([0, 1], [0, 1], color=_FAINT, linestyle=":")
        for name, colour in _BASELINES.items():
            curve = evaluation.baselines[name].figures.roc
            axes.plot(curve.x, curve.y, color=colour, linewidth=1, label=f"{name} {curve.area:.3f}")
        curve = evaluation.model.roc
        axes.plot(curve.x, curve.y, color=MODEL, linewidth=2, label=f"model {curve.area:.3f}")
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="false positive rate", ylabel="true positive rate")
        _legend(axes, "lower right")
    _title(axes, "ROC (area)")


def _calibration(axes: "Axes", figures: Figures) -> None:
    bins = [each for each in figures.calibration if each.observed.defined]
    _title(axes, "Calibration")
    if not bins:
        _drawable(axes, figures["ece"])
        return
    forecast = np.array([each.forecast for each in bins])
    highest = 1.08 * max(0.05, *forecast, *(np.nan_to_num(each.observed.high) for each in bins))
    axes.plot([0, 1], [0, 1], color=_FAINT, linestyle=":")
    _whiskers(axes, forecast, [each.observed for each in bins], MODEL)
    axes.set(xlim=(0, highest), ylim=(0, highest), xlabel="forecast", ylabel="observed rate")
    counts = {each.n for each in bins}
    size = f"{min(counts):,}" if len(counts) == 1 else f"{min(counts):,} to {max(counts):,}"
    axes.text(0.03, 0.96, f"n per bin: {size}", transform=axes.transAxes, va="top", fontsize=8, color=_INK)


def _first_known(precision: Sequence[float]) -> list[float]:
    """At recall 0 nothing is called and precision is a convention (1); drawn, it would be a spike."""
    return [*precision[1:2], *precision[1:]]


def _confusion(axes: "Axes", counts: Confusion | None, title: str) -> None:
    _title(axes, title)
    axes.grid(visible=False)
    if counts is None:
        _drawable(axes, Figure(value=np.nan, reason="no stored threshold"))
        return
    table = np.array([[counts.true_negative, counts.false_positive], [counts.false_negative, counts.true_positive]])
    share = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1.8, aspect="auto")
    for (row, column), number in np.ndenumerate(table):
        text = f"{number:,}\n{share[row, column]:.0%}"
        axes.text(column, row, text, ha="center", va="center", fontsize=10, color=_INK)
    axes.set_xticks([0, 1], ["no", "yes"])
    axes.set_yticks([0, 1], ["no", "yes"])
    axes.set(xlabel="called a large beat", ylabel="was a large beat")


def _whiskers(axes: "Axes", place: npt.NDArray[np.generic], figures: Sequence[Figure], colour: str) -> None:
    value = np.array([figure.value for figure in figures])
    low, high = (np.array([getattr(figure, bound) for figure in figures]) for bound in ("low", "high"))
    axes.vlines(place, low, high, color=colour, alpha=0.45, linewidth=2.5)
    axes.plot(place, value, "o", color=colour, markersize=4.5)


def _drawable(axes: "Axes", figure: Figure) -> bool:
    """Say whether there is something to draw; where there is not, write why."""
    if not figure.defined:
        axes.text(0.5, 0.5, figure.reason or "", transform=axes.transAxes, ha="center", va="center", color=_FAINT)
    return figure.defined


def _canvas(
    *, rows: int = 1, columns: int = 1, width: float = 4.9, height: float = 3.9, ratios: Sequence[float] | None = None
) -> "tuple[Canvas, list[Axes]]":
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(figsize=(width, height), dpi=_DPI, layout="constrained")
    grid = canvas.subplots(rows, columns, squeeze=False, height_ratios=ratios)
    for axes in grid.flat:
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(_FAINT)
        axes.grid(visible=True, color="#E6E6E6", linewidth=0.7)
        axes.set_axisbelow(True)
        axes.tick_params(colors=_INK, labelsize=8, length=3)
        axes.xaxis.label.set(fontsize=9, color=_INK)
        axes.yaxis.label.set(fontsize=9, color=_INK)
    return canvas, list(grid.flat)


def _title(axes: "Axes", text: str) -> None:
    axes.set_title(text, fontsize=10, color=_INK, fontweight="bold", loc="left")


def _legend(axes: "Axes", place: Literal["upper left", "upper right", "lower right"]) -> None:
    axes.legend(loc=place, fontsize=7.5, frameon=False, labelcolor=_INK)


def _png(canvas: "Canvas") -> bytes:
    """Return the picture in a palette of 64 colours: a third of the size, and nobody sees a difference."""
    from PIL import Image

    pixels, packed = BytesIO(), BytesIO()
    canvas.savefig(pixels, format="rgba")
    picture = Image.frombytes("RGBA", canvas.canvas.get_width_height(), pixels.getvalue()).convert("RGB")
    picture.quantize(_COLOURS).save(packed, format="png", optimize=True)
    return packed.getvalue()
