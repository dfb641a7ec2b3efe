"""Feature sets: what an extractor is, how one is found by name, and the sets that come with fmltk."""
