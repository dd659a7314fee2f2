"""The same features as a plain pandas/NumPy script would compute them: the measure of speed, and a second opinion.

It trusts the tape: one vintage of everything, adjusted prices, announcements known before the next one, no false level
shifts. It looks nothing up by `available_at` but the macro series and the season.
"""
# ruff: noqa: PD010 - a plain script pivots, and `pivot_table` would aggregate where there is nothing to aggregate

import numpy as np
import pandas as pd

CYCLICAL = ("Consumer Discretionary", "Financials", "Industrials", "Information Technology", "Materials", "Real Estate")


def plain_features(tables: dict[str, pd.DataFrame], rows: pd.DataFrame, benchmark: str) -> pd.DataFrame:
    """Return the features of the sp500 tape, a row for each example.

    Parameters
    ----------
    tables : dict of str to DataFrame
        Whole tables.
    rows : DataFrame
        Examples, as from `features.examples`.
    benchmark : str
    """
    found = pd.DataFrame(index=rows.index)
    _prices(found, tables["ohlcv"], rows, benchmark)
    _history(found, tables["earnings"], tables["universe"], rows)
    _macro(found, tables["macro"], rows)
    surprise = found["earnings_surprise"]
    found["earnings_surprise_x_price_momentum"] = surprise * found["price_change_20d"]
    found["earnings_surprise_x_volume"] = surprise * found["volume_ratio"]
    found["volatility_x_volume_ratio"] = found.pop("volatility") * found["volume_ratio"]
    found["fed_rate_x_sector_beta"] = found["fed_rate_change_30d"] * found.pop("sector_beta")
    found["gdp_growth_x_cyclical_exposure"] = found["gdp_growth_rate"] * rows["sector"].isin(CYCLICAL)
    found.loc[rows["sector"].isna(), "gdp_growth_x_cyclical_exposure"] = np.nan
    return found


def _prices(found: pd.DataFrame, bars: pd.DataFrame, rows: pd.DataFrame, benchmark: str) -> None:
    close = bars.pivot(index="session", columns="symbol", values="close")
    volume = bars.pivot(index="session", columns="symbol", values="volume")
    day = rows["as_of"].dt.tz_localize(None).dt.normalize()
    place = close.index.searchsorted(day, side="right") - 1

    def at(values: pd.DataFrame, owner: str = "symbol") -> np.ndarray:
        column = values.columns.get_indexer(rows[owner] if owner in rows else pd.Index([owner] * len(rows)))
        inside = (place >= 0) & (column >= 0)
        return np.where(inside, values.to_numpy()[np.maximum(place, 0), column], np.nan)

    for n in (5, 10, 20):
        found[f"price_change_{n}d"] = at(close / close.shift(n) - 1)
    found["volume_ratio"] = at(volume.rolling(5).mean() / volume.rolling(20).mean())
    found["volume_trend"] = at(_slope(volume, 10) / volume.rolling(10).mean())

    change = close.diff()
    gain, loss = (
        part.ewm(alpha=1 / 14, adjust=False, min_periods=14).mean()
        for part in (change.clip(lower=0), -change.clip(upper=0))
    )
    rsi = 100 * gain / (gain + loss)
    found["rsi_momentum"] = at(rsi - rsi.rolling(14).mean())
    macd = close.ewm(span=12, adjust=False).mean() - close.ewm(span=26, adjust=False).mean()
    found["macd_histogram_trend"] = at(_slope(macd - macd.ewm(span=9, adjust=False).mean(), 5) / close)

    returns = close / close.shift() - 1
    market = returns[benchmark]
    found["market_beta_30d"] = at(_beta(returns, market, 30))
    found["sector_beta"] = at(_beta(returns[_funds(rows, returns)], market, 120), "sector_etf")
    found["volatility"] = at(returns.rolling(20).std() * np.sqrt(252))
    twenty = close / close.shift(20) - 1
    found["sector_relative_strength"] = at(twenty, "sector_etf") - at(twenty, benchmark)
    last_of_quarter = np.flatnonzero(np.diff(close.index.quarter))
    distance = np.abs(place[:, None] - last_of_quarter).min(axis=1)
    found["quarter_end_effect"] = 1 - np.minimum(distance, 10) / 10
    found.attrs["close"] = close


def _history(found: pd.DataFrame, earnings: pd.DataFrame, universe: pd.DataFrame, rows: pd.DataFrame) -> None:
    said = earnings.assign(
        quarter=_fiscal_quarter(earnings["fiscal_period"]),
        surprise=(earnings["eps_actual"] - earnings["eps_estimate"])
        / earnings["eps_estimate"].abs().replace(0, np.nan)
        * 100,
        dollars=earnings["eps_actual"] - earnings["eps_estimate"],
    )
    said["large"] = (said["surprise"] > 20 + 1e-7).astype(float).where(said["surprise"].notna())
    said["miss"] = (said["surprise"] < -20 - 1e-7).astype(float).where(said["surprise"].notna())
    said["beat"] = (said["surprise"] > 0).astype(float).where(said["surprise"].notna())
    quarters = np.arange(said["quarter"].min(), said["quarter"].max() + 1)
    own = _fiscal_quarter(rows["fiscal_period"])

    def wide(column: str) -> pd.DataFrame:
        return said.pivot(index="quarter", columns="symbol", values=column).reindex(quarters).astype(float)

    def before(values: pd.DataFrame, quarters_back: int = 1) -> np.ndarray:
        place = own.to_numpy() - quarters_back - quarters[0]
        column = values.columns.get_indexer(rows["symbol"])
        return np.where(place >= 0, values.to_numpy()[np.maximum(place, 0), column], np.nan)

    clipped = wide("surprise").clip(-100, 100)
    found["surprise_mean_4q"] = before(clipped.rolling(4, min_periods=2).mean())
    for name in ("mean", "median", "std"):
        found[f"surprise_{name}_8q"] = before(getattr(clipped.rolling(8, min_periods=4), name)())
    for name, column in (("beat_rate_8q", "beat"), ("large_beat_rate_8q", "large"), ("large_miss_rate_8q", "miss")):
        found[name] = before(wide(column).rolling(8, min_periods=4).mean())
    large = wide("large")
    hits, told = before(large.fillna(0).cumsum()), before(large.notna().cumsum())
    found["large_beat_rate_shrunk"] = (np.nan_to_num(hits) + 0.5) / (np.nan_to_num(told) + 5)
    same_season = np.stack([before(clipped, back) for back in (4, 8, 12)])
    seasons = np.isfinite(same_season).sum(axis=0)
    mean = np.nansum(same_season, axis=0) / np.maximum(seasons, 1)
    found["same_season_surprise_mean"] = np.where(seasons >= 2, mean, np.nan)
    dollars = wide("dollars")
    rms = np.sqrt(before((dollars**2).rolling(8, min_periods=4).mean())).clip(0.01)
    base = np.abs(before(wide("eps_actual"), 4))
    found["threshold_z"] = (0.2 * base - before(dollars.rolling(8, min_periods=4).mean())) / rms
    actual = wide("eps_actual")
    latest, year_ago = before(actual), before(actual, 5)
    size = (np.abs(latest) + np.abs(year_ago)) / 2
    found["eps_growth_yoy"] = (latest - year_ago) / np.where(size > 0, size, np.nan)
    size = before(actual.abs().rolling(4, min_periods=2).mean())
    found["eps_season"] = (before(actual, 4) - before(actual.rolling(4, min_periods=2).mean())) / np.where(
        size > 0, size, np.nan
    )
    beat = wide("beat")
    ends = (beat == 0).cumsum()
    streak = beat.fillna(0).apply(lambda of: of.groupby(ends[of.name]).cumsum())
    known_lately = beat.notna().rolling(4, min_periods=1).sum() > 0
    found["beat_streak"] = before(streak.where(known_lately))

    day = wide_days(said, quarters)
    as_of_day = rows["as_of"].dt.tz_localize(None).dt.normalize().to_numpy("datetime64[D]").astype(float)
    last = before(day.ffill(limit=3))
    found["days_since_last_announcement"] = as_of_day - last
    scheduled = rows["scheduled_on"].to_numpy("datetime64[D]").astype(float)
    found["announcement_date_shift"] = scheduled - before(day, 4) - 364
    found["days_to_earnings"] = scheduled - as_of_day
    age = found["days_since_last_announcement"]
    found["earnings_surprise"] = np.where(age <= 120, before(wide("surprise").ffill(limit=3)), np.nan)
    _reactions(found, said, rows, quarters, before)
    _season(found, said, universe, rows)


def _reactions(found: pd.DataFrame, said: pd.DataFrame, rows: pd.DataFrame, quarters: np.ndarray, before) -> None:
    close = found.attrs.pop("close")
    place = close.index.searchsorted(said["announced_on"], side="right") - 1
    start = np.where(said["session"] == "amc", place, place - 1)
    column = close.columns.get_indexer(said["symbol"])
    prices, market = close.to_numpy(), close["^GSPC"].to_numpy()
    inside = (start >= 0) & (start + 1 < len(close)) & (column >= 0)
    start = np.where(inside, start, 0)
    excess = prices[start + 1, column] / prices[start, column] - market[start + 1] / market[start]
    said = said.assign(reaction=np.where(inside, np.abs(excess), np.nan), ended=np.where(inside, start + 1.0, np.nan))
    reaction = said.pivot(index="quarter", columns="symbol", values="reaction").reindex(quarters)
    found["announcement_return_abs_4q"] = before(reaction.rolling(4, min_periods=2).mean())
    ended = before(said.pivot(index="quarter", columns="symbol", values="ended").reindex(quarters).ffill(limit=3))
    now = close.index.searchsorted(rows["as_of"].dt.tz_localize(None).dt.normalize(), side="right") - 1
    own = close.columns.get_indexer(rows["symbol"])
    there = np.isfinite(ended) & (own >= 0)
    then = np.where(there, ended, 0).astype(int)
    drift = prices[now, own] / prices[then, own] - market[now] / market[then]
    found["drift_since_last_announcement"] = np.where(there, drift, np.nan)


def _season(found: pd.DataFrame, said: pd.DataFrame, universe: pd.DataFrame, rows: pd.DataFrame) -> None:
    said = said[said["large"].notna()].sort_values("available_at")
    sector = said["symbol"].map(universe.set_index("symbol")["sector"])

    def counted(chosen: pd.DataFrame, moments: pd.Series) -> tuple[np.ndarray, np.ndarray]:
        until = chosen["available_at"].searchsorted(moments, side="right")
        since = chosen["available_at"].searchsorted(moments - pd.Timedelta(days=35), side="right")
        hits = np.r_[0, chosen["large"].cumsum()]
        return hits[until] - hits[since], until - since

    own_hits, own_total = np.zeros(len(rows)), np.zeros(len(rows))
    places = rows.groupby("symbol").indices
    for symbol, chosen in said.groupby("symbol"):
        if symbol in places:
            own_hits[places[symbol]], own_total[places[symbol]] = counted(chosen, rows["as_of"].iloc[places[symbol]])
    until = said["available_at"].searchsorted(rows["as_of"], side="right")
    with np.errstate(invalid="ignore"):
        rate = np.r_[0, said["large"].cumsum()][until] / until
    hits, total = counted(said, rows["as_of"])
    found["market_season_large_beat_rate"] = (hits - own_hits + 5 * rate) / (total - own_total + 5)
    found["sector_season_large_beat_rate"] = np.nan
    for name, places in rows.groupby("sector").indices.items():
        hits, total = counted(said[sector == name], rows["as_of"].iloc[places])
        share = (hits - own_hits[places] + 5 * rate[places]) / (total - own_total[places] + 5)
        found.loc[found.index[places], "sector_season_large_beat_rate"] = share


def _macro(found: pd.DataFrame, macro: pd.DataFrame, rows: pd.DataFrame) -> None:
    def known(name: str, column: str = "value", days_ago: int = 0) -> np.ndarray:
        of = macro[macro["series"] == name].sort_values("available_at")
        if column == "before":
            of = of.assign(before=of["value"].shift())
        if column == "year":
            of = of.assign(year=of["value"].shift(12))
        moments = pd.DataFrame({"available_at": rows["as_of"] - pd.Timedelta(days=days_ago)})
        return pd.merge_asof(moments, of[["available_at", column]], on="available_at")[column].to_numpy()

    found["fed_rate_change_30d"] = known("FEDFUNDS") - known("FEDFUNDS", days_ago=30)
    found["unemployment_rate_change"] = known("UNRATE") - known("UNRATE", "before")
    found["cpi_inflation_rate"] = 100 * (known("CPIAUCSL") / known("CPIAUCSL", "year") - 1)
    found["gdp_growth_rate"] = 100 * ((known("GDPC1") / known("GDPC1", "before")) ** 4 - 1)
    found["treasury_yield_10y"] = known("DGS10")
    found["high_yield_spread"] = known("BAMLH0A0HYM2")
    found["credit_spread_change"] = known("BAMLC0A0CM") - known("BAMLC0A0CM", days_ago=30)
    found["vix_change_30d"] = known("VIXCLS") - known("VIXCLS", days_ago=30)
    found["dollar_index_change"] = known("DTWEXBGS") / known("DTWEXBGS", days_ago=30) - 1
    found["oil_price_change"] = known("DCOILWTICO") / known("DCOILWTICO", days_ago=30) - 1


def wide_days(said: pd.DataFrame, quarters: np.ndarray) -> pd.DataFrame:
    """Return the days of the announcements, in days since the epoch, by fiscal quarter and symbol."""
    days = said.assign(day=said["announced_on"].to_numpy("datetime64[D]").astype(float))
    return days.pivot(index="quarter", columns="symbol", values="day").reindex(quarters)


def _fiscal_quarter(period: pd.Series) -> pd.Series:
    ended = pd.to_datetime(period, format="%y-%b")
    return ended.dt.year * 4 + ended.dt.quarter - 1


def _slope(values: pd.DataFrame, sessions: int) -> pd.DataFrame:
    steps = np.arange(sessions) - (sessions - 1) / 2
    total = sum(weight * values.shift(sessions - 1 - i) for i, weight in enumerate(steps))
    return total / (steps**2).sum()


def _beta(returns: pd.DataFrame, market: pd.Series, sessions: int) -> pd.DataFrame:
    together = returns.mul(market, axis=0).rolling(sessions).mean()
    covariance = together - returns.rolling(sessions).mean().mul(market.rolling(sessions).mean(), axis=0)
    return covariance.div(market.rolling(sessions).var(ddof=0), axis=0)


def _funds(rows: pd.DataFrame, values: pd.DataFrame) -> list[str]:
    return [fund for fund in rows["sector_etf"].dropna().unique() if fund in values]
