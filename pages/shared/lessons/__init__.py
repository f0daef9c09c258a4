"""The lessons: what each asks, shows and measures."""
