"""Events: a log plus a nudge. Publish, follow, filter, retention."""
