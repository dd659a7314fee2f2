"""Where data comes from: one seam, three kinds of source (`tape`, `synthetic`, `live`)."""

from earlysignal_core.sources.open import open_source
from earlysignal_core.sources.source import Gap, Source, SourceDescription

__all__ = ["Gap", "Source", "SourceDescription", "open_source"]
