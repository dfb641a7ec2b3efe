"""The command group `fmltk annotation`."""
