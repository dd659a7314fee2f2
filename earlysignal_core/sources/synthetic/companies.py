"""What the synthetic companies are: the traits that never change."""

from dataclasses import dataclass
from string import ascii_uppercase

import numpy as np
from scipy.special import ndtri

from earlysignal_core.settings import SyntheticSettings
from earlysignal_core.sources.synthetic.columns import Bools, Floats, Ints, stream

BENCHMARK = "^GSPC"
SECTORS = {
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


@dataclass(frozen=True)
class Companies:
    """Traits of n companies, each of shape (n,).

    Attributes
    ----------
    symbol : list of str
        In ascending order.
    sector : ndarray of int
        Index into `SECTORS`.
    beta : ndarray
        To the market.
    volatility : ndarray
        Of the company's own daily log return.
    first_price, shares : ndarray
        On the tape's first day; `shares` is also the basis that all per-share figures start from.
    turnover : ndarray
        Shares traded in a day over shares outstanding.
    earnings_yield : ndarray
        Yearly earnings over price, negative for a company that loses money.
    margin : ndarray
        Net income over revenue, for its size.
    dividend_yield : ndarray
        Yearly; 0 for those that pay none.
    coverage : ndarray of int
        Analysts that follow it.
    disagreement : ndarray
        Half the range of the analysts' estimates over the estimate.
    fiscal_offset : ndarray of int
        Months between a calendar quarter's end and the company's.
    report_lag : ndarray
        Days from the fiscal period's end to the announcement.
    before_open : ndarray of bool
        Whether it announces before the opening (``bmo``) or after the close (``amc``).
    edge : ndarray
        The persistent part of the planted signal, standard normal over the companies.
    surprise_mean : ndarray
        The level of the surprise, as a fraction of the estimate.
    """

    symbol: list[str]
    sector: Ints
    beta: Floats
    volatility: Floats
    first_price: Floats
    shares: Floats
    turnover: Floats
    earnings_yield: Floats
    margin: Floats
    dividend_yield: Floats
    coverage: Ints
    disagreement: Floats
    fiscal_offset: Ints
    report_lag: Floats
    before_open: Bools
    edge: Floats
    surprise_mean: Floats

    @classmethod
    def draw(cls, spec: SyntheticSettings) -> "Companies":
        """Draw the companies of a specification."""
        n, random = spec.symbols, stream(spec.seed, "companies")
        offset = random.choice(3, size=n, p=(0.80, 0.12, 0.08))
        # The later a fiscal quarter ends, the sooner it is reported: each stays within one calendar quarter.
        earliest, latest = np.array([14.0, 16.0, 14.0])[offset], np.array([42.0, 34.0, 18.0])[offset]
        yields = 0.055 * np.exp(0.3 * random.standard_normal(n))
        return cls(
            symbol=_symbols(n),
            sector=random.permutation(np.arange(n) % len(SECTORS)),
            beta=np.clip(1 + 0.25 * random.standard_normal(n), 0.3, 2.0),
            volatility=0.016 * np.exp(0.25 * random.standard_normal(n)),
            first_price=np.clip(60 * np.exp(0.5 * random.standard_normal(n)), 12, 400),
            shares=np.round(3e8 * np.exp(0.9 * random.standard_normal(n))),
            turnover=0.006 * np.exp(0.4 * random.standard_normal(n)),
            earnings_yield=np.where(random.random(n) < 0.05, -yields, yields),
            margin=random.uniform(0.04, 0.25, n),
            dividend_yield=np.where(random.random(n) < 0.6, random.uniform(0.01, 0.04, n), 0.0),
            coverage=random.integers(4, 30, n),
            disagreement=0.05 * np.exp(0.4 * random.standard_normal(n)),
            fiscal_offset=offset,
            report_lag=np.clip(27 + 6 * random.standard_normal(n), earliest, latest),
            before_open=random.random(n) < 0.5,
            # Evenly over the quantiles, so that the attainable AUC hardly depends on the seed.
            edge=random.permutation(ndtri((np.arange(n) + 0.5) / n)),
            surprise_mean=0.04 + 0.015 * random.standard_normal(n),
        )


def _symbols(n: int) -> list[str]:
    """Return ascending symbols of four letters or more: AAAA, AAAB and on, far from those of the ETFs."""
    width = 4
    while len(ascii_uppercase) ** width < n:
        width += 1
    digits = np.arange(n)[:, None] // len(ascii_uppercase) ** np.arange(width)[::-1] % len(ascii_uppercase)
    return ["".join(row) for row in np.array(list(ascii_uppercase))[digits]]
