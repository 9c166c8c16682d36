"""Where accepted conversions wait: the protocol, and the outboxes that come with the library."""
