#!/usr/bin/env bash
# Last month as CSV and JSON, and months that are over for 90 days into an archive.
source <(usage shell-init bash)

if date -v-1m >/dev/null 2>&1; then
    # macOS
    start=$(date -v-1m -v1d +"%Y-%m-01 00:00:00")
    end=$(date -v-1m -v+1m -v-1d +"%Y-%m-%d 23:59:59")
else
    # Linux
    start=$(date -d "last month" +"%Y-%m-01 00:00:00")
    end=$(date -d "$(date +%Y-%m-01) -1 day" +"%Y-%m-%d 23:59:59")
fi

month=$(date -d "$start" +"%Y-%m" 2>/dev/null || date -j -f "%Y-%m-%d" "$(echo $start | cut -d' ' -f1)" +"%Y-%m")

printf "Generating monthly usage report for %s...\n" "$month"

usage_export csv "/var/billing/usage_${month}.csv" "$start" "$end"
usage_export json "/var/billing/usage_${month}.json" "$start" "$end"

usage_archive 90 "/var/billing/archive/usage_${month}_archive.csv"

printf "\nMonthly export complete\n"
