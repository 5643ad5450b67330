# Functions to make a root the root of this mount namespace. A plain chroot is not enough: in it
# `docker load` fails with "remount /".
prepare() {
    mount --make-rslave /
    mount --bind "$1" "$1"
    mount --make-private "$1"
    for name in proc sys dev; do mount --rbind "/$name" "$1/$name"; done
    mount -t tmpfs -o mode=0755 none "$1/run"
}

# Show a folder of this machine at the same path in the root.
share() {
    mkdir -p "$1$2"
    mount --rbind "$2" "$1$2"
}

enter() {
    cd "$1"
    mkdir -p run/before
    pivot_root . run/before
    cd /
    umount -l /run/before
    rmdir /run/before
}
