"""Estimates and actuals that are not figures of the same kind, by company and by sector.

A consensus is compared with what it means to foretell. Where the two are on different bases (FFO against GAAP earnings,
say), they lie far apart although the consensus itself hardly moves from one quarter to the next. So an announcement is
*off basis* when |actual − estimate| exceeds a fifth of |estimate| and four times the company's usual change of
estimate. A company in turmoil misses widely too, but then its estimates move as widely.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from earlysignal_core.audit.finding import Finding

_WIDE = 0.2
_TIMES_USUAL_CHANGE = 4.0
_CENTS = 0.02
_FEWEST_ROWS, _FEWEST_COMPANIES = 20, 5
_STANDARD_ERRORS = 3.0
_MATERIAL = 0.10
_UNLIKELY = 1e-4


@dataclass(frozen=True)
class SectorBasis:
    """How one sector's off-basis announcements compare with those of all other companies.

    Attributes
    ----------
    rows, companies : int
    share, rest : float
        Share of off-basis announcements in the sector, and elsewhere.
    low : float
        Lower bound of their difference: three standard errors, with companies as clusters.
    large_miss : float
        Share of announcements that miss the estimate by more than a fifth.
    """

    rows: int
    companies: int
    share: float
    rest: float
    low: float
    large_miss: float

    @property
    def mismatched(self) -> bool:
        """Whether the difference is material, certain, and rests on enough companies."""
        enough = self.rows >= _FEWEST_ROWS and self.companies >= _FEWEST_COMPANIES
        return enough and self.low > 0 and self.share - self.rest >= _MATERIAL


def off_basis(earnings: pd.DataFrame) -> pd.Series:
    """Say of each announcement whether estimate and actual look like figures of different kinds.

    Parameters
    ----------
    earnings : DataFrame
        symbol, announced_on, eps_estimate, eps_actual.

    Returns
    -------
    Series of float64, on the index of `earnings`
        1 or 0; NaN where a company has fewer than three announcements to judge by.
    """
    ordered = earnings.sort_values(["symbol", "announced_on"])
    change = ordered.groupby("symbol")["eps_estimate"].diff().abs()
    by_company = change.groupby(ordered["symbol"])
    usual, known = by_company.transform("median"), by_company.transform("count") >= 2
    apart = (ordered["eps_actual"] - ordered["eps_estimate"]).abs()
    wide = (apart > _WIDE * ordered["eps_estimate"].abs()) & (apart > _CENTS)
    off = (wide & (apart > _TIMES_USUAL_CHANGE * usual)).astype("float64")
    return off.where(known & apart.notna()).reindex(earnings.index)


def sector_bases(earnings: pd.DataFrame, universe: pd.DataFrame) -> dict[str, SectorBasis]:
    """Compare each sector's share of off-basis announcements with that of all other companies."""
    sector = earnings["symbol"].map(universe.set_index("symbol")["sector"])
    off = off_basis(earnings)
    miss = earnings["eps_actual"] - earnings["eps_estimate"] < -_WIDE * earnings["eps_estimate"].abs()
    rows = pd.DataFrame({"sector": sector, "symbol": earnings["symbol"], "off": off, "miss": miss})
    rows = rows[off.notna() & sector.notna()]
    compared = {}
    for name in sorted(set(rows["sector"])):
        inside = rows["sector"] == name
        share, variance, companies = _clustered_share(rows[inside])
        rest, rest_variance, _ = _clustered_share(rows[~inside])
        low = share - rest - _STANDARD_ERRORS * float(np.sqrt(variance + rest_variance))
        large_miss = float(rows.loc[inside, "miss"].mean())
        compared[str(name)] = SectorBasis(int(inside.sum()), companies, share, rest, low, large_miss)
    return compared


def mismatched_sectors(earnings: pd.DataFrame, universe: pd.DataFrame) -> set[str]:
    """Return the sectors whose estimates and actuals are on different bases, as far as the rows passed show it.

    Parameters
    ----------
    earnings : DataFrame
        symbol, announced_on, eps_estimate, eps_actual. Pass only what was known at the cut-off: the answer is then
        point-in-time.
    universe : DataFrame
        symbol, sector.
    """
    return {name for name, basis in sector_bases(earnings, universe).items() if basis.mismatched}


def basis_mismatches(earnings: pd.DataFrame, universe: pd.DataFrame) -> list[Finding]:
    """Find sectors, and companies outside them, whose estimates and actuals are on different bases."""
    mismatched = {name: basis for name, basis in sector_bases(earnings, universe).items() if basis.mismatched}
    of_sectors = [
        Finding(
            "basis_mismatch",
            None,
            None,
            f"{basis.share:.0%} of {basis.rows} announcements ({basis.companies} companies) are off basis, elsewhere "
            f"{basis.rest:.1%} (difference at least {basis.low:.0%}, three standard errors); {basis.large_miss:.0%} "
            "miss the estimate by more than 20 %",
            "reported; the setting `leave_out_mismatched` leaves the sector out of training",
            name,
        )
        for name, basis in mismatched.items()
    ]
    sector = earnings["symbol"].map(universe.set_index("symbol")["sector"])
    return of_sectors + _mismatched_companies(earnings[~sector.isin(list(mismatched))])


def _mismatched_companies(earnings: pd.DataFrame) -> list[Finding]:
    off = off_basis(earnings)
    usual = float(off.mean())
    by_company = off.groupby(earnings["symbol"])
    count, total = by_company.sum(), by_company.count()
    unlikely = stats.binom.sf(count.to_numpy() - 1, total.to_numpy(), usual) < _UNLIKELY
    first = earnings[off == 1].groupby("symbol")["announced_on"].min()
    return [
        Finding(
            "basis_mismatch",
            symbol,
            first[symbol],
            f"{count[symbol]:.0f} of {total[symbol]} announcements are off basis, elsewhere {usual:.1%}",
            "reported only",
        )
        for symbol in count.index[unlikely].tolist()
    ]


def _clustered_share(rows: pd.DataFrame) -> tuple[float, float, int]:
    """Return the share of off-basis rows, its variance with companies as clusters, and the number of companies.

    The variance is that of a ratio estimator (Cochran 1977, Sampling Techniques, 6.3); infinite below two companies.
    """
    by_company = rows.groupby("symbol")["off"]
    total, count = by_company.sum().to_numpy(), by_company.count().to_numpy()
    companies, n = len(total), int(count.sum())
    if companies < 2:
        return (float(total.sum()) / n if n else 0.0), float("inf"), companies
    share = float(total.sum()) / n
    residual = total - share * count
    return share, float(np.sum(residual**2)) / n**2 * companies / (companies - 1), companies
