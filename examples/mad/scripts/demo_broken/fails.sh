#!/bin/bash
# A run that reports a number and then fails: the exit status counts, the number stays in the row.
echo "performance: 1.5 samples_per_second"
echo "something went wrong after the measurement" >&2
exit 7
