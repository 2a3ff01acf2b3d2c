#!/usr/bin/env bash
# A nightly job: meters the web server's log and writes the day's figures for another program.
#
#     examples/nightly.sh access.log /var/reports
#
# Safe to run again, also on a log that has grown since.
set -u
log=$1
reports=$2
usage() { npx --no-install usage "$@"; }

usage import "$log" --format access-log --customer-from user
case $? in
  0) ;;
  3) echo "some lines were refused; see above" >&2 ;;
  75) echo "the database is out of reach, trying again tomorrow" >&2; exit 75 ;;
  *) exit 1 ;;
esac

# Reports are right without it; with it they are fast.
usage refresh || exit $?

# Written whole under its name, or not at all.
usage report yesterday --all-customers --format json >"$reports/.usage.json.tmp" &&
  mv "$reports/.usage.json.tmp" "$reports/usage-$(date -u -d yesterday +%F).json"
