"""Speech in a clip: recognised by a Whisper, kept next to what the user's own transcripts say."""
