"""HOW WELL: intervals, verdicts, drift-corrected scores, plans, and the schedule that says what comes next. Pure."""
