"""From an ingested message log to numbers with intervals, segments, scores, and a scenario that can be played."""
