"""WHAT IS ASKED AND WHAT WAS SEEN: studies, events, samples, and the bench that takes them. Frozen records, pure."""
