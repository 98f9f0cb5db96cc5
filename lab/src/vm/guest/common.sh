# SPDX-License-Identifier: CECILL-B
# Common functions of the guests' programs, which source this first. They define `say`, which sends a message to the
# host.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export HOME=/root USER=root LOGNAME=root SHELL=/bin/bash LANG=C.UTF-8 PWD=/
unset TERM

uptime() { cut -d' ' -f1 /proc/uptime; }

# What a login of root gets from systemd and PAM.
login_limits() {
    ulimit -S -c 0
    ulimit -H -n 524288
    ulimit -S -n 1024
}

# Ends what is in the command's control group. Before Linux 5.14 its processes have to be named.
end_processes() {
    if [ -e /sys/fs/cgroup/command/cgroup.kill ]; then
        echo 1 > /sys/fs/cgroup/command/cgroup.kill
    else
        xargs -r kill -KILL < /sys/fs/cgroup/command/cgroup.procs 2> /dev/null
    fi
}

# Ends whatever the command started and left. Fails if something is still there after as many tenths of a second.
sweep() {
    end_processes
    tries=0
    while grep -q 'populated 1' /sys/fs/cgroup/command/cgroup.events; do
        [ -e /sys/fs/cgroup/command/cgroup.kill ] || end_processes
        tries=$((tries + 1))
        if [ "$tries" -ge "$1" ]; then
            say "finding processes of the command cannot be killed: $(tr '\n' ' ' < /sys/fs/cgroup/command/cgroup.procs)"
            return 1
        fi
        sleep 0.1
    done
}

# Checks that the driver left nothing behind.
look_what_is_left() {
    if [ -d /sys/module/knem ]; then
        complaint=$(rmmod knem 2>&1) || say "finding the driver does not unload: $complaint"
    fi
    # The counters are per processor until this makes them one.
    [ ! -e /proc/sys/vm/stat_refresh ] || echo 1 > /proc/sys/vm/stat_refresh
    pinned=$(sed -n 's/^nr_foll_pin_acquired //p' /proc/vmstat)
    unpinned=$(sed -n 's/^nr_foll_pin_released //p' /proc/vmstat)
    [ "$pinned" = "$unpinned" ] || say "finding pages stay pinned: $pinned were, $unpinned were released"
}
