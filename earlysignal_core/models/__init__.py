"""Models: fitting, calibration, immutable bundles, and the naive baselines that they must beat."""
