"""The steps of one item: image, plan, run, verdict, record."""
