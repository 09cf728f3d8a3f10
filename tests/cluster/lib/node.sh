# shellcheck shell=bash
# A node: network, mount, PID and UTS namespaces with its own /etc, /run, /tmp, and in it sshd, dockerd and an etcd member.

node_dir() { echo "$DIR/nodes/$1"; }

# The node's own /etc: this machine's, with its own host keys, users and no Kubernetes.
node_files() {
    local node=$1 etc name
    etc=$(node_dir "$node")/etc
    mkdir -p "$(node_dir "$node")"/{log,docker,etcd} "$etc"
    tar -C /etc --exclude=./kubernetes --exclude=./docker --exclude=./ssh --exclude=./rancher -c . | tar -C "$etc" -x
    mkdir -p "$etc"/{docker,ssh,kubernetes/ssl}
    chmod 755 "$etc"
    echo '{}' >"$etc/docker/daemon.json"
    echo "$node" >"$etc/hostname"
    {
        echo "127.0.0.1 localhost"
        for name in "${NODES[@]}" ${BASTION:+bastion}; do echo "$(address "$name") $name"; done
    } >"$etc/hosts"

    # Users: root, `dock`, who is in the group docker and nothing else, and `ops`, who is in none and has what sudo allows.
    sed -i 's|^root:.*|root:x:0:0:root:/run/home/root:/bin/bash|; /^dock:/d; /^ops:/d' "$etc/passwd"
    printf '%s\n' 'dock:x:7001:7001::/run/home/dock:/bin/bash' "ops:x:7003:7003::/run/home/ops:$OPS_SHELL" >>"$etc/passwd"
    sed -i '/^dock:/d; /^ops:/d; /^docker:/d' "$etc/group"
    printf '%s\n' 'dock:x:7001:' 'ops:x:7003:' 'docker:x:7002:dock' >>"$etc/group"
    sed -i 's|^root:[^:]*:|root:*:|; /^dock:/d; /^ops:/d' "$etc/shadow"
    printf '%s\n' 'dock:*:19000:0:99999:7:::' 'ops:*:19000:0:99999:7:::' >>"$etc/shadow"
    [ "$NODE_USER" != ops ] || allow_sudo "$node"

    ssh-keygen -q -t ed25519 -N '' -C "$node" -f "$etc/ssh/ssh_host_ed25519_key"
    ssh-keygen -q -t ecdsa -N '' -C "$node" -f "$etc/ssh/ssh_host_ecdsa_key"
    ssh-keygen -q -t rsa -b 2048 -N '' -C "$node" -f "$etc/ssh/ssh_host_rsa_key"
    cat "$DIR"/keys/*.pub >"$etc/ssh/authorized_keys"
    cp "$DIR/keys/ca/user_ca.pub" "$etc/ssh/user_ca.pub"
    cat >"$etc/ssh/sshd_config" <<-END
		Port 22
		HostKey /etc/ssh/ssh_host_ed25519_key
		HostKey /etc/ssh/ssh_host_ecdsa_key
		HostKey /etc/ssh/ssh_host_rsa_key
		AuthorizedKeysFile /etc/ssh/authorized_keys
		TrustedUserCAKeys /etc/ssh/user_ca.pub
		PasswordAuthentication no
		KbdInteractiveAuthentication no
		PermitRootLogin prohibit-password
		UsePAM no
		UseDNS no
		PrintMotd no
		MaxSessions 200
		MaxStartups 200
		AllowTcpForwarding yes
		AllowStreamLocalForwarding yes
		LogLevel VERBOSE
		PidFile /run/sshd.pid
		Subsystem sftp internal-sftp
	END
    [ ! -e "$etc/ssh/sshd_config.busybox" ] || cat "$etc/ssh/sshd_config.busybox" >>"$etc/ssh/sshd_config"
}

# allow_sudo NODE: what docs/sudoers has for the kind, and nothing else. With --busybox the user's PATH has busybox's applets alone; sudo's own
# (secure_path) stays.
allow_sudo() {
    local node=$1 etc
    etc=$(node_dir "$node")/etc
    rm -rf "$etc/sudoers.d"
    mkdir -m 750 "$etc/sudoers.d"
    printf '%s\n' 'Defaults env_reset, logfile=/run/sudo.log' 'Defaults secure_path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"' \
        'root ALL=(ALL:ALL) ALL' '@includedir /etc/sudoers.d' >"$etc/sudoers"
    chmod 440 "$etc/sudoers"
    [ ! -e "$HERE/../../docs/sudoers/$KIND" ] || install -m 440 "$HERE/../../docs/sudoers/$KIND" "$etc/sudoers.d/encrypt"
    [ -n "$BUSYBOX" ] || return 0
    mkdir -p "$etc/busybox"
    cp /bin/busybox "$etc/busybox/busybox"
    for applet in $(/bin/busybox --list); do [ "$applet" = busybox ] || ln -s busybox "$etc/busybox/$applet"; done
    ln -s /usr/bin/sudo "$etc/busybox/sudo"
    printf 'SetEnv PATH=/etc/busybox\n' >>"$etc/ssh/sshd_config.busybox"
}

# The program of this folder that is a node's first process
node_init() { echo node-init; }

# node_start NODE: the namespaces. Its record is written by the process itself before it becomes the node.
node_start() {
    local node=$1 record init=node-init
    record=$DIR/run/$node.unshare
    [ "$node" = bastion ] || init=$(per_kind node_init)
    CGROUP=$CGROUP setsid bash "$LIB/node-launch" "$record" "$(netns "$node")" "$LIB/$init" "$node" "$(node_dir "$node")" \
        </dev/null >"$(node_dir "$node")/log/init" 2>&1 9>&- &
    disown
    until_true 10 "the namespaces of $node" node_is_up "$node" || { cat "$(node_dir "$node")/log/init" >&2; return 1; }
}

# The pid (here) of the node's first process
node_pid() { recorded_pid "$DIR/run/$1.init"; }

node_is_up() {
    local parent child
    parent=$(recorded_pid "$DIR/run/$1.unshare") || return 1
    # (the file has no newline, so read fails though it reads)
    read -r child _ <"/proc/$parent/task/$parent/children" || [ -n "$child" ] || return 1
    [ -e "/proc/$child/root/run/node-is-up" ] || return 1
    echo "$child $(start_time "$child")" >"$DIR/run/$1.init"
}

# node_exec NODE COMMAND...: as root in the node's namespaces
node_exec() {
    local pid
    pid=$(node_pid "$1") || die "$1 is not running"
    shift
    nsenter -t "$pid" -m -u -n -p -- "$@"
}

# node_spawn NODE LOGNAME COMMAND...: the same, left running as a child of the node's first process
node_spawn() {
    local node=$1 log
    log=$(node_dir "$1")/log/$2
    shift 2
    node_exec "$node" setsid -f -- "$@" </dev/null >>"$log" 2>&1 9>&-
}

start_sshd() {
    node_spawn "$1" sshd /usr/sbin/sshd -D -e
}

# Firewall rules and bridges are off: containers use the node's network. Without CAP_SYS_RESOURCE dockerd can't lower its OOM score.
start_dockerd() {
    node_spawn "$1" dockerd dockerd --data-root "$(node_dir "$1")/docker" --exec-root /run/docker --pidfile /run/docker.pid \
        --host unix:///run/docker.sock --group docker --iptables=false --ip6tables=false --ip-masq=false --bridge=none \
        --storage-driver overlay2 --oom-score-adjust 0 --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent "/$CGROUP/$1"
}

# What starts the apiserver on a node
node_daemon() { start_dockerd "$1"; }
node_daemon_is_up() { dockerd_is_up "$1"; }

# node_process NODE NAME: the pid (here) of the node's process of that name
node_process() {
    local pid
    for pid in $(ip netns pids "$(netns "$1")"); do
        [ "$(cat "/proc/$pid/comm" 2>/dev/null)" != "$2" ] || { echo "$pid"; return; }
    done
    return 1
}

# Everything in a node dies with its first process: its PID namespace goes.
node_stop() {
    kill_recorded "$DIR/run/$1.init"
    kill_recorded "$DIR/run/$1.unshare"
    drop_netns "$(netns "$1")"
}

drop_cgroups() {
    local top
    for top in /sys/fs/cgroup/*/"$CGROUP" /sys/fs/cgroup/"$CGROUP"; do
        [ -d "$top" ] || continue
        for _ in {1..60}; do
            find "$top" -depth -type d -exec rmdir {} + 2>/dev/null || true
            [ -d "$top" ] || break
            sleep 0.05
        done
    done
}
