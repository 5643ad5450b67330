# Run a command that finds the docker command and Compose of a root, whatever its environment.
# Runs in a mount namespace of its own. $1 is the root, the command follows.
set -eu
root=$1
shift
for place in /usr/local/bin/docker /usr/bin/docker; do
    if [ -e "$place" ]; then mount --bind "$root/usr/bin/docker" "$place"; fi
done
compose=usr/libexec/docker/cli-plugins/docker-compose
for folder in /usr/local/lib /usr/local/libexec /usr/lib /usr/libexec; do
    place=$folder/docker/cli-plugins/docker-compose
    if [ -e "$place" ]; then mount --bind "$root/$compose" "$place"; fi
done
# /sys shows the network it was mounted in: without this, the engine's bridges would not be there.
mount --rbind /sys/fs/cgroup "$root/run"
mount -t sysfs none /sys
mount --rbind "$root/run" /sys/fs/cgroup
umount -l "$root/run"
exec "$@"
