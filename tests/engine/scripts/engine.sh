# Enter a root and become the engine in it. Runs in mount and network namespaces of its own.
# $1 the program, $2 the root, $3 the folder of its data, $4 its socket, $5 the number of group
# docker; folders that it shares with this machine follow. OPTIONS are more options for the daemon.
set -eu
program=$1 root=$2 data=$3 socket=$4 group=$5
shift 5
here=$(dirname "$0")
. "$here/enter.sh"
prepare "$root"
share "$root" "$data"
for folder in "$@"; do share "$root" "$folder"; done
share "$root" "${socket%/*}"
mkdir -p "$data/settings" "$data/state" "$root/etc/docker" "$root/etc/containers/networks"
mount --bind "$data/settings" "$root/etc/docker"
for name in subuid subgid; do
    # For an engine with --userns-remap=nobody:nogroup. Others do not look at it.
    printf '%s:165536:65536\n' nobody nogroup >"$data/state/$name"
    touch "$root/etc/$name"
    mount --bind "$data/state/$name" "$root/etc/$name"
done
ip link set lo up
enter "$root"
case $program in
dockerd)
    exec dockerd --data-root "$data/docker" --pidfile "$data/state/pid" --host "unix://$socket" \
        --group "$group" --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent "/${data##*/}" \
        ${OPTIONS:-}
    ;;
podman)
    # crun refuses a machine whose cgroups are v1 and v2 at once.
    # It also asks for higher limits than this process may set.
    cat >"$data/state/containers.conf" <<EOF
[containers]
default_ulimits = ["nofile=$(ulimit -Hn):$(ulimit -Hn)", "nproc=$(ulimit -Hp):$(ulimit -Hp)"]
[engine]
cgroup_manager = "cgroupfs"
runtime = "runc"
events_logger = "file"
[network]
network_config_dir = "$data/state/networks"
EOF
    mkdir -p "$data/state/networks"
    export CONTAINERS_CONF="$data/state/containers.conf"
    exec podman --root "$data/podman" --runroot /run/containers/storage \
        system service --time=0 "unix://$socket"
    ;;
esac
