"""What companies file with the SEC between their periodic reports."""

import numpy as np
import pandas as pd

from earlysignal_core.features._trades import BEGUN_DAYS, is_covered
from earlysignal_core.features.arrays import Flags, Values
from earlysignal_core.features.catalogue import feature
from earlysignal_core.features.point_in_time import PointInTime
from earlysignal_core.tables import KNOWABLE

_DAYS, _MOST = 30, 60


@feature(family="filings", unit="count", needs={"sec_filings": BEGUN_DAYS}, requires=("sec_filings:8-K",))
def sec_8k_filing_count_30d(at: PointInTime) -> Values:
    """How many current reports (8-K) were accepted in the last 30 days.

    None is 0; NaN where no filing of the company in the year before those days shows that the table covers it, and to
    the end of the quarter of the first 8-K of all.
    """
    age = at.as_of_day[:, None] - at.window("sec_filings", KNOWABLE, _MOST, only=_current_reports)
    return np.where(is_covered(at, "8-K", _DAYS), (age < _DAYS).sum(axis=1), np.nan)


def _current_reports(filings: pd.DataFrame) -> Flags:
    return (filings["form"] == "8-K").to_numpy()
