"""What every figure means, in words: the report's glossary and `docs/metrics.md` are held to this table."""

from typing import NamedTuple


class Definition(NamedTuple):
    """The name that a reader sees, and the definition."""

    title: str
    text: str


FIGURES: dict[str, Definition] = {
    "base_rate": Definition("Base rate", "Share of announcements that beat the consensus by more than 20 %."),
    "auc": Definition(
        "AUC",
        "Area under the ROC curve: the chance that a large beat got a higher score than an announcement that was "
        "none; equal scores count half. 0.5 is guessing.",
    ),
    "auc_within_company": Definition(
        "AUC within companies",
        "The same chance, over pairs of one company's own announcements only: does the model know when, "
        "and not only which company?",
    ),
    "auc_given_large_surprise": Definition(
        "AUC given a large surprise",
        "The same chance, among announcements that missed or beat the consensus by more than 20 %: does the model know "
        "the direction, and not only whose figures are far from the consensus?",
    ),
    "average_precision": Definition(
        "Average precision",
        "Area under the precision-recall curve, in steps (no interpolation). Guessing gives the base rate.",
    ),
    "accuracy_of_never": Definition("Accuracy of “never”", "What always answering “no large beat” would score."),
    "accuracy": Definition("Accuracy", "Share of right answers, at the threshold stored with the model."),
    "precision": Definition("Precision", "Share of large beats among those called, at the stored threshold."),
    "recall": Definition("Recall", "Share of large beats that were called, at the stored threshold."),
    "f1": Definition("F1", "Harmonic mean of precision and recall, at the stored threshold."),
    "accuracy_at_half": Definition("Accuracy at 0.5", "Share of right answers, calling a large beat from 0.5 on."),
    "precision_at_half": Definition("Precision at 0.5", "Share of large beats among those called from 0.5 on."),
    "recall_at_half": Definition("Recall at 0.5", "Share of large beats that were called from 0.5 on."),
    "f1_at_half": Definition("F1 at 0.5", "Harmonic mean of the two."),
    "brier": Definition("Brier score", "Mean squared distance of the forecast from the outcome; lower is better."),
    "brier_base_rate": Definition(
        "Brier score of the base rate",
        "The same for a forecaster who always names the base rate of the model's training data, the one known before.",
    ),
    "brier_skill": Definition(
        "Brier skill", "1 − Brier score / Brier score of the base rate: 0 adds nothing, below 0 misleads."
    ),
    "ece": Definition(
        "Expected calibration error",
        "Mean distance of forecast and observed rate over ten bins of (as nearly as ties allow) equal count. "
        "Resampling adds noise to every bin, so its interval is centred on the figure.",
    ),
    "ece_of_calibrated": Definition(
        "Calibration error by chance alone",
        "The calibration error to expect of a perfectly calibrated model on as many rows.",
    ),
}

TOP_DECILE: dict[str, Definition] = {
    "precision_top10": Definition(
        "Precision of the top 10 %",
        "Share of large beats among announcements whose forecast lay above the 90th percentile of the forecasts of the "
        "365 days before (strictly earlier; at least 50, else not judged). Nothing later enters.",
    ),
    "base_rate_judged": Definition("Base rate of the judged", "Share of large beats among all that could be judged."),
    "lift": Definition("Lift", "Precision of the top 10 % over the base rate of the judged."),
}

RETURNS: dict[str, Definition] = {
    "return_7d": Definition(
        "7-day excess return",
        "Close of the as-of session to the close of the last session within 7 days, less the benchmark's over the same "
        "sessions. Not tradable to the letter: the forecast uses the close it would buy at.",
    ),
    "return_reaction": Definition(
        "Reaction excess return",
        "Open of the session after as-of to the close of the session that reacts to the announcement (before the open: "
        "the same session; after the close, or unknown: the next), less the benchmark's over the same sessions.",
    ),
    "annual_excess": Definition(
        "Annual excess return",
        "252 × mean daily excess return of a portfolio that holds every open reaction window at equal weight, "
        "net of costs; sessions without a position count as 0.",
    ),
    "sharpe": Definition(
        "Sharpe ratio",
        "Mean over standard deviation of that daily excess return × √252, over all sessions from the first entry to "
        "the last exit (Sharpe 1994: the return is a differential one, so no risk-free rate is needed).",
    ),
    "information_ratio": Definition(
        "Information ratio",
        "Intercept over residual standard deviation × √252, from regressing the portfolio's daily net return on the "
        "benchmark's over the invested sessions: what is left after the market exposure that it really had.",
    ),
    "beta": Definition("Beta", "Slope of that regression."),
    "max_drawdown": Definition("Maximum drawdown", "Deepest fall of the compounded excess return from its peak."),
}
