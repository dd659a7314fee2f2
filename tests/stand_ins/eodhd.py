"""EODHD's option chains on the loopback."""

from stand_ins.server import Reply, StandIn, as_json

KEY = "eodhd-key-of-the-stand-in"
QUOTA = as_json({"error": "Quota exceeded", "code": 402}, 402)


class EodhdStandIn(StandIn):
    """Holds contracts as made by `contract`."""

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.contracts: list[dict] = []

    def _answer(self, asked) -> Reply:
        params = asked.params
        if params.get("api_token") != KEY:
            return as_json({"error": "Forbidden", "code": 403}, 403)
        offset, limit = int(params["page[offset]"]), int(params["page[limit]"])
        if offset > 10_000:
            return as_json({"error": "offset", "code": 422}, 422)

        def wanted(one):
            said = one["attributes"]
            return (
                said["underlying_symbol"] == params["filter[underlying_symbol]"]
                and said["tradetime"] == params["filter[tradetime_eq]"]
                and params["filter[exp_date_from]"] <= said["exp_date"] <= params["filter[exp_date_to]"]
            )

        found = [one for one in self.contracts if wanted(one)]
        links = {"next": f"https://example.com/eod?page[offset]={offset + limit}"}  # carries no token
        meta = {"offset": offset, "limit": limit, "total": len(found)}
        return as_json({"meta": meta, "data": found[offset : offset + limit], "links": links})


def contract(symbol, day, kind, expires, strike=100, volume=10, volatility=0.2, delta=0.5, traded=None):
    name = f"{symbol}{expires[2:].replace('-', '')}{kind[0].upper()}{strike * 1000:08d}"
    signed = delta if kind == "call" else -delta
    return {
        "id": f"{name}-{day}",
        "type": "options-eod",
        "attributes": {
            "contract": name,
            "underlying_symbol": symbol,
            "exp_date": expires,
            "type": kind,
            "strike": strike,
            "volume": volume,
            "volatility": volatility,
            "delta": signed,
            "tradetime": traded or day,
        },
    }
