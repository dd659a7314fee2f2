"""What can go wrong with a provider: one class for each remedy, and whether asking again can help."""

from collections import Counter

from earlysignal_core.errors import SourceError


class ProviderError(SourceError):
    """A provider that did not give what it was asked for.

    Parameters
    ----------
    provider : str
        Its name, like ``fmp``.
    asked : str
        What it was asked for, without any key: ``/stable/earnings symbol=AAPL``.
    problem : str
    wait : float, optional
        Seconds for which the provider wants to be left alone.
    """

    remedy = "look at the message of the provider"
    may_pass = False
    """Whether the same question can succeed a little later."""
    hopeless = False
    """Whether every other question to the provider would fail as well."""

    def __init__(self, provider: str, asked: str, problem: str, wait: float | None = None) -> None:
        self.provider, self.asked, self.problem, self.wait = provider, asked, problem, wait
        super().__init__(f"{provider}: {asked}: {problem}. Remedy: {self.remedy}.")


class BadKeyError(ProviderError):
    """The key is wrong, missing or was revoked."""

    remedy = "set a valid key in EARLYSIGNAL_LIVE__<PROVIDER>_KEY, then run it again: what is kept is not asked again"
    hopeless = True


class NotInPlanError(ProviderError):
    """The account's plan does not cover the endpoint, the parameter or the symbol (or there is no such symbol)."""

    remedy = "check the symbol, take a larger plan, or choose another provider for this table"


class LegacyEndpointError(ProviderError):
    """A path that only old subscriptions may use."""

    remedy = "report it: this program should not use that path any more"


class RateLimitedError(ProviderError):
    """Too many requests in a minute; the provider may mean a day, and does not say."""

    remedy = "wait; if it stays so, the daily allowance is used up: run again tomorrow or lower the rate's setting"
    may_pass = True


class QuotaExhaustedError(ProviderError):
    """The allowance of a day is used up."""

    remedy = "run it again tomorrow: what is kept is not asked again"
    hopeless = True


class UndeclaredAgentError(ProviderError):
    """The SEC wants to know who asks."""

    remedy = "set EARLYSIGNAL_LIVE__SEC_CONTACT to a name and an e-mail address, like `Example Fund jo@example.com`"
    hopeless = True


class TrafficLimitError(ProviderError):
    """The SEC shuts an address out for ten minutes, longer where it goes on asking."""

    remedy = "wait ten minutes; let no other program ask the SEC from this address at the same time"
    may_pass = True


class ServerFailedError(ProviderError):
    """The provider fails by itself (a status of 500 or above)."""

    remedy = "try again later"
    may_pass = True


class UnreachableError(ProviderError):
    """No answer, or only a part of one: no address, no connection, too slow, cut off."""

    remedy = "check the network and the provider's address (EARLYSIGNAL_LIVE__<PROVIDER>_URL), then run it again"
    may_pass = True


class UnreadableAnswerError(ProviderError):
    """An answer that is not what the provider documents: a page of HTML, broken JSON."""

    remedy = "try again later; if it stays so, the provider has changed its format: report it"
    may_pass = True


class UnexpectedShapeError(ProviderError):
    """An answer that can be read and lacks what is needed: a renamed field, a text where a number is due."""

    remedy = "the provider has changed its format: report it; the raw answer is kept, so a new parser can replay it"


class UnusableSeriesError(ProviderError):
    """A series of which nobody can say when each of its values was known."""

    remedy = "leave it out of EARLYSIGNAL_LIVE__SERIES"


class RefusedError(ProviderError):
    """The provider refuses the question, for a reason that it names."""

    remedy = "look at the message of the provider"


class NotFoundError(ProviderError):
    """There is no such thing."""

    remedy = "check the name"


class UnknownSeriesError(NotFoundError):
    """There is no such series."""

    remedy = "correct the series in the settings"


class NoVintagesError(ProviderError):
    """ALFRED holds no vintages of the series, or none that early."""

    remedy = "none needed: the series is read as of today, with a fixed lag of publication"


class TooManyVintagesError(ProviderError):
    """FRED gives 2,000 vintages in one answer."""

    remedy = "report it: this program should have asked for fewer"


class FutureDateError(ProviderError):
    """FRED knows no tomorrow, and its day is that of St. Louis."""

    remedy = "check the clock of this machine"


class TruncatedAnswerError(ProviderError):
    """The provider gave as many rows as it gives at most, and the question cannot be made smaller."""

    remedy = "report it: there are more rows than the provider can give, and some are missing"


class ShrunkenAnswerError(ProviderError):
    """The provider gave fewer rows of the past than before; what it gave before stays in use."""

    remedy = "run it again later; if the provider is right, delete the older answers in the folder that is named"


class ClockSkewError(ProviderError):
    """The provider and this machine do not agree which day it is."""

    remedy = "set the clock of this machine: what is known when depends on it"
    hopeless = True


class NotKeptError(ProviderError):
    """A replay asks for an answer that was never kept."""

    remedy = "run it once with the network (EARLYSIGNAL_LIVE__OFFLINE=false)"


class BreakerOpenError(ProviderError):
    """The provider has failed so often, or so clearly, that it is not asked any more."""

    remedy = "see the first failure, then run it again: what is kept is not asked again"


class IncompleteError(SourceError):
    """So much of a table is missing that what is there would mislead; the last good partition stays."""

    def __init__(self, table: str, wanted: int, missing: list[str], causes: list[ProviderError]) -> None:
        self.table, self.missing, self.causes = table, missing, causes
        kinds = Counter(type(cause).__name__ for cause in causes)
        counted = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        super().__init__(
            f"table `{table}`: {len(missing)} of {wanted} are missing ({', '.join(missing)}; {counted}). First cause: "
            f"{causes[0]} "
            "What was answered is kept and will not be asked again; what stood in the lake still stands."
        )


class LiveSettingsError(SourceError):
    """The settings of the live source do not suffice."""
