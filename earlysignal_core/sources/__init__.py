"""Where data comes from: one seam, three kinds of source (`tape`, `synthetic`, and in time `live`)."""

from earlysignal_core.sources.open import open_source
from earlysignal_core.sources.source import Source, SourceDescription

__all__ = ["Source", "SourceDescription", "open_source"]
