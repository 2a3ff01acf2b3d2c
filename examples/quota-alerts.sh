#!/usr/bin/env bash
# Checks all quotas and tells somebody of those that are critical or exceeded. The argument is the command that sends a
# message: it gets the subject as its argument and the text on stdin.
#
#     examples/quota-alerts.sh ./mail-admin
set -uo pipefail
tell=$1
usage() { npx --no-install usage "$@"; }

usage alerts check --all-customers 2>&1 | while IFS= read -r line; do
  if [[ "$line" =~ "EXCEEDED" ]]; then
    "$tell" "URGENT: Quota Exceeded" <<<"$line"
  elif [[ "$line" =~ "CRITICAL" ]]; then
    "$tell" "WARNING: Quota Critical" <<<"$line"
  fi
  printf '%s\n' "$line"
done

printf '\nRecent alerts (last 7 days)\n===========================\n'
usage alerts history 7 --all-customers
