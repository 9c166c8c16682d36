"""What AnyTrack can be asked: conversions, their attribution, affiliates, days."""
