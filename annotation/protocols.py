"""How the paper's raters worked (section 3), as flags of ratings that were made in another way."""

from __future__ import annotations

# Flags of ratings, by protocol. For CH-SIMS the bimodal conditions of a clip have people of their own; for
# MOSI the same five also rate its text, its audio and its silent video, in this order.
PROTOCOLS = {
    "ch-sims": ("two_bimodal", "out_of_order"),
    "mosi": ("two_bimodal", "out_of_order", "other_panel"),
}
OUT_OF_PROTOCOL = PROTOCOLS["mosi"]
