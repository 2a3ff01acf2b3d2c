#!/usr/bin/env bash
# A nightly job: meters the web server's log, writes the day's figures for another program, and maintains the database.
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

# Written whole under its name, or not at all.
usage report yesterday --all-customers --format json >"$reports/.usage.json.tmp" &&
  mv "$reports/.usage.json.tmp" "$reports/usage-$(date -u -d yesterday +%F).json" || exit 1

# Rolls up, sends alerts, and moves what is older than `usage retention list` says.
usage maintain --quiet
case $? in
  0) ;;
  3) echo "maintenance found something to look at: see usage doctor" >&2 ;;
  75) echo "another maintenance is under way, or the database is out of reach" >&2 ;;
  *) exit 1 ;;
esac
