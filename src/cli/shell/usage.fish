# The functions of the Bash usage-tracking system, for fish (3.4 or later), on the `usage` command.
#
# They take the positions that they always had; an empty one means the default. What they print and answer is the command's:
# data on stdout, everything else on stderr, 0 done, 1 failure, 2 wrong usage, 3 findings, 75 try again later.
#
# Variables such as USAGE_CUSTOMER_ID or USAGE_ALERT_WARNING need not be exported. USAGE_COMMAND may name another `usage`.
# What begins with two underscores is nobody else's business.

function __usage_run
    for name in USAGE_HOME USAGE_DATABASE_URL USAGE_SCHEMA USAGE_CUSTOMER_ID USAGE_BATCH_SIZE USAGE_BATCH_TIMEOUT \
            USAGE_ALERT_WARNING USAGE_ALERT_CRITICAL USAGE_ALERT_EXCEEDED USAGE_ARCHIVE_DIR
        if set -q $name
            set -fx $name $$name
        end
    end
    if test -n "$USAGE_COMMAND"
        command $USAGE_COMMAND $argv
    else if test -x $__usage_node -a -f $__usage_bin
        $__usage_node $__usage_bin $argv
    else
        command usage $argv
    end
end

# Whose usage it is

function billing_get_customer_id
    if test -n "$USAGE_CUSTOMER_ID"
        printf '%s\n' $USAGE_CUSTOMER_ID
    else
        __usage_run customer current
    end
end

# Recording: stored when they return

function billing_record_usage
    __usage_run record -- "$argv[1]" "$argv[2]" "$argv[3]"
end
function usage_track_api_request
    __usage_run track api-request -- "$argv[1]" "$argv[2]" "$argv[3]"
end
function usage_track_storage
    __usage_run track storage -- "$argv[1]" "$argv[2]"
end
function usage_track_bandwidth
    __usage_run track bandwidth -- "$argv[1]" "$argv[2]"
end
function usage_track_compute
    __usage_run track compute -- "$argv[1]" "$argv[2]"
end
function usage_track_database_query
    __usage_run track database-query -- "$argv[1]" "$argv[2]"
end
function usage_track_function
    __usage_run track function -- "$argv[1]" "$argv[2]" "$argv[3]"
end

# Reports

function usage_get_all
    set -l flags --format (test -n "$argv[3]"; and echo $argv[3]; or echo table)
    test "$argv[4]" = true; and set -a flags --detailed
    __usage_run report $flags -- "$argv[1]" "$argv[2]"
end

function usage_get_service
    if test -z "$argv[1]"
        __usage_refuse service 'is missing' 'Give a service such as api; usage_get_all is for all of them'
        return
    end
    set -l flags --service "$argv[1]" --format (test -n "$argv[4]"; and echo $argv[4]; or echo table)
    test "$argv[5]" = true; and set -a flags --detailed
    __usage_run report $flags -- "$argv[2]" "$argv[3]"
end

function usage_aggregate
    __usage_run aggregate -- (test -n "$argv[1]"; and echo $argv[1]; or echo daily) "$argv[2]" "$argv[3]" "$argv[4]"
end
function usage_refresh_summary
    __usage_run refresh
end
function usage_get_stats
    __usage_run stats -- "$argv[1]" "$argv[2]"
end
function usage_get_trends
    __usage_run trends -- "$argv[1]" "$argv[2]"
end
function usage_get_peaks
    __usage_run peaks -- "$argv[1]" "$argv[2]" "$argv[3]"
end

# Alerts

function usage_check_alerts
    __usage_run alerts check
end

function usage_check_service_alert
    if test -z "$argv[2]"
        __usage_refuse service 'is missing' 'Give a customer and a service'
    else if test -n "$argv[1]"
        __usage_run alerts check --customer "$argv[1]" --service "$argv[2]"
    else
        __usage_run alerts check --service "$argv[2]"
    end
end

function usage_get_alerts
    __usage_run alerts history -- "$argv[1]"
end

# Files. An export replaces the file that it names, as it always did.

function usage_export
    __usage_run export --force -- "$argv[1]" "$argv[2]" "$argv[3]" "$argv[4]" "$argv[5]"
end
function usage_archive
    __usage_run archive -- "$argv[1]" "$argv[2]"
end

# Batches
#
# `usage_batch_add` starts nothing. It appends to a file in the inbox of the spool, which whoever delivers the spool may take
# at any moment: `usage_batch_flush`, `usage batch flush` from cron, or an application. So it does not matter what becomes of
# the shell. What a line in the file is worth when somebody takes it in between is worked out in `src/spool/ShellLines.ts`.

function usage_init_batch
    __usage_batch_inbox
end

function usage_batch_add
    set -l customer "$argv[1]"
    set -l service "$argv[2]"
    set -l quantity "$argv[3]"
    set -l metadata "$argv[4]"
    test -n "$customer"; or set customer "$USAGE_CUSTOMER_ID"
    if test -z "$customer"
        __usage_refuse customer 'no customer is named' 'Give one, or set USAGE_CUSTOMER_ID'
        return
    end
    if test (string length -- $customer) -gt 255
        __usage_refuse customer 'has more than 255 characters' 'Give 1 to 255 characters'
        return
    end
    if string match -rq '[[:cntrl:]]' -- $customer
        __usage_refuse customer 'contains a control character' 'Give text without line breaks and tabs'
        return
    end
    if string match -rq '^\s|\s\z' -- $customer
        __usage_refuse customer 'begins or ends with a space' 'Give it as it is known'
        return
    end
    if not string match -rq '^[a-z][a-z0-9_-]{0,62}\z' -- $service
        __usage_refuse service "\"$service\" is not a service's name" 'Give lower-case letters, digits, - and _: api'
        return
    end
    if not string match -rq '^[0-9]+(\.[0-9]+)?\z' -- $quantity
        __usage_refuse quantity "\"$quantity\" is not a decimal number of zero or more" 'Give a number such as 1 or 0.25'
        return
    end
    # 007 is a number, but not in JSON.
    set quantity (string replace -r '^0+(?=[0-9])' '' -- $quantity)
    set customer (__usage_quote $customer)
    __usage_now
    set -l line "{\"customer\":$customer,\"service\":\"$service\",\"quantity\":$quantity,\"timestamp\":$__usage_millis"
    if test -n "$metadata"
        set -l length (string length -- "$metadata")
        if test $length -gt 65536
            __usage_refuse metadata "has $length characters" 'Give at most 65536'
            return
        end
        # A long text is left to the delivery, which tells of what it refuses.
        set -l object $__usage_json_object
        if test $length -gt 4096
            set object '\A[ \t\r\n]*\{[^\x01-\x08\x0b\x0c\x0e-\x1f]*\z'
        end
        if not string match -rq -- $object $metadata
            __usage_refuse metadata "\""(string sub -l 60 -- $metadata | string join ' ')"\" is not a JSON object" 'Give one such as {"endpoint":"/users"}'
            return
        end
        # As a text: whatever is in it, it cannot become another field of the record.
        set line "$line,\"metadata\":"(__usage_quote $metadata)
    end
    __usage_batch_append "$line}"
end

function usage_batch_flush
    __usage_run batch flush
end
function usage_batch_insert
    __usage_run batch insert -- $argv
end
function usage_cleanup_batch
    __usage_run batch cleanup
end

set -g __usage_batch_file ''
set -g __usage_batch_count 0

function __usage_batch_folder
    set -l home ./.usage
    test -n "$USAGE_HOME"; and set home $USAGE_HOME
    echo $home/spool/inbox
end

function __usage_batch_inbox
    set -l inbox (__usage_batch_folder)
    test -d $inbox; or sh -c 'umask 077 && mkdir -p "$1"' sh $inbox
end

# Makes sure that there is a file to append to. It is left to itself after a hundred lines.
function __usage_batch_open
    set -l inbox (__usage_batch_folder)
    if string match -q -- "$inbox/*" $__usage_batch_file; and test $__usage_batch_count -lt 100 -a -e $__usage_batch_file
        return 0
    end
    __usage_batch_inbox; or return
    set -g __usage_batch_file $inbox/$__usage_millis-$fish_pid-(random)-(random).lines
    set -g __usage_batch_count 0
    sh -c 'umask 077 && set -C && : >"$1"' sh $__usage_batch_file
end

# Appends a line; returns when it is in a file that is read with it, or fails.
function __usage_batch_append
    for try in 1 2 3 4 5 6 7 8 9 10
        __usage_batch_open; or return 1
        set -l file $__usage_batch_file
        set -l outcome again
        # Where somebody takes the file before both are open nothing is written, and it is tried again.
        begin
            if not printf '%s\n' $argv[1]
                set outcome failed
            else if test -e $file; or __usage_batch_counts $argv[1]
                set outcome added
            end
        end 2>/dev/null >>$file <$file
        if test $outcome = added
            set -g __usage_batch_count (math $__usage_batch_count + 1)
            return 0
        end
        set -g __usage_batch_file ''
        # Half of it may be there; what comes next is not to be appended to that.
        if test $outcome = failed
            break
        end
    end
    printf 'usage: spool: %s cannot be written\nHint: %s\n' (__usage_batch_folder) 'See whether its disk is full, and whose it is' >&2
    return 1
end

# Whether a line that was appended to a file, open at 1 to append and at 0 to read, is read with it although it was taken.
function __usage_batch_counts
    read -lz all
    if not string match -rq '\nclosed\n' -- $all
        printf '\nclosed\n'
        read -lz more
        set all "$all$more"
    end
    string match -rq '(?s)\A(?<__usage_head>.*?)\nclosed\n(\nclosed\n)*\z' -- $all
    and test (string sub -s (math -1 - (string length -- $argv[1])) -- $__usage_head)[1] = $argv[1]
end

# A text as a JSON string.
function __usage_quote
    set -l text (string replace -ra '["\\\\]' '\\\\$0' -- $argv[1] | string replace -a \t '\t' | string replace -a \r '\r' | string join '\n')
    echo "\"$text\""
end

# Errors as the command's: a line, a hint, and exit code 2.
function __usage_refuse
    printf 'usage: %s: %s\nHint: %s\n' $argv >&2
    return 2
end

# Milliseconds since 1970. The shell has no clock of its own, and starting `date` for every record takes longer than all
# else; where the kernel tells how long it has been up, `date` is asked once a second's worth of records and more.
set -g __usage_millis 0
set -g __usage_epoch 0
set -g __usage_epoch_uses 0
function __usage_now
    if not test -r /proc/uptime
        set -g __usage_millis (command date +%s)000
        return
    end
    read -l up _ </proc/uptime
    set -l up (string replace . '' -- $up)0
    if test $__usage_epoch_uses -eq 0
        set -g __usage_epoch (math (command date +%s%3N) - $up)
    end
    # Again now and then: clocks are set.
    set -g __usage_epoch_uses (math "($__usage_epoch_uses + 1) % 100")
    set -g __usage_millis (math $__usage_epoch + $up)
end

set -g __usage_json_object '(?x)
  (?(DEFINE)
    (?<__usage_ws> [ \t\r\n]* )
    (?<__usage_str> " (?: [^"\\\\\x00-\x1f] | \\\\ (?: ["\\\\/bfnrt] | u [0-9a-fA-F]{4} ) )* " )
    (?<__usage_num> -? (?: 0 | [1-9][0-9]* ) (?: \. [0-9]+ )? (?: [eE] [-+]? [0-9]+ )? )
    (?<__usage_val> (?&__usage_str) | (?&__usage_num) | true | false | null | (?&__usage_obj) | (?&__usage_arr) )
    (?<__usage_pair> (?&__usage_ws) (?&__usage_str) (?&__usage_ws) : (?&__usage_ws) (?&__usage_val) (?&__usage_ws) )
    (?<__usage_item> (?&__usage_ws) (?&__usage_val) (?&__usage_ws) )
    (?<__usage_obj> \{ (?: (?&__usage_pair) (?: , (?&__usage_pair) )* | (?&__usage_ws) ) \} )
    (?<__usage_arr> \[ (?: (?&__usage_item) (?: , (?&__usage_item) )* | (?&__usage_ws) ) \] )
  )
  \A (?&__usage_ws) (?&__usage_obj) (?&__usage_ws) \z'
