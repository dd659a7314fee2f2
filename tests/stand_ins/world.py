"""All providers on the loopback at once, with a few companies' worth of everything."""

from contextlib import ExitStack

import pandas as pd

from earlysignal_core.settings import LiveSettings, Settings
from earlysignal_core.sources.live.limits import LocalLimits
from earlysignal_core.sources.live.source import LiveSource
from stand_ins import fmp, sec
from stand_ins.eodhd import EodhdStandIn, contract
from stand_ins.fmp import FmpStandIn
from stand_ins.fred import KEY as FRED_KEY
from stand_ins.fred import FredStandIn
from stand_ins.sec import CONTACT, SecStandIn
from stand_ins.server import FakeClock

SYMBOLS = ("A", "B", "BRK.B")


class World:
    """Companies that announce on the 24th of January, April, July and October, and have done so since 2022."""

    def __init__(self, home, symbols=SYMBOLS, first="2023-Q4", now="2024-03-01 15:00") -> None:
        self.home, self.symbols, self.first = home, symbols, first
        self.clock = FakeClock(now)
        self.limits = LocalLimits(self.clock)
        self.fmp, self.fred, self.sec, self.eodhd = (
            FmpStandIn(),
            FredStandIn("2099-01-01"),
            SecStandIn(),
            EodhdStandIn(),
        )
        self._stack = ExitStack()

    def __enter__(self):
        for stand_in in (self.fmp, self.fred, self.sec, self.eodhd):
            self._stack.enter_context(stand_in)
        self.companies = self.home / "companies.csv"
        rows = [f"{symbol},{symbol} Inc,Technology" for symbol in self.symbols]
        self.companies.write_text("\n".join(["symbol,name,sector", *rows]))
        self.fill()
        return self

    def __exit__(self, *_):
        self._stack.close()

    def settings(self, **more):
        live = {
            "fmp_key": fmp.KEY,
            "fmp_url": self.fmp.url,
            "fmp_per_minute": 100_000,
            "fred_key": FRED_KEY,
            "fred_url": self.fred.url,
            "sec_contact": CONTACT,
            "sec_url": self.sec.url,
            "sec_data_url": self.sec.url,
            "eodhd_url": self.eodhd.url,
            "companies": self.companies,
            "series": ("UNRATE", "DGS10"),
            "first": self.first,
            "workers": 2,
        }
        return Settings(source="live", home=self.home, live=LiveSettings(**{**live, **more}))

    def source(self, tape=None, **more):
        return LiveSource(self.settings(**more), self.limits, self.clock, tape)

    @property
    def asked(self):
        every = [*self.fmp.asked, *self.fred.asked, *self.sec.asked, *self.eodhd.asked]
        return sorted(every, key=lambda asked: asked.at)

    def fill(self):
        until = self.clock.now().tz_localize(None)
        begin = pd.Timestamp("2022-06-01")
        announced = [day for day in pd.date_range(begin, until, freq="D") if day.day == 24 and day.month % 3 == 1]
        tables = self.fmp.tables
        for number, own in enumerate(self.symbols):
            symbol, cik = own.replace(".", "-"), 1000 + number
            self.sec.tickers[symbol] = cik
            filings = []
            for day in announced:
                end = f"{(day - pd.DateOffset(months=1)) + pd.offsets.MonthEnd(0):%Y-%m-%d}"
                date = f"{day:%Y-%m-%d}"
                more = {"time": "amc", "periodEnding": end}
                tables["earnings-calendar"].append(fmp.announcement(symbol, date, 1.1, 1.0, **more))
                tables["income-statement"].append(fmp.statement(symbol, end, f"{date} 17:00:00", 100 + day.month))
                tables["grades"].append(fmp.grade(symbol, date, "Bank", "upgrade"))
                published = f"{date}T20:00:00.000Z"
                tables["price-target-news"].append(fmp.target(symbol, published, "Bank", 120.0))
                trade = ("P", f"{day + pd.offsets.BDay(1):%Y-%m-%d}", 100, 10.0)
                filed = f"{day + pd.offsets.BDay(2):%Y-%m-%d} 18:00:00"
                filings += [
                    sec.filing(f"{cik}-8K-{date}", "8-K", f"{date} 16:05:00", items="2.02", size=9000),
                    sec.filing(f"{cik}-4-{date}", "4", filed, body=sec.form4(cik, trade)),
                ]
            self.sec.filings[cik] = filings[::-1]
            tables["dividends-calendar"].append({"symbol": symbol, "date": "2024-02-09", "dividend": 0.25})
            end = {"symbol": symbol, "date": "2024-03-31", "epsAvg": 1.2, "epsHigh": 1.4, "epsLow": 1.0}
            after = {**end, "date": "2024-06-30", "numAnalystsEps": 8}
            tables["analyst-estimates"] += [{**end, "numAnalystsEps": 9}, after]
            for day in ("2024-02-28", "2024-02-29"):
                for side in ("put", "call"):
                    self.eodhd.contracts.append(contract(own, day, side, "2024-03-29"))
        self.schedule("2024-04-24")
        self.prices(begin, until)
        months = pd.date_range("2023-01-01", until, freq="MS")
        known = {f"{month + pd.Timedelta(days=35):%Y-%m-%d}": {f"{month:%Y-%m-%d}": "3.9"} for month in months}
        self.fred.vintages["UNRATE"] = {day: values for day, values in known.items() if day <= f"{until:%Y-%m-%d}"}
        days = pd.bdate_range("2023-06-01", until - pd.Timedelta(days=1))
        self.fred.vintages["DGS10"] = {
            f"{day + pd.offsets.BDay(1):%Y-%m-%d}": {f"{day:%Y-%m-%d}": "4.1"} for day in days
        }

    def schedule(self, date, estimate=1.2, symbols=None):
        """Move the coming announcements to a date."""
        chosen = {symbol.replace(".", "-") for symbol in symbols or self.symbols}
        table = self.fmp.tables["earnings-calendar"]
        table[:] = [row for row in table if row["epsActual"] is not None or row["symbol"] not in chosen]
        more = {"time": "amc", "periodEnding": "2024-03-31"}
        table += [fmp.announcement(symbol, date, None, estimate, **more) for symbol in sorted(chosen)]

    def prices(self, first, last):
        table = self.fmp.tables["historical-price-eod/non-split-adjusted"]
        for symbol in [*(symbol.replace(".", "-") for symbol in self.symbols), "SPY", "XLK"]:
            table += fmp.bars(symbol, first, last)
