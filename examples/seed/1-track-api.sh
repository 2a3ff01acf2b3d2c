#!/usr/bin/env bash
# Meters some requests, then shows today's usage of the API.
source <(usage shell-init bash)

usage_track_api_request "/api/users" "GET" 200
usage_track_api_request "/api/users/123" "GET" 200
usage_track_api_request "/api/posts" "POST" 201
usage_track_api_request "/api/invalid" "GET" 404

usage_get_service "api" "$(date -u +"%Y-%m-%d 00:00:00")" "$(date -u +"%Y-%m-%d 23:59:59")"
