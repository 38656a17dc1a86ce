#!/bin/bash
# Throughput of a checksum command; the last --mib given counts, so a selector parameter overrides the entry.
set -euo pipefail
command=sha256sum
mib=64
while [[ $# -gt 0 ]]; do
    case $1 in
        --command) command=$2; shift 2 ;;
        --mib) mib=$2; shift 2 ;;
        *) echo "unknown argument: $1" >&2; exit 2 ;;
    esac
done
start=$(date +%s%N)
head -c "${mib}M" /dev/zero | "$command"
nanoseconds=$(($(date +%s%N) - start))
echo "performance: $((mib * 1000000000 / (nanoseconds > 0 ? nanoseconds : 1))) MiB_per_second"
