"""Measuring accuracy: one validation, the cache of validations, what a cut does to mAP, and detections."""
