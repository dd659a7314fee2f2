"""All that is drawn before the first price: the companies, their announcements, the signal, the common factors."""

from dataclasses import dataclass

from earlysignal_core.settings import SyntheticSettings
from earlysignal_core.sources.synthetic.companies import Companies
from earlysignal_core.sources.synthetic.events import Events
from earlysignal_core.sources.synthetic.factors import Factors
from earlysignal_core.sources.synthetic.signal import Signal
from earlysignal_core.sources.synthetic.timeline import Timeline


@dataclass(frozen=True)
class World:
    """What every table of a synthetic tape is made from."""

    spec: SyntheticSettings
    timeline: Timeline
    companies: Companies
    events: Events
    signal: Signal
    factors: Factors

    @classmethod
    def of(cls, spec: SyntheticSettings) -> "World":
        """Draw the world of a specification.

        Raises
        ------
        SourceError
            If the specification leaves the trading calendar, or breaks outside of its quarters.
        """
        timeline, companies = Timeline.of(spec), Companies.draw(spec)
        return cls(
            spec=spec,
            timeline=timeline,
            companies=companies,
            events=Events.schedule(spec, timeline, companies),
            signal=Signal.plant(spec, timeline, companies),
            factors=Factors.draw(spec, timeline),
        )
