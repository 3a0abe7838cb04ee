#!/bin/sh
# Boots the systemd of a Debian, as process 1 of namespaces of its own. $1 is the Debian, which stays as it is; $2 is a
# directory for what the system writes.
set -e
lower=$1 work=$2 root=$2/root
mount --make-rprivate /
mkdir -p "$work/upper" "$work/work" "$root"
mount -t overlay overlay -o "lowerdir=$lower,upperdir=$work/upper,workdir=$work/work" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 none "$root/sys/fs/cgroup"
for directory in run tmp dev; do mount -t tmpfs -o mode=755 tmpfs "$root/$directory"; done
for name in null zero full random urandom tty; do
    touch "$root/dev/$name"
    mount --bind "/dev/$name" "$root/dev/$name"
done
mkdir "$root/dev/shm" "$root/dev/pts" "$root/host"
# PrivateDevices= makes a /dev of what is here.
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
mount --bind "$3" "$root/host"
# The settings of the kernel are the machine's.
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,ro,bind "$root/proc/sys"
for unit in systemd-journald.service systemd-journald.socket systemd-journald-dev-log.socket systemd-journald-audit.socket \
    systemd-logind.service systemd-networkd.service systemd-resolved.service systemd-timesyncd.service getty.target \
    systemd-remount-fs.service dev-hugepages.mount dev-mqueue.mount sys-kernel-debug.mount sys-kernel-tracing.mount \
    systemd-sysctl.service systemd-modules-load.service; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
ip link set lo up
cd "$root"
pivot_root . mnt
exec chroot . env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system --unit=multi-user.target
