"""EDGAR on the loopback: both hosts in one, filers of both conventions, and its two kinds of 403."""

from stand_ins.server import Reply, StandIn, as_json, as_text

CONTACT = "Example Fund jo@example.com"
UNDECLARED = as_text(
    "<!DOCTYPE html><html><title>SEC.gov | Request Rate Threshold Exceeded</title><h1>Your Request Originates from an "
    "Undeclared Automated Tool</h1></html>",
    403,
    "text/html",
)
THRESHOLD = as_text(
    "<!DOCTYPE html><html><title>SEC.gov | Request Rate Threshold Exceeded</title><h1>You've Exceeded the SEC's "
    "Traffic Limit</h1></html>",
    403,
    "text/html",
)
NO_SUCH_KEY = as_text("<?xml version='1.0'?><Error><Code>NoSuchKey</Code></Error>", 404, "application/xml")


class SecStandIn(StandIn):
    """Holds `filings[cik]`, newest first, and `overflow[cik]`, as made by `filing`."""

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.tickers: dict[str, int] = {}
        self.filings: dict[int, list[dict]] = {}
        self.overflow: dict[int, list[dict]] = {}

    def _answer(self, asked) -> Reply:
        if "@" not in asked.headers.get("user-agent", ""):
            return UNDECLARED
        path = asked.path
        if path == "/files/company_tickers.json":
            said = [{"cik_str": cik, "ticker": ticker, "title": ticker} for ticker, cik in self.tickers.items()]
            return as_json({str(n): company for n, company in enumerate(said)})
        if path.startswith("/submissions/"):
            cik = int(path[len("/submissions/CIK") :][:10])
            if cik not in self.filings:
                return NO_SUCH_KEY
            if "-submissions-" in path:
                return as_json(_columns(self.overflow[cik]))
            older = self.overflow.get(cik)
            last = max(one["filingDate"] for one in older) if older else ""
            files = [{"name": f"CIK{cik:010d}-submissions-001.json", "filingTo": last}] if older else []
            recent = _columns(self.filings[cik])
            return as_json({"cik": f"{cik:010d}", "filings": {"recent": recent, "files": files}})
        if path.startswith("/Archives/edgar/data/"):
            cik = int(path.split("/")[4])
            for one in (*self.filings.get(cik, []), *self.overflow.get(cik, [])):
                folder = one["accessionNumber"].replace("-", "")
                if path == f"/Archives/edgar/data/{cik}/{folder}/{one['accessionNumber']}.txt":
                    return as_text(one["document"])
        return NO_SUCH_KEY


def filing(accession, form, accepted, eastern=False, body="", items="", size=1000, **more):
    """A filing that was accepted at a moment of New York time; `eastern` filers write that under the `Z`."""
    import pandas as pd

    local = pd.Timestamp(accepted)
    written = local if eastern else local.tz_localize("America/New_York").tz_convert("UTC")
    document = (
        f"<SEC-DOCUMENT>{accession}.txt : {local:%Y%m%d}\n<SEC-HEADER>\n<ACCEPTANCE-DATETIME>{local:%Y%m%d%H%M%S}\n"
        f"</SEC-HEADER>\n<DOCUMENT>\n<TYPE>{form}\n<TEXT>\n{body}\n</TEXT>\n</DOCUMENT>\n</SEC-DOCUMENT>\n"
    )
    return {
        "accessionNumber": accession,
        "filingDate": f"{local:%Y-%m-%d}",
        "acceptanceDateTime": f"{written:%Y-%m-%dT%H:%M:%S}.000Z",
        "form": form,
        "items": items,
        "size": size,
        "primaryDocument": "xslF345X05/doc4.xml" if form.startswith("4") else "x.htm",
        "document": document,
        **more,
    }


def _columns(filings):
    names = [name for name in (filings or [filing("0", "8-K", "2024-01-01")])[0] if name != "document"]
    return {name: [one[name] for one in filings] for name in names}


def form4(cik, *transactions, owners=("DOE JANE",), plan=None):
    """A Form 4 within its filing; a transaction is (code, day, shares, price)."""
    people = "".join(
        f"<reportingOwner><reportingOwnerId><rptOwnerName>{owner}</rptOwnerName></reportingOwnerId></reportingOwner>"
        for owner in owners
    )
    traded = "".join(
        f"<nonDerivativeTransaction><transactionDate><value>{day}</value></transactionDate><transactionCoding>"
        f"<transactionCode>{code}</transactionCode></transactionCoding><transactionAmounts><transactionShares><value>"
        f"{shares}</value></transactionShares><transactionPricePerShare>"
        + (f"<value>{price}</value>" if price is not None else '<footnoteId id="F1"/>')
        + "</transactionPricePerShare></transactionAmounts></nonDerivativeTransaction>"
        for code, day, shares, price in transactions
    )
    asked = "" if plan is None else f"<aff10b5One>{plan}</aff10b5One>"
    return (
        f'<XML>\n<?xml version="1.0"?>\n<ownershipDocument><documentType>4</documentType><issuer><issuerCik>{cik:010d}'
        f"</issuerCik></issuer>{people}{asked}<nonDerivativeTable>{traded}</nonDerivativeTable></ownershipDocument>\n</XML>"
    )


def form13f(period, *holdings, amendment=None):
    """A 13F report within its filing; a holding is (cusip, shares, type, put or call)."""
    kind = f"<amendmentInfo><amendmentType>{amendment}</amendmentType></amendmentInfo>" if amendment else ""
    rows = "".join(
        f"<n1:infoTable><n1:cusip>{cusip}</n1:cusip><n1:value>1</n1:value><n1:shrsOrPrnAmt><n1:sshPrnamt>{shares}"
        f"</n1:sshPrnamt><n1:sshPrnamtType>{type_}</n1:sshPrnamtType></n1:shrsOrPrnAmt>"
        + (f"<n1:putCall>{put_call}</n1:putCall>" if put_call else "")
        + "</n1:infoTable>"
        for cusip, shares, type_, put_call in holdings
    )
    return (
        '<XML>\n<?xml version="1.0" encoding="UTF-8"?>\n<edgarSubmission xmlns="http://www.sec.gov/edgar/thirteenffiler">'
        f"<headerData><filerInfo><periodOfReport>{period}</periodOfReport></filerInfo></headerData><formData><coverPage>"
        f"{kind}</coverPage></formData></edgarSubmission>\n</XML>\n<XML>\n"
        '<n1:informationTable xmlns:n1="http://www.sec.gov/edgar/document/thirteenf/informationtable">'
        f"{rows}</n1:informationTable>\n</XML>"
    )
