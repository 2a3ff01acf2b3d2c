#!/usr/bin/env bash
# Today's usage: on the terminal, and every record in a file.
source <(usage shell-init bash)

today=$(date -u +"%Y-%m-%d")
start="${today} 00:00:00"
end="${today} 23:59:59"

printf "Daily Usage Report - %s\n\n" "$today"

usage_get_all "$start" "$end" "table" "true"

output_file="/var/reports/usage_${today}.csv"
usage_export csv "$output_file" "$start" "$end"

printf "\nExported to: %s\n" "$output_file"
