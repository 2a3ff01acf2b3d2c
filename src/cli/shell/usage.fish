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
# `usage_batch_add` starts nothing. It appends to a file of this process in the inbox of the spool, whose name begins with a
# dot: nobody looks at it. After USAGE_BATCH_SIZE records (100) or USAGE_BATCH_TIMEOUT seconds (5) the next one moves it to a
# name under which whoever delivers the spool takes it: `usage_batch_flush`, `usage batch flush` from cron, or an application.
# What a process leaves behind that ends without a flush is delivered by the next one, too.

function usage_init_batch
    __usage_now
    __usage_batch_open
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
    set customer (string replace -ra '["\\\\]' '\\\\$0' -- $customer)
    __usage_now
    set -l line "{\"customer\":\"$customer\",\"service\":\"$service\",\"quantity\":$quantity,\"timestamp\":$__usage_millis"
    if test -n "$metadata"
        if not string match -rq -- $__usage_json_object $metadata
            __usage_refuse metadata "\""(string sub -l 60 -- $metadata | string join ' ')"\" is not a JSON object" 'Give one such as {"endpoint":"/users"}'
            return
        end
        # Between its tokens it may have line breaks; in its strings it has none.
        set line "$line,\"metadata\":"(string replace -ra '[\r\n]' ' ' -- $metadata | string join ' ')
    end
    __usage_batch_open; or return
    if not printf '%s\n' "$line}" >>$__usage_batch_file
        # Half of it may be there; what comes next is not to be appended to that.
        __usage_batch_move
        return 1
    end
    set -g __usage_batch_count (math $__usage_batch_count + 1)
    set -l size 100
    test -n "$USAGE_BATCH_SIZE"; and set size $USAGE_BATCH_SIZE
    if test $__usage_batch_count -ge $size
        __usage_batch_move
    end
end

function usage_batch_flush
    __usage_batch_move; and __usage_run batch flush
end
function usage_batch_insert
    __usage_run batch insert -- $argv
end
function usage_cleanup_batch
    __usage_batch_move; and __usage_run batch cleanup
end

set -g __usage_batch_file ''
set -g __usage_batch_count 0
set -g __usage_batch_since 0
set -g __usage_batch_serial 0

# Makes sure that this process has a file to append to.
function __usage_batch_open
    set -l home ./.usage
    test -n "$USAGE_HOME"; and set home $USAGE_HOME
    set -l inbox $home/spool/inbox
    set -l file $inbox/.shell-$fish_pid.open
    if test "$__usage_batch_file" = $file
        set -l seconds 5
        string match -rq '^[0-9]+$' -- "$USAGE_BATCH_TIMEOUT"; and set seconds $USAGE_BATCH_TIMEOUT
        if test (math "($__usage_millis - $__usage_batch_since) / 1000") -lt $seconds
            return 0
        end
    end
    # It is old enough, or USAGE_HOME has changed.
    __usage_batch_move; or return
    if not test -d $inbox
        sh -c 'umask 077 && mkdir -p "$1"' sh $inbox; or return
    end
    set -g __usage_batch_file $file
    set -g __usage_batch_count 0
    set -g __usage_batch_since $__usage_millis
    # An earlier process of this number has ended without a flush, maybe in the middle of a line.
    if test -e $file
        __usage_batch_rename; or return
    end
    sh -c 'umask 077 && : >>"$1"' sh $file
end

# Gives what this process has added a name that is looked at. Nothing to move is no failure.
function __usage_batch_move
    if test -z "$__usage_batch_file"
        return 0
    end
    if test -s $__usage_batch_file
        __usage_batch_rename; or return
    else
        command rm -f $__usage_batch_file
    end
    set -g __usage_batch_file ''
end

function __usage_batch_rename
    set -g __usage_batch_serial (math $__usage_batch_serial + 1)
    set -l folder (string replace -r '/[^/]*$' '' -- $__usage_batch_file)
    command mv -f $__usage_batch_file $folder/shell-$__usage_millis-$fish_pid-$__usage_batch_serial-(random).ndjson
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
