"""Container images: Dockerfile lookup, names, builds, the engine client (contract section 8)."""
