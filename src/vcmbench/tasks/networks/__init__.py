"""The embedded networks: their weights, and what they are made of."""
