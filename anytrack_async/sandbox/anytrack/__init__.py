"""The AnyTrack REST stand-in: its eight calls under `/v1`."""
