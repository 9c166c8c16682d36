"""Models as plain data: how outboxes store them, and how JSON is read into them."""
