"""Who of the people in view is talking: LR-ASD's network, and what it sees and hears."""
