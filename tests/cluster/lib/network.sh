# shellcheck shell=bash
# The network of an instance: a namespace that is only a switch, one veth from it to the operator (this machine), one to each node.
#
# The bridge sits in a namespace of its own so that nothing on this machine touches what it carries: no firewall rules of another
# dockerd, no net.bridge sysctl, no forwarding. The operator's end is an ordinary interface with an ordinary address.

# The subnet is 10.99.X.0/24; X comes from the instance's name, and moves on where another interface has it.
# shellcheck disable=SC2034
choose_subnet() {
    local x try taken
    # (Not in a pipe: where grep has seen enough, ip dies of the closed one, and that would count as "free".)
    taken=$(ip -o -4 addr show) || die "the addresses of this machine can't be listed"
    x=$(($(printf %s "$TESTBED" | cksum | cut -d' ' -f1) % 254 + 1))
    for try in {1..254}; do
        if ! grep -qF " 10.99.$x." <<<"$taken"; then
            SUBNET=10.99.$x OPERATOR=10.99.$x.1 LINK=eb-$x
            return
        fi
        x=$((x % 254 + 1))
    done
    die "no free subnet in 10.99.0.0/16 after $try tries"
}

network_up() {
    local switch
    switch=$(netns switch)
    ip netns add "$switch"
    ip -n "$switch" link add br0 type bridge forward_delay 0
    ip -n "$switch" link set br0 up
    ip link add "$LINK" type veth peer name op netns "$switch"
    ip -n "$switch" link set op master br0 up
    ip addr add "$OPERATOR/24" dev "$LINK"
    ip link set "$LINK" up
}

# connect NODE: its namespace, its address
connect() {
    local switch ns
    switch=$(netns switch) ns=$(netns "$1")
    ip netns add "$ns"
    ip -n "$switch" link add "$1" type veth peer name eth0 netns "$ns"
    ip -n "$switch" link set "$1" master br0 up
    ip -n "$ns" link set lo up
    ip -n "$ns" addr add "$(address "$1")/24" dev eth0
    ip -n "$ns" link set eth0 up
    ip -n "$ns" rule add pref 100 lookup local
    ip -n "$ns" rule del pref 0
}

# drop NODE PREF SELECTOR...: the node's network drops such packets, without an answer, by a routing rule: the kernel needs no
# firewall for it. `connect` made room before the rule that takes what is addressed to the node itself.
drop() {
    local node=$1 pref=$2
    shift 2
    ip -n "$(netns "$node")" rule add pref "$pref" "$@" blackhole
}

# With a bastion, the nodes drop what the operator sends to them; the bastion reaches them.
hide_behind_bastion() {
    local port
    for port in 22 2379 2380 "$(per_kind apiserver_port)"; do drop "$1" 20 from "$OPERATOR" ipproto tcp dport "$port"; done
}

# cut: nothing passes between the node and the operator (or the bastion); the nodes still see each other.
cut_node() {
    local address
    for address in "$OPERATOR" "$(address bastion)"; do
        drop "$1" 10 from "$address"
        drop "$1" 10 to "$address"
    done
}
heal_node() {
    while ip -n "$(netns "$1")" rule del pref 10 2>/dev/null; do :; done
}

# Ends what a namespace of ours still holds, and it.
drop_netns() {
    local pids
    [ -e "/var/run/netns/$1" ] || return 0
    for _ in {1..100}; do
        pids=$(ip netns pids "$1" 2>/dev/null || true)
        [ -n "$pids" ] || break
        # shellcheck disable=SC2086
        kill -KILL $pids 2>/dev/null || true
        sleep 0.05
    done
    ip netns del "$1" 2>/dev/null || { umount -l "/var/run/netns/$1" 2>/dev/null; rm -f "/var/run/netns/$1"; }
}

network_down() {
    local ns
    [ -z "${LINK:-}" ] || ip link del "$LINK" 2>/dev/null || true
    for ns in /var/run/netns/"eb-$TESTBED"-{node*,bastion,switch}; do
        drop_netns "${ns##*/}"
    done
}
