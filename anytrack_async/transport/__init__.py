"""HTTP requests to a service: sessions, and the engines that carry their requests."""
