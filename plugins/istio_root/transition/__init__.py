"""Another edition of the root in the place of the one that stands there: read, proven, planned, written, followed."""
