# shellcheck shell=bash
# A node whose first process is a real systemd: units, journal, control groups of its own. For the kinds that start their apiserver
# by a unit. What else the machine would start is not there: no generators, of the system's units only those named below.

# units_files NODE: before its first process
units_files() {
    local dir unit program
    dir=$(node_dir "$1")
    mkdir -p "$dir"/{units,generators,bin}
    for unit in basic sysinit multi-user sockets timers paths slices local-fs swap shutdown umount final; do
        cp -a "/usr/lib/systemd/system/$unit.target" "$dir/units/"
    done
    cp -a /usr/lib/systemd/system/systemd-journald.socket "$dir/units/"
    ln -s multi-user.target "$dir/units/default.target"
    mkdir "$dir/units/sysinit.target.wants"
    ln -s ../systemd-journald.service "$dir/units/sysinit.target.wants/"
    # The system's own, without what a root without CAP_SYS_RESOURCE can't have, and without /dev/log, which the nodes share.
    cat >"$dir/units/systemd-journald.service" <<-'END'
		[Unit]
		Description=Journal Service
		DefaultDependencies=no
		Requires=systemd-journald.socket
		After=systemd-journald.socket
		Before=sysinit.target

		[Service]
		Type=notify
		ExecStart=/lib/systemd/systemd-journald
		Sockets=systemd-journald.socket
		RuntimeDirectory=systemd/journal
		RuntimeDirectoryPreserve=yes
		StandardOutput=null
		Restart=always
		RestartSec=0
	END
    # systemctl reaches systemd by it where the user isn't root.
    cp -a /usr/lib/systemd/system/dbus.socket "$dir/units/"
    mkdir "$dir/units/sockets.target.wants"
    ln -s ../dbus.socket "$dir/units/sockets.target.wants/"
    cat >"$dir/units/dbus.service" <<-'END'
		[Unit]
		Description=D-Bus System Message Bus
		Requires=dbus.socket

		[Service]
		Type=notify
		NotifyAccess=main
		ExecStart=/usr/bin/dbus-daemon --system --address=systemd: --nofork --nopidfile --systemd-activation --syslog-only
		ExecReload=/usr/bin/dbus-send --print-reply --system --type=method_call --dest=org.freedesktop.DBus / org.freedesktop.DBus.ReloadConfig
	END
    rm -rf "$dir/etc/systemd/system" "$dir/etc/init.d" "$dir"/etc/rc?.d
    mkdir -p "$dir/etc/systemd/system" "$dir/etc/systemd/journald.conf.d"
    printf '[Journal]\nStorage=volatile\nRateLimitBurst=0\n' >"$dir/etc/systemd/journald.conf.d/testbed.conf"
    systemd-id128 new >"$dir/etc/machine-id"
    # With --busybox: the kind's own programs are there all the same.
    for program in systemctl journalctl; do
        [ ! -d "$dir/etc/busybox" ] || ln -s "/usr/bin/$program" "$dir/etc/busybox/"
    done
}

# units_program NODE FILE: a program in the node's /usr/local/bin
units_program() { cp -lL "$2" "$(node_dir "$1")/bin/" 2>/dev/null || cp -L "$2" "$(node_dir "$1")/bin/"; }

# units_are_up NODE: systemd has come up, and all that it was to start
units_are_up() { [ "$(node_exec "$1" systemctl is-system-running)" = running ]; }

# unit_restarts NODE UNIT: one line, as `testbed restarts` has it
unit_restarts() {
    # shellcheck disable=SC2016
    node_exec "$1" systemctl show "$2" --property=InvocationID,ActiveState,ExecMainStartTimestamp,NRestarts | awk -F= -v node="$1" '
        { of[$1] = $2 }
        END { print node, substr(of["InvocationID"], 1, 12), of["ActiveState"], of["ExecMainStartTimestamp"], "RestartCount=" of["NRestarts"] }'
}

# unit_flags NODE UNIT: the arguments of its main process, one a line
unit_flags() {
    local pid
    pid=$(node_exec "$1" systemctl show "$2" --property=MainPID)
    node_exec "$1" cat "/proc/${pid#MainPID=}/cmdline" | tr '\0' '\n' | tail -n +2
}

unit_log() { node_exec "$1" journalctl -u "$2" --no-pager -o cat; }
