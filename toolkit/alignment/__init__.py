"""Words in time: who says when each word is spoken, and features averaged over the time of each word."""
