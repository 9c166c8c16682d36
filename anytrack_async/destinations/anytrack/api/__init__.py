"""Typed endpoints of AnyTrack's REST interface."""
