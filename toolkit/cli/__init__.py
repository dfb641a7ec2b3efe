"""The command `fmltk` and the commands of the toolkit."""
