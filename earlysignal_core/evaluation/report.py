"""The report: one HTML page that stands alone, and says in words what the figures bear."""

from base64 import b64encode
from typing import NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from earlysignal_core.evaluation import plots
from earlysignal_core.evaluation.findings import NAMES, findings, interval, number, percent
from earlysignal_core.evaluation.glossary import FIGURES, RETURNS, TOP_DECILE
from earlysignal_core.evaluation.judge import Evaluation, WalkForward
from earlysignal_core.evaluation.metrics import HARDER
from earlysignal_core.evaluation.resampling import LEVEL, RESAMPLES, Figure
from earlysignal_core.evaluation.summary import Context
from earlysignal_core.evaluation.top_decile import MIN_REFERENCE


class Picture(NamedTuple):
    """A plot with the words that stand in for it where it cannot be seen."""

    data: str
    alt: str


def render(judged: WalkForward, context: Context) -> str:
    """Return the report as one HTML page without any outside reference.

    Parameters
    ----------
    judged : WalkForward
    context : Context
    """
    environment = Environment(
        loader=PackageLoader("earlysignal_core.evaluation"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "percent": percent, "figure": figure, "share": share, "bounds": bounds}
    return environment.get_template("report.html").render(
        judged=judged,
        pooled=judged.pooled,
        stretches=_stretches(judged),
        context=context,
        findings=findings(judged),
        names=NAMES,
        harder=HARDER,
        glossary={"Forecasts": FIGURES, "Top 10 %": TOP_DECILE, "Returns": RETURNS},
        pictures=_pictures(judged, context),
        level=LEVEL,
        resamples=RESAMPLES,
        fewest=MIN_REFERENCE,
    )


def figure(found: Figure, digits: int = 3) -> Markup:
    """Return a figure with its interval as HTML; where one is undefined, its reason shows on pointing at it."""
    return _cell(found, number(found.value, digits), interval(found, digits=digits))


def share(found: Figure, digits: int = 1) -> Markup:
    """Return a figure that is a fraction, in percent, like `figure`."""
    return _cell(found, percent(found.value, digits), interval(found, share=True, digits=digits))


def bounds(found: Figure, *, share: bool = False, digits: int | None = None) -> str:
    """Return the interval in words, or why there is none."""
    return interval(found, share=share, digits=digits) or found.reason or ""


def _cell(found: Figure, value: str, within: str) -> Markup:
    if not within:
        return Markup('<span class="value" title="{}">{}</span>').format(found.reason or "", value)
    return Markup('<span class="value">{}</span> <span class="interval">{}</span>').format(value, within)


def _stretches(judged: WalkForward) -> list[tuple[str, Evaluation]]:
    """Return what is shown side by side: all quarters, and the untouched ones where there are any."""
    stretches = [("All quarters", judged.pooled)]
    if judged.untouched.model.n:
        stretches.append((f"Untouched, from {judged.untouched_from}", judged.untouched))
    return stretches


def _pictures(judged: WalkForward, context: Context) -> dict[str, Picture]:
    pooled = judged.pooled
    drawn = {
        "by_quarter": (plots.by_quarter(judged.quarters, pooled), "AUC and base rate by quarter, with intervals"),
        "roc": (plots.roc(pooled), "ROC curves of the model and the baselines"),
        "precision_recall": (plots.precision_recall(pooled), "Precision over recall of the model and the baselines"),
        "calibration": (plots.calibration(pooled), "Observed rate over forecast in ten bins"),
        "confusion": (plots.confusion(pooled), "Right and wrong answers at two thresholds"),
        "cumulative": (plots.cumulative_excess(pooled), "Compounded excess return of the top 10 % and of all"),
    }
    if context.importance:
        drawn["importance"] = (plots.importance(context.importance), "Features by share of gain")
    return {
        name: Picture(f"data:image/png;base64,{b64encode(png).decode()}", alt) for name, (png, alt) in drawn.items()
    }
