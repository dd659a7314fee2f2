"""All settings, each with a working default; the environment (`EARLYSIGNAL_…`) and a tape's own file change them."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from earlysignal_core.quarters import Quarter


class SyntheticSettings(BaseModel):
    """What the synthetic source generates; the same settings give the same bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    symbols: int = Field(100, ge=1)
    quarters: int = Field(20, ge=1)
    first: str = "2014-Q1"
    seed: int = Field(7, ge=0)
    base_rate: float = Field(0.12, gt=0, lt=1)
    signal: float = Field(1.0, ge=0)
    break_quarter: str | None = None

    @field_validator("first", "break_quarter")
    @classmethod
    def _is_a_quarter(cls, value: str | None) -> str | None:
        return value if value is None else str(Quarter.parse(value))


class QualityLimits(BaseModel):
    """Limits of the blocking checks; a tape's settings may move them, since they depend on its base rate and depth."""

    model_config = ConfigDict(frozen=True, extra="forbid")

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

    model_config = ConfigDict(extra="forbid")

    assume_final_consensus_known: bool = False
    leave_out_mismatched: bool = False
    quality: QualityLimits = QualityLimits()


class ServingSettings(BaseModel):
    """When a prediction is refused or remarked upon."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    slow_ms: float = Field(500.0, gt=0)
    invalid_features: float = Field(0.10, ge=0, le=1)
    # Days that the newest row of a table may be old at `as_of`: on the long tape the longest gaps are 4 days of prices
    # (a long weekend), 14 of macro series and 18 of announcements; of sixty companies nobody may announce for weeks.
    # Tables that are not named may be of any age.
    freshness_days: dict[str, float] = {"ohlcv": 5.0, "macro": 21.0, "earnings": 60.0}


class PromotionLimits(BaseModel):
    """What a challenger must show before the strategy's rule may act (docs/serving.md)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_events: int = Field(200, ge=1)
    min_large_beats: int = Field(20, ge=1)
    auc_margin: float = Field(0.02, ge=0)


class Settings(BaseSettings):
    """Everything that can be set; read from the environment with the prefix ``EARLYSIGNAL_``."""

    model_config = SettingsConfigDict(env_prefix="EARLYSIGNAL_", env_nested_delimiter="__", extra="ignore")

    home: Path = Path(".earlysignal")
    tape: Path | None = None
    lake: str | None = None
    database_url: SecretStr | None = None
    # The workspace's own ledger. The command sets it for all that it starts; only plain `dagster dev` needs it by hand.
    ledger_url: SecretStr | None = None
    report_url: str = "http://127.0.0.1:3001"
    synthetic: SyntheticSettings = SyntheticSettings()
    universe: str | None = None
    window_months: int | None = Field(None, ge=3)
    warmup_quarters: int = Field(10, ge=1)
    embargo_days: int = Field(7, ge=0)
    cost_bps: float = Field(10.0, ge=0)
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
