"""The synthetic source: a tape of invented companies with a planted signal and, on demand, a planted regime break."""

from earlysignal_core.sources.synthetic.generate import generate_tape
from earlysignal_core.sources.synthetic.signal import attainable_auc

__all__ = ["attainable_auc", "generate_tape"]
