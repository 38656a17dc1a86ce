"""Files for other schedulers, made from a manifest."""
