"""READING THE TOML: studies, search spaces, hand-tuned sequences. Every mistake at once, each with file, key and value."""
