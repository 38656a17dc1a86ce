"""``madengine lint``: the static check of a MAD repository.  Nothing of the repository is executed."""
