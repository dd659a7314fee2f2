"""Where a dataset came from, in words and hashes; free of wall time, so that the same inputs give the same bytes."""

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from earlysignal_core.datasets.cutoff import Cutoff, last_quarter, version_stem
from earlysignal_core.datasets.splits import TRAIN_FRACTION, VALIDATION_FRACTION
from earlysignal_core.features.surprise import THRESHOLD
from earlysignal_core.quarters import Quarter
from earlysignal_core.settings import Settings
from earlysignal_core.sources import SourceDescription
from earlysignal_core.trading_calendar import HORIZON_DAYS

# Quarter's name (or ``all``) → SHA-256, by table.
Digests = Mapping[str, Mapping[str, str]]


# What these rooms do comes after a model is made, and cannot change it.
_AFTER_THE_MODEL = frozenset({"evaluation", "ledger", "monitoring", "serving", "tracking", "quarterly.py"})


@cache
def code_version() -> str:
    """Return a hash of the source files that a model's bytes can depend on: other code is another input."""
    root = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        if path.relative_to(root).parts[0] in _AFTER_THE_MODEL:
            continue
        digest.update(f"{path.relative_to(root).as_posix()}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def frame_digest(frame: pd.DataFrame) -> str:
    """Return the SHA-256 of a frame's columns, types and values, row by row."""
    schema = [(column, str(dtype)) for column, dtype in frame.dtypes.items()]
    digest = hashlib.sha256(json.dumps(schema).encode())
    digest.update(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes())
    return digest.hexdigest()


def to_json(content: Mapping[str, Any]) -> bytes:
    """Return JSON with a fixed layout; numbers that are not finite become null."""
    return (json.dumps(_plain(content), indent=2, allow_nan=False, ensure_ascii=False) + "\n").encode()


def json_digest(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 of `to_json`."""
    return hashlib.sha256(to_json(content)).hexdigest()


def lineage(
    *,
    until: Cutoff,
    cutoff: pd.Timestamp,
    frame: pd.DataFrame,
    features: list[str],
    left_out: Mapping[str, str],
    filters: Mapping[str, int],
    quality: Mapping[str, Any],
    source: SourceDescription,
    settings: Settings,
    mismatched_sectors: list[str],
    digests: Digests,
) -> dict[str, Any]:
    """Return the record of a dataset, in the sections of the strategy's `lineage.json`.

    Parameters
    ----------
    until, cutoff
        ``created_at`` is the cutoff, the moment as of which the dataset stands, and not the time of the run.
    frame : DataFrame
        The dataset.
    features : list of str
        Those that a model may use.
    left_out : mapping of str to str
        The catalogue's other features, with the reason.
    filters : mapping of str to int
        Each filter with the number of rows that it took, in the order applied.
    quality : mapping
        Figures of the newest quarter and the refused quarters.
    source : SourceDescription
    settings : Settings
    mismatched_sectors : list of str
        Sectors that were left out.
    digests : mapping
        Content hashes of the input partitions; those of a quarter that begins after the cutoff are ignored.
    """
    content = frame_digest(frame)
    announced = frame["announced_on"]
    earlier = {
        table: {
            name: digest
            for name, digest in parts.items()
            if name == "all" or Quarter.parse(name) <= last_quarter(until)
        }
        for table, parts in digests.items()
    }
    return {
        "dataset_version": f"{version_stem(until)}+{content[:12]}",
        "content_sha256": content,
        "created_at": cutoff.isoformat(),
        "source_data": {
            "source": source.name,
            "stock_universe": source.universe,
            "date_range": {
                "start": announced.min().date().isoformat() if len(frame) else None,
                "end": announced.max().date().isoformat() if len(frame) else None,
            },
            "total_stocks": int(frame["symbol"].nunique()),
            "total_earnings_events": len(frame),
            "total_large_beats": int(frame["label"].sum()),
            "assumptions": list(source.assumptions),
        },
        "data_sources": earlier,
        "feature_extraction": {
            "version": code_version(),
            "num_features": len(features),
            "features": features,
            "features_left_out": dict(left_out),
        },
        "preprocessing": {
            "label_threshold": THRESHOLD,
            "temporal_offset": f"{HORIZON_DAYS} days before earnings",
            "split": {
                "train": TRAIN_FRACTION,
                "validation": VALIDATION_FRACTION,
                "test": round(1 - TRAIN_FRACTION - VALIDATION_FRACTION, 2),
                "rows": {str(part): int(n) for part, n in frame["part"].value_counts().sort_index().items()},
            },
            "filters": [{"filter": name, "rows": rows} for name, rows in filters.items()],
        },
        "settings": {
            "window_months": settings.window_months,
            "warmup_quarters": settings.warmup_quarters,
            "embargo_days": settings.embargo_days,
            **source.settings.model_dump(mode="json"),
            "sectors_left_out": mismatched_sectors,
        },
        "quality_metrics": dict(quality),
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
