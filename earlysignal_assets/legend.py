"""What the figures on a page of the Dagster UI mean, for who meets their short names there."""

from collections.abc import Iterable

import dagster as dg

from earlysignal_assets.describe import listed
from earlysignal_core.evaluation.glossary import FIGURES, RETURNS
from earlysignal_core.monitoring.glossary import MEANINGS


def legend(names: Iterable[str]) -> dg.MarkdownMetadataValue:
    """Explain the figures that are shown: those of the monitors, and of the walk-forward."""
    glossary = FIGURES | RETURNS
    meanings = {name: MEANINGS.get(name) or (glossary[name].text if name in glossary else None) for name in names}
    return listed([f"`{name}`: {meaning}" for name, meaning in meanings.items() if meaning], "")
