# shellcheck shell=bash
# What tests/flow/faults is made of: the program in the background, what it says as it says it, the faults and their mending.

# Without a word for so long: it hangs
SILENCE=${SILENCE:-60}
LONGEST_SILENCE=0
SAID=$WORK/fault.said
PID='' TRANSCRIPT='' BEFORE=''

# The program doesn't outlive the test.
end_faults() {
    local rc=$?
    [ -z "$PID" ] || kill -KILL "$PID" 2>/dev/null
    (exit "$rc")
    end_suite
}
trap end_faults EXIT
trap 'exit 143' TERM INT

# The operator's files on a disk of their own, which can be filled; from there commands are as an operator types them.
operator_moves_in() {
    "$TB" small-disk operator
    CONFIG=$DIR/operator/cluster.yml STATE=$DIR/operator/cluster.rkestate
    HOME=$DIR/home
    mkdir -p "$HOME/.ssh"
    cp "$KNOWN_HOSTS" "$HOME/.ssh/known_hosts"
    export HOME
    cd "$DIR/operator" || exit 1
    # shellcheck disable=SC2086 # words
    set -- $ADDRESSES
    NODE1=$1 NODE2=$2 NODE3=$3
}

# transcript NAME: what follows goes into DIR/NAME.txt; told TEXT: one line of it; meanwhile TEXT: one between the lines of the program
transcript() { TRANSCRIPT=${TRANSCRIPTS:+$TRANSCRIPTS/$1.txt}; [ -z "$TRANSCRIPT" ] || : >"$TRANSCRIPT"; }
told() { [ -z "$TRANSCRIPT" ] || echo "$@" >>"$TRANSCRIPT"; }
meanwhile() { echo "# $*" >>"$SAID"; }

# begin ARGUMENTS...: the program, as a child of this shell; with the words of $WRAPPER before it
begin() {
    : >"$SAID"
    told "\$ encrypt $*"
    COMMAND="encrypt $*"
    (
        # (a background job of a shell that isn't interactive ignores SIGINT until the program says otherwise)
        # shellcheck disable=SC2086 # words
        exec ${WRAPPER:-} "$ENCRYPT" "$@"
    ) >>"$SAID" 2>&1 </dev/null &
    PID=$!
}

says() { grep -qE -- "$1" "$SAID"; }

# Until COMMAND succeeds or the program ends; kills one that is silent too long. 1: it ended before.
watch() {
    local size=-1 now since=$SECONDS
    until "$@"; do
        if ! kill -0 "$PID" 2>/dev/null; then
            "$@"
            return
        fi
        now=$(stat -c %s "$SAID")
        [ "$now" = "$size" ] || since=$SECONDS
        size=$now
        [ $((SECONDS - since)) -le "$LONGEST_SILENCE" ] || LONGEST_SILENCE=$((SECONDS - since))
        if [ $((SECONDS - since)) -gt "$SILENCE" ]; then
            echo "silent for more than $SILENCE s" | tee -a "$SAID"
            kill -KILL "$PID"
        fi
        sleep 0.02
    done
}
until_says() { watch says "$1"; }
nothing_yet() { false; }

# ends CODE [TEXT...]: it ends with this exit status, and has said each TEXT (extended regular expressions)
ends() {
    local want=$1 rc text
    shift
    watch nothing_yet
    wait "$PID"
    rc=$?
    PID=''
    cat "$SAID" >>"$LOG"
    if [ -n "$TRANSCRIPT" ]; then
        cat "$SAID" >>"$TRANSCRIPT"
        told "\$ echo \$?"
        told "$rc"
    fi
    if [ -n "$BEFORE" ]; then
        # The resume of the fault before this one, as far as it got without the next one
        { echo "\$ $COMMAND" && sed '/^# /,$d' "$SAID" && { ! grep -q '^# ' "$SAID" || echo '...'; }; } >>"$BEFORE"
        BEFORE=''
    fi
    cat "$SAID"
    [ "$rc" -eq "$want" ] || { echo "exit status $rc, not $want"; return 1; }
    for text in "$@"; do
        grep -qE -- "$text" "$SAID" || { echo "it doesn't say: $text"; return 1; }
    done
}

# What the error says after the first line
next_command() { sed -n 's/^  next:  //p' "$SAID" | tail -n 1; }
state_told() { grep -q '^  state: .' "$SAID"; }

# ---- faults: hurt_NAME, mend_NAME; what the run is to end with in $CODE, what it is to say in $TEXTS, who goes on serving in $SERVING

hurt_cut() { "$TB" cut node2; }
mend_cut() { "$TB" heal node2; }
hurt_sshd() { "$TB" kill-sshd node2; }
mend_sshd() { "$TB" start-sshd node2; }
hurt_dockerd() { "$TB" kill-dockerd node2; }
mend_dockerd() { "$TB" start-dockerd node2; }
hurt_node-disk() { "$TB" fill-disk node2; }
mend_node-disk() { "$TB" free-disk node2; }
hurt_operator-disk() { "$TB" fill-disk operator; }
mend_operator-disk() { "$TB" free-disk operator; }
hurt_quorum() { "$TB" kill-etcd node2 && "$TB" kill-etcd node3; }
mend_quorum() { "$TB" start-etcd node2 && "$TB" start-etcd node3; }
hurt_etcd_member() { "$TB" kill-etcd node2; }
mend_etcd_member() { "$TB" start-etcd node2; }
hurt_interrupt() { kill -INT "$PID"; }
mend_interrupt() { :; }
hurt_terminate() { kill -TERM "$PID"; }
mend_terminate() { :; }
# The handler's own words tell that the first one was taken.
hurt_twice() { kill -INT "$PID" && until_says 'stopping at the next safe point' && kill -INT "$PID"; }
mend_twice() { :; }
# Somebody takes the apiserver's port while it restarts, and gives it back when the tool goes back.
hurt_port() { "$TB" take-port node2 6443 && until_says 'going back to the last good' && "$TB" free-port node2 6443; }
mend_port() { :; }
hurt_port-stays() { "$TB" take-port node2 6443; }
mend_port-stays() { "$TB" free-port node2 6443; }
hurt_slow() { :; }
mend_slow() { :; }

declare -A WHAT=(
    [cut]='node2 is cut off the network' [sshd]='sshd of node2 dies' [dockerd]='dockerd of node2 dies, its containers with it'
    [node-disk]='the disk of node2 is full' [operator-disk]='the disk of this machine is full'
    [quorum]='two of the three etcd members are down' [etcd_member]='one of the three etcd members is down'
    [interrupt]='Ctrl-C' [twice]='Ctrl-C, twice' [terminate]='SIGTERM'
    [port]='another process takes the port of the apiserver of node2, for a while' [port-stays]='another process takes the port of the apiserver of node2'
    [slow]='an apiserver is slower than --timeout'
)
declare -A MENDED=(
    [cut]='node2 is back' [sshd]='sshd is started again' [dockerd]='dockerd is started again' [node-disk]='there is room again'
    [operator-disk]='there is room again' [quorum]='both members are started again' [etcd_member]='it is started again'
    [interrupt]='some time later' [twice]='some time later' [terminate]='some time later' [port]='some time later'
    [port-stays]='that process is ended' [slow]='some time later'
)
words_of() {
    CODE=3 TEXTS=("$NODE2") SERVING=(node1 node3) AFTER=(node1 node2 node3)
    case $1 in
    cut) TEXTS+=('nothing was heard for|no answer') ;;
    sshd) TEXTS+=('connection') SERVING=(node1 node2 node3) ;;
    dockerd) TEXTS=('Docker on|kube-apiserver on') ;;
    node-disk) TEXTS+=('no space left') SERVING=(node1 node2 node3) ;;
    operator-disk) TEXTS=("$DIR/operator" 'No space left') SERVING=(node1 node2 node3) ;;
    quorum) TEXTS=('etcd') SERVING=() ;;
    interrupt) CODE=130 TEXTS=('safe point') SERVING=(node1 node2 node3) ;;
    terminate) CODE=143 TEXTS=('safe point') SERVING=(node1 node2 node3) ;;
    twice) CODE=130 TEXTS=() SERVING=() ;;
    port) TEXTS+=('address already in use' 'taken back on node' 'serves again') SERVING=(node1 node2 node3) ;;
    port-stays) TEXTS+=('address already in use' 'going back failed') ;;
    slow) TEXTS=("$NODE1" 'was not ready within 1 s' 'taken back on node') SERVING=(node1 node2 node3) ;;
    esac
}

# The line at which a fault strikes
moment() {
    case $1:$2 in
    prove:*) echo '^\[prove\].* until writes of the replaced' ;;
    rewrite:*) echo '^\[rewrite\]' ;;
    *:dockerd | *:port | *:port-stays | *:twice) echo "^\\[$1\\] $NODE2: kube-apiserver is being restarted" ;;
    *) echo "^\\[$1\\] [a-z]" ;;
    esac
}

# The form that all that is stored has
only_plain() { only_form plain; }
ready_again() {
    local node
    for node in "$@"; do
        for _ in {1..300}; do
            "$TB" kubectl --kubeconfig "$DIR/kubeconfig-$node" get --raw /readyz >/dev/null 2>&1 && continue 2
            sleep 0.2
        done
        echo "$node isn't ready"
        return 1
    done
}
nothing_of_ours_beside() { [ -z "$(find "$DIR/operator" -name '.*.encrypt-*')" ]; }

# An option for a run that a fault wants; a slow rewrite, so that one comes into its middle
options_for() {
    case $1 in
    rewrite:*) echo --concurrency 1 ;;
    *:slow) echo --timeout 1s ;;
    esac
}

# met NAME STEP FAULT COMMAND: the run meets the fault in that step, and is told so; all is mended
met() {
    local name="$1, $2: $3" step=$2 fault=$3 command=$4
    BEFORE=''
    [ "$command" != resume ] || BEFORE=$TRANSCRIPT
    transcript "$fault-$step"
    words_of "$fault"
    # shellcheck disable=SC2046 # words
    begin "$command" $(options_for "$step:$fault")
    ok "$name: the run gets there" until_says "$(moment "$step" "$fault")" || { ends 0; return 1; }
    meanwhile "${WHAT[$fault]}"
    ok "$name: the fault strikes" "hurt_$fault"
    ok "$name: exit $CODE, and it says what and where" ends "$CODE" ${TEXTS+"${TEXTS[@]}"}
    if [ "$fault" != twice ]; then
        ok "$name: it says the cluster's state" state_told
        ok "$name: it says the next command" grep -qF 'encrypt resume --config cluster.yml' <<<"$(next_command)"
    fi
    if [ ${#SERVING[@]} -gt 0 ]; then
        ok "$name: ${SERVING[*]} still serve every secret" "$TB" check-data "${SERVING[@]}"
    fi
    ok "$name: mended" "mend_$fault"
    told "# ${MENDED[$fault]}"
    if [ "$fault" != twice ]; then
        ok "$name: all apiservers are ready again" ready_again node1 node2 node3
        ok "$name: every secret reads the same before the resume" "$TB" check-data
    fi
    return 0
}

# transition NAME COMMAND CHECK STEP:FAULT...: one after the other, each resumed into the next; then what must hold
transition() {
    local name=$1 command=$2 check=$3 fault
    shift 3
    [ "$command" != up ] || set_encryption "$([ "$check" = only_plain ] && echo false || echo true)"
    for fault in "$@"; do
        met "$name" "${fault%%:*}" "${fault#*:}" "$command" || break
        command=resume
    done
    begin resume
    ok "$name: resumed to the end" ends 0 'Done: '
    whole "$name" "$check"
}

# starting_from true|false: encryption as a series wants it at its beginning
starting_from() {
    set_encryption "$1"
    TRANSCRIPT=''
    begin up
    ok "encryption enabled: $1" ends 0
}

whole() {
    ok "$1: etcd holds the one form" "$2"
    ok "$1: every secret reads the same" "$TB" check-data
    ok "$1: no transition is open" no_transition
    ok "$1: nothing is left behind on nodes" nothing_left_behind
    ok "$1: nothing is left behind beside the state file" nothing_of_ours_beside
}

# run_on NAME TRANSCRIPT COMMAND MOMENT FAULT: the run goes on through the fault, to its end
run_on() {
    transcript "$2"
    begin "$3" --concurrency 1
    ok "$1: the run gets there" until_says "$4"
    meanwhile "${WHAT[$5]}"
    ok "$1: the fault strikes" "hurt_$5"
    ok "$1: it goes on to its end" ends 0 'Done: '
    ok "$1: mended" "mend_$5"
    whole "$1" only_active_key
}

# All that a run could have changed (but the apiservers' processes where the fault ends them)
LIVES=yes
facts() {
    [ -z "$LIVES" ] || "$TB" restarts
    for node in node1 node2 node3; do "$TB" exec "$node" sh -c 'sha256sum /etc/kubernetes/ssl/encryption.yaml; ls -A /etc/kubernetes/ssl' 2>&1; done
    (cd "$DIR/operator" && sha256sum ./*state*)
}

# refused CODE COMMAND NAME FAULT TEXT...: met before anything was begun: that exit status, and nothing is changed
refused() {
    local code=$1 command=$2 name=$3 fault=$4 before
    shift 4
    LIVES=$([ "$fault" = dockerd ] || echo yes)
    before=$(facts)
    transcript "$fault-before"
    told "# ${WHAT[$fault]}"
    ok "$name: the fault is there" "hurt_$fault"
    begin "$command"
    ok "$name: exit $code, and it says what and where" ends "$code" "$@"
    ok "$name: it says that nothing was changed" grep -q '^  state: .*nothing was changed' "$SAID"
    ok "$name: mended" "mend_$fault"
    ok "$name: all apiservers are ready" ready_again node1 node2 node3
    ok "$name: nothing was changed" test "$before" = "$(facts)"
    LIVES=yes
    ok "$name: nobody holds the lock in the cluster" nothing_left_behind
}

# refused_with NAME TRANSCRIPT TEXT ARGUMENTS...: the state's files or a lock say no: exit 4, nothing is changed
refused_with() {
    local name=$1 text=$3 before
    before=$(facts)
    transcript "$2"
    begin "${@:4}"
    ok "$name: exit 4, and it says why" ends 4 "$text"
    ok "$name: it says the cluster's state" state_told
    ok "$name: nothing was changed" test "$before" = "$(facts)"
}

# with_state NAME TEXT EDIT...: the state file as EDIT (from standard input to standard output) makes it is refused; then it is put back
with_state() {
    local name=$1 text=$2
    shift 2
    cp -p "$STATE" "$WORK/state"
    "$@" <"$WORK/state" >"$STATE"
    refused_with "$name" "$(tr -c 'a-z\n' - <<<"$name")" "$text" resume
    cp -p "$WORK/state" "$STATE"
}

# A transition is open while these are tried.
two_operators() {
    local mine first
    begin rotate-key
    ok 'two runs: the first is at work' until_says '^\[widen\]'
    mine=$PID first=$SAID
    transcript two-runs
    told '# another run is at work on this machine'
    SAID=$WORK/second.said
    begin rotate-key
    ok 'two runs: the second is refused, exit 4, and it says who is at work' ends 4 "another process is at work on it" "process $mine,"
    SAID=$first PID=$mine TRANSCRIPT=''
    ok 'two runs: the first one is interrupted' hurt_interrupt
    ok 'two runs: exit 130' ends 130 'safe point'

    mkdir -m 700 "$DIR/other"
    cp -p "$DIR"/operator/cluster.* "$DIR/operator/kube_config_cluster.yml" "$DIR/other/"
    cd "$DIR/other" || exit 1
    refused_with 'a copy of the state file elsewhere' state-file-copied "Lease kube-system/encrypt\) is held by" resume
    ok 'a copy of the state file elsewhere: it says whose the lock is' grep -qF "is held by $(id -un)@$(hostname)" "$SAID"
    ok 'a copy of the state file elsewhere: it says how to take it over' grep -qF -- --take-over "$SAID"
    cd "$DIR/operator" || exit 1

    with_state 'truncated state file' 'cluster.rkestate' head -c 20000
    with_state 'empty state file' 'cluster.rkestate' true
    with_state 'tampered journal, another stage' 'different stories' jq '.encrypt.transition.rewritten = (.encrypt.transition.rewritten | not)'
    with_state 'tampered journal, narrowing without proof' 'nothing is proved' jq '.encrypt.transition.stage = "narrowing"'
    with_state 'tampered journal, another key' 'fingerprint' \
        jq '.encrypt.keys[-1].secret = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="'
    with_state 'journal of a newer version' 'newer encrypt' jq '.encrypt.version = 99'
    with_state 'journal of another cluster' 'different clusters' jq '.encrypt.cluster = "00000000-0000-4000-8000-000000000000"'
    run_on 'with the own state file, and one etcd member down from the rewrite on' etcd-member-down resume '^\[rewrite\]' etcd_member
}

# A stand-in: containers share this machine's clock, so it is the operator's that is moved, against all nodes.
clock_is_off() {
    # faketime is preloaded, and so would AddressSanitizer's runtime have to be
    local ENCRYPT=$TOP/build/encrypt
    local before
    transcript clock-ahead
    WRAPPER='faketime -f +1h'
    told '# the clock of this machine is an hour ahead of the nodes'
    begin rotate-key
    ok 'the clock an hour ahead: rotates all the same' ends 0 'Done: '
    WRAPPER=''
    whole 'the clock an hour ahead' only_active_key
    # The cluster's certificates are some minutes old: not yet valid by a clock that is an hour behind.
    before=$(facts)
    transcript clock-behind
    WRAPPER='faketime -f -1h'
    told '# the clock of this machine is an hour behind the nodes'
    begin rotate-key
    ok 'the clock an hour behind: exit 4, and it says why' ends 4 'not yet valid' clock
    WRAPPER=''
    ok 'the clock an hour behind: nothing was changed' test "$before" = "$(facts)"
}
