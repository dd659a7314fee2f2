"""The Dagster graph: assets, checks, jobs, sensors and the command line; all knowledge is in `earlysignal_core`."""
