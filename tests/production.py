"""A small production: a lake with history and models, what of it was known at a moment, and a ledger in memory."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from threading import Lock

import pandas as pd

from earlysignal_core.features.table import scheduled_examples
from earlysignal_core.lake import Lake
from earlysignal_core.ledger.alerts import Alert
from earlysignal_core.models import bundle as bundles
from earlysignal_core.models.bundle import Bundle
from earlysignal_core.quarterly import (
    collect,
    collect_universe,
    described,
    make_dataset,
    make_feature_table,
    make_labels,
    make_model,
)
from earlysignal_core.quarters import Quarter
from earlysignal_core.serving.answers import Answer
from earlysignal_core.serving.routing import Route
from earlysignal_core.settings import Settings, SyntheticSettings
from earlysignal_core.sources.synthetic import generate_tape
from earlysignal_core.sources.tape import TapeSource
from earlysignal_core.tables import CACHES, KNOWABLE, UNIVERSE

SPEC = SyntheticSettings(symbols=60, quarters=8)
LAST = Quarter.parse("2015-Q4")
PREVIOUS, CHAMPION = "v2015.3.0", "v2015.4.0"
NOT_A_PROBABILITY = {"kind": "platt", "slope": float("nan"), "intercept": 0.0, "evidence": 0.0}


def make_lake(folder: Path) -> Lake:
    """All of a synthetic tape, its feature tables and labels, and the models of the last two quarters."""
    generate_tape(SPEC, folder / "tape")
    source, lake = TapeSource(folder / "tape", Settings()), Lake(str(folder / "lake"))
    collect_universe(source, lake)
    for quarter in source.description.quarters:
        for cache in CACHES:
            if cache != UNIVERSE:
                collect(source, lake, cache, [quarter])
        make_labels(quarter, lake)
    for quarter in described(lake).event_quarters:
        make_feature_table(quarter, lake)
    for quarter in (LAST - 1, LAST):
        make_dataset(quarter, lake, Settings())
        model = make_model(quarter, lake)
        assert isinstance(model, Bundle)
    return lake


def copied(lake: Lake, folder: Path) -> Lake:
    """A copy of a lake, to be broken."""
    for file in Path(lake.url).rglob("*"):
        if file.is_file():
            target = folder / file.relative_to(lake.url)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
    return Lake(str(folder))


def cut_lake(lake: Lake, folder: Path, moment: pd.Timestamp) -> Lake:
    """The lake as it stood at a moment: its models, and the rows of the caches that were known."""
    known, source = Lake(str(folder)), described(lake)
    known.write_bytes("source.json", lake.read_bytes("source.json"))
    known.write(UNIVERSE, None, lake.read(UNIVERSE))
    for table in source.tables:
        for quarter in lake.quarters(table):
            rows = lake.read(table, [quarter])
            known.write(table, quarter, rows[rows[KNOWABLE] <= moment].reset_index(drop=True))
    for version in bundles.versions(lake):
        for name in bundles.FILES:
            path = f"{bundles.FOLDER}/{version}/{name}"
            known.write_bytes(path, lake.read_bytes(path))
    return known


def damaged(lake: Lake, version: str, as_version: str, **model: object) -> None:
    """Save a bundle with another content and right hashes: it loads, and then misbehaves."""
    bundle = bundles.load(lake, version)
    text = str(model.pop("text", bundle.model_text))
    metadata = {key: value for key, value in bundle.metadata.items() if key != "version"} | {"input_sha256": as_version}
    bundles.save(lake, replace(bundle, model_text=text, model=bundle.model | model, metadata=metadata), as_version)


def flip_a_byte(lake: Lake, version: str) -> None:
    """Damage a model's file, or repair it."""
    path = Path(lake.url) / bundles.FOLDER / version / bundles.MODEL_TEXT
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def due(lake: Lake, table: pd.DataFrame, at_least: int = 3) -> pd.DataFrame:
    """The examples of the first moment of the quarter at which several announcements fall due."""
    sizes = table.groupby("as_of").size()
    moment = sizes[sizes >= at_least].index[0]
    return scheduled_examples(lake, described(lake), moment, moment)


class MemoryLedger:
    """What serving needs of the ledger, in memory."""

    def __init__(self, champion: str | None = CHAMPION, previous: str | None = PREVIOUS) -> None:
        self._champion, self._previous = champion, previous
        self._lock = Lock()
        self.shares: Route | None = None
        self.recorded: list[Answer] = []
        self.raised: list[Alert] = []

    def champion(self) -> str | None:
        return self._champion

    def previous_champion(self) -> str | None:
        return self._previous

    def route(self, at: pd.Timestamp) -> Route | None:
        return self.shares

    def record(self, answers: Sequence[Answer]) -> None:
        with self._lock:
            self.recorded += answers

    def raise_alert(self, alert: Alert) -> None:
        with self._lock:
            self.raised.append(alert)
