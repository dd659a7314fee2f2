"""The lake: Parquet by table and quarter on any fsspec URL, written whole or not at all."""

from earlysignal_core.lake.files import Lake, parquet
from earlysignal_core.lake.overlay import Overlay
from earlysignal_core.lake.remembering import RememberingLake

__all__ = ["Lake", "Overlay", "RememberingLake", "parquet"]
