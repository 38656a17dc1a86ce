#!/bin/bash
# The content of this directory lies in the model directory, which is the working directory.
set -euo pipefail
exec python3 train.py "$@"
