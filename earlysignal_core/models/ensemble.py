"""Several models as one: each member has its algorithm, window and features, and they are summed in log odds."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from earlysignal_core.datasets.splits import BoolArray, expanding_folds, known_before
from earlysignal_core.errors import EarlySignalError
from earlysignal_core.features.catalogue import catalogue
from earlysignal_core.models.algorithm import Fitted, FloatArray, algorithm
from earlysignal_core.models.calibration import log_odds
from earlysignal_core.models.side_by_side import side_by_side
from earlysignal_core.settings import EnsembleSettings, Member


class TooLittleToLearnError(EarlySignalError):
    """A member's window holds one outcome only."""


@dataclass(frozen=True)
class Pool:
    """Fitted members and how much each counts: a logarithmic opinion pool.

    Attributes
    ----------
    members : sequence of (list of int, Fitted)
        The columns that a member reads, and the member.
    coefficients : sequence of float
        What each member's log odds count: its weight over all weights, or what the stack learned.
    intercept : float

    Notes
    -----
    Genest & Zidek, "Combining Probability Distributions: A Critique and an Annotated Bibliography", Statistical
    Science 1 (1986). A sum of log odds keeps the explanation of a row exact: its parts are those of the members.
    """

    members: Sequence[tuple[list[int], Fitted]]
    coefficients: Sequence[float]
    intercept: float

    def predict(self, X: FloatArray) -> FloatArray:
        """Return the probability of each row before calibration, shape (n,)."""
        if len(self.members) == 1:
            return self.members[0][1].predict(_of(X, self.members[0][0]))
        score = np.full(len(X), self.intercept)
        for (columns, member), coefficient in zip(self.members, self.coefficients, strict=True):
            score += coefficient * log_odds(member.predict(_of(X, columns)))
        return np.asarray(expit(score))

    def contributions(self, X: FloatArray) -> FloatArray:
        """Return what each feature adds to the log odds, shape (n, features + 1), the last being the base."""
        parts = np.zeros((len(X), X.shape[1] + 1))
        parts[:, -1] = self.intercept
        for (columns, member), coefficient in zip(self.members, self.coefficients, strict=True):
            parts[:, [*columns, -1]] += coefficient * member.contributions(_of(X, columns))
        return parts

    def importance(self, features: int) -> FloatArray:
        """Return each feature's share of the members' own measures, shape (features,)."""
        shares = np.zeros(features)
        for (columns, member), coefficient in zip(self.members, self.coefficients, strict=True):
            own = member.importance()
            if own.sum():
                shares[columns] += abs(coefficient) * (own / own.sum())
        total = float(np.abs(self.coefficients).sum())
        return shares / total if total else shares

    def to_text(self) -> str:
        """Return a single member's own text, else a JSON list of them."""
        texts = [member.to_text() for _, member in self.members]
        return texts[0] if len(texts) == 1 else json.dumps(texts)

    @classmethod
    def load(cls, model: Mapping[str, Any], text: str) -> "Pool":
        """Read the members of a bundle."""
        members = members_of(model)
        texts = [text] if len(members) == 1 else json.loads(text)
        fitted = [algorithm(member["algorithm"]).load(each) for member, each in zip(members, texts, strict=True)]
        return cls(list(zip(_columns(model), fitted, strict=True)), *_combined(model))


def choose(
    ensemble: EnsembleSettings,
    features: list[str],
    frame: pd.DataFrame,
    learned: BoolArray,
    validation: BoolArray,
    embargo: pd.Timedelta,
) -> tuple[dict[str, Any], Pool]:
    """Choose each member's size on the validation rows, and how much each member counts.

    Parameters
    ----------
    ensemble : EnsembleSettings
    features : list of str
    frame : DataFrame
        ``as_of``, ``label``, ``label_available_at`` and the features.
    learned, validation : ndarray of bool, shape (n,)
        The rows to learn from, and the later ones to choose by.
    embargo : Timedelta
        How long before a fold a label must have been known.

    Returns
    -------
    dict, Pool
        What a bundle's `model` holds of the members (`refit` needs no more), and the members as fitted here.

    Raises
    ------
    TooLittleToLearnError
        A member's window holds one outcome only.
    """
    label = frame["label"].to_numpy(dtype="float64")
    end = frame.loc[validation, "as_of"].min()

    def fitted_until_worse(member: Member) -> tuple[dict[str, Any], Fitted]:
        named = _features(member, features)
        chosen = {**algorithm(member.algorithm).PARAMS, **member.params}
        rows = learned & _within(frame["as_of"], end, member.window_months)
        _check(label[rows], member.algorithm, member.window_months)
        X = frame[named].to_numpy(dtype="float64")
        with _named(member.algorithm, chosen):
            best, size = algorithm(member.algorithm).fit_until_worse(
                X[rows], label[rows], X[validation], label[validation], named, chosen
            )
        told = {"params": chosen, "features": named, "trees": size, "window_months": member.window_months}
        return {"algorithm": member.algorithm, **told}, best

    found = side_by_side(fitted_until_worse, ensemble.members)
    members, fitted = [member for member, _ in found], [best for _, best in found]
    if len(members) == 1:
        return members[0], Pool([(list(range(len(members[0]["features"]))), fitted[0])], [1.0], 0.0)
    union = [name for name in features if any(name in member["features"] for member in members)]
    model: dict[str, Any] = {
        "algorithm": "ensemble",
        "voting": ensemble.voting,
        "members": members,
        "features": union,
        "trees": sum(member["trees"] for member in members),
    }
    model["coefficients"], model["intercept"] = (
        _stacked(model, frame[learned], embargo) if ensemble.voting == "stacked" else _weighted(ensemble)
    )
    return model, Pool(list(zip(_columns(model), fitted, strict=True)), *_combined(model))


def refit(model: Mapping[str, Any], frame: pd.DataFrame, end: pd.Timestamp) -> Pool:
    """Fit the chosen members anew on the rows of their windows before `end`.

    Raises
    ------
    TooLittleToLearnError
        A member's window holds one outcome only.
    """
    label = frame["label"].to_numpy(dtype="float64")

    def fitted_anew(member: Mapping[str, Any]) -> Fitted:
        rows = _within(frame["as_of"], end, member.get("window_months"))
        _check(label[rows], member["algorithm"], member.get("window_months"))
        X = frame[member["features"]].to_numpy(dtype="float64")[rows]
        with _named(member["algorithm"], member["params"]):
            return algorithm(member["algorithm"]).fit(
                X, label[rows], member["features"], member["trees"], member["params"]
            )

    fitted = side_by_side(fitted_anew, members_of(model))
    return Pool(list(zip(_columns(model), fitted, strict=True)), *_combined(model))


def members_of(model: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return what a bundle says of each member; a model of one is its own."""
    return list(model.get("members", [model]))


def window_of(member: Mapping[str, Any], metadata: Mapping[str, Any]) -> int | None:
    """Return how many months of history a member of a bundle was fitted on: its own or its dataset's, or None for all.

    A retrain has its window in the dataset. Models that were made before it was kept with them say all.
    """
    return min(
        (months for months in (member.get("window_months"), metadata.get("window_months")) if months), default=None
    )


def _weighted(ensemble: EnsembleSettings) -> tuple[list[float], float]:
    total = sum(member.weight for member in ensemble.members)
    return [member.weight / total for member in ensemble.members], 0.0


def _stacked(model: Mapping[str, Any], learned: pd.DataFrame, embargo: pd.Timedelta) -> tuple[list[float], float]:
    """Learn how much each member counts from forecasts of rows that come after those it was fitted on.

    Notes
    -----
    Wolpert, "Stacked Generalization", Neural Networks 5 (1992), with folds in time order: shuffled ones would show the
    stack forecasts by members that had seen the future.
    """
    equal = dict(model) | {"coefficients": [1.0] * len(model["members"]), "intercept": 0.0}
    inputs, labels = [], []
    for begin, rows in expanding_folds(learned["as_of"]):
        before, fold = learned[known_before(learned, begin, embargo)], learned[rows]
        pool, X = refit(equal, before, begin), fold[model["features"]].to_numpy(dtype="float64")
        inputs.append(np.column_stack([log_odds(each.predict(_of(X, columns))) for columns, each in pool.members]))
        labels.append(fold["label"].to_numpy(dtype="float64"))
    label = np.concatenate(labels)
    _check(label, "the stack", None)
    stack = LogisticRegression(C=1.0).fit(np.vstack(inputs), label)
    return stack.coef_[0].tolist(), float(stack.intercept_[0])


@contextmanager
def _named(name: str, params: Mapping[str, Any]) -> Iterator[None]:
    """Say which member it is that a library cannot fit, in a sentence."""
    try:
        yield
    except algorithm(name).REFUSAL as error:
        raise EarlySignalError(
            f"a {name} cannot be fitted with {dict(params)}: {str(error).strip().splitlines()[-1]}. Remedy: correct "
            f"the member's `params` in EARLYSIGNAL_ENSEMBLE."
        ) from error


def _features(member: Member, features: list[str]) -> list[str]:
    if not member.families:
        return features
    known = {feature.family for feature in catalogue().values()}
    if unknown := sorted(set(member.families) - known):
        raise EarlySignalError(
            f"there is no family of features {', '.join(unknown)}. Remedy: choose from {', '.join(sorted(known))}."
        )
    named = [name for name in features if catalogue()[name].family in member.families]
    if not named:
        raise EarlySignalError(
            f"the dataset has no feature of {', '.join(member.families)}. Remedy: leave that member out on this source."
        )
    return named


def _within(as_of: pd.Series, end: pd.Timestamp, months: int | None) -> BoolArray:
    if months is None:
        return np.ones(len(as_of), dtype=bool)
    return (as_of > end - pd.DateOffset(months=months)).to_numpy()


def _check(label: FloatArray, name: str, months: int | None) -> None:
    if len(np.unique(label)) < 2:
        window = f"{months} months" if months else "all history"
        raise TooLittleToLearnError(f"the {len(label)} examples for {name} ({window}) do not hold both outcomes")


def _columns(model: Mapping[str, Any]) -> list[list[int]]:
    place = {name: i for i, name in enumerate(model["features"])}
    return [[place[name] for name in member["features"]] for member in members_of(model)]


def _combined(model: Mapping[str, Any]) -> tuple[list[float], float]:
    return list(model.get("coefficients", [1.0])), float(model.get("intercept", 0.0))


def _of(X: FloatArray, columns: list[int]) -> FloatArray:
    return X if len(columns) == X.shape[1] else np.take(X, columns, axis=1)
