"""What assets are given: the lake and the source."""

import dagster as dg

from earlysignal_core.lake import Lake
from earlysignal_core.settings import Settings
from earlysignal_core.sources import Source, open_source


class LakeResource(dg.ConfigurableResource[Lake]):
    """The lake, by its fsspec URL."""

    url: str

    def create_resource(
        self,
        context: dg.InitResourceContext,  # noqa: ARG002 - Dagster passes it by name
    ) -> Lake:
        """Open it."""
        return Lake(self.url)


class SourceResource(dg.ConfigurableResource[Source]):
    """The source that the settings name."""

    def create_resource(
        self,
        context: dg.InitResourceContext,  # noqa: ARG002 - Dagster passes it by name
    ) -> Source:
        """Open it."""
        return open_source(Settings())
