"""FRED on the loopback: series with vintages, its limits and its complaints."""

from stand_ins.server import Reply, StandIn, as_json

KEY = "fred-key-of-the-stand-in"
FOREVER = "9999-12-31"


def refusal(message):
    return as_json({"error_code": 400, "error_message": f"Bad Request.  {message}"}, 400)


BAD_KEY = refusal("The value for variable api_key is not registered.")
TOO_MANY = as_json({"error_code": 429, "error_message": "Too Many Requests.  Exceeded Rate Limit"}, 429)


class FredStandIn(StandIn):
    """Holds `vintages[series] = {vintage day: {observation day: value}}`: what was new or revised on each day."""

    def __init__(self, today="2024-03-01") -> None:
        super().__init__(self._answer)
        self.vintages: dict[str, dict[str, dict[str, str]]] = {}
        self.without_vintages: dict[str, dict[str, str]] = {}
        self.today = today
        self.most_vintages = 2000
        self.clipped = True  # whether `realtime_start` is clipped to the window that was asked for

    def _answer(self, asked) -> Reply:
        params = asked.params
        if params.get("api_key") != KEY:
            return BAD_KEY
        if params.get("file_type") != "json":
            return Reply(200, b"<?xml version='1.0'?><observations/>", {"Content-Type": "text/xml"})
        series = params["series_id"]
        if asked.path.endswith("/vintagedates"):
            if series in self.without_vintages:
                return refusal("The series does not exist in ALFRED but may exist in FRED.")
            if series not in self.vintages:
                return refusal("The series does not exist.")
            offset, limit = int(params["offset"]), int(params["limit"])
            dates = sorted(self.vintages[series])
            return as_json({"count": len(dates), "vintage_dates": dates[offset : offset + limit]})
        start, end = params.get("realtime_start", self.today), params.get("realtime_end", self.today)
        if end > self.today:
            return refusal(f"Variable realtime_end can not be after today's date ({self.today}).")
        if series in self.without_vintages:
            rows = [(day, self.today, self.today, value) for day, value in self.without_vintages[series].items()]
        else:
            within = [day for day in self.vintages[series] if start <= day <= end]
            if len(within) > self.most_vintages:
                return refusal(
                    f"There are {len(within)} vintage dates in the specified real-time period: {start} to {end}.  This "
                    f"exceeds the maximum number of vintage dates allowed for this file type ({self.most_vintages})."
                )
            rows = self._intervals(series, start, end)
        rows = sorted(row for row in rows if row[0] >= params.get("observation_start", ""))
        offset, limit = int(params.get("offset", 0)), int(params.get("limit", 100000))
        names = ("date", "realtime_start", "realtime_end", "value")
        found = [dict(zip(names, row, strict=True)) for row in rows[offset : offset + limit]]
        return as_json({"count": len(rows), "offset": offset, "limit": limit, "observations": found})

    def _intervals(self, series, start, end):
        history: dict[str, list[tuple[str, str]]] = {}
        for vintage in sorted(self.vintages[series]):
            for day, value in self.vintages[series][vintage].items():
                history.setdefault(day, []).append((vintage, value))
        for day, values in history.items():
            for (begin, value), (following, _) in zip(values, [*values[1:], (FOREVER, "")], strict=True):
                if begin <= end and following > start:
                    yield day, max(begin, start) if self.clipped else begin, following, value
