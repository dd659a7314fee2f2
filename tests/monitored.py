"""Invented training rows and live rows for the tests of monitoring, and an announcement calendar with seasons."""

import numpy as np
import pandas as pd

from earlysignal_core.features.catalogue import catalogue
from earlysignal_core.monitoring.reference import Reference

COUNTED = [name for name, feature in catalogue().items() if feature.of_the_company]
SHARED = [name for name, feature in catalogue().items() if not feature.of_the_company]
NOW = pd.Timestamp("2019-02-20 03:00", tz="UTC")


def rows(n: int, random: np.random.Generator, names=COUNTED, *, end=NOW, days=30) -> pd.DataFrame:
    """Rows whose features and probabilities are independent draws of one distribution each."""
    moments = end - pd.to_timedelta(np.sort(random.random(n))[::-1] * days, "D")
    values = pd.DataFrame(random.normal(size=(n, len(names))), columns=list(names))
    return values.assign(as_of=pd.DatetimeIndex(moments).as_unit("ns"), probability=random.beta(1, 8, n))


def reference(random: np.random.Generator, names=COUNTED, *, n: int = 6000, years: float = 5) -> Reference:
    trained = rows(n, random, names, end=NOW - pd.Timedelta(days=40), days=years * 365)
    return Reference("v2019.1.0", trained[["as_of", *names, "probability"]])


def announcement_days(random: np.random.Generator, years: int, companies: int = 480) -> pd.DatetimeIndex:
    """Every company once a quarter, most of them within six weeks, as in real seasons."""
    quarters = pd.date_range("2014-01-01", periods=4 * years, freq="QS")
    offset = np.where(
        random.random((len(quarters), companies)) < 0.85,
        random.normal(33, 9, (len(quarters), companies)).clip(8, 89),
        random.integers(0, 90, (len(quarters), companies)),
    )
    day = quarters.to_numpy()[:, None] + offset.astype("timedelta64[D]")
    days = pd.DatetimeIndex(np.sort(day.ravel()))
    return days - pd.to_timedelta(np.maximum(days.weekday - 4, 0), "D")
