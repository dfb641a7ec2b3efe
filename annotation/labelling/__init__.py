"""The stimuli of annotators, and the server where they answer."""
