#!/bin/bash
set -euo pipefail
# The plugin names the file of models.json in MAD_OUTPUT_CSV.
exec python3 matmul.py --output "../${MAD_OUTPUT_CSV:-perf_demo_matmul.csv}" "$@"
