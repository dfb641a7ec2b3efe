"""FmlMSN: its network, training, evaluation and prediction."""
