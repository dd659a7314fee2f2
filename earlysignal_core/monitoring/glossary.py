"""What the monitors' figures mean, in words."""

from collections.abc import Mapping
from types import MappingProxyType

MEANINGS: Mapping[str, str] = MappingProxyType(
    {
        "rows": "events served in the window",
        "reference_rows": "training rows of the champion, which they are compared with",
        "predictions": "those of them that a model has answered",
        "psi": "population stability index of the probabilities against those of the training rows",
        "psi_limit": "what chance alone reaches with so few rows",
        "psi_above_chance": "the index less that",
        "psi_usual": "what 95 % of the held-out months of the training kept within",
        "psi_usual_limit": "that, and what chance adds to it with so few rows",
        "psi_above_usual": "the index less that",
        "psi_of_season": "the index against the training rows of the same season",
        "features_compared": "features that differ between companies and can be told apart: only these can drift",
        "features_above_limit": "of all features, those with a distance above 0.15: the rule as written",
        "features_drifted": "of those compared, the ones above 0.15, above chance and above what is usual in training",
        "features_missing": "features that have gone missing more often than in training",
        "missing_share": "mean share of missing values",
        "mean_distance": "mean Kolmogorov-Smirnov distance of the features compared",
        "max_distance": "the largest of them",
        "features_shifted": "features whose mean of a week lies more than 2 standard deviations from the training's",
        "labelled": "predictions of the window whose outcome is known: all figures of accuracy are of these",
        "pending": "events that have been announced, and whose outcome is not known yet",
        "no_event": "announcements that did not take place",
        "unlabelled": "announcements whose surprise cannot be told",
        "restated": "outcomes that were corrected afterwards",
        "delisted": "companies that left the market within the horizon",
        "not_by_a_model": "answers of the rule, or none",
        "expected_accuracy": "accuracy expected of the probabilities alone (CBPE), without outcomes",
        "champion_auc": "AUC of the champion's walk-forward, before it served",
        "champion_auc_low": "the lower end of its 95 % interval",
        "latency_ms": "mean milliseconds for a request",
        "latency_p99_ms": "99 % of the requests took at most this",
        "slow_share": "share of requests above 500 ms",
        "requests_per_day": "requests a day, over the whole window of 30 days",
        "error_rate": "share of requests that no model could answer",
        "newcomers": "features that have entered the five most important ones",
        "importance_drift": "Kullback-Leibler divergence of what the model looks at from what it looked at in training",
        "distribution_drift": "mean Kolmogorov-Smirnov distance of the features, as in drift_report",
    }
)
