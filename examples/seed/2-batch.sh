#!/usr/bin/env bash
# Meters a thousand requests through the spool: the loop starts no process but a `mv` every hundred.
source <(usage shell-init bash)

usage_init_batch

customer_id=$(billing_get_customer_id)

for i in {1..1000}; do
    usage_batch_add "$customer_id" "api" 1 "{\"endpoint\":\"/test\",\"i\":$i}"
done

# Into the database, with what is not a full hundred yet.
usage_batch_flush
