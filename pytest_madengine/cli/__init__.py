"""The command lines ``madengine`` and ``madengine-cli``: thin front ends over the engine."""
