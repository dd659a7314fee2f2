"""FMP on the loopback, by `../../shared/design/providers.md` as far as a test needs it."""

from collections import defaultdict

import pandas as pd

from stand_ins.server import Reply, StandIn, as_json, as_text

KEY = "fmp-key-of-the-stand-in"
BAD_KEY = as_json({"Error Message": "Invalid API KEY. Feel free to create a Free API Key or visit https://site"}, 401)
LIMIT_REACH = as_json({"Error Message": "Limit Reach . Please upgrade your plan or visit our documentation"}, 429)
LIMIT_REACH_UNDER_200 = as_json({"Error Message": "Limit Reach . Please upgrade your plan"})
PREMIUM = as_text(
    "Premium Query Parameter: 'Special Endpoint : This value set for 'symbol' is not available under your current "
    "subscription please visit our subscription page",
    402,
    "application/json",
)
RESTRICTED = as_text("Restricted Endpoint: This endpoint is not available under your plan", 402, "application/json")
EXCLUSIVE = as_json({"Error Message": "Exclusive Endpoint : This endpoint is not available under your current"}, 403)
LEGACY = as_json({"Error Message": "Legacy Endpoint : Due to Legacy endpoints being no longer supported"}, 403)


class FmpStandIn(StandIn):
    """Serves records by path; those with a symbol or a date are chosen by the parameters, newest first."""

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.tables: dict[str, list[dict]] = {
            "earnings-calendar": [],
            "splits-calendar": [],
            "dividends-calendar": [],
            "historical-price-eod/non-split-adjusted": [],
            "income-statement": [],
            "grades": [],
            "price-target-news": [],
            "analyst-estimates": [],
            "sp500-constituent": [],
            "historical-sp500-constituent": [],
            "profile": [],
        }
        self._index: dict[str, tuple] = {}
        self.key = KEY
        self.most_rows = 4000

    def _answer(self, asked) -> Reply:
        if asked.params.get("apikey") != self.key:
            return BAD_KEY
        table = asked.path.removeprefix("/stable/")
        if table not in self.tables:
            return LEGACY if asked.path.startswith("/api/") else as_json([], 404)
        rows = self.tables[table]
        if "symbol" in asked.params:
            rows = self._of(table, asked.params["symbol"])
        if "from" in asked.params:
            rows = [row for row in rows if asked.params["from"] <= row["date"] <= asked.params["to"]]
        if "date" in (rows or [{}])[0]:
            rows = sorted(rows, key=lambda row: row["date"], reverse=True)
        if "page" in asked.params:
            begin = int(asked.params["page"]) * int(asked.params["limit"])
            rows = rows[begin : begin + int(asked.params["limit"])]
        return as_json(rows[: self.most_rows])

    def _of(self, table, symbol):
        """The rows of a symbol; looked up anew when rows were added or taken away."""
        rows = self.tables[table]
        known, index = self._index.get(table, (None, {}))
        if known != (id(rows), len(rows)):
            index = defaultdict(list)
            for row in rows:
                index[row["symbol"]].append(row)
            self._index[table] = ((id(rows), len(rows)), index)
        return index.get(symbol, [])


def announcement(symbol, date, actual, estimated, **more):
    fields = {"symbol": symbol, "date": date, "epsActual": actual, "epsEstimated": estimated}
    return {**fields, "revenueActual": None, "revenueEstimated": None, "lastUpdated": "2024-01-01", **more}


def bar(symbol, date, close, volume=1000):
    prices = {"adjOpen": close, "adjHigh": close + 1, "adjLow": close - 1, "adjClose": close}
    return {"symbol": symbol, "date": date, **prices, "volume": volume}


def bars(symbol, first, last, close=100.0):
    days = [f"{day:%Y-%m-%d}" for day in pd.bdate_range(first, last)]
    return [bar(symbol, day, close) for day in days]


def statement(symbol, date, accepted, revenue, income=10, spelling="filingDate"):
    return {
        "date": date,
        "symbol": symbol,
        spelling: accepted[:10],
        "acceptedDate": accepted,
        "period": "Q1",
        "revenue": revenue,
        "netIncome": income,
        "weightedAverageShsOut": 1000,
    }


def change(day, eve, came="", went=""):
    """A change of the index, whose texts are as in the documentation: of a mere removal `symbol` repeats who went."""
    added, removed = (f"{name} Inc" if name else "" for name in (came, went))
    fields = {"dateAdded": day, "addedSecurity": added, "removedTicker": went, "removedSecurity": removed}
    return {**fields, "date": eve, "symbol": came or went, "reason": "Market capitalization change."}


def grade(symbol, date, firm, action, new="Buy"):
    more = {"previousGrade": "", "newGrade": new, "action": action}
    return {"symbol": symbol, "date": date, "gradingCompany": firm, **more}


def target(symbol, published, firm, price):
    rebased = {"priceTarget": price, "adjPriceTarget": price / 10}
    return {"symbol": symbol, "publishedDate": published, "analystCompany": firm, **rebased}
