# The functions of the Bash usage-tracking system, for bash (3.2 or later) and zsh, on the `usage` command.
#
# They take the positions that they always had; an empty one means the default. What they print and answer is the command's:
# data on stdout, everything else on stderr, 0 done, 1 failure, 2 wrong usage, 3 findings, 75 try again later.
#
# Variables such as USAGE_CUSTOMER_ID or USAGE_ALERT_WARNING need not be exported. USAGE_COMMAND may name another `usage`.
# What begins with two underscores is nobody else's business.

__usage_run() (
  for name in USAGE_HOME USAGE_DATABASE_URL USAGE_SCHEMA USAGE_CUSTOMER_ID USAGE_BATCH_SIZE USAGE_BATCH_TIMEOUT \
    USAGE_ALERT_WARNING USAGE_ALERT_CRITICAL USAGE_ALERT_EXCEEDED USAGE_ARCHIVE_DIR; do
    eval "[ -z \"\${$name+set}\" ]" || export "$name"
  done
  if [ -n "${USAGE_COMMAND:-}" ]; then
    exec "$USAGE_COMMAND" "$@"
  elif [ -x "$__usage_node" ] && [ -f "$__usage_bin" ]; then
    exec "$__usage_node" "$__usage_bin" "$@"
  else
    # The installation that has made these functions is gone. A function of that name is not what is meant.
    unset -f usage 2>/dev/null
    exec usage "$@"
  fi
)

# Whose usage it is

billing_get_customer_id() {
  if [ -n "${USAGE_CUSTOMER_ID:-}" ]; then printf '%s\n' "$USAGE_CUSTOMER_ID"; else __usage_run customer current; fi
}

# Recording: stored when they return

billing_record_usage() { __usage_run record -- "${1:-}" "${2:-}" "${3:-}"; }
usage_track_api_request() { __usage_run track api-request -- "${1:-}" "${2:-}" "${3:-}"; }
usage_track_storage() { __usage_run track storage -- "${1:-}" "${2:-}"; }
usage_track_bandwidth() { __usage_run track bandwidth -- "${1:-}" "${2:-}"; }
usage_track_compute() { __usage_run track compute -- "${1:-}" "${2:-}"; }
usage_track_database_query() { __usage_run track database-query -- "${1:-}" "${2:-}"; }
usage_track_function() { __usage_run track function -- "${1:-}" "${2:-}" "${3:-}"; }

# Reports

usage_get_all() {
  if [ "${4:-}" = true ]; then
    __usage_run report --format "${3:-table}" --detailed -- "${1:-}" "${2:-}"
  else
    __usage_run report --format "${3:-table}" -- "${1:-}" "${2:-}"
  fi
}

usage_get_service() {
  if [ -z "${1:-}" ]; then
    __usage_refuse service 'is missing' 'Give a service such as api; usage_get_all is for all of them'
  elif [ "${5:-}" = true ]; then
    __usage_run report --service "$1" --format "${4:-table}" --detailed -- "${2:-}" "${3:-}"
  else
    __usage_run report --service "$1" --format "${4:-table}" -- "${2:-}" "${3:-}"
  fi
}

usage_aggregate() { __usage_run aggregate -- "${1:-daily}" "${2:-}" "${3:-}" "${4:-}"; }
usage_refresh_summary() { __usage_run refresh; }
usage_get_stats() { __usage_run stats -- "${1:-}" "${2:-}"; }
usage_get_trends() { __usage_run trends -- "${1:-}" "${2:-}"; }
usage_get_peaks() { __usage_run peaks -- "${1:-}" "${2:-}" "${3:-}"; }

# Alerts

usage_check_alerts() { __usage_run alerts check; }

usage_check_service_alert() {
  if [ -z "${2:-}" ]; then
    __usage_refuse service 'is missing' 'Give a customer and a service'
  elif [ -n "${1:-}" ]; then
    __usage_run alerts check --customer "$1" --service "$2"
  else
    __usage_run alerts check --service "$2"
  fi
}

usage_get_alerts() { __usage_run alerts history -- "${1:-}"; }

# Files. An export replaces the file that it names, as it always did.

usage_export() { __usage_run export --force -- "${1:-}" "${2:-}" "${3:-}" "${4:-}" "${5:-}"; }
usage_archive() { __usage_run archive -- "${1:-}" "${2:-}"; }

# Batches
#
# `usage_batch_add` starts nothing. It appends to a file in the inbox of the spool, which whoever delivers the spool may take
# at any moment: `usage_batch_flush`, `usage batch flush` from cron, or an application. So it does not matter what becomes of
# the shell. What a line in the file is worth when somebody takes it in between is worked out in `src/spool/ShellLines.ts`.

usage_init_batch() { __usage_batch_inbox; }

usage_batch_add() {
  local customer="${1:-${USAGE_CUSTOMER_ID:-}}" service="${2:-}" quantity="${3:-}" metadata="${4:-}" line
  local reply
  if [ -z "$customer" ]; then
    __usage_refuse customer 'no customer is named' 'Give one, or set USAGE_CUSTOMER_ID'
    return
  fi
  if [ "${#customer}" -gt 255 ]; then
    __usage_refuse customer "has ${#customer} characters" 'Give 1 to 255 characters'
    return
  fi
  if [[ $customer == [[:space:]]* || $customer == *[[:space:]] ]]; then
    __usage_refuse customer 'begins or ends with a space' 'Give it as it is known'
    return
  fi
  if ! [[ $service =~ ^[a-z][a-z0-9_-]{0,62}$ ]]; then
    __usage_refuse service "\"$service\" is not a service's name" 'Give lower-case letters, digits, - and _: api'
    return
  fi
  if ! [[ $quantity =~ ^[0-9]+(\.[0-9]+)?$ ]]; then
    __usage_refuse quantity "\"$quantity\" is not a decimal number of zero or more" 'Give a number such as 1 or 0.25'
    return
  fi
  # 007 is a number, but not in JSON.
  while [[ $quantity == 0[0-9]* ]]; do quantity="${quantity#0}"; done
  if [[ $customer == *[[:cntrl:]]* ]]; then
    __usage_refuse customer 'contains a control character' 'Give text without line breaks and tabs'
    return
  fi
  __usage_quote "$customer"
  line="{\"customer\":$reply,\"service\":\"$service\",\"quantity\":$quantity"
  __usage_millis
  line="$line,\"timestamp\":$reply"
  if [ -n "$metadata" ]; then
    # Whatever the shell counts, characters or bytes: that is too long.
    if [ "${#metadata}" -gt 196608 ]; then
      __usage_refuse metadata "has ${#metadata} characters" 'Give at most 65536'
      return
    fi
    if ! __usage_is_object "$metadata"; then
      __usage_refuse metadata "\"${metadata:0:60}\" is not a JSON object" 'Give one such as {"endpoint":"/users"}'
      return
    fi
    # As a text: whatever is in it, it cannot become another field of the record.
    __usage_quote "$metadata"
    line="$line,\"metadata\":$reply"
  fi
  __usage_batch_append "$line}"
}

usage_batch_flush() { __usage_run batch flush; }
usage_batch_insert() { __usage_run batch insert -- "$@"; }
usage_cleanup_batch() { __usage_run batch cleanup; }

__usage_batch_file=''
__usage_batch_process=''
__usage_batch_count=0

__usage_batch_inbox() {
  local inbox="${USAGE_HOME:-./.usage}/spool/inbox"
  [ -d "$inbox" ] || (umask 077 && command mkdir -p "$inbox")
}

# Makes sure that this process has a file to append to: one of its own, as it must know which line is its last. It is left to
# itself after a hundred lines.
__usage_batch_open() {
  local inbox="${USAGE_HOME:-./.usage}/spool/inbox" process reply
  __usage_process
  process=$reply
  if [ "$__usage_batch_process" = "$process" ] && [ "${__usage_batch_file%/*}" = "$inbox" ] &&
    [ "$__usage_batch_count" -lt 100 ] && [ -e "$__usage_batch_file" ]; then return 0; fi
  __usage_batch_inbox || return
  __usage_millis
  __usage_batch_file="$inbox/$reply-$process-$RANDOM-$RANDOM.lines"
  __usage_batch_process=$process
  __usage_batch_count=0
  (umask 077 && set -C && : >"$__usage_batch_file")
}

# Appends a line; returns when it is in a file that is read with it, or fails.
__usage_batch_append() {
  local line="$1" outcome try
  for try in 1 2 3 4 5 6 7 8 9 10; do
    __usage_batch_open || return 1
    outcome=again
    # Where somebody takes the file before both are open nothing is written, and it is tried again.
    { __usage_batch_write 8>>"$__usage_batch_file" 9<"$__usage_batch_file"; } 2>/dev/null || :
    case $outcome in
      added)
        __usage_batch_count=$((__usage_batch_count + 1))
        return 0
        ;;
      # Half of it may be there; what comes next is not to be appended to that.
      failed) break ;;
    esac
    __usage_batch_process=''
  done
  __usage_batch_process=''
  printf 'usage: spool: %s cannot be written\nHint: %s\n' "$__usage_batch_file" \
    'See whether its disk is full, and whose it is' >&2
  return 1
}

# Writes `line` to the file, open at 8 to append and at 9 to read. `outcome`: added, failed, or again: where it is now nobody
# reads it.
__usage_batch_write() {
  local all='' more='' newline=$'\n' mark=$'\nclosed\n'
  if ! printf '%s\n' "$line" >&8; then
    outcome=failed
  elif [ -e "$__usage_batch_file" ]; then
    outcome=added
  else
    IFS= read -r -d '' all <&9 || :
    if [[ $all != *"$mark"* ]]; then
      printf '%s' "$mark" >&8 || :
      IFS= read -r -d '' more <&9 || :
      all="$all$more"
    fi
    more="${all#*"$mark"}"
    while [[ $more == "$mark"* ]]; do more="${more#"$mark"}"; done
    all="${all%%"$mark"*}"
    if [ -z "$more" ] && [[ "$newline$all" == *"$newline$line$newline" ]]; then outcome=added; fi
  fi
}

# Errors as the command's: a line, a hint, and exit code 2.
__usage_refuse() {
  printf 'usage: %s: %s\nHint: %s\n' "$1" "$2" "$3" >&2
  return 2
}

# `reply`: the text as a JSON string.
__usage_quote() {
  reply="${1//\\/\\\\}"
  reply="${reply//\"/\\\"}"
  reply="${reply//$'\n'/\\n}"
  reply="${reply//$'\r'/\\r}"
  reply="\"${reply//$'\t'/\\t}\""
}

__usage_json_string=$'"([^"\\\001-\037]|\\\\(["\\/bfnrt]|u[0-9a-fA-F]{4}))*"'
__usage_never_in_json=$'[\001-\010\013\014\016-\037]'
__usage_json_simple="-?(0|[1-9][0-9]*)(\\.[0-9]+)?([eE][-+]?[0-9]+)?|true|false|null"

# Whether the text is a JSON object. Its strings are emptied, one after the other, then what is innermost becomes 0 until one
# object is left: a regular expression knows no nesting. A long text is left to the delivery, which tells of what it refuses.
__usage_is_object() {
  local text="$1" out='' found quote='"'
  local space=$'[ \t\r\n]*'
  local simple="($__usage_json_simple|\"\")"
  local pair="\"\"$space:$space$simple"
  local object="[{]$space($pair$space(,$space$pair$space)*)?[}]"
  local array="[[]$space($simple$space(,$space$simple$space)*)?[]]"
  local innermost="$object|$array"
  if ! [[ $text =~ ^${space}[{] ]]; then return 1; fi
  if [ "${#text}" -gt 4096 ]; then
    if [[ $text =~ $__usage_never_in_json ]]; then return 1; fi
    return 0
  fi
  if [[ $text == *[\\[:cntrl:]]* ]]; then
    while [[ $text =~ $__usage_json_string ]]; do
      __usage_matched
      # What is before the first string has no quotes, or it is none of JSON.
      out="$out${text%%"$found"*}\"\""
      text="${text#*"$found"}"
    done
  else
    # The same without escapes, ten times as fast.
    while [[ $text == *$quote*$quote* ]]; do
      out="$out${text%%$quote*}\"\""
      text="${text#*$quote*$quote}"
    done
  fi
  text="$out$text"
  while ! [[ $text =~ ^$space$object$space$ ]]; do
    if ! [[ $text =~ $innermost ]]; then return 1; fi
    __usage_matched
    text="${text%%"$found"*}0${text#*"$found"}"
  done
}

# What the two shells have different names for. `reply`: milliseconds since 1970, without starting anything where that can be;
# a name of this process, another one in a subshell. `found`: what the last regular expression matched.
if [ -n "${ZSH_VERSION:-}" ]; then
  zmodload zsh/datetime zsh/system
  __usage_millis() {
    local now="$EPOCHREALTIME" fraction
    fraction="${now#*.}000"
    reply="${now%.*}${fraction:0:3}"
  }
  __usage_process() { reply="${sysparams[pid]}"; }
  __usage_matched() { found="$MATCH"; }
else
  if [ -n "${EPOCHREALTIME:-}" ]; then
    __usage_millis() {
      # The point may be a comma.
      reply="${EPOCHREALTIME//[!0-9]/}"
      reply="${reply%???}"
    }
  else
    __usage_millis() { reply="$(command date +%s)000"; }
  fi
  __usage_process() { reply="${BASHPID:-$$-$BASH_SUBSHELL}"; }
  __usage_matched() { found="${BASH_REMATCH[0]}"; }
fi
