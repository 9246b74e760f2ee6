"""WHO PUSHES: what wrk is asked to do, what it answers, and whether that answer may be believed."""
