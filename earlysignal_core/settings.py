"""All settings, each with a working default; the environment (`EARLYSIGNAL_…`) and a tape's own file change them."""

import os
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    StrictFloat,
    StrictInt,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings import SettingsError as UnreadableError

from earlysignal_core.errors import EarlySignalError
from earlysignal_core.quarters import Quarter
from earlysignal_core.tables import TABLES


def _quarter(text: str) -> str:
    try:
        return str(Quarter.parse(text))
    except EarlySignalError as error:
        raise ValueError(str(error)) from error


QuarterName = Annotated[str, AfterValidator(_quarter)]


class Group(BaseModel):
    """Settings that belong together: ``EARLYSIGNAL_GROUP__NAME``."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SyntheticSettings(Group):
    """What the synthetic source generates; the same settings give the same bytes."""

    symbols: int = Field(100, ge=1)
    quarters: int = Field(20, ge=1)
    first: QuarterName = "2014-Q1"
    seed: int = Field(7, ge=0)
    base_rate: float = Field(0.12, gt=0, lt=1)
    signal: float = Field(1.0, ge=0)
    break_quarter: QuarterName | None = None


class QualityLimits(Group):
    """Limits of the blocking checks; a tape's settings may move them, since they depend on its base rate and depth."""

    completeness_warning: float = 0.95
    completeness_critical: float = 0.90
    outliers_warning: float = 0.05
    outliers_critical: float = 0.10
    distribution_warning: float = 0.50
    distribution_critical: float = 0.80
    label_balance_warning: tuple[float, float] = (0.05, 0.50)
    label_balance_critical: tuple[float, float] = (0.03, 0.60)


class TapeSettings(BaseModel):
    """The settings that a tape may carry in its `tape.json`, because they are facts about its data."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    assume_final_consensus_known: bool = False
    leave_out_mismatched: bool = False
    quality: QualityLimits = QualityLimits()


_FRESHNESS_DAYS = {"ohlcv": 5.0, "macro": 21.0, "earnings": 60.0}


class ServingSettings(Group):
    """When a prediction is refused or remarked upon."""

    slow_ms: float = Field(500.0, gt=0)
    invalid_features: float = Field(0.10, ge=0, le=1)
    # Days that the newest row of a table may be old at `as_of`: on the long tape the longest gaps are 4 days of prices
    # (a long weekend), 14 of macro series and 18 of announcements; of sixty companies nobody may announce for weeks.
    # What is set moves these limits, null takes one away; other tables may be of any age.
    freshness_days: dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = _FRESHNESS_DAYS

    @field_validator("freshness_days", mode="before")
    @classmethod
    def _over_the_defaults(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        if unknown := sorted(set(value) - set(TABLES)):
            raise ValueError(f"{', '.join(map(repr, unknown))} is no table; there are {', '.join(sorted(TABLES))}")
        return {table: days for table, days in {**_FRESHNESS_DAYS, **value}.items() if days is not None}


class PromotionLimits(Group):
    """What a challenger must show before the strategy's rule may act (docs/serving.md)."""

    min_events: int = Field(200, ge=1)
    min_large_beats: int = Field(20, ge=1)
    auc_margin: float = Field(0.02, ge=0)
    # Large beats with which an A/B test is judged (docs/earning.md says what that many can show).
    ab_test_large_beats: int = Field(40, ge=1)


Key = Annotated[SecretStr, Field(min_length=1)]


class LiveSettings(Group):
    """The live source: keys, addresses, what each provider allows, and what is collected (docs/live-sources.md)."""

    fmp_key: Key | None = None
    fmp_url: str = "https://financialmodelingprep.com"
    fmp_per_minute: int = Field(300, ge=1)
    fmp_per_day: int | None = Field(None, ge=1)
    fred_key: Key | None = None
    fred_url: str = "https://api.stlouisfed.org"
    fred_per_minute: int = Field(120, ge=1)
    bls_key: Key | None = None
    bls_url: str = "https://api.bls.gov"
    bls_per_day: int = Field(500, ge=1)
    # A name and an e-mail address: the SEC wants to know who asks, and needs no key.
    sec_contact: str | None = None
    sec_url: str = "https://www.sec.gov"
    sec_data_url: str = "https://data.sec.gov"
    sec_per_second: int = Field(10, ge=1, le=10)
    eodhd_key: Key | None = None
    eodhd_url: str = "https://eodhd.com"
    eodhd_per_minute: int = Field(1000, ge=1)
    eodhd_per_day: int = Field(10_000, ge=1)  # one request counts as ten of the 100,000 calls

    # A CSV or Parquet file of companies (symbol, and where known name, sector, first, last); else the S&P 500 of today.
    companies: Path | None = None
    benchmark: str = "SPY"
    first: QuarterName = "2019-Q1"
    # Collect these tables only; a tape that is named has the others.
    tables: tuple[str, ...] | None = None
    series: tuple[str, ...] = (
        "DFF",
        "UNRATE",
        "CPIAUCSL",
        "GDPC1",
        "DGS10",
        "BAA10Y",
        "BAMLH0A0HYM2",
        "VIXCLS",
        "VXVCLS",
        "DTWEXBGS",
        "DCOILWTICO",
    )
    # 13F needs the filers' numbers and a CSV file of `cusip,symbol`.
    managers: tuple[int, ...] = ()
    cusips: Path | None = None

    workers: int = Field(8, ge=1)
    # The share of a table's companies that may be missing before the table is refused as a whole.
    may_miss: float = Field(0.1, ge=0, le=1)
    # Answers come from what is kept alone: the replay after a corrected parser.
    offline: bool = False


# What a member may set of its algorithm, by one name each. What else a library takes (the objective, the number of
# trees, other names of the same) would undo what training, explanation and tuning stand on, or be ignored in silence.
_OF_TREES = ("num_leaves", "max_depth", "min_child_samples", "feature_fraction", "lambda_l1", "lambda_l2", "max_bin")
_OF_ROWS = ("bagging_fraction", "bagging_freq", "seed")
PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "lightgbm": ("learning_rate", *_OF_TREES, *_OF_ROWS),
    "random_forest": (*_OF_TREES, *_OF_ROWS),
    "xgboost": (
        *("learning_rate", "max_leaves", "max_depth", "min_child_weight", "colsample_bytree", "subsample"),
        *("alpha", "lambda", "gamma", "max_bin", "seed"),
    ),
    "catboost": ("learning_rate", "depth", "rsm", "l2_leaf_reg", "random_strength", "random_seed"),
    "logistic": ("C",),
}

_FAMILIES_BY_OTHER_NAMES = {"technical": "price", "fundamental": "fundamentals"}
_ALL_FAMILIES = "all"

COLLECTED = ("companies", "benchmark", "first", "tables", "series", "managers", "cusips")
"""What the live source collects, among its settings: with another choice it is another source."""


class Member(Group):
    """One member of the model (docs/models.md): what is fitted, on how much of the past, on which features.

    `families` are those of the catalogue (`price`, `history`, `macro`, …), none meaning all, as does `all`; `technical`
    and `fundamental` are other names of `price` and `fundamentals`. `params` (of `PARAMETERS`) overrule the
    algorithm's own.
    """

    algorithm: Literal["lightgbm", "xgboost", "catboost", "random_forest", "logistic"] = "lightgbm"
    window_months: Literal[3, 6, 12, 24, 36] | None = None
    families: tuple[str, ...] = ()
    weight: float = Field(1.0, gt=0, le=1e6)
    params: dict[str, StrictInt | StrictFloat] = {}

    @field_validator("families")
    @classmethod
    def _by_the_catalogues_names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        """One choice has one name, so that it has one workspace."""
        if _ALL_FAMILIES in names:
            return ()
        return tuple(_FAMILIES_BY_OTHER_NAMES.get(name, name) for name in names)

    @model_validator(mode="after")
    def _only_what_may_be_set(self) -> Self:
        may = PARAMETERS[self.algorithm]
        if unknown := [name for name in self.params if name not in may]:
            raise ValueError(f"{self.algorithm} lets its {', '.join(may)} be set, and not {', '.join(unknown)}")
        return self


class EnsembleSettings(Group):
    """Of which members the model consists, and how they vote; by default one regularised LightGBM on all history."""

    members: tuple[Member, ...] = Field((Member(),), min_length=1)
    voting: Literal["weighted", "stacked"] = "weighted"


SINGLE = EnsembleSettings()
_PREFIX = "EARLYSIGNAL_"


class SettingsError(EarlySignalError):
    """A setting that is none: its value is not shown, since it may be a key."""


class Settings(BaseSettings):
    """Everything that can be set; read from the environment with the prefix ``EARLYSIGNAL_``."""

    # A key under a misspelt name is refused, and the refusal may not show it.
    model_config = SettingsConfigDict(
        env_prefix=_PREFIX, env_nested_delimiter="__", extra="ignore", hide_input_in_errors=True, allow_inf_nan=False
    )

    def __init__(self, **values: Any) -> None:
        """Read the environment; `values` go before it.

        Raises
        ------
        SettingsError
            If a value cannot be what it is set to, or a name is all but one of these.
        """
        for name in os.environ:
            if name.startswith(_PREFIX) and (meant := _all_but(name.removeprefix(_PREFIX).lower())):
                raise SettingsError(f"{name} is no setting. Remedy: name it {_variable(meant)}, or unset it.")
        try:
            super().__init__(**values)
        except ValidationError as error:
            found = error.errors(include_input=False)
            told = [
                f"{_variable(each['loc'])}: {_meant(each['loc']) or each['msg']}"
                for each in found
                if not any(_is_within(other["loc"], each["loc"]) for other in found)  # one follows from the other
            ]
            raise SettingsError(f"{'; '.join(told)}. Remedy: set it anew, or unset it.") from None
        except UnreadableError as error:
            raise SettingsError(f"{error}: it must hold JSON. Remedy: set it anew, or unset it.") from None

    home: Path = Path(".earlysignal")
    tape: Path | None = None
    # `live` collects from providers; a tape that is named as well gives the tables that no provider does.
    source: Literal["live"] | None = None
    live: LiveSettings = LiveSettings()
    lake: str | None = None
    database_url: SecretStr | None = None
    # The workspace's own ledger. The command sets it for all that it starts; only plain `dagster dev` needs it by hand.
    ledger_url: SecretStr | None = None
    report_url: str = "http://127.0.0.1:3001"
    # Records every training among MLflow's experiments (docs/tracking.md); `earlysignal up --mlflow` switches it on.
    tracking: bool = False
    # The database of the experiments, which all workspaces share. Set by the command, like `ledger_url`.
    tracking_url: SecretStr | None = None
    synthetic: SyntheticSettings = SyntheticSettings()
    universe: str | None = None
    window_months: int | None = Field(None, ge=3, le=600)
    warmup_quarters: int = Field(10, ge=1)
    embargo_days: int = Field(7, ge=0)
    cost_bps: float = Field(10.0, ge=0)
    ensemble: EnsembleSettings = SINGLE
    # Members take the parameters that were last tuned before their cutoff (docs/models.md), else the fixed recipe's.
    tuned: bool = False
    assume_final_consensus_known: bool | None = None
    leave_out_mismatched: bool | None = None
    quality: QualityLimits | None = None
    serving: ServingSettings = ServingSettings()
    promotion: PromotionLimits = PromotionLimits()
    # Alerts go to these apprise URLs (https://appriseit.com), separated by spaces; they hold passwords and tokens.
    alert_urls: SecretStr | None = None
    # Lets the strategy's rules of monitoring act as written, without the guards against noise (docs/monitoring.md).
    strict_rules: bool = False

    def over(self, tape: TapeSettings) -> TapeSettings:
        """Return the tape's settings, overruled by those that the user has set."""
        chosen: dict[str, Any] = {
            name: value for name in TapeSettings.model_fields if (value := getattr(self, name)) is not None
        }
        return tape.model_copy(update=chosen)


def _groups() -> dict[str, type[Group]]:
    fields = Settings.model_fields.items()
    kinds = [(name, kind) for name, field in fields for kind in (field.annotation, *get_args(field.annotation))]
    return {name: kind for name, kind in kinds if isinstance(kind, type) and issubclass(kind, Group)}


def _all_but(name: str) -> tuple[str, ...] | None:
    """Return the setting that a variable's name is all but; None where it is one, or like none."""
    first = name.split("__", maxsplit=1)[0]
    if first in Settings.model_fields:
        return None
    inside = {f"{group}_{field}": (group, field) for group, kind in _groups().items() for field in kind.model_fields}
    near = get_close_matches(first, Settings.model_fields, 1, 0.85)
    return inside.get(name) or ((near[0],) if near else None)


def _meant(place: tuple[int | str, ...]) -> str | None:
    """Say what a name of a group's settings is all but; None where it is one, or like none."""
    group = _groups().get(str(place[0]))
    if group is None or len(place) != 2 or place[1] in group.model_fields:
        return None
    near = get_close_matches(str(place[1]), group.model_fields, 1)
    return f"there is no such setting; {_variable((place[0], near[0]))} is one" if near else None


def _is_within(place: tuple[int | str, ...], outer: tuple[int | str, ...]) -> bool:
    return len(place) > len(outer) and place[: len(outer)] == outer


def _variable(place: tuple[int | str, ...]) -> str:
    """Return the name of the variable that sets what lies at a place."""
    return _PREFIX + "__".join(map(str, place)).upper()
