#!/usr/bin/env bash
# How the API is used: day over day, the busiest hours, and how requests are distributed.
source <(usage shell-init bash)

printf "API Usage Trends (Last 7 Days)\n"
printf "================================\n\n"

usage_get_trends "api" 7

printf "\nTop 5 Peak Hours\n"
printf "================\n\n"

usage_get_peaks "api" "hourly" 5

printf "\nDetailed Statistics (Last 30 Days)\n"
printf "==================================\n\n"

usage_get_stats "api" 30
