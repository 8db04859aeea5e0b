"""Plan, record, judge: how a check is made. Knows nothing of lessons, learners or notebooks."""
