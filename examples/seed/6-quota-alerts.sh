#!/usr/bin/env bash
# Tells an administrator of quotas that are exceeded or nearly so. It needs a `mail` command; `usage alerts` can send mail
# without one, see docs/quotas-and-alerts.md.
source <(usage shell-init bash)

printf "Checking usage quotas...\n\n"

usage_check_alerts 2>&1 | while IFS= read -r line; do
    if [[ "$line" =~ "EXCEEDED" ]]; then
        echo "$line" | mail -s "URGENT: Quota Exceeded" admin@example.com
    elif [[ "$line" =~ "CRITICAL" ]]; then
        echo "$line" | mail -s "WARNING: Quota Critical" admin@example.com
    fi

    printf "%s\n" "$line"
done

printf "\nRecent Alerts (Last 7 Days)\n"
printf "===========================\n\n"
usage_get_alerts 7
