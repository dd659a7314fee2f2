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

    def __init__(self, home, symbols=SYMBOLS, first="2023-Q4", now="2024-03-01 15:00", begin="2022-06-01", forms=1):
        self.home, self.symbols, self.first, self.begin = home, symbols, first, pd.Timestamp(begin)
        self.forms = forms  # 4, of a company and quarter
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
        for number, own in enumerate(self.symbols):
            symbol = own.replace(".", "-")
            self.sec.tickers[symbol] = 1000 + number
            self.sec.filings[1000 + number] = []
            dividend = {"symbol": symbol, "date": "2024-02-09", "dividend": 0.25}
            self.fmp.tables["dividends-calendar"].append(dividend)
            end = {"symbol": symbol, "date": "2024-03-31", "epsAvg": 1.2, "epsHigh": 1.4, "epsLow": 1.0}
            after = {**end, "date": "2024-06-30", "numAnalystsEps": 8}
            self.fmp.tables["analyst-estimates"] += [{**end, "numAnalystsEps": 9}, after]
            for day in ("2024-02-28", "2024-02-29"):
                for side in ("put", "call"):
                    self.eodhd.contracts.append(contract(own, day, side, "2024-03-29"))
        self._happen(self.begin, self.today)
        self.schedule("2024-04-24")

    @property
    def today(self):
        return self.clock.now().tz_localize(None).normalize()

    def pass_time(self, days):
        """Let days go by, with all that happens in them."""
        before = self.today
        self.clock.advance(days=days)
        self._happen(before + pd.Timedelta(days=1), self.today)

    def _happen(self, first, last):
        for day in pd.date_range(first, last, freq="D"):
            if day.day == 24 and day.month % 3 == 1:
                for symbol, cik in self.sec.tickers.items():
                    self._announce(symbol, cik, day)
        for symbol in [*self.sec.tickers, "SPY", "XLK"]:
            self.fmp.tables["historical-price-eod/non-split-adjusted"] += fmp.bars(symbol, first, last)
        for month in pd.date_range(first - pd.Timedelta(days=35), last - pd.Timedelta(days=35), freq="D"):
            if month.day == 1:
                known = f"{month + pd.Timedelta(days=35):%Y-%m-%d}"
                self.fred.vintages.setdefault("UNRATE", {})[known] = {f"{month:%Y-%m-%d}": "3.9"}
        for day in pd.bdate_range(first, last):
            before = f"{day - pd.offsets.BDay(1):%Y-%m-%d}"
            self.fred.vintages.setdefault("DGS10", {})[f"{day:%Y-%m-%d}"] = {before: "4.1"}

    def _announce(self, symbol, cik, day):
        tables, date = self.fmp.tables, f"{day:%Y-%m-%d}"
        end = f"{(day - pd.DateOffset(months=1)) + pd.offsets.MonthEnd(0):%Y-%m-%d}"
        more = {"time": "amc", "periodEnding": end}
        tables["earnings-calendar"].append(fmp.announcement(symbol, date, 1.1, 1.0, **more))
        tables["income-statement"].append(fmp.statement(symbol, end, f"{date} 17:00:00", 100 + day.month))
        tables["grades"].append(fmp.grade(symbol, date, "Bank", "upgrade"))
        tables["price-target-news"].append(fmp.target(symbol, f"{date}T20:00:00.000Z", "Bank", 120.0))
        trade = ("P", f"{day + pd.offsets.BDay(1):%Y-%m-%d}", 100, 10.0)
        filed = f"{day + pd.offsets.BDay(2):%Y-%m-%d} 18:00:00"
        forms = [
            sec.filing(f"{cik}-4-{date}-{number}", "4", filed, body=sec.form4(cik, trade))
            for number in range(self.forms)
        ]
        report = sec.filing(f"{cik}-8K-{date}", "8-K", f"{date} 16:05:00", items="2.02", size=9000)
        self.sec.filings[cik] = [*forms, report, *self.sec.filings[cik]]

    def schedule(self, date, estimate=1.2, symbols=None):
        """Move the coming announcements to a date."""
        chosen = {symbol.replace(".", "-") for symbol in symbols or self.symbols}
        table = self.fmp.tables["earnings-calendar"]
        table[:] = [row for row in table if row["epsActual"] is not None or row["symbol"] not in chosen]
        more = {"time": "amc", "periodEnding": "2024-03-31"}
        table += [fmp.announcement(symbol, date, None, estimate, **more) for symbol in sorted(chosen)]
