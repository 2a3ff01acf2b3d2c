#!/usr/bin/env bash
# Meters what /data holds, for the hours since the last time, and says if a quota is near.
#
# One command is not as it was: the original asks for the time of a file as macOS does, which Linux does not know.
source <(usage shell-init bash)

total_bytes=$(du -sb /data | cut -f1)
hours_since_last=$(( ($(date +%s) - $(stat -c %Y /data/.last_check 2>/dev/null || stat -f %m /data/.last_check)) / 3600 ))

usage_track_storage "$total_bytes" "$hours_since_last"

touch /data/.last_check

usage_check_service_alert "$(billing_get_customer_id)" "storage"
