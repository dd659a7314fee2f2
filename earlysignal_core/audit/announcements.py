"""Announcements that are missing, doubled, or that change their share basis; surprises that cannot be computed."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from earlysignal_core.audit.finding import Finding
from earlysignal_core.tables import fiscal_quarter

_SPLITS = np.array([2.0, 3.0, 4.0, 5.0, 7.0, 10.0, 15.0, 20.0])
_RATIO_TOLERANCE, _SEASONS_AGREE = 0.12, 0.2
_SMALLEST_SPLIT = 1.4
_BEFORE_SPLIT, _AFTER_SPLIT = 60, 200
_FEWEST_TWINS, _TWIN_SHARE = 2, 0.8
_COUNTED = "features count fiscal quarters, not rows, so what is missing stays missing"


def missing_quarters(earnings: pd.DataFrame) -> list[Finding]:
    """Find fiscal quarters without an announcement between a company's first and last.

    Where most companies lack the same one of the four, year after year, that is one finding about the table.
    """
    quarters = pd.Series(_quarters(earnings), index=earnings["symbol"])
    present = {str(symbol): sorted(set(own)) for symbol, own in quarters.groupby(level=0)}
    gaps = {symbol: sorted(set(range(own[0], own[-1])) - set(own)) for symbol, own in present.items()}
    seasonal = {symbol for symbol, gap in gaps.items() if gap and _whole_season(gap, present[symbol])}
    found = []
    if 2 * len(seasonal) > len(gaps):
        in_season = np.bincount([gaps[symbol][0] % 4 for symbol in seasonal], minlength=4)
        evidence = (
            f"{len(seasonal)} of {len(gaps)} companies lack the same fiscal quarter every year "
            f"(Q{np.argmax(in_season) + 1} in {in_season.max()} of them), "
            f"{sum(len(gaps[symbol]) for symbol in seasonal)} announcements in all"
        )
        found.append(Finding("missing_season", None, None, evidence, _COUNTED, "earnings"))
    else:
        seasonal = set()
    return found + [
        Finding("missing_quarter", symbol, None, f"no announcement for {', '.join(map(_named, gap))}", _COUNTED)
        for symbol, gap in gaps.items()
        if gap and symbol not in seasonal
    ]


def duplicates(earnings: pd.DataFrame) -> list[Finding]:
    """Find two announcements of one fiscal quarter, and two symbols that carry the same announcements."""
    return [*_doubled_quarters(earnings), *_twin_findings(earnings)]


def untrustworthy_surprises(earnings: pd.DataFrame) -> list[Finding]:
    """Find estimates of zero, and surprises beyond ±100 %."""
    found = []
    wide = (earnings["eps_actual"] - earnings["eps_estimate"]).abs() > earnings["eps_estimate"].abs()
    rows = earnings[wide | (earnings["eps_estimate"] == 0)]
    columns = (rows[name].tolist() for name in ("symbol", "announced_on", "eps_estimate", "eps_actual"))
    for symbol, day, estimate, actual in zip(*columns, strict=True):
        if estimate == 0:
            evidence = f"estimate 0, actual {actual:g}"
            found.append(Finding("zero_estimate", symbol, day, evidence, "label is missing: a percentage of nothing"))
        else:
            evidence = f"actual {actual:g}, estimate {estimate:g} ({(actual - estimate) / abs(estimate):+.0%})"
            action = "kept; past surprises enter features winsorised at ±100 %"
            found.append(Finding("extreme_surprise", symbol, day, evidence, action))
    return found


def share_basis_changes(earnings: pd.DataFrame, corporate_actions: pd.DataFrame | None) -> list[Finding]:
    """Find where a company's per-share figures move to another number of shares.

    With recorded splits: the step between neighbouring announcements near a split that matches its ratio. Without: a
    step down at a simple ratio that all seasons share, which a split leaves and business hardly ever does.
    """
    if corporate_actions is None:
        return list(_steps_at_seasons(earnings))
    return list(_steps_at_splits(earnings, corporate_actions))


def _doubled_quarters(earnings: pd.DataFrame) -> Iterator[Finding]:
    rows = earnings.assign(quarter=_quarters(earnings))
    twice = rows[rows.duplicated(["symbol", "quarter"], keep=False)]
    for _, own in twice.groupby(["symbol", "quarter"]):
        days = ", ".join(own["announced_on"].dt.strftime("%Y-%m-%d"))
        yield Finding(
            "duplicate_quarter",
            own["symbol"].iloc[0],
            own["announced_on"].max(),
            f"{len(own)} announcements of {_named(own['quarter'].iloc[0])}: {days}",
            "reported only: both are kept",
        )


def share_classes(earnings: pd.DataFrame) -> dict[str, str]:
    """Return the symbols that carry another's announcements, each with that other: share classes of one company.

    Parameters
    ----------
    earnings : DataFrame
        symbol, announced_on, eps_actual.
    """
    return {str(row.symbol_other): str(row.symbol) for row in _twins(earnings)[::-1].itertuples()}


def companies_of(symbols: pd.Series, classes: Mapping[str, str]) -> pd.Series:
    """Return the company of each symbol, given `share_classes`."""
    return pd.Series([classes.get(symbol, symbol) for symbol in symbols], index=symbols.index, dtype="str")


def _twins(earnings: pd.DataFrame) -> pd.DataFrame:
    """Return pairs of symbols with the same announcements, to the day and the cent, and how many there are."""
    number, symbols = pd.factorize(earnings["symbol"], sort=True)
    day, result = earnings["announced_on"].to_numpy("datetime64[ns]"), earnings["eps_actual"].to_numpy("float64")
    order = np.lexsort([number, result, day])
    number, day, result = number[order], day[order], result[order]
    one, other = _pairs(_same_as_before(day) & _same_as_before(result))
    one, other = one[number[one] < number[other]], other[number[one] < number[other]]
    pair = number[one] * len(symbols) + number[other]
    pair, first, size = np.unique(pair, return_index=True, return_counts=True)
    announcements = np.bincount(number, minlength=len(symbols))
    symbol, other = np.divmod(pair, max(len(symbols), 1))
    fewest = np.minimum(announcements[symbol], announcements[other])
    chosen = np.flatnonzero(size >= np.maximum(_FEWEST_TWINS, _TWIN_SHARE * fewest))
    return pd.DataFrame(
        {
            "symbol": symbols.take(symbol[chosen]),
            "symbol_other": symbols.take(other[chosen]),
            "size": size[chosen],
            "min": day[one[first[chosen]]],
            "fewest": fewest[chosen],
        }
    )


def _pairs(is_like_before: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return all pairs of rows that are alike, in the order of the first; given which are like the row before them."""
    group, pairs = np.cumsum(~is_like_before), []
    for step in range(1, len(group)):
        alike = np.flatnonzero(group[step:] == group[:-step])
        if not len(alike):
            break
        pairs.append([alike, alike + step])
    one, other = np.concatenate(pairs, axis=1) if pairs else np.empty((2, 0), dtype=np.int64)
    order = np.argsort(one, kind="stable")
    return one[order], other[order]


def _same_as_before(values: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Say which values equal the one before them, where what is missing equals what is missing."""
    same = (values[1:] == values[:-1]) | (pd.isna(values[1:]) & pd.isna(values[:-1]))
    return np.append(np.zeros(min(1, len(values)), dtype=bool), same)


def _twin_findings(earnings: pd.DataFrame) -> Iterator[Finding]:
    for _, symbol, other, size, since, fewest in _twins(earnings).itertuples():
        evidence = f"{size} of {fewest} announcements are those of {symbol}, to the day and the cent"
        action = "both share classes are kept as examples; intervals count them as one company"
        yield Finding("same_announcement", other, since, evidence, action)


def _steps_at_splits(earnings: pd.DataFrame, corporate_actions: pd.DataFrame) -> Iterator[Finding]:
    splits = corporate_actions[corporate_actions["kind"] == "split"].rename(columns={"session": "split_on"})
    rows = earnings.sort_values(["symbol", "announced_on"])
    eps = rows[["eps_estimate", "eps_actual"]]
    before = eps.groupby(rows["symbol"]).shift()
    ratio = (eps / before).where((eps > 0) & (before > 0)).prod(axis=1, skipna=False)
    rows = rows.assign(step=np.log(ratio.to_numpy()) / 2, before=before["eps_actual"])
    near = rows.merge(splits[["symbol", "split_on", "value"]], on="symbol")
    shares = np.log(near["value"].to_numpy())
    days = (near["announced_on"] - near["split_on"]).dt.days.to_numpy()
    near = near.assign(off=np.abs(near["step"].to_numpy() + shares) / np.abs(shares), days=days)
    near = near[(near["off"] <= 1 / 3) & (days >= -_BEFORE_SPLIT) & (days <= _AFTER_SPLIT)]
    near = near[np.abs(np.log(near["value"].to_numpy())) >= np.log(_SMALLEST_SPLIT)]
    hits = near.sort_values("off").drop_duplicates(["symbol", "split_on"]).sort_values(["symbol", "split_on"])
    names = ("symbol", "announced_on", "before", "eps_actual", "value", "split_on", "days")
    for symbol, day, old, new, value, split_on, late in zip(*(hits[name].tolist() for name in names), strict=True):
        evidence = f"EPS {old:g} → {new:g} beside the split of {value:g} on {split_on:%Y-%m-%d}"
        if late < 0:
            evidence += f": restated {-late} days before the split"
            action = "reported only: features take it for a figure of its day and put it on the new basis once more"
        else:
            evidence += ": figures before it are on the old number of shares"
            action = "features put the earlier figures on the new basis by the recorded split"
        yield Finding("share_basis", symbol, day, evidence, action)


def _steps_at_seasons(earnings: pd.DataFrame) -> Iterator[Finding]:
    rows = earnings.assign(quarter=_quarters(earnings)).drop_duplicates(["symbol", "quarter"])
    symbols, row = np.unique(rows["symbol"].to_numpy(dtype=object), return_inverse=True)
    first = int(rows["quarter"].min())
    column = rows["quarter"].to_numpy() - first
    logs = np.full((len(symbols), column.max() + 1), np.nan)
    estimate = rows["eps_estimate"].to_numpy()
    logs[row, column] = np.log(np.where(estimate > 0, estimate, np.nan))
    if logs.shape[1] < 8:
        return
    seasons = np.lib.stride_tricks.sliding_window_view(logs[:, 4:] - logs[:, :-4], 4, axis=1)
    known = np.sum(~np.isnan(seasons), axis=-1)
    step = np.nansum(seasons, axis=-1) / np.maximum(known, 1)
    spread = np.fmax.reduce(seasons, axis=-1) - np.fmin.reduce(seasons, axis=-1)
    off_ratio = np.min(np.abs(step[..., None] + np.log(_SPLITS)), axis=-1)
    spread[(known < 3) | (spread > _SEASONS_AGREE) | (off_ratio > _RATIO_TOLERANCE)] = np.inf
    announced = dict(zip(zip(row.tolist(), column.tolist(), strict=True), rows["announced_on"].tolist(), strict=True))
    for k in np.flatnonzero(np.isfinite(spread).any(axis=1)).tolist():
        at = int(np.argmin(spread[k]))
        evidence = (
            f"from {_named(first + at + 4)} on the estimates of every season stand at 1/{np.exp(-step[k, at]):.2f} of "
            f"the year before (seasons agree within {spread[k, at]:.2f} in logs), as after a split"
        )
        # The quarter of the step may itself be missing; another of its four seasons then is the first that shows it.
        first_day = next(announced[k, column] for column in range(at + 4, at + 8) if (k, column) in announced)
        action = "reported only: without recorded splits per-share figures are read as they stand"
        yield Finding("share_basis", str(symbols[k]), first_day, evidence, action)


def _quarters(earnings: pd.DataFrame) -> npt.NDArray[np.int64]:
    return fiscal_quarter(earnings["fiscal_period"], earnings["announced_on"])


def _whole_season(gap: list[int], present: list[int]) -> bool:
    """Say whether the missing quarters are all of one season, and none of that season is present."""
    season = gap[0] % 4
    return all(quarter % 4 == season for quarter in gap) and all(quarter % 4 != season for quarter in present)


def _named(quarter: int) -> str:
    return f"{quarter // 4}-Q{quarter % 4 + 1}"
