# Records through the `usage` command until it is killed, and prints the customer of each record that was acknowledged: one
# command a record, or five records a `usage run`. Whatever ends with 0 is in the database or in the spool.
#   sh recordInShell.sh <node> <usage.js> <record|run> <prefix>
node=$1 usage=$2 how=$3 prefix=$4
n=0
while :; do
  if [ "$how" = record ]; then
    "$node" "$usage" --quiet record api 1 --customer "$prefix-$n" && echo "$prefix-$n"
  else
    names="$prefix-$n-1 $prefix-$n-2 $prefix-$n-3 $prefix-$n-4 $prefix-$n-5"
    printf 'record api 1 --customer %s\n' $names | "$node" "$usage" --quiet run - && printf '%s\n' $names
  fi
  n=$((n + 1))
done
