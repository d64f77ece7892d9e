"""Searches on a Ray cluster, submitted and looked after from elsewhere."""
