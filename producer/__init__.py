"""The simulated viewers and how their events reach a broker."""
