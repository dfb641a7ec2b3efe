"""From what the user has to a list of clips, every problem named."""
