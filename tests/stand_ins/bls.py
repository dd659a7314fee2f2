"""The BLS on the loopback: every failure under 200."""

import json

from stand_ins.server import Reply, StandIn, as_json

KEY = "bls-key-of-the-stand-in"


def refused(message, status="REQUEST_NOT_PROCESSED"):
    return as_json({"status": status, "responseTime": 0, "message": [message], "Results": {}})


THRESHOLD = refused(
    f"Request could not be serviced, as the daily threshold for total number of requests allocated to the user with "
    f"registration key {KEY} has been reached."
)
OVER_CAPACITY = refused("Try again.", "REQUEST_FAILED_OVER_CAPACITY")
INVALID = refused("Invalid parameters.", "REQUEST_FAILED_INVALID_PARAMETERS")


class BlsStandIn(StandIn):
    """Holds `held[series] = {(year, period): value}`."""

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.held: dict[str, dict[tuple[str, str], str]] = {}
        self.in_a_list = False

    def _answer(self, asked) -> Reply:
        said = json.loads(asked.body)
        if said.get("registrationkey") != KEY:
            return refused("The key provided by the User is invalid.")
        assert len(said["seriesid"]) <= 50
        first, last = int(said["startyear"]), int(said["endyear"])
        remarks = [] if last - first < 20 else ["Year range has been reduced to the system-allowed limit of 20 years."]
        found = []
        for name in said["seriesid"]:
            if name not in self.held:
                remarks.append(f"Series does not exist for Series {name}")
            data = [
                {"year": year, "period": period, "periodName": "", "value": value, "footnotes": [{}]}
                for (year, period), value in self.held.get(name, {}).items()
                if first <= int(year) <= min(last, first + 19)
            ]
            found.append({"seriesID": name, "data": data})
        results = {"series": found}
        more = {"responseTime": 1, "message": remarks, "Results": [results] if self.in_a_list else results}
        return as_json({"status": "REQUEST_SUCCEEDED", **more})
