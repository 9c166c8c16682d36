"""The Meta stand-in: the Conversions API's `POST /{version}/{pixel}/events`."""
