#!/bin/bash
# Needs a credential: "cred": "DEMO_SIGNING" in models.json puts every field of it into the environment as
# DEMO_SIGNING_<FIELD>.  The key is printed on purpose: in every log and report it is ***.
set -euo pipefail
messages=100
while [[ $# -gt 0 ]]; do
    case $1 in
        --messages) messages=$2; shift 2 ;;
        *) echo "unknown argument: $1" >&2; exit 2 ;;
    esac
done
: "${DEMO_SIGNING_KEY:?the credential DEMO_SIGNING has no field 'key'}"
echo "signing with the key $DEMO_SIGNING_KEY"

start=$(date +%s%N)
signature=
for ((i = 0; i < messages; i++)); do
    signature=$(printf '%s %s %s' "$DEMO_SIGNING_KEY" "$i" "$signature" | sha256sum)
done
nanoseconds=$(($(date +%s%N) - start))
echo "performance: $((messages * 1000000000 / (nanoseconds > 0 ? nanoseconds : 1))) signatures_per_second"
