"""Which companies are followed: a file of the user's, or what a provider lists today."""

from pathlib import Path

import pandas as pd
import pyarrow as pa

from earlysignal_core.sources.live.errors import LiveSettingsError
from earlysignal_core.sources.live.records import Rows
from earlysignal_core.tables import UNIVERSE
from earlysignal_core.validation import checked

SECTOR_ETFS = {
    "Communication Services": "XLC",
    "Consumer Discretionary": "XLY",
    "Consumer Staples": "XLP",
    "Energy": "XLE",
    "Financials": "XLF",
    "Health Care": "XLV",
    "Industrials": "XLI",
    "Information Technology": "XLK",
    "Materials": "XLB",
    "Real Estate": "XLRE",
    "Utilities": "XLU",
}
_OTHER_NAMES = {
    "Technology": "Information Technology",
    "Financial Services": "Financials",
    "Healthcare": "Health Care",
    "Consumer Cyclical": "Consumer Discretionary",
    "Consumer Defensive": "Consumer Staples",
    "Basic Materials": "Materials",
}
_DAYS = (pd.Timestamp("1900-01-01"), pd.Timestamp("2200-01-01"))
_OPTIONAL = ("name", "sector", "sector_etf", "first", "last")


def from_file(path: Path) -> pd.DataFrame:
    """Read a user's own list: ``symbol``, and where known ``name``, ``sector``, ``sector_etf``, ``first``, ``last``.

    Raises
    ------
    LiveSettingsError
        If the file is not there or has no symbols.
    """
    if not path.is_file():
        raise LiveSettingsError(f"there is no file {path}. Remedy: correct EARLYSIGNAL_LIVE__COMPANIES.")
    frame = _parquet(path) if path.suffix == ".parquet" else _csv(path)
    if "symbol" not in frame or frame.empty:
        has = f"has {len(frame)} row(s) and the column(s) {', '.join(map(str, frame))}"
        raise LiveSettingsError(
            f"{path} lists no companies: it {has}. Remedy: give it a column `symbol` with one in each row, and commas "
            f"between columns."
        )
    frame = frame.assign(symbol=frame["symbol"].astype("str").str.strip().str.upper())
    for name in {"first", "last"} & set(frame):
        days = pd.to_datetime(frame[name], errors="coerce", format="ISO8601", utc=True).dt.tz_localize(None)
        days = days.where(days.between(*_DAYS))
        wrong = frame[name].notna() & days.isna()
        if wrong.any():
            row = frame[wrong].iloc[0]
            told = f"{path}: `{name}` of {row['symbol']} is {row[name]!r}, which is no day"
            raise LiveSettingsError(
                f"{told}. Remedy: write it like 2018-06-07, and leave it empty where there is none."
            )
        frame[name] = days
    return _universe(frame)


def cusips_from_file(path: Path) -> dict[str, str]:
    """Read a CSV file of ``cusip,symbol``.

    Raises
    ------
    LiveSettingsError
        If the file is not there or has other columns.
    """
    if not path.is_file():
        raise LiveSettingsError(f"there is no file {path}. Remedy: correct EARLYSIGNAL_LIVE__CUSIPS.")
    frame = _csv(path)
    if not {"cusip", "symbol"} <= set(frame):
        raise LiveSettingsError(f"{path} has no columns `cusip` and `symbol`. Remedy: add them.")
    whole = frame.dropna(subset=["cusip", "symbol"])
    return dict(zip(whole["cusip"].str.strip().str.upper(), whole["symbol"].str.strip().str.upper(), strict=True))


def from_constituents(rows: Rows) -> pd.DataFrame:
    """Return the universe of a provider's list of constituents, with the days of their membership where known."""
    return _universe(pd.DataFrame(rows, columns=["symbol", "name", "sector", "sector_etf", "first", "last"]))


def _parquet(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except (pa.ArrowException, OSError) as error:
        raise LiveSettingsError(f"{path} is no Parquet file: {error}. Remedy: write it anew.") from error


def _csv(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False, na_values=[""])  # NA is a company's symbol
    except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise LiveSettingsError(f"{path} is no CSV file in UTF-8: {error}. Remedy: write it anew.") from error


def _universe(frame: pd.DataFrame) -> pd.DataFrame:
    frame = frame.assign(**{column: None for column in _OPTIONAL if column not in frame})
    sector = frame["sector"].replace(_OTHER_NAMES)
    etf = frame["sector_etf"].where(frame["sector_etf"].notna(), sector.map(SECTOR_ETFS)).astype("str")
    dates = {column: pd.to_datetime(frame[column]).astype("datetime64[ns]") for column in ("first", "last")}
    return checked(UNIVERSE, frame.assign(sector=sector, sector_etf=etf, **dates))
